"""What a run tells while it goes on, and when it scores, keeps a checkpoint, and stops."""

import json
import math
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from accelerate import PartialState
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from finetune.console import Console
from finetune.ending import Stopped
from finetune.records import COMPLETE, LOG_FILE, Measure, settle
from gazevlm_core.training.trainer import PARTS

ROUNDED = 8  # significant digits
# In float16 gradients are scaled by 65,536, and by half of what it was at each step that overflows, which is left out.
MOST_SCALED = 20  # in a row: by then the scale is far below 1
UNSCORED = "UNSCORED"  # in a checkpoint of a run that was asked to end when it should have scored


class TrainingError(RuntimeError):
    """Training cannot go on; one sentence that says why and what to do."""


class RunLog:
    """Appends events to a run's log, each flushed at once, and shows them. Only the main process of a run does.

    Args:
        run: folder of the run.
        writes: False for the other processes.
        console: where they are shown, if anywhere.
    """

    def __init__(self, run: Path, *, writes: bool = True, console: Console | None = None) -> None:
        self.writes, self._console = writes, console if writes else None
        self._stream: IO[str] | None = None
        if writes:
            run.mkdir(parents=True, exist_ok=True)
            path = run / LOG_FILE
            torn = path.is_file() and path.stat().st_size > 0 and not path.read_bytes().endswith(b"\n")
            self._stream = path.open("a", encoding="utf-8")
            if torn:  # by a kill in the middle of a line
                self._stream.write("\n")

    def write(self, event: str, **values: Any) -> None:
        """One event with the time."""
        if self._stream is not None:
            line = {"event": event, "time_s": round(time.time(), 3), **values}
            self._stream.write(json.dumps(line, allow_nan=False) + "\n")
            self._stream.flush()
        if self._console is not None:
            self._console.tell(event, values)

    def phase(self, text: str, images: int | None = None) -> None:
        """What is being done before and after the steps, and with how many images, of which `advance` tells."""
        self.write("phase", text=text, **({} if images is None else {"images": images}))

    def advance(self, images: int) -> None:
        """So many images of the phase are done; shown, not written."""
        if self._console is not None:
            self._console.advance(images)

    def close(self) -> None:
        """Close the file."""
        if self._console is not None:
            self._console.close()
        if self._stream is not None:
            self._stream.close()


class RunCallback(TrainerCallback):
    """Logs every step, scores on time, marks whole checkpoints, and stops when it is told to.

    Args:
        log: of the run.
        score_at: steps after which the held-out images are scored.
        save_at: steps after which a checkpoint is kept.
        score: step -> measures; called by every process.
        should_stop: whether somebody wants the run to end; asked after every step.
        take: told measures and step; returns whether to stop early.
    """

    def __init__(
        self,
        log: RunLog,
        score_at: frozenset[int],
        save_at: frozenset[int],
        score: Callable[[int], list[Measure]],
        should_stop: Callable[[], bool],
        take: Callable[[list[Measure], int], bool],
    ) -> None:
        self._log, self._score_at, self._save_at = log, score_at, save_at
        self._score, self._should_stop, self._take = score, should_stop, take
        self.stopped = False
        self._scaled = 0  # steps in a row that float16 could not hold

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        """Decide on saving and stopping."""
        control.should_log = True
        control.should_save = state.global_step in self._save_at
        if self._should_stop() and state.global_step < state.max_steps:
            self.stopped = control.should_save = control.should_training_stop = True
        return control

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict[str, float], **_: Any
    ) -> None:
        """Write a step down.

        Raises:
            TrainingError: the loss is no number any more.
        """
        if "loss" not in logs:
            return
        step = state.global_step
        steep = not math.isfinite(logs.get("grad_norm", 0.0))
        self._scaled = self._scaled + 1 if steep and args.fp16 else 0
        if not math.isfinite(logs["loss"]) or (steep and not 0 < self._scaled <= MOST_SCALED):
            raise TrainingError(
                f"The loss is no number any more at step {step}; start again with a lower learning_rate and "
                "heads_learning_rate."
            )
        names = ("loss", *PARTS, "learning_rate", "grad_norm")
        parts = {name: float(f"{logs[name]:.{ROUNDED}g}") for name in names if math.isfinite(logs.get(name, math.nan))}
        self._log.write("step", step=step, steps=state.max_steps, **parts)
        if step not in self._score_at or self.stopped:
            return
        try:
            over = self.score(step)
        except Stopped:  # in the middle of it: it is scored when the run is gone on with
            over = self.stopped = True
        if over:
            control.should_save = control.should_training_stop = True

    def score(self, step: int) -> bool:
        """Score the held-out images; whether to stop early."""
        found = self._score(step)
        self._log.write("held_out", step=step, measures=[asdict(one) for one in found])
        return self._take(found, step)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Mark a checkpoint as whole; one without the mark is never resumed from."""
        PartialState().wait_for_everyone()  # each process keeps its own state of chance in it
        if args.should_save:
            folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
            if self.stopped and state.global_step in self._score_at:
                (folder / UNSCORED).write_text("", encoding="utf-8")
            settle(folder)
            (folder / COMPLETE).write_text("", encoding="utf-8")
            self._log.write("checkpoint", step=state.global_step)


def forget_others(folder: Path, kept: Path | None) -> None:
    """Delete all checkpoints but one: those that a kill has left half written, or half deleted."""
    for path in folder.glob("checkpoint-*"):
        if path != kept:
            (path / COMPLETE).unlink(missing_ok=True)
            shutil.rmtree(path)


def forget_half(folder: Path) -> None:
    """Delete checkpoints that are not whole: what fills a disk may have been one of them."""
    for path in folder.glob("checkpoint-*"):
        if not (path / COMPLETE).exists():
            shutil.rmtree(path, ignore_errors=True)
