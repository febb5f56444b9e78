"""Fine-tuning as GazeVLM does it, against the plain `transformers.Trainer`: samples per second, and peak memory.

    python -m benchmarks.qlora_speed [--rounds 5] [--images 96] [--side-px 1024]

Both sides train the embedded model on the same samples in the same order, four questions about an image side by side,
with the same LoRA layers, heads, losses, batch size, optimizer and rates; their losses must agree. Ours computes an
image's tokens once for its questions (`questions_per_image`). The plain side is what PEFT and the Trainer do
by themselves: images are read from their files when they are wanted, as `datasets` does, processed, and shown to the
vision tower at each step. Ours reads them once and computes the tower's features first, which counts. Each side runs in
a fresh process with the allocator settings that jobs get; the last line is JSON.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from benchmarks.measure import Figure, own_peak_megabytes

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import TrainingArguments

    from finetune.base import Base
    from finetune.config import FinetuneConfig
    from finetune.examples import TrainingItems
    from gazevlm_core.inference import GazeEngine
    from gazevlm_core.sample import Sample

Side = Literal["ours", "plain"]
SIDES: tuple[Side, ...] = ("ours", "plain")
EPOCHS, BATCH, RATE = 4, 8, 1e-3
QUESTIONS = 4  # about an image, side by side: ours computes its tokens once for them
SIDE_PX = 1024  # of the images, as ChestX-ray14 and RSNA ship theirs
DRAWN_PX = 512  # and then enlarged: what they show does not matter here
FIRST_SEED = 9_100_000_000  # of phantoms that no training and no score uses
ROOT = Path(__file__).resolve().parents[1]
AGREEMENT = 1e-3  # of the mean losses, relative: adding in another order
CODE = "from pathlib import Path; from benchmarks.qlora_speed import train_side; train_side({side!r}, Path({data!r}))"


@dataclass(frozen=True)
class Trained:
    """One training in a process of its own.

    Args:
        samples_per_s: over all of the training, features included.
        peak_mb: resident memory of the process, from its start to its end.
        loss: mean over the training.
    """

    samples_per_s: float
    peak_mb: float
    loss: float


def ratios(rounds: Sequence[dict[Side, Trained]]) -> tuple[float, float]:
    """Median speedup and median ratio of peak memory, ours over plain, each taken within a round.

    Raises:
        ValueError: the losses of a round differ, so the sides did not do the same.
    """
    for one in rounds:
        ours, plain = one["ours"].loss, one["plain"].loss
        if not abs(ours - plain) <= AGREEMENT * abs(plain):
            raise ValueError(f"the two sides did not train alike: losses of {ours:.6f} and {plain:.6f}")
    speed = statistics.median(one["ours"].samples_per_s / one["plain"].samples_per_s for one in rounds)
    return speed, statistics.median(one["ours"].peak_mb / one["plain"].peak_mb for one in rounds)


def sides_of_round(number: int) -> tuple[Side, ...]:
    """Which side goes first changes from round to round."""
    return SIDES if number % 2 == 0 else SIDES[::-1]


# ---- in the child ---------------------------------------------------------------------------------------------------
def train_side(side: Side, data: Path) -> None:
    """Train once and print a `Trained` as JSON on the last line.

    Args:
        side: which way.
        data: a gaze folder.
    """
    from transformers import set_seed

    from finetune.base import load_base
    from finetune.cases import read_cases
    from finetune.config import FinetuneConfig
    from finetune.trainer import total_steps
    from gazevlm_core.quiet import quiet_libraries

    quiet_libraries()
    config = FinetuneConfig(
        annotations=(str(data),), epochs=EPOCHS, batch_size=BATCH, questions_per_image=QUESTIONS, device="cpu",
        learning_rate=RATE, heads_learning_rate=RATE,  # the plain Trainer knows one rate
    )  # fmt: skip
    cases, base = read_cases(config), load_base(config)
    steps = total_steps(config, len(cases), 1)
    set_seed(config.seed)
    with tempfile.TemporaryDirectory() as folder:
        train = _train_ours if side == "ours" else _train_plain
        seconds, loss = train(config, cases, base, steps, Path(folder))
    typer.echo(json.dumps(asdict(Trained(steps * BATCH / seconds, own_peak_megabytes(), loss))))


def _train_ours(
    config: "FinetuneConfig", cases: "list[Sample]", base: "Base", steps: int, folder: Path
) -> tuple[float, float]:
    """Seconds and mean loss of our Trainer on kept features."""
    from finetune.examples import AdaptCollator
    from finetune.features import FeatureStore, fill_features
    from finetune.trainer import AdaptTrainer

    adapted, arguments, items = trained_parts(config, cases, base.engine, steps, folder)
    store = FeatureStore(
        folder / "features", base.fingerprint, base.pixel_limits, base.engine.checkpoint.dtype
    )
    trainer = AdaptTrainer(
        model=adapted, args=arguments, train_dataset=items, heads_learning_rate=RATE,
        data_collator=AdaptCollator(base.engine.processor, base.engine.gaze_config, store=store),
    )  # fmt: skip
    start = time.perf_counter()
    fill_features(store, base.engine, cases)
    loss = trainer.train().training_loss
    return time.perf_counter() - start, loss


def _train_plain(
    config: "FinetuneConfig", cases: "list[Sample]", base: "Base", steps: int, folder: Path
) -> tuple[float, float]:
    """Seconds and mean loss of the plain Trainer on images in files."""
    from transformers import Trainer

    from gazevlm_core.training.collator import GazeCollator

    adapted, arguments, items = trained_parts(config, cases, base.engine, steps, folder)
    trainer = Trainer(
        model=adapted, args=arguments, train_dataset=items,
        data_collator=GazeCollator(base.engine.processor, base.engine.gaze_config, share_images=False),
    )  # fmt: skip
    start = time.perf_counter()
    loss = trainer.train().training_loss
    return time.perf_counter() - start, loss


def trained_parts(
    config: "FinetuneConfig", cases: "Sequence[Sample]", engine: "GazeEngine", steps: int, folder: Path
) -> "tuple[PeftModel, TrainingArguments, TrainingItems]":
    """PEFT model, arguments of the Trainer, and items in the order in which they are learned, on one process."""
    from finetune.adapted import adapt_model, adapted_config
    from finetune.examples import TrainingItems, draw_epochs
    from finetune.trainer import training_arguments

    adapted = adapt_model(engine.model, config, adapted_config(engine.gaze_config, config, cases, (), ()), ())
    draws = draw_epochs(cases, config, steps * config.batch_size * config.accumulation)
    arguments = training_arguments(
        config, folder / "checkpoints", steps, device=engine.model.device.type, dtype=engine.checkpoint.dtype
    )
    return adapted, arguments, TrainingItems(cases, draws, config, [{} for _ in cases])


# ---- in the parent --------------------------------------------------------------------------------------------------
def run_side(side: Side, data: Path) -> Trained:
    """Train in a fresh process.

    Raises:
        RuntimeError: it failed; with the end of what it said.
    """
    from finetune.jobs.process import CPU_ALLOCATOR

    command = [sys.executable, "-c", CODE.format(side=side, data=str(data))]
    environment = {**os.environ, **CPU_ALLOCATOR, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the {side} side failed: {done.stderr[-2000:]}")
    return Trained(**json.loads(done.stdout.strip().splitlines()[-1]))


def measure(rounds: int, images: int, side_px: int = SIDE_PX) -> list[dict[Side, Trained]]:
    """Both sides in turns, on annotations that are drawn first."""
    from PIL import Image

    from finetune.check import Task, mixed_seeds, write_annotations
    from gazevlm_core.datasets.folder import IMAGES

    found: list[dict[Side, Trained]] = []
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        write_annotations([Task(seed, False, DRAWN_PX) for seed in mixed_seeds(FIRST_SEED, images)], data)
        for path in (data / IMAGES).iterdir():
            Image.open(path).resize((side_px, side_px), Image.Resampling.BICUBIC).save(path)
        for number in range(rounds):
            found.append({side: run_side(side, data) for side in sides_of_round(number)})
            for side in SIDES:
                one = found[-1][side]
                typer.echo(f"{side:5} {one.samples_per_s:7.2f} samples/s {one.peak_mb:8.0f} MB", err=True)
    return found


def qlora_figures(rounds: int = 5, images: int = 96) -> list[Figure]:
    """What `make bench` shows of it."""
    speed, memory = ratios(measure(rounds, images))
    return [
        Figure("qlora_speedup", speed, "samples/s of fine-tuning, over the plain Trainer"),
        Figure("qlora_peak_memory_ratio", memory, "peak memory of the same"),
    ]


def main(
    rounds: Annotated[int, typer.Option(help="Measured rounds.", min=1)] = 5,
    images: Annotated[int, typer.Option(help="Annotated images; a multiple of 8.", min=8)] = 96,
    side_px: Annotated[int, typer.Option(help="Side of the images in their files.", min=64)] = SIDE_PX,
) -> None:
    """Measure and print."""
    found = measure(rounds, images, side_px)
    speed, memory = ratios(found)
    medians = {
        f"{side}_{name}": round(statistics.median(asdict(one[side])[name] for one in found), 4)
        for side in SIDES for name in ("samples_per_s", "peak_mb", "loss")
    }  # fmt: skip
    typer.echo(json.dumps({"qlora_speedup": round(speed, 4), "qlora_peak_memory_ratio": round(memory, 4), **medians}))


if __name__ == "__main__":
    typer.run(main)
