"""What an annotator did on one image: the record of Teach, and its one form as JSON.

The digest of a record is the SHA-256 of its canonical JSON (sorted keys, no spaces, UTF-8), so anybody can compute it.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from gazevlm_core.scanpath import EXACT, Scanpath, Source

if TYPE_CHECKING:
    from pydantic import TypeAdapter

SCHEMA_VERSION = 3
FIRST_VERSION = 2  # that is read: records of it do not tell `findings_asked`
Mode = Literal["clicks", "bubble", "moving window"]
MODES: tuple[Mode, ...] = get_args(Mode)
SOURCE_OF_MODE: dict[Mode, Source] = {"clicks": "click", "bubble": "bubble", "moving window": "moving window"}
Pointer = Literal["mouse", "touch", "pen", "keyboard"]
POINTERS: tuple[str, ...] = get_args(Pointer)
Edit = Literal["", "moved", "inserted"]
EDITS: tuple[str, ...] = get_args(Edit)
CONFIDENCES = range(1, 6)
HEX_DIGITS = frozenset("0123456789abcdef")
DIGEST_DIGITS = 64  # of a SHA-256


@dataclass(frozen=True, slots=True)
class Client:
    """How the image was shown while an annotation was made.

    Args:
        canvas_width_px: width of the drawing surface in CSS pixels.
        canvas_height_px: height of the drawing surface in CSS pixels.
        zoom: CSS pixels per image pixel when the annotation was submitted.
        device_pixel_ratio: device pixels per CSS pixel.
        mode: "clicks" (plain image), "bubble" (blurred; a click reveals a disc) or "moving window" (a disc follows the
            pointer).
        blur_sigma_px: of the blurred image, in image pixels; None in mode "clicks".
        radius_px: of the sharp disc, in image pixels; None in mode "clicks".
        outside_clicks: presses beside the image, which count for nothing else.

    Raises:
        ValueError: a negative count, a size, zoom or ratio that is not positive and finite, an unknown mode, or a blur
            that does not go with the mode.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = EXACT

    canvas_width_px: int
    canvas_height_px: int
    zoom: float
    device_pixel_ratio: float
    mode: Mode
    blur_sigma_px: float | None = None
    radius_px: float | None = None
    outside_clicks: int = 0

    def __post_init__(self) -> None:
        if self.outside_clicks < 0:
            raise ValueError(f"client outside_clicks must not be negative, got {self.outside_clicks}")
        for name in ("canvas_width_px", "canvas_height_px", "zoom", "device_pixel_ratio"):
            _check_positive(f"client {name}", getattr(self, name))
        if self.mode not in MODES:
            raise ValueError(f"unknown mode {self.mode!r}; expected one of {', '.join(MODES)}")
        for name in ("blur_sigma_px", "radius_px"):
            value = getattr(self, name)
            if (value is None) != (self.mode == "clicks"):
                raise ValueError(f"client {name} is given in the modes with a blurred image, and only there")
            if value is not None:
                _check_positive(f"client {name}", value)


@dataclass(frozen=True, slots=True)
class Click:
    """How one click was made; its place and time are those of the fixation.

    Args:
        zoom: CSS pixels per image pixel at that moment.
        window_center: grey value (0 to 255) in the middle of the window.
        window_width: grey values from black to white.
        inverted: whether white and black were exchanged.
        pointer: what clicked.
        edit: "" as it was clicked; "moved" since; "inserted" between earlier ones (its fixation has no onset).

    Raises:
        ValueError: numbers that are not positive (center: not in 0 to 255), or an unknown pointer or edit.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = EXACT

    zoom: float
    window_center: float
    window_width: float
    inverted: bool
    pointer: Pointer
    edit: Edit = ""

    def __post_init__(self) -> None:
        _check_positive("click zoom", self.zoom)
        _check_positive("click window_width", self.window_width)
        if not 0 <= self.window_center <= 255:
            raise ValueError(f"click window_center must lie in 0 to 255, got {self.window_center!r}")
        if self.pointer not in POINTERS:
            raise ValueError(f"unknown pointer {self.pointer!r}; expected one of {', '.join(POINTERS)}")
        if self.edit not in EDITS:
            raise ValueError(f"unknown edit {self.edit!r}")


@dataclass(frozen=True, slots=True)
class PointerSample:
    """Where the disc of the moving window was.

    Args:
        time_ms: since the image was shown.
        x, y: as fractions of the upright image; outside [0, 1) beside it.

    Raises:
        ValueError: a number that is not finite, or a negative time.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = EXACT

    time_ms: float
    x: float
    y: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.time_ms) and self.time_ms >= 0 and math.isfinite(self.x) and math.isfinite(self.y)):
            raise ValueError("a pointer sample needs finite numbers and a time >= 0")


@dataclass(frozen=True, slots=True)
class Annotation:
    """One reader's scanpath, findings and report on one image.

    Args:
        submission_id: chosen by the client, so that submitting twice stores once.
        image_id: name of the image in its data set.
        image_sha256: digest of the upright pixels, 64 hex digits; see `sample.pixel_digest`.
        image_width_px: width of the upright image.
        image_height_px: height of the upright image.
        question: what the annotator was asked.
        findings: names of the findings that the annotator ticked, none twice.
        report: free text, may be empty.
        scanpath: where the annotator looked, in order. Onsets are client times since the image was shown; durations
            are known in mode "moving window" alone.
        annotator: who; in everything that leaves the store, a pseudonym.
        started_at: when the image was shown, by the server's clock, with a time zone.
        submitted_at: when it was stored, likewise, not before `started_at`.
        client: how the image was shown.
        confidence: 1 (a guess) to 5 (certain), or None where it is not known.
        clicks: one per fixation, in order; empty in mode "moving window".
        samples: of the pointer in mode "moving window", in order of time; empty otherwise.
        findings_asked: names of the findings that the form asked for, none twice: one that was asked for and not ticked
            was not seen. None where that is not known, as in records of version 2.
        schema_version: version of this record.

    Raises:
        ValueError: an empty id, a malformed digest, a size below 1, times without a zone or running backwards, parts
            that do not go with the mode or the version, or a finding that was ticked though nobody asked for it.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = EXACT

    submission_id: str
    image_id: str
    image_sha256: str
    image_width_px: int
    image_height_px: int
    question: str
    findings: tuple[str, ...]
    report: str
    scanpath: Scanpath
    annotator: str
    started_at: datetime
    submitted_at: datetime
    client: Client
    confidence: int | None = None
    clicks: tuple[Click, ...] = ()
    samples: tuple[PointerSample, ...] = ()
    findings_asked: tuple[str, ...] | None = None
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        for name in ("submission_id", "image_id", "annotator"):
            if not getattr(self, name).strip():
                raise ValueError(f"annotation {name} is empty")
        if not is_digest(self.image_sha256):
            raise ValueError(f"{self.image_id}: image_sha256 must be 64 lower-case hex digits")
        if self.image_width_px < 1 or self.image_height_px < 1:
            raise ValueError(f"{self.image_id}: image size must be at least 1 x 1 px")
        if self.started_at.tzinfo is None or self.submitted_at.tzinfo is None:
            raise ValueError(f"{self.image_id}: started_at and submitted_at need a time zone")
        if self.submitted_at < self.started_at:
            raise ValueError(f"{self.image_id}: submitted_at lies before started_at")
        if len(set(self.findings)) != len(self.findings):
            raise ValueError(f"{self.image_id}: a finding is ticked twice")
        self._check_asked()
        if self.confidence is not None and self.confidence not in CONFIDENCES:
            raise ValueError(f"{self.image_id}: confidence must lie in 1 to 5, got {self.confidence!r}")
        self._check_mode()

    def _check_asked(self) -> None:
        if self.schema_version not in (FIRST_VERSION, SCHEMA_VERSION):
            raise ValueError(f"{self.image_id}: there is no schema_version {self.schema_version!r}")
        asked = self.findings_asked
        if asked is None:
            return
        if self.schema_version == FIRST_VERSION:
            raise ValueError(f"{self.image_id}: a record of schema_version {FIRST_VERSION} tells no findings_asked")
        if len(set(asked)) != len(asked):
            raise ValueError(f"{self.image_id}: a finding is asked for twice")
        if not set(self.findings) <= set(asked):
            raise ValueError(f"{self.image_id}: a finding is ticked that the form did not ask for")

    def _check_mode(self) -> None:
        mode = self.client.mode
        if self.scanpath.source != SOURCE_OF_MODE[mode]:
            raise ValueError(f"{self.image_id}: a scanpath of source {self.scanpath.source!r} is not of mode {mode!r}")
        if mode == "moving window":
            if self.clicks or not self.samples:
                raise ValueError(f"{self.image_id}: mode {mode!r} has pointer samples and no clicks")
        elif self.samples or len(self.clicks) != len(self.scanpath):
            raise ValueError(f"{self.image_id}: mode {mode!r} has one click per fixation and no pointer samples")
        if any(later.time_ms < earlier.time_ms for earlier, later in pairwise(self.samples)):
            raise ValueError(f"{self.image_id}: pointer samples run backwards")


def is_digest(text: str) -> bool:
    """Return whether a text is a SHA-256 in lower-case hex digits."""
    return len(text) == DIGEST_DIGITS and not set(text) - HEX_DIGITS


# ---- JSON -----------------------------------------------------------------------------------------------------------
def to_values(annotation: Annotation) -> dict[str, Any]:
    """Return it as plain JSON values, times in UTC; `from_values` gives the same annotation back.

    A record of an earlier version has the parts that it had then, so that its digest stays the one of its receipt.
    """
    if (annotation.started_at.tzinfo, annotation.submitted_at.tzinfo) != (UTC, UTC):  # a copy is checked anew
        utc = {name: getattr(annotation, name).astimezone(UTC) for name in ("started_at", "submitted_at")}
        annotation = replace(annotation, **utc)
    values: dict[str, Any] = _adapter().dump_python(annotation, mode="json")
    if annotation.schema_version == FIRST_VERSION:
        del values["findings_asked"]
    return values


def from_values(values: object) -> Annotation:
    """Return an annotation from plain JSON values, which may come from anybody.

    Raises:
        ValueError: missing or further parts, wrong types, another schema version, or as in `Annotation`; one line.
    """
    version = values.get("schema_version") if isinstance(values, dict) else None
    if not isinstance(values, dict) or type(version) is not int or version not in (FIRST_VERSION, SCHEMA_VERSION):
        raise ValueError(
            f"an annotation is a JSON object of schema_version {FIRST_VERSION} or {SCHEMA_VERSION}, got "
            f"{str(version)[:20]!r}; this program reads those versions alone"
        )
    if (version == FIRST_VERSION) == ("findings_asked" in values):
        needs = "has no" if version == FIRST_VERSION else "needs"
        raise ValueError(f"a record of schema_version {version} {needs} findings_asked")
    from pydantic import ValidationError

    try:
        text = json.dumps(values, allow_nan=False)
        return _adapter().validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))[:80]
        raise ValueError(f"{place}: {first['msg']}" if place else first["msg"]) from None
    except (TypeError, RecursionError) as error:
        raise ValueError(f"an annotation holds JSON values alone: {error}") from None


@cache
def _adapter() -> "TypeAdapter[Annotation]":
    from pydantic import TypeAdapter  # late: it costs more to import than all of this file

    return TypeAdapter(Annotation)


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def canonical_json(value: object) -> str:
    """Return JSON of which there is only one form for the same values: sorted keys, no spaces, no NaN."""
    return _CANONICAL.encode(value)


def joined_json(parts: Mapping[str, str]) -> str:
    """Return canonical JSON of an object, from that of its values."""
    return "{" + ",".join(f"{canonical_json(name)}:{parts[name]}" for name in sorted(parts)) + "}"


def record_digest(values: Mapping[str, Any]) -> str:
    """Return SHA-256 of the canonical JSON, 64 hex digits."""
    return text_digest(canonical_json(values))


def text_digest(text: str) -> str:
    """Return SHA-256 of a text in UTF-8, 64 hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def _check_positive(what: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{what} must be positive, got {value!r}")
