"""Start the page: `python app.py`, on 127.0.0.1:7860 unless GRADIO_SERVER_NAME and GRADIO_SERVER_PORT say otherwise.

GAZEVLM_MODEL (shipped names, folders or Hub ids, separated by commas), GAZEVLM_ADAPTER (a folder) and GAZEVLM_ADAPTERS
(a folder of adapters) choose what can answer; GAZEVLM_MCP=1 offers the endpoints as MCP tools. GAZEVLM_DATA is the
folder that annotations are kept in; README.md has all settings.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

import spaces  # before anything of ours: on a ZeroGPU Space it has to come before torch
from PIL import Image

from diagnose.service import gpu_seconds
from gazevlm_core.options import DiagnoseOptions
from gazevlm_core.quiet import quiet_libraries
from web.settings import Settings, SettingsError

if TYPE_CHECKING:
    from annotate.opening import Teaching
    from diagnose.catalogue import Catalogue
    from finetune.jobs.service import JobService
    from finetune.tab.service import AdaptService
    from gazevlm_core.inference import GazeEngine, LazyEngine
    from web.blocks import Page
    from web.models import Ask


def build_app(
    catalogue: "Catalogue", teaching: "Teaching", adapt: "AdaptService", gpu: Callable[["Ask"], "Ask"] = lambda ask: ask
) -> "Page":
    """Return the page with all tabs around the loaded models.

    Args:
        catalogue: what can answer, one question at a time.
        teaching: where annotations are kept, and who may annotate.
        adapt: what is done with trainings.
        gpu: wraps the one function that computes; on a ZeroGPU Space, `spaces.GPU(...)`.
    """
    from annotate.dashboard.page import dashboard_tab
    from annotate.tab.page import annotate_tab
    from annotate.tab.service import AnnotationService
    from diagnose.tab.page import diagnose_tab
    from evaluate.tab.page import evaluate_tab
    from finetune.tab.page import adapt_tab
    from web.page import build_page

    ask = gpu(catalogue.ask)
    service = AnnotationService(teaching.store, catalogue, ask, teaching.gate, findings=teaching.findings)
    return build_page([
        diagnose_tab(catalogue, ask), annotate_tab(service), dashboard_tab(teaching.dashboard), adapt_tab(adapt),
        evaluate_tab(catalogue, ask),
    ])  # fmt: skip


def main() -> None:
    """Load the models once, then serve; a bad setting ends the start with one line."""
    try:
        settings = Settings.from_environment(os.environ)
    except SettingsError as error:
        sys.exit(f"gazevlm: {error}")
    quiet_libraries()
    from annotate.export.training import StoreTrainingData
    from annotate.opening import open_teaching
    from annotate.store.model import StoreError
    from diagnose.catalogue import Catalogue
    from finetune.opening import make_adapters_folder, open_adapting
    from gazevlm_core.model.adapters import AdapterError
    from gazevlm_core.model.checkpoint import CheckpointError
    from web.page import launch_options

    try:
        engines = open_models(settings)
        adapters = settings.adapters or make_adapters_folder(settings.data)
        catalogue = Catalogue(engines, adapter=settings.adapter, adapters=adapters)
        teaching = open_teaching(settings)
        jobs, adapt = open_adapting(settings.data, adapters, teaching.gate, StoreTrainingData(teaching.store), engines)
        jobs.start()
    except (CheckpointError, AdapterError, StoreError, ValueError) as error:
        sys.exit(f"gazevlm: {error}")

    def duration(model: str, image: Image.Image, question: str, options: DiagnoseOptions) -> int:
        return gpu_seconds(catalogue.find(model).gaze.num_gaze_tokens, options)

    if settings.token_is_new:
        token = settings.admin_token.get_secret_value()
        sys.stdout.write(f"Token of the admin, until the next start (GAZEVLM_ADMIN_TOKEN sets one): {token}\n")
    teaching.start()
    signal.signal(signal.SIGTERM, interrupt)  # after `start`, whose sync would end the process by itself
    try:
        page = build_app(catalogue, teaching, adapt, gpu=spaces.GPU(duration=duration))
        page.launch(**launch_options(page, settings), mcp_server=settings.mcp)
    finally:
        close(jobs, teaching)


def open_models(settings: Settings) -> "dict[str, GazeEngine | LazyEngine]":
    """Return the models that can answer, the usual one first. Those that ship beside it are loaded when they are first
    chosen; not on ZeroGPU, where an answer is given by a process of its own.

    Raises:
        CheckpointError: one cannot be loaded.
    """
    from gazevlm_core.inference import GazeEngine, LazyEngine
    from gazevlm_core.options import shipped_models

    first, *others = settings.model or shipped_models()
    later = not settings.model and not settings.spaces_zero_gpu
    engines: dict[str, GazeEngine | LazyEngine] = {first: GazeEngine.load(first)}
    for source in others:
        engines[source] = LazyEngine(source) if later else GazeEngine.load(source)
    return engines


def interrupt(_number: int, _frame: FrameType | None) -> None:
    """End as Ctrl-C does: a Space that is restarted, like a container that is stopped, sends SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # from here on everything is being closed
    raise KeyboardInterrupt


def close(jobs: "JobService", teaching: "Teaching") -> None:
    """Let a training keep a checkpoint while annotations are synced: a Space is killed half a minute after SIGTERM."""
    pausing = threading.Thread(target=jobs.close, name="close-jobs")
    pausing.start()
    teaching.close()
    pausing.join()


if __name__ == "__main__":
    main()
