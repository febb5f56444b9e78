"""Animated replays: one frame per fixation, for as long as it was looked at."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gazevlm_core.overlay import (
    DOT,
    LAST_MS,
    SIDE_PX,
    UNKNOWN_MS,
    ReplayFormat,
    draw_overlay,
    frame_durations_ms,
    replay_frames,
    save_replay,
)
from gazevlm_core.scanpath import Fixation, Scanpath

PATH = Scanpath((Fixation(0.2, 0.25, 210.0), Fixation(0.8, 0.75), Fixation(0.5, 0.3, 20.0)), "model")
IMAGE = Image.new("L", (300, 200), 90)


def test_frames_last_as_long_as_the_fixations() -> None:
    assert frame_durations_ms(PATH) == [UNKNOWN_MS, 210, UNKNOWN_MS, 100 + LAST_MS]


def test_frames_gain_one_fixation_each_and_keep_what_was_there() -> None:
    frames = replay_frames(IMAGE, PATH)
    assert [frame.size for frame in frames] == [(300, 200)] * 4
    whole = np.asarray(draw_overlay(IMAGE, PATH))
    assert (np.asarray(frames[-1]) == whole).all()
    for count, frame in enumerate(frames):
        white = [frame.getpixel((int(f.x * 300), int(f.y * 200))) == DOT for f in PATH]
        assert white == [step < count for step in range(3)]
    assert all((np.asarray(a) != np.asarray(b)).any() for a, b in pairwise(frames))


@pytest.mark.parametrize("kind", list(ReplayFormat))
def test_file_holds_the_frames_and_their_times(tmp_path: Path, kind: ReplayFormat) -> None:
    file = tmp_path / "replay"
    save_replay(Image.new("L", (1600, 800), 90), PATH, file, kind)
    with Image.open(file) as replay:
        assert replay.format == kind.value.upper()
        assert replay.size == (SIDE_PX, SIDE_PX // 2)
        assert replay.n_frames == 4
        assert replay.info["loop"] == 0
        times_ms = []
        for frame in range(replay.n_frames):
            replay.seek(frame)
            replay.load()
            times_ms.append(replay.info["duration"])
    # GIF counts in hundredths of a second
    assert times_ms == pytest.approx(frame_durations_ms(PATH), abs=10 if kind is ReplayFormat.GIF else 0)
