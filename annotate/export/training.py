"""Training data out of the store: the submissions that pass a choice, as a gaze folder that training reads.

The two files and the images are those of an export's "gaze" format; only fewer submissions may take part.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from annotate.export.folder import atomic_folder, images_with_submissions
from annotate.export.formats import ImageFiles, Sink
from annotate.export.formats.gaze import GazeFiles
from annotate.quality.agreement import scores_with_others
from annotate.store.model import Stored, StoredImage, StoreError
from annotate.store.store import AnnotationStore
from annotate.votes import first_of_each, labels
from web.training_data import DataChoice, DataCount

REMOVED, REJECTED, NOT_ACCEPTED = "removed", "rejected", "not accepted by a reviewer"
ELSEWHERE = "of another project"
OTHERS, DISAGREES = "by annotators who were not chosen", "agrees too little with the others"
AGAIN = "of somebody who annotated the image before"


class StoreTrainingData:
    """See `web.training_data.TrainingData`.

    Args:
        store: to be read; one image with its submissions is in memory at a time.
    """

    def __init__(self, store: AnnotationStore) -> None:
        self._store = store

    def projects(self) -> dict[str, str]:
        """Return all projects of the store: short name -> name."""
        return {one.slug: one.name for one in self._store.projects()}

    def count(self, choice: DataChoice) -> DataCount:
        """Count what a choice amounts to now.

        Raises:
            StoreError: the database cannot be read.
        """
        tally = _Tally()
        for _ in self._chosen(choice, tally):
            pass
        return tally.count()

    def write(self, choice: DataChoice, folder: Path) -> DataCount:
        """Write a gaze folder, as a whole or not at all.

        Args:
            choice: what goes in.
            folder: must not exist, or be empty.

        Raises:
            StoreError: nothing passes, the folder is in use, or the disk takes no more; nothing is left behind then.
        """
        tally = _Tally()
        with atomic_folder(folder, "training data") as work:
            sinks: list[Sink] = [ImageFiles(work), GazeFiles(work)]
            for image, kept in self._chosen(choice, tally):
                png = self._store.png(image.sha256)
                for sink in sinks:
                    sink.add(image, png, kept)
            for sink in sinks:
                sink.finish()
            if not tally.images:
                raise StoreError(_nothing(tally.left_out))
        return tally.count()

    def _chosen(self, choice: DataChoice, tally: "_Tally") -> Iterator[tuple[StoredImage, list[Stored]]]:
        """Return every image with what passes of its submissions, where anything does; all are counted."""
        for image, stored in images_with_submissions(self._store):
            reasons = reasons_against(stored, choice)
            kept = [one for one in stored if one.number not in reasons]
            tally.add(kept, reasons.values())
            if kept:
                yield image, kept


def reasons_against(stored: Sequence[Stored], choice: DataChoice) -> dict[int, str]:
    """Return why submissions do not pass, the first reason of each, by number; those that pass are not in it.

    Of each annotator the first submission that may pass does: nobody counts twice on an image. Agreement is with all
    others, whether their paths pass or not: what somebody's path is worth does not change with who else is chosen.

    Args:
        stored: all submissions on one image.
        choice: who and what is wanted.
    """
    reasons: dict[int, str] = {}
    for one in stored:
        if choice.project and one.project != choice.project:
            reasons[one.number] = ELSEWHERE
        elif one.removed:
            reasons[one.number] = REMOVED
        elif one.verdict == "rejected":
            reasons[one.number] = REJECTED
        elif choice.accepted_only and one.verdict != "accepted":
            reasons[one.number] = NOT_ACCEPTED
        elif choice.annotators and one.annotation.annotator not in choice.annotators:
            reasons[one.number] = OTHERS
    if choice.least_agreement > 0:
        for number, score in scores_with_others(stored).items():
            if score < choice.least_agreement:
                reasons.setdefault(number, DISAGREES)
    passing = [one for one in stored if one.number not in reasons]
    firsts = {one.number for one in first_of_each(passing)}
    return reasons | {one.number: AGAIN for one in passing if one.number not in firsts}


def _nothing(left_out: Mapping[str, int]) -> str:
    why = ", ".join(f"{number} {reason}" for reason, number in left_out.items())
    return f"No submission is left to learn from ({why or 'the store has none'}); choose less strictly."


@dataclass
class _Tally:
    """Counts while images go by."""

    images: int = 0
    annotators: Counter[str] = field(default_factory=Counter)
    findings: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)

    def add(self, kept: Sequence[Stored], reasons: Iterable[str]) -> None:
        """Add one image: what passes of it, and why the rest does not."""
        self.left_out.update(reasons)
        self.images += bool(kept)
        self.annotators.update(one.annotation.annotator for one in kept)
        self.findings.update(dict.fromkeys((name for one in kept for name in one.annotation.findings), 0))
        self.findings.update({name: 1 for name, label in labels(kept).items() if label})

    def count(self) -> DataCount:
        """Return the counts so far, every name in order."""
        parts = (dict(sorted(part.items())) for part in (self.annotators, self.findings, self.left_out))
        return DataCount(self.images, self.annotators.total(), *parts)
