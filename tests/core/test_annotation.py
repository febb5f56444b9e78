"""Annotations are validated at birth, and their JSON is read strictly: it may come from anybody."""

import hashlib
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from gazevlm_core.annotation import (
    FIRST_VERSION,
    SCHEMA_VERSION,
    Click,
    Client,
    PointerSample,
    canonical_json,
    from_values,
    joined_json,
    record_digest,
    to_values,
)
from gazevlm_core.scanpath import Fixation, Scanpath
from tests.annotation_maker import CLICK, START, make_annotation

WINDOW = {
    "client": Client(600, 450, 1.0, 2.0, "moving window", 40.0, 32.0),
    "scanpath": Scanpath((Fixation(0.5, 0.5, 300.0, 10.0),), "moving window"),
    "clicks": (),
    "samples": (PointerSample(10.0, 0.5, 0.5), PointerSample(310.0, 0.5, 1.2)),
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"submission_id": " "}, "submission_id is empty"),
        ({"image_sha256": "xyz"}, "64 lower-case hex"),
        ({"image_sha256": "A" * 64}, "64 lower-case hex"),
        ({"image_width_px": 0}, "at least 1 x 1"),
        ({"started_at": datetime(2026, 1, 2)}, "time zone"),
        ({"submitted_at": START - timedelta(seconds=1)}, "before started_at"),
        ({"findings": ("edema", "edema")}, "ticked twice"),
        ({"confidence": 0}, "lie in 1 to 5"),
        ({"clicks": (CLICK,)}, "one click per fixation"),
        ({"scanpath": Scanpath((Fixation(0.1, 0.2),), "eyetracker")}, "not of mode 'clicks'"),
        ({**WINDOW, "samples": ()}, "has pointer samples"),
        ({**WINDOW, "samples": WINDOW["samples"][::-1]}, "run backwards"),
    ],
)
def test_annotations_with_wrong_parts_are_refused(change: dict[str, Any], message: str) -> None:
    assert make_annotation().schema_version == SCHEMA_VERSION
    with pytest.raises(ValueError, match=message):
        make_annotation(**change)


def test_clients_and_clicks_are_checked() -> None:
    with pytest.raises(ValueError, match="zoom must be positive"):
        Client(600, 450, 0.0, 1.0, "clicks")
    with pytest.raises(ValueError, match="unknown mode"):
        Client(600, 450, 1.0, 1.0, "stare")
    with pytest.raises(ValueError, match="blur_sigma_px is given in the modes with a blurred image"):
        Client(600, 450, 1.0, 1.0, "bubble")
    with pytest.raises(ValueError, match="window_center must lie"):
        Click(1.0, 300.0, 255.0, False, "mouse")
    with pytest.raises(ValueError, match="unknown pointer"):
        Click(1.0, 100.0, 255.0, False, "foot")
    with pytest.raises(ValueError, match="finite numbers"):
        PointerSample(0.0, float("nan"), 0.0)


@pytest.mark.parametrize("change", [{}, WINDOW, {"confidence": None, "report": "\u00e9\u4e2d \"quoted\"\n"}])
def test_json_gives_the_same_annotation_back(change: dict[str, Any]) -> None:
    annotation = make_annotation(**change)
    values = json.loads(json.dumps(to_values(annotation)))
    assert from_values(values) == annotation
    assert to_values(from_values(values)) == values


def test_the_digest_is_that_of_the_canonical_json() -> None:
    values = to_values(make_annotation())
    turned = dict(reversed(values.items()))
    assert record_digest(values) == record_digest(turned) == hashlib.sha256(canonical_json(values).encode()).hexdigest()
    assert record_digest({"b": 1, "a": "\u00e9"}) == hashlib.sha256('{"a":"\u00e9","b":1}'.encode()).hexdigest()
    elsewhere = make_annotation(started_at=START.astimezone(timezone(timedelta(hours=3))))
    assert record_digest(to_values(elsewhere)) == record_digest(values)
    assert from_values(values).started_at.tzinfo == UTC


def test_the_canonical_json_of_an_object_is_joined_from_its_parts() -> None:
    values = {**to_values(make_annotation(report='a "quoted" wörd')), "ä": {"b": 1, "a": [0.1, None]}, "A": {}}
    assert joined_json({name: canonical_json(value) for name, value in values.items()}) == canonical_json(values)
    assert joined_json({}) == "{}"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 1}, "schema_version 2"),
        ({"schema_version": 4}, "schema_version 2 or 3"),
        ({"schema_version": 2.0}, "schema_version 2 or 3"),
        ({"schema_version": 2}, "schema_version 2 has no findings_asked"),
        ({"findings_asked": ["edema"]}, "ticked that the form did not ask for"),
        ({"findings_asked": ["edema", "pneumothorax", "edema"]}, "asked for twice"),
        ({"findings_asked": "pneumothorax"}, "findings_asked"),
        ({"further": 1}, "further"),
        ({"report": None}, "report"),
        ({"image_width_px": "640"}, "image_width_px"),
        ({"image_width_px": True}, "image_width_px"),
        ({"confidence": 2.5}, "confidence"),
        ({"scanpath": {"source": "click", "fixations": []}}, "at least one fixation"),
        ({"scanpath": {"source": "click", "fixations": [{"x": 0.1, "y": 1.0}] * 2}}, r"lie in \[0, 1\)"),
        ({"scanpath": {"source": "click", "fixations": [{"x": 0.1, "y": 0.2, "z": 1}] * 2}}, "z"),
        ({"started_at": "2026-01-02T03:04:00"}, "time zone"),
        ({"client": {}}, "client"),
        ({"clicks": [1, 2]}, "clicks"),
        ({"report": float("nan")}, "JSON"),
        ({"report": b"bytes"}, "JSON values alone"),
    ],
)
def test_json_from_anybody_is_read_strictly(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        from_values({**to_values(make_annotation()), **change})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("values", [None, [], "text", 3, {}])
def test_what_is_no_object_is_no_annotation(values: object) -> None:
    with pytest.raises(ValueError, match="an annotation is a JSON object"):
        from_values(values)



def test_records_of_the_version_before_keep_their_digest() -> None:
    values = to_values(make_annotation(schema_version=FIRST_VERSION))
    assert "findings_asked" not in values
    assert record_digest(values) == "060abb4d6f96108a36eb6f2de650cca3c938391729b7c3a20b8e2c03eb105dba"
    assert to_values(from_values(values)) == values


def test_what_was_asked_is_a_part_of_the_record() -> None:
    annotation = make_annotation(findings_asked=("edema", "pneumothorax"))
    values = to_values(annotation)
    assert values["findings_asked"] == ["edema", "pneumothorax"]
    assert from_values(values) == annotation
    assert record_digest(values) != record_digest(to_values(make_annotation()))
    del values["findings_asked"]
    with pytest.raises(ValueError, match="needs findings_asked"):
        from_values(values)
    with pytest.raises(ValueError, match="tells no findings_asked"):
        make_annotation(findings_asked=("pneumothorax",), schema_version=FIRST_VERSION)
