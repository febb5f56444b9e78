"""The experiment's report: means over seeds, paired differences between orders, tables and charts."""

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from evaluate.order_experiment import (
    FLOORS_FILE,
    ORDER_FILE,
    OTHER_READER,
    RESAMPLED,
    USUAL_STEP,
    ExperimentError,
    Plan,
    cell_path,
)
from evaluate.overview import details, headline
from evaluate.tables import facts_of, tables_of
from gazevlm_core.evaluation.floors import BEST_CONSTANT, OWN_SHUFFLED, UNIFORM_PATCHES
from gazevlm_core.evaluation.report import ExperimentReport, Score
from gazevlm_core.metrics.intervals import Estimate, estimate_of
from gazevlm_core.metrics.registry import SEQUENCE
from gazevlm_core.training.gaze_order import GazeOrder
from phantoms.calibration import WHOLE_READINGS, people_statistics
from web.markup import markdown

RESULTS, REPORT, PAGE = "results.json", "README.md", "report.html"
TITLE = "The order of gaze"


def write_report(plan: Plan, out: Path) -> None:
    """Write results.json, README.md and report.html from the cells that are there.

    Raises:
        ExperimentError: no finished run.
    """
    cells = read_cells([cell_path(out, cell) for cell in plan.cells])
    if not cells:
        raise ExperimentError(f"{out} holds no finished run; run the experiment first")
    floors, order = (json.loads((out / name).read_text(encoding="utf-8")) for name in (FLOORS_FILE, ORDER_FILE))
    summary = summarise(cells, floors, plan, order)
    command = command_of(plan, out)
    report = ExperimentReport.model_validate(summary)
    (out / RESULTS).write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    (out / REPORT).write_text(experiment_markdown(report, plan, command), encoding="utf-8")
    (out / PAGE).write_text(experiment_page(report, command), encoding="utf-8")


def command_of(plan: Plan, out: Path) -> str:
    """Return the command that makes the runs of a plan, with the options that are not the usual ones."""
    usual, words = Plan(), ["gazevlm", "experiment", "--out", out.as_posix()]
    for name in ("sizes", "orders", "variants"):
        if list(getattr(plan, name)) != list(getattr(usual, name)):
            words += [word for one in getattr(plan, name) for word in (f"--{name}", str(getattr(one, "value", one)))]
    if len(plan.seeds) != len(usual.seeds):
        words += ["--seeds", str(len(plan.seeds))]
    for name in ("base", "steps", "test_images"):
        if getattr(plan, name) != getattr(usual, name):
            words += [f"--{name.replace('_', '-')}", str(getattr(plan, name))]
    return shlex.join(words)


def experiment_markdown(report: ExperimentReport, plan: Plan, command: str) -> str:
    """Return the report as Markdown; `command` made it."""
    steps = ", ".join(f"{plan.steps_of(size)} for {size} images" for size in plan.sizes)
    about = f"Steps of {plan.batch_size} examples: {steps}. {plan.test_images} test images per domain."
    parts = [f"# {TITLE}", headline(report), " ".join(details(report)), " ".join([*facts_of(report), about])]
    parts.append(f"`{command}`")
    return "\n\n".join([*parts, *(markdown(table, level=2) for table in tables_of(report))]) + "\n"


def experiment_page(report: ExperimentReport, command: str) -> str:
    """Return the report's charts as one HTML file; nothing is fetched from elsewhere."""
    from evaluate.charts import charts_of

    parts = [f"<h1>{TITLE}</h1>"]
    about = (headline(report), " ".join(details(report)), " ".join(facts_of(report)), f"Made by: {command}")
    parts += [f"<p>{escape(words)}</p>" for words in about]
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
PLANNED_WIDTH = 0.01  # half of an interval of original less shuffled
DEVIATIONS = 1.96  # half of a 95% interval


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

    def seeds_needed(self, width: float) -> int | None:
        """Return the seeds for an interval of +- `width`, from how far seeds and resampled images scatter; None where
        the images alone scatter further."""
        by_images = float(self.samples.mean(axis=0).var())
        left = (width / DEVIATIONS) ** 2 - by_images
        return None if not left > 0 else max(2, math.ceil(float(self.values.var(ddof=1)) / left))


def read_cells(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Return the cells that are there."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.is_file()]


def summarise(
    cells: Sequence[Mapping[str, Any]], floors: Mapping[str, Mapping[str, float]], plan: Plan, order: Mapping[str, Any]
) -> dict[str, Any]:
    """Return everything the report shows, as plain values.

    Args:
        cells: finished runs.
        floors: domain -> what stands beside the scores of paths.
        order: what the order of the phantoms' readings tells, by estimator.
    """
    groups = _groups(cells)
    domains: dict[str, Any] = {}
    for domain, beside in floors.items():
        scored = {key: _scored(group, domain) for key, group in groups.items()}
        domains[domain] = {
            "runs": [_run_values(key, scores, groups[key], domain, beside) for key, scores in scored.items()],
            "differences": _differences(scored),
            "other_reader": beside[OTHER_READER],
            "usual_step_bits": beside[USUAL_STEP],
        }
    return {
        "kind": "experiment",  # tells readers of the file what it is
        "resamples": RESAMPLED, "runs": len(cells), "planned_runs": len(plan.cells), "base": plan.base,
        "steps": plan.num_gaze_tokens, "drawing": plan.drawing, "domains": domains,
        "order_information": _order_information(order, plan.num_gaze_tokens),
    }  # fmt: skip


def _order_information(order: Mapping[str, Any], steps: int) -> dict[str, dict[str, Any]]:
    """Return what readings tell, by estimator: those of the phantoms, and of people as far as they were measured."""
    people = people_statistics(WHOLE_READINGS)["order_information_auroc"]
    found: dict[str, dict[str, Any]] = {}
    for estimator, values in order["estimators"].items():
        found[estimator] = {"phantoms": values}
        known = {kind: people.get(f"{estimator}, first {steps}: {kind}") for kind in values}
        if all(known.values()):
            found[estimator]["people"] = {
                kind: {"value": value, "interval": interval} for kind, (value, *interval) in known.items()
            }
    return found


_Key = tuple[str, str, int]  # variant, order, images


def _groups(cells: Sequence[Mapping[str, Any]]) -> dict[_Key, list[Mapping[str, Any]]]:
    groups: dict[_Key, list[Mapping[str, Any]]] = {}
    for cell in sorted(cells, key=lambda values: values["cell"]["seed"]):
        about = cell["cell"]
        groups.setdefault((about["variant"], about["order"], about["images"]), []).append(cell)
    return groups


def _scored(group: Sequence[Mapping[str, Any]], domain: str) -> dict[str, Scored]:
    """Return each score that the runs of a group have."""
    scores = [cell["domains"][domain]["scores"] for cell in group]
    seeds = np.array([cell["cell"]["seed"] for cell in group])
    return {
        name: Scored(
            np.array([one[name]["value"] for one in scores]), np.array([one[name]["samples"] for one in scores]), seeds
        )
        for name in scores[0]
    }  # fmt: skip


def _run_values(
    key: _Key, scores: Mapping[str, Scored], group: Sequence[Mapping[str, Any]], domain: str,
    floors: Mapping[str, float],
) -> dict[str, Any]:  # fmt: skip
    variant, order, images = key
    own = [cell["domains"][domain] for cell in group]
    beside = {}
    if SEQUENCE in scores:
        shuffled = round(float(np.mean([one[OWN_SHUFFLED] for one in own])), 5)
        beside = {OWN_SHUFFLED: shuffled, **{name: floors[name] for name in (BEST_CONSTANT, UNIFORM_PATCHES)}}
    return {
        "variant": variant, "order": order, "images": images, "seeds": len(group),
        **{name: _by_seed(score) for name, score in scores.items()},
        "per_finding": {
            name: round(float(np.mean([one["per_finding"][name] for one in own])), 5) for name in own[0]["per_finding"]
        },
        "floors": beside,
    }  # fmt: skip


def _differences(scored: Mapping[_Key, Mapping[str, Scored]]) -> list[dict[str, Any]]:
    found = []
    for variant, images in sorted({(variant, images) for variant, _, images in scored}):
        for first, second in CONTRASTS:
            one, other = (scored.get((variant, order.value, images)) for order in (first, second))
            if one is None or other is None:
                continue
            for name in one.keys() & other.keys():
                less = one[name].less(other[name])
                if len(less.seeds):
                    about = {"variant": variant, "images": images, "score": name}
                    found.append({**about, "first": first.value, "second": second.value, **_difference(less)})
    return sorted(found, key=lambda entry: (entry["variant"], entry["score"], entry["images"]))


def _difference(less: Scored) -> dict[str, Any]:
    needed = less.seeds_needed(PLANNED_WIDTH) if len(less.seeds) > 1 else None
    return {**_by_seed(less), **({} if needed is None else {"seeds_needed": needed})}


def _by_seed(scored: Scored) -> dict[str, Any]:
    """Return the mean with its interval, and each seed's score; of one seed nobody knows how far others lie."""
    seeds = len(scored.seeds)
    picks = np.random.default_rng(seeds).integers(seeds, size=(RESAMPLED, seeds))
    values = Score.of(scored.mean(picks)).to_values()
    by_seed = np.round(scored.values, 5).tolist()
    return {**values, "interval": values["interval"] if len(by_seed) > 1 else None, "by_seed": by_seed}
