"""Adapt: QLoRA fine-tuning driven by annotations."""
