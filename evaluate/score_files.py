"""Scores of one file of scanpaths against another, each beside its floors, its order gain and the readers' ceiling."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from evaluate.comparison import CEILING, OWN, Comparison
from gazevlm_core.datasets.scanpath_files import ScanpathFile
from gazevlm_core.geometry import PatchGrid
from gazevlm_core.metrics.compare import SHUFFLED
from gazevlm_core.metrics.intervals import RESAMPLES, Estimate, mean_estimate, patient_counts
from gazevlm_core.metrics.registry import all_scores, path_metrics

MOST_COUNTS = 20_000_000  # numbers in the table of resamples; bounds memory


def score_files(
    truth: ScanpathFile,
    predicted: ScanpathFile,
    *,
    training: ScanpathFile | None = None,
    grid: PatchGrid,
    seed: int = 0,
    patients: Mapping[str, str] | None = None,
    jobs: int = 1,
) -> dict[str, Any]:
    """Every metric with its interval, floors, order gain and ceiling, as JSON values; errors as in `Comparison`.

    Args:
        truth, predicted, training, grid, seed: as in `Comparison`.
        patients: image -> patient, who are drawn again for the intervals; None draws images.
        jobs: processes that score; the results do not depend on it.
    """
    compared = Comparison(truth, predicted, training, grid, seed)
    resamples = max(200, min(RESAMPLES, MOST_COUNTS // compared.num_images))
    owners = [(patients or {}).get(image_id, image_id) for image_id in compared.image_ids]
    counts = patient_counts(np.array(owners), resamples, seed)
    means = image_means(compared, jobs)
    metrics: dict[str, Any] = {}
    for name, metric in path_metrics(grid).items():
        own, floors = means[OWN][name], {floor: means[floor][name] for floor in compared.floors}
        gain = own - floors[SHUFFLED] if metric.higher_is_better else floors[SHUFFLED] - own
        metrics[name] = {
            "order": metric.order,
            "better": "higher" if metric.higher_is_better else "lower",
            **_json(mean_estimate(own, counts)),
            "order_gain": _json(mean_estimate(gain, counts)),
            "ceiling_other_reader": _json(mean_estimate(means[CEILING][name], counts)),
            "floors": {floor: _json(mean_estimate(scores, counts)) for floor, scores in floors.items()},
        }
    return {
        "images": compared.num_images,
        "pairs": len(compared.own),
        "grid": [grid.rows, grid.cols],
        "resamples": resamples,
        "dropped": {
            "off_image_fixations": truth.off_image + predicted.off_image,
            "empty_paths": truth.empty + predicted.empty,
            "predicted_paths_without_truth": compared.unmatched,
        },
        "metrics": metrics,
    }


def image_means(compared: Comparison, jobs: int = 1) -> dict[str, dict[str, np.ndarray]]:
    """Mean scores of every image, over its pairs and turns.

    Args:
        compared: what is scored.
        jobs: processes; each takes the next part, and the sums are added in the order of the parts.

    Returns:
        Name (OWN, a floor, CEILING) -> metric -> float64 [N]; NaN where nothing is defined.
    """
    names = list(path_metrics(compared.grid))
    totals = {name: np.zeros((2, len(names), compared.num_images)) for name in (OWN, *compared.floors, CEILING)}
    for (name, _), sums in zip(compared.parts, _all_sums(compared, jobs), strict=True):
        totals[name] += sums
    means: dict[str, dict[str, np.ndarray]] = {}
    for name, (sums, numbers) in totals.items():
        table = np.divide(sums, numbers, out=np.full(sums.shape, np.nan), where=numbers > 0)
        means[name] = dict(zip(names, table, strict=True))
    return means


def _all_sums(compared: Comparison, jobs: int) -> Iterator[np.ndarray]:
    if jobs == 1:
        return (_sums(compared, part) for part in compared.parts)
    from joblib import Parallel, delayed  # comes with scikit-learn

    found: Iterator[np.ndarray] = Parallel(n_jobs=jobs, return_as="generator")(
        delayed(_sums)(compared, part) for part in compared.parts
    )
    return found


def _sums(compared: Comparison, part: tuple[str, int]) -> np.ndarray:
    """Sums of defined scores, and how many there are, of each metric and image: float64 [2, M, N]."""
    pairs = compared.pairs(*part)
    scores = all_scores(path_metrics(compared.grid).values(), pairs.truth, pairs.others)
    table = np.zeros((2, len(scores), compared.num_images))
    for row, values in enumerate(scores.values()):
        known = ~np.isnan(values) & pairs.there
        table[0, row] = np.bincount(pairs.image[known], values[known], compared.num_images)
        table[1, row] = np.bincount(pairs.image[known], minlength=compared.num_images)
    return table


def _json(estimate: Estimate) -> dict[str, Any]:
    if np.isnan(estimate.value):
        return {"value": None, "interval": None}
    return {"value": round(estimate.value, 6), "interval": [round(estimate.low, 6), round(estimate.high, 6)]}
