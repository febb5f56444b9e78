"""Does fine-tuning work? `python -m finetune.check` trains on simulated annotations and scores on other phantoms.

Two runs of the embedded model with nothing set but the data, each through the command that users run: 60 annotations of
a finding that the model was never trained on, and 40 of a reader with another habit of search. The last line is JSON.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import count, filterfalse, islice
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image

from gazevlm_core.datasets.folder import write_gaze_folder
from gazevlm_core.findings import FINDING_NAMES, HELD_OUT_FINDING_NAMES
from gazevlm_core.sample import Reading, Sample
from gazevlm_core.scanpath import Fixation, Scanpath
from phantoms.make import make_phantom, sample_case
from phantoms.readers import HELD_OUT_READER, READERS, clicking, simulate_reading

FINDING = HELD_OUT_FINDING_NAMES[0]
FIRST_SEED = 7_300_000_000  # far from training and from every evaluation that starts at a small seed
SIZE_PX = 336
FINDING_ANNOTATIONS, HABIT_ANNOTATIONS = 60, 40
SCORED = 240  # phantoms, half of them with the finding
BARS = {"finding_gain": 0.15, "others_loss": 0.01, "habit_gain": 0.1, "seconds": 300}


@dataclass(frozen=True)
class Task:
    """One phantom to draw and read.

    Args:
        seed: of the phantom.
        habit: whether the reader with the other habit reads it, instead of one of the usual ones.
        size_px: longer side of the image.
    """

    seed: int
    habit: bool
    size_px: int = SIZE_PX


def has_finding(seed: int) -> bool:
    """Return whether a phantom has the held-out finding; nothing is drawn."""
    return any(one.name == FINDING for one in sample_case(seed, include_held_out=True).findings)


def mixed_seeds(first: int, number: int) -> list[int]:
    """Return seeds of phantoms with and without the finding, in turns."""
    half = number // 2
    with_it = islice(filter(has_finding, count(first)), half)
    without = islice(filterfalse(has_finding, count(first)), number - half)
    return [seed for pair in zip(with_it, without, strict=True) for seed in pair]


def _draw(task: Task) -> Sample:
    """Return one simulated annotation: clicks have no dwell."""
    phantom = make_phantom(task.seed, size_px=task.size_px, include_held_out=True)
    reader = HELD_OUT_READER if task.habit else READERS[task.seed % len(READERS)]
    clicks = tuple(Fixation(round(f.x, 5), round(f.y, 5)) for f in simulate_reading(phantom, clicking(reader), 0))
    there = {finding.name for finding in phantom.findings}
    return Sample(
        str(task.seed),
        Image.fromarray(phantom.image),
        findings={name: float(name in there) for name in (*FINDING_NAMES, *HELD_OUT_FINDING_NAMES)},
        readings=(Reading(reader.name, Scanpath(clicks, "click")),),
    )


def write_annotations(tasks: Sequence[Task], folder: Path) -> None:
    """Write simulated annotations as a gaze folder."""
    with ProcessPoolExecutor(max_workers=2) as pool:
        write_gaze_folder(folder, pool.map(_draw, tasks, chunksize=4))


def train(annotations: Path, out: Path) -> float:
    """Run the command on a folder and return how many seconds it took.

    Raises:
        SystemExit: it failed.
    """
    start = time.perf_counter()
    command = [sys.executable, "-m", "finetune", "--annotations", str(annotations), "--out", str(out)]
    done = subprocess.run(command, stdout=sys.stderr)
    if done.returncode:
        sys.exit(f"the training failed: {' '.join(command)}")
    return time.perf_counter() - start


def score(folder: Path, adapter: Path | None) -> dict[str, float | None]:
    """Score the embedded model, bare or with an adapter, as a user would load it."""
    from finetune.cases import read_cases
    from finetune.config import FinetuneConfig
    from finetune.held_out import AUROC, SEQUENCE, Floors, measures
    from finetune.predict import predict_cases
    from gazevlm_core.inference import GazeEngine

    cases = read_cases(FinetuneConfig(annotations=(str(folder),)))
    looked = predict_cases(GazeEngine.load(adapter=adapter), cases, None)
    found = {one.name: one.value for one in measures(cases, looked, looked, Floors((), 0), [], 0)}
    others = [found[f"{AUROC}: {name}"] for name in FINDING_NAMES if found.get(f"{AUROC}: {name}") is not None]
    known = [value for value in others if value is not None]
    return {
        "sequence score": found.get(SEQUENCE), "finding": found.get(f"{AUROC}: {FINDING}"),
        "others": sum(known) / len(known),
    }  # fmt: skip


def main(
    folder: Annotated[Path | None, typer.Option(help="Folder to keep; a temporary one if empty.")] = None,
) -> None:
    """Train both adapters and print the figures beside their bars."""
    with tempfile.TemporaryDirectory() as name:
        _check(folder or Path(name))


def _check(folder: Path) -> None:
    finding = [Task(seed, False) for seed in mixed_seeds(FIRST_SEED, FINDING_ANNOTATIONS)]
    habit = [Task(seed, True) for seed in range(FIRST_SEED + 10_000, FIRST_SEED + 10_000 + HABIT_ANNOTATIONS)]
    scored = mixed_seeds(FIRST_SEED + 100_000, SCORED)
    for name, tasks in {
        "finding": finding, "habit": habit, "scored": [Task(seed, True) for seed in scored],
    }.items():  # fmt: skip
        typer.echo(f"drawing {len(tasks)} phantoms: {name}", err=True)
        write_annotations(tasks, folder / name)
    seconds = {name: train(folder / name, folder / f"{name}-adapter") for name in ("finding", "habit")}
    base = score(folder / "scored", None)
    learned = score(folder / "scored", folder / "finding-adapter")
    moved = score(folder / "scored", folder / "habit-adapter")
    figures = {
        "finding": FINDING,
        "finding_auroc_chance": 0.5,  # a floor: the base cannot tell it
        "finding_auroc": learned["finding"],
        "others_auroc_base": base["others"],
        "others_auroc": learned["others"],
        "finding_seconds": seconds["finding"],
        "habit_sequence_score_base": base["sequence score"],
        "habit_sequence_score": moved["sequence score"],
        "habit_others_auroc": moved["others"],
        "habit_seconds": seconds["habit"],
        "scored_phantoms": SCORED,
        "bars": BARS,
    }
    rounded = {name: round(value, 4) if isinstance(value, float) else value for name, value in figures.items()}
    typer.echo(json.dumps(rounded))


if __name__ == "__main__":
    typer.run(main)
