"""Fixations and scanpaths: the one description of where somebody looked, and in which order.

Coordinates are fractions of the upright (EXIF-transposed) image, origin upper left, x to the right, y down.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Literal, get_args

Source = Literal["eyetracker", "click", "bubble", "moving window", "model", "simulated"]
SOURCES: tuple[str, ...] = get_args(Source)
EXACT = {"extra": "forbid", "allow_inf_nan": False}  # for pydantic, where a path is read from JSON


@dataclass(frozen=True, slots=True)
class Fixation:
    """One place where the eye rested.

    Args:
        x: horizontal position in [0, 1) of the image width.
        y: vertical position in [0, 1) of the image height.
        duration_ms: how long the eye rested; None where unknown, never an invented number.
        onset_ms: start of the fixation since the image was shown; None where unknown.

    Raises:
        ValueError: a coordinate outside [0, 1), or a time that is negative or not finite.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = EXACT

    x: float
    y: float
    duration_ms: float | None = None
    onset_ms: float | None = None

    def __post_init__(self) -> None:
        for name in ("x", "y"):
            value = getattr(self, name)
            if not 0.0 <= value < 1.0:  # also refuses NaN
                raise ValueError(f"fixation {name} must lie in [0, 1), got {value!r}")
        for name in ("duration_ms", "onset_ms"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0.0):
                raise ValueError(f"fixation {name} must be a finite time >= 0 or None, got {value!r}")


@dataclass(frozen=True, slots=True)
class Scanpath:
    """Fixations in viewing order.

    Args:
        fixations: at least one fixation, first looked at first.
        source: who looked, or how: "eyetracker", "click", "bubble", "moving window", "model" or "simulated".

    Raises:
        ValueError: no fixation, an unknown source, or onsets that run backwards.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = EXACT

    fixations: tuple[Fixation, ...]
    source: Source

    def __post_init__(self) -> None:
        object.__setattr__(self, "fixations", tuple(self.fixations))
        if not self.fixations:
            raise ValueError("a scanpath needs at least one fixation")
        if self.source not in SOURCES:
            raise ValueError(f"unknown scanpath source {self.source!r}; expected one of {', '.join(SOURCES)}")
        onsets = [fixation.onset_ms for fixation in self.fixations if fixation.onset_ms is not None]
        if any(later < earlier for earlier, later in pairwise(onsets)):
            raise ValueError("fixation onsets must not run backwards")

    def __len__(self) -> int:
        return len(self.fixations)

    def __iter__(self) -> Iterator[Fixation]:
        return iter(self.fixations)
