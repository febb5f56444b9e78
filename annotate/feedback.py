"""What an annotator reads after a submission: one sentence, what others ticked, the truth of a drawn image; and later,
what a reviewer said of it."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from PIL import Image

from annotate.store.model import Stored, StoredImage
from annotate.store.reviews import WITHDRAWN
from annotate.votes import Votes, findings_in_words, votes
from gazevlm_core.evaluation.comparison import ComparedScore, compare_paths
from gazevlm_core.evaluation.floors import REVERSED, SHUFFLED, UNIFORM
from gazevlm_core.geometry import PatchGrid
from gazevlm_core.metrics.paths import Size
from gazevlm_core.metrics.registry import JACCARD, SCANMATCH, SEQUENCE
from gazevlm_core.records import Diagnosis
from gazevlm_core.sample import pixel_digest
from gazevlm_core.scanpath import Scanpath
from phantoms.make import SMALLEST_SIZE_PX, make_phantom
from phantoms.truth import Phantom

SHOWN = (SEQUENCE, SCANMATCH, "DTW distance", JACCARD, "MultiMatch position")
LONGEST_COMPARED = 60  # fixations; a longer path is compared up to there, since alignments grow with the square
PHANTOM_NAME = re.compile(r"phantom (\d{1,9})")
LARGEST_DRAWN_PX = 1024  # drawing takes its time
NOBODY_ELSE = "You are the first here: there is no other reader, and no path of a model to compare with."
NO_ORDER = "One place alone has no order to compare."
NOT_KNOWN = "This path cannot be compared."
BELOW = (
    (UNIFORM, "No closer to {whom} than random places."),
    (SHUFFLED, "No closer to {whom} than your {places} in random order."),
    (REVERSED, "No closer to {whom} than your {places} in the opposite order."),
)
ABOVE = "Closer to {whom} than your {places} in random order."


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
class DrawnFinding:
    """A finding that a phantom was drawn with.

    Args:
        name: of the finding.
        where: the patient's side and zone, in words.
        box: (x0, y0, x1, y1) in fractions of the image.
    """

    name: str
    where: str
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class Feedback:
    """On one submission.

    Args:
        sentence: how its path compares.
        own: findings that were ticked.
        others: votes of the other annotators on each finding, by name.
        readers: how many others there are.
        truth: what was drawn; None where the image is no phantom of ours.
        own_path: the submission's.
        model: name of the model that was asked.
        found: what the model sees; None where it could not be asked, or where that means nothing on this image.
        trouble: why that is, or what else has to be known of what the model sees; "" for nothing.
        against: the numbers behind the sentence.
    """

    sentence: str
    own: tuple[str, ...]
    others: dict[str, Votes]
    readers: int
    truth: tuple[DrawnFinding, ...] | None
    own_path: Scanpath
    model: str
    found: Diagnosis | None
    trouble: str
    against: tuple[Against, ...]


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


def sentence(against: Sequence[Against], own: Scanpath) -> str:
    """Say how a path compares with the first of those that it was compared with, by the sequence score.

    Random order stands before the opposite one: whoever is below both reads the weaker claim.
    """
    if not against:
        return NOBODY_ELSE
    if len(own) < 2:
        return NO_ORDER
    row = next(row for row in against[0].rows if row.name == SEQUENCE)
    words = {"whom": against[0].name, "places": "places" if own.source == "moving window" else "clicks"}
    if math.isnan(row.value):
        return NOT_KNOWN
    text = next((text for floor, text in BELOW if row.value <= row.floors[floor]), ABOVE)
    return text.format(**words)


def votes_of_others(stored: Iterable[Stored], annotator: str) -> tuple[dict[str, Votes], int]:
    """Return what the other annotators of an image say of each finding, and how many they are."""
    others = [one for one in stored if one.annotation.annotator != annotator]
    readers = {one.annotation.annotator for one in others if one.verdict != "rejected" and not one.removed}
    return votes(others), len(readers)


def truth_of(image: StoredImage) -> tuple[DrawnFinding, ...] | None:
    """Return what an image was drawn with; None where it is no phantom of this program.

    A name is no proof, so the phantom is drawn again, and its pixels have to be those of the image.
    """
    named = PHANTOM_NAME.fullmatch(image.name)
    longer_px = max(image.width_px, image.height_px)
    if named is None or not SMALLEST_SIZE_PX <= longer_px <= LARGEST_DRAWN_PX:
        return None
    digest, truth = _drawn(int(named[1]), longer_px)
    return truth if digest == image.sha256 else None


@lru_cache(maxsize=256)
def _drawn(seed: int, size_px: int) -> tuple[str, tuple[DrawnFinding, ...]]:
    """Return the digest and the findings of a phantom."""
    phantom = make_phantom(seed, size_px=size_px)
    return pixel_digest(Image.fromarray(phantom.image)), drawn_findings(phantom)


def drawn_findings(phantom: Phantom) -> tuple[DrawnFinding, ...]:
    """Return what a phantom was drawn with."""
    return tuple(
        DrawnFinding(one.name, " ".join(part for part in (one.side, one.zone) if part), one.box)
        for one in phantom.findings
    )
