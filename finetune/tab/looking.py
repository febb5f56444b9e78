"""What may be seen in the Adapt tab: runs, curves and comparisons by everybody, pictures by reviewers."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.jobs.job import RUN_FOLDER
from finetune.tab.asked import Asked, command_of, suggested_name
from finetune.tab.before_after import Pair, read_pairs
from finetune.tab.form import FormError, is_names
from finetune.tab.runs import Run, RunReader
from web.identity import Claim, Gate
from web.welcome import Welcome, look_on, welcome

if TYPE_CHECKING:
    from finetune.jobs.job import Job
    from finetune.jobs.service import JobService

GONE = "There is no such run any more; choose another one."
FEWEST, MOST = 2, 4  # runs beside each other
LOG_LINES, MOST_RUNS = 40, 200


@dataclass(frozen=True)
class Look:
    """What somebody sees of the runs.

    Args:
        runs: all of them, the latest first.
        chosen: the one that is looked at; None where there is none.
        is_admin: whether they may also see why something failed, and do something about it.
        sees_pictures: whether they may see the held-out images, which may be anybody's.
        log: last lines that the chosen run printed; "" for everybody else.
    """

    runs: tuple[Run, ...]
    chosen: Run | None
    is_admin: bool
    sees_pictures: bool
    log: str


class Looking:
    """For everybody. Every method takes a claim and counts it before anything else is looked at.

    Args:
        gate: who asks, and whether they may.
        jobs: the trainings.
        adapters: folder that they go to.
        bases: name of a loaded model -> folder, shipped name or Hub id that it was loaded from.
    """

    def __init__(self, gate: Gate, jobs: "JobService", adapters: Path, bases: Mapping[str, str]) -> None:
        self.gate, self.bases, self._adapters = gate, dict(bases), adapters
        self._jobs, self._reader = jobs, RunReader(jobs)

    def welcome(self, claim: Claim) -> Welcome:
        """Who asks.

        Raises:
            NotAllowed: a wrong token, a name that cannot be used, or too many requests.
        """
        return welcome(self.gate, claim)

    def look(self, claim: Claim, job_id: object) -> Look:
        """All runs, and one of them closely: the one that is asked for, else one that goes on, else the latest.

        Raises:
            NotAllowed: too many requests.
        """
        visitor = look_on(self.gate, claim)
        roles = visitor.roles if visitor is not None else frozenset()
        is_admin = "admin" in roles
        runs = self._runs()
        asked = next((run for run in runs if run.job.job_id == job_id), None)
        running = next((run for run in runs if run.job.state == "running"), None)
        chosen = asked or running or next(iter(runs), None)
        log = self._jobs.log_tail(chosen.job.job_id, LOG_LINES) if chosen is not None and is_admin else ""
        return Look(runs, chosen, is_admin, "reviewer" in roles, log)

    def history(self, claim: Claim) -> tuple[Run, ...]:
        """Finished adapters, the latest first.

        Raises:
            NotAllowed: too many requests.
        """
        look_on(self.gate, claim)
        return tuple(run for run in self._runs() if run.job.state == "done")

    def compare(self, claim: Claim, job_ids: object) -> tuple[Run, ...]:
        """Some finished runs, in the order that they were chosen in.

        Raises:
            NotAllowed: too many requests.
            FormError: too few or too many, or one that is gone.
        """
        look_on(self.gate, claim)
        ids = list(dict.fromkeys(job_ids)) if is_names(job_ids) else []  # type: ignore[call-overload]
        if not FEWEST <= len(ids) <= MOST:
            raise FormError(f"Choose {FEWEST} to {MOST} runs to compare.")
        return tuple(self._reader.run(self._job(one)) for one in ids)

    def pairs(self, claim: Claim, job_id: object) -> tuple[Pair, ...]:
        """Held-out images before and after, for reviewers; none where the run did not get so far.

        Raises:
            NotAllowed: not a reviewer: in Teach, too, an image is shown to those alone whom it was given to.
            ValueError: no such run, or what it left cannot be read.
        """
        self.gate.admit(claim, "review", "reviewer")
        return read_pairs(self._job(job_id).folder / RUN_FOLDER)

    def suggest(self, claim: Claim, base: object) -> str:
        """A name for the next adapter of a base.

        Raises:
            NotAllowed: too many requests.
        """
        look_on(self.gate, claim)
        made = [path.name for path in self._adapters.iterdir()] if self._adapters.is_dir() else []
        return suggested_name(str(base), [*made, *(job.name for job in self._jobs.jobs())])

    def command(self, claim: Claim, asked: Asked) -> str:
        """The command that trains the same on another machine.

        Raises:
            NotAllowed: too many requests.
            FormError: something in the form cannot be used.
        """
        look_on(self.gate, claim)
        return command_of(asked.config(self.bases), asked.choice(), asked.checked_name())

    # ---- what they share --------------------------------------------------------------------------------------------
    def _runs(self) -> tuple[Run, ...]:
        return tuple(map(self._reader.run, self._known()))

    def _known(self) -> list["Job"]:
        return list(self._jobs.jobs())[:MOST_RUNS]

    def _job(self, job_id: object) -> "Job":
        """One of the jobs that there are; what a browser says is looked up among them, and is never a path."""
        found = next((job for job in self._known() if job.job_id == job_id), None)
        if found is None:
            raise FormError(GONE)
        return found
