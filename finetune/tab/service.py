"""What the Adapt tab can do, without a page. Everybody may see runs; only an admin trains, stops and deletes."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.config import FinetuneConfig
from finetune.jobs.job import disk_words
from finetune.tab.estimate import time_sentence
from finetune.tab.form import FormError, TrainingForm, command_of, is_names, suggested_name
from finetune.tab.runs import ENDED, ImagePair, Run, RunReader, read_pairs
from web.identity import Claim, Gate, Visitor, Welcome
from web.training_data import DataCount, TrainingData

if TYPE_CHECKING:
    from finetune.jobs.job import Job
    from finetune.jobs.service import JobService

GONE = "There is no such run any more; choose another one."
NOTHING = "Nothing passes this choice of submissions; choose others, or annotate in the Teach tab first."
NO_TRAINING = (
    "Training does not fit on ZeroGPU: a GPU is lent for about a minute at a time, and what was learned is lost with "
    "it. Export the annotations in the Annotations tab, and run the command on a machine with a GPU of its own."
)
NO_ADAPTER = "This run has no adapter yet; choose one that is done."
FEWEST, MOST = 2, 4  # runs beside each other
LOG_LINES, MOST_RUNS = 40, 200


@dataclass(frozen=True)
class Overview:
    """The runs as one visitor may see them.

    Args:
        runs: all of them, the latest first.
        chosen: the one that is shown closely; None where there is none.
        is_admin: whether the visitor may also see why a run failed, and act on it.
        sees_images: whether the visitor may see held-out images, which may be anybody's.
        log: last lines that the chosen run printed; "" unless for an admin.
    """

    runs: tuple[Run, ...]
    chosen: Run | None
    is_admin: bool
    sees_images: bool
    log: str


class AdaptService:
    """Every method takes a claim and lets the gate admit it before it reads anything else.

    All of them raise `NotAllowed` for a missing role or too many requests, `FormError` for a form that cannot be used
    and a run that is gone, and `JobError` for what cannot be done with a run now.

    Args:
        gate: knows who asks, and what they may do.
        jobs: the trainings.
        adapters: folder that finished adapters go to.
        data: the annotations to learn from.
        bases: name of a loaded model -> folder, shipped name or Hub id that it was loaded from.
        memory: says in one sentence what memory a configuration takes.
        zero_gpu: whether this is a Space where no training fits.
    """

    def __init__(
        self, gate: Gate, jobs: "JobService", adapters: Path, data: TrainingData, bases: Mapping[str, str],
        memory: Callable[[FinetuneConfig], str], *, zero_gpu: bool = False,
    ) -> None:  # fmt: skip
        self.gate, self.bases, self.zero_gpu = gate, dict(bases), zero_gpu
        self._jobs, self._adapters, self._data, self._memory = jobs, adapters, data, memory
        self._reader = RunReader(jobs)

    # ---- for everybody ----------------------------------------------------------------------------------------------
    def welcome(self, claim: Claim) -> Welcome:
        """Return who asks."""
        return self.gate.welcome(claim)

    def overview(self, claim: Claim, job_id: object) -> Overview:
        """Return all runs, and closely the one that is asked for, else one that is running, else the latest."""
        visitor = self.gate.admit_anyone(claim)
        roles = visitor.roles if visitor is not None else frozenset()
        is_admin = "admin" in roles
        runs = self._runs()
        wanted = [run for run in runs if run.job.job_id == job_id]
        running = [run for run in runs if run.job.state == "running"]
        chosen = next(iter((*wanted, *running, *runs)), None)
        log = self._jobs.log_tail(chosen.job.job_id, LOG_LINES) if chosen is not None and is_admin else ""
        return Overview(runs, chosen, is_admin, "reviewer" in roles, log)

    def history(self, claim: Claim) -> tuple[Run, ...]:
        """Return the runs whose adapter is finished, the latest first."""
        self.gate.admit_anyone(claim)
        return tuple(run for run in self._runs() if run.job.state == "done")

    def compare(self, claim: Claim, job_ids: object) -> tuple[Run, ...]:
        """Return two to four runs in the order that they were chosen in."""
        self.gate.admit_anyone(claim)
        ids = list(dict.fromkeys(job_ids)) if is_names(job_ids) else []  # type: ignore[call-overload]
        if not FEWEST <= len(ids) <= MOST:
            raise FormError(f"Choose {FEWEST} to {MOST} runs to compare.")
        return tuple(self._reader.run(self._job(one)) for one in ids)

    def suggest(self, claim: Claim, base: object) -> str:
        """Return a name for the next adapter of a base."""
        self.gate.admit_anyone(claim)
        made = [path.name for path in self._adapters.iterdir()] if self._adapters.is_dir() else []
        return suggested_name(str(base), [*made, *(job.name for job in self._jobs.jobs())])

    def command(self, claim: Claim, form: TrainingForm) -> str:
        """Return the command that trains the same on another machine."""
        self.gate.admit_anyone(claim)
        return command_of(form.config(self.bases), form.choice(), form.adapter_name())

    # ---- for reviewers ----------------------------------------------------------------------------------------------
    def pairs(self, claim: Claim, job_id: object) -> tuple[ImagePair, ...]:
        """Return the held-out images before and after; none where the run did not get so far.

        Only reviewers see them: in Teach, too, an image is shown only to those whom it was given to.
        """
        self.gate.admit(claim, "review", "reviewer")
        return read_pairs(self._job(job_id).run)

    # ---- for admins -------------------------------------------------------------------------------------------------
    def projects(self, claim: Claim) -> Mapping[str, str]:
        """Return the projects to choose from: short name -> name."""
        self.gate.admit(claim, "read", "admin")
        return self._data.projects()

    def count(self, claim: Claim, form: TrainingForm) -> DataCount:
        """Count what a choice of submissions holds."""
        self.gate.admit(claim, "read", "admin")
        return self._data.count(form.choice())

    def estimate(self, claim: Claim, form: TrainingForm, images: int) -> str:
        """Return in words what time and memory a training on so many images takes."""
        self.gate.admit(claim, "read", "admin")
        config = form.config(self.bases)
        ended = [run for run in self._runs() if run.job.state in ENDED]
        return f"{time_sentence(config, images, ended)} {self._memory(config)}"

    def start(self, claim: Claim, form: TrainingForm) -> "Job":
        """Begin a training, or queue it behind the one that runs."""
        visitor = self._admit_training(claim, starts=True)
        name, config, choice = form.adapter_name(), form.config(self.bases), form.choice()
        if not self._data.count(choice).scanpaths:
            raise FormError(NOTHING)
        return self._jobs.submit(name, config, visitor.pseudonym, lambda folder: self._data.write(choice, folder))

    def pause(self, claim: Claim, job_id: object) -> None:
        """Stop a run with a checkpoint, to go on later."""
        self._admit_training(claim)
        self._jobs.pause(self._job(job_id).job_id)

    def resume(self, claim: Claim, job_id: object) -> None:
        """Go on from the last checkpoint."""
        self._admit_training(claim, starts=True)
        self._jobs.resume(self._job(job_id).job_id)

    def cancel(self, claim: Claim, job_id: object) -> None:
        """Stop a run with a checkpoint, for good unless somebody resumes it."""
        self._admit_training(claim)
        self._jobs.cancel(self._job(job_id).job_id)

    def delete(self, claim: Claim, job_id: object, *, adapter: bool = False) -> None:
        """Remove a run and its data, and with `adapter` also the adapter that it made."""
        self._admit_training(claim)
        job = self._job(job_id)
        self._jobs.delete(job.job_id, adapter=adapter)
        self._reader.forget(job.job_id)

    def pack(self, claim: Claim, job_id: object, target: Path) -> Path:
        """Write the adapter of a finished run as a ZIP and return the file.

        Args:
            claim: who asks.
            job_id: of the run.
            target: new folder for the file; nobody should be able to guess it.

        Raises:
            FormError: the run has no adapter, or the file cannot be written.
            AdapterError: the adapter's folder is incomplete.
        """
        self._admit_training(claim)
        adapter = self._job(job_id).adapter
        if adapter is None:
            raise FormError(NO_ADAPTER)
        from finetune.export.files import zip_adapter  # late: it imports torch

        path = target / f"{adapter.name}.zip"
        try:
            target.mkdir(parents=True, mode=0o700)
            zip_adapter(adapter, path)
        except (OSError, ValueError) as error:
            shutil.rmtree(target, ignore_errors=True)
            if isinstance(error, OSError):
                raise FormError(f"{disk_words(error)}; nothing was packed.") from error
            raise
        return path

    # ---- shared -----------------------------------------------------------------------------------------------------
    def _admit_training(self, claim: Claim, *, starts: bool = False) -> Visitor:
        """Admit an admin; `starts` is for what begins to train."""
        visitor = self.gate.admit(claim, "train", "admin")
        if starts and self.zero_gpu:
            raise FormError(NO_TRAINING)
        return visitor

    def _runs(self) -> tuple[Run, ...]:
        return tuple(map(self._reader.run, self._jobs.jobs()[:MOST_RUNS]))

    def _job(self, job_id: object) -> "Job":
        """Look a job up among those that there are; what a browser sends is never used as a path."""
        for job in self._jobs.jobs()[:MOST_RUNS]:
            if job.job_id == job_id:
                return job
        raise FormError(GONE)
