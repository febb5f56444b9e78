"""How long readings are, and what of them a model with K gaze tokens is never taught: fixations beyond the K-th."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from gazevlm_core.scanpath import Scanpath

KEPT_SHARE = 0.95  # of the fixations, by which a K is suggested


@dataclass
class PathLengths:
    """Lengths of readings, in fixations: each one takes a gaze token, also where it stays on a patch.

    Args:
        count: length -> readings.
    """

    count: Counter[int] = field(default_factory=Counter)

    @classmethod
    def of(cls, paths: Iterable[Scanpath]) -> "PathLengths":
        """Of some readings."""
        return cls(Counter(map(len, paths)))

    @property
    def readings(self) -> int:
        """How many there are."""
        return self.count.total()

    @property
    def fixations(self) -> int:
        """In all of them."""
        return sum(length * number for length, number in self.count.items())

    def beyond(self, steps: int) -> int:
        """Fixations behind the first `steps` of their reading."""
        return sum(max(0, length - steps) * number for length, number in self.count.items())

    def cut(self, steps: int) -> int:
        """Readings that are longer than `steps`."""
        return sum(number for length, number in self.count.items() if length > steps)

    def steps_that_keep(self, share: float = KEPT_SHARE) -> int:
        """The least K that keeps a share of all fixations; 0 where there are none."""
        allowed = (1 - share) * self.fixations + 1e-9  # rounding
        return next((steps for steps in range(max(self.count, default=0) + 1) if self.beyond(steps) <= allowed), 0)

    def words(self, steps: int) -> str:
        """What K leaves out, in one sentence; "" where it leaves nothing out."""
        beyond = self.beyond(steps)
        if not beyond:
            return ""
        return (
            f"{beyond} of {self.fixations} fixations ({beyond / self.fixations:.0%}) lie beyond the first {steps} of "
            f"their reading, in {self.cut(steps)} of {self.readings} readings, and are not taught; "
            f"K = {self.steps_that_keep()} gaze tokens would keep {KEPT_SHARE:.0%} of all"
        )
