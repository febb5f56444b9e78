"""Patch arithmetic: the only place where positions become patch indices and back.

Convention: patches are counted row-major from the upper left on the MERGED grid of the vision tower (one image token
each). Width and height scale separately, because the processor's resize
changes the aspect ratio a little; positions are fractions, so no pixel size is needed here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import NamedTuple

import numpy as np

from gazevlm_core.scanpath import Fixation, Scanpath


def pixel_of(share: float, side_px: int, digits: int) -> float:
    """Return a place along a side of an image in pixels, to so many digits: in [0, side_px), as rounding alone would
    carry one at the edge off the image.

    Args:
        share: in [0, 1) of the side.
    """
    return min(round(share * side_px, digits), round(side_px - 10.0**-digits, digits))


class Window(NamedTuple):
    """A rectangle in an image: left, upper, right and lower edge, as fractions of its sides."""

    left: float
    upper: float
    right: float
    lower: float


@dataclass(frozen=True, slots=True)
class PatchGrid:
    """The merged patch grid of one image.

    Args:
        rows: patches from top to bottom, >= 1.
        cols: patches from left to right, >= 1.

    Raises:
        ValueError: rows or cols below 1.
    """

    rows: int
    cols: int

    def __post_init__(self) -> None:
        if self.rows < 1 or self.cols < 1:
            raise ValueError(f"a patch grid needs at least one row and column, got {self.rows} x {self.cols}")

    def __len__(self) -> int:
        return self.rows * self.cols

    @classmethod
    def from_grid_thw(cls, grid_thw: Sequence[int], merge_size: int) -> "PatchGrid":
        """Return the merged grid of one image.

        Args:
            grid_thw: the processor's (frames, rows, cols) before the merge; build it from `image_grid_thw`.
            merge_size: patches merged per side.

        Raises:
            ValueError: more than one frame, or sides that the merge does not divide.
        """
        frames, rows, cols = (int(value) for value in grid_thw)
        if frames != 1:
            raise ValueError(f"one image has one frame, got grid_thw with {frames}")
        if merge_size < 1 or rows % merge_size or cols % merge_size:
            raise ValueError(f"a {rows} x {cols} grid is not divisible by the merge size {merge_size}")
        return cls(rows // merge_size, cols // merge_size)

    def index_of(self, fixation: Fixation) -> int:
        """Return the row-major index in [0, rows * cols) of the patch under a fixation."""
        return int(fixation.y * self.rows) * self.cols + int(fixation.x * self.cols)

    def indices_of(self, positions: np.ndarray) -> np.ndarray:
        """Return `index_of` of many positions at once.

        Args:
            positions: float [..., 2], x and y as fractions of the image.

        Returns:
            int64 [...].

        Raises:
            ValueError: a position outside [0, 1).
        """
        if positions.size and not (positions.min() >= 0 and positions.max() < 1):
            raise ValueError("positions must lie in [0, 1)")
        col = (positions[..., 0] * self.cols).astype(np.int64)
        return (positions[..., 1] * self.rows).astype(np.int64) * self.cols + col

    def center_of(self, index: int) -> tuple[float, float]:
        """Return the centre (x, y) of a patch, as fractions of the image.

        Raises:
            IndexError: the index lies outside the grid.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"patch {index} is outside a {self.rows} x {self.cols} grid")
        row, col = divmod(index, self.cols)
        return (col + 0.5) / self.cols, (row + 0.5) / self.rows

    def window_at(self, x: float, y: float, patches: float) -> Window:
        """Return the window of so many patches around a place, moved inside the image where it would reach beyond."""
        width, height = min(patches / self.cols, 1.0), min(patches / self.rows, 1.0)
        left, upper = min(max(x - width / 2, 0.0), 1.0 - width), min(max(y - height / 2, 0.0), 1.0 - height)
        return Window(left, upper, left + width, upper + height)

    def merge_repeats(self, path: Scanpath) -> Scanpath:
        """Return a path whose consecutive fixations in one patch are one: at their mean place, weighted by dwell where
        it is known of all of them, with its sum and the first's onset."""
        return replace(path, fixations=tuple(_merged(list(same)) for _, same in groupby(path, self.index_of)))

    def centers(self) -> np.ndarray:
        """Return `center_of` of every patch, float64 [rows * cols, 2]."""
        rows, cols = np.divmod(np.arange(len(self)), self.cols)
        return np.stack([(cols + 0.5) / self.cols, (rows + 0.5) / self.rows], axis=1)


def _merged(fixations: Sequence[Fixation]) -> Fixation:
    """Return several fixations of one patch as one."""
    if len(fixations) == 1:
        return fixations[0]
    known = [fixation.duration_ms for fixation in fixations if fixation.duration_ms is not None]
    total = sum(known) if len(known) == len(fixations) else None
    weights = known if total else None
    places = np.array([(fixation.x, fixation.y) for fixation in fixations])
    # a mean of numbers just below 1 may be rounded to 1, which is outside
    x, y = np.minimum(np.average(places, axis=0, weights=weights), places.max(axis=0))
    return Fixation(float(x), float(y), total, fixations[0].onset_ms)
