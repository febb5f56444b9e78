"""The parts of the loss by name, in the order of `model.losses.LossCounts`: for whoever logs or draws them. Free of
torch."""

LOSS_NAMES = (
    "gaze_loss", "text_loss", "finding_loss", "dwell_loss", "offset_loss", "local_loss", "patch_finding_loss",
)  # fmt: skip
