"""Simulated readings beside real ones: the statistics that both are compared by.

The real numbers are aggregates over 4,875 scanpaths of radiologists (GazeSearch release, coordinates on images
stretched to a square), stored in `reader_statistics.json`. Their publishers cut each path to six fixations, so
simulated paths are compared by their first six.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from gazevlm_core.geometry import PatchGrid
from gazevlm_core.scanpath import Fixation, Scanpath
from phantoms.truth import Phantom

FIXATIONS_COMPARED = 6
DWELL_GRID = PatchGrid(8, 8)
PERCENTILES = (5, 25, 50, 75, 95)
_QUANTILES_OF = {
    "fixation duration (ms)": "fixation_duration_ms",
    "saccade amplitude (fraction of side)": "saccade_amplitude_fraction_of_side",
    "turning angle (deg)": "turning_angle_abs_deg",
}


@dataclass(frozen=True, slots=True)
class CalibrationRow:
    """One statistic of real and of simulated readings.

    Args:
        statistic: name with its unit, e.g. "saccade amplitude (fraction of side) p50".
        real: value in the real readings; 1 for a correlation with the real dwell map.
        simulated: value in the simulated readings.
    """

    statistic: str
    real: float
    simulated: float


@cache
def real_reader_statistics() -> Mapping[str, Any]:
    """The stored aggregates of real readings, as in `reader_statistics.json`; do not change the answer in place."""
    text = resources.files("phantoms").joinpath("reader_statistics.json").read_text(encoding="utf-8")
    statistics: dict[str, Any] = json.loads(text)
    return statistics


def saccade_amplitudes(fixations: Sequence[Fixation]) -> np.ndarray:
    """Length of each saccade as a fraction of the image side, float64 [N - 1]."""
    steps = np.diff(np.array([(fixation.x, fixation.y) for fixation in fixations]).reshape(-1, 2), axis=0)
    return np.hypot(steps[:, 0], steps[:, 1])


def turning_angles_deg(fixations: Sequence[Fixation]) -> np.ndarray:
    """Absolute change of direction from each saccade to the next, in [0, 180] degrees, float64 [N - 2]."""
    steps = np.diff(np.array([(fixation.x, fixation.y) for fixation in fixations]).reshape(-1, 2), axis=0)
    directions_deg = np.degrees(np.arctan2(steps[:, 1], steps[:, 0]))
    turns_deg = np.abs(np.diff(directions_deg))
    return np.minimum(turns_deg, 360.0 - turns_deg)


def refixated_cells(fixations: Sequence[Fixation]) -> int:
    """How many cells of the 8x8 grid are fixated more than once."""
    visits = Counter(DWELL_GRID.index_of(fixation) for fixation in fixations)
    return sum(count > 1 for count in visits.values())


def dwell_map(scanpaths: Sequence[Scanpath]) -> np.ndarray:
    """Share of the dwell time in each cell of the 8x8 grid, row-major, over the first six fixations; float64 [64].

    Raises:
        ValueError: a fixation of unknown duration, or no dwell time at all.
    """
    dwell_ms = np.zeros(len(DWELL_GRID))
    for scanpath in scanpaths:
        for fixation in scanpath.fixations[:FIXATIONS_COMPARED]:
            if fixation.duration_ms is None:
                raise ValueError("a dwell map needs fixation durations; this scanpath has none")
            dwell_ms[DWELL_GRID.index_of(fixation)] += fixation.duration_ms
    if dwell_ms.sum() == 0.0:
        raise ValueError("a dwell map needs at least one scanpath with dwell time")
    return dwell_ms / dwell_ms.sum()


def _step_rows(starts: Sequence[Sequence[Fixation]]) -> list[CalibrationRow]:
    rows = []
    for step in range(FIXATIONS_COMPARED):
        real = real_reader_statistics()["by_step"][str(step + 1)]
        at_step = [fixations[step] for fixations in starts if len(fixations) > step]
        for axis in ("x", "y"):
            places = np.array([getattr(fixation, axis) for fixation in at_step])
            rows.append(CalibrationRow(f"{axis} mean at step {step + 1}", real[f"{axis}_mean"], float(places.mean())))
            rows.append(CalibrationRow(f"{axis} spread at step {step + 1}", real[f"{axis}_std"], float(places.std())))
    return rows


def calibration_table(readings: Sequence[tuple[Phantom, Scanpath]]) -> list[CalibrationRow]:
    """Real and simulated statistics side by side.

    Args:
        readings: phantoms with one reading each; a phantom may occur several times. A few hundred are needed for the
            numbers to settle.

    Returns:
        Rows for the quantiles of duration, amplitude and turning angle, for re-fixations, for place by step, and for
        the Pearson correlation of dwell maps per finding that the readings contain.

    Raises:
        ValueError: no readings, or fixations without durations.
    """
    if not readings:
        raise ValueError("a calibration table needs readings")
    real = real_reader_statistics()
    starts = [scanpath.fixations[:FIXATIONS_COMPARED] for _, scanpath in readings]
    samples = {
        "fixation duration (ms)": np.array([fixation.duration_ms for start in starts for fixation in start], float),
        "saccade amplitude (fraction of side)": np.concatenate([saccade_amplitudes(start) for start in starts]),
        "turning angle (deg)": np.concatenate([turning_angles_deg(start) for start in starts]),
    }
    rows = []
    for label, values in samples.items():
        for percentile, value in zip(PERCENTILES, np.percentile(values, PERCENTILES), strict=True):
            real_value = real[_QUANTILES_OF[label]][f"p{percentile}"]
            rows.append(CalibrationRow(f"{label} p{percentile}", real_value, float(value)))
    refixated = float(np.mean([refixated_cells(start) for start in starts]))
    rows.append(CalibrationRow("re-fixated 8x8 cells", real["refixated_cells_of_8x8_per_path_mean"], refixated))
    rows += _step_rows(starts)
    for name, entry in real["per_finding"].items():
        paths = [path for phantom, path in readings if any(finding.name == name for finding in phantom.findings)]
        if paths:
            correlation = np.corrcoef(dwell_map(paths), entry["dwell_share_8x8_row_major"])[0, 1]
            rows.append(CalibrationRow(f"dwell map correlation, {name}", 1.0, float(correlation)))
    return rows
