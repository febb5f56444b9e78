"""Fixations from raw streams: known ones are found again, losses are counted, and the least durations hold."""

from collections import Counter

import numpy as np
import pytest

from gazevlm_core.datasets.detection import (
    GazeStream,
    Thresholds,
    detect_by_dispersion,
    detect_by_velocity,
    to_scanpath,
)

LIMITS = Thresholds()
DEGREES_PER_IMAGE = 20.0
DETECTORS = (detect_by_velocity, detect_by_dispersion)


def stream_of(
    *stays: tuple[float, float, int], rate_hz: int = 500, noise_deg: float = 0.005, saccade: int = 10, seed: int = 0
) -> GazeStream:
    """Stays at (x, y) fractions for some samples, with saccades of some samples between; NaN is a lost eye."""
    rng = np.random.default_rng(seed)
    pieces: list[np.ndarray] = []
    for number, (x, y, samples) in enumerate(stays):
        if number and np.isfinite([x, *stays[number - 1][:2]]).all():
            steps = np.linspace(0, 1, saccade + 2)[1:-1, None]
            pieces.append((1 - steps) * np.array(stays[number - 1][:2]) + steps * np.array([x, y]))
        noise = rng.normal(scale=noise_deg / DEGREES_PER_IMAGE, size=(samples, 2))
        pieces.append(np.tile([x, y], (samples, 1)) + noise)
    fractions = np.concatenate(pieces)
    times_ms = np.arange(len(fractions)) * 1000 / rate_hz
    return GazeStream(times_ms, fractions * DEGREES_PER_IMAGE, fractions)


LOST = float("nan")


@pytest.mark.parametrize("detect", DETECTORS)
def test_known_fixations_are_found_with_their_times(detect) -> None:
    stream = stream_of((0.2, 0.3, 100), (0.7, 0.6, 150), (0.4, 0.8, 75))
    path = to_scanpath(stream, detect(stream, LIMITS), Counter())
    assert path is not None
    assert [(round(f.x, 1), round(f.y, 1)) for f in path] == [(0.2, 0.3), (0.7, 0.6), (0.4, 0.8)]
    durations = [f.duration_ms for f in path]
    assert durations == pytest.approx([200, 300, 150], abs=8)
    assert [f.onset_ms for f in path] == pytest.approx([0, 220, 540], abs=8)


@pytest.mark.parametrize("detect", DETECTORS)
def test_short_stays_are_no_fixations(detect) -> None:
    stream = stream_of((0.2, 0.3, 100), (0.7, 0.6, 30), (0.4, 0.8, 100))  # the middle one lasts 60 ms
    assert len(detect(stream, LIMITS)) == 2
    assert len(detect(stream, Thresholds(min_duration_ms=50))) == 3


@pytest.mark.parametrize("detect", DETECTORS)
def test_a_short_gap_is_bridged_and_a_long_one_is_not(detect) -> None:
    short = stream_of((0.5, 0.5, 60), (LOST, LOST, 20), (0.5, 0.5, 60))  # 40 ms
    long = stream_of((0.5, 0.5, 60), (LOST, LOST, 100), (0.5, 0.5, 60))  # 200 ms
    assert len(detect(short, LIMITS)) == 1
    assert len(detect(long, LIMITS)) == 2


def test_losses_and_places_off_the_image_are_counted() -> None:
    stream = stream_of(
        (0.5, 0.5, 60), (LOST, LOST, 20), (0.5, 0.5, 60), (LOST, LOST, 100), (1.2, 0.5, 60), (LOST, LOST, 400)
    )
    dropped: Counter[str] = Counter()
    path = to_scanpath(stream, detect_by_velocity(stream, LIMITS), dropped)
    assert path is not None
    assert len(path) == 1
    assert dropped == {"samples lost": 520, "blinks": 1, "pupil losses": 1, "fixation off the image": 1}


@pytest.mark.parametrize("detect", DETECTORS)
def test_nothing_in_nothing_out(detect) -> None:
    for stream in (stream_of((LOST, LOST, 50)), stream_of((0.5, 0.5, 1)), stream_of((0.5, 0.5, 0))):
        assert detect(stream, LIMITS) == []
        assert to_scanpath(stream, [], Counter()) is None


def test_a_drift_is_one_fixation_by_velocity_and_several_by_dispersion() -> None:
    fractions = np.column_stack([np.linspace(0.2, 0.4, 500), np.full(500, 0.5)])  # 4 degrees in a second
    stream = GazeStream(np.arange(500) * 2.0, fractions * DEGREES_PER_IMAGE, fractions)
    assert len(detect_by_velocity(stream, LIMITS)) == 1
    pieces = detect_by_dispersion(stream, LIMITS)
    assert len(pieces) == 4
    for piece in pieces:
        assert np.ptp(stream.degrees[piece][:, 0]) <= LIMITS.dispersion_deg


def test_streams_are_checked_at_birth() -> None:
    with pytest.raises(ValueError, match="as many positions"):
        GazeStream(np.zeros(3), np.zeros((2, 2)), np.zeros((3, 2)))
    with pytest.raises(ValueError, match="backwards"):
        GazeStream(np.array([0.0, 2.0, 1.0]), np.zeros((3, 2)), np.zeros((3, 2)))
