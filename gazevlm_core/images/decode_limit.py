"""Limit how many megapixels this process decodes at a time, however many images come at once.

The size is known from the header before it is reserved. Small images have a limit of their own, so that they never wait
behind large ones.
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
    """Too many images are being read; the image itself may be fine."""


class PixelLimit:
    """A semaphore over pixels, first come, first served. An image above the limit is decoded alone.

    Args:
        most_pixels: decoded at a time.
        most_waiting: whoever comes when so many wait is refused at once.
        longest_wait_s: whoever has waited for so long is refused.
    """

    def __init__(
        self, most_pixels: int, most_waiting: int = MOST_WAITING, longest_wait_s: float = LONGEST_WAIT_S
    ) -> None:
        self.most_pixels, self.most_waiting, self.longest_wait_s = most_pixels, most_waiting, longest_wait_s
        self._pixels = 0  # reserved
        self._queue: deque[object] = deque()
        self._changed = threading.Condition()

    def acquire(self, pixels: int) -> None:
        """Wait until so many pixels may be decoded; `release` gives them back.

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

    def release(self, pixels: int) -> None:
        """Give pixels back."""
        with self._changed:
            self._pixels -= pixels
            self._changed.notify_all()

    def _is_next(self, ticket: object, pixels: int) -> bool:
        fits = self._pixels == 0 or self._pixels + pixels <= self.most_pixels
        return fits and self._queue[0] is ticket


class _Limits:
    """The limits of this process, and which of its threads hold a reservation."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Begin anew, also in a forked process, which has none of the threads that reserved."""
        self.small, self.large = PixelLimit(MOST_SMALL_PIXELS), PixelLimit(MOST_LARGE_PIXELS)
        self.mine = threading.local()


_limits = _Limits()
os.register_at_fork(after_in_child=_limits.restart)


def _give_back_memory() -> None:
    """Give freed memory back to the system; glibc keeps up to an image's worth of it for each thread that had one."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


@contextmanager
def limit_decoding() -> Iterator[Callable[[int], None]]:
    """Yield a function that waits until so many pixels may be decoded; they are given back when the context ends.

    A thread that holds a reservation already, because it loads one image inside another, does not wait for itself.
    """
    taken: list[tuple[PixelLimit, int]] = []

    def reserve(pixels: int) -> None:
        if getattr(_limits.mine, "reserved", False):
            return
        limit = _limits.small if pixels <= SMALL_PIXELS else _limits.large
        limit.acquire(pixels)
        if limit is _limits.large:
            _give_back_memory()
        taken.append((limit, pixels))
        _limits.mine.reserved = True

    try:
        yield reserve
    finally:
        for limit, pixels in taken:
            _limits.mine.reserved = False
            limit.release(pixels)
