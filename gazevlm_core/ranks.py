"""The processes of `accelerate launch` among which work on many images is shared; one process alone is the usual case.

Every process takes whole batches, so that each batch is made up as it would be on one process, and the scores are the
same to the last digit. Answers are gathered in the order of the images; the main process scores and prints.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
PATIENCE = timedelta(hours=4)  # of a process that waits for the others: decoding may take one much longer


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
    def of_this_run(cls, *, cpu: bool = False) -> "Ranks":
        """Make it as `accelerate launch` (or `torchrun`) started it, with the processes connected; alone without them.

        Args:
            cpu: whether the CPU is what they work on, also where there is a GPU.
        """
        if int(os.environ.get("WORLD_SIZE", "1")) < 2:
            return cls()
        import torch  # late: a process alone does not need them
        from accelerate import PartialState

        # left to itself it would not connect CPUs
        state = PartialState(cpu=cpu or not torch.cuda.is_available(), timeout=PATIENCE)
        return cls(state.process_index, state.num_processes)

    @property
    def is_main(self) -> bool:
        """Whether this process scores and prints."""
        return self.index == 0

    def wait(self) -> None:
        """Wait until every process is here."""
        if self.count > 1:
            from accelerate import PartialState

            PartialState().wait_for_everyone()

    def part(self, number: int, batch_size: int) -> range:
        """Return this process's own run of `number` items: whole batches, one process's after the other's."""
        batches = -(-number // batch_size)
        first, last = (batches * index // self.count * batch_size for index in (self.index, self.index + 1))
        return range(min(first, number), min(last, number))

    def batches(self, items: Iterable[Item], batch_size: int) -> Iterator[list[Item]]:
        """Yield this process's batches of a stream whose length nobody knows: in turns, nothing is kept of the
        others'."""
        stream = iter(items)
        number = 0
        while batch := list(islice(stream, batch_size)):
            if number % self.count == self.index:
                yield batch
            number += 1

    def share(
        self, items: Sequence[Item], work: Callable[[Item], Result], check: Callable[[], None] = lambda: None
    ) -> list[Result]:
        """Return what `work` makes of every item, in their order, on every process; each works on some of them, in
        turns.

        All work as often, the last item is done again where they do not divide: a model that processes share takes all
        of them for each pass. What one of them raises, all of them raise.

        Args:
            items: the same on every process.
            work: called with an item.
            check: called before each turn; may raise to end, on all processes in the same turn.
        """
        if self.count == 1:
            results = []
            for item in items:
                check()
                results.append(work(item))
            return results
        own: list[Result] = []
        failure: Exception | None = None
        for turn in range(-(-len(items) // self.count)):
            check()
            number = turn * self.count + self.index
            if failure is not None:
                continue
            try:
                result = work(items[min(number, len(items) - 1)])
            except Exception as error:  # raised below, when the others have come as far
                failure = error
            else:
                own += [result] if number < len(items) else []
        parts = self.gather([(own, failure)])
        for ((_, raised),) in parts:
            if raised is not None:
                raise raised
        return in_turns([done for ((done, _),) in parts])

    def any(self, wanted: bool) -> bool:
        """Return whether any process wants it; asked by all of them at once."""
        return any(one for part in self.gather([wanted]) for one in part)

    def gather(self, items: list[Item]) -> list[list[Item]]:
        """Return what each process has, on every process, in their order."""
        if self.count == 1:
            return [items]
        from torch.distributed import all_gather_object

        gathered: list[list[Item]] = [[] for _ in range(self.count)]
        all_gather_object(gathered, items)
        return gathered


ALONE = Ranks()


def in_turns(parts: list[list[Item]]) -> list[Item]:
    """Return batches that were dealt out in turns, put back in their order."""
    longest = max((len(part) for part in parts), default=0)
    return [part[turn] for turn in range(longest) for part in parts if turn < len(part)]
