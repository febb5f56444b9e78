"""What an admin decides about all images of a store: how they are looked at, what is asked, under which licence.

It is one value in the table of facts. It does not leave the store: every record holds the mode, the blur and the
findings that its form asked for.
"""

import json
from dataclasses import asdict, dataclass, fields
from typing import Any

from sqlalchemy import Connection, delete, select

from annotate.store.base import Store, write_audit
from annotate.store.database import reads, writes
from annotate.store.model import StoreError, checked_text
from annotate.store.tables import FACTS
from gazevlm_core.annotation import MODES
from gazevlm_core.findings import FINDING_NAMES, NO_FINDING

FACT = "project"
LONGEST_INSTRUCTION, LONGEST_LICENCE, LONGEST_FINDING = 600, 60, 100
MOST_FINDINGS = 40
LEAST_PX, MOST_PX = 2.0, 300.0  # of blur and disc, where the image's longer side has 600 px
MOST_LEAST_CLICKS = 50
TERMS_VERSION = 1  # of the sentences that an annotator agrees to


@dataclass(frozen=True)
class Project:
    """How images are annotated here.

    Args:
        instruction: what annotators are told beside the usual; "" for nothing.
        licence: under which submissions may be published.
        mode: in which everybody looks; "" where each chooses.
        sigma_px, radius_px: blur and disc of the blurred modes, as in `annotate.blur.BlurSettings`.
        least_clicks: that a submission needs, in the modes with clicks.
        checklist: findings on the form, beside "no finding"; empty for all that the page knows.

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

    def __post_init__(self) -> None:
        checked_text("The instruction", self.instruction, LONGEST_INSTRUCTION, empty=True)
        checked_text("The licence", self.licence, LONGEST_LICENCE)
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
        """What an annotator agrees to: another text once the licence is another one."""
        return f"{TERMS_VERSION} {self.licence}"

    def form(self, known: tuple[str, ...] = FINDING_NAMES) -> tuple[str, ...]:
        """Return the findings on the form: those of the checklist that the page knows, in its order; else all."""
        listed = tuple(name for name in self.checklist if name in known and name != NO_FINDING)
        return listed or known


class Projects(Store):
    """The project of a store."""

    @reads
    def project(self, connection: Connection) -> Project:
        """Return what was decided; the usual values where nothing was."""
        kept = connection.scalar(select(FACTS.c.value).where(FACTS.c.name == FACT))
        return Project() if kept is None else _project_of(json.loads(kept))

    @writes
    def set_project(self, connection: Connection, project: Project, by: str) -> None:
        """Decide it anew; what is being annotated goes on as it was begun."""
        kept = connection.scalar(select(FACTS.c.value).where(FACTS.c.name == FACT))
        if (Project() if kept is None else _project_of(json.loads(kept))) == project:
            return
        connection.execute(delete(FACTS).where(FACTS.c.name == FACT))
        connection.execute(FACTS.insert().values(name=FACT, value=json.dumps(asdict(project))))
        write_audit(connection, self.now_us(), by, "project changed", FACT, **asdict(project))


def _project_of(values: dict[str, Any]) -> Project:
    """Return a project as it was written; a later program may have written more."""
    known = {one.name for one in fields(Project)}
    kept = {name: value for name, value in values.items() if name in known}
    return Project(**{**kept, "checklist": tuple(kept.get("checklist", ()))})
