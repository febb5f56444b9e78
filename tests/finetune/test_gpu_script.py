"""The script for a GPU in ten minutes: its budget, and its small form on a CPU."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import gpu
from benchmarks.gpu import BUDGET_S, PARTS, last_json, run_parts
from benchmarks.gpu_parts import PARTS as WORK
from benchmarks.gpu_parts import Work, outcomes


class Clock:
    """Seconds that pass as parts take them."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def budget(seconds: float, takes: dict[str, float]) -> tuple[dict, dict[str, float], list[dict], float]:
    """What was found, what each part was allowed, what was told, and when all was over."""
    clock, allowed, told = Clock(), {}, []

    def run(name: str, own: float) -> dict[str, Any]:
        allowed[name] = own
        clock.now += min(own, takes.get(name, 0.0))
        return {"figure": 1}

    found = run_parts(list(PARTS), seconds, run, lambda values: told.append(json.loads(json.dumps(values))), {}, clock)
    return found, allowed, told, clock.now


def test_the_parts_fit_the_budget_however_slow_they_are() -> None:
    assert BUDGET_S <= 8 * 60
    assert sum(PARTS.values()) <= BUDGET_S
    for seconds in (BUDGET_S, 240, 60, 1):
        found, _, told, end = budget(seconds, dict.fromkeys(PARTS, 1e9))
        assert end <= seconds
        assert found.keys() == PARTS.keys()
        assert [len(values) for values in told] == list(range(1, len(PARTS) + 1)), "told after every part"
    assert all(values == {"not_run": "no time was left"} for values in found.values())


def test_a_slow_part_takes_nothing_of_the_others() -> None:
    found, allowed, _, _ = budget(BUDGET_S, {"qlora_3b": 1e9})
    assert all("not_run" not in values for values in found.values())
    assert all(allowed[part] >= share - gpu.ENDING_S for part, share in PARTS.items())
    assert budget(BUDGET_S, {})[1]["tests"] > 130, "what others left over may be used"


def test_figures_of_a_part_that_was_cut_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert last_json('words\n{"a": 1}\n{"a": 1, "b": 2}\n{"a": 1, "b') == {"a": 1, "b": 2}
    assert last_json("nothing") == {}
    slow = "import sys, time; sys.stdout.write('{\"a\": 1}\\n'); sys.stdout.flush(); time.sleep(60)"
    true_popen = subprocess.Popen
    monkeypatch.setattr(gpu.subprocess, "Popen", lambda _, **how: true_popen([sys.executable, "-c", slow], **how))
    assert gpu.run_part("device", 3, small=True, folder=tmp_path) == {"a": 1, "failed": "cut after 3 s"}


def test_outcomes_of_tests_by_hand(tmp_path: Path) -> None:
    (tmp_path / "tests.xml").write_text(
        '<testsuites><testsuite><testcase name="a"/><testcase name="b"><failure message="m">long</failure></testcase>'
        '<testcase name="c"><skipped/></testcase></testsuite></testsuites>'
    )
    assert outcomes(tmp_path / "tests.xml") == {"passed": 1, "skipped": 1, "failures": {"b": "m ... long"}}


def test_every_part_is_one_that_there_is() -> None:
    assert PARTS.keys() == WORK.keys()


@pytest.mark.slow
def test_the_small_form_runs_on_a_cpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every part that makes a model: random weights in 4 bits, drawn where they lie, looked with and trained."""
    state = torch.get_rng_state()
    for name in ("device", "overhead_3b", "qlora_3b"):
        WORK[name](Work(200.0, tmp_path, True))
        figures = last_json(capsys.readouterr().out)
        if name == "overhead_3b":
            assert figures["gaze_overhead_3b_width"] > 0
        if name == "qlora_3b":
            assert figures["steps"] == 3
            assert figures["images_per_s"] > 0
            assert all(0 < loss < 100 for loss in figures["losses"])
            assert {"gaze_loss", "text_loss"} <= figures["held_out"].keys()
            assert figures["reloaded_alike"] is True
    torch.set_rng_state(state)


@pytest.mark.slow
def test_a_random_model_is_whole(tmp_path: Path) -> None:
    """Nothing is left on the meta device, and what is not drawn is what a model that is built in the usual way has."""
    from bitsandbytes.nn import Linear4bit

    from benchmarks.random_model import base_config, random_engine

    model = random_engine(tmp_path, base_config("small"), torch.device("cpu")).model
    assert {one.device.type for one in (*model.parameters(), *model.buffers())} == {"cpu"}
    usual = type(model)(model.config)
    expected = dict(usual.named_buffers())
    assert expected.keys() == dict(model.named_buffers()).keys() & expected.keys()
    for name, buffer in expected.items():
        torch.testing.assert_close(dict(model.named_buffers())[name], buffer, msg=name)
    layers = [module for module in model.modules() if isinstance(module, Linear4bit)]
    assert len(layers) == 2 * 7, "the language model's, and no others"
    assert all(layer.weight.quant_state is not None for layer in layers)
    assert {p.dtype for p in model.gaze_heads.parameters()} == {torch.float32}
    assert model.lm_head.weight is model.get_input_embeddings().weight
    norms = [p for name, p in model.named_parameters() if "norm" in name and name.endswith("weight")]
    assert norms
    assert all(bool((one == 1).all()) for one in norms)
