"""Collator, Trainer subclass and recipe, shared by the embedded checkpoint, the experiments and fine-tuning."""
