"""Several processes learn what one does; a model that they share is saved and loaded as a whole."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from cli.main import app
from finetune import command
from finetune.config import ConfigError, FinetuneConfig
from finetune.prepare import check_begun
from finetune.records import EXIT_FILE, LOG_FILE, Ending, read_ending, read_events, write_ending
from gazevlm_core.model.adapters import save_adapter
from tests.finetune.run_maker import events, go, losses, quick, tensors
from tests.launching import free_port, launcher, run_ranks


def environment_of(repository: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1"}


def run_two(repository: Path, *words: str) -> None:
    """On two processes, to the end."""
    done = run_ranks(2, [sys.executable, *words], repository, environment_of(repository))
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
def test_two_processes_learn_what_one_does(
    repository: Path, gaze_folder: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    values = {"lora_dropout": 0.0, "patience": 4, "max_steps": 4}
    one = quick(gaze_folder, tiny_checkpoint, batch_size=4, **values)
    two = quick(gaze_folder, tiny_checkpoint, batch_size=2, **values)
    assert go(one, tmp_path / "one", tmp_path / "one.run").outcome == "done"
    (tmp_path / "two.yaml").write_text(two.to_yaml(), encoding="utf-8")
    words = ["-m", "finetune", "--config", str(tmp_path / "two.yaml"), "--out", str(tmp_path / "two")]
    run_two(repository, *words)
    ours, theirs = losses(tmp_path / "two.run"), losses(tmp_path / "one.run")
    assert ours.keys() == theirs.keys() == {1, 2, 3, 4}
    for step, numbers in ours.items():
        assert numbers == pytest.approx(theirs[step], rel=1e-4), step
    kinds = [[event["event"] for event in read_events(tmp_path / run)[0]] for run in ("two.run", "one.run")]
    assert kinds[0] == kinds[1], "one process alone writes"
    assert len(events(tmp_path / "two.run", "end")) == 1
    assert read_ending(tmp_path / "two.run") == read_ending(tmp_path / "one.run")
    weights = [load_file(tmp_path / name / "adapter_model.safetensors") for name in ("two", "one")]
    for name, tensor in weights[0].items():
        torch.testing.assert_close(tensor, weights[1][name], rtol=1e-3, atol=1e-4, msg=name)
    kept = tmp_path / "two.run" / "checkpoints" / "checkpoint-4"
    assert {path.name for path in kept.glob("rng_state*")} == {"rng_state_0.pth", "rng_state_1.pth"}


STEPS, START_S = 80, 240


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_launch_is_stopped_refused_and_gone_on_with(
    repository: Path, gaze_folder: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    config = quick(gaze_folder, tiny_checkpoint, batch_size=1, max_steps=STEPS, evaluations=1, checkpoints=1)
    (tmp_path / "config.yaml").write_text(config.to_yaml(), encoding="utf-8")
    words = ["-m", "finetune", "--config", str(tmp_path / "config.yaml"), "--out", str(tmp_path / "adapter")]
    run, said = tmp_path / "adapter.run", tmp_path / "said.txt"
    with said.open("wb") as output:
        process = start(repository, words, output)
        try:
            deadline = time.monotonic() + START_S
            while not events(run, "step"):
                assert process.poll() is None, said.read_text()
                assert time.monotonic() < deadline, said.read_text()
                time.sleep(0.05)
            process.send_signal(signal.SIGTERM)
            assert process.wait(START_S) == 1, "the launcher's own status, whatever the run ended with"
        finally:
            process.kill()
            process.wait()
    ending, log = read_ending(run), (run / LOG_FILE).read_bytes()
    assert ending is not None
    assert ending.outcome == "stopped", said.read_text()
    assert 0 < ending.step < STEPS
    refused = run_ranks(2, [sys.executable, *words], repository, environment_of(repository))
    assert refused.returncode == 2
    assert "holds a run already; give --resume" in refused.stderr
    assert (read_ending(run), (run / LOG_FILE).read_bytes()) == (ending, log), "the others left it alone"
    run_two(repository, *words, "--resume")
    assert [event["step"] for event in events(run, "step")] == list(range(1, STEPS + 1))


def start(repository: Path, words: list[str], output: IO[bytes]) -> subprocess.Popen[bytes]:
    """On two processes, as users do."""
    return subprocess.Popen(
        [*launcher(2), *words], cwd=repository, env=environment_of(repository), stdout=output, stderr=subprocess.STDOUT
    )


def test_the_main_process_alone_looks_whether_a_run_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It writes the log at once, which the others must not take for an earlier run's."""
    begun: list[str] = []

    def run_process(*_: object) -> Ending:
        begun.append(os.environ["RANK"])
        return Ending("done", "It is better.")

    monkeypatch.setattr(command, "run_process", run_process)
    (tmp_path / "adapter.run").mkdir()
    (tmp_path / "adapter.run" / LOG_FILE).write_text('{"event": "step", "step": 1}\n', encoding="utf-8")
    words = ["finetune", "--annotations", "data", "--out", str(tmp_path / "adapter"), "--device", "cpu"]
    for rank, status in (("0", 2), ("1", 0)):
        monkeypatch.setenv("RANK", rank)
        assert CliRunner().invoke(app, words).exit_code == status
    assert begun == ["1"]


def test_a_run_is_gone_on_with_on_as_many_processes(tmp_path: Path) -> None:
    """Fewer ended as done after half of the steps; more learned everything again."""
    config = FinetuneConfig(annotations=("data",))
    check_begun(tmp_path, config, (), writes=True, processes=2)
    check_begun(tmp_path, config, (), writes=False, processes=2)
    with pytest.raises(ConfigError, match="was begun on 2 processes, not 1; launch as many again, or give another"):
        check_begun(tmp_path, config, (), writes=True, processes=1)


def test_the_other_processes_leave_an_ending_alone(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The main one may have been refused, and it is then that of another run."""
    (tmp_path / "run").mkdir()
    write_ending(tmp_path / "run", Ending("done", "It is better.", 6))
    monkeypatch.setenv("RANK", "1")
    ending = go(quick(tmp_path / "nowhere", tiny_checkpoint), tmp_path / "place" / "adapter", tmp_path / "run")
    assert ending.outcome == "failed"
    assert [path.name for path in (tmp_path / "run").iterdir()] == [EXIT_FILE]
    assert not (tmp_path / "place").exists()


@pytest.mark.slow
def test_processes_that_share_a_model_save_and_load_the_whole(
    repository: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    child = repository / "tests/finetune/shard_save_child.py"
    run_two(repository, str(child), str(tiny_checkpoint), str(tmp_path))
    saved = {name: tensors(tmp_path / name) for name in ("whole", "shared", "other", "taken")}
    assert saved["shared"] == saved["whole"]
    assert saved["taken"] == saved["other"]
    assert saved["taken"] != saved["shared"]


FSDP = """
compute_environment: LOCAL_MACHINE
distributed_type: FSDP
mixed_precision: "no"
num_machines: 1
machine_rank: 0
use_cpu: true
fsdp_config:
  fsdp_version: 2
  fsdp_reshard_after_forward: true
  fsdp_auto_wrap_policy: TRANSFORMER_BASED_WRAP
  fsdp_transformer_layer_cls_to_wrap: Qwen2_5_VLDecoderLayer,Qwen2_5_VLVisionBlock
  fsdp_state_dict_type: FULL_STATE_DICT
  fsdp_cpu_ram_efficient_loading: false
  fsdp_offload_params: false
  fsdp_activation_checkpointing: false
"""  # as in docs/how-to/fine-tune-on-gpus.md, on CPUs


@pytest.mark.slow
def test_processes_that_share_a_model_in_four_bits_learn_what_one_does(
    repository: Path, gaze_folder: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    values = {"precision": "nf4", "fsdp_storage": True, "gradient_checkpointing": True}
    values.update(max_steps=4, lora_dropout=0.0)
    one = quick(gaze_folder, tiny_checkpoint, batch_size=2, **values)
    assert go(one, tmp_path / "one", tmp_path / "one.run").outcome == "done"
    two = quick(gaze_folder, tiny_checkpoint, batch_size=1, **values)
    (tmp_path / "two.yaml").write_text(two.to_yaml(), encoding="utf-8")
    (tmp_path / "fsdp.yaml").write_text(FSDP, encoding="utf-8")
    child = repository / "tests/finetune/fsdp_child.py"
    words = [str(tmp_path / name) for name in ("two.yaml", "two", "two.run")]
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(tmp_path / "fsdp.yaml")]
    launch += ["--main_process_port", str(free_port()), "--num_processes", "2", str(child), *words]
    done = subprocess.run(
        launch, cwd=repository, env=environment_of(repository), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert losses(tmp_path / "two.run").keys() == {1, 2, 3, 4}
    for step, numbers in losses(tmp_path / "two.run").items():
        assert numbers == pytest.approx(losses(tmp_path / "one.run")[step], rel=1e-4), step
    for file in tensors(tmp_path / "one"):
        ours, theirs = load_file(tmp_path / "two" / file), load_file(tmp_path / "one" / file)
        assert ours.keys() == theirs.keys()
        for name, tensor in ours.items():
            torch.testing.assert_close(tensor, theirs[name], rtol=1e-3, atol=1e-4, msg=name)


def test_a_given_state_is_what_is_saved(tiny_checkpoint: Path, tmp_path: Path) -> None:
    from finetune.adapted import adapt_model, adapted_config
    from gazevlm_core.model.checkpoint import load_checkpoint

    config = quick("none", tiny_checkpoint, dora=True)
    model = load_checkpoint(str(tiny_checkpoint), device="cpu").model
    adapted = adapt_model(model, config, adapted_config(model.config.gaze_config, config, [], [], []), [])
    save_adapter(adapted, tmp_path / "own")
    state = {name: tensor.clone() for name, tensor in adapted.state_dict().items()}
    save_adapter(adapted, tmp_path / "same", state)
    assert tensors(tmp_path / "same") == tensors(tmp_path / "own")
    for tensor in state.values():
        tensor.add_(1)
    save_adapter(adapted, tmp_path / "other", state)
    for file in tensors(tmp_path / "own"):
        before, after = load_file(tmp_path / "own" / file), load_file(tmp_path / "other" / file)
        assert before.keys() == after.keys()
        for name, tensor in before.items():
            assert torch.equal(after[name], tensor + 1), name
    with pytest.raises(KeyError):
        save_adapter(adapted, tmp_path / "none", {name: one for name, one in state.items() if "gaze_heads" not in name})
