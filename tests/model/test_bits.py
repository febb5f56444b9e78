"""What a start does not need is not loaded: torch's compiler comes with the first function that is compiled, and PEFT
with the first adapter."""

import subprocess
import sys
from pathlib import Path

import torch

from gazevlm_core.model.bits import COMPILE, compiled_later

COMPILER = "torch._inductor.compile_fx"
START = f"""
import sys
from gazevlm_core.inference import GazeEngine
engine = GazeEngine.load("gazevlm-nano")
from diagnose.service import draw_example
engine.diagnose(draw_example(0))
assert "bitsandbytes" in sys.modules
assert "{COMPILER}" not in sys.modules, "torch's compiler was loaded for an answer"
assert "peft" not in sys.modules, "PEFT was loaded without an adapter"
"""


def test_an_answer_loads_neither_compiler_nor_peft(repository: Path) -> None:
    done = subprocess.run([sys.executable, "-c", START], cwd=repository, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_function_is_compiled_once_when_it_is_called() -> None:
    calls = []

    def backend(graph: torch.fx.GraphModule, _inputs: list[torch.Tensor]) -> object:
        calls.append("compiled")
        return graph.forward

    @compiled_later(backend=backend, dynamic=False)
    def double(values: torch.Tensor) -> torch.Tensor:
        """Twice."""
        return 2 * values

    assert (calls, double.__doc__) == ([], "Twice.")
    for _ in range(2):
        assert double(torch.ones(3)).tolist() == [2, 2, 2]
    assert calls == ["compiled"]
    assert torch.compile is COMPILE, "torch's own is back"
