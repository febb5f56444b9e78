"""What a run tells while it goes on: its log, and phases, scores and a bar where it was started."""

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from finetune.records import LOG_FILE
from finetune.verdict import MAIN

PLAIN_LINES = 20  # of steps, in a log that somebody reads


class RunLog:
    """Appends events to a run's log, each flushed at once, and shows them. Only the main process of a run does.

    Args:
        run: folder of the run.
        writes: False for the other processes.
        console: where they are shown, if anywhere.
    """

    def __init__(self, run: Path, *, writes: bool = True, console: "Console | None" = None) -> None:
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
        """Write one event with the time."""
        if self._stream is not None:
            line = {"event": event, "time_s": round(time.time(), 3), **values}
            self._stream.write(json.dumps(line, allow_nan=False) + "\n")
            self._stream.flush()
        if self._console is not None:
            self._console.show(event, values)

    def phase(self, text: str, images: int | None = None) -> None:
        """Write what is done before and after the steps, and on how many images, of which `advance` counts those that
        are done."""
        self.write("phase", text=text, **({} if images is None else {"images": images}))

    def advance(self, images: int) -> None:
        """Show that so many images more of the phase are done; this is not written."""
        if self._console is not None:
            self._console.advance(images)

    def close(self) -> None:
        """Close the file."""
        if self._console is not None:
            self._console.close()
        if self._stream is not None:
            self._stream.close()


class Console:
    """Shows the events of a run's log: a bar with loss and time left on a terminal, elsewhere plain lines.

    Args:
        stream: where to; the process's stderr without it.
    """

    def __init__(self, stream: IO[str] | None = None) -> None:
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._bar: tqdm | None = None
        self._of_images = False  # what the bar counts; a scoring between steps leaves the bar of the steps alone

    def show(self, event: str, values: Mapping[str, Any]) -> None:
        """Show one event of the log, unless its kind says nothing to a person."""
        if event == "phase" and "images" not in values and self._bar is not None and not self._of_images:
            self._line(values["text"])  # between steps, whose bar goes on
        elif event == "phase":
            self._begin(values["text"], values.get("images"), "image")
        elif event == "start":
            words = f"Training on {values['images']} images, {values['held_out_images']} held out, {values['device']}"
            self._begin(words, values["steps"], "step", done=values["step"])
        elif event == "step":
            self._step(values)
        elif event == "held_out":
            self._line(f"  step {values['step']}: {_scores(values['measures'])}")

    def advance(self, images: int) -> None:
        """Count so many images more of this phase; one that is scored again counts once."""
        if self._bar is not None and self._of_images:
            self._bar.update(min(images, self._bar.total - self._bar.n))

    def close(self) -> None:
        """Take the bar off the terminal."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _begin(self, words: str, total: int | None, unit: str, done: int = 0) -> None:
        self.close()
        self._line(words)
        self._of_images = unit == "image"
        if total and self._live:
            self._bar = tqdm(total=total, initial=done, unit=unit, leave=False, file=self._stream, dynamic_ncols=True)

    def _step(self, values: Mapping[str, Any]) -> None:
        step, steps, loss = values["step"], values["steps"], values["loss"]
        if self._bar is not None:
            self._bar.set_postfix_str(f"loss {loss:.3f}", refresh=False)
            self._bar.update(step - self._bar.n)
        elif not self._live and (step * PLAIN_LINES // steps > (step - 1) * PLAIN_LINES // steps or step == 1):
            self._line(f"  step {step} of {steps}: loss {loss:.3f}")

    def _line(self, text: str) -> None:
        with tqdm.external_write_mode(file=self._stream):
            self._stream.write(text + "\n")
            self._stream.flush()


def _scores(measures: list[dict[str, Any]]) -> str:
    """Return the figures that a verdict goes by, each beside its base's."""
    words = []
    for one in measures:
        if one["name"] in MAIN and one["value"] is not None:
            base = "" if one["base"] is None else f" (base {one['base']:.3f})"
            words.append(f"{one['name']} {one['value']:.3f}{base}")
    return ", ".join(words) or "nothing that can be scored"
