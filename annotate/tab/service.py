"""What the Teach tab can do, without a page: tasks, own images, submissions, the model's path and scores."""

import hmac
import threading
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

import numpy as np
from PIL import Image

from annotate.blur import BlurSettings, blur_image, window_scanpath
from annotate.feedback import Done, Feedback, compare, sentence, truth_of, votes_of_others
from annotate.payload import Practise, Submission
from annotate.practice import practice
from annotate.store.lookup import latest_submissions, removal_reasons
from annotate.store.model import Progress, Receipt, StoredImage
from annotate.store.project import Project
from annotate.store.projects import check_open
from annotate.submission import annotation_of, followed
from annotate.votes import first_of_each
from gazevlm_core.findings import FINDING_NAMES, NO_FINDING
from gazevlm_core.geometry import PatchGrid
from gazevlm_core.images import open_image
from gazevlm_core.records import Diagnosis, is_strange
from gazevlm_core.scanpath import Fixation, Scanpath
from web.guard import WebRequest
from web.identity import Action, Gate, NotAllowed, Visitor
from web.markup import picture_uri
from web.models import Ask, Models, predict_path

if TYPE_CHECKING:
    from annotate.store.store import AnnotationStore

KEPT_PREDICTIONS, MOST_READERS, MOST_READ = 256, 5, 100
MOST_SHOWN, THUMB_PX, KEPT_THUMBS = 24, 72, 512  # of a person's own submissions
PREDICTIONS_AT_ONCE = 8  # and no more waiting: requests that wait for a model would hold up submissions
OWN_NAME = "own image"
TAG_DIGITS = 32
NOT_SHOWN = "This page did not get this image under your name: take the next image, or open it again."
LEAST_FREE_BYTES = 2 * 2**30
NO_ROOM = "The server has no space for your own images just now; take the next image, or ask whoever runs it."
UNTRAINED = "The gaze of {model} is untrained: there is no path to show. Choose another model."
STRANGE = "This image is unlike those that {model} learnt from: what it sees here means nothing, so it is left out."
BUSY = "The model is busy just now: nothing of it is shown here."
AGREE_FIRST = "Read the terms and agree to them first; they stand at the start of this tab."
BLOCKED = "A reviewer has stopped taking submissions under this name; ask whoever runs this page why."
NOT_YOURS = "This is no submission of yours: submit an image first; what others and the model see is shown afterwards."
NO_MODEL = "There is no such model any more: choose another."


@dataclass(frozen=True)
class BlurredImage:
    """The blurred form of an image, and what its discs show.

    Args:
        sigma_px, radius_px: in px of the image.
    """

    png: bytes  # to be stretched over the image
    mean: float  # grey value of the PNG's pixels, so that a page can tell whether it drew them
    sigma_px: float
    radius_px: float


@dataclass(frozen=True)
class Opened:
    """An image to annotate."""

    image: StoredImage  # what is known of it
    lease_id: str | None  # of the task; None for an own image, and where a draft goes on
    shown: str  # when, by the server's clock, with a tag that only the server can make; comes back with a submission
    png: bytes  # the image
    blurred: BlurredImage  # its blurred form


@dataclass(frozen=True)
class ShownAs:
    """How an image was shown to somebody.

    Args:
        at: when, by the server's clock.
        blur: behind which it is in the modes with a blurred image.
        question: that stood above it; None where that is not known, as in drafts of earlier pages.
        project: short name of the one in which it was opened; None likewise.
    """

    at: datetime
    blur: BlurSettings = BlurSettings()  # noqa: RUF009 - frozen
    question: str | None = None
    project: str | None = None


class AnnotationService:
    """The logic of the tab. Every method checks who asks and what for; a refusal is one sentence in a ValueError.

    Args:
        store: where everything is kept.
        models: that can be compared with.
        ask: lets a model answer, one image at a time.
        gate: who is asking, and whether they may.
        findings: that can be ticked beside those that the phantoms have.
    """

    def __init__(
        self,
        store: "AnnotationStore",
        models: Models,
        ask: Ask,
        gate: Gate,
        *,
        findings: Sequence[str] = (),
    ) -> None:
        self.store, self.models, self.gate = store, models, gate
        self.findings = tuple(dict.fromkeys((*FINDING_NAMES, *(name for name in findings if name != NO_FINDING))))
        self._ask = ask
        self._slots = threading.BoundedSemaphore(PREDICTIONS_AT_ONCE)
        self._kept_prediction = lru_cache(maxsize=KEPT_PREDICTIONS)(self._new_prediction)
        self._thumb: Callable[[str], str] = lru_cache(maxsize=KEPT_THUMBS)(self._new_thumb)

    def who(self, request: WebRequest, action: Action) -> Visitor:
        """Return the person behind a request. Raises NotAllowed: nobody known, or too many requests."""
        return self.gate.admit(self.gate.claim(request), action)

    # ---- projects ---------------------------------------------------------------------------------------------------
    def project(self, slug: str | None) -> Project:
        """Return a project that is open; None for the first of them.

        Raises:
            ValueError: there is none of that short name, or it is closed.
        """
        if slug is not None:
            return check_open(self.store.project(slug))
        there = self.store.projects()
        return next((one for one in there if not one.closed), None) or check_open(there[0])

    def agreed(self, person: Visitor, project: Project) -> Visitor:
        """Return somebody who agreed to the terms of a project as they are now.

        Raises:
            ValueError: not yet, or a reviewer has blocked them.
        """
        known = self.store.person(person.pseudonym)
        if known.blocked:
            raise ValueError(BLOCKED)
        if project.terms not in known.agreed.splitlines():
            raise ValueError(AGREE_FIRST)
        return person

    def agree(self, person: Visitor, project: Project, terms: str, experience: str) -> None:
        """Keep that the person agreed to the terms of a project, and how experienced they are.

        Raises:
            ValueError: the terms are other ones by now.
        """
        if terms != project.terms:
            raise ValueError("The terms have changed meanwhile: reload the page, and read them again.")
        self.store.agree(person.pseudonym, terms, experience)

    # ---- images -----------------------------------------------------------------------------------------------------
    def progress(self, person: Visitor, project: Project) -> Progress:
        """Return what the person did, and what is left in a project."""
        return self.store.progress(person.pseudonym, project.slug)

    def next_task(self, person: Visitor, project: Project) -> Opened | None:
        """Return the next image of a project for the person; None where there is none."""
        task = self.store.next_task(person.pseudonym, project.slug)
        return None if task is None else self._opened(person, task.image, project, task.lease_id)

    def open_own(self, person: Visitor, project: Project, path: Path, question: str) -> Opened:
        """Store an image that the person uploaded, and open it in a project.

        Raises:
            ValueError: no image, or none that can be used.
        """
        if not question.strip():
            raise ValueError("Write a question, or take the usual one.")
        if self.store.free_bytes() < LEAST_FREE_BYTES:  # tasks need room as well
            raise ValueError(NO_ROOM)
        with open_image(path) as loaded:  # others wait until this one is stored: a large image takes several copies
            image = self.store.add_image(
                loaded.image, OWN_NAME, question=question.strip(), source="upload", by=person.pseudonym, offered=False,
                project=project.slug,
            )  # fmt: skip
            return self._opened(person, image, project)

    def reopen(self, person: Visitor, sha256: str, shown: str) -> Opened:
        """Open the image of a draft that is on the person's device, in the project, with the question and the blur of
        then; also where that is closed by now.

        Args:
            person: who asks.
            sha256: of the image.
            shown: what the image was opened with: it is for those to whom it was given.

        Raises:
            ValueError: it was not opened for this person.
        """
        before, image = self._shown(person, sha256, shown), self.store.image(sha256)
        project = self.store.project(before.project or image.project)
        return self._opened(person, _with_question(image, before.question), project, blur=before.blur)

    def practise(self, person: Visitor, project: Project) -> Opened:
        """Open the practice image; nothing of what is done on it is kept."""
        drawn, png = practice(), BytesIO()
        drawn.pixels.save(png, "PNG")
        return self._shown_with(person, drawn.image, project, None, drawn.pixels, png.getvalue())

    def practice_scanpath(self, project: Project, sent: Practise) -> Scanpath:
        """Return the path on the practice image, found as in a submission.

        Raises:
            ValueError: nothing was looked at.
        """
        if not sent.samples:
            return Scanpath(tuple(Fixation(x, y) for x, y in sent.places), "click")
        image = practice().image
        _, radius_px = BlurSettings(project.sigma_px, project.radius_px).scaled(image.width_px, image.height_px)
        return window_scanpath(followed(sent.samples), image.width_px, image.height_px, radius_px)

    def _opened(
        self, person: Visitor, image: StoredImage, project: Project, lease_id: str | None = None,
        blur: BlurSettings | None = None,
    ) -> Opened:  # fmt: skip
        pixels, png = self.store.pixels(image.sha256), self.store.png(image.sha256)
        return self._shown_with(person, image, project, lease_id, pixels, png, blur)

    def _shown_with(
        self, person: Visitor, image: StoredImage, project: Project, lease_id: str | None, pixels: Image.Image,
        png: bytes, blur: BlurSettings | None = None,
    ) -> Opened:  # fmt: skip
        soft_png = BytesIO()
        blur = blur or BlurSettings(project.sigma_px, project.radius_px)
        sigma_px, radius_px = blur.scaled(image.width_px, image.height_px)
        soft = blur_image(pixels, sigma_px)
        soft.save(soft_png, "PNG")
        mean = float(np.asarray(soft.convert("L")).mean())
        blurred = BlurredImage(soft_png.getvalue(), mean, sigma_px, radius_px)
        shown = self.shown(person, image.sha256, ShownAs(datetime.now(UTC), blur, image.question, project.slug))
        return Opened(image, lease_id, shown, png, blurred)

    def shown(self, person: Visitor, sha256: str, how: ShownAs) -> str:
        """Return how an image was shown to somebody, with a tag that only the server can make: by the time of the
        submission an admin may have changed all but the time.
        """
        parts = (f"{how.blur.sigma_px:g}", f"{how.blur.radius_px:g}", how.question, how.project)
        text = "/".join([how.at.isoformat(), *(quote(part, safe="") for part in parts if part is not None)])
        return f"{text} {self._tag(person, sha256, text)}"

    def _tag(self, person: Visitor, sha256: str, text: str) -> str:
        return self.store.tag(f"shown {person.pseudonym} {sha256} {text}")[:TAG_DIGITS]

    def _shown(self, person: Visitor, sha256: str, shown: str) -> ShownAs:
        """Return how an image was shown; NOT_SHOWN where this server never said so.

        A draft from before more than the time was kept has the usual blur.
        """
        text, _, tag = shown.partition(" ")
        if not hmac.compare_digest(tag.encode(), self._tag(person, sha256, text).encode()):
            raise ValueError(NOT_SHOWN)
        at, *rest = text.split("/")
        return ShownAs(datetime.fromisoformat(at), BlurSettings(*map(float, rest[:2])), *map(unquote, rest[2:]))

    # ---- what was done ----------------------------------------------------------------------------------------------
    def submit(self, person: Visitor, sent: Submission) -> Receipt:
        """Keep a submission; the same one again gives the same receipt. It is durable when this returns.

        Raises:
            ValueError: another person's, or parts that do not go together.
        """
        if sent.person != person.pseudonym:
            raise NotAllowed("This was begun under another name: choose that name again, then submit.")
        if self.store.person(person.pseudonym).blocked:
            raise ValueError(BLOCKED)
        image, how = self.store.image(sent.sha256), self._shown(person, sent.sha256, sent.shown_at)
        project = self.store.project(how.project or image.project)
        least = project.least_clicks
        if sent.mode != "moving window" and 0 < len(sent.clicks) < least:
            raise ValueError(f"At least {least} clicks are wanted here; there are {len(sent.clicks)}.")
        image = _with_question(image, how.question)
        record = annotation_of(sent, image, person.pseudonym, how.at, how.blur, self.findings)
        return self.store.submit(record, sent.lease_id, project.slug)

    def withdraw(self, person: Visitor, submission_id: str) -> None:
        """Take a submission of the person's back."""
        self.store.withdraw(submission_id, person.pseudonym)

    def history(self, person: Visitor) -> list[Done]:
        """Return the latest submissions of the person, the latest first, withdrawn ones too."""
        found = latest_submissions(self.store, person.pseudonym, MOST_SHOWN)
        why = removal_reasons(self.store, [one.submission_id for one in found if one.removed])
        return [Done(one, self._thumb(one.image_sha256), why.get(one.submission_id, "")) for one in found]

    def _new_thumb(self, sha256: str) -> str:
        return picture_uri(self.store.pixels(sha256), THUMB_PX)

    def skip(self, person: Visitor, lease_id: str, reason: str) -> None:
        """Give a task back."""
        self.store.skip(lease_id, person.pseudonym, " ".join(reason.split()))

    # ---- models and other readers -----------------------------------------------------------------------------------
    def grid(self, sha256: str, model: str) -> PatchGrid:
        """Return the patch grid of a model on an image; `feedback` alone shows what it sees there.

        Raises:
            ValueError: no such model or image, or it is busy.
        """
        return self._predict(sha256, model).grid

    def feedback(self, person: Visitor, submission_id: str, model: str) -> Feedback:
        """Return how a submission of the person's compares: with a model where it can be asked, and with other readers.

        Raises:
            ValueError: not the person's.
        """
        record = self.store.find(submission_id)
        if record is None or record.annotation.annotator != person.pseudonym:
            raise ValueError(NOT_YOURS)
        own, sha256 = record.annotation, record.image_sha256
        size = (float(own.image_width_px), float(own.image_height_px))
        (found, trouble), against = self._of_model(sha256, model), []
        grid = PatchGrid(8, 8) if found is None else found.grid
        if found is not None and found.scanpath is not None:
            against.append(compare("the model", own.scanpath, [found.scanpath], size, grid))
        stored = self.store.stored(sha256=sha256, limit=MOST_READ)
        paths = [
            other.annotation.scanpath
            for other in first_of_each(stored)
            if other.annotation.annotator != person.pseudonym
        ][-MOST_READERS:]
        if paths:
            against.append(compare("the other readers", own.scanpath, paths, size, grid))
        others, readers = votes_of_others(stored, person.pseudonym)
        return Feedback(
            sentence(against, own.scanpath), own.findings, others, readers, truth_of(self.store.image(sha256)),
            own.scanpath, model, found, trouble, tuple(against),
        )  # fmt: skip

    def _of_model(self, sha256: str, model: str) -> tuple[Diagnosis | None, str]:
        """Return what a model sees, None where that is nothing to compare with, and what has to be known of it."""
        try:
            found = self._predict(sha256, model)
        except ValueError as error:
            return None, str(error)
        if is_strange(found.ood_score):
            return None, STRANGE.format(model=model)
        return found, UNTRAINED.format(model=model) if found.scanpath is None else " ".join(found.notes)

    def _predict(self, sha256: str, model: str) -> Diagnosis:
        """Return a model's path on an image; the latest are kept until an adapter of that name changes."""
        choice = self.models.choices().get(model)
        if choice is None:
            raise ValueError(NO_MODEL)
        return self._kept_prediction(sha256, model, choice.stamp)

    def _new_prediction(self, sha256: str, model: str, _stamp: Hashable) -> Diagnosis:
        if not self._slots.acquire(blocking=False):
            raise ValueError(BUSY)
        try:  # a model has its own lock, and two predictions at once are the same
            return predict_path(self._ask, model, self.store.pixels(sha256).convert("RGB"))
        finally:
            self._slots.release()


def _with_question(image: StoredImage, question: str | None) -> StoredImage:
    """Return an image with the question that was shown with it; None for the one that it has."""
    return image if question is None else replace(image, question=question)
