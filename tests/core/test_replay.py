"""Animated replays: one frame per fixation, for as long as it was looked at."""

from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from gazevlm_core.overlay import DOT, draw_overlay
from gazevlm_core.replay import LAST_MS, SIDE_PX, UNKNOWN_MS, Replay, ReplayFormat, draw_replay, save_replay
from gazevlm_core.scanpath import Fixation, Scanpath

PATH = Scanpath((Fixation(0.2, 0.25, 210.0), Fixation(0.8, 0.75), Fixation(0.5, 0.3, 20.0)), "model")
IMAGE = Image.new("L", (300, 200), 90)
MOST_BYTES = 1_500_000  # of a film of the longest path, to be sent by mail


def read_film(file: Path) -> tuple[list[np.ndarray], list[float], float]:
    """Decode a film: its frames, when each begins and how long all of them last, in ms."""
    with av.open(str(file)) as film:
        (stream,) = film.streams.video
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        shown = [(frame.to_ndarray(format="rgb24"), 1000 * frame.time) for frame in film.decode(stream)]
        assert stream.duration is not None
        assert stream.time_base is not None
        lasting = float(1000 * stream.duration * stream.time_base)
    frames, starts = zip(*shown, strict=True)
    return list(frames), list(starts), lasting


def test_frames_last_as_long_as_the_fixations() -> None:
    assert draw_replay(IMAGE, PATH).durations_ms == (UNKNOWN_MS, 210, UNKNOWN_MS, 100 + LAST_MS)


def test_frames_gain_one_fixation_each_and_keep_what_was_there() -> None:
    frames = draw_replay(IMAGE, PATH).frames
    assert [frame.size for frame in frames] == [(300, 200)] * 4
    whole = np.asarray(draw_overlay(IMAGE, PATH))
    assert (np.asarray(frames[-1]) == whole).all()
    for count, frame in enumerate(frames):
        white = [frame.getpixel((int(f.x * 300), int(f.y * 200))) == DOT for f in PATH]
        assert white == [step < count for step in range(3)]
    assert all((np.asarray(a) != np.asarray(b)).any() for a, b in pairwise(frames))


@pytest.mark.parametrize("kind", [ReplayFormat.WEBP, ReplayFormat.GIF])
def test_file_holds_the_frames_and_their_times(tmp_path: Path, kind: ReplayFormat) -> None:
    file = tmp_path / "replay"
    drawn = draw_replay(Image.new("L", (1600, 800), 90), PATH)
    save_replay(drawn, file, kind)
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
    assert times_ms == pytest.approx(drawn.durations_ms, abs=10 if kind is ReplayFormat.GIF else 0)


def test_a_film_shows_each_frame_when_and_for_as_long_as_it_should(tmp_path: Path) -> None:
    drawn = draw_replay(Image.new("L", (1600, 800), 90), PATH)
    save_replay(drawn, tmp_path / "replay.mp4", ReplayFormat.MP4)
    frames, starts, lasting = read_film(tmp_path / "replay.mp4")
    assert [frame.shape for frame in frames] == [(SIDE_PX // 2, SIDE_PX, 3)] * 4
    assert starts == pytest.approx(np.cumsum([0, *drawn.durations_ms[:-1]]).tolist(), abs=1)
    assert lasting == pytest.approx(sum(drawn.durations_ms), abs=1)
    for film, frame in zip(frames, drawn.frames, strict=True):
        assert np.abs(film.astype(int) - np.asarray(frame)).mean() < 2
    first, last = (frames[place].astype(int) for place in (0, -1))
    assert np.abs(first - last).max() > 100, "the path is seen"


def test_a_film_begins_before_all_of_it_is_there(tmp_path: Path) -> None:
    save_replay(draw_replay(IMAGE, PATH), tmp_path / "replay.mp4", ReplayFormat.MP4)
    written = (tmp_path / "replay.mp4").read_bytes()
    assert 0 < written.index(b"moov") < written.index(b"mdat")


@pytest.mark.parametrize(("width", "height"), [(301, 201), (1, 900), (33, 1), (768, 767)])
def test_a_film_of_any_shape_has_even_sides(tmp_path: Path, width: int, height: int) -> None:
    save_replay(draw_replay(Image.new("L", (width, height), 90), PATH), tmp_path / "odd.mp4", ReplayFormat.MP4)
    frames, _, _ = read_film(tmp_path / "odd.mp4")
    small = draw_replay(Image.new("L", (width, height), 90), PATH).frames[0]
    assert frames[0].shape == (small.height + small.height % 2, small.width + small.width % 2, 3)


def test_a_film_of_the_longest_path_is_small(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(110, 12, (1024, 1024)).clip(0, 255).astype(np.uint8)  # more than a film has
    places = np.random.default_rng(1).random((24, 2))
    path = Scanpath(tuple(Fixation(float(x), float(y), 300.0) for x, y in places), "model")
    save_replay(draw_replay(Image.fromarray(noise), path), tmp_path / "long.mp4", ReplayFormat.MP4)
    assert (tmp_path / "long.mp4").stat().st_size < MOST_BYTES


def test_the_same_replay_is_the_same_film(tmp_path: Path) -> None:
    drawn = Replay((IMAGE.convert("RGB"), Image.new("RGB", IMAGE.size)), (200, 300))
    for name in ("one", "two"):
        save_replay(drawn, tmp_path / name, ReplayFormat.MP4)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
