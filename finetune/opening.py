"""Opens what Adapt runs on: the jobs, and the service of the tab."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.config import FinetuneConfig
from finetune.jobs.job import JOBS, JobError
from finetune.jobs.service import JobService
from finetune.tab.estimate import facts_of, memory_of_bases
from finetune.tab.service import AdaptService
from web.identity import Gate
from web.training_data import TrainingData

if TYPE_CHECKING:
    from gazevlm_core.inference import GazeEngine, LazyEngine

ADAPTERS = "adapters"


@dataclass(frozen=True)
class Adapting:
    """What Adapt runs on, until `close`.

    Args:
        jobs: trainings as processes of their own.
        service: what the tab can do.
    """

    jobs: JobService
    service: AdaptService

    def start(self) -> None:
        """Go on with the jobs that were left behind.

        Raises:
            JobError: another program holds them.
        """
        self.jobs.start()

    def close(self) -> None:
        """Let a running job keep a checkpoint; it goes on at the next start."""
        self.jobs.close()


def make_adapters_folder(data: Path) -> Path:
    """Return the folder of adapters below a data folder, where no other one is named.

    Raises:
        JobError: it cannot be made.
    """
    folder = data / ADAPTERS
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise JobError(f"Cannot make {folder} for adapters: {error.strerror}.") from None
    return folder


def open_adapting(
    data: Path, adapters: Path, gate: Gate, submissions: TrainingData, engines: Mapping[str, "GazeEngine | LazyEngine"]
) -> Adapting:
    """Open it; nothing runs yet.

    Args:
        data: folder of all that the app keeps.
        adapters: folder that finished adapters go to, where Diagnose finds them.
        gate: who is who.
        submissions: what there is to learn from.
        engines: source of a model -> the model, loaded or not; they are the bases.

    Raises:
        JobError: a folder cannot be made.
    """
    jobs = JobService(data / JOBS, adapters)
    bases = {engine.facts.model_id: source for source, engine in engines.items()}

    def memory(config: FinetuneConfig) -> str:
        known = [config.base] if config.base in engines else []
        return memory_of_bases({base: facts_of(engines[base].load_now()) for base in known})(config)

    zero_gpu = bool(gate.settings.spaces_zero_gpu)
    return Adapting(jobs, AdaptService(gate, jobs, adapters, submissions, bases, memory, zero_gpu=zero_gpu))
