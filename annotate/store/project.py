"""A project: a list of tasks with a question of its own, and what an admin decided about them."""

import re
import unicodedata
from dataclasses import dataclass
from typing import Annotated

from annotate.store.model import MAIN_PROJECT, ColumnOptions, StoreError, checked_text, is_slug
from gazevlm_core.annotation import MODES
from gazevlm_core.findings import FINDING_NAMES, NO_FINDING
from gazevlm_core.options import DEFAULT_QUESTION

LONGEST_INSTRUCTION, LONGEST_LICENCE, LONGEST_FINDING, LONGEST_QUESTION = 600, 60, 100, 2_000
LONGEST_PROJECT, LONGEST_SLUG = 60, 32
MOST_FINDINGS, MOST_PROJECTS = 40, 50
LEAST_PX, MOST_PX = 2.0, 300.0  # of blur and disc, where the image's longer side has 600 px
MOST_LEAST_CLICKS = 50
TERMS_VERSION = 1  # of the sentences that an annotator agrees to


@dataclass(frozen=True)
class Project:
    """How the images of a project are annotated.

    Args:
        instruction: what annotators read beside the usual; "" for nothing.
        licence: under which submissions may be published.
        mode: in which everybody looks; "" where each chooses.
        sigma_px, radius_px: blur and disc of the blurred modes, as in `annotate.blur.BlurSettings`.
        least_clicks: that a submission needs, in the modes with clicks.
        checklist: findings on the form, beside "no finding"; empty for all that the page knows.
        question: what is asked about its images, unless an image says otherwise.
        name: for people; may change.
        slug: in links, records and exports; stays.
        closed: whether it gives out no images.

    Raises:
        StoreError: something that cannot be.
    """

    instruction: str = ""
    licence: str = "CC BY 4.0"
    mode: str = ""
    sigma_px: float = 40.0
    radius_px: float = 32.0
    least_clicks: int = 1
    checklist: tuple[str, ...] = ()
    question: str = DEFAULT_QUESTION
    name: str = "Main"
    slug: Annotated[str, ColumnOptions(unique=True)] = MAIN_PROJECT
    closed: bool = False

    def __post_init__(self) -> None:
        checked_text("The instruction", self.instruction, LONGEST_INSTRUCTION, empty=True)
        checked_text("The licence", self.licence, LONGEST_LICENCE)
        checked_text("The question", self.question, LONGEST_QUESTION)
        checked_text("The project's name", self.name, LONGEST_PROJECT)
        if not self.name.isprintable():
            raise StoreError("The project's name is one line of plain text; write it again.")
        if not is_slug(self.slug):
            raise StoreError("A project's short name has small letters, digits and hyphens; choose another one.")
        if self.mode and self.mode not in MODES:
            raise StoreError(f"The mode is one of {', '.join(MODES)}, or left to the annotator.")
        if not all(LEAST_PX <= size <= MOST_PX for size in (self.sigma_px, self.radius_px)):
            raise StoreError(f"Blur and disc lie between {LEAST_PX:g} and {MOST_PX:g} px.")
        if not 1 <= self.least_clicks <= MOST_LEAST_CLICKS:
            raise StoreError(f"A submission needs 1 to {MOST_LEAST_CLICKS} clicks.")
        if len(self.checklist) > MOST_FINDINGS or len(set(self.checklist)) != len(self.checklist):
            raise StoreError(f"The checklist has each finding once, and at most {MOST_FINDINGS} of them.")
        for name in self.checklist:
            checked_text("A finding of the checklist", name, LONGEST_FINDING)

    @property
    def terms(self) -> str:
        """What an annotator agrees to, in one line: another text once the licence is another one."""
        return f"{TERMS_VERSION} {' '.join(self.licence.split())}"

    def form(self, known: tuple[str, ...] = FINDING_NAMES) -> tuple[str, ...]:
        """Return the findings on the form: those of the checklist that the page knows, in its order; else all."""
        listed = tuple(name for name in self.checklist if name in known and name != NO_FINDING)
        return listed or known


def slug_of(name: str) -> str:
    """Return a name in small letters, digits and hyphens, for links; "project" where none of its letters is one."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub("[^a-z0-9]+", "-", plain).strip("-")[:LONGEST_SLUG].strip("-") or "project"
