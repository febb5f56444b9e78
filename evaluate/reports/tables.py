"""A report as tables: every score with its interval, the floors beside it, and the gain of its order."""

from collections.abc import Iterator, Mapping

from evaluate.reports.experiment_tables import experiment_facts, experiment_tables
from evaluate.reports.rows import HEADS, TOUCHES, Row, metric_table, rendered, text
from evaluate.reports.schema import (
    DatasetReport,
    ExperimentReport,
    Labels,
    ModelScores,
    PathReport,
    Paths,
    PhantomReport,
    Report,
    Score,
    Source,
)
from phantoms.case import DOMAIN_WORDS
from web.markup import Table

TWINS = {
    "short": "trained as short as the other two",
    "no-gaze": "without gaze supervision",
    "plain": "plain placeholders",
}
UNTRAINED = "The gaze of this model is untrained: it shows no paths, so there is nothing to score."
STEP_FLOOR = "most frequent places of each step, training set"


def tables_of(report: Report) -> list[Table]:
    """Everything that a report says, the most telling first."""
    if isinstance(report, ExperimentReport):
        return experiment_tables(report)
    if isinstance(report, PhantomReport):
        return _phantom_tables(report)
    if isinstance(report, DatasetReport):
        return _dataset_tables(report)
    return [metric_table("Scores of the paths", report.metrics)]


def facts_of(report: Report) -> list[str]:
    """What was measured, on what: sentences; the first one says whether these are phantoms."""
    if isinstance(report, ExperimentReport):
        return experiment_facts(report)
    if isinstance(report, PhantomReport):
        return [
            "Measured on drawn phantoms, not on patients.",
            f"{report.n} phantoms of domain {report.domain} ({DOMAIN_WORDS[report.domain]}), seed {report.seed}; "
            f"model {_model(report)}. Intervals from {report.resamples} resamples of images.",
        ]
    if isinstance(report, DatasetReport):
        return [
            f"Measured on the data set {report.dataset}, split {report.split}.",
            f"{report.records} records, {report.images} images of {report.patients} patients; model {_model(report)}. "
            f"Intervals from {report.resamples} resamples of patients.",
        ]
    dropped = ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in report.dropped.items() if number)
    return [
        "Measured on two files of paths; the report does not say whether their images are phantoms or patients.",
        f"{report.images} images, {report.pairs} pairs of paths, grid of {report.grid[0]} by {report.grid[1]} patches. "
        f"Intervals from {report.resamples} resamples of images."
        + (f" Left out: {dropped}." if dropped else ""),
    ]


def _model(report: PhantomReport | DatasetReport) -> str:
    return f"{report.model} with adapter {report.adapter}" if report.adapter else report.model


# ---- phantoms -------------------------------------------------------------------------------------------------------
def _phantom_tables(report: PhantomReport) -> list[Table]:
    tables = []
    for name, scores in report.scores.items():
        title = f"Scores of {_model(report)}" if name == "model" else f"Its twin {name}: {TWINS[name]}"
        rows = [*_finding_rows(scores), *_word_rows(scores)]
        notes = [TOUCHES]
        if isinstance(scores.scanpath, Paths):
            rows += _path_rows(scores.scanpath)
        else:
            notes.append(UNTRAINED)
        tables.append(Table(title, HEADS, [rendered(row) for row in rows], notes, folded=name != "model"))
    return tables


def _finding_rows(scores: ModelScores) -> Iterator[Row]:
    sources: Mapping[str, Source | None] = {
        "finding head": scores.finding_head, "answer text": scores.answer_text,
    }  # fmt: skip
    for words, source in sources.items():
        if source is None:
            continue
        for which, part in (("all severities", source.all_severities), ("moderate or worse", source.moderate_or_worse)):
            yield Row(f"macro AUROC, {words}, {which}", part.macro, part.floors)


def _word_rows(scores: ModelScores) -> Iterator[Row]:
    named = scores.report.moderate_or_worse
    floors = {name: floor.f1 or Score() for name, floor in named.floors.items()}
    touching = {name for name, floor in named.floors.items() if floor.interval_touches_the_models}
    yield Row("report, findings named, micro F1", named.f1, floors, touching=touching)
    yield Row("report, precision", named.precision)
    yield Row("report, recall", named.recall)
    yield Row("report, right sides among those named", scores.report.sides, scores.report.sides.floors)


def _path_rows(paths: Paths) -> Iterator[Row]:
    sequence, stop = paths.sequence_score, paths.stop
    yield Row(
        "scanpath, sequence score", sequence, sequence.floors, sequence.order_gain,
        {"the same reader again": sequence.ceiling_same_reader, "another reader": sequence.other_reader},
    )  # fmt: skip
    yield Row("scanpath, share of the same reader's ceiling", sequence.share_of_ceiling)
    if paths.conditional is not None:
        nss, bits = paths.conditional.nss, paths.conditional.information_gain_bits
        yield Row("scanpath, conditional NSS (chance 0)", nss, nss.floors)
        yield Row("scanpath, conditional information gain over uniform, bits", bits, bits.floors)
    yield Row("stop within 2 fixations", stop.within_2_fixations, stop.within_2_fixations.floors)
    yield Row("median length difference, fixations", stop.median_length_difference)
    yield Row("dwell, median predicted / true", paths.dwell.median_ratio)
    yield Row("dwell, correlation of log durations", paths.dwell.log_correlation)


# ---- data sets ------------------------------------------------------------------------------------------------------
def _dataset_tables(report: DatasetReport) -> list[Table]:
    tables = []
    for words, labels in (("finding head", report.scores.finding_head), ("answer text", report.scores.answer_text)):
        if labels is None:
            tables.append(Table(f"Findings, {words}", ["score"], [[f"The {words} knows no finding of this data set."]]))
        else:
            tables.append(_label_table(words, labels))
    paths = report.scores.scanpath
    if isinstance(paths, PathReport):
        tables.append(metric_table("Scanpaths", paths.metrics))
        if paths.steps is not None:
            steps = paths.steps
            rows = [
                Row("conditional NSS (chance 0)", steps.nss, {STEP_FLOOR: steps.histogram_nss or Score()}),
                Row("conditional information gain over uniform, bits", steps.bits,
                    {STEP_FLOOR: steps.histogram_bits or Score()}),
            ]  # fmt: skip
            tables.append(Table("Distributions behind each fixation", HEADS, [rendered(row) for row in rows]))
    else:
        words = UNTRAINED if paths == "untrained" else "The data set has no readings to compare paths with."
        tables.append(Table("Scanpaths", ["score"], [[words]]))
    return tables


def _label_table(words: str, labels: Labels) -> Table:
    heads = ["finding", "positive", "AUROC [95% interval]", "chance", "AUPRC [95% interval]", "floor", "F1", "floor",
             "calibration error"]  # fmt: skip
    rows = [
        [
            name, f"{found.positive} of {found.images}", text(found.auroc), f"{found.auroc.floor:.2f}",
            text(found.auprc), f"{found.auprc.floor:.3f}", text(found.f1),
            "-" if found.f1 is None else f"{found.f1.floor:.3f}", text(found.calibration_error),
        ]
        for name, found in labels.findings.items()
    ]  # fmt: skip
    overall = f"Macro AUROC {text(labels.macro_auroc)}; all labels pooled {text(labels.micro_auroc)}; chance is 0.5."
    notes = [overall, "Floors: of AUPRC, how often the finding is there; of F1, saying “present” always."]
    return Table(f"Findings, {words}", heads, rows, notes)
