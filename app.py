"""Starts the page: `python app.py`, on 127.0.0.1:7860 unless GRADIO_SERVER_NAME and GRADIO_SERVER_PORT say otherwise.

GAZEVLM_MODEL (a shipped name, a folder or a Hub id) and GAZEVLM_ADAPTER (a folder) choose what answers.
"""

import os
import sys
from pathlib import Path

import spaces  # before anything of ours: on a ZeroGPU Space it has to come before torch
from PIL import Image

from diagnose.service import Settings, SettingsError, gpu_seconds
from gazevlm_core.options import DiagnoseOptions
from gazevlm_core.quiet import quiet_libraries


def main() -> None:
    """Load the model once, then serve; a bad setting ends the start with one line."""
    try:
        settings = Settings.from_environment(os.environ)
    except SettingsError as error:
        sys.exit(f"gazevlm: {error}")
    quiet_libraries()
    from diagnose.scores import read_scores
    from diagnose.ui import build_app, launch
    from gazevlm_core.inference import GazeEngine
    from gazevlm_core.model.adapters import AdapterError
    from gazevlm_core.model.checkpoint import CheckpointError, resolve_source

    try:
        engine = GazeEngine.load(settings.model, adapter=settings.adapter)
        # The scores are those of the bare checkpoint; an adapter's would be others.
        scores = None if settings.adapter else read_scores(Path(resolve_source(settings.model)))
    except (CheckpointError, AdapterError, ValueError) as error:
        sys.exit(f"gazevlm: {error}")

    def duration(image: Image.Image, question: str, options: DiagnoseOptions) -> int:
        return gpu_seconds(engine.gaze_config.num_gaze_tokens, options)

    launch(build_app(engine, gpu=spaces.GPU(duration=duration), scores=scores))


if __name__ == "__main__":
    main()
