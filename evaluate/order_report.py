"""The experiment's report: means over seeds, paired differences between orders, tables and charts."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluate.tables import facts_of, tables_of
from gazevlm_core.evaluation.findings import GradedSample, graded_labels
from gazevlm_core.evaluation.report import BASE, ExperimentReport, Score
from gazevlm_core.findings import FINDING_NAMES
from gazevlm_core.metrics.intervals import RESAMPLES, Estimate, bootstrap_counts, estimate_of
from gazevlm_core.metrics.labels import macro_auroc
from gazevlm_core.training.gaze_order import GazeOrder
from web.markup import markdown

if TYPE_CHECKING:
    from evaluate.order_experiment import Plan

RESULTS, REPORT, PAGE = "results.json", "README.md", "report.html"
TITLE = "The order of gaze"


def write_report(plan: "Plan", out: Path) -> None:
    """Write results.json, README.md and report.html from the cells that are there.

    Raises:
        ExperimentError: no finished run.
    """
    from evaluate.order_experiment import ORDER_FILE, ExperimentError, cell_path

    cells = read_cells([cell_path(out, cell) for cell in plan.cells])
    if not cells:
        raise ExperimentError(f"{out} holds no finished run; run the experiment first")
    order = out / ORDER_FILE
    known = json.loads(order.read_text(encoding="utf-8")) if order.is_file() else None
    summary = summarise(cells, read_truth(out), plan, known)
    command = (
        f"gazevlm experiment --out {out.as_posix()} --seeds {len(plan.seeds)} --steps {plan.steps} "
        f"--batch-size {plan.batch_size} --test-images {plan.test_images} "
        + " ".join(f"--sizes {size}" for size in plan.sizes)
    )
    report = ExperimentReport.model_validate(summary)
    (out / RESULTS).write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    (out / REPORT).write_text(experiment_markdown(report, plan, command), encoding="utf-8")
    (out / PAGE).write_text(experiment_page(report, command), encoding="utf-8")


def experiment_markdown(report: ExperimentReport, plan: "Plan", command: str) -> str:
    """Return the report as Markdown; `command` made it."""
    about = f"{plan.steps} steps of {plan.batch_size} examples each; {plan.test_images} test images per domain "
    parts = [f"# {TITLE}", " ".join([*facts_of(report), f"{about}(seed {plan.test_seed})."]), f"`{command}`"]
    return "\n\n".join([*parts, *(markdown(table, level=2) for table in tables_of(report))]) + "\n"


def experiment_page(report: ExperimentReport, command: str) -> str:
    """Return the report's charts as one HTML file; nothing is fetched from elsewhere."""
    from evaluate.charts import charts_of

    parts = [f"<h1>{TITLE}</h1><p>{escape(' '.join(facts_of(report)))}</p><p><code>{escape(command)}</code></p>"]
    for number, (name, chart) in enumerate(charts_of(report).items()):
        library = number == 0  # plotly's script, once
        parts += [f"<h2>{escape(name)}</h2>", chart().to_html(full_html=False, include_plotlyjs=library)]
    body = "\n".join(parts)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{TITLE}</title>'
        '<meta name="viewport" content="width=device-width"><style>body { font: 16px/1.5 system-ui, sans-serif; '
        "max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }</style></head>"
        f"<body>{body}<p>All tables: {REPORT}; all numbers: {RESULTS}.</p></body></html>"
    )


# ---- summary --------------------------------------------------------------------------------------------------------
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
        seeds: int [S], ascending.
    """

    values: np.ndarray
    samples: np.ndarray
    seeds: np.ndarray

    def mean(self, picks: np.ndarray) -> Estimate:
        """Mean over seeds; the interval draws seeds and images again.

        Args:
            picks: int [R, S], seeds of each resample.
        """
        rows = np.arange(self.samples.shape[1])[:, None]
        return estimate_of(float(self.values.mean()), self.samples[picks, rows].mean(axis=1))

    def less(self, other: "Scored") -> "Scored":
        """Paired difference, seed by seed and resample by resample, over the seeds that both have."""
        seeds, own, others = np.intersect1d(self.seeds, other.seeds, return_indices=True)
        return Scored(self.values[own] - other.values[others], self.samples[own] - other.samples[others], seeds)


def read_cells(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """The cells that are there."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.is_file()]


def read_truth(folder: Path) -> dict[str, list[GradedSample]]:
    """Return what is true of the test images: domain -> samples, without sides and readings."""
    from evaluate.order_experiment import TRUTH_FILE

    values = json.loads((folder / TRUTH_FILE).read_text(encoding="utf-8"))
    return {
        domain: [GradedSample(str(case["seed"]), severities=case["severities"]) for case in cases]
        for domain, cases in values.items()
    }


def summarise(
    cells: Sequence[Mapping[str, Any]],
    truths: Mapping[str, Sequence[GradedSample]],
    plan: "Plan",
    order: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Everything the report shows, as plain values.

    Args:
        cells: finished runs.
        truths: domain -> cases that the runs were scored on.
        order: from `order_information`, if it was measured.
    """
    counts = bootstrap_counts(plan.test_images, RESAMPLES, plan.test_seed)
    groups = _groups(cells)
    domains: dict[str, Any] = {}
    for domain, cases in truths.items():
        labels = graded_labels(cases, FINDING_NAMES)
        scored = {key: _scored(group, domain, labels, counts) for key, group in groups.items()}
        domains[domain] = {
            "runs": [_run_values(key, scores, groups[key], domain) for key, scores in scored.items()],
            "differences": _differences(scored),
            "ablations": _ablations(scored, max(plan.sizes)),
        }
    kind = "experiment"  # tells readers of the file what it is
    return {
        "kind": kind, "resamples": RESAMPLES, "runs": len(cells), "planned_runs": len(plan.cells), "domains": domains,
        "order_information": order,
    }  # fmt: skip


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
    columns: dict[str, list[tuple[float, np.ndarray, int]]] = {}
    for cell in group:
        seed, values = cell["cell"]["seed"], cell["domains"][domain]
        auroc = macro_auroc(labels, np.array(values["head_logits"]), FINDING_NAMES, counts)
        columns.setdefault("macro AUROC", []).append((auroc.macro.value, auroc.samples, seed))
        if values["sequence_scores"] is not None:
            per_image = np.array(values["sequence_scores"])
            samples = counts @ per_image / len(per_image)
            columns.setdefault("sequence score", []).append((float(per_image.mean()), samples, seed))
    return {
        name: Scored(np.array(values), np.stack(samples), np.array(seeds))
        for name, rows in columns.items()
        for values, samples, seeds in [zip(*rows, strict=True)]
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
            name: {**Score.of(score.mean(_picks(seeds))).to_values(), "by_seed": np.round(score.values, 5).tolist()}
            for name, score in scores.items()
        },
        "per_finding": {name: round(float(np.mean(values)), 5) for name, values in findings.items()},
        "sequence_floors": {name: round(value, 5) for name, value in floors.items()},
        "path_metrics": _path_metrics([cell["domains"][domain]["path_metrics"] for cell in group]),
        "answer_text_auroc": _answer_text([cell["domains"][domain]["answer_text"] for cell in group]),
    }


def _path_metrics(tables: Sequence[Mapping[str, Any] | None]) -> dict[str, Any]:
    """Means over seeds of every metric, its order gain, ceiling and floors; nothing without gaze."""
    known = [table for table in tables if table is not None]
    if not known or len(known) < len(tables):
        return {}

    def mean(values: Sequence[float | None]) -> float | None:
        there = [value for value in values if value is not None]
        return round(float(np.mean(there)), 5) if there else None

    return {
        name: {
            "order": first["order"],
            "better": first["better"],
            "value": mean([table[name]["value"] for table in known]),
            "order_gain": mean([table[name]["order_gain"]["value"] for table in known]),
            "ceiling_other_reader": mean([table[name]["ceiling_other_reader"]["value"] for table in known]),
            "floors": {
                floor: mean([table[name]["floors"][floor]["value"] for table in known]) for floor in first["floors"]
            },
        }
        for name, first in known[0].items()
    }


def _answer_text(scores: Sequence[Mapping[str, Any] | None]) -> float | None:
    """Mean over seeds of the macro AUROC of answers in words; None where not all were asked."""
    values = [score["all_severities"]["macro"]["value"] for score in scores if score is not None]
    return round(float(np.mean(values)), 5) if values and len(values) == len(scores) else None


def _ablations(scored: Mapping[_Key, Mapping[str, Scored]], images: int) -> list[dict[str, Any]]:
    """Each variant less the base with original gaze, seed by seed."""
    base = scored.get((BASE, GazeOrder.ORIGINAL.value, images))
    return [
        {"variant": variant, "images": size, "score": name, **_difference(less)}
        for (variant, _, size), one in scored.items()
        if variant != BASE and base is not None
        for name in sorted(one.keys() & base.keys())
        if len((less := one[name].less(base[name])).seeds)
    ]


def _difference(less: Scored) -> dict[str, Any]:
    estimate = less.mean(_picks(len(less.seeds)))
    return {**Score.of(estimate).to_values(), "by_seed": np.round(less.values, 5).tolist()}


def _differences(scored: Mapping[_Key, Mapping[str, Scored]]) -> list[dict[str, Any]]:
    found = []
    for images in sorted({key[2] for key in scored if key[0] == BASE}):
        for first, second in CONTRASTS:
            one, other = (scored.get((BASE, order.value, images)) for order in (first, second))
            if one is None or other is None:
                continue
            for name in one.keys() & other.keys():
                about = {"images": images, "score": name, "first": first.value, "second": second.value}
                less = one[name].less(other[name])
                if len(less.seeds):
                    found.append({**about, **_difference(less)})
    return sorted(found, key=lambda entry: (entry["score"], entry["images"]))
