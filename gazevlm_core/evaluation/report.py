"""The report of an evaluation as checked models: JSON, tables, charts and model cards are drawn from these.

Evaluations build them, `parse_report` reads them back. Uploads come from anybody, so every name, number and list is
bounded; keys that are not known here are left out, and those that earlier versions did not write may be missing.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_serializer, model_validator

from gazevlm_core.metrics.intervals import Estimate
from gazevlm_core.metrics.registry import LABEL_METRICS

MOST_ENTRIES = 500
HEAD, TEXT = "finding_head", "answer_text"
GUESSING = "chance"  # the floor that is known exactly, not measured
SOURCES: Mapping[str, str] = {HEAD: "finding head", TEXT: "answer text"}
SUBSETS: Mapping[str, str] = {"all_severities": "all severities", "moderate_or_worse": "moderate or worse"}

Number = Annotated[float, Field(ge=-1e9, le=1e9, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=10**12)]
Name = Annotated[str, StringConstraints(max_length=200)]
Text = Annotated[str, StringConstraints(max_length=2000)]
Entries = Field(max_length=MOST_ENTRIES)
Interval = Annotated[list[Number], Field(min_length=2, max_length=2)]
GazeOrderName = Literal["original", "shuffled", "random", "none"]
Unscored = Literal["untrained", "no readings"]
DomainName = Literal["A", "B"]
Role = Literal["model", "base", "glimpses", "no-glimpses", "fine", "short", "no-gaze", "plain"]


class Part(BaseModel):
    """A piece of a report; types are not converted."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    def to_values(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return self.model_dump(mode="json", by_alias=True)


class Score(Part):
    """A score with its 95% interval, which few patients have not; None where not measured, or not defined."""

    value: Number | None = None
    interval: Interval | None = None

    @classmethod
    def of(cls, estimate: Estimate, **more: Any) -> Self:
        """Return an estimate rounded to six digits."""
        return cls(**_rounded(estimate), **more)


def _rounded(estimate: Estimate) -> dict[str, Any]:
    value, *ends = (None if math.isnan(end) else round(float(end), 6)
                    for end in (estimate.value, estimate.low, estimate.high))  # fmt: skip
    return {"value": value, "interval": None if None in ends else ends}


def score_of(estimate: Estimate | None) -> Score | None:
    """Return an estimate as a score; None where there is none."""
    return None if estimate is None else Score.of(estimate)


class Floor(Score):
    """What something that knows less would score, and whether the two intervals share a point."""

    interval_touches_the_models: bool


def floors_of(own: Estimate, floors: Mapping[str, Estimate]) -> dict[str, Floor]:
    """Return estimates of floors beside the score that they stand below."""
    return {name: Floor.of(floor, interval_touches_the_models=own.touches(floor)) for name, floor in floors.items()}


class Floored(Score):
    """A score beside its floors."""

    floors: Annotated[dict[Name, Floor], Entries]


class Against(Score):
    """A score beside one floor that is known exactly.

    Args:
        threshold: from which on a finding was called present, where the score has one.
    """

    floor: Number | None = None
    threshold: Number | None = None

    @model_serializer(mode="wrap")
    def _known(self, handler: Any) -> dict[str, Any]:  # noqa: ANN401 (pydantic's)
        values: dict[str, Any] = handler(self)
        return {name: one for name, one in values.items() if one is not None or name in ("value", "interval")}


# ---- gazevlm score --------------------------------------------------------------------------------------------------
class Metric(Score):
    """One score of scanpaths beside its order gain, ceiling and floors."""

    order: Literal["sensitive", "weak", "blind"]
    better: Literal["higher", "lower"]
    order_gain: Score
    ceiling_other_reader: Score
    floors: Annotated[dict[Name, Score], Entries]


class PathReport(Part):
    """JSON of `gazevlm score`."""

    images: Count
    pairs: Count
    grid: Annotated[list[Count], Field(min_length=2, max_length=2)]
    resamples: Count
    dropped: Annotated[dict[Name, Count], Entries] = {}
    metrics: Annotated[dict[Name, Metric], Field(min_length=1, max_length=100)]


# ---- gazevlm evaluate, drawn phantoms -------------------------------------------------------------------------------
class Auroc(Part):
    """AUROC over findings and of each; `too_few` patients have or lack some of them for an interval."""

    macro: Score | None
    floors: Annotated[dict[Name, Floor], Entries]
    per_finding: Annotated[dict[Name, Score | None], Entries]
    skipped: Annotated[list[Name], Entries] = []
    too_few: Annotated[list[Name], Entries] = []


class Source(Part):
    """AUROC from the finding head, or from the answer's words."""

    all_severities: Auroc
    moderate_or_worse: Auroc


class Named(Part):
    """Findings named in reports."""

    precision: Score | None
    recall: Score | None
    f1: Score | None


class NamedFloor(Named):
    """What a report that knows less would score."""

    interval_touches_the_models: bool


class NamedFloored(Named):
    """Findings named, beside floors."""

    floors: Annotated[dict[Name, NamedFloor], Entries]


class Sides(Floored):
    """Right sides among those that reports name; `said` is how many that is."""

    said: Count = 0


class Words(Part):
    """Scores of reports in words."""

    moderate_or_worse: NamedFloored
    sides: Sides


class SequenceScores(Floored):
    """Sequence score of the shown paths."""

    ceiling_same_reader: Score | None
    other_reader: Score | None
    share_of_ceiling: Score | None
    order_gain: Score | None
    images_without_same_finding_partner: Count = 0


class Stop(Part):
    """When the paths end; how often a reader's second reading, or another's, is as long within 2 fixations."""

    within_2_fixations: Floored
    median_length_difference: Score | None
    same_reader: Score | None = None  # reports of earlier versions have neither
    other_reader: Score | None = None


class StepOnly(Part):
    """How often the patch of a step is the one that a reader fixates: a constant path's, and the model's."""

    modal_patch_hits: Score | None
    model_path_hits: Score | None


class Dwell(Part):
    """Scores of the durations."""

    median_ratio: Score | None
    log_correlation: Score | None


class Paths(Part):
    """Scores of the shown paths of phantoms; `metrics` has every metric, as for any data set."""

    sequence_score: SequenceScores
    stop: Stop
    step_only: StepOnly | None = None
    conditional: Annotated[dict[Name, Floored], Entries] | None = None
    dwell: Dwell
    metrics: Annotated[dict[Name, Metric], Field(max_length=100)] = {}


class ModelScores(Part):
    """Scores of one checkpoint on phantoms."""

    finding_head: Source | None
    answer_text: Source | None
    report: Words
    scanpath: Paths | Literal["untrained"]

    @property
    def paths(self) -> Paths | None:
        """Scores of the shown paths; None where the gaze is untrained."""
        return self.scanpath if isinstance(self.scanpath, Paths) else None


class Quantisation(Part):
    """What the quantised model loses against its full-precision form on the same images, with paired intervals."""

    head_auroc_loss: Score | None
    answer_text_auroc_loss: Score | None
    sequence_score_loss: Score | None


class Bar(Score):
    """What the embedded checkpoint is held to, and how it came out.

    Args:
        bar: in words.
        met: None where nothing was measured.
    """

    bar: Name
    met: bool | None


class Presence(Part):
    """How many images have a finding."""

    any: Count
    moderate_or_worse: Count


class Effect(Score):
    """One measure of how far the path is believed, beside its parts and controls; `useless` is what a model gets whose
    answers do not depend on its path, where that is known."""

    measure: Literal["path effect", "glimpse swap", "steering", "deletion and insertion", "order"]
    name: Name
    cases: Count
    useless: Number | None
    beside: Annotated[dict[Name, Score], Entries]


class Faithfulness(Part):
    """How far a model's path with so many glimpses is believed."""

    images: Count
    glimpses: Count
    effects: Annotated[list[Effect], Entries]
    left_out: Annotated[dict[Name, Count], Entries] = {}


class PhantomReport(Part):
    """JSON of `gazevlm evaluate --dataset phantom`."""

    dataset: Literal["phantom"]
    domain: DomainName
    n: Count
    seed: Count
    phantom_seeds: Annotated[list[Count], Field(max_length=2)] = []
    resamples: Count
    confidence: Number = 0.95
    model: Name
    adapter: Name | None
    trained_on_known: bool = True
    seconds: Number = 0.0
    images_with: Annotated[dict[Name, Presence], Entries] = {}
    scores: Annotated[dict[Role, ModelScores], Field(min_length=1)]
    quantisation: Quantisation | None = None
    faithfulness: dict[Role, Faithfulness] = {}
    bars: Annotated[list[Bar], Entries] = []


# ---- gazevlm evaluate, real data sets -------------------------------------------------------------------------------
class Finding(Part):
    """Scores of one finding, by the keys of LABEL_METRICS; in files they stand beside the counts."""

    images: Count
    positive: Count
    scores: dict[str, Against | None]

    @model_validator(mode="before")
    @classmethod
    def _gathered(cls, values: Any) -> Any:  # noqa: ANN401 (JSON values)
        if not isinstance(values, dict) or "scores" in values:
            return values
        known = {metric.key: values[metric.key] for metric in LABEL_METRICS if metric.key in values}
        return {"images": values.get("images"), "positive": values.get("positive"), "scores": known}

    @model_serializer(mode="wrap")
    def _flat(self, handler: Any) -> dict[str, Any]:  # noqa: ANN401 (pydantic's)
        values: dict[str, Any] = handler(self)
        return {"images": values["images"], "positive": values["positive"], **values["scores"]}


class Labels(Part):
    """Scores of all findings from one source; the floor of all labels pooled is what prevalences alone get (in files
    of earlier versions 0.5)."""

    macro_auroc: Against
    micro_auroc: Against
    findings: Annotated[dict[Name, Finding], Entries]
    one_class_only: Annotated[list[Name], Entries] = []
    too_few: Annotated[list[Name], Entries] = []


class DatasetPaths(PathReport):
    """Scores of the shown paths on a data set.

    Args:
        steps: key of each map metric, and "histogram_" with it for that of a histogram of places -> score.
    """

    steps: Annotated[dict[Name, Score | None], Entries] | None


class DatasetScores(Part):
    """Scores on a data set."""

    finding_head: Labels | None
    answer_text: Labels | None
    scanpath: DatasetPaths | Unscored


class GroupFinding(Part):
    """AUROC of one finding, by source.

    Args:
        above_baseline: of the model, less that of the plain baseline, in pairs.
    """

    images: Count
    positive: Count
    auroc: Annotated[dict[Name, Score], Entries]
    above_baseline: Score | None = None


class Group(Part):
    """AUROC by source on some of the images, such as one view.

    Args:
        mean: over all findings that have both classes, less `too_few`.
        frequent: findings with many positive images, over which the second mean runs.
    """

    images: Count
    patients: Count
    findings: Annotated[dict[Name, GroupFinding], Entries]
    mean: Annotated[dict[Name, Score], Entries]
    above_baseline: Score | None = None
    too_few: Annotated[list[Name], Entries] = []
    frequent: Annotated[list[Name], Entries] = []
    frequent_mean: Annotated[dict[Name, Score], Entries] = {}
    frequent_above_baseline: Score | None = None


class Pointing(Part):
    """How often paths and maps find what is marked with boxes.

    Args:
        margin: around a box, as a fraction of the side.
    """

    images: Count
    boxes: Count
    margin: Number
    scores: Annotated[dict[Name, Floored], Entries]


class DatasetReport(Part):
    """JSON of `gazevlm evaluate --dataset NAME`.

    Args:
        labels: label or column of the data set -> as what it is scored, or why not.
    """

    dataset: Name
    split: Name
    records: Count
    images: Count
    patients: Count
    validation_records: Count = 0
    resamples: Count
    confidence: Number = 0.95
    model: Name
    adapter: Name | None
    dropped: Annotated[dict[Name, Count], Entries] = {}
    split_note: Text = ""
    trained_on_left_out: Count | None = 0
    unreadable: Annotated[list[Text], Entries] = []
    labels: Annotated[dict[Name, Text], Entries] = {}
    credit: Text = ""
    scores: DatasetScores
    groups: Annotated[dict[Name, Group], Entries] = {}
    pointing: Pointing | None = None
    faithfulness: Faithfulness | None = None
    seconds: Number = 0.0


# ---- gazevlm experiment ---------------------------------------------------------------------------------------------
AUROC_NAME, BITS_NAME = "macro AUROC", "bits per fixation"  # as `Run` calls its scores, beside the sequence score


class Run(Part):
    """All runs of one kind, over their seeds."""

    variant: Name
    order: GazeOrderName
    images: Annotated[int, Field(ge=1, le=10**9)]
    seeds: Count
    auroc: Score = Field(alias="macro AUROC")
    sequence: Score | None = Field(None, alias="sequence score")
    step_bits: Score | None = Field(None, alias="bits per fixation")
    per_finding: Annotated[dict[Name, Number], Entries] = {}
    floors: Annotated[dict[Name, Number], Entries] = {}


class Difference(Score):
    """A score of one order less that of another, in pairs.

    Args:
        seeds_needed: for an interval of the planned width; None where the images alone are too few for it.
    """

    variant: Name
    images: Count
    score: Name
    first: GazeOrderName
    second: GazeOrderName
    by_seed: Annotated[list[Number], Entries]
    seeds_needed: Count | None = None


class Domain(Part):
    """Results on the test images of one domain.

    Args:
        other_reader: sequence score of a reader against the others.
        usual_step_bits: bits per fixation of how often others look at a patch at this step.
    """

    runs: Annotated[list[Run], Field(min_length=1, max_length=MOST_ENTRIES)]
    differences: Annotated[list[Difference], Entries]
    other_reader: Number | None = None
    usual_step_bits: Number | None = None


class OrderInformation(Part):
    """Macro AUROC of findings guessed from one reading alone, with its order and without, and the difference."""

    ordered: Score
    shuffled: Score
    difference: Score


class ExperimentReport(Part):
    """results.json of `gazevlm experiment`.

    Args:
        steps: of the readings, of which order information is told.
        drawing: of phantoms and readers; see `phantoms.dataset.DRAWING`.
        order_information: estimator -> whose readings -> what they tell.
    """

    resamples: Count
    runs: Count
    planned_runs: Count | None = None
    base: Name = ""
    steps: Count = 0
    drawing: Count = 1
    domains: Annotated[dict[DomainName, Domain], Field(min_length=1)]
    order_information: Annotated[dict[Name, Annotated[dict[Name, OrderInformation], Entries]], Entries] = {}


Report = ExperimentReport | PhantomReport | DatasetReport | PathReport
