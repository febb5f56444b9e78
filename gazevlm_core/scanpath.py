"""Fixations and scanpaths: the one description of where somebody looked, and in which order.

Coordinates are fractions of the upright (EXIF-transposed) image, origin upper left, x to the right, y down.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ClassVar, Literal, get_args

Source = Literal["eyetracker", "click", "bubble", "moving window", "model", "simulated"]
SOURCES: tuple[str, ...] = get_args(Source)
KEPT_SHARE = 0.95  # of the fixations, by which a K is suggested
LONGEST_DWELL_MS = 3_600_000.0  # of a place that somebody gives
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


Place = Fixation | Sequence[float | None]  # a fixation, or its (x, y) or (x, y, duration_ms)


def fixations_at(places: Iterable[Place]) -> tuple[Fixation, ...]:
    """Return fixations at some places, in their order.

    Raises:
        ValueError: a place that is no pair of numbers in [0, 1), with or without a dwell; the message says which.
    """
    found = []
    for number, place in enumerate(places, start=1):
        if isinstance(place, Fixation):
            found.append(place)
            continue
        try:
            x, y, dwell_ms = (*place, None) if len(place) == 2 else place
            found.append(Fixation(float(x), float(y), _dwell(dwell_ms)))  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            raise ValueError(
                f"place {number} must be two numbers x and y of at least 0 and below 1, fractions of the image, and "
                f"may have a third, its dwell in ms, of at most {LONGEST_DWELL_MS:.0f}; got {str(place)[:60]}"
            ) from None
    return tuple(found)


def _dwell(value: float | None) -> float | None:
    """Return the dwell of a place that somebody gave. Raises ValueError: it is too long, or none."""
    dwell_ms = None if value is None else float(value)
    if dwell_ms is not None and dwell_ms > LONGEST_DWELL_MS:
        raise ValueError(value)
    return dwell_ms


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


@dataclass
class PathLengths:
    """Lengths of readings in fixations, and what of them a model with K gaze tokens never learns.

    Each fixation takes a gaze token, and those beyond the K-th are cut. To a model without repeats, fixations next to
    each other in one patch are one: give its paths merged, or say that it is at most so many.

    Args:
        count: length -> readings.
    """

    count: Counter[int] = field(default_factory=Counter)

    @classmethod
    def of(cls, paths: Iterable[Scanpath]) -> "PathLengths":
        """Count the lengths of some readings."""
        return cls(Counter(map(len, paths)))

    @property
    def readings(self) -> int:
        """Number of readings."""
        return self.count.total()

    @property
    def fixations(self) -> int:
        """Number of fixations in all of them."""
        return sum(length * number for length, number in self.count.items())

    def fixations_beyond(self, steps: int) -> int:
        """Return the number of fixations behind the first `steps` of their reading."""
        return sum(max(0, length - steps) * number for length, number in self.count.items())

    def readings_beyond(self, steps: int) -> int:
        """Return the number of readings that are longer than `steps`."""
        return sum(number for length, number in self.count.items() if length > steps)

    def steps_that_keep(self, share: float = KEPT_SHARE) -> int:
        """Return the least K that keeps a share of all fixations; 0 where there are none."""
        allowed = (1 - share) * self.fixations + 1e-9  # rounding
        longest = max(self.count, default=0)
        return next((steps for steps in range(longest + 1) if self.fixations_beyond(steps) <= allowed), 0)

    def words(self, steps: int) -> str:
        """Say in one sentence what K leaves out; "" where it leaves nothing out."""
        beyond = self.fixations_beyond(steps)
        if not beyond:
            return ""
        return (
            f"{beyond} of {self.fixations} fixations ({beyond / self.fixations:.0%}) lie beyond the first {steps} of "
            f"their reading, in {self.readings_beyond(steps)} of {self.readings} readings, and are not taught; "
            f"K = {self.steps_that_keep()} gaze tokens would keep {KEPT_SHARE:.0%} of all"
        )
