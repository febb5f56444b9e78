"""What the annotators of an image say of its findings: the one place where labels are made of submissions.

Whoever handed in the form has voted on every finding that it asked for: yes where it was ticked, else no. Everybody
has one vote on an image, that of their first submission that is neither rejected nor removed; a repeat, which is there
to see how consistent somebody is, changes nothing.

A label is 1 where more have voted yes than no, 0 where fewer, and unknown on a tie or without a vote. Where it is not
known whether the form asked somebody for a finding that they did not tick, they may have voted no or not at all: the
label is given only where it is the same either way.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from annotate.store.model import Stored
from gazevlm_core.annotation import FIRST_VERSION, Annotation
from gazevlm_core.findings import NO_FINDING

# What every form has asked for whose records do not tell it, whatever a server asked for beside it: the names of then.
FIRST_VERSION_FINDINGS = (
    "enlarged cardiomediastinum", "cardiomegaly", "lung opacity", "lung lesion", "edema", "consolidation",
    "atelectasis", "pneumothorax", "pleural effusion", "fracture", "support devices",
)  # fmt: skip


@dataclass(frozen=True)
class Votes:
    """On one finding of one image.

    Args:
        yes, no: how many annotators said so.
        perhaps: how many did not tick it, and may not have been asked: no, or no vote.
    """

    yes: int = 0
    no: int = 0
    perhaps: int = 0

    @property
    def label(self) -> int | None:
        """1, 0, or None where nothing is known."""
        if self.yes > self.no + self.perhaps:
            return 1
        return 0 if self.yes < self.no else None


def usable(stored: Iterable[Stored]) -> list[Stored]:
    """Return submissions that may say something: neither rejected nor removed."""
    return [one for one in stored if one.verdict != "rejected" and not one.removed]


def first_of_each(stored: Iterable[Stored]) -> list[Stored]:
    """Return the first usable submission of each annotator of one image, by number: nobody counts twice."""
    first: dict[str, Stored] = {}
    for one in sorted(usable(stored), key=lambda one: one.number):
        first.setdefault(one.annotation.annotator, one)
    return list(first.values())


def form_findings(annotation: Annotation) -> tuple[str, ...] | None:
    """Return the findings that the form is known to have asked for; None where nothing is known of it."""
    return FIRST_VERSION_FINDINGS if annotation.schema_version == FIRST_VERSION else annotation.findings_asked


def votes(stored: Iterable[Stored]) -> dict[str, Votes]:
    """Return the votes on one image, for every finding that somebody was asked for or ticked, by name.

    Args:
        stored: its submissions, all of them.
    """
    firsts = [one.annotation for one in first_of_each(stored)]
    names = {name for one in firsts for name in (*one.findings, *(form_findings(one) or ()))}
    return {name: _votes_on(name, firsts) for name in sorted(names)}


def _votes_on(name: str, firsts: Sequence[Annotation]) -> Votes:
    yes = no = perhaps = 0
    for one in firsts:
        if name in one.findings:
            yes += 1
        elif name in (form_findings(one) or ()):
            no += 1
        elif one.schema_version == FIRST_VERSION or one.findings_asked is None:
            perhaps += 1
    return Votes(yes, no, perhaps)


def labels(stored: Iterable[Stored]) -> dict[str, int]:
    """Return the findings of one image, 1 or 0 by name; what is unknown is left out. See `votes`."""
    known = {name: found.label for name, found in votes(stored).items()}
    return {name: label for name, label in known.items() if label is not None}


def findings_in_words(annotation: Annotation) -> str:
    """Return what was ticked; "no finding" where the form asked and nothing was, "" where it may not have asked."""
    nothing = "" if form_findings(annotation) is None else NO_FINDING
    return "; ".join(annotation.findings) or nothing
