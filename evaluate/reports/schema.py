"""What a report may hold: the JSON of `gazevlm experiment`, `gazevlm evaluate` and `gazevlm score`, as checked models.

Uploads come from anybody, so every name, number and list is bounded. Keys that are not known here are left out.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

MOST_ENTRIES = 500

Number = Annotated[float, Field(ge=-1e9, le=1e9, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=10**12)]
Name = Annotated[str, StringConstraints(max_length=200)]
Entries = Field(max_length=MOST_ENTRIES)
Interval = Annotated[list[Number], Field(min_length=2, max_length=2)]
Order = Literal["original", "shuffled", "random", "none"]


class Part(BaseModel):
    """A piece of a report; types are not converted."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class Score(Part):
    """A score with its 95% interval; None where it was not measured or is not defined."""

    value: Number | None = None
    interval: Interval | None = None


class Floor(Score):
    """What something that knows less would score, and whether the two intervals share a point."""

    interval_touches_the_models: bool


class Floored(Score):
    """A score beside its floors."""

    floors: Annotated[dict[Name, Floor], Entries]


class Against(Score):
    """A score beside one floor that is known exactly."""

    floor: Number


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
    """AUROC over findings and of each."""

    macro: Score | None
    floors: Annotated[dict[Name, Floor], Entries]
    per_finding: Annotated[dict[Name, Score | None], Entries]


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


class Words(Part):
    """Scores of reports in words."""

    moderate_or_worse: NamedFloored
    sides: Floored


class Sequence(Floored):
    """Sequence score of the shown paths."""

    ceiling_same_reader: Score | None
    other_reader: Score | None
    share_of_ceiling: Score | None
    order_gain: Score | None


class Stop(Part):
    """When the paths end."""

    within_2_fixations: Floored
    median_length_difference: Score | None


class Conditional(Part):
    """Scores of the distributions behind each fixation."""

    nss: Floored
    information_gain_bits: Floored


class Dwell(Part):
    """Scores of the durations."""

    median_ratio: Score | None
    log_correlation: Score | None


class Paths(Part):
    """Scores of the shown paths."""

    sequence_score: Sequence
    stop: Stop
    dwell: Dwell
    conditional: Conditional | None = None


class ModelScores(Part):
    """Scores of one checkpoint on phantoms."""

    finding_head: Source | None
    answer_text: Source | None
    report: Words
    scanpath: Paths | Literal["untrained"]


class PhantomReport(Part):
    """JSON of `gazevlm evaluate --dataset phantom`."""

    dataset: Literal["phantom"]
    domain: Literal["A", "B"]
    n: Count
    seed: Count
    resamples: Count
    model: Name
    adapter: Name | None
    scores: Annotated[dict[Literal["model", "short", "no-gaze", "plain"], ModelScores], Field(min_length=1)]


# ---- gazevlm evaluate, real data sets -------------------------------------------------------------------------------
class Finding(Part):
    """Scores of one finding."""

    images: Count
    positive: Count
    auroc: Against
    auprc: Against
    f1: Against | None
    calibration_error: Score | None


class Labels(Part):
    """Scores of all findings from one source."""

    macro_auroc: Against
    micro_auroc: Against
    findings: Annotated[dict[Name, Finding], Entries]


class Steps(Part):
    """Scores of the distributions behind each fixation, beside those of a histogram of places."""

    nss: Score | None
    histogram_nss: Score | None
    bits: Score | None
    histogram_bits: Score | None


class DatasetPaths(PathReport):
    """Scores of the shown paths on a data set."""

    steps: Steps | None


class DatasetScores(Part):
    """Scores on a data set."""

    finding_head: Labels | None
    answer_text: Labels | None
    scanpath: DatasetPaths | Literal["untrained", "no readings"]


class DatasetReport(Part):
    """JSON of `gazevlm evaluate --dataset NAME`."""

    dataset: Name
    split: Name
    records: Count
    images: Count
    patients: Count
    resamples: Count
    model: Name
    adapter: Name | None
    scores: DatasetScores


# ---- gazevlm experiment ---------------------------------------------------------------------------------------------
class MeanMetric(Part):
    """One score of scanpaths as a mean over seeds, without interval."""

    order: Literal["sensitive", "weak", "blind"]
    better: Literal["higher", "lower"]
    value: Number | None
    order_gain: Number | None
    ceiling_other_reader: Number | None
    floors: Annotated[dict[Name, Number | None], Entries]


class Run(Part):
    """All runs of one kind, over their seeds."""

    variant: Name
    order: Order
    images: Annotated[int, Field(ge=1, le=10**9)]
    seeds: Count
    auroc: Score = Field(alias="macro AUROC")
    sequence: Score | None = Field(None, alias="sequence score")
    sequence_floors: Annotated[dict[Name, Number], Entries]
    path_metrics: Annotated[dict[Name, MeanMetric], Field(max_length=100)] = {}


class Difference(Score):
    """A score of one order less that of another, in pairs."""

    images: Count
    score: Name
    first: Order
    second: Order
    by_seed: Annotated[list[Number], Entries]


class Ablation(Score):
    """A score of a variant less that of the base, in pairs."""

    variant: Name
    images: Count
    score: Name
    by_seed: Annotated[list[Number], Entries]


class Domain(Part):
    """Results on the test images of one domain."""

    runs: Annotated[list[Run], Field(min_length=1, max_length=MOST_ENTRIES)]
    differences: Annotated[list[Difference], Entries]
    ablations: Annotated[list[Ablation], Entries] = []


class OrderInformation(Part):
    """What gaze alone tells about findings, with its order and without."""

    images: Count
    original: Score | None
    shuffled: Score | None
    difference: Score | None


class ExperimentReport(Part):
    """results.json of `gazevlm experiment`."""

    resamples: Count
    runs: Count
    planned_runs: Count | None = None
    domains: Annotated[dict[Literal["A", "B"], Domain], Field(min_length=1)]
    order_information: OrderInformation | None = None


Report = ExperimentReport | PhantomReport | DatasetReport | PathReport
