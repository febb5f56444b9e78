"""An evaluation shared among processes: nothing is lost or done twice, and the scores are those of one process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app
from evaluate import phantoms
from gazevlm_core.datasets.splits import split_of
from gazevlm_core.evaluation import dataset, predict
from gazevlm_core.ranks import Ranks, in_turns
from tests.evaluation.test_dataset import IMAGES, make_folder
from tests.fake_ranks import together
from tests.launching import launcher, run_ranks

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("number", [0, 1, 5, 12, 64, 65])
@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_parts_are_whole_batches_and_cover_everything_once(number: int, count: int) -> None:
    parts = [Ranks(index, count).part(number, 5) for index in range(count)]
    assert [item for part in parts for item in part] == list(range(number))
    assert all(part.start % 5 == 0 or not len(part) for part in parts)
    assert max(len(part) for part in parts) - min(len(part) for part in parts) <= 2 * 5


@pytest.mark.parametrize("number", [0, 1, 5, 12, 64])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_stream_is_dealt_out_in_batches_and_put_together_again(number: int, count: int) -> None:
    dealt = [list(Ranks(index, count).batches(iter(range(number)), 5)) for index in range(count)]
    assert [item for batch in in_turns(dealt) for item in batch] == list(range(number))
    assert in_turns(dealt) == list(Ranks().batches(range(number), 5))


def test_a_process_alone_needs_no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert Ranks.of_this_run() == Ranks(0, 1)
    assert Ranks().is_main
    assert not Ranks(1, 2).is_main
    assert Ranks().gather([1, 2]) == [[1, 2]]


@pytest.mark.parametrize("number", [0, 1, 5, 12])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_work_is_shared_and_put_together_again(number: int, count: int) -> None:
    """All work as often, which a model that processes share needs, and nothing is there twice."""
    done: list[list[int]] = [[] for _ in range(count)]

    def share(ranks: Ranks) -> list[int]:
        return ranks.share(range(number), lambda item: done[ranks.index].append(item) or item * item)

    found = [share(Ranks())] if count == 1 else together(count, share)
    assert found == [[item * item for item in range(number)]] * count
    assert len({len(items) for items in done}) == 1
    assert len(done[0]) == -(-number // count)
    assert {item for items in done for item in items} == set(range(number))


def test_what_one_process_raises_all_raise() -> None:
    """Else the others would wait for one that is gone."""

    def work(item: int) -> int:
        if item == 2:
            raise ValueError("item 2")
        return item

    def share(ranks: Ranks) -> str:
        with pytest.raises(ValueError, match="item 2") as caught:
            ranks.share(range(5), work)
        return str(caught.value)

    assert together(3, share) == ["item 2"] * 3
    assert together(2, lambda ranks: ranks.any(ranks.index == 1)) == [True, True]
    assert together(2, lambda ranks: ranks.any(False)) == [False, False]


PROGRAM = ("-m", "cli", "evaluate")
# Constant floors need no good constants here, intervals no width, and an untrained model never ends by itself.
FEW = {
    phantoms: {"OTHER_PHANTOMS": 4, "RESAMPLES": 40}, dataset: {"RESAMPLES": 40}, predict: {"REPORT_TOKENS": 8},
}  # fmt: skip
WITH_FEW = "\n".join([
    *(f"import {module.__name__}" for module in FEW),
    *(f"{module.__name__}.{name} = {value}" for module, values in FEW.items() for name, value in values.items()),
    "from cli.main import app",
    "app()",
])  # fmt: skip
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def scores_of_two(*arguments: str) -> dict:
    done = run_ranks(2, [sys.executable, "-c", WITH_FEW, "evaluate", *arguments, "--json"], ROOT, ENVIRONMENT)
    assert done.returncode == 0, done.stderr[-3000:]
    return read_scores(done.stdout)


def scores_of_one(*arguments: str) -> dict:
    done = CliRunner().invoke(app, ["evaluate", *arguments, "--json"])
    assert done.exit_code == 0, done.output
    return read_scores(done.stdout)


def read_scores(text: str) -> dict:
    values = json.loads(text)
    assert values.pop("seconds") > 0
    return values


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the processes that are started."""
    for module, values in FEW.items():
        for name, value in values.items():
            monkeypatch.setattr(module, name, value)


@pytest.mark.slow
@pytest.mark.usefixtures("few")
def test_two_processes_score_phantoms_like_one(tiny_checkpoint: Path) -> None:
    arguments = ["--n", "5", "--seed", "3", "--batch-size", "2", "--workers", "1", "--model", str(tiny_checkpoint)]
    assert scores_of_two(*arguments) == scores_of_one(*arguments)


@pytest.mark.slow
@pytest.mark.usefixtures("few")
def test_two_processes_score_a_data_set_like_one(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "set")
    number = next(number for number in range(IMAGES) if split_of(f"p{number // 2}") == "train")
    (folder / "images" / f"image{number:02}.png").write_bytes(b"no image")
    arguments = ["--dataset", "folder", "--root", str(folder), "--batch-size", "3", "--model", str(tiny_checkpoint)]
    both = scores_of_two(*arguments, "--split", "train")
    assert both["dropped"]["image that cannot be read"] == 1
    assert both == scores_of_one(*arguments, "--split", "train")


@pytest.mark.slow
def test_when_one_process_cannot_go_on_none_is_left_waiting(tmp_path: Path) -> None:
    command = [*launcher(2), *PROGRAM, "--dataset", "folder", "--root", str(tmp_path)]
    done = subprocess.run(command, env=ENVIRONMENT, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 1, done.stderr[-3000:]
    assert "holds neither images/ nor *.parquet" in done.stderr
