"""Take turns at decoding: however many images come at once, only so many megapixels are decoded at a time.

The size is known from the header before a turn is asked for. Small images have a bound of their own, so that they
never wait behind large ones. All bounds are of this process.
"""

import ctypes
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gazevlm_core.images.base import ImageError

SMALL_PIXELS = 8_000_000  # a radiograph of 2,800 x 2,800
MOST_SMALL_PIXELS = 32_000_000  # of small images, at a time
MOST_LARGE_PIXELS = 64_000_000  # of the others: one of the largest that are read (about 10 bytes a pixel)
MOST_WAITING = 64  # in each of the two queues
LONGEST_WAIT_S = 120.0
_BUSY = "Many large images are being read at this moment; try again in a minute."


class BusyError(ImageError):
    """The image may be fine, but this is no moment to read it."""


class Turns:
    """A bound on the pixels in flight, first come, first served. What is larger than the bound goes alone.

    Args:
        most_pixels: decoded at a time.
        most_waiting: who comes when so many wait is refused at once.
        longest_wait_s: who has waited for so long is refused.
    """

    def __init__(
        self, most_pixels: int, most_waiting: int = MOST_WAITING, longest_wait_s: float = LONGEST_WAIT_S
    ) -> None:
        self.most_pixels, self.most_waiting, self.longest_wait_s = most_pixels, most_waiting, longest_wait_s
        self._pixels = 0  # in flight
        self._queue: deque[object] = deque()
        self._changed = threading.Condition()

    def begin(self, pixels: int) -> None:
        """Wait for a turn; `end` gives it back.

        Raises:
            BusyError: too many wait, or the wait was too long.
        """
        ticket = object()
        with self._changed:
            if len(self._queue) >= self.most_waiting:
                raise BusyError(_BUSY)
            self._queue.append(ticket)
            try:
                if not self._changed.wait_for(lambda: self._is_next(ticket, pixels), self.longest_wait_s):
                    raise BusyError(_BUSY)
                self._pixels += pixels
            finally:
                self._queue.remove(ticket)
                self._changed.notify_all()

    def end(self, pixels: int) -> None:
        """Give a turn back."""
        with self._changed:
            self._pixels -= pixels
            self._changed.notify_all()

    def _is_next(self, ticket: object, pixels: int) -> bool:
        fits = self._pixels == 0 or self._pixels + pixels <= self.most_pixels
        return fits and self._queue[0] is ticket


class _Lanes:
    """The turns of this process, and which of its threads have one."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Begin anew, also in a forked process: whoever had a turn is not in it."""
        self.small, self.large = Turns(MOST_SMALL_PIXELS), Turns(MOST_LARGE_PIXELS)
        self.mine = threading.local()


_lanes = _Lanes()
os.register_at_fork(after_in_child=_lanes.restart)


def _give_back_memory() -> None:
    """Give freed memory back to the system; glibc keeps up to an image's worth of it for each thread that had one."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


@contextmanager
def decoding_turn() -> Iterator[Callable[[int], None]]:
    """A function that waits until so many pixels may be decoded; the turn ends with the context, whatever happens.

    A thread that has a turn already, because it loads one image while it holds another, does not wait for itself.
    """
    taken: list[tuple[Turns, int]] = []

    def wait(pixels: int) -> None:
        if getattr(_lanes.mine, "has_turn", False):
            return
        turns = _lanes.small if pixels <= SMALL_PIXELS else _lanes.large
        turns.begin(pixels)
        if turns is _lanes.large:
            _give_back_memory()
        taken.append((turns, pixels))
        _lanes.mine.has_turn = True

    try:
        yield wait
    finally:
        for turns, pixels in taken:
            _lanes.mine.has_turn = False
            turns.end(pixels)
