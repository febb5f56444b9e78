"""Runs of a few steps on an untrained model and painted squares, for tests of what a run does and leaves behind."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from finetune.config import FinetuneConfig
from finetune.records import Ending, read_events
from finetune.stopping import StopRequest

IMAGES, SIDE_PX = 8, 64
FINDINGS = ("cardiomegaly", "pneumothorax")
QUICK: dict[str, Any] = {
    "max_steps": 6, "batch_size": 2, "num_gaze_tokens": 4, "min_pixels": 3136, "max_pixels": 3136, "evaluations": 2,
    "checkpoints": 3, "lora_rank": 4, "lora_alpha": 8, "held_out_share": 0.3,
}  # fmt: skip


def write_gaze_folder(folder: Path, *, images: int = IMAGES, seed: int = 0, dwell: bool = True) -> Path:
    """Images with a bright square, two readers who look at it first, and findings that it decides."""
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    paths, studies = [], []
    for number in range(images):
        name = f"{number}.png"
        pixels = rng.integers(0, 60, (SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
        column, row = (int(one) for one in rng.integers(0, SIDE_PX - 16, 2))
        pixels[row : row + 16, column : column + 16] = 230
        Image.fromarray(pixels).save(folder / "images" / name)
        for reader in ("ada", "ben"):
            x = [(column + 8) / SIDE_PX, *rng.random(2).round(4).tolist()]
            y = [(row + 8) / SIDE_PX, *rng.random(2).round(4).tolist()]
            line = {"image_id": name, "reader": reader, "source": "click", "x": x, "y": y}
            paths.append({**line, "duration_ms": [300.0, 200.0, 250.0]} if dwell else line)
        ticks = {FINDINGS[0]: int(column > SIDE_PX // 2 - 8), FINDINGS[1]: number % 2}
        studies.append({"image_id": name, "findings": ticks, "report": "A square." if number % 3 else None})
    for file, lines in (("scanpaths.jsonl", paths), ("studies.jsonl", studies)):
        (folder / file).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return folder


def quick(folder: Path | str, base: Path, **values: Any) -> FinetuneConfig:
    """A configuration of six short steps; `values` go before."""
    return FinetuneConfig.from_values({"annotations": (str(folder),), "base": str(base), **QUICK, **values})


class StopAfter(StopRequest):
    """A request to end that comes after so many steps of this process."""

    def __init__(self, steps: int | None) -> None:
        super().__init__()
        self.left = steps

    def listen(self) -> None:
        """Leave the signals of the test's process alone."""

    def check(self) -> None:
        """Never before the first step."""

    def __call__(self) -> bool:
        """After the last of the steps."""
        return self.left == 0


@contextmanager
def _in_small(steps: int | None) -> Iterator[None]:
    import torch

    from finetune import before_after, command
    from finetune.trainer import RunCallback

    stop, on_step_end = StopAfter(steps), RunCallback.on_step_end

    def counted(callback: RunCallback, *args: Any, **values: Any) -> Any:
        if stop.left:
            stop.left -= 1
        return on_step_end(callback, *args, **values)

    kept, threads = (command.StopRequest, before_after.MOST_TOKENS), torch.get_num_threads()
    torch.set_num_threads(1)  # quicker for a model this small, and sums do not depend on the machine
    command.StopRequest = lambda: stop  # type: ignore[assignment,misc]
    RunCallback.on_step_end = counted  # type: ignore[method-assign]
    before_after.MOST_TOKENS = 2  # an untrained model never ends by itself
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        RunCallback.on_step_end = on_step_end  # type: ignore[method-assign]
        command.StopRequest, before_after.MOST_TOKENS = kept


def go(config: FinetuneConfig, out: Path, run: Path, *, stop_after: int | None = None) -> Ending:
    """What the command does once its flags are read; `stop_after` counts the steps of this call."""
    from finetune.command import run_process

    with _in_small(stop_after):
        return run_process(config, out, run)


def tensors(folder: Path) -> dict[str, str]:
    """The SHA-256 of each safetensors file of an adapter: what is unequal is told at once, not byte by byte."""
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("*.safetensors"))}
    assert set(files) == {"adapter_model.safetensors", "gaze_heads.safetensors"}
    return files


def events(run: Path, kind: str) -> list[dict[str, Any]]:
    """Events of a kind."""
    return [event for event in read_events(run)[0] if event["event"] == kind]


def losses(run: Path) -> dict[int, dict[str, float]]:
    """Step -> its numbers; of a step that was done twice, each is the same."""
    found: dict[int, dict[str, float]] = {}
    for event in events(run, "step"):
        values = {name: value for name, value in event.items() if name not in ("event", "time_s")}
        assert found.setdefault(event["step"], values) == values
    return found
