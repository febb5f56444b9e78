"""Simulated readings: calibrated to real ones, informative in their order, and the same on every run."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from gazevlm_core.geometry import PatchGrid
from gazevlm_core.metrics.sequence import sequence_scores
from gazevlm_core.scanpath import Fixation, Scanpath
from phantoms.calibration import (
    CalibrationRow,
    calibration_table,
    dwell_map,
    refixated_cells,
    saccade_amplitudes,
    turning_angles_deg,
)
from phantoms.make import make_phantom
from phantoms.reader_habits import mirrored, other_side, seen_findings
from phantoms.readers import HELD_OUT_READER, READERS, Reader, simulate_reading
from phantoms.truth import Phantom, PlacedFinding

pytestmark = pytest.mark.slow

NUM_PHANTOMS = 320
GRID = PatchGrid(8, 8)
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
    return {key: [GRID.index_of(fixation) for fixation in path] for key, path in readings.items()}


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
    box = (at[0] - 0.03, at[1] - 0.03, at[0] + 0.03, at[1] + 0.03)
    return PlacedFinding(name, "right", "upper", severity, box, (at,), np.ones((1, 1), bool))


def share_noticed(subtle: PlacedFinding, *others: PlacedFinding) -> float:
    rng = np.random.default_rng(0)
    return float(np.mean([subtle in seen_findings((subtle, *others), READERS[2], rng) for _ in range(2000)]))


@pytest.mark.parametrize(
    "label", ["fixation duration (ms)", "saccade amplitude (fraction of side)", "turning angle (deg)"]
)
def test_quantiles_match_real_readers(table: dict[str, CalibrationRow], label: str) -> None:
    for percentile, tolerance in ((25, 0.25), (50, 0.15), (75, 0.25)):
        row = table[f"{label} p{percentile}"]
        assert abs(row.simulated / row.real - 1) <= tolerance, row


def test_places_by_step_and_refixations_match_real_readers(table: dict[str, CalibrationRow]) -> None:
    row = table["re-fixated 8x8 cells"]
    assert abs(row.simulated / row.real - 1) <= 0.25, row
    for step in range(1, 7):
        for axis in "xy":
            spread, mean = table[f"{axis} spread at step {step}"], table[f"{axis} mean at step {step}"]
            assert abs(spread.simulated / spread.real - 1) <= 0.25, spread
            assert abs(mean.simulated - mean.real) <= 0.05, mean


def test_dwell_maps_match_real_readers(table: dict[str, CalibrationRow]) -> None:
    rows = [row for row in table.values() if row.statistic.startswith("dwell map")]
    assert len(rows) == 11
    for row in rows:
        assert row.simulated >= 0.6, row


def mean_score(first: Sequence[Sequence[int]], second: Sequence[Sequence[int]]) -> float:
    return float(sequence_scores(first, second).mean())


def test_order_and_image_carry_the_path(phantoms: list[Phantom], paths: Paths) -> None:
    rng = np.random.default_rng(1)
    first = [path for key, path in paths.items() if key[2] == 0]
    keys = [key for key in paths if key[2] == 0]
    second = [paths[number, who, 1] for number, who, _ in keys]
    ceiling = mean_score(first, second)
    assert 0.35 <= ceiling <= 0.5
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
    assert mean_score(first, other_image) <= ceiling - 0.08
    assert mean_score(first, [rng.permutation(path).tolist() for path in second]) <= ceiling - 0.08
    sample = [first[int(i)] for i in rng.choice(len(first), 200, replace=False)]
    best_constant = max(mean_score([path] * len(sample), sample) for path in sample[:100])
    assert best_constant <= ceiling - 0.08


def test_step_number_alone_does_not_tell_the_place(paths: Paths) -> None:
    for step in range(12):
        cells = Counter(path[step] for path in paths.values() if len(path) > step)
        assert max(cells.values()) / cells.total() < 0.15, step


def test_length_is_told_by_the_image(phantoms: list[Phantom], paths: Paths) -> None:
    lengths = np.array(
        [[len(paths[number, who, k]) for who in range(len(READERS)) for k in (0, 1)] for number in range(NUM_PHANTOMS)]
    )
    assert lengths.min() >= 6
    assert lengths.max() == 12
    assert lengths.std(axis=1).mean() < 1
    assert (np.abs(lengths - np.median(lengths, axis=1, keepdims=True)) <= 2).mean() > 0.95
    count = np.array([len(phantom.findings) for phantom in phantoms])
    assert lengths[count == 0].mean() < 7.5 < lengths[count == 1].mean() < lengths[count == 2].mean()


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


def test_severe_findings_are_looked_at_first_and_subtle_ones_later() -> None:
    at = (0.22, 0.33)
    arrivals = []
    for severity in (0.95, 0.5, 0.25):
        paths = [simulate_reading(chest(lesion(severity, at), seed=seed), READERS[0], 0) for seed in range(60)]
        steps = [
            next((step for step, one in enumerate(path) if math.dist((one.x, one.y), at) < 0.06), 12) for path in paths
        ]
        arrivals.append(float(np.mean(steps)))
    assert arrivals[0] < 0.2 < arrivals[1] < arrivals[2]


def test_chance_of_noticing_rises_with_severity_and_falls_after_another_finding() -> None:
    assert share_noticed(lesion(0.05)) < share_noticed(lesion(0.2)) < share_noticed(lesion(0.6))
    assert share_noticed(lesion(0.6)) > 0.98
    severe = lesion(0.9, (0.8, 0.6), "consolidation")
    assert share_noticed(lesion(0.12), severe) < share_noticed(lesion(0.12)) - 0.05


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
def test_longest_reading_is_kept(longest: int) -> None:
    crowded = chest(*(lesion(0.9, (0.2 + 0.1 * number, 0.5)) for number in range(5)))
    for reader in (*READERS, HELD_OUT_READER):
        assert len(simulate_reading(crowded, reader, 0, max_fixations=longest)) == longest


def test_refused_arguments() -> None:
    with pytest.raises(ValueError, match="at least 6 fixations"):
        simulate_reading(chest(), READERS[0], 0, max_fixations=5)
    with pytest.raises(ValueError, match="comparison must be a probability"):
        Reader("keen", comparison=1.2)
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
    fixations = [Fixation(x, y, duration_ms=100.0) for x, y in points]
    assert saccade_amplitudes(fixations) == pytest.approx([0.1, 0.2, 0.19, 0.1])
    assert turning_angles_deg(fixations) == pytest.approx([90, 180, 90])
    assert refixated_cells(fixations) == 2  # cells (0, 0) and (0, 1) of 8 x 8, twice each
    shares = dwell_map([Scanpath(tuple(fixations), "simulated")])
    assert shares[[0, 1, 17]] == pytest.approx([0.4, 0.4, 0.2])


def test_calibration_needs_readings_with_times() -> None:
    with pytest.raises(ValueError, match="needs readings"):
        calibration_table([])
    untimed = Scanpath((Fixation(0.5, 0.5),), "simulated")
    with pytest.raises(ValueError, match="needs fixation durations"):
        dwell_map([untimed])
