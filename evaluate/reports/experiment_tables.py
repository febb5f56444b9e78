"""The experiment's report as tables: runs, paired differences, ablations, and every score of paths."""

from typing import get_args

from evaluate.experiment.plan import BASE, DOMAINS
from evaluate.reports.rows import mean_metric_table, number, text
from evaluate.reports.schema import Domain, ExperimentReport, Order, Run
from web.markup import Cell, Table

ORDERS = get_args(Order)
GAIN, CEILING = "order gain", "ceiling"  # among the floors of a run; the second begins a name
MEANS = (
    "Means over seeds; the intervals draw seeds and test images again, and are too narrow where seeds are few. The "
    "chance of AUROC is 0.5. Floors of the sequence score are means over seeds."
)


def experiment_facts(report: ExperimentReport) -> list[str]:
    """What was measured, on what."""
    planned = "" if report.planned_runs is None else f" of {report.planned_runs}"
    return [
        "Measured on drawn phantoms, not on patients.",
        "Small models trained from nothing with the gaze of simulated readers in its original order, shuffled, "
        "replaced by random places, or left out; everything else is equal.",
        f"{report.runs}{planned} runs are finished. Intervals from {report.resamples} resamples.",
        *_order_information(report),
    ]


def experiment_tables(report: ExperimentReport) -> list[Table]:
    """Tables of each domain."""
    tables = []
    for name, domain in report.domains.items():
        words = f"domain {name} ({DOMAINS[name]})"
        tables += [_runs(domain, words), _differences(domain, words), _floors(domain, words)]
        if any(run.variant != BASE for run in domain.runs):
            tables.append(_ablations(domain, words))
        largest = _largest(domain)
        if largest is not None:
            title = f"Scanpaths, original gaze, {largest.images} images, {words}"
            tables.append(mean_metric_table(title, largest.path_metrics, "Means over seeds."))
    return tables


def _order_information(report: ExperimentReport) -> list[str]:
    known = report.order_information
    if known is None or known.original is None:
        return []
    return [
        f"Findings guessed from gaze alone, without image or model ({known.images} training images, macro AUROC): "
        f"original order {text(known.original)}, shuffled {text(known.shuffled)}, difference {text(known.difference)}."
    ]


def _runs(domain: Domain, words: str) -> Table:
    rows = [_run(run) for run in _sorted(domain) if run.variant == BASE]
    heads = ["training images", "gaze", "seeds", "macro AUROC [95% interval]", "sequence score [95% interval]",
             "its best floor", "order gain", "ceiling"]  # fmt: skip
    return Table(f"Runs, {words}", heads, rows, [MEANS])


def _run(run: Run) -> list[Cell]:
    about = run.sequence_floors
    best = max(_floors_of(run).items(), key=lambda item: item[1], default=None)
    ceilings = tuple(
        f"{value:.3f} {name.removeprefix(CEILING).lstrip(': ')}"
        for name, value in about.items()
        if name.startswith(CEILING)
    )
    return [
        str(run.images), run.order, str(run.seeds), text(run.auroc), text(run.sequence),
        "-" if best is None else (number(best[1]), best[0]), number(about.get(GAIN)), ceilings or "-",
    ]  # fmt: skip


def _floors_of(run: Run) -> dict[str, float]:
    """Floors among what stands beside the sequence score of a run."""
    return {
        name: value for name, value in run.sequence_floors.items() if name != GAIN and not name.startswith(CEILING)
    }


def _floors(domain: Domain, words: str) -> Table:
    """Every floor of the sequence score, one column each."""
    runs = [run for run in _sorted(domain) if run.variant == BASE and run.sequence is not None]
    names = list(dict.fromkeys(name for run in runs for name in _floors_of(run)))
    rows: list[list[Cell]] = [
        [f"{run.images}, {run.order} gaze", text(run.sequence), *(number(_floors_of(run).get(name)) for name in names)]
        for run in runs
    ]
    heads = ["training images", "sequence score", *names]
    return Table(f"All floors of the sequence score, {words}", heads, rows, ["Means over seeds."], folded=True)


def _differences(domain: Domain, words: str) -> Table:
    rows: list[list[Cell]] = [
        [
            f"{entry.first} - {entry.second}", entry.score, str(entry.images), text(entry),
            ", ".join(f"{value:+.3f}" for value in entry.by_seed),
        ]
        for entry in domain.differences
    ]  # fmt: skip
    heads = ["first - second", "score", "training images", "difference [95% interval]", "by seed"]
    notes = ["In pairs: the same seeds and images. An interval that holds 0 shows no difference."]
    return Table(f"Paired differences, {words}", heads, rows, notes)


def _ablations(domain: Domain, words: str) -> Table:
    less = {(entry.variant, entry.score): text(entry) for entry in domain.ablations}
    rows: list[list[Cell]] = [
        [
            run.variant, str(run.images), str(run.seeds), text(run.auroc), less.get((run.variant, "macro AUROC"), "-"),
            text(run.sequence), less.get((run.variant, "sequence score"), "-"),
        ]
        for run in _sorted(domain)
        if run.variant != BASE
    ]  # fmt: skip
    heads = ["variant", "training images", "seeds", "macro AUROC", "less the base", "sequence score", "less the base"]
    return Table(f"Ablations (original gaze), {words}", heads, rows, folded=True)


def _sorted(domain: Domain) -> list[Run]:
    return sorted(domain.runs, key=lambda run: (run.images, ORDERS.index(run.order)))


def _largest(domain: Domain) -> Run | None:
    """The base with original gaze and the most images, if its paths were scored."""
    runs = [run for run in _sorted(domain) if run.variant == BASE and run.order == "original" and run.path_metrics]
    return runs[-1] if runs else None
