"""The survey of a store: computed when a reviewer asks for it, and kept until something changes."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from annotate.dashboard.part import MOST_SURVEYED, Part
from annotate.export.folder import images_with_submissions
from annotate.quality.agreement import ImageAgreement
from annotate.quality.scores import SEQUENCE
from annotate.quality.survey import Survey, survey
from annotate.store.lookup import latest_audit
from annotate.store.store import AnnotationStore
from annotate.store.types import Counts, Stored, StoredImage, StoreError
from web.identity import Claim, Gate

State = tuple[Counts, int]  # what the survey stands on: the counts, and the latest entry of the audit log


@dataclass(frozen=True)
class Quality:
    """A survey, and when it was made.

    Args:
        survey: of the whole store.
        names: image_sha256 -> name.
        made_at: when.
        state: of the store then.
        current: whether nothing has changed since.
    """

    survey: Survey
    names: dict[str, str]
    made_at: datetime
    state: State
    current: bool = True

    def images(self) -> list[ImageAgreement]:
        """By agreement, the lowest first; those with a single annotator last."""

        def key(image: ImageAgreement) -> tuple[bool, float, str]:
            value = image.levels[SEQUENCE].value
            return value is None, value or 0.0, image.image_sha256

        return sorted(self.survey.images, key=key)


class SurveyCache:
    """The latest survey, shared by all reviewers. It checks no role: its users do.

    Args:
        store: that is surveyed.
    """

    def __init__(self, store: AnnotationStore) -> None:
        self._store = store
        self._latest: Quality | None = None
        self._turn = threading.Lock()  # one at a time; who waited gets what the other has made

    def latest(self) -> Quality | None:
        """The latest survey, which may be out of date; None before the first."""
        latest = self._latest
        if latest is None or self._state() == latest.state:
            return latest
        return Quality(latest.survey, latest.names, latest.made_at, latest.state, current=False)

    def compute(self) -> Quality:
        """A survey of the store as it is now.

        Raises:
            StoreError: there is too much for a page.
        """
        with self._turn:
            state = self._state()
            if self._latest is not None and self._latest.state == state:
                return self._latest
            if state[0].annotations > MOST_SURVEYED:
                raise StoreError(
                    f"There are {state[0].annotations:,} annotations, and a page surveys at most {MOST_SURVEYED:,}; "
                    "run `gazevlm annotations stats` on the server instead."
                )
            names: dict[str, str] = {}

            def pairs() -> Iterator[tuple[StoredImage, list[Stored]]]:
                for image, stored in images_with_submissions(self._store):
                    names[image.sha256] = image.name
                    yield image, [one for one in stored if not one.removed]

            self._latest = Quality(survey(pairs()), names, datetime.now(UTC), state)
            return self._latest

    def _state(self) -> State:
        log = latest_audit(self._store, 1)
        return self._store.counts(), log[0].number if log else 0


class QualityPart(Part):
    """For reviewers, who see pseudonyms alone.

    Args:
        store, gate: as in `Part`.
        surveys: shared with the review.
    """

    def __init__(self, store: AnnotationStore, gate: Gate, surveys: SurveyCache) -> None:
        super().__init__(store, gate)
        self._surveys = surveys

    def latest(self, claim: Claim) -> Quality | None:
        """The survey that was made last, at no cost; None before the first.

        Raises:
            NotAllowed: not a reviewer.
        """
        self.gate.admit(claim, "read", "reviewer")
        return self._surveys.latest()

    def compute(self, claim: Claim) -> Quality:
        """A survey of the store as it is now; it may take a while.

        Raises:
            NotAllowed: not a reviewer.
            StoreError: there is too much for a page.
        """
        self.gate.admit(claim, "review", "reviewer")
        return self._surveys.compute()
