"""What the Adapt tab can do, without a page. Everybody may look; only an admin trains, stops and deletes."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.config import FinetuneConfig
from finetune.jobs.job import disk_words
from finetune.tab.asked import Asked
from finetune.tab.estimate import Estimate, estimate_time
from finetune.tab.form import FormError
from finetune.tab.looking import Looking
from finetune.tab.runs import ENDED
from web.identity import Claim, Gate
from web.training_data import DataCount, TrainingData

if TYPE_CHECKING:
    from finetune.jobs.job import Job
    from finetune.jobs.service import JobService

NOTHING = "Nothing passes this choice of submissions; choose others, or annotate in the Teach tab first."
NO_TRAINING = (
    "Training does not fit on ZeroGPU: a GPU is lent for about a minute at a time, and what was learned is lost with "
    "it. Export the annotations in the Annotations tab, and run the command on a machine with a GPU of its own."
)
NO_ADAPTER = "This run has no adapter yet; choose one that is done."
# What training with a configuration takes, in one sentence; "" where that cannot be told.
Memory = Callable[[FinetuneConfig], str]


class AdaptService(Looking):
    """Every method takes a claim and lets the gate admit it before anything else is looked at.

    Args:
        gate, jobs, adapters, bases: as in `Looking`.
        data: what there is to learn from.
        memory: what a training takes.
        zero_gpu: whether this is a Space where no training fits.
    """

    def __init__(
        self, gate: Gate, jobs: "JobService", adapters: Path, data: TrainingData, bases: Mapping[str, str],
        memory: Memory, *, zero_gpu: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(gate, jobs, adapters, bases)
        self.zero_gpu, self._data, self._memory = zero_gpu, data, memory

    def count(self, claim: Claim, asked: Asked) -> DataCount:
        """What a choice of submissions amounts to.

        Raises:
            NotAllowed: not an admin.
            FormError: the choice cannot be read.
        """
        self.gate.admit(claim, "read", "admin")
        return self._data.count(asked.choice())

    def estimate(self, claim: Claim, asked: Asked, images: int) -> tuple[Estimate, str]:
        """How long a training takes, and a sentence on its memory.

        Args:
            claim: who asks.
            asked: the form.
            images: that the choice of submissions has.

        Raises:
            NotAllowed: not an admin.
            FormError: something in the form cannot be used.
        """
        self.gate.admit(claim, "read", "admin")
        config = asked.config(self.bases)
        ended = [run for run in self._runs() if run.job.state in ENDED]
        return estimate_time(config, images, ended), self._memory(config)

    def start(self, claim: Claim, asked: Asked) -> "Job":
        """Begin a training, or queue it behind the one that runs.

        Raises:
            NotAllowed: not an admin.
            ValueError: training does not fit here, or something in the form cannot be used.
        """
        visitor = self.gate.admit(claim, "train", "admin")
        if self.zero_gpu:
            raise FormError(NO_TRAINING)
        name, config, choice = asked.checked_name(), asked.config(self.bases), asked.choice()
        if not self._data.count(choice).scanpaths:
            raise FormError(NOTHING)
        return self._jobs.submit(name, config, visitor.pseudonym, lambda folder: self._data.write(choice, folder))

    def pause(self, claim: Claim, job_id: object) -> None:
        """Stop with a checkpoint, for a while.

        Raises:
            NotAllowed: not an admin.
            ValueError: no such run, or it cannot be paused now.
        """
        self.gate.admit(claim, "train", "admin")
        self._jobs.pause(self._job(job_id).job_id)

    def resume(self, claim: Claim, job_id: object) -> None:
        """Go on from the last checkpoint.

        Raises:
            NotAllowed: not an admin.
            ValueError: training does not fit here, no such run, or it cannot be resumed now.
        """
        self.gate.admit(claim, "train", "admin")
        if self.zero_gpu:
            raise FormError(NO_TRAINING)
        self._jobs.resume(self._job(job_id).job_id)

    def cancel(self, claim: Claim, job_id: object) -> None:
        """Stop with a checkpoint, for good unless somebody resumes it.

        Raises:
            NotAllowed: not an admin.
            ValueError: no such run, or it cannot be cancelled now.
        """
        self.gate.admit(claim, "train", "admin")
        self._jobs.cancel(self._job(job_id).job_id)

    def pack(self, claim: Claim, job_id: object, target: Path) -> Path:
        """Write the adapter of a finished run as a ZIP.

        Args:
            claim: who asks.
            job_id: of the run.
            target: new folder, which takes the file; nobody should be able to guess it.

        Raises:
            NotAllowed: not an admin.
            ValueError: no such run, it has no adapter, the adapter is not whole, or the file cannot be written.
        """
        self.gate.admit(claim, "train", "admin")
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

    def delete(self, claim: Claim, job_id: object, *, adapter: bool = False) -> None:
        """Remove a run and its data.

        Args:
            claim: who asks.
            job_id: of the run.
            adapter: whether the adapter that it made goes too.

        Raises:
            NotAllowed: not an admin.
            ValueError: no such run, or it goes on.
        """
        self.gate.admit(claim, "train", "admin")
        job = self._job(job_id)
        self._jobs.delete(job.job_id, adapter=adapter)
        self._reader.forget(job.job_id)
