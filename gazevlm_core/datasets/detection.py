"""From a raw gaze stream to fixations: by velocity (I-VT) or by dispersion (I-DT).

Source: Salvucci and Goldberg, "Identifying fixations and saccades in eye-tracking protocols", ETRA 2000. Variants
pinned here: velocity between neighbouring valid samples, no smoothing; dispersion = (max x - min x) + (max y - min y);
a gap without a valid sample of up to `max_gap_ms` is bridged, a longer one ends a fixation; a fixation lies at the mean
of its valid samples and lasts from its first to its last, plus one sampling interval (the median one).
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gazevlm_core.scanpath import Fixation, Scanpath

BLINK_MS = (75.0, 500.0)  # a run of lost samples of this length counts as a blink, a longer one as a pupil loss


@dataclass(frozen=True, eq=False)
class GazeStream:
    """Samples of one reading.

    Args:
        times_ms: float64 [N], not running backwards.
        degrees: float64 [N, 2], position in degrees of visual angle (any origin); NaN where the eye was lost.
        fractions: float64 [N, 2], the same as fractions of the upright image; outside [0, 1) off the image.

    Raises:
        ValueError: shapes that do not fit, or times that run backwards.
    """

    times_ms: np.ndarray
    degrees: np.ndarray
    fractions: np.ndarray

    def __post_init__(self) -> None:
        size = len(self.times_ms)
        if self.degrees.shape != (size, 2) or self.fractions.shape != (size, 2):
            raise ValueError(f"{size} times need as many positions")
        if size and (np.isnan(self.times_ms).any() or (np.diff(self.times_ms) < 0).any()):
            raise ValueError("times must be known and must not run backwards")

    @property
    def valid(self) -> np.ndarray:
        """Samples with an eye, bool [N]."""
        return np.isfinite(self.degrees).all(axis=1) & np.isfinite(self.fractions).all(axis=1)

    @property
    def interval_ms(self) -> float:
        """The usual time from one sample to the next."""
        return float(np.median(np.diff(self.times_ms))) if len(self.times_ms) > 1 else 0.0


@dataclass(frozen=True)
class Thresholds:
    """What makes a fixation.

    Args:
        velocity_deg_s: I-VT: slower than this is a fixation.
        dispersion_deg: I-DT: no more spread than this.
        min_duration_ms: shorter ones are not kept.
        max_gap_ms: of lost samples that are bridged.
    """

    velocity_deg_s: float = 30.0
    dispersion_deg: float = 1.0
    min_duration_ms: float = 80.0
    max_gap_ms: float = 75.0


def detect_by_velocity(stream: GazeStream, limits: Thresholds) -> list[slice]:
    """Return runs of samples that move slowly (I-VT), as slices into the stream."""
    kept = np.flatnonzero(stream.valid)
    if len(kept) < 2:
        return []
    times_ms, degrees = stream.times_ms[kept], stream.degrees[kept]
    passed_ms = np.diff(times_ms)
    moved = np.linalg.norm(np.diff(degrees, axis=0), axis=1)
    # two samples at one time: the eye has moved or it has not
    speed = np.divide(1000 * moved, passed_ms, out=np.where(moved > 0, np.inf, 0.0), where=passed_ms > 0)
    linked = (speed < limits.velocity_deg_s) & (passed_ms <= limits.max_gap_ms + stream.interval_ms)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], linked, [False]]).astype(int)))
    runs = [(kept[start], kept[end]) for start, end in zip(edges[::2], edges[1::2], strict=True)]
    return _long_enough(stream, runs, limits)


def detect_by_dispersion(stream: GazeStream, limits: Thresholds) -> list[slice]:
    """Return windows (I-DT) of at least the least duration that stay close together, each grown as far as it does."""
    kept = np.flatnonzero(stream.valid)
    times_ms = stream.times_ms[kept]
    interval_ms = stream.interval_ms  # a median, so taken once
    broken = (np.diff(times_ms) > limits.max_gap_ms + interval_ms).tolist()
    places = stream.degrees[kept].tolist()  # plain numbers: many small steps are ten times as quick with them
    runs: list[tuple[int, int]] = []
    start = 0
    while start < len(kept):
        end = start
        left, top = right, bottom = places[start]
        while end + 1 < len(kept) and not broken[end]:
            x, y = places[end + 1]
            wider = min(left, x), min(top, y), max(right, x), max(bottom, y)
            if wider[2] - wider[0] + wider[3] - wider[1] > limits.dispersion_deg:
                break
            left, top, right, bottom = wider
            end += 1
        if times_ms[end] - times_ms[start] + interval_ms >= limits.min_duration_ms:
            runs.append((kept[start], kept[end]))
            start = end + 1
        else:
            start += 1
    return _long_enough(stream, runs, limits)


def to_scanpath(stream: GazeStream, runs: list[slice], dropped: Counter[str]) -> Scanpath | None:
    """Return fixations of the runs, with onsets since the first sample; None where none lies on the image.

    Args:
        runs: from a detector.
        dropped: gets "fixation off the image", and of the stream "blinks", "pupil losses" and "samples lost".
    """
    count_losses(stream, dropped)
    fixations, interval_ms = [], stream.interval_ms
    for run in runs:
        x, y = stream.fractions[run][stream.valid[run]].mean(axis=0)
        if not (0 <= x < 1 and 0 <= y < 1):
            dropped["fixation off the image"] += 1
            continue
        times_ms = stream.times_ms[run]
        duration_ms = times_ms[-1] - times_ms[0] + interval_ms
        onset_ms = times_ms[0] - stream.times_ms[0]
        fixations.append(Fixation(float(x), float(y), float(duration_ms), float(onset_ms)))
    return Scanpath(tuple(fixations), "eyetracker") if fixations else None


def count_losses(stream: GazeStream, dropped: Counter[str]) -> None:
    """Count lost samples, and the runs of them that are as long as a blink or longer."""
    for run in _runs(~stream.valid):
        dropped["samples lost"] += run.stop - run.start
        last = min(run.stop, len(stream.times_ms) - 1)
        lost_ms = stream.times_ms[last] - stream.times_ms[run.start]
        if lost_ms > BLINK_MS[1]:
            dropped["pupil losses"] += 1
        elif lost_ms >= BLINK_MS[0]:
            dropped["blinks"] += 1


def _runs(marked: np.ndarray) -> Iterator[slice]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], marked, [False]]).astype(int)))
    yield from (slice(int(start), int(end)) for start, end in zip(edges[::2], edges[1::2], strict=True))


def _long_enough(stream: GazeStream, runs: list[tuple[int, int]], limits: Thresholds) -> list[slice]:
    interval_ms = stream.interval_ms
    return [
        slice(int(first), int(last) + 1)
        for first, last in runs
        if stream.times_ms[last] - stream.times_ms[first] + interval_ms >= limits.min_duration_ms
    ]
