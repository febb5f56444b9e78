"""A diagnosis as JSON: one record, the same from the command line and from the page's endpoint; and the models."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypedDict, cast, get_args, get_origin, get_type_hints, is_typeddict

from gazevlm_core.records import Diagnosis
from gazevlm_core.report_parser import claims_of

if TYPE_CHECKING:
    from diagnose.catalogue import Choice


class FixationRecord(TypedDict):
    """One fixation; x and y are fractions of the upright image, duration_ms is None where unknown."""

    x: float
    y: float
    patch_index: int
    probability: float
    duration_ms: float | None


class GlimpseRecord(TypedDict):
    """A place of the path that the model saw closely: its fixation, counted from 1, and the window in fractions of the
    upright image."""

    step: int
    left: float
    upper: float
    right: float
    lower: float


class SentenceRecord(TypedDict):
    """A sentence of the answer; shares are those of each glimpse in the attention with which it was written."""

    text: str
    shares: list[float]


class ClaimRecord(TypedDict):
    """A finding that the answer names; agrees is False where its probability lies on the other side of 0.5."""

    finding: str
    affirmed: bool
    probability: float | None
    agrees: bool | None


class DiagnosisRecord(TypedDict):
    """One image's answer; scanpath is None, and notes say so, where the model's gaze weights are untrained.

    claims are the findings that the answer affirms or denies, each with its probability and whether the two agree; None
    where the model has no probability for it. evidence has, for each finding, the share of each glimpse in what its
    probability was pooled from; what is missing to 1 there and in sentences is the share of everything else. A model
    without glimpses has none of the three. strangeness above 1 means that the image is unlike the model's training
    images; None that nobody can tell.
    """

    image: str
    question: str
    answer: str
    claims: list[ClaimRecord]
    findings: dict[str, float]
    grid: list[int]
    scanpath: list[FixationRecord] | None
    glimpses: list[GlimpseRecord]
    evidence: dict[str, list[float]]
    sentences: list[SentenceRecord]
    model: str
    adapter: str | None
    seconds: float
    strangeness: float | None
    notes: list[str]


class ModelRecord(TypedDict):
    """Something that can answer; `facts` are the badges of the page. No questions: it answers any."""

    name: str
    findings: list[str]
    questions: list[str]
    gaze_tokens: int
    facts: dict[str, str]


VERDICT = "Unlike the images that this model learnt from: what it says here means nothing."
JSON_NAMES = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}


def schema_of(kind: Any) -> dict[str, Any]:  # noqa: ANN401 - any type of the records above
    """Return the JSON schema of a type, without references."""
    inner = [schema_of(one) for one in get_args(kind)] if get_origin(kind) is not dict else []
    if is_typeddict(kind):
        properties = {name: schema_of(of) for name, of in get_type_hints(kind).items()}
        return {"type": "object", "properties": properties}
    if get_origin(kind) is list:
        return {"type": "array", "items": inner[0]}
    if get_origin(kind) is dict:
        return {"type": "object", "additionalProperties": schema_of(get_args(kind)[1])}
    return {"anyOf": inner} if inner else {"type": JSON_NAMES[kind]}


RECORD_SCHEMA, MODELS_SCHEMA = schema_of(DiagnosisRecord), schema_of(list[ModelRecord])


def model_records(choices: Iterable["Choice"]) -> list[ModelRecord]:
    """Return the JSON records of what can answer, in the same order."""
    return [
        {
            "name": choice.name,
            "findings": list(choice.gaze.finding_names),
            "questions": list(choice.gaze.known_questions),
            "gaze_tokens": choice.gaze.num_gaze_tokens,
            "facts": choice.facts(),
        }
        for choice in choices
    ]


def answered_by(record: DiagnosisRecord) -> str:
    """Return what answered: "MODEL", or "MODEL + ADAPTER"."""
    return " + ".join(filter(None, (record["model"], record["adapter"])))


def to_record(diagnosis: Diagnosis, image: str, seconds: float) -> DiagnosisRecord:
    """Return the JSON record of a diagnosis.

    Args:
        diagnosis: from the engine, with a note where its answer was cut short.
        image: name or path of the image, as the user gave it.
        seconds: from reading the file to the last word.
    """
    claims = [
        {"finding": one.finding, "affirmed": one.affirmed, "probability": one.probability, "agrees": one.agrees}
        for one in claims_of(diagnosis)
    ]
    values = {**diagnosis.to_dict(), "image": image, "claims": claims, "seconds": round(seconds, 3)}
    return cast(DiagnosisRecord, {name: values[name] for name in RECORD_SCHEMA["properties"]})
