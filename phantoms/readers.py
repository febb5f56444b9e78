"""Simulated readings: the scanpath of one reader on one phantom.

Findings draw the eye early, the more severe the earlier; between and after them the eye sweeps from region to region.
Calibrated to the statistics in `calibration`; see docs/explanation/readers.md.
"""

import math
import zlib
from collections.abc import Mapping

import numpy as np

from gazevlm_core.findings import Grade
from gazevlm_core.scanpath import Fixation, Scanpath
from phantoms.reader_habits import (
    REGIONS,
    Aim,
    Purpose,
    Reader,
    entry_point,
    finding_aims,
    next_region,
    other_side,
    seen_findings,
    towards,
)
from phantoms.truth import Phantom

__all__ = ["HELD_OUT_READER", "READERS", "Reader", "simulate_reading"]

# Habits differ mildly: a reader tilts the search that the image suggests, and does not replace it.
READERS: tuple[Reader, ...] = (
    Reader("brisk", tempo=0.88, jitter=0.016, vigilance=-0.3, refixating=0.15, returning=0.6),
    Reader("careful", tempo=1.12, jitter=0.012, vigilance=0.5, refixating=0.35, comparison=0.9),
    Reader("right-leaning", tempo=0.97, rightward=0.35),
    Reader("left-leaning", tempo=1.03, rightward=-0.35, returning=0.8),
    Reader("from below", upward=-0.35, comparison=0.7),
    Reader("from above", tempo=1.05, jitter=0.014, upward=0.35, pairing=0.35),
)
# Never used in training: fine-tuning has to learn this habit.
HELD_OUT_READER = Reader(
    "apices and angles",
    jitter=0.013,
    opening=("right apex", "left apex"),
    closing=("right costophrenic angle", "left costophrenic angle"),
)

SHORTEST_READING = 6  # fixations
USUAL_READING = 6.6  # fixations, on average, where nothing is found
FIXATIONS_PER_FINDING = 1.7
LENGTH_SPREAD = 0.5  # standard deviation in fixations
REGIONS_BEFORE: Mapping[Grade, int] = {"severe": 0, "moderate": 1, "subtle": 2}  # swept before a finding is met
REVISITED_BELOW = 0.07  # regions this close to a place already fixated are skipped, fraction of the image side

DURATION_MEDIAN_MS = 280.0
DURATION_LOG_SPREAD = 0.44
PURPOSE_TEMPO: Mapping[Purpose, float] = {"finding": 1.12, "comparison": 1.0, "sweep": 0.93}
VIEWING_ANGLE_DEG = 30.0  # assumed width of the displayed image
SACCADE_MS, SACCADE_MS_PER_DEG = 21.0, 2.2  # main sequence: Carpenter, "Movements of the Eyes" (1988)
LAST_POSITION = 0.999  # fixations lie in [0, 1)


def _generator(phantom: Phantom, reader: Reader, reading_seed: int) -> np.random.Generator:
    words = (phantom.seed, zlib.crc32(reader.name.encode()), reading_seed)
    return np.random.default_rng([word % 2**64 for word in words])


def _detours(phantom: Phantom, reader: Reader, rng: np.random.Generator) -> tuple[int, dict[int, list[Aim]]]:
    """How many findings are noticed, and the aims they cause, by the number of regions swept before."""
    seen = seen_findings(phantom.findings, reader, rng)
    detours: dict[int, list[Aim]] = {}
    for rank, finding in enumerate(seen):
        aims = finding_aims(finding, rank == 0, phantom.landmarks, reader, rng)
        detours.setdefault(REGIONS_BEFORE[finding.grade] + rank, []).extend(aims)
    if seen and rng.random() < reader.returning:
        later = REGIONS_BEFORE[seen[0].grade] + 2 + len(seen)
        detours.setdefault(later, []).append(Aim(*seen[0].foci[0], "finding"))
    return len(seen), detours


def _plan(phantom: Phantom, reader: Reader, rng: np.random.Generator, max_fixations: int) -> list[Aim]:
    """The planned fixations of one reading, in order: the sweep with its detours."""
    marks = phantom.landmarks
    num_seen, detours = _detours(phantom, reader, rng)
    wanted = USUAL_READING + FIXATIONS_PER_FINDING * num_seen + LENGTH_SPREAD * rng.standard_normal()
    open_length = min(max(round(wanted), SHORTEST_READING), max_fixations) - len(reader.closing)
    plan = [Aim(*marks[name], "sweep") for name in reader.opening]
    left_over = [name for name in REGIONS if name not in reader.opening + reader.closing]
    paired: str | None = None
    swept = 0
    while len(plan) < open_length:
        if swept in detours:
            plan += detours[swept]
            paired = None
        gaze = plan[-1].at if plan else entry_point(marks)
        left_over = [
            name for name in left_over if all(math.dist(marks[name], aim.at) >= REVISITED_BELOW for aim in plan)
        ]
        if not left_over:
            break
        name = next_region(gaze, paired, left_over, marks, reader, rng)
        plan.append(Aim(*marks[name], "sweep"))
        if rng.random() < reader.refixating:
            plan.append(Aim(*towards(marks[name], marks["carina"]), "sweep"))
        paired = other_side(name)
        swept += 1
    return [*plan[:open_length], *(Aim(*marks[name], "sweep") for name in reader.closing)]


def simulate_reading(phantom: Phantom, reader: Reader, reading_seed: int, *, max_fixations: int = 12) -> Scanpath:
    """One reading of a phantom.

    Args:
        phantom: what is read.
        reader: who reads; see READERS and HELD_OUT_READER.
        reading_seed: number of the reading; the same phantom, reader and number always give the same scanpath.
        max_fixations: the longest path, >= 6.

    Returns:
        A scanpath of 6 to `max_fixations` fixations with source "simulated", durations and onsets in ms.

    Raises:
        ValueError: max_fixations below 6.
        KeyError: a landmark that the phantom lacks.
    """
    if max_fixations < SHORTEST_READING:
        raise ValueError(f"a reading takes at least {SHORTEST_READING} fixations, got max_fixations={max_fixations}")
    rng = _generator(phantom, reader, reading_seed)
    fixations: list[Fixation] = []
    clock_ms = 0.0
    for aim in _plan(phantom, reader, rng, max_fixations):
        x = min(max(aim.x + reader.jitter * float(rng.standard_normal()), 0.0), LAST_POSITION)
        y = min(max(aim.y + reader.jitter * float(rng.standard_normal()), 0.0), LAST_POSITION)
        if fixations:
            travel_deg = VIEWING_ANGLE_DEG * math.dist((x, y), (fixations[-1].x, fixations[-1].y))
            clock_ms += SACCADE_MS + SACCADE_MS_PER_DEG * travel_deg
        spread = math.exp(DURATION_LOG_SPREAD * float(rng.standard_normal()))
        duration_ms = round(DURATION_MEDIAN_MS * reader.tempo * PURPOSE_TEMPO[aim.purpose] * spread, 1)
        fixations.append(Fixation(x, y, duration_ms, round(clock_ms, 1)))
        clock_ms += duration_ms
    return Scanpath(tuple(fixations), "simulated")
