"""The processes of `accelerate launch` among which an evaluation is shared; one process alone is the usual case.

Every process takes whole batches, so that each batch is made up as it would be on one process, and the scores are the
same to the last digit. Answers are gathered in the order of the images; the main process scores and prints.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True)
class Ranks:
    """Which of how many processes this is.

    Args:
        index: in [0, count); 0 is the main process.
        count: of processes.
    """

    index: int = 0
    count: int = 1

    @classmethod
    def of_this_run(cls) -> "Ranks":
        """As `accelerate launch` (or `torchrun`) started it, with the processes connected; alone without them."""
        if int(os.environ.get("WORLD_SIZE", "1")) < 2:
            return cls()
        import torch  # late: a process alone does not need them
        from accelerate import PartialState

        state = PartialState(cpu=not torch.cuda.is_available())  # left to itself it would not connect CPUs
        return cls(state.process_index, state.num_processes)

    @property
    def is_main(self) -> bool:
        """Whether this process scores and prints."""
        return self.index == 0

    def part(self, number: int, batch_size: int) -> range:
        """This process's own run of `number` items: whole batches, one process's after the other's."""
        batches = -(-number // batch_size)
        first, last = (batches * index // self.count * batch_size for index in (self.index, self.index + 1))
        return range(min(first, number), min(last, number))

    def batches(self, items: Iterable[Item], batch_size: int) -> Iterator[list[Item]]:
        """This process's batches of a stream whose length nobody knows: in turns, nothing is kept of the others'."""
        stream = iter(items)
        number = 0
        while batch := list(islice(stream, batch_size)):
            if number % self.count == self.index:
                yield batch
            number += 1

    def gather(self, items: list[Item]) -> list[list[Item]]:
        """What each process has, on every process, in their order."""
        if self.count == 1:
            return [items]
        from torch.distributed import all_gather_object

        gathered: list[list[Item]] = [[] for _ in range(self.count)]
        all_gather_object(gathered, items)
        return gathered


ALONE = Ranks()


def in_turns(parts: list[list[Item]]) -> list[Item]:
    """Batches that were dealt out in turns, put back in their order."""
    longest = max((len(part) for part in parts), default=0)
    return [part[turn] for turn in range(longest) for part in parts if turn < len(part)]
