"""Adapt: QLoRA fine-tuning on scanpaths, as a command, as jobs, and as a tab."""
