"""Turn what a page sent into the record of Teach."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from annotate.blur import BlurSettings, window_scanpath
from annotate.payload import FARTHEST, LEAST_SAMPLE_MS, Submission
from annotate.store.model import StoredImage
from gazevlm_core.annotation import (
    FIRST_VERSION,
    SCHEMA_VERSION,
    SOURCE_OF_MODE,
    Annotation,
    Click,
    Client,
    PointerSample,
)
from gazevlm_core.findings import FINDING_NAMES, NO_FINDING
from gazevlm_core.scanpath import Fixation, Scanpath

OLDEST_DRAFT = timedelta(days=90)
PASTED = str.maketrans("\x0b\x0c", "\n\n")  # line and page breaks of other programs


def annotation_of(
    sent: Submission,
    image: StoredImage,
    annotator: str,
    started_at: datetime,
    blur: BlurSettings,
    findings: Sequence[str] = FINDING_NAMES,
) -> Annotation:
    """Return the record. "no finding" is stored as no finding at all: one of the boxes has to be ticked, so whoever
    handed in the form has voted on every finding that it asked for. A page that does not tell which those were makes a
    record of the version that pages of its time made.

    Args:
        sent: checked in form, not yet in meaning.
        image: that was annotated.
        annotator: pseudonym.
        started_at: when the image was shown, by the server's clock.
        blur: of the modes with a blurred image.
        findings: that can be ticked, beside "no finding".

    Raises:
        ValueError: parts that do not go together, in one sentence.
    """
    started_at = _started(started_at)
    sigma_px, radius_px = blur.scaled(image.width_px, image.height_px)
    plain = sent.mode == "clicks"
    samples = _samples(sent)
    return Annotation(
        submission_id=sent.submission_id,
        image_id=image.sha256,  # a file's name may tell who a patient is
        image_sha256=image.sha256,
        image_width_px=image.width_px,
        image_height_px=image.height_px,
        question=image.question,
        findings=_findings(sent.findings, findings),
        report=_report(sent.report),
        scanpath=window_scanpath(samples, image.width_px, image.height_px, radius_px) if samples else _clicked(sent),
        annotator=annotator,
        started_at=started_at,
        submitted_at=max(datetime.now(UTC), started_at),  # the store puts its own time there
        client=Client(
            **sent.client.model_dump(), mode=sent.mode, blur_sigma_px=None if plain else sigma_px,
            radius_px=None if plain else radius_px,
        ),
        confidence=sent.confidence,
        clicks=tuple(Click(**one.model_dump(exclude={"x", "y", "onset_ms"})) for one in sent.clicks),
        samples=samples,
        findings_asked=_form_findings(sent, findings),
        schema_version=FIRST_VERSION if sent.findings_asked is None else SCHEMA_VERSION,
    )  # fmt: skip


def _started(shown_at: datetime) -> datetime:
    now = datetime.now(UTC)
    if shown_at < now - OLDEST_DRAFT:
        raise ValueError(f"This was begun more than {OLDEST_DRAFT.days} days ago: annotate it anew.")
    return min(shown_at.astimezone(UTC), now)  # the server's clock may have gone back meanwhile


def _findings(ticked: list[str], known: Sequence[str]) -> tuple[str, ...]:
    if not set(ticked) <= {*known, NO_FINDING} or len(set(ticked)) != len(ticked):
        raise ValueError("Findings are ticked once each, from the list.")
    if NO_FINDING in ticked:
        if len(ticked) > 1:
            raise ValueError(f'Tick "{NO_FINDING}" alone, or the findings.')
        return ()
    return tuple(name for name in known if name in ticked)


def _form_findings(sent: Submission, known: Sequence[str]) -> tuple[str, ...] | None:
    on_form = sent.findings_asked
    if on_form is None:
        return None
    if not set(sent.findings) - {NO_FINDING} <= set(on_form):
        raise ValueError("A finding is ticked that the form did not ask for: reload the page.")
    return tuple(name for name in known if name in on_form)  # what nobody is asked for any more is no finding here


def _report(text: str) -> str:
    """Return lines with one kind of ending and no control characters: text, whatever it looks like."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    lines = lines.translate(PASTED)
    if any((ord(sign) < 32 and sign not in "\n\t") or 0xD800 <= ord(sign) <= 0xDFFF for sign in lines):
        raise ValueError("The report holds control characters: write it as plain text.")
    return lines.strip()


def _clicked(sent: Submission) -> Scanpath:
    if sent.mode == "moving window":
        raise ValueError("Nothing was looked at yet: move the disc over the image first.")
    if not sent.clicks:
        raise ValueError("There is no click yet: click where you look, in the order you look.")
    for one in sent.clicks:
        if (one.onset_ms is None) != (one.edit == "inserted"):
            raise ValueError("A click has a time unless it was inserted later: reload the page.")
    onsets = [one.onset_ms for one in sent.clicks if one.onset_ms is not None]
    if onsets != sorted(onsets):
        raise ValueError("The times of the clicks run backwards: reload the page.")
    return Scanpath(
        tuple(Fixation(one.x, one.y, onset_ms=one.onset_ms) for one in sent.clicks), SOURCE_OF_MODE[sent.mode]
    )


def _samples(sent: Submission) -> tuple[PointerSample, ...]:
    if sent.samples and sent.mode != "moving window":
        raise ValueError("The pointer is followed in the moving-window mode alone: reload the page.")
    if sent.clicks and sent.mode == "moving window":
        raise ValueError("There are no clicks in the moving-window mode: reload the page.")
    return followed(sent.samples)


def followed(samples: Sequence[Sequence[float]]) -> tuple[PointerSample, ...]:
    """Return the samples of a moving window, [time_ms, x, y] each.

    Raises:
        ValueError: such as no page sends, in one sentence.
    """
    times_ms = [time_ms for time_ms, _, _ in samples]
    if any(time_ms < 0 for time_ms in times_ms):
        raise ValueError("The pointer was followed before the image was shown: reload the page.")
    if any(later - earlier < LEAST_SAMPLE_MS for earlier, later in pairwise(times_ms)):
        raise ValueError(f"Samples of the pointer lie at least {LEAST_SAMPLE_MS:g} ms apart: reload the page.")
    if any(max(x, y) > FARTHEST for _, x, y in samples):
        raise ValueError("The pointer was followed far off the image: reload the page.")
    return tuple(PointerSample(time_ms, x, y) for time_ms, x, y in samples)
