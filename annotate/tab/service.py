"""What the Teach tab can do, without a page: tasks, own images, submissions, the model's path and scores."""

import hmac
import threading
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from annotate.blur import BlurSettings, blur_image
from annotate.payload import Submission
from annotate.store.model import Progress, Receipt, StoredImage
from annotate.submission import annotation_of
from annotate.votes import first_of_each
from gazevlm_core.evaluation.comparison import ComparedScore, compare_paths
from gazevlm_core.findings import FINDING_NAMES, NO_FINDING
from gazevlm_core.geometry import PatchGrid
from gazevlm_core.images import open_image
from gazevlm_core.metrics.paths import Size
from gazevlm_core.metrics.registry import JACCARD, SCANMATCH, SEQUENCE
from gazevlm_core.records import Diagnosis
from gazevlm_core.scanpath import Scanpath
from web.guard import WebRequest
from web.identity import Action, Gate, NotAllowed, Visitor
from web.models import Ask, Models, predict_path

if TYPE_CHECKING:
    from annotate.store.store import AnnotationStore

KEPT_PREDICTIONS, MOST_READERS = 256, 5
SHOWN = (SEQUENCE, SCANMATCH, "DTW distance", JACCARD, "MultiMatch position")
LONGEST_COMPARED = 60  # fixations; a longer path is compared up to there, since alignments grow with the square
PREDICTIONS_AT_ONCE = 8  # and no more waiting: requests that wait for a model would hold up submissions
OWN_NAME = "own image"
TAG_DIGITS = 32
NOT_SHOWN = "This page did not get this image under your name: take the next image, or open it again."
LEAST_FREE_BYTES = 2 * 2**30
NO_ROOM = "The server has no space for your own images just now; take the next image, or ask whoever runs it."
NOT_YET = "A model's path is shown once you have submitted your own, so that it cannot lead you."
UNTRAINED = "The gaze of {model} is untrained: there is no path to show. Choose another model."
BUSY = "The model is busy: try again in a moment."
NOBODY_ELSE = "There is nothing to compare with yet: no other reader, and no path of the model."


@dataclass(frozen=True)
class Against:
    """A path's scores against one or more others; means over them.

    Args:
        name: whose path it was compared with.
        rows: of SHOWN.
    """

    name: str
    rows: tuple[ComparedScore, ...]


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
class Compared:
    """A model's path on an image beside the person's own."""

    model: str  # its name
    diagnosis: Diagnosis  # of the image
    own: Scanpath | None  # the person's own path, the latest one; None before a submission
    path: Scanpath | None  # the model's; None before a submission, and where its gaze is untrained

    @property
    def words(self) -> str:
        """What the page says of it."""
        if self.own is None:
            return NOT_YET
        if self.path is None:
            return UNTRAINED.format(model=self.model)
        return f"Your path beside that of {self.model}, {len(self.path)} places. Both can be replayed below the image."


class AnnotationService:
    """The logic of the tab. Every method checks who asks and what for; a refusal is one sentence in a ValueError.

    Args:
        store: where everything is kept.
        models: that can be compared with.
        ask: lets a model answer, one image at a time.
        gate: who is asking, and whether they may.
        findings: that can be ticked beside those that the phantoms have.
        blur: of the modes with a blurred image.
    """

    def __init__(
        self,
        store: "AnnotationStore",
        models: Models,
        ask: Ask,
        gate: Gate,
        *,
        findings: Sequence[str] = (),
        blur: BlurSettings | None = None,
    ) -> None:
        self.store, self.models, self.gate = store, models, gate
        self.blur = blur or BlurSettings()
        self.findings = tuple(dict.fromkeys((*FINDING_NAMES, *(name for name in findings if name != NO_FINDING))))
        self._ask = ask
        self._predictions: OrderedDict[tuple[str, str, Hashable], Diagnosis] = OrderedDict()
        self._lock, self._slots = threading.Lock(), threading.BoundedSemaphore(PREDICTIONS_AT_ONCE)

    def who(self, request: WebRequest, action: Action) -> Visitor:
        """Return the person behind a request. Raises NotAllowed: nobody known, or too many requests."""
        return self.gate.admit(self.gate.claim(request), action)

    # ---- images -----------------------------------------------------------------------------------------------------
    def progress(self, person: Visitor) -> Progress:
        """Return what the person did, and what is left."""
        return self.store.progress(person.pseudonym)

    def next_task(self, person: Visitor) -> Opened | None:
        """Return the next image for the person; None where there is none."""
        task = self.store.next_task(person.pseudonym)
        return None if task is None else self._opened(person, task.image, task.lease_id)

    def open_own(self, person: Visitor, path: Path, question: str) -> Opened:
        """Store an image that the person uploaded, and open it.

        Raises:
            ValueError: no image, or none that can be used.
        """
        if not question.strip():
            raise ValueError("Write a question, or take the usual one.")
        if self.store.free_bytes() < LEAST_FREE_BYTES:  # tasks need room as well
            raise ValueError(NO_ROOM)
        with open_image(path) as loaded:  # others wait until this one is stored: a large image takes several copies
            image = self.store.add_image(
                loaded.image, OWN_NAME, question=question.strip(), source="upload", by=person.pseudonym, offered=False
            )
            return self._opened(person, image)

    def reopen(self, person: Visitor, sha256: str, shown: str) -> Opened:
        """Open the image of a draft that is on the person's device.

        Args:
            person: who asks.
            sha256: of the image.
            shown: what the image was opened with: it is for those to whom it was given.

        Raises:
            ValueError: it was not opened for this person.
        """
        self._shown_at(person, sha256, shown)
        return self._opened(person, self.store.image(sha256))

    def _opened(self, person: Visitor, image: StoredImage, lease_id: str | None = None) -> Opened:
        sigma_px, radius_px = self.blur.scaled(image.width_px, image.height_px)
        soft, png = blur_image(self.store.pixels(image.sha256), sigma_px), BytesIO()
        soft.save(png, "PNG")
        mean = float(np.asarray(soft.convert("L")).mean())
        blurred = BlurredImage(png.getvalue(), mean, sigma_px, radius_px)
        shown = self.shown(person, image.sha256, datetime.now(UTC))
        return Opened(image, lease_id, shown, self.store.png(image.sha256), blurred)

    def shown(self, person: Visitor, sha256: str, at: datetime) -> str:
        """Return the time at which an image was shown to somebody, with a tag that only the server can make."""
        text = at.isoformat()
        return f"{text} {self.store.tag(f'shown {person.pseudonym} {sha256} {text}')[:TAG_DIGITS]}"

    def _shown_at(self, person: Visitor, sha256: str, shown: str) -> datetime:
        text = shown.partition(" ")[0]
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            raise ValueError(NOT_SHOWN) from None
        if at.tzinfo is None or not hmac.compare_digest(shown.encode(), self.shown(person, sha256, at).encode()):
            raise ValueError(NOT_SHOWN)
        return at

    # ---- what was done ----------------------------------------------------------------------------------------------
    def submit(self, person: Visitor, sent: Submission) -> Receipt:
        """Keep a submission; the same one again gives the same receipt. It is durable when this returns.

        Raises:
            ValueError: another person's, or parts that do not go together.
        """
        if sent.person != person.pseudonym:
            raise NotAllowed("This was begun under another name: choose that name again, then submit.")
        image = self.store.image(sent.sha256)
        started_at = self._shown_at(person, sent.sha256, sent.shown_at)
        record = annotation_of(sent, image, person.pseudonym, started_at, self.blur, self.findings)
        return self.store.submit(record, sent.lease_id)

    def skip(self, person: Visitor, lease_id: str, reason: str) -> None:
        """Give a task back."""
        self.store.skip(lease_id, person.pseudonym, " ".join(reason.split()))

    # ---- models and other readers -----------------------------------------------------------------------------------
    def compare_path(self, person: Visitor, sha256: str, model: str) -> Compared:
        """Return the patch grid of a model on an image, and its path for whoever submitted one.

        Raises:
            ValueError: no such model or image.
        """
        found = self._predict(sha256, model)
        done = self.store.stored(sha256=sha256, annotator=person.pseudonym)
        own = done[-1].annotation.scanpath if done else None
        return Compared(model, found, own, found.scanpath if done else None)

    def scores(self, person: Visitor, submission_id: str, model: str) -> list[Against]:
        """Score a submission of the person's against the model's path and other readers', each with floors.

        Raises:
            ValueError: not the person's, or nothing to compare with.
        """
        record = self.store.find(submission_id)
        if record is None or record.annotation.annotator != person.pseudonym:
            raise ValueError(NOT_YET)
        own, sha256 = record.annotation, record.image_sha256
        size = (float(own.image_width_px), float(own.image_height_px))
        against, grid = [], PatchGrid(8, 8)
        if model in self.models.choices():
            found = self._predict(sha256, model)
            grid = found.grid
            if found.scanpath is not None:
                against.append(compare(f"model {model}", own.scanpath, [found.scanpath], size, grid))
        others = [
            other.annotation.scanpath
            for other in first_of_each(self.store.stored(sha256=sha256, limit=100))
            if other.annotation.annotator != person.pseudonym
        ][-MOST_READERS:]
        if others:
            against.append(compare(f"other readers ({len(others)})", own.scanpath, others, size, grid))
        if not against:
            raise ValueError(NOBODY_ELSE)
        return against

    def _predict(self, sha256: str, model: str) -> Diagnosis:
        """Return a model's path on an image; the latest are kept until an adapter of that name changes."""
        choice = self.models.choices().get(model)
        if choice is None:
            raise ValueError("There is no such model any more: choose another.")
        key = (sha256, model, choice.stamp)
        with self._lock:
            if key in self._predictions:
                self._predictions.move_to_end(key)
                return self._predictions[key]
        if not self._slots.acquire(blocking=False):
            raise ValueError(BUSY)
        try:  # a model has its own lock, and two predictions at once are the same
            found = predict_path(self._ask, model, self.store.pixels(sha256).convert("RGB"))
        finally:
            self._slots.release()
        with self._lock:
            self._predictions[key] = found
            while len(self._predictions) > KEPT_PREDICTIONS:
                self._predictions.popitem(last=False)
        return found


def compare(name: str, own: Scanpath, others: Sequence[Scanpath], size: Size, grid: PatchGrid) -> Against:
    """Return the scores of one path against others, and of paths in its place that know less.

    Args:
        name: whose paths `others` are.
        own: that is scored.
        others: at least one.
        size: of the image in px.
        grid: of the scores on patches.
    """
    path, *readings = (Scanpath(one.fixations[:LONGEST_COMPARED], one.source) for one in (own, *others))
    return Against(name, tuple(compare_paths(path, readings, [], size, grid, names=SHOWN)))
