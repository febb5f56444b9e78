"""Early stopping: the best scoring so far is kept, and the run ends when it was not beaten for a while."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from finetune.held_out import selection_score
from finetune.records import Measure, write_json

BEST, SCORES = "best", "selection.json"


class Selection:
    """Remembers the scorings of a run, also across a resume.

    Args:
        run: folder of the run; the best adapters so far lie there, see `best_folder`.
        patience: scorings without a better one after which it is over; 0 for never, and then nothing is kept.
        first_step: that the run goes on from; later scorings of an earlier try are forgotten.
        save: writes the adapter as it is now to a folder; every process calls it.
        writes: False on all but the main process.
    """

    def __init__(
        self, run: Path, patience: int, first_step: int, save: Callable[[Path], None], *, writes: bool = True
    ) -> None:
        self._run, self._patience, self._save, self._writes = run, patience, save, writes
        self._scores: list[tuple[int, float]] = []
        path = run / SCORES
        if path.is_file():
            self._scores = [(step, score) for step, score in json.loads(path.read_text()) if step <= first_step]

    @property
    def best_step(self) -> int | None:
        """Step of the best scoring, the first one on a tie; None where nothing is kept."""
        return max(self._scores, key=lambda one: (one[1], -one[0]))[0] if self._scores else None

    def best_folder(self) -> Path:
        """Where the adapter of the best scoring lies. Each has its own: a resumed run may begin before the last one."""
        return self._run / BEST / f"step-{self.best_step}"

    def take(self, found: Sequence[Measure], step: int) -> None:
        """Take one scoring in; one without a main measure is passed over."""
        score = selection_score(found)
        if not self._patience or score is None:
            return
        earlier = [one for one in self._scores if one[0] < step]  # a kill may have come between this and a checkpoint
        self._scores = [*earlier, (step, score)]
        if self.best_step == step:
            self._save(self.best_folder())
        if self._writes:
            write_json(self._run / SCORES, self._scores)

    @property
    def is_over(self) -> bool:
        """Whether the best scoring was not beaten for long enough."""
        steps = [one for one, _ in self._scores]
        return self.best_step is not None and len(steps) - 1 - steps.index(self.best_step) >= self._patience
