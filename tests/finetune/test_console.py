"""What a run shows while it goes on: bars on a terminal, a few plain lines in a file."""

import io
import re
from typing import Any

import pytest
from tqdm import tqdm

from finetune.run_log import PLAIN_LINES, Console

AUROC = {"name": "AUROC", "value": 0.75, "base": 0.5}
OTHERS = [{"name": "text loss", "value": 2.0, "base": 3.0}, {"name": "sequence score", "value": None, "base": None}]


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def shown(stream: io.StringIO, steps: int) -> str:
    """What a whole run leaves on a stream."""
    console = Console(stream)
    events: list[tuple[str, dict[str, Any]]] = [
        ("phase", {"text": "Loading the base"}),
        ("phase", {"text": "Computing features", "images": 3}),
        ("start", {"step": 0, "steps": steps, "images": 3, "held_out_images": 2, "device": "cpu"}),
        *(("step", {"step": step, "steps": steps, "loss": 1 / step}) for step in range(1, steps + 1)),
        ("held_out", {"step": steps, "measures": [AUROC, *OTHERS]}),
        ("checkpoint", {"step": steps}),
    ]
    for event, values in events:
        console.show(event, values)
        if "images" in values:
            console.advance(2)  # a scoring between steps never moves the bar of the steps
    console.close()
    return stream.getvalue()


@pytest.mark.parametrize("steps", [1, 7, 100, 5003])
def test_off_a_terminal_there_are_few_plain_lines(steps: int) -> None:
    lines = shown(io.StringIO(), steps).splitlines()
    assert lines[:3] == [
        "Loading the base", "Computing features", "Training on 3 images, 2 held out, cpu",
    ]  # fmt: skip
    assert lines[-1] == f"  step {steps}: AUROC 0.750 (base 0.500)"
    told = lines[3:-1]
    assert 1 <= len(told) <= PLAIN_LINES + 1
    assert told[-1] == f"  step {steps} of {steps}: loss {1 / steps:.3f}"
    assert "\r" not in "".join(lines)


def test_a_terminal_has_a_bar_with_loss_and_time_left() -> None:
    text = shown(Terminal(), 40)
    assert "\r" in text
    assert "/40" in text
    assert "loss" in text
    assert "  step 40: AUROC 0.750 (base 0.500)\n" in text
    assert " 42/40" not in text, "images looked at in a scoring are no steps"


class Eager(tqdm):
    """A bar that is drawn at every change."""

    def __init__(self, **values: Any) -> None:
        super().__init__(**values, mininterval=0, miniters=1)


def test_a_bar_of_images_ends_at_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("finetune.run_log.tqdm", Eager)
    stream = Terminal()
    console = Console(stream)
    console.show("phase", {"text": "Scoring the base on 3 held-out images", "images": 3})
    for _ in range(3):  # for what it says of them, then for the losses
        console.advance(2)
    console.close()
    assert re.findall(r" (\d+)/3 \[", stream.getvalue())[:3] == ["0", "2", "3"]
    assert not re.search(r"\d+image \[", stream.getvalue()), "a bar that is beyond its end shows no end"


def test_the_bar_of_the_steps_goes_on_behind_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("finetune.run_log.tqdm", Eager)
    stream = Terminal()
    console = Console(stream)
    console.show("start", {"step": 0, "steps": 3, "images": 3, "held_out_images": 2, "device": "cpu"})
    console.show("step", {"step": 1, "steps": 3, "loss": 1.0})
    console.show("phase", {"text": "There is nothing to stop early by"})
    console.show("step", {"step": 2, "steps": 3, "loss": 0.5})
    assert "There is nothing to stop early by\n" in stream.getvalue()
    assert stream.getvalue().rindex("2/3") > stream.getvalue().index("nothing to stop")
    console.show("phase", {"text": "Scoring the adapter on 2 held-out images", "images": 2})
    console.advance(2)
    assert "2/2" in stream.getvalue()
    console.close()


def test_scores_that_cannot_be_told_are_not_made_up() -> None:
    stream = io.StringIO()
    Console(stream).show("held_out", {"step": 3, "measures": OTHERS})
    assert stream.getvalue() == "  step 3: nothing that can be scored\n"
