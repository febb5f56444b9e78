"""A scanpath as an animation: the image alone, then one more fixation in every frame, for as long as it lasted.

The frames are drawn once, as `gazevlm_core.overlay` draws them, and saved in any number of formats.
"""

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from gazevlm_core.images import as_rgb
from gazevlm_core.overlay import draw_overlay
from gazevlm_core.scanpath import Scanpath

if TYPE_CHECKING:
    from collections.abc import Iterable

    from av import Packet

UNKNOWN_MS = 450  # a frame whose dwell is not known
SHORTEST_MS = 100  # browsers slow down anything quicker
LAST_MS = 1500  # the whole path, before it begins again
SIDE_PX = 768  # longer side of the animation at the most
WEBP_QUALITY = 82
# H.264 as every browser, phone and slide program plays it. No B frames: frames leave the encoder in the order shown.
H264 = {"preset": "veryfast", "crf": "21", "bf": "0"}
NOMINAL_FPS = 25  # from which the encoder derives the level that a player must have; frames last as long as they do
MS = Fraction(1, 1000)  # unit of the film's clock, in seconds


class ReplayFormat(StrEnum):
    """File formats of an animation."""

    WEBP = "webp"
    GIF = "gif"
    MP4 = "mp4"


@dataclass(frozen=True, eq=False)
class Replay:
    """An animation.

    Args:
        frames: RGB, all of one size, of at most SIDE_PX a side.
        durations_ms: how long each is shown.
    """

    frames: tuple[Image.Image, ...]
    durations_ms: tuple[int, ...]


def draw_replay(image: Image.Image, scanpath: Scanpath) -> Replay:
    """Draw the image alone, then one more fixation in every frame, for as long as its dwell: N + 1 frames.

    Args:
        image: upright; any mode and size.
        scanpath: N fixations.
    """
    small = as_rgb(image)
    small.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)
    frames = (small, *(draw_overlay(small, scanpath, shown=count) for count in range(1, len(scanpath) + 1)))
    dwells = [UNKNOWN_MS if fixation.duration_ms is None else fixation.duration_ms for fixation in scanpath]
    shown = [max(round(dwell), SHORTEST_MS) for dwell in dwells]
    return Replay(frames, (UNKNOWN_MS, *shown[:-1], shown[-1] + LAST_MS))


def save_replay(replay: Replay, path: Path, kind: ReplayFormat) -> None:
    """Write an animation to a file, which is replaced where it exists.

    Args:
        replay: what to show; WebP and GIF repeat it for ever.
        path: of the file.
        kind: WEBP is small and true to the grey values, GIF opens everywhere, MP4 (H.264) goes into slides and posts.
    """
    if kind is ReplayFormat.MP4:
        _save_film(replay, path)
        return
    first, *others = replay.frames
    options = {"quality": WEBP_QUALITY, "method": 2} if kind is ReplayFormat.WEBP else {"optimize": False}
    durations_ms = list(replay.durations_ms)
    first.save(path, kind.value, save_all=True, append_images=others, duration=durations_ms, loop=0, **options)


def _save_film(replay: Replay, path: Path) -> None:
    import av  # 30 libraries of FFmpeg, of use only here

    pictures = [_even(frame) for frame in replay.frames]
    starts_ms = np.cumsum([0, *replay.durations_ms])[:-1].tolist()
    lasting = dict(zip(starts_ms, replay.durations_ms, strict=True))
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as film:
        stream = film.add_stream("libx264", rate=NOMINAL_FPS, options=H264)
        (stream.height, stream.width, _), stream.pix_fmt = pictures[0].shape, "yuv420p"
        stream.codec_context.time_base = MS
        stream.codec_context.thread_count = 1  # the same bytes everywhere

        def write(packets: "Iterable[Packet]") -> None:
            for packet in packets:
                packet.duration = lasting[packet.pts]  # else the last frame would be gone at once
                film.mux(packet)

        for picture, start_ms in zip(pictures, starts_ms, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = start_ms, MS
            write(stream.encode(frame))
        write(stream.encode())


def _even(frame: Image.Image) -> np.ndarray:
    """Repeat the last row and column where a side is odd: four pixels share one colour in H.264.

    Returns:
        uint8 [H, W, 3], both even.
    """
    return np.pad(np.asarray(frame), ((0, frame.height % 2), (0, frame.width % 2), (0, 0)), mode="edge")
