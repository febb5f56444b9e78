"""What a run shows where it was typed: phases, scores, a bar with loss and time left; off a terminal, plain lines."""

import sys
from collections.abc import Mapping
from typing import IO, Any

from tqdm import tqdm

from finetune.verdict import MAIN

PLAIN_LINES = 20  # of steps, in a whole run: a log that somebody reads


class Console:
    """Shows the events of a run's log as they are written.

    Args:
        stream: where to; the process's stderr without it.
    """

    def __init__(self, stream: IO[str] | None = None) -> None:
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._bar: tqdm | None = None
        self._of_images = False  # what the bar counts; a scoring between steps leaves the bar of the steps alone

    def tell(self, event: str, values: Mapping[str, Any]) -> None:
        """Show one event of the log; kinds that say nothing to a person are passed over."""
        if event == "phase" and "images" not in values and self._bar is not None and not self._of_images:
            self._line(values["text"])  # said between steps, whose bar goes on
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
        """So many images of this phase are done; those that are looked at once more count once."""
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
    """The figures that a verdict goes by, each beside its base's."""
    told = []
    for one in measures:
        if one["name"] in MAIN and one["value"] is not None:
            base = "" if one["base"] is None else f" (base {one['base']:.3f})"
            told.append(f"{one['name']} {one['value']:.3f}{base}")
    return ", ".join(told) or "nothing that can be scored"
