"""The Adapt tab on a fake trainer: `python -m tests.finetune.adapt_page PORT FOLDER [zero]`."""

import os
import sys
from pathlib import Path

from finetune.jobs.service import JobService
from tests.finetune.adapt_maker import make_service

TICK_S = 1.0  # what goes on is asked for more often than elsewhere
COMMAND = (sys.executable, "-m", "tests.finetune.adapt_trainer")


def main(port: int, folder: Path, *, zero_gpu: bool) -> None:
    """Serve until the process ends."""
    import gradio as gr

    from finetune.tab import watch
    from finetune.tab.page import adapt_tab
    from web.page import QUIET, Tab, build_page, launch_options

    os.environ["PYTHONPATH"] = str(Path(__file__).parents[2])
    jobs = JobService(folder / "jobs", folder / "adapters", command=COMMAND, poll_s=0.05)
    jobs.start()
    watch.REFRESH_S = TICK_S
    service = make_service(jobs, adapters=folder / "adapters", zero_gpu=zero_gpu)

    def first(page: gr.Blocks) -> None:
        asked = gr.Textbox(label="Model", elem_id="asked")

        def opened(request: gr.Request) -> str:
            return request.query_params.get("model", "")

        page.load(opened, None, asked, **QUIET)

    page = build_page([Tab("Diagnose", "diagnose", first), adapt_tab(service)])
    try:
        page.launch(server_name="127.0.0.1", server_port=port, quiet=True, **launch_options(page))
    finally:
        jobs.close()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), zero_gpu="zero" in sys.argv[3:])
