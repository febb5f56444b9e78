"""The page with all its tabs: the endpoints and tools are those of Diagnose, and no handler of another tab is one."""

import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from finetune.jobs.job import JOBS, Job, read_job
from finetune.jobs.service import JobService
from finetune.records import read_events
from gazevlm_core.inference import GazeEngine
from tests.adapter_maker import make_adapter
from tests.finetune.run_maker import quick, write_gaze_folder
from tests.launching import Program, free_port, run_program

GENEROUS_S = 200.0


def test_only_diagnose_has_endpoints(tiny_checkpoint: Path, tiny_engine: GazeEngine, tmp_path: Path) -> None:
    from annotate.export.training import StoreTrainingData
    from annotate.opening import open_teaching
    from app import build_app
    from diagnose.catalogue import Catalogue
    from finetune.opening import open_adapting
    from web.settings import Settings

    teaching = open_teaching(Settings(data=tmp_path))
    engines = {str(tiny_checkpoint): tiny_engine}
    submissions = StoreTrainingData(teaching.store)
    _, adapt = open_adapting(tmp_path, tmp_path / "adapters", teaching.gate, submissions, engines)
    page = build_app(Catalogue(engines), teaching, adapt)
    teaching.close()
    offered = page.get_api_info()
    assert list(offered["named_endpoints"]) == ["/diagnose", "/models"]
    assert offered["unnamed_endpoints"] == {}
    public = [call.api_name for call in page.fns.values() if call.api_visibility == "public"]
    assert sorted(map(str, public)) == ["diagnose", "models"], "MCP tools are made of these"
    assert len(page.fns) > 30, "the handlers of the other tabs are there"
    for part in (".gaze-badges", ".dashboard-tile", "#adapt-", "#evaluate-"):
        assert part in page.tab_heads, "styles of every tab"


def wait_until(happened: Callable[[], bool], process: Program, said: Path) -> None:
    deadline = time.monotonic() + GENEROUS_S
    while not happened():
        assert process.poll() is None, said.read_text()
        assert time.monotonic() < deadline, said.read_text()
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_program_that_is_told_to_end_pauses_its_training_first(
    repository: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    data, said = tmp_path / "data", tmp_path / "said.txt"
    jobs = JobService(data / JOBS, data / "adapters")  # not started: the program does that
    config = quick(write_gaze_folder(tmp_path / "gaze"), tiny_checkpoint, max_steps=5000, evaluations=1, checkpoints=1)
    folder = data / JOBS / jobs.submit("mine", config, "somebody").job_id
    environment = {
        **os.environ, "GAZEVLM_DATA": str(data), "GAZEVLM_MODEL": str(tiny_checkpoint), "GAZEVLM_STARTERS": "0",
        "GRADIO_SERVER_PORT": str(free_port()), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1",
    }  # fmt: skip

    def job() -> Job:
        return read_job(folder)

    process = Program([sys.executable, "app.py"], repository, environment, said)
    try:
        wait_until(lambda: any(one["event"] == "step" for one in read_events(folder / "run")[0]), process, said)
        wait_until(lambda: "Running on local URL" in said.read_text(), process, said)
        trainer = job().pid
        process.send_signal(signal.SIGTERM)
        assert process.wait(GENEROUS_S) == 0, said.read_text()
    finally:
        process.kill()
        process.wait()
    assert job().state == "queued", "it goes on at the next start"
    assert job().cause.startswith("Interrupted when the app was closed at step")
    assert trainer is not None
    assert not psutil.pid_exists(trainer)
    assert "Traceback" not in said.read_text()


def test_every_tab_opens_while_the_folder_of_the_usual_adapter_is_gone(tiny_checkpoint: Path, tmp_path: Path) -> None:
    from annotate.export.training import StoreTrainingData
    from annotate.opening import open_teaching
    from app import build_app
    from diagnose.catalogue import Catalogue
    from diagnose.tab.result import Visit
    from finetune.opening import open_adapting
    from web.settings import Settings

    teaching = open_teaching(Settings(data=tmp_path))
    engines = {str(tiny_checkpoint): GazeEngine.load(str(tiny_checkpoint), device="cpu")}
    submissions = StoreTrainingData(teaching.store)
    _, adapt = open_adapting(tmp_path, tmp_path / "adapters", teaching.gate, submissions, engines)
    folder = make_adapter(tiny_checkpoint, tmp_path / "adapters" / "mine")
    catalogue = Catalogue(engines, adapter=folder, adapters=folder.parent)
    page = build_app(catalogue, teaching, adapt)
    adapted, bare = catalogue.choices()

    def opened() -> list[str]:
        """The models that the pickers of Diagnose and Evaluate show when the page is opened."""
        shown = []
        for call in page.fns.values():
            pickers = [part for part in call.outputs if part.elem_id in ("model", "evaluate-model")]
            if pickers and any(event == "load" for _, event in call.targets):
                values = call.fn(*((Visit(), SimpleNamespace(query_params={})) if call.name == "opened" else ()))
                shown.append(values[pickers[0]].value)
        return shown

    assert opened() == [adapted, adapted]
    shutil.rmtree(folder)
    assert opened() == [bare, bare]
    build_app(catalogue, teaching, adapt)
    teaching.close()


@pytest.mark.parametrize("setting", [{"GAZEVLM_MODEL": "./nowhere"}, {"GAZEVLM_ADAPTERS": "nowhere"}])
def test_bad_setting_stops_the_start_with_one_line(repository: Path, setting: dict[str, str]) -> None:
    result = run_program([sys.executable, "app.py"], repository, {**os.environ, **setting})
    assert result.returncode == 1
    assert re.fullmatch(rf"gazevlm: {next(iter(setting))} is '.*nowhere', which is no folder; give .*\n", result.stderr)
