"""How far a run is, from its log, of which only what is new is read."""

import statistics
from collections import deque
from pathlib import Path
from typing import Any

from finetune.records import LOG_FILE, read_events

RECENT_STEPS = 20


class Progress:
    """Steps and their recent times; `update` costs one look at the log's size while nothing is new.

    Args:
        run: folder of the run.
    """

    def __init__(self, run: Path) -> None:
        self._run, self._times_s = run, deque[float](maxlen=RECENT_STEPS)
        self._latest_s: float | None = None
        self._offset = self._size = self.step = self.steps = 0

    def update(self) -> None:
        """Read the events that were added since the last time."""
        try:
            size = (self._run / LOG_FILE).stat().st_size
        except FileNotFoundError:
            size = 0
        if size == self._size:
            return
        if size < self._offset:  # the log was begun anew
            self._offset = self.step = self.steps = 0
            self._times_s.clear()
        self._size = size
        events, self._offset = read_events(self._run, self._offset)
        for event in events:
            self._take(event)

    @property
    def eta_s(self) -> float | None:
        """Seconds until the last step: the median of recent step times for each that is left; None without any."""
        if not self._times_s or self.steps <= 0:
            return None
        return statistics.median(self._times_s) * max(self.steps - self.step, 0)

    def _take(self, event: dict[str, Any]) -> None:
        kind, step, time_s = event["event"], event.get("step"), event.get("time_s")
        if kind not in ("start", "step") or not isinstance(step, int) or not isinstance(time_s, int | float):
            return
        if kind == "start" or step <= self.step:  # another process: time went by in between
            self._times_s.clear()
        elif self._latest_s is not None and time_s > self._latest_s:
            self._times_s.append((time_s - self._latest_s) / (step - self.step))
        steps = event.get("steps")
        self.step, self._latest_s = step, time_s
        self.steps = steps if isinstance(steps, int) else self.steps
