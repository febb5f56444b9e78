"""What somebody has submitted: for themselves, with what a reviewer said of it."""

from dataclasses import dataclass

from annotate.store.model import Stored
from annotate.store.reviews import WITHDRAWN
from annotate.votes import findings_in_words


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
