"""One of several processes that train a shared model: CONFIG OUT RUN. Stops after two steps, and goes on.

accelerate takes CPUs for plain data parallelism; here they are taken for what `distributed_type: FSDP` says, and all
else is the libraries' own way.
"""

import sys
from pathlib import Path
from typing import Any

from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from torch.distributed.fsdp import FSDPModule

from finetune import run
from finetune.config import FinetuneConfig
from tests.finetune.run_maker import go

plugins: list[FullyShardedDataParallelPlugin] = []
true_init, true_finish = AcceleratorState.__init__, run.Training._finish


def init(state: AcceleratorState, *args: Any, fsdp_plugin: Any = None, **options: Any) -> None:
    """As usual; the first plugin stays."""
    true_init(state, *args, fsdp_plugin=fsdp_plugin, **options)
    plugins.extend([fsdp_plugin] if fsdp_plugin is not None else [])
    if plugins:
        state.distributed_type, state.fsdp_plugin = DistributedType.FSDP, plugins[0]


def finish(training: run.Training, *args: Any) -> Any:
    """As usual, once it is known that this was no plain parallelism."""
    assert isinstance(training.adapted, FSDPModule)
    assert training.trainer.accelerator.is_fsdp2
    return true_finish(training, *args)


def main(config: str, out: str, place: str) -> None:
    """Both parts of the run."""
    AcceleratorState.__init__ = init  # type: ignore[method-assign]
    run.Training._finish = finish  # type: ignore[method-assign]
    chosen = FinetuneConfig.from_yaml(Path(config))
    assert go(chosen, Path(out), Path(place), stop_after=2).outcome == "stopped"
    assert go(chosen, Path(out), Path(place)).outcome == "done"


if __name__ == "__main__":
    main(*sys.argv[1:])
