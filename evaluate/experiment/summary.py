"""From cells to the table: means over seeds, intervals over seeds and images, and paired differences between orders."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evaluate.cases import StudyCase
from evaluate.experiment.plan import BASE, Plan
from evaluate.experiment.run import TRUTH_FILE
from evaluate.finding_scores import finding_labels
from evaluate.results import estimate_values
from gazevlm_core.metrics.intervals import RESAMPLES, Estimate, bootstrap_counts, estimate_of
from gazevlm_core.metrics.labels import macro_auroc
from gazevlm_core.phantom.truth import FINDING_NAMES
from gazevlm_core.training.gaze_order import GazeOrder

# What is compared, first less second.
CONTRASTS = (
    (GazeOrder.ORIGINAL, GazeOrder.SHUFFLED), (GazeOrder.ORIGINAL, GazeOrder.RANDOM),
    (GazeOrder.ORIGINAL, GazeOrder.NONE), (GazeOrder.SHUFFLED, GazeOrder.RANDOM),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Scored:
    """One score of the runs of one group, with all resamples.

    Args:
        values: float64 [S], one per seed.
        samples: float64 [S, R], in each resample of the test images.
    """

    values: np.ndarray
    samples: np.ndarray

    def mean(self, picks: np.ndarray) -> Estimate:
        """Mean over seeds; the interval draws seeds and images again.

        Args:
            picks: int [R, S], seeds of each resample.
        """
        rows = np.arange(self.samples.shape[1])[:, None]
        return estimate_of(float(self.values.mean()), self.samples[picks, rows].mean(axis=1))

    def less(self, other: "Scored") -> "Scored":
        """Paired difference, seed by seed and resample by resample."""
        return Scored(self.values - other.values, self.samples - other.samples)


def read_cells(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """The cells that are there."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.is_file()]


def read_truth(folder: Path) -> dict[str, list[StudyCase]]:
    """What is true of the test images: domain -> cases, without sides and readings."""
    values = json.loads((folder / TRUTH_FILE).read_text(encoding="utf-8"))
    return {
        domain: [StudyCase(case["seed"], case["severities"], {}, ()) for case in cases]
        for domain, cases in values.items()
    }


def summarise(
    cells: Sequence[Mapping[str, Any]], truths: Mapping[str, Sequence[StudyCase]], plan: Plan
) -> dict[str, Any]:
    """Everything the report shows, as plain values.

    Args:
        cells: finished runs.
        truths: domain -> cases that the runs were scored on.
        plan: of the experiment.
    """
    counts = bootstrap_counts(plan.test_images, RESAMPLES, plan.test_seed)
    groups = _groups(cells)
    domains: dict[str, Any] = {}
    for domain, cases in truths.items():
        labels = finding_labels(cases, FINDING_NAMES, moderate=False)
        scored = {key: _scored(group, domain, labels, counts) for key, group in groups.items()}
        domains[domain] = {
            "runs": [_run_values(key, scores, groups[key], domain) for key, scores in scored.items()],
            "differences": _differences(scored),
        }
    return {"resamples": RESAMPLES, "runs": len(cells), "domains": domains}


_Key = tuple[str, str, int]  # variant, order, images


def _groups(cells: Sequence[Mapping[str, Any]]) -> dict[_Key, list[Mapping[str, Any]]]:
    groups: dict[_Key, list[Mapping[str, Any]]] = {}
    for cell in sorted(cells, key=lambda values: values["cell"]["seed"]):
        about = cell["cell"]
        groups.setdefault((about["variant"], about["order"], about["images"]), []).append(cell)
    return groups


def _scored(
    group: Sequence[Mapping[str, Any]], domain: str, labels: np.ndarray, counts: np.ndarray
) -> dict[str, Scored]:
    """Macro AUROC, AUROC of each finding, and the sequence score where there is one."""
    columns: dict[str, list[tuple[float, np.ndarray]]] = {}
    for cell in group:
        values = cell["domains"][domain]
        auroc = macro_auroc(labels, np.array(values["head_logits"]), FINDING_NAMES, counts)
        columns.setdefault("macro AUROC", []).append((auroc.macro.value, auroc.samples))
        if values["sequence_scores"] is not None:
            per_image = np.array(values["sequence_scores"])
            samples = counts @ per_image / len(per_image)
            columns.setdefault("sequence score", []).append((float(per_image.mean()), samples))
    return {
        name: Scored(np.array([value for value, _ in rows]), np.stack([samples for _, samples in rows]))
        for name, rows in columns.items()
    }


def _picks(seeds: int) -> np.ndarray:
    return np.random.default_rng(seeds).integers(seeds, size=(RESAMPLES, seeds))


def _run_values(
    key: _Key, scores: Mapping[str, Scored], group: Sequence[Mapping[str, Any]], domain: str
) -> dict[str, Any]:
    variant, order, images = key
    seeds = len(group)
    findings: dict[str, list[float]] = {}
    for cell in group:
        for name, values in cell["domains"][domain]["finding_head"]["all_severities"]["per_finding"].items():
            findings.setdefault(name, []).append(values["value"])
    scanpath = [cell["domains"][domain]["scanpath"] for cell in group]
    floors: dict[str, float] = {}
    if all(isinstance(values, dict) for values in scanpath):
        sequence = [values["sequence_score"] for values in scanpath]
        floors = {
            name: float(np.mean([values["floors"][name]["value"] for values in sequence]))
            for name in sequence[0]["floors"]
        }
        floors["order gain"] = float(np.mean([values["order_gain"]["value"] for values in sequence]))
        floors["ceiling: same reader again"] = float(np.mean([v["ceiling_same_reader"]["value"] for v in sequence]))
    return {
        "variant": variant,
        "order": order,
        "images": images,
        "seeds": seeds,
        **{
            name: {**(estimate_values(score.mean(_picks(seeds))) or {}), "by_seed": np.round(score.values, 5).tolist()}
            for name, score in scores.items()
        },
        "per_finding": {name: round(float(np.mean(values)), 5) for name, values in findings.items()},
        "sequence_floors": {name: round(value, 5) for name, value in floors.items()},
    }


def _differences(scored: Mapping[_Key, Mapping[str, Scored]]) -> list[dict[str, Any]]:
    found = []
    for images in sorted({key[2] for key in scored if key[0] == BASE}):
        for first, second in CONTRASTS:
            one, other = (scored.get((BASE, order.value, images)) for order in (first, second))
            if one is None or other is None:
                continue
            for name in one.keys() & other.keys():
                if len(one[name].values) != len(other[name].values):
                    continue  # unfinished: other seeds
                less = one[name].less(other[name])
                estimate = less.mean(_picks(len(less.values)))
                found.append(
                    {
                        "images": images, "score": name, "first": first.value, "second": second.value,
                        **(estimate_values(estimate) or {}), "by_seed": np.round(less.values, 5).tolist(),
                    }
                )  # fmt: skip
    return sorted(found, key=lambda entry: (entry["score"], entry["images"]))
