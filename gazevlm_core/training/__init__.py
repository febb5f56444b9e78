"""Collator, Trainer subclass and recipe, shared by the embedded checkpoint, the experiments and fine-tuning."""

# The parts of the loss, in the order of `model.losses.LossCounts`, for whoever logs or draws them, torch or no torch
LOSS_NAMES = (
    "gaze_loss", "text_loss", "finding_loss", "dwell_loss", "offset_loss", "local_loss", "patch_finding_loss",
)  # fmt: skip
