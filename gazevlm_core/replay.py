"""A scanpath as an animation: one frame per fixation, each shown for as long as it was looked at."""

from enum import StrEnum
from pathlib import Path

from PIL import Image

from gazevlm_core.overlay import draw_overlay
from gazevlm_core.scanpath import Scanpath

UNKNOWN_MS = 450  # a frame whose dwell is not known
SHORTEST_MS = 100  # browsers slow down anything quicker
LAST_MS = 1500  # the whole path, before it begins again
SIDE_PX = 768  # longer side of the animation at the most
WEBP_QUALITY = 82


class ReplayFormat(StrEnum):
    """File formats of an animation."""

    WEBP = "webp"
    GIF = "gif"


def frame_durations_ms(scanpath: Scanpath) -> list[int]:
    """How long the image alone and each fixation are shown, N + 1 numbers."""
    dwells = [UNKNOWN_MS if fixation.duration_ms is None else fixation.duration_ms for fixation in scanpath]
    shown = [max(round(dwell), SHORTEST_MS) for dwell in dwells]
    return [UNKNOWN_MS, *shown[:-1], shown[-1] + LAST_MS]


def replay_frames(image: Image.Image, scanpath: Scanpath) -> list[Image.Image]:
    """The image alone, then one more fixation in every frame: N + 1 RGB images of at most SIDE_PX.

    Args:
        image: upright; any mode and size.
        scanpath: N fixations.
    """
    small = image.convert("RGB")
    small.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)
    return [small, *(draw_overlay(small, scanpath, shown=count) for count in range(1, len(scanpath) + 1))]


def save_replay(image: Image.Image, scanpath: Scanpath, path: Path, kind: ReplayFormat) -> None:
    """Write the animation, which repeats for ever.

    Args:
        image, scanpath: as in `replay_frames`.
        path: of the file; replaced where it exists.
        kind: WEBP is small and true to the grey values, GIF opens everywhere.
    """
    first, *others = replay_frames(image, scanpath)
    options = {"quality": WEBP_QUALITY, "method": 2} if kind is ReplayFormat.WEBP else {"optimize": False}
    first.save(
        path, kind.value, save_all=True, append_images=others, duration=frame_durations_ms(scanpath), loop=0, **options
    )
