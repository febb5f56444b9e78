"""Simulated readings: the scanpath of one reader on one phantom, from the first glance to the last check.

A reading is a search as radiologists' eyes show it: gross abnormality draws the eye at once, a scan goes from place to
place with a few small steps in each, what is met may be recognised, what is unsure is compared and returned to, and
checked again before the end. See docs/explanation/readers.md for the sources, and `calibration` for the figures.
"""

import math
import zlib
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from gazevlm_core.scanpath import Fixation, Scanpath
from phantoms.reader_habits import (
    REGIONS,
    Aim,
    Point,
    Purpose,
    Reader,
    captures,
    conspicuity,
    entry_point,
    mirrored,
    next_region,
    other_side,
    recognises,
)
from phantoms.truth import Phantom, PlacedFinding

__all__ = ["HELD_OUT_READER", "LONGEST_READING", "READERS", "Reader", "clicking", "simulate_reading"]

# Habits differ mildly: a reader tilts the search that the image suggests, and does not replace it.
READERS: tuple[Reader, ...] = (
    Reader("brisk", tempo=0.88, jitter=0.02, vigilance=-0.3, thoroughness=0.8, returning=0.5),
    Reader("careful", tempo=1.12, jitter=0.014, vigilance=0.4, thoroughness=1.25, comparison=0.5),
    Reader("right-leaning", tempo=0.97, rightward=0.35),
    Reader("left-leaning", tempo=1.03, rightward=-0.35, returning=0.65),
    Reader("from below", upward=-0.35, thoroughness=0.95),
    Reader("from above", tempo=1.05, jitter=0.016, upward=0.35, pairing=0.5),
)
# Never used in training: fine-tuning has to learn this habit.
HELD_OUT_READER = Reader(
    "apices and angles",
    jitter=0.013,
    thoroughness=0.45,
    opening=("right apex", "left apex"),
    closing=("right costophrenic angle", "left costophrenic angle"),
)

CLICKING, CLICKING_VIGILANCE = 0.25, 4.0  # of the usual scan; added to the log-odds of seeing a finding
SHORTEST_READING = 6  # fixations
LONGEST_READING = 120
USUAL_SCAN = 30.0  # fixations of the scan in the median reading
SCAN_LOG_SPREAD = 0.48  # of one reader from reading to reading
SMALL_STEP, SMALL_STEP_LOG_SPREAD = 0.032, 0.6  # median length within a place
SMALL_TURN = 1.8  # from one small step to the next, standard deviation in radians
REGION_SPREAD = 0.022  # where in a region the eye lands, standard deviation
EXTENT_FOLLOWED = 0.4  # chance of fixating another part of a finding as severe as can be
RETURN_RATE = 0.33  # per visit of the scan, to a finding that is unsure
UNSURE_AT_LEAST = 0.5  # chance that a finding as severe as can be is returned to
SETTLED = 0.2  # chance that a return during the scan leaves nothing to doubt
LAST_COMPARISON = 0.5  # share of the reader's chance of comparing, at the last check
LONGER_BY = 2.0  # fixations that a finding adds to the scan beside those on itself
USEFUL_FIELD = 0.14  # a finding within this distance of a fixation can be recognised

DURATION_MEDIAN_MS = 275.0
DURATION_LOG_SPREAD = 0.44
PURPOSE_TEMPO: Mapping[Purpose, float] = {"finding": 1.15, "comparison": 1.0, "sweep": 0.97}
VIEWING_ANGLE_DEG = 30.0  # assumed width of the displayed image
SACCADE_MS, SACCADE_MS_PER_DEG = 21.0, 2.2  # main sequence: Carpenter, "Movements of the Eyes" (1988)
LAST_POSITION = 0.999  # fixations lie in [0, 1)


def clicking(reader: Reader) -> Reader:
    """Return the same reader who marks an image by clicks: a short path, seldom two clicks in a place, little
    overlooked."""
    thoroughness, vigilance = CLICKING * reader.thoroughness, reader.vigilance + CLICKING_VIGILANCE
    return replace(reader, thoroughness=thoroughness, vigilance=vigilance, staying=0.1, lingering=0.1, grasp=9)


def _generator(phantom: Phantom, reader: Reader, reading_seed: int) -> np.random.Generator:
    words = (phantom.seed, zlib.crc32(reader.name.encode()), reading_seed)
    return np.random.default_rng([word % 2**64 for word in words])


class _Search:
    """One reading while it comes about."""

    def __init__(self, phantom: Phantom, reader: Reader, rng: np.random.Generator) -> None:
        self.phantom, self.reader, self.rng = phantom, reader, rng
        self.marks = phantom.landmarks
        self.aims: list[Aim] = []
        self.last_visit: dict[str, int] = {}  # region -> number of the visit
        self.visits = 0
        self.unseen = list(phantom.findings)
        self.unsure: list[PlacedFinding] = []
        self.extra = 0.0  # fixations added to the scan by what was found

    def stay(self, at: Point, purpose: Purpose, *, once: bool = False) -> None:
        """Land near a place, and go on in small steps for as long as chance has it."""
        rng, jitter = self.rng, self.reader.jitter
        x, y = at[0] + jitter * rng.standard_normal(), at[1] + jitter * rng.standard_normal()
        direction = math.atan2(y - self.aims[-1].y, x - self.aims[-1].x) if self.aims else 0.0
        self.aims.append(Aim(x, y, purpose))
        while not once and rng.random() < self.reader.staying:
            length = SMALL_STEP * math.exp(SMALL_STEP_LOG_SPREAD * rng.standard_normal())
            direction += SMALL_TURN * rng.standard_normal()
            x, y = x + length * math.cos(direction), y + length * math.sin(direction)
            self.aims.append(Aim(x, y, purpose))
        self.visits += 1

    def region(self, name: str) -> None:
        """Visit a region of the scan; a finding near by may be recognised, and is then examined."""
        x, y = self.marks[name]
        spread, before = REGION_SPREAD * self.rng.standard_normal(2), len(self.aims)
        self.stay((x + spread[0], y + spread[1]), "sweep")
        self.last_visit[name] = self.visits
        seen_from = [aim.at for aim in self.aims[before:]]
        for finding in self.unseen:
            near = (math.dist(at, focus) < USEFUL_FIELD for at in seen_from for focus in finding.foci)
            if any(near) and recognises(
                finding, len(self.phantom.findings) - len(self.unseen), self.reader, self.rng
            ):
                self.unseen.remove(finding)
                self.examine(finding)
                return

    def examine(self, finding: PlacedFinding) -> None:
        """Fixate a finding for a while, and where it leaves doubt compare it with the other side and come back."""
        rng, reader = self.rng, self.reader
        doubt = 1.0 - finding.severity
        before = len(self.aims)
        focus, *others = finding.foci
        self.stay(focus, "finding")
        for other in others:  # how far a gross finding reaches is followed, a subtle one is no more than a spot
            if rng.random() < EXTENT_FOLLOWED * finding.severity:
                self.stay(other, "finding")
        while rng.random() < reader.lingering:
            self.stay(finding.foci[int(rng.integers(len(finding.foci)))], "finding")
        while finding.side in ("left", "right") and rng.random() < reader.comparison * doubt:
            self.stay(mirrored(focus, self.marks), "comparison")
            self.stay(focus, "finding")
        if rng.random() < UNSURE_AT_LEAST + (1.0 - UNSURE_AT_LEAST) * doubt:
            self.unsure.append(finding)
        self.extra += len(self.aims) - before + LONGER_BY * reader.thoroughness
        for name in REGIONS:  # what was examined needs no scan for a while
            if any(math.dist(self.marks[name], place) < USEFUL_FIELD for place in finding.foci):
                self.last_visit[name] = self.visits

    def glance(self) -> None:
        """The first glance: the whole image from near its middle; gross abnormality draws the eye at once."""
        self.stay(entry_point(self.marks), "sweep")
        captured = [finding for finding in self.unseen if captures(finding, self.reader, self.rng)]
        for finding in sorted(captured, key=conspicuity, reverse=True)[: self.reader.grasp]:
            self.unseen.remove(finding)
            self.examine(finding)

    def scan(self, until: float) -> None:
        """Go from region to region; one that was just seen is left alone for a while."""
        paired: str | None = None
        names = [name for name in REGIONS if name not in self.reader.opening + self.reader.closing]
        while len(self.aims) < min(until + self.extra, LONGEST_READING):
            if self.unsure and self.rng.random() < RETURN_RATE * self.reader.returning:
                finding = self.unsure[int(self.rng.integers(len(self.unsure)))]
                self.stay(finding.foci[int(self.rng.integers(len(finding.foci)))], "finding")
                if self.rng.random() < SETTLED:
                    self.unsure.remove(finding)
                continue
            ages = {name: self.visits - visit for name, visit in self.last_visit.items()}
            name = next_region(self.aims[-1].at, paired, names, ages, self.marks, self.reader, self.rng)
            self.region(name)
            paired = other_side(name)

    def verify(self) -> None:
        """Check once more what is unsure, before the reading ends."""
        for finding in self.unsure:
            if self.rng.random() < self.reader.returning:
                self.stay(finding.foci[0], "finding")
                if finding.side in ("left", "right") and self.rng.random() < LAST_COMPARISON * self.reader.comparison:
                    self.stay(mirrored(finding.foci[0], self.marks), "comparison")


def _plan(phantom: Phantom, reader: Reader, rng: np.random.Generator, most: int) -> list[Aim]:
    """Return the fixations of one reading in order, at most so many; habits at its end are kept."""
    search = _Search(phantom, reader, rng)
    scan = USUAL_SCAN * reader.thoroughness * math.exp(SCAN_LOG_SPREAD * rng.standard_normal())
    for name in reader.opening:
        search.stay(search.marks[name], "sweep", once=True)
    search.glance()
    search.scan(max(scan, SHORTEST_READING))
    search.verify()
    kept = search.aims[: most - len(reader.closing)]
    for name in reader.closing:
        search.stay(search.marks[name], "sweep", once=True)
    return kept + search.aims[len(search.aims) - len(reader.closing) :]


def simulate_reading(
    phantom: Phantom, reader: Reader, reading_seed: int, *, max_fixations: int = LONGEST_READING
) -> Scanpath:
    """Return one reading of a phantom.

    Args:
        phantom: what is read.
        reader: who reads; see READERS and HELD_OUT_READER.
        reading_seed: number of the reading; the same phantom, reader and number always give the same scanpath.
        max_fixations: the longest path, >= 6; a longer reading is cut, but for the reader's closing.

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
        x = round(min(max(aim.x, 0.0), LAST_POSITION), 5)
        y = round(min(max(aim.y, 0.0), LAST_POSITION), 5)
        if fixations:
            travel_deg = VIEWING_ANGLE_DEG * math.dist((x, y), (fixations[-1].x, fixations[-1].y))
            clock_ms += SACCADE_MS + SACCADE_MS_PER_DEG * travel_deg
        spread = math.exp(DURATION_LOG_SPREAD * float(rng.standard_normal()))
        duration_ms = round(DURATION_MEDIAN_MS * reader.tempo * PURPOSE_TEMPO[aim.purpose] * spread, 1)
        fixations.append(Fixation(x, y, duration_ms, round(clock_ms, 1)))
        clock_ms += duration_ms
    return Scanpath(tuple(fixations), "simulated")
