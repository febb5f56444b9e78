"""A report as tables and sentences: for a page (`tables_of`), a terminal (`report_text`) and cards."""

from collections.abc import Mapping, Sequence
from typing import get_args

from evaluate.rows import GAIN_NOTE, Row, long_table, metric_summary, remark, text, wide_table
from gazevlm_core.evaluation.floors import BEST_CONSTANT, OWN_SHUFFLED, UNIFORM_PATCHES
from gazevlm_core.evaluation.groups import FREQUENT
from gazevlm_core.evaluation.path_scores import HISTOGRAM
from gazevlm_core.evaluation.report import (
    SOURCES,
    SUBSETS,
    DatasetPaths,
    DatasetReport,
    Domain,
    ExperimentReport,
    Faithfulness,
    GazeOrderName,
    Group,
    Labels,
    Metric,
    ModelScores,
    PathReport,
    Paths,
    PhantomReport,
    Report,
    Role,
    Run,
    Score,
)
from gazevlm_core.metrics.intervals import FEWEST_UNITS
from gazevlm_core.metrics.labels import CHANCE
from gazevlm_core.metrics.registry import DEFAULT_GRID, LABEL_METRICS, MAP_METRICS, SEQUENCE
from phantoms.case import DOMAIN_WORDS
from phantoms.dataset import DRAWING
from web.formatting import score as number
from web.markup import Cell, Table, plain_text

TWINS: Mapping[Role, str] = {  # role -> head of its column; its folder is named after it, behind the model's
    "base": "what it went on from, without glimpses",
    "glimpses": "with glimpses, for fewer steps",
    "no-glimpses": "without glimpses, for as few",
    "fine": "the whole image at the glimpses' resolution",
    "short": "ordered gaze, trained as short as the next two",
    "no-gaze": "without gaze supervision",
    "plain": "plain placeholders",
}
BASELINE_NOTE = (
    "The plain baseline (32 x 32 pixels, principal components, logistic regression) learns from other patients of this "
    "data set, as the model did not unless it says so. The difference is in pairs, by the first column."
)
TOUCHES = "* the floor's interval touches the score's: no difference can be claimed."
UNTRAINED = "The gaze of this model is untrained: it shows no paths, so there is nothing to score."
FAITHFULNESS_NOTE = (
    "Interventions: the path, the glimpses or the image are changed, everything else stays. Differences are in pairs."
)
STEP_FLOOR = "most frequent places of each step, training set"
SEQUENCE_ROW = "scanpath, sequence score"
COARSE_SEQUENCE = f"{SEQUENCE} on {DEFAULT_GRID.rows} by {DEFAULT_GRID.cols} patches"  # as for any data set
UNKNOWN = (
    "what the model was trained on cannot be known, since its provenance does not tell: these images may be among it"
)
ORDERS = get_args(GazeOrderName)
DOMAINS = {"A": "drawn as in training", "B": "drawn otherwise"}  # what the experiment scores on
RUN_FLOORS = (BEST_CONSTANT, OWN_SHUFFLED, UNIFORM_PATCHES)  # of the sequence score of an experiment's run
MEANS = (
    "Means over seeds; the intervals draw seeds and test images again, and are too narrow where seeds are few. The "
    "chance of AUROC is 0.5. Bits per fixation: how much more of its probability the model gives to the reader's next "
    "patch than a guess among all; the usual patch of the step knows other images alone."
)

OTHER_DRAWING = (
    "The phantoms and readers of these runs are drawn in an earlier way ({then}; today {now}), so today's would come "
    "out otherwise."
)


# ---- reports --------------------------------------------------------------------------------------------------------
def tables_of(report: Report) -> list[Table]:
    """Return everything that a report says as tables for a page, the most telling first."""
    if isinstance(report, ExperimentReport):
        return _experiment_tables(report)
    if isinstance(report, PhantomReport):
        return _phantom_tables(report)
    if isinstance(report, DatasetReport):
        return _dataset_tables(report)
    return [wide_table("Scores of the paths", metric_rows(report.metrics), [GAIN_NOTE])]


def facts_of(report: Report) -> list[str]:
    """Return what was measured, on what, in sentences; the first one says whether these are phantoms."""
    if isinstance(report, ExperimentReport):
        planned = "" if report.planned_runs is None else f" of {report.planned_runs}"
        return [
            "Measured on drawn phantoms, not on patients.",
            f"A model that has learned findings and words without gaze ({report.base}) is fine-tuned with one reading "
            "of each image by a simulated reader: in its original order, shuffled, replaced by random places, or left "
            f"out; everything else is equal. Readings are cut to {report.steps} steps before their order is changed.",
            f"{report.runs}{planned} runs are finished. Intervals from {report.resamples} resamples of seeds and "
            "images.",
            *([OTHER_DRAWING.format(then=report.drawing, now=DRAWING)] if report.drawing != DRAWING else []),
        ]
    if isinstance(report, PhantomReport):
        return [
            "Measured on drawn phantoms, not on patients.",
            f"{report.n} phantoms of domain {report.domain} ({DOMAIN_WORDS[report.domain]}), seed {report.seed}; "
            f"model {model_name(report)}. Intervals from {report.resamples} resamples of images.",
        ]
    if isinstance(report, DatasetReport):
        return [
            f"Measured on the data set {report.dataset}, split {report.split}.",
            f"{report.records} records, {report.images} images of {report.patients} patients; model "
            f"{model_name(report)}. Intervals from {report.resamples} resamples of patients.",
            *_dataset_facts(report),
        ]
    return [
        "Measured on two files of paths; the report does not say whether their images are phantoms or patients.",
        f"{report.images} images, {report.pairs} pairs of paths, grid of {report.grid[0]} by {report.grid[1]} patches. "
        f"Intervals from {report.resamples} resamples of images." + _dropped(report.dropped),
    ]


def report_text(report: PhantomReport | DatasetReport | PathReport) -> str:
    """Return a report for a terminal."""
    if isinstance(report, PhantomReport):
        measured = faithfulness_tables(faithfulness_by_head(report))
        tables = [*phantom_long_tables(report), *measured, quantisation_table(report), bar_table(report)]
    elif isinstance(report, DatasetReport):
        tables = _dataset_tables(report, long=True)
    else:
        tables = [long_table("", {"": metric_rows(report.metrics)})]
    return "\n\n".join(["\n".join(facts_of(report)), *map(plain_text, tables)])


def model_name(report: PhantomReport | DatasetReport) -> str:
    """Return the model's name, with its adapter's where it has one."""
    return f"{report.model} with adapter {report.adapter}" if report.adapter else report.model


def metric_rows(metrics: Mapping[str, Metric]) -> list[Row]:
    """Return scores of paths, with what each sees of the order."""
    return [
        Row(name, metric, metric.floors, metric.order_gain, {"another reader": metric.ceiling_other_reader},
            remark=remark(metric.order, metric.better))
        for name, metric in metrics.items()
    ]  # fmt: skip


def _dropped(dropped: Mapping[str, int]) -> str:
    words = ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in dropped.items() if number)
    return f" Left out: {words}." if words else ""


# ---- phantoms -------------------------------------------------------------------------------------------------------
def phantom_rows(scores: ModelScores) -> list[Row]:
    """Return every score of one model on phantoms."""
    rows = []
    for source, words in SOURCES.items():
        for subset, which in SUBSETS.items():
            part = getattr(getattr(scores, source), subset, None)
            if part is not None:
                each = part.per_finding if subset == "all_severities" else {}
                rows.append(Row(f"macro AUROC, {words}, {which}", part.macro, part.floors, parts=each))
    named, sides = scores.report.moderate_or_worse, scores.report.sides
    floors = {name: floor.f1 or Score() for name, floor in named.floors.items()}
    touching = frozenset(name for name, floor in named.floors.items() if floor.interval_touches_the_models)
    rows += [
        Row("report, findings named, micro F1", named.f1, floors, touching=touching),
        Row("report, findings named, precision", named.precision),
        Row("report, findings named, recall", named.recall),
        Row("report, right sides among those named", sides, sides.floors),
    ]
    return rows + (_path_rows(scores.paths) if scores.paths else [])


def metrics_of(paths: Paths) -> dict[str, Metric]:
    """Return every score of paths on phantoms by name; the sequence score on the model's own grid stands elsewhere."""
    return {COARSE_SEQUENCE if name == SEQUENCE else name: one for name, one in paths.metrics.items()}


def _path_rows(paths: Paths) -> list[Row]:
    sequence, stop = paths.sequence_score, paths.stop
    rows = [
        Row(SEQUENCE_ROW, sequence, sequence.floors, sequence.order_gain,
            {"the same reader again": sequence.ceiling_same_reader, "another reader": sequence.other_reader}),
        Row("scanpath, share of the same reader's ceiling", sequence.share_of_ceiling),
    ]  # fmt: skip
    if paths.step_only is not None:
        rows.append(Row("scanpath, its patch at the same step hits", paths.step_only.model_path_hits,
                        {"modal patch of the step": paths.step_only.modal_patch_hits or Score()}))  # fmt: skip
    for metric in MAP_METRICS:
        score = (paths.conditional or {}).get(metric.phantom_key)
        if score is not None:
            rows.append(Row(f"scanpath, conditional {metric.name}", score, score.floors))
    return [
        *rows,
        Row("stop within 2 fixations", stop.within_2_fixations, stop.within_2_fixations.floors, None,
            {"the same reader again": stop.same_reader, "another reader": stop.other_reader}),
        Row("median length difference, fixations", stop.median_length_difference),
        Row("dwell, median predicted / true", paths.dwell.median_ratio),
        Row("dwell, correlation of log durations", paths.dwell.log_correlation),
    ]


def _phantom_tables(report: PhantomReport) -> list[Table]:
    tables = []
    for role, scores in report.scores.items():
        own = role == "model"
        title = f"Scores of {model_name(report)}" if own else f"Its twin {role}: {TWINS[role]}"
        notes = [TOUCHES] if scores.paths else [TOUCHES, UNTRAINED]
        tables.append(wide_table(title, phantom_rows(scores), notes, folded=not own))
        if own and scores.paths and scores.paths.metrics:
            rows = metric_rows(metrics_of(scores.paths))
            tables.append(wide_table("Its paths by every score", rows, [GAIN_NOTE], folded=True))
    return tables + faithfulness_tables(faithfulness_by_head(report))


def phantom_long_tables(report: PhantomReport) -> list[Table]:
    """Return all scores below each other with one column per model, then every score of the paths, a line each."""
    heads = {role: TWINS.get(role, report.model) for role in report.scores}
    columns, notes = {}, [TOUCHES]
    for role, scores in report.scores.items():
        columns[heads[role]] = phantom_rows(scores)
        if scores.paths is None:
            notes.append(f"{heads[role]}: its gaze is untrained, so it shows no paths.")
    text_source = next(iter(report.scores.values())).answer_text
    if text_source is not None:
        notes += _without(text_source.all_severities.skipped, text_source.all_severities.too_few)
    metrics = {heads[role]: metrics_of(scores.paths) for role, scores in report.scores.items()
               if scores.paths and scores.paths.metrics}  # fmt: skip
    return [long_table("", columns, notes), *([metric_summary("", metrics)] if metrics else [])]


def quantisation_table(report: PhantomReport) -> Table:
    """Return what quantisation cost, or that it was not measured."""
    cost = report.quantisation
    if cost is None:
        return Table("", ["", "loss [95% interval]"], [["cost of quantisation", "not measured (give --reference)"]])
    losses = {"AUROC lost, finding head": cost.head_auroc_loss, "AUROC lost, answer text": cost.answer_text_auroc_loss,
              "sequence score lost": cost.sequence_score_loss}  # fmt: skip
    return Table("", ["", "loss [95% interval]"], [[name, text(loss, 4)] for name, loss in losses.items()])


def bar_table(report: PhantomReport) -> Table:
    """Return verdict, bar and value of each bar."""
    verdicts = {True: "met", False: "MISSED"}
    unjudged = {bar.bar: "not measured" if bar.value is None else "too few" for bar in report.bars}
    rows = [[unjudged[bar.bar] if bar.met is None else verdicts[bar.met], bar.bar, text(bar)] for bar in report.bars]
    return Table("", ["verdict", "bar", "value [95% interval]"], rows)


def faithfulness_by_head(report: PhantomReport) -> dict[str, Faithfulness]:
    """Return how far the path of each model is believed, by the heads of `phantom_long_tables`."""
    return {TWINS.get(role, report.model): one for role, one in report.faithfulness.items()}


def faithfulness_tables(measured: Mapping[str, Faithfulness]) -> list[Table]:
    """Return how far the path is believed, one table per model by its head."""
    tables: list[Table] = []
    for head, one in measured.items():
        rows: list[Sequence[Cell]] = []
        for effect in one.effects:
            rows.append([effect.name, text(effect), number(effect.useless), str(effect.cases)])
            rows += [[f"  {name}", text(score), "", ""] for name, score in effect.beside.items()]
        glimpses = f"{one.glimpses} glimpses" if one.glimpses else "no glimpses"
        notes = [FAITHFULNESS_NOTE, *(f"Left out: {count} {why}." for why, count in one.left_out.items())]
        heads = ["measure", "value [95% interval]", "a path without effect", "cases"]
        tables.append(Table(f"How far the path of {head} is believed ({one.images} images, {glimpses})", heads, rows,
                            notes, folded=len(tables) > 0))  # fmt: skip
    return tables


# ---- data sets ------------------------------------------------------------------------------------------------------
def _dataset_facts(report: DatasetReport) -> list[str]:
    """Return what was left out, and why."""
    dropped = ", ".join(f"{reason} {number}" for reason, number in report.dropped.items()) or "nothing"
    facts = [f"Dropped: {dropped}.",
             f"Thresholds of F1 from {report.validation_records} records of the validation split."]  # fmt: skip
    facts += [f"Split: {report.split_note}."] if report.split_note else []
    if report.trained_on_left_out is None:
        facts.append(f"{UNKNOWN[0].upper()}{UNKNOWN[1:]}.")
    elif report.trained_on_left_out:
        facts.append("Left out, since the model was trained on their patients or pictures: "
                     f"{report.trained_on_left_out} records.")  # fmt: skip
    words: dict[str, list[str]] = {}
    for label, what in report.labels.items():
        words.setdefault(what, []).append(label)
    facts += [f"{', '.join(labels)}: {what}." for what, labels in words.items()]
    facts += [f"Data: {report.credit}"] if report.credit else []
    return facts + ([f"Cannot be read: {'; '.join(report.unreadable)}"] if report.unreadable else [])


def _dataset_tables(report: DatasetReport, *, long: bool = False) -> list[Table]:
    def scores(title: str, rows: Sequence[Row], notes: Sequence[str] = ()) -> Table:
        return long_table(title, {"": rows}, notes) if long else wide_table(title, rows, notes)

    tables = []
    for source, words in SOURCES.items():
        labels = getattr(report.scores, source)
        if labels is None:
            tables.append(Table(f"Findings, {words}", ["score"], [[f"The {words} knows no finding of this data set."]]))
        else:
            tables.append(_label_table(words, labels))
    tables += [_group_table(name, group, place) for place, (name, group) in enumerate(report.groups.items())]
    if report.pointing is not None:
        rows = [Row(name, score, score.floors) for name, score in report.pointing.scores.items()]
        about = (f"On {report.pointing.images} images with {report.pointing.boxes} boxes of findings that are there; a "
                 f"margin of {report.pointing.margin} of the side around each.")  # fmt: skip
        tables.append(scores("Pointing", rows, [about, TOUCHES]))
    measured = {model_name(report): report.faithfulness} if report.faithfulness else {}
    tables += faithfulness_tables(measured)
    paths = report.scores.scanpath
    if not isinstance(paths, DatasetPaths):
        words = UNTRAINED if paths == "untrained" else "The data set has no readings to compare paths with."
        return [*tables, Table("Scanpaths", ["score"], [[words]])]
    notes = [GAIN_NOTE, *filter(None, [_dropped(paths.dropped).strip()])]
    tables.append(scores("Scanpaths", metric_rows(paths.metrics), notes))
    if paths.steps is not None:
        rows = [
            Row(f"conditional {metric.name}", paths.steps[metric.key],
                {STEP_FLOOR: paths.steps.get(f"{HISTOGRAM}_{metric.key}") or Score()})
            for metric in MAP_METRICS if metric.key in paths.steps
        ]  # fmt: skip
        tables.append(scores("Distributions behind each fixation", rows))
    return tables


def _label_table(words: str, labels: Labels) -> Table:
    heads = ["finding", "positive"]
    for metric in LABEL_METRICS:
        heads += [f"{metric.name} [95% interval]", *(["floor"] if metric.floor else [])]
    rows = []
    for name, found in labels.findings.items():
        row = [name, f"{found.positive} of {found.images}"]
        for metric in LABEL_METRICS:
            score = found.scores.get(metric.key)
            row += [text(score), *([number(score.floor if score else None)] if metric.floor else [])]
        rows.append(row)
    overall = f"Macro AUROC {text(labels.macro_auroc)}, chance 0.5; all labels pooled {text(labels.micro_auroc)}"
    if labels.micro_auroc.floor not in (None, CHANCE):  # the latter is what earlier versions took for its floor
        overall += f", {number(labels.micro_auroc.floor)} by how often each finding is there"
    notes = [f"{overall}.", "Floors: of AUPRC, how often the finding is there; of F1, saying “present” always."]
    notes += _without(labels.one_class_only, labels.too_few)
    return Table(f"Findings, {words}", heads, rows, notes)


def _without(one_class: Sequence[str], too_few: Sequence[str]) -> list[str]:
    """Return which findings have no AUROC, and which no interval."""
    notes = [f"AUROC is undefined, one class only: {', '.join(one_class)}"] if one_class else []
    if too_few:
        notes.append(f"Without interval, and not in the mean where others are: {', '.join(too_few)}. Fewer than "
                     f"{FEWEST_UNITS} patients have it, or lack it.")  # fmt: skip
    return notes


def _group_table(name: str, group: Group, place: int) -> Table:
    """Return the AUROC of each finding by source, with the difference to the plain baseline."""
    sources = list(dict.fromkeys(source for one in group.findings.values() for source in one.auroc))
    rows: list[list[Cell]] = [
        [finding, f"{one.positive} of {one.images}", *(text(one.auroc.get(source)) for source in sources),
         text(one.above_baseline)]
        for finding, one in group.findings.items()
    ]  # fmt: skip
    for words, mean, above in (
        ("mean", group.mean, group.above_baseline),
        (f"mean of those with {FREQUENT} positive or more", group.frequent_mean, group.frequent_above_baseline),
    ):
        if mean:
            rows.append([words, "", *(text(mean.get(source)) for source in sources), text(above)])
    title = f"AUROC, {name}: {group.images} images of {group.patients} patients"
    heads = ["finding", "positive", *(f"{source} [95% interval]" for source in sources), "above the baseline"]
    return Table(title, heads, rows, [*([] if place else [BASELINE_NOTE]), *_without([], group.too_few)])


# ---- the experiment -------------------------------------------------------------------------------------------------
def _experiment_tables(report: ExperimentReport) -> list[Table]:
    places = [
        (domain, runs_of(domain, variant), f"{variant}, {DOMAINS[name]} (domain {name})")
        for name, domain in report.domains.items()
        for variant in variants_of(report)
    ]
    tables = [_differences(domain, runs, words) for domain, runs, words in places]
    tables += [_order_information(report)] if report.order_information else []
    return tables + [make(domain, runs, words) for domain, runs, words in places for make in (_runs, _per_finding)]


def variants_of(report: ExperimentReport) -> list[str]:
    """Return the variants of the model, that with the most runs first."""
    names = [run.variant for run in next(iter(report.domains.values())).runs]
    return sorted(dict.fromkeys(names), key=lambda name: -names.count(name))


def _order_information(report: ExperimentReport) -> Table:
    rows: list[list[Cell]] = [
        [estimator, readers, text(known.ordered), text(known.shuffled), text(known.difference)]
        for estimator, by_readers in report.order_information.items()
        for readers, known in by_readers.items()
    ]
    heads = ["features of a reading", "readings of", "with its order", "shuffled", "difference"]
    note = (
        f"Macro AUROC of findings guessed from the first {report.steps} steps of one reading, without image or model: "
        "what there is to be had from order in this form. People: pneumothorax, 1,250 readings by radiologists (SIIM)."
    )
    return Table("What the order of gaze tells about findings", heads, rows, [note])


def _runs(domain: Domain, runs: Sequence[Run], words: str) -> Table:
    rows: list[list[Cell]] = [
        [
            str(run.images), run.order, str(run.seeds), text(run.auroc), text(run.sequence),
            *(number(run.floors.get(name)) for name in RUN_FLOORS), number(domain.other_reader if run.floors else None),
            text(run.step_bits), number(domain.usual_step_bits if run.step_bits else None),
        ]
        for run in runs
    ]  # fmt: skip
    heads = ["training images", "gaze", "seeds", "macro AUROC [95% interval]", "sequence score [95% interval]",
             *RUN_FLOORS, "another reader", "bits per fixation [95% interval]", "usual patch of the step"]  # fmt: skip
    return Table(f"Runs, {words}", heads, rows, [MEANS], folded=True)


def _differences(domain: Domain, runs: Sequence[Run], words: str) -> Table:
    rows: list[list[Cell]] = [
        [
            f"{entry.first} - {entry.second}", entry.score, str(entry.images), text(entry),
            "-" if entry.seeds_needed is None else str(entry.seeds_needed),
            ", ".join(f"{value:+z.3f}" for value in entry.by_seed),
        ]
        for entry in domain.differences
        if entry.variant == runs[0].variant
    ]  # fmt: skip
    heads = ["first - second", "score", "training images", "difference [95% interval]", "seeds for +-0.01", "by seed"]
    notes = [
        "In pairs: the same seeds and images. An interval that holds 0 shows no difference. Seeds for an interval of "
        "+-0.01 are estimated from how far these scatter; \"-\" where more test images would be needed."
    ]
    return Table(f"Paired differences, {words}", heads, rows, notes)


def _per_finding(_domain: Domain, runs: Sequence[Run], words: str) -> Table:
    names = list(dict.fromkeys(name for run in runs for name in run.per_finding))
    rows: list[list[Cell]] = [
        [f"{run.images}, {run.order} gaze", *(number(run.per_finding.get(name)) for name in names)] for run in runs
    ]
    notes = ["AUROC of the finding head; means over seeds."]
    return Table(f"AUROC of each finding, {words}", ["training images", *names], rows, notes, folded=True)


def runs_of(domain: Domain, variant: str) -> list[Run]:
    """Return the runs of a variant of the model, those with the fewest images first."""
    runs = [run for run in domain.runs if run.variant == variant]
    return sorted(runs, key=lambda run: (run.images, ORDERS.index(run.order)))
