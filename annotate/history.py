"""What somebody has submitted: for themselves, with what a reviewer said of it."""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO

from PIL import Image

from annotate.store.lookup import latest_submissions, removal_reasons
from annotate.store.model import Stored
from annotate.store.reviews import WITHDRAWN
from annotate.store.store import AnnotationStore
from annotate.votes import findings_in_words

SHOWN, THUMB_PX = 24, 72


@dataclass(frozen=True)
class Done:
    """A submission of somebody's.

    Args:
        stored: the submission.
        picture: data URI of a small JPEG.
        why_removed: what a reviewer wrote who removed it.
    """

    stored: Stored
    picture: str
    why_removed: str = ""

    @property
    def withdrawn(self) -> bool:
        """Whether its annotator took it back."""
        return self.stored.removed and self.stored.reason == WITHDRAWN

    @property
    def state(self) -> str:
        """What became of it, in words."""
        one = self.stored
        if one.removed:
            return "withdrawn" if self.withdrawn else "removed by a reviewer"
        return {"pending": "not yet reviewed", "accepted": "accepted", "rejected": "rejected"}[one.verdict]

    @property
    def said(self) -> str:
        """What a reviewer wrote of it; "" where it was withdrawn."""
        if self.withdrawn:
            return ""
        return self.why_removed if self.stored.removed else self.stored.reason

    @property
    def findings(self) -> str:
        """What was ticked, in words."""
        return findings_in_words(self.stored.annotation)


class History:
    """The latest submissions of everybody; small pictures of the latest images are kept."""

    def __init__(self, store: AnnotationStore) -> None:
        self.store = store
        self._thumb: Callable[[str], str] = lru_cache(maxsize=512)(self._drawn)

    def latest(self, who: str) -> list[Done]:
        """Return SHOWN submissions, the latest first, withdrawn ones too."""
        found = latest_submissions(self.store, who, SHOWN)
        why = removal_reasons(self.store, [one.submission_id for one in found if one.removed])
        return [Done(one, self._thumb(one.image_sha256), why.get(one.submission_id, "")) for one in found]

    def _drawn(self, sha256: str) -> str:
        small, file = self.store.pixels(sha256), BytesIO()
        small.thumbnail((THUMB_PX, THUMB_PX), Image.Resampling.BILINEAR)
        small.save(file, "JPEG", quality=80)
        return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
