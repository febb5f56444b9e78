"""A diagnosis as JSON: one record, the same from the command line and from the page's endpoint; and the models."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypedDict, cast

from gazevlm_core.records import Diagnosis

if TYPE_CHECKING:
    from diagnose.catalogue import Choice


class FixationRecord(TypedDict):
    """One fixation; x and y are fractions of the upright image, duration_ms is None where unknown."""

    x: float
    y: float
    patch_index: int
    probability: float
    duration_ms: float | None


class DiagnosisRecord(TypedDict):
    """One image's answer; scanpath is None, and notes say so, where the model's gaze weights are untrained.

    strangeness above 1 means that the image is unlike the model's training images; None that nobody can tell.
    """

    image: str
    answer: str
    findings: dict[str, float]
    grid: list[int]
    scanpath: list[FixationRecord] | None
    model: str
    adapter: str | None
    seconds: float
    strangeness: float | None
    notes: list[str]


class ModelRecord(TypedDict):
    """Something that can answer; `facts` are the badges of the page."""

    name: str
    findings: list[str]
    gaze_tokens: int
    facts: dict[str, str]


_FIXATION_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "x": {"type": "number"},
        "y": {"type": "number"},
        "patch_index": {"type": "integer"},
        "probability": {"type": "number"},
        "duration_ms": {"anyOf": [{"type": "number"}, {"type": "null"}]},
    },
}
RECORD_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "image": {"type": "string"},
        "answer": {"type": "string"},
        "findings": {"type": "object", "additionalProperties": {"type": "number"}},
        "grid": {"type": "array", "items": {"type": "integer"}},
        "scanpath": {"anyOf": [{"type": "array", "items": _FIXATION_SCHEMA}, {"type": "null"}]},
        "model": {"type": "string"},
        "adapter": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "seconds": {"type": "number"},
        "strangeness": {"anyOf": [{"type": "number"}, {"type": "null"}]},
        "notes": {"type": "array", "items": {"type": "string"}},
    },
}

_MODEL_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "findings": {"type": "array", "items": {"type": "string"}},
        "gaze_tokens": {"type": "integer"},
        "facts": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}
MODELS_SCHEMA: dict[str, Any] = {"type": "array", "items": _MODEL_SCHEMA}


def model_records(choices: Iterable["Choice"]) -> list[ModelRecord]:
    """The JSON records of what can answer, in the same order."""
    return [
        {
            "name": choice.name,
            "findings": list(choice.gaze.finding_names),
            "gaze_tokens": choice.gaze.num_gaze_tokens,
            "facts": choice.facts(),
        }
        for choice in choices
    ]


def to_record(diagnosis: Diagnosis, image: str, seconds: float) -> DiagnosisRecord:
    """The JSON record of a diagnosis.

    Args:
        diagnosis: from the engine.
        image: name or path of the image, as the user gave it.
        seconds: from reading the file to the last word.
    """
    values = {**diagnosis.to_dict(), "image": image, "seconds": round(seconds, 3)}
    return cast(DiagnosisRecord, {name: values[name] for name in RECORD_SCHEMA["properties"]})
