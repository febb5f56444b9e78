"""What the tab shows as tables: what there is to learn from, jobs, measures beside base and floors, comparisons."""

from collections.abc import Mapping, Sequence

from finetune.records import Measure, gain_words
from finetune.tab.link import base_name
from finetune.tab.runs import STATE_WORDS, VERDICT_WORDS, Run, progress
from web.formatting import UNKNOWN, counted, duration, score, when
from web.markup import Cell, Table
from web.training_data import DataCount

MOST_ROWS = 100
KEY_MEASURES = ("sequence score", "order gain", "AUROC")
OF_ADMINS = "Admins see why."
GAIN_NOTE = "In brackets the interval of a change over held-out patients, by which the adapter is judged."
FLOORS_NOTE = "A floor knows less: a figure that does not beat it says nothing for the adapter."
SETTINGS = ("epochs", "learning_rate", "lora_rank", "gaze_order", "seed")


def count_tables(count: DataCount) -> list[Table]:
    """What a choice of submissions amounts to, and what is left out and why."""
    tables = [
        Table(
            f"Chosen: {counted(count.scanpaths, 'scanpath')} on {counted(count.images, 'image')}",
            ("annotator", "scanpaths"),
            [[name, f"{paths:,}"] for name, paths in _most_first(count.annotators)] or [["nobody", "0"]],
        )
    ]
    if count.findings:
        rows = [[name, f"{images:,}"] for name, images in _most_first(count.findings)]
        tables.append(Table("Findings by majority", ("finding", "images"), rows))
    if count.left_out:
        rows = [[reason, f"{number:,}"] for reason, number in _most_first(count.left_out)]
        tables.append(Table("Left out", ("why", "submissions"), rows))
    return tables


def _most_first(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MOST_ROWS]


def run_table(runs: Sequence[Run], *, causes: bool) -> Table:
    """One row per job, the latest first.

    Args:
        runs: all jobs.
        causes: whether to say why one failed, which may name what is on the machine.
    """
    heads = ("run", "state", "begun", "worked", "by")
    return Table("Runs", heads, [_run_row(run, causes=causes) for run in runs[:MOST_ROWS]])


def _run_row(run: Run, *, causes: bool) -> list[Cell]:
    job = run.job
    cause = job.cause if causes or job.state != "failed" else OF_ADMINS
    if job.state == "done" and run.verdict is not None:  # the cause may be an earlier version's verdict
        cause = run.verdict.why
    state: tuple[str, ...] = (progress(job), *([cause] if cause else []))
    if run.doubt is not None:
        state = (f"done: {run.doubt}", *state[1:])
    worked = duration(job.worked_s) if job.worked_s else UNKNOWN
    return [job.name, state, when(job.begun_at_s or job.created_at_s), worked, job.creator]


def measure_table(run: Run) -> Table | None:
    """Every measure beside its base and its floors; None before the first scoring."""
    if not run.measures:
        return None
    floors = list(dict.fromkeys(floor for measure in run.measures for floor in measure.floors))
    heads = ("held-out images", "adapter", "base", "change", *(f"floor: {floor}" for floor in floors))
    rows = [_measure_row(measure, floors) for measure in run.measures]
    intervals = any(measure.gain is not None and measure.gain.value is not None for measure in run.measures)
    images = f" on {counted(run.images[1], 'held-out image')}" if run.images else ""
    which = "" if run.job.state == "done" else ", so far"
    notes = [*([GAIN_NOTE] if intervals else []), *([FLOORS_NOTE] if floors else [])]
    return Table(f"Figures{images}{which}", heads, rows, notes)


def _measure_row(measure: Measure, floors: Sequence[str]) -> list[Cell]:
    change = None if measure.value is None or measure.base is None else measure.value - measure.base
    words = gain_words(measure.gain)
    better = "higher is better" if measure.higher_is_better else "lower is better"
    return [
        (measure.name, f"{measure.unit}, {better}" if measure.unit else better), score(measure.value),
        score(measure.base), words or score(change, signed=True),
        *(score(measure.floors.get(floor)) for floor in floors),
    ]  # fmt: skip


def history_table(runs: Sequence[Run], bases: Mapping[str, str]) -> Table:
    """Finished adapters with their most telling measures, the latest first.

    Args:
        runs: that are done.
        bases: name of a loaded model -> where it was loaded from.
    """
    names = [name for name in KEY_MEASURES if any(run.measure(name) for run in runs)]
    heads = ("adapter", "against its base", *names, "images", "steps", "made")
    rows: list[list[Cell]] = [
        [
            (run.job.name, base_name(run.job.config.base, bases)), verdict_word(run),
            *(_beside_base(run.measure(name)) for name in names),
            f"{run.images[0]:,}" if run.images else UNKNOWN, f"{run.job.steps:,}", when(run.job.ended_at_s),
        ]
        for run in runs[:MOST_ROWS]
    ]  # fmt: skip
    notes = ["Figures on held-out images; in brackets the change from the base on the same images."] if names else []
    return Table("Finished adapters", heads, rows, notes)


def verdict_word(run: Run) -> str:
    """Whether it is worth being used, in a word or two."""
    return UNKNOWN if run.verdict is None else VERDICT_WORDS[run.verdict.outcome]


def _beside_base(measure: Measure | None) -> str:
    if measure is None or measure.value is None:
        return UNKNOWN
    return score(measure.value) + ("" if measure.base is None else f" ({measure.value - measure.base:+.3f})")


def comparison_table(runs: Sequence[Run], bases: Mapping[str, str]) -> Table:
    """Chosen runs beside each other: how they were trained, what came of it.

    Args:
        runs: in their order.
        bases: name of a loaded model -> where it was loaded from.
    """
    names = list(dict.fromkeys(one.name for run in runs for one in run.measures))
    rows: list[list[Cell]] = [["against its base", *map(verdict_word, runs)]]
    rows += [[(name, _direction(runs, name)), *(_beside_base(run.measure(name)) for run in runs)] for name in names]
    rows += [["base", *(base_name(run.job.config.base, bases) for run in runs)]]
    differ = [name for name in type(runs[0].job.config).model_fields if name not in ("annotations", "base")]
    for name in differ:
        values = [str(getattr(run.job.config, name)) for run in runs]
        if name in SETTINGS or len(set(values)) > 1:
            rows.append([name.replace("_", " "), *values])
    rows.append(["images", *(f"{run.images[0]:,}" if run.images else UNKNOWN for run in runs)])
    note = "In brackets the change from each run's own base. Runs with other held-out images cannot be ranked by this."
    return Table("Compared", ("", *(run.job.name for run in runs)), rows, [note])


def _direction(runs: Sequence[Run], name: str) -> str:
    found = next(measure for run in runs if (measure := run.measure(name)) is not None)
    return "higher is better" if found.higher_is_better else "lower is better"


def run_label(run: Run) -> str:
    """A run in a list to choose from."""
    return f"{run.job.name}: {run.doubt or STATE_WORDS[run.job.state]}"
