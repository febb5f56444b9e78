"""Processes that share work, as threads that take turns: what one hands in, all of them get."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from gazevlm_core.ranks import Ranks

Result = TypeVar("Result")


@dataclass(frozen=True)
class _Thread(Ranks):
    barrier: Any = None
    turn: Any = None
    table: Any = None

    def gather(self, items: list) -> list[list]:
        """As between processes; meanwhile another thread may work."""
        self.table[self.index] = items
        self.turn.release()
        self.barrier.wait()
        found = list(self.table)
        self.barrier.wait()
        self.turn.acquire()
        return found


def together(count: int, work: Callable[[Ranks], Result]) -> list[Result]:
    """What `work` returns to each of so many; one works at a time, since they share a model."""
    barrier, turn, table = threading.Barrier(count, timeout=60), threading.Lock(), [None] * count

    def one(index: int) -> Result:
        with turn:
            try:
                return work(_Thread(index, count, barrier, turn, table))
            except BaseException:
                barrier.abort()
                raise

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))
