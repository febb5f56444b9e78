"""A job with what its log says, as the tab shows it: losses, held-out measures, verdict, pace."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from finetune.records import Judgement, Measure, RecordError, Verdict, measures_of, read_provenance, verdict_of

if TYPE_CHECKING:
    from finetune.jobs.job import Job
    from finetune.jobs.service import JobService

Event = Mapping[str, Any]
LOSS = "loss"
LOSSES = {
    LOSS: "whole loss", "gaze_loss": "gaze", "text_loss": "answer", "finding_loss": "findings", "dwell_loss": "dwell",
    "retain_loss": "staying near the base",
}  # fmt: skip
ENDED = ("done", "failed", "cancelled")
ACTIVE = ("queued", "running")
MOST_EVENTS = 200_000
STATE_WORDS = {
    "queued": "waits for its turn", "running": "running", "paused": "paused", "done": "done", "failed": "failed",
    "cancelled": "cancelled",
}  # fmt: skip
VERDICT_WORDS: Mapping[Judgement, str] = {
    "better": "better", "worse": "worse than its base", "no difference seen": "no difference from its base seen",
    "too few to tell": "too few to tell", "unknown": "not known whether better than its base",
}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """A job and its events, without those that a crash took back.

    Args:
        job: as it is now.
        events: of its log, in order; a step that was done again after a resume is there once.
    """

    job: "Job"
    events: tuple[Event, ...]

    @cached_property
    def losses(self) -> dict[str, list[tuple[int, float]]]:
        """Part of the loss -> (step, value), for the parts that were supervised."""
        steps = [event for event in self.events if event["event"] == "step"]
        found = {
            part: [(int(step["step"]), float(step[part])) for step in steps if is_number(step.get(part))]
            for part in LOSSES
        }
        return {part: points for part, points in found.items() if points}

    @cached_property
    def held_out(self) -> list[tuple[int, tuple[Measure, ...]]]:
        """Step -> measures on the held-out images, in the order they were taken."""
        found = []
        for event in self.events:
            if event["event"] == "held_out":
                try:
                    found.append((int(event["step"]), measures_of(event.get("measures"))))
                except (RecordError, TypeError, ValueError):
                    continue  # a line of another version; the others are still worth showing
        return found

    @cached_property
    def _provenance(self) -> dict[str, Any]:
        try:
            return (read_provenance(self.job.adapter) if self.job.adapter is not None else None) or {}
        except RecordError:
            return {}

    @cached_property
    def measures(self) -> tuple[Measure, ...]:
        """The adapter's own, or the latest before there is one."""
        try:
            return measures_of(self._provenance["measures"])
        except (KeyError, RecordError):
            return self.held_out[-1][1] if self.held_out else ()

    @cached_property
    def verdict(self) -> Verdict | None:
        """Whether the adapter is better than its base; None before that is known."""
        return verdict_of(self._provenance.get("verdict") or self._last("verdict"))

    @property
    def doubt(self) -> str | None:
        """Where it is done and was not shown to be better than its base: what came of it, in a few words; else None."""
        if self.job.state != "done" or self.verdict is None or self.verdict.better:
            return None
        return VERDICT_WORDS[self.verdict.outcome]

    @property
    def phase(self) -> str:
        """What goes on beside the steps, in words; "" while steps are done."""
        latest = next((one for one in reversed(self.events) if one["event"] in ("phase", "step", "held_out")), {})
        return str(latest.get("text", "")) if latest.get("event") == "phase" else ""

    @property
    def device(self) -> str:
        """Where it ran; "" before it began."""
        return str((self._last("start") or {}).get("device", ""))

    @property
    def images(self) -> tuple[int, int] | None:
        """Images that are learned from, and held-out ones; None before it began."""
        start = self._last("start") or {}
        numbers = (start.get("images"), start.get("held_out_images"))
        return numbers if all(isinstance(one, int) for one in numbers) else None  # type: ignore[return-value]

    def measure(self, name: str) -> Measure | None:
        """One of `measures` by name."""
        return next((one for one in self.measures if one.name == name), None)

    def _last(self, kind: str) -> Event | None:
        return next((event for event in reversed(self.events) if event["event"] == kind), None)


def is_number(value: object) -> bool:
    """Whether it can be drawn."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value and abs(value) < 1e30


def kept_events(events: Sequence[Event]) -> tuple[Event, ...]:
    """Events without those of steps that were lost: a process that goes on from a checkpoint does them again."""
    kept: list[Event] = []
    for event in events:
        if event["event"] == "start" and isinstance(event.get("step"), int):
            begun = event["step"]
            kept = [one for one in kept if one["event"] not in ("step", "held_out") or one.get("step", 0) <= begun]
        kept.append(event)
    return tuple(kept)


@dataclass(frozen=True)
class _Known:
    """Events so far, the offset to go on from, and the run as it was shown last."""

    events: tuple[Event, ...] = ()
    offset: int = 0
    run: Run | None = None


class RunReader:
    """Reads the logs of jobs, each line once however many people look.

    Args:
        jobs: that there are.
    """

    def __init__(self, jobs: "JobService") -> None:
        self._jobs = jobs
        self._known: dict[str, _Known] = {}
        self._turn = threading.Lock()

    def run(self, job: "Job") -> Run:
        """A job with its events until now."""
        with self._turn:
            known = self._known.get(job.job_id, _Known())
            if job.state in ENDED and known.run is not None and known.run.job == job:
                return known.run  # nothing is written any more
            more, offset = self._jobs.events(job.job_id, known.offset)
            usable = [event for event in more if isinstance(event.get("step", 0), int)]
            events = (*known.events, *usable)[-MOST_EVENTS:]
            run = Run(job, kept_events(events))
            self._known[job.job_id] = _Known(events, offset, run)
            return run

    def forget(self, job_id: str) -> None:
        """When a job is deleted."""
        with self._turn:
            self._known.pop(job_id, None)


def progress(job: "Job") -> str:
    """A job's state, and how far it is."""
    state = STATE_WORDS[job.state]
    if not job.steps or job.state in ("queued", "done"):
        return state
    return f"{state}, step {job.step:,} of {job.steps:,}"
