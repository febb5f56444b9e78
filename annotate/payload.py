"""What browsers send, checked: anybody may send anything, so every size is bounded and nothing is guessed.

A refusal is one sentence; it names the part that is wrong and never repeats what was sent.
"""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from annotate.store.model import SLUG, Digest
from annotate.store.project import LONGEST_QUESTION as LONGEST_ASKED
from gazevlm_core.annotation import Mode

MOST_CLICKS, MOST_SAMPLES, LEAST_SAMPLE_MS = 500, 30_000, 10.0
LONGEST_REPORT, LONGEST_QUESTION, LONGEST_REASON = 5_000, 300, 200  # characters
LONGEST_MS = 90 * 24 * 3600 * 1000.0  # a page may stay open for as long as a draft is taken
FARTHEST = 100.0  # beside the image, in widths and heights of it
LARGEST_PX, LARGEST_ZOOM = 32_768, 1000.0
MOST_OUTSIDE = 100_000
MOST_NAMES = 1_000

Fraction = Annotated[float, Field(ge=0, lt=1)]
Time = Annotated[float, Field(ge=0, le=LONGEST_MS)]
Zoom = Annotated[float, Field(gt=0, le=LARGEST_ZOOM)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
SubmissionId = Annotated[str, Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]  # crypto.randomUUID()
Shown = Annotated[str, Field(max_length=150 + 12 * LONGEST_ASKED)]  # %XX for up to 4 bytes a character
ProjectSlug = Annotated[str, Field(pattern=f"^{SLUG}$")]
Pixels = Annotated[int, Field(ge=1, le=LARGEST_PX)]
Sample = Annotated[list[Annotated[float, Field(ge=-FARTHEST, le=LONGEST_MS)]], Field(min_length=3, max_length=3)]
Samples = Annotated[list[Sample], Field(max_length=MOST_SAMPLES)]  # of the pointer, [time_ms, x, y]


class Strict(BaseModel):
    """No further parts, no other types, no NaN."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class SentClick(Strict):
    """One click; the onset is since the image was shown, None for one that was inserted later."""

    x: Fraction
    y: Fraction
    onset_ms: Time | None
    zoom: Zoom
    window_center: Annotated[float, Field(ge=0, le=255)]
    window_width: Annotated[float, Field(gt=0, le=510)]
    inverted: bool
    pointer: Literal["mouse", "touch", "pen", "keyboard"]
    edit: Literal["", "moved", "inserted"]


class SentClient(Strict):
    """How the image was shown."""

    canvas_width_px: Pixels
    canvas_height_px: Pixels
    outside_clicks: Annotated[int, Field(ge=0, le=MOST_OUTSIDE)]
    zoom: Zoom
    device_pixel_ratio: Annotated[float, Field(gt=0, le=32)]


class Submission(Strict):
    """All that somebody did on one image; `samples` are [time_ms, x, y].

    `findings_asked` are the boxes of the form as it was shown, without "no finding": a page may have been opened
    before the server's list changed. One that was opened, or kept a submission, before pages sent it has none.
    """

    submission_id: SubmissionId
    person: Name
    sha256: Digest
    lease_id: Name | None
    shown_at: Shown
    mode: Mode
    clicks: Annotated[list[SentClick], Field(max_length=MOST_CLICKS)]
    samples: Samples
    findings: Annotated[list[Annotated[str, Field(max_length=100)]], Field(min_length=1, max_length=64)]
    findings_asked: Annotated[list[Annotated[str, Field(max_length=100)]], Field(max_length=MOST_NAMES)] | None = None
    report: Annotated[str, Field(max_length=LONGEST_REPORT)]
    confidence: Annotated[int, Field(ge=1, le=5)] | None
    client: SentClient


class Nothing(Strict):
    """The form of what asks for nothing more."""


class InProject(Strict):
    """Something is asked about a project; None where the page does not say which: the first one that is open."""

    project: ProjectSlug | None = None


class Begin(Strict):
    """A page asks who it is and what there is to do."""

    project: Annotated[str, Field(max_length=200)] | None = None  # from a link: one that cannot be is refused


class Next(InProject):
    """A page asks for an image to annotate, or for the practice image."""


class Agree(InProject):
    """Somebody agrees to the terms that they were shown, and says how experienced they are."""

    terms: Annotated[str, Field(min_length=1, max_length=200)]
    experience: Annotated[str, Field(min_length=1, max_length=100)]


class Practise(InProject):
    """What was done on the practice image: clicks, or samples of the moving window; nothing of it is kept."""

    places: Annotated[
        list[Annotated[list[Fraction], Field(min_length=2, max_length=2)]], Field(max_length=MOST_CLICKS)
    ]
    samples: Samples = Field(default_factory=list)
    findings: Annotated[list[Annotated[str, Field(max_length=100)]], Field(min_length=1, max_length=64)]


class Withdraw(Strict):
    """Somebody takes a submission of theirs back."""

    submission_id: SubmissionId


class Own(InProject):
    """An uploaded image; `path` is where the upload was put."""

    path: Annotated[str, Field(min_length=1, max_length=4096)]
    question: Annotated[str, Field(min_length=1, max_length=LONGEST_QUESTION)]


class Reopen(Strict):
    """The image of a draft, and what it was opened with."""

    sha256: Digest
    shown_at: Shown


class SkipTask(Strict):
    """A task is given back."""

    lease_id: Name
    reason: Annotated[str, Field(min_length=1, max_length=LONGEST_REASON)]


class GridRequest(Strict):
    """The patch grid of a model on an image."""

    sha256: Digest
    model: Name


class Compare(Strict):
    """A submission compared with a model and with other readers."""

    submission_id: SubmissionId
    model: Name


Sent = TypeVar("Sent", bound=Strict)


def checked(form: type[Sent], values: object) -> Sent:
    """Return what was sent as one of the forms above.

    Raises:
        ValueError: one sentence.
    """
    try:
        return form.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"]))[:60]
        known = all(isinstance(part, int) or part in _parts(form) for part in first["loc"])
        where = f" ({place})" if place and known else ""
        raise ValueError(f"This was not understood{where}: {first['msg'][:120]}; reload the page.") from None


def _parts(form: type[BaseModel]) -> set[Any]:
    """Return names that may stand in an error, because they are ours."""
    return {*form.model_fields, *SentClick.model_fields, *SentClient.model_fields}
