"""Fixations of the moving-window mode: where the sharp disc rested, found by I-DT in the samples of the pointer.

Distances are measured in radii of the disc, as I-DT measures degrees: what the disc shows is what a fovea would see. A
fixation is a run of at least 100 ms in which (max x - min x) + (max y - min y) is at most one radius; a gap of more
than 75 ms beyond the usual interval ends it. It lies at the mean of its samples; its duration is that of its samples
plus one interval, so durations are true times of rest, though of a hand.
"""

from collections.abc import Sequence

import numpy as np

from gazevlm_core.annotation import PointerSample
from gazevlm_core.datasets.detection import GazeStream, Thresholds, detect_by_dispersion
from gazevlm_core.scanpath import Fixation, Scanpath

DISPERSION_RADII, SHORTEST_MS, LONGEST_GAP_MS = 1.0, 100.0, 75.0
LIMITS = Thresholds(dispersion_deg=DISPERSION_RADII, min_duration_ms=SHORTEST_MS, max_gap_ms=LONGEST_GAP_MS)
NO_REST = "The disc rested nowhere on the image: hold it still for a moment wherever you look, then submit again."


def rests(samples: Sequence[PointerSample], width_px: int, height_px: int, radius_px: float) -> Scanpath:
    """The scanpath of a moving window.

    Args:
        samples: in order of time.
        width_px, height_px: of the upright image.
        radius_px: of the disc, in px of the image.

    Raises:
        ValueError: no rest on the image.
    """
    times_ms = np.array([sample.time_ms for sample in samples])
    fractions = np.array([(sample.x, sample.y) for sample in samples]).reshape(-1, 2)
    stream = GazeStream(times_ms, fractions * (width_px / radius_px, height_px / radius_px), fractions)
    fixations, interval_ms = [], stream.interval_ms
    for run in detect_by_dispersion(stream, LIMITS):
        x, y = (float(value) for value in fractions[run].mean(axis=0))
        if 0 <= x < 1 and 0 <= y < 1:
            begun, ended = float(times_ms[run][0]), float(times_ms[run][-1])
            fixations.append(Fixation(x, y, ended - begun + interval_ms, begun))
    if not fixations:
        raise ValueError(NO_REST)
    return Scanpath(tuple(fixations), "moving window")
