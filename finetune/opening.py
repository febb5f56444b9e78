"""Opens what Adapt runs on: the jobs, and the service of the tab."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.config import FinetuneConfig
from finetune.jobs.job import JOBS, JobError
from finetune.jobs.service import JobService
from finetune.room import facts_of
from finetune.tab.estimate import memory_sentence
from finetune.tab.service import AdaptService
from web.identity import Gate
from web.training_data import TrainingData

if TYPE_CHECKING:
    from gazevlm_core.inference import GazeEngine, LazyEngine

ADAPTERS = "adapters"


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
) -> tuple[JobService, AdaptService]:
    """Open the trainings, of which none runs before `JobService.start`, and what the tab can do with them.

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
        engine = engines[config.base].load_now()
        device, precision = engine.model.device.type, engine.checkpoint.precision
        facts = facts_of(engine.model.config, engine.processor, precision, on_gpu=device == "cuda")
        return memory_sentence(config, facts)

    zero_gpu = bool(gate.settings.spaces_zero_gpu)
    return jobs, AdaptService(gate, jobs, adapters, submissions, bases, memory, zero_gpu=zero_gpu)
