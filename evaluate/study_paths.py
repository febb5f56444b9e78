"""Shown paths of a study of phantoms by every metric of `gazevlm score`, with the same floors."""

from collections.abc import Iterable, Sequence
from typing import Any

from evaluate.cases import Study, StudyCase
from evaluate.score_files import score_files
from gazevlm_core.datasets.scanpath_files import FiledPath, ScanpathFile
from gazevlm_core.metrics.paths import Size
from gazevlm_core.metrics.registry import DEFAULT_GRID
from gazevlm_core.scanpath import Scanpath


def path_metric_values(study: Study, shown: Sequence[Scanpath], seed: int) -> dict[str, Any]:
    """Results of `score_files` for one path per image against one reading by each reader.

    Args:
        study: N images; its other phantoms stand behind the floor of the most frequent places.
        shown: N paths.
        seed: of the random floors.
    """
    sizes = [tuple(map(float, study.pixels.size(index))) for index in range(len(study.cases))]
    truth = [
        path for case, (width, height) in zip(study.cases, sizes, strict=True) for path in _filed(case, (width, height))
    ]
    predicted = [
        FiledPath(str(case.seed), "", path, (width, height), "")
        for case, path, (width, height) in zip(study.cases, shown, sizes, strict=True)
    ]
    others = [path for case in study.others for path in _filed(case, (1.0, 1.0))]
    results = score_files(
        ScanpathFile(truth), ScanpathFile(predicted), training=ScanpathFile(others), grid=DEFAULT_GRID, seed=seed
    )
    metrics: dict[str, Any] = results["metrics"]
    return metrics


def _filed(case: StudyCase, size: Size) -> Iterable[FiledPath]:
    for reader, readings in enumerate(case.readings):
        yield FiledPath(str(case.seed), f"reader {reader}", readings[0], size, case.leading)
