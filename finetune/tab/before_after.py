"""What a run showed of held-out images: where the base looks, where the adapter looks, what was taught."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune.records import BEFORE_AFTER

FILE = f"{BEFORE_AFTER}.json"
PICTURE = re.compile(r"\d{1,4}\.png")
BELOW_ONE = 1 - 1e-9
Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Pair:
    """One held-out image.

    Args:
        image_id: its name.
        picture: file.
        question: that was asked.
        answer_before, answer_after: of the base and of the adapter.
        before, after: their paths, as fractions of the image; None where the gaze is untrained.
        taught: what a person did there.
    """

    image_id: str
    picture: Path
    question: str
    answer_before: str
    answer_after: str
    before: Points | None
    after: Points | None
    taught: Points


def read_pairs(run: Path) -> tuple[Pair, ...]:
    """The pairs of a run; none where it did not get so far.

    Raises:
        ValueError: the file is not as a run writes it.
    """
    folder = run / BEFORE_AFTER
    try:
        values = json.loads((folder / FILE).read_text(encoding="utf-8"))
        return tuple(_pair(one, folder) for one in values["images"])
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"What this run showed before and after cannot be read ({error}); its scores can.") from None


def _pair(one: dict[str, Any], folder: Path) -> Pair:
    name = str(one["file"])
    if not PICTURE.fullmatch(name):
        raise ValueError(f"{name[:40]!r} is no picture of the run")
    return Pair(
        image_id=str(one["image_id"]),
        picture=folder / name,
        question=str(one["question"]),
        answer_before=str(one["answer_before"] or ""),
        answer_after=str(one["answer_after"] or ""),
        before=_points(one["before"]),
        after=_points(one["after"]),
        taught=_points(one["taught"]) or (),
    )


def _points(values: Sequence[Sequence[float]] | None) -> Points | None:
    """Fractions in [0, 1): what lies on the far edge is drawn just before it."""
    if values is None:
        return None
    return tuple((min(max(float(x), 0.0), BELOW_ONE), min(max(float(y), 0.0), BELOW_ONE)) for x, y in values)
