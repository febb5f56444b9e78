"""Simulated readings beside those of people: the statistics that both are compared by.

    python -m phantoms.calibration                  the table of docs/explanation/readers.md, from 3,000 phantoms
    python -m phantoms.calibration --people FOLDER  the same, and the people's numbers measured anew

People: 1,250 whole readings of radiologists on SIIM-ACR radiographs (Saab et al., Observational Supervision for Medical
Image Classification, MICCAI 2021), and durations and dwell maps of 4,875 scanpaths of radiologists (GazeSearch release,
cut to six fixations each by its publishers, coordinates on images stretched to a square). Only aggregates are stored,
in `reading_statistics.json` and `reader_statistics.json`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from scipy.ndimage import binary_dilation

from gazevlm_core.datasets.siim import SIDE_PX, decode_runs
from gazevlm_core.datasets.siim_gaze import MASKS, PATHS
from gazevlm_core.findings import FINDING_NAMES
from gazevlm_core.geometry import PatchGrid
from gazevlm_core.scanpath import Scanpath
from phantoms.order_information import ESTIMATORS, merge_equal, order_information, returns_to_cells
from phantoms.truth import Phantom

DWELL_GRID = PatchGrid(8, 8)
PERCENTILES = (5, 25, 50, 75, 95)
MASK_SIDE, WIDENED_BY = 128, 4  # a lesion reaches 3% of the side further: a fixation there sees it
LARGEST_LESION = 0.1  # share of the image after widening; the people's lesions are seldom larger
SMALL_LESION = 0.03
COMPARED_WITH_CHANCE = (
    "dwell on a lesion, share of the reading",
    "dwell on a lesion / its share",
    "lesions never fixated",
)
STEPS_COMPARED = (None, 24)  # fixations from the beginning; None is all
SEARCHES, WHOLE_READINGS = "reader_statistics.json", "reading_statistics.json"


@dataclass(frozen=True, slots=True)
class CalibrationRow:
    """One statistic of people and of simulated readings.

    Args:
        statistic: name with its unit, e.g. "saccade amplitude (fraction of side) p50".
        real: value in the people's readings; 1 for a correlation with their dwell map.
        simulated: value in the simulated readings.
    """

    statistic: str
    real: float
    simulated: float


@dataclass(frozen=True, eq=False)
class Recording:
    """What the statistics need of one reading, of a person or simulated.

    Args:
        places: float [N, 2], x and y as fractions of the image, in [0, 1).
        durations: float [N], in any unit.
        lesions: of the image, each widened by 3% of the side; bool [MASK_SIDE, MASK_SIDE].
    """

    places: np.ndarray
    durations: np.ndarray
    lesions: tuple[np.ndarray, ...]


@cache
def people_statistics(name: str) -> Mapping[str, Any]:
    """Return the stored aggregates of people's readings in SEARCHES or WHOLE_READINGS; do not change the answer in
    place."""
    text = resources.files("phantoms").joinpath(name).read_text(encoding="utf-8")
    statistics: dict[str, Any] = json.loads(text)
    return statistics


def saccade_amplitudes(places: np.ndarray) -> np.ndarray:
    """Return the length of each saccade as a fraction of the image side, float64 [N - 1]; places are float [N, 2]."""
    return np.hypot(*np.diff(places, axis=0).T)


def turning_angles_deg(places: np.ndarray) -> np.ndarray:
    """Return the absolute change of direction from each saccade to the next, in [0, 180] degrees, float64 [N - 2]."""
    steps = np.diff(places, axis=0)
    turns_deg = np.abs(np.diff(np.degrees(np.arctan2(steps[:, 1], steps[:, 0]))))
    return np.minimum(turns_deg, 360.0 - turns_deg)


def widened(mask: np.ndarray) -> np.ndarray:
    """Return a mask of any size on MASK_SIDE x MASK_SIDE points, reaching 3% of the side further."""
    rows, columns = ((np.arange(MASK_SIDE) + 0.5) / MASK_SIDE * side for side in mask.shape)
    points = mask[np.ix_(rows.astype(int), columns.astype(int))]
    return np.asarray(binary_dilation(points, iterations=WIDENED_BY))


def recording_of(phantom: Phantom, reading: Scanpath) -> Recording:
    """Return what the statistics need of a simulated reading.

    Raises:
        ValueError: a fixation of unknown duration.
    """
    durations = [fixation.duration_ms for fixation in reading]
    if None in durations:
        raise ValueError("calibration needs fixation durations; this scanpath has none")
    places = np.array([(fixation.x, fixation.y) for fixation in reading])
    return Recording(places, np.array(durations, float), tuple(widened(one.mask) for one in phantom.findings))


def _percentiles(label: str, values: np.ndarray) -> dict[str, float]:
    found = np.percentile(values, PERCENTILES)
    return {f"{label} p{percentile}": float(value) for percentile, value in zip(PERCENTILES, found, strict=True)}


def path_statistics(recordings: Sequence[Recording]) -> dict[str, float]:
    """Return lengths, steps, returns, saccades and turns of many readings, by name."""
    cells = [DWELL_GRID.indices_of(one.places) for one in recordings]
    lengths = np.array([len(one.places) for one in recordings])
    has_lesion = np.array([bool(one.lesions) for one in recordings])
    return {
        **_percentiles("fixations", lengths),
        "fixations, no lesion, p50": float(np.median(lengths[~has_lesion])),
        "fixations, a lesion, p50": float(np.median(lengths[has_lesion])),
        **_percentiles("steps, equal 8x8 cells merged,", np.array([len(merge_equal(one)) for one in cells])),
        **_percentiles("distinct 8x8 cells", np.array([len(np.unique(one)) for one in cells])),
        **_percentiles("share that returns to a visited cell", np.array([returns_to_cells(c).mean() for c in cells])),
        **_percentiles(
            "saccade amplitude (fraction of side)",
            np.concatenate([saccade_amplitudes(one.places) for one in recordings]),
        ),
        **_percentiles("turning angle (deg)", np.concatenate([turning_angles_deg(one.places) for one in recordings])),
    }


def lesion_statistics(recordings: Sequence[Recording]) -> dict[str, float]:
    """Return dwell on lesions of at most LARGEST_LESION, when it comes, and how many are never fixated, by name.

    Readings with several lesions are left out: these share the dwell, and no image of the people's has more than one.
    """
    areas, shares, firsts = [], [], []
    thirds = []
    for one in recordings:
        columns, rows = (one.places * MASK_SIDE).astype(int).T
        for lesion in one.lesions:
            if len(one.lesions) > 1 or lesion.mean() > LARGEST_LESION:
                continue
            on = lesion[rows, columns]
            areas.append(lesion.mean())
            shares.append(np.average(on, weights=one.durations))
            firsts.append(int(on.argmax()) + 1 if on.any() else 0)
            parts = zip(np.array_split(on * one.durations, 3), np.array_split(one.durations, 3), strict=True)
            thirds.append([part.sum() / max(whole.sum(), 1e-9) for part, whole in parts])
    area, first = np.array(areas), np.array(firsts)
    never = first == 0
    return {
        "lesion, share of the image": float(area.mean()),
        "dwell on a lesion, share of the reading": float(np.mean(shares)),
        "dwell on a lesion / its share": float(np.mean(shares) / area.mean()),
        **{
            f"dwell on a lesion, {part} third / its share": float(value / area.mean())
            for part, value in zip(("first", "second", "last"), np.mean(thirds, axis=0), strict=True)
        },
        "lesions never fixated": float(never.mean()),
        f"lesions under {SMALL_LESION:.0%} never fixated": float(never[area < SMALL_LESION].mean()),
        f"lesions over {SMALL_LESION:.0%} never fixated": float(never[area >= SMALL_LESION].mean()),
        "step of the first fixation on a lesion p50": float(np.median(first[~never])),
    }


def elsewhere_statistics(recordings: Sequence[Recording]) -> dict[str, float]:
    """Return what of `lesion_statistics` chance and habit would do: each lesion under the reading of another image."""
    half = len(recordings) // 2
    moved = [
        Recording(other.places, other.durations, one.lesions)
        for one, other in zip(recordings, [*recordings[half:], *recordings[:half]], strict=True)
    ]
    found = lesion_statistics(moved)
    return {f"{name}, by another image's reading": found[name] for name in COMPARED_WITH_CHANCE}


def _all_statistics(recordings: Sequence[Recording]) -> dict[str, float]:
    return {**path_statistics(recordings), **lesion_statistics(recordings), **elsewhere_statistics(recordings)}


def dwell_map(scanpaths: Sequence[Scanpath]) -> np.ndarray:
    """Share of the dwell time in each cell of the 8x8 grid, row-major, float64 [64].

    Raises:
        ValueError: a fixation of unknown duration, or no dwell time at all.
    """
    dwell_ms = np.zeros(len(DWELL_GRID))
    for scanpath in scanpaths:
        for fixation in scanpath.fixations:
            if fixation.duration_ms is None:
                raise ValueError("a dwell map needs fixation durations; this scanpath has none")
            dwell_ms[DWELL_GRID.index_of(fixation)] += fixation.duration_ms
    if dwell_ms.sum() == 0.0:
        raise ValueError("a dwell map needs at least one scanpath with dwell time")
    return dwell_ms / dwell_ms.sum()


def calibration_table(readings: Sequence[tuple[Phantom, Scanpath]]) -> list[CalibrationRow]:
    """Return people and simulated readings side by side.

    Args:
        readings: phantoms with one reading each; a phantom may occur several times. A few hundred are needed for the
            numbers to be stable, among them readings with and without findings.

    Returns:
        Rows for durations, paths and lesions, and for the Pearson correlation of dwell maps per finding.

    Raises:
        ValueError: no readings, or fixations without durations.
    """
    if not readings:
        raise ValueError("a calibration table needs readings")
    searches, whole = people_statistics(SEARCHES), people_statistics(WHOLE_READINGS)["statistics"]
    real_durations = searches["fixation_duration_ms"]
    recordings = [recording_of(phantom, reading) for phantom, reading in readings]
    durations = _percentiles("fixation duration (ms)", np.concatenate([one.durations for one in recordings]))
    rows = [CalibrationRow(name, real_durations[name.split()[-1]], value) for name, value in durations.items()]
    for name, value in _all_statistics(recordings).items():
        rows.append(CalibrationRow(name, whole[name], value))
    for name, entry in searches["per_finding"].items():
        paths = [path for phantom, path in readings if any(finding.name == name for finding in phantom.findings)]
        if paths:
            correlation = np.corrcoef(dwell_map(paths), entry["dwell_share_8x8_row_major"])[0, 1]
            rows.append(CalibrationRow(f"dwell map correlation, {name}", 1.0, float(correlation)))
    return rows


def order_table(places: Sequence[np.ndarray], labels: np.ndarray, names: Sequence[str]) -> dict[str, list[float]]:
    """Order information by both estimators: name -> [value, low, high]; see `order_information`."""
    table = {}
    for estimator, features in ESTIMATORS.items():
        for steps in STEPS_COMPARED:
            span = "all" if steps is None else f"first {steps}"
            for kind, one in order_information(places, labels, names, features, steps=steps).items():
                table[f"{estimator}, {span}: {kind}"] = [round(value, 4) for value in (one.value, one.low, one.high)]
    return table


def read_people(folder: Path) -> tuple[list[Recording], np.ndarray]:
    """Return the readings of a folder as `datasets.siim_gaze` reads it, with their times, and who has a pneumothorax.

    Off-image fixations (0.5%) are moved to the border.
    """
    entries = json.loads((folder / PATHS).read_text(encoding="utf-8"))
    runs = json.loads((folder / MASKS).read_text(encoding="utf-8"))
    recordings = []
    for entry in entries:
        places = np.clip(np.array([entry["y"], entry["x"]]).T, 0.0, 0.999)  # the file's x is from the top
        lesions = (widened(_mask_of(runs[entry["image_id"]])),) if entry["pneumothorax"] else ()
        recordings.append(Recording(places, np.array(entry["t"], float), lesions))
    return recordings, np.array([float(entry["pneumothorax"]) for entry in entries])


def _mask_of(runs: Sequence[str]) -> np.ndarray:
    """Return a mask from SIIM's run lengths; bool [SIDE_PX, SIDE_PX]."""
    mask = np.zeros(SIDE_PX**2, dtype=bool)
    for start, end in (run for text in runs for run in decode_runs(text)):
        mask[start:end] = True
    return mask.reshape(SIDE_PX, SIDE_PX).T


def _store_people(folder: Path) -> None:
    recordings, ill = read_people(folder)
    statistics = _all_statistics(recordings)
    stored = {
        "source": "1,250 whole readings, one radiologist each, on SIIM-ACR radiographs, 268 with pneumothorax (Saab et "
        "al., Observational Supervision for Medical Image Classification Using Gaze Data, MICCAI 2021)",
        "statistics": {name: round(value, 4) for name, value in statistics.items()},
        "order_information_auroc": order_table([one.places for one in recordings], ill[:, None], ["pneumothorax"]),
    }  # fmt: skip
    text = json.dumps(stored, indent=1) + "\n"
    Path(__file__).with_name(WHOLE_READINGS).write_text(text, encoding="utf-8")
    people_statistics.cache_clear()


def main(
    people: Annotated[Path | None, typer.Option(help="Folder of the people's readings, to measure them anew.")] = None,
    n: Annotated[int, typer.Option(help="Phantoms, each read once.", min=100)] = 3000,
) -> None:
    """Print people and simulated readings side by side, as Markdown."""
    from phantoms.make import make_phantom
    from phantoms.readers import READERS, simulate_reading

    if people is not None:
        _store_people(people)
    phantoms = [make_phantom(seed, size_px=MASK_SIDE) for seed in range(n)]
    readings = [(one, simulate_reading(one, READERS[one.seed % len(READERS)], 0)) for one in phantoms]
    typer.echo("| statistic | people | phantoms |\n|---|---|---|")
    for row in calibration_table(readings):
        typer.echo(f"| {row.statistic} | {row.real:.3g} | {row.simulated:.3g} |")
    there = [{finding.name for finding in phantom.findings} for phantom in phantoms]
    labels = np.array([[float(name in names) for name in FINDING_NAMES] for names in there])
    places = [np.array([(fixation.x, fixation.y) for fixation in path]) for _, path in readings]
    typer.echo("\n| AUROC of findings from gaze alone | people | phantoms |\n|---|---|---|")
    stored = people_statistics(WHOLE_READINGS)["order_information_auroc"]
    for name, value in order_table(places, labels, FINDING_NAMES).items():
        typer.echo(f"| {name} | {_interval(stored[name])} | {_interval(value)} |")


def _interval(values: Sequence[float]) -> str:
    return "{:.3f} [{:.3f}, {:.3f}]".format(*values)


if __name__ == "__main__":
    typer.run(main)
