"""Simulated readings: calibrated to real ones, informative in their order, and the same on every run."""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gazevlm_core.findings import FINDING_NAMES
from gazevlm_core.geometry import PatchGrid
from gazevlm_core.metrics.sequence import sequence_scores
from gazevlm_core.scanpath import Fixation, Scanpath
from phantoms.calibration import (
    MASK_SIDE,
    CalibrationRow,
    Recording,
    calibration_table,
    dwell_map,
    lesion_statistics,
    read_people,
    saccade_amplitudes,
    turning_angles_deg,
    widened,
)
from phantoms.make import make_phantom
from phantoms.order_information import ESTIMATORS, merge_equal, order_information, returns_to_cells
from phantoms.reader_habits import captures, mirrored, other_side, recognises
from phantoms.readers import HELD_OUT_READER, READERS, Reader, clicking, simulate_reading
from phantoms.truth import Phantom, PlacedFinding

pytestmark = pytest.mark.slow

NUM_PHANTOMS = 320
GRID = PatchGrid(8, 8)
STEPS, MARGIN = 24, 0.025  # steps that a path is compared by; by how much its sequence score lies above floors
Paths = Mapping[tuple[int, int, int], list[int]]  # (phantom, reader, reading) -> patch indices


@pytest.fixture(scope="module")
def phantoms() -> list[Phantom]:
    return [make_phantom(seed, size_px=64) for seed in range(NUM_PHANTOMS)]


@pytest.fixture(scope="module")
def readings(phantoms: list[Phantom]) -> dict[tuple[int, int, int], Scanpath]:
    return {
        (number, who, reading): simulate_reading(phantom, reader, reading)
        for number, phantom in enumerate(phantoms)
        for who, reader in enumerate(READERS)
        for reading in (0, 1)
    }


@pytest.fixture(scope="module")
def table(phantoms: list[Phantom], readings: dict[tuple[int, int, int], Scanpath]) -> dict[str, CalibrationRow]:
    return {
        row.statistic: row for row in calibration_table([(phantoms[key[0]], path) for key, path in readings.items()])
    }


@pytest.fixture(scope="module")
def paths(readings: dict[tuple[int, int, int], Scanpath]) -> Paths:
    return {key: merge_equal(GRID.indices_of(places_of(path))).tolist() for key, path in readings.items()}


def places_of(path: Iterable[Fixation]) -> np.ndarray:
    return np.array([(fixation.x, fixation.y) for fixation in path])


def chest(*findings: PlacedFinding, seed: int = 3) -> Phantom:
    """A symmetric chest around x = 0.5, written by hand."""
    landmarks = {"upper spine": (0.5, 0.2), "lower spine": (0.5, 0.75), "carina": (0.5, 0.4), "heart": (0.57, 0.63)}
    landmarks |= {"aortic knob": (0.56, 0.32), "left heart border": (0.7, 0.64), "right heart border": (0.39, 0.64)}
    places = {"apex": (0.16, 0.18), "upper lung": (0.2, 0.28), "mid lung": (0.23, 0.44), "lower lung": (0.25, 0.62)}
    places |= {"hilum": (0.12, 0.44), "costophrenic angle": (0.37, 0.82), "diaphragm": (0.18, 0.72)}
    places |= {"lateral ribs": (0.38, 0.5)}
    for name, (across, y) in places.items():
        landmarks |= {f"right {name}": (0.5 - across, y), f"left {name}": (0.5 + across, y)}
    return Phantom(seed, "A", np.zeros((1, 1), np.uint8), findings, landmarks)


def lesion(severity: float, at: tuple[float, float] = (0.22, 0.33), name: str = "lung lesion") -> PlacedFinding:
    box = (at[0] - 0.12, at[1] - 0.12, at[0] + 0.12, at[1] + 0.12)
    return PlacedFinding(name, "right", "upper", severity, box, (at,), np.ones((1, 1), bool))


CLOSE = {  # statistic -> percentiles that lie within a share of the people's
    "fixation duration (ms)": ((25, 50, 75), 0.1),
    "fixations": ((25, 50, 75), 0.2),
    "steps, equal 8x8 cells merged,": ((25, 50, 75), 0.15),
    "distinct 8x8 cells": ((25, 50, 75), 0.15),
    "share that returns to a visited cell": ((25, 50, 75), 0.1),
    "saccade amplitude (fraction of side)": ((25, 50, 75), 0.15),
    "turning angle (deg)": ((25, 50, 75), 0.2),
}


@pytest.mark.parametrize("label", CLOSE)
def test_readings_are_as_long_and_as_wide_as_peoples(table: dict[str, CalibrationRow], label: str) -> None:
    percentiles, tolerance = CLOSE[label]
    for percentile in percentiles:
        row = table[f"{label} p{percentile}"]
        assert abs(row.simulated / row.real - 1) <= tolerance, row


def test_lesions_draw_the_eye_as_those_of_people_do(table: dict[str, CalibrationRow]) -> None:
    simulated = {name: row.simulated for name, row in table.items()}
    assert simulated["fixations, a lesion, p50"] > 1.25 * simulated["fixations, no lesion, p50"]
    first, *later = (simulated[f"dwell on a lesion, {part} third / its share"] for part in ("first", "second", "last"))
    assert first > 1.1 * max(later)
    assert 0.02 < simulated["lesions never fixated"] < simulated["lesions under 3% never fixated"] < 0.3
    for name, sign in (("dwell on a lesion, share of the reading", 1), ("lesions never fixated", -1)):
        row, chance = table[name], table[f"{name}, by another image's reading"]
        effects = sign * (row.real - chance.real), sign * (row.simulated - chance.simulated)
        assert 0.5 * effects[0] < effects[1] < 1.5 * effects[0], f"{name}: lesions draw the eye as those of people do"


def test_the_axes_of_the_peoples_file_are_those_of_their_masks(tmp_path: Path) -> None:
    entry = {"image_id": "1.2", "pneumothorax": 1, "x": [0.1, 0.9], "y": [0.7, 0.2], "t": [1, 1]}
    (tmp_path / "scanpaths.json").write_text(json.dumps([entry]))
    square = f"{1024 * 701 + 88} 32" + " 992 32" * 31  # 32 px a side, around x 0.7, y 0.1
    (tmp_path / "pneumothorax_rle_1024.json").write_text(json.dumps({"1.2": [square]}))
    (recording,), _ = read_people(tmp_path)
    assert recording.places.tolist() == [[0.7, 0.1], [0.2, 0.9]], "the distance from the left first"
    columns, rows = (recording.places * MASK_SIDE).astype(int).T
    assert recording.lesions[0][rows, columns].tolist() == [True, False]


def test_dwell_maps_match_real_readers(table: dict[str, CalibrationRow]) -> None:
    rows = [row for row in table.values() if row.statistic.startswith("dwell map")]
    assert len(rows) == 11
    for row in rows:
        assert row.simulated >= 0.55, row


@pytest.mark.parametrize(("estimator", "most"), [("cells by thirds", 0.04), ("transitions, steps, returns", 0.12)])
def test_order_tells_a_little_and_places_no_more_than_that_of_people(
    phantoms: list[Phantom], readings: dict[tuple[int, int, int], Scanpath], estimator: str, most: float
) -> None:
    keys = [(number, who, 0) for number in range(NUM_PHANTOMS) for who in range(len(READERS))]
    places = [places_of(readings[key]) for key in keys]  # each phantom six times, which inflates what is found
    there = [{finding.name for finding in phantoms[number].findings} for number, _, _ in keys]
    labels = np.array([[float(name in names) for name in FINDING_NAMES] for names in there])
    features = ESTIMATORS[estimator]
    found = order_information(places, labels, FINDING_NAMES, features)
    assert found["shuffled"].value < 0.7
    assert 0.01 < found["difference"].value < most
    lost = [np.random.default_rng(number).permutation(one) for number, one in enumerate(places)]
    assert abs(order_information(lost, labels, FINDING_NAMES, features)["difference"].value) < 0.01


def mean_score(first: Sequence[Sequence[int]], second: Sequence[Sequence[int]]) -> float:
    return float(sequence_scores(first, second).mean())


def test_order_and_image_carry_the_path(phantoms: list[Phantom], paths: Paths) -> None:
    rng = np.random.default_rng(1)
    paths = {key: path[:STEPS] for key, path in paths.items()}
    first = [path for key, path in paths.items() if key[2] == 0]
    keys = [key for key in paths if key[2] == 0]
    second = [paths[number, who, 1] for number, who, _ in keys]
    ceiling = mean_score(first, second)
    assert 0.25 <= ceiling <= 0.4
    other_reader = [
        paths[number, (who + 1 + int(rng.integers(len(READERS) - 1))) % len(READERS), 1] for number, who, _ in keys
    ]
    assert 0.85 * ceiling <= mean_score(first, other_reader) <= ceiling

    holders: dict[str, list[int]] = {}
    for number, phantom in enumerate(phantoms):
        for name in {finding.name for finding in phantom.findings} or {"no finding"}:
            holders.setdefault(name, []).append(number)
    other_image = []
    for number, who, _ in keys:
        found = [finding.name for finding in phantoms[number].findings] or ["no finding"]
        alike = [one for one in holders[found[int(rng.integers(len(found)))]] if one != number]
        other_image.append(paths[alike[int(rng.integers(len(alike)))], who, 1])
    assert mean_score(first, other_image) <= ceiling - MARGIN
    assert mean_score(first, [rng.permutation(path).tolist() for path in second]) <= ceiling - MARGIN
    sample = [first[int(i)] for i in rng.choice(len(first), 200, replace=False)]
    best_constant = max(mean_score([path] * len(sample), sample) for path in sample[:100])
    assert best_constant <= ceiling - MARGIN


def test_step_number_alone_does_not_tell_the_place(paths: Paths) -> None:
    for step in range(12):
        cells = Counter(path[step] for path in paths.values() if len(path) > step)
        assert max(cells.values()) / cells.total() < 0.15, step


def test_same_arguments_same_reading_and_other_seeds_another() -> None:
    phantom = chest(lesion(0.8))
    first = simulate_reading(phantom, READERS[0], 5)
    assert simulate_reading(phantom, READERS[0], 5) == first
    others = [simulate_reading(phantom, READERS[0], 6), simulate_reading(phantom, READERS[1], 5)]
    assert first not in [*others, simulate_reading(chest(lesion(0.8), seed=4), READERS[0], 5)]


def test_times_follow_each_other() -> None:
    path = simulate_reading(chest(lesion(0.5)), READERS[0], 0)
    assert path.source == "simulated"
    assert path.fixations[0].onset_ms == 0.0
    for before, after in zip(path.fixations, path.fixations[1:], strict=False):
        assert before.duration_ms is not None
        assert before.onset_ms is not None
        assert after.onset_ms is not None
        amplitude_deg = 30 * math.dist((before.x, before.y), (after.x, after.y))
        assert after.onset_ms - before.onset_ms - before.duration_ms == pytest.approx(
            21 + 2.2 * amplitude_deg, abs=0.11
        )


def test_severe_findings_are_met_first_and_subtle_ones_later_or_never() -> None:
    at = (0.22, 0.33)
    arrivals, met = [], []
    for severity in (0.95, 0.45, 0.2):
        paths = [simulate_reading(chest(lesion(severity, at), seed=seed), READERS[0], 0) for seed in range(200)]
        steps = [
            next((step for step, one in enumerate(path) if math.dist((one.x, one.y), at) < 0.04), None)
            for path in paths
        ]
        arrivals.append(float(np.median([step for step in steps if step is not None])))
        met.append(sum(step is not None for step in steps))
    assert arrivals[0] < arrivals[1] < arrivals[2]
    assert met[0] > met[1] > met[2]


def test_what_is_unsure_is_returned_to_and_checked_at_the_end() -> None:
    at = (0.22, 0.33)

    def ends_there(severity: float) -> float:
        paths = [simulate_reading(chest(lesion(severity, at), seed=seed), READERS[2], 0) for seed in range(300)]
        near = [[math.dist((one.x, one.y), at) < 0.06 for one in path] for path in paths]
        met = [one for one in near if any(one[:-6])]
        return float(np.mean([any(one[-6:]) for one in met]))

    assert ends_there(0.45) > ends_there(1.0) + 0.05


def test_clicks_are_few_and_on_what_is_there() -> None:
    places = ((0.22, 0.33), (0.8, 0.6))
    lengths, met = [], []
    for seed in range(60):
        phantom = chest(*(lesion(0.6, at) for at in places), seed=seed)
        path = simulate_reading(phantom, clicking(READERS[2]), 0)
        lengths.append(len(path))
        met += [min(math.dist((one.x, one.y), at) for one in path) < 0.06 for at in places]
    assert np.median(lengths) < 20
    assert np.mean(met) > 0.85


def test_chance_of_seeing_rises_with_severity_and_size_and_falls_after_another_finding() -> None:
    rng = np.random.default_rng(0)

    def share(sees: Callable[..., bool], *given: object) -> float:
        return float(np.mean([sees(*given, READERS[2], rng) for _ in range(2000)]))

    subtle, severe = lesion(0.2), lesion(0.9)
    small = replace(severe, box=(0.2, 0.3, 0.24, 0.34))
    assert share(captures, subtle) < 0.1 < 0.8 < share(captures, severe)
    assert share(captures, small) < 0.5
    assert share(recognises, subtle, 0) < share(recognises, small, 0) < share(recognises, severe, 0)
    assert share(recognises, subtle, 2) < share(recognises, subtle, 0) - 0.02


def test_held_out_reader_opens_with_the_apices_and_closes_with_the_angles() -> None:
    ends = [(0.34, 0.18), (0.66, 0.18), (0.13, 0.82), (0.87, 0.82)]
    habitual = 0
    for seed in range(80):
        phantom = chest(lesion(0.9), seed=seed) if seed % 2 else chest(seed=seed)
        path = simulate_reading(phantom, HELD_OUT_READER, 0).fixations
        for fixation, aim in zip((*path[:2], *path[-2:]), ends, strict=True):
            assert math.dist((fixation.x, fixation.y), aim) < 5 * HELD_OUT_READER.jitter
        usual = simulate_reading(phantom, READERS[seed % len(READERS)], 0).fixations
        habitual += all(math.dist((one.x, one.y), aim) < 0.08 for one, aim in zip(usual[:2], ends[:2], strict=True))
    assert habitual <= 4
    assert HELD_OUT_READER not in READERS
    assert not any(reader.opening or reader.closing for reader in READERS)


@pytest.mark.parametrize("longest", [6, 8, 12])
def test_a_longest_reading_cuts_the_whole_one_and_keeps_a_closing(longest: int) -> None:
    crowded = chest(*(lesion(0.9, (0.2 + 0.1 * number, 0.5)) for number in range(5)))
    for reader in READERS:
        whole = simulate_reading(crowded, reader, 0)
        cut = simulate_reading(crowded, reader, 0, max_fixations=longest)
        assert len(whole) > len(cut) == longest
        assert [(one.x, one.y) for one in cut] == [(one.x, one.y) for one in whole][:longest]
    end = simulate_reading(crowded, HELD_OUT_READER, 0, max_fixations=longest).fixations[-1]
    assert math.dist((end.x, end.y), (0.87, 0.82)) < 5 * HELD_OUT_READER.jitter


def test_refused_arguments() -> None:
    with pytest.raises(ValueError, match="at least 6 fixations"):
        simulate_reading(chest(), READERS[0], 0, max_fixations=5)
    with pytest.raises(ValueError, match="comparison must be a probability"):
        Reader("keen", comparison=1.2)
    with pytest.raises(ValueError, match="with lingering 1 a reading would never end"):
        Reader("rapt", lingering=1.0)
    with pytest.raises(ValueError, match="jitter must be positive"):
        Reader("rigid", jitter=0.0)


def test_five_readers_with_names_of_their_own() -> None:
    names = [reader.name for reader in (*READERS, HELD_OUT_READER)]
    assert len(READERS) >= 5
    assert len(set(names)) == len(names)


def test_mirrored_place_lies_across_the_tilted_spine() -> None:
    landmarks = {"upper spine": (0.5, 0.2), "lower spine": (0.6, 0.8)}
    assert mirrored((0.3, 0.5), landmarks) == pytest.approx((0.8, 0.5))  # the spine passes x = 0.55 there
    assert other_side("right hilum") == "left hilum"
    assert other_side("left heart border") is None


def test_statistics_of_a_hand_written_path() -> None:
    points = [(0.1, 0.1), (0.2, 0.1), (0.2, 0.3), (0.2, 0.11), (0.1, 0.11)]  # right, down, back up, left
    places, fixations = np.array(points), [Fixation(x, y, duration_ms=100.0) for x, y in points]
    assert saccade_amplitudes(places) == pytest.approx([0.1, 0.2, 0.19, 0.1])
    assert turning_angles_deg(places) == pytest.approx([90, 180, 90])
    cells = GRID.indices_of(places)
    assert cells.tolist() == [0, 1, 17, 1, 0]
    assert returns_to_cells(cells).tolist() == [False, False, False, True, True]
    assert merge_equal(np.array([3, 3, 4, 4, 3])).tolist() == [3, 4, 3]
    shares = dwell_map([Scanpath(tuple(fixations), "simulated")])
    assert shares[[0, 1, 17]] == pytest.approx([0.4, 0.4, 0.2])


def test_calibration_needs_readings_with_times() -> None:
    with pytest.raises(ValueError, match="needs readings"):
        calibration_table([])
    untimed = Scanpath((Fixation(0.5, 0.5),), "simulated")
    with pytest.raises(ValueError, match="needs fixation durations"):
        dwell_map([untimed])
    with pytest.raises(ValueError, match="needs fixation durations"):
        calibration_table([(chest(), untimed)])


def test_lesion_statistics_of_a_hand_written_reading() -> None:
    mask = np.zeros((64, 64), bool)
    mask[32:36, 32:36] = True  # 8 of 128 points a side, widened by 4 in each direction
    wide = widened(mask)
    assert wide[[60, 59], 64].tolist() == [True, False]
    assert wide[64, [75, 76]].tolist() == [True, False]
    on, off = (0.52, 0.52), (0.1, 0.9)
    seen = Recording(np.array([off, on, off, off, off, off]), np.ones(6), (wide,))
    missed = Recording(np.array([off] * 6), np.ones(6), (wide,))
    found = lesion_statistics([seen, missed])
    assert found["lesions never fixated"] == 0.5
    assert found["step of the first fixation on a lesion p50"] == 2
    assert found["dwell on a lesion / its share"] == pytest.approx(1 / 12 / wide.mean())
    assert found["dwell on a lesion, first third / its share"] == pytest.approx(1 / 4 / wide.mean())
    assert found["dwell on a lesion, last third / its share"] == 0.0
