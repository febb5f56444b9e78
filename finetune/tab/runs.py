"""A job with what its folder says, as the tab shows it: losses, held-out measures, verdict, images before and after."""

import json
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from finetune.records import (
    BEFORE_AFTER,
    PAIRS_FILE,
    Judgement,
    Measure,
    RecordError,
    Verdict,
    measures_of,
    read_provenance,
    verdict_of,
)
from gazevlm_core.training import LOSS_NAMES

if TYPE_CHECKING:
    from finetune.jobs.job import Job
    from finetune.jobs.service import JobService

Event = Mapping[str, Any]
Points = tuple[tuple[float, float], ...]
LOSS = "loss"
PART_WORDS = {
    "text_loss": "answer", "finding_loss": "findings", "offset_loss": "place in the patch",
    "local_loss": "findings in glimpses", "patch_finding_loss": "findings in patches",
}  # fmt: skip
LOSSES = {
    LOSS: "whole loss",
    **{name: PART_WORDS.get(name, name.removesuffix("_loss").replace("_", " ")) for name in LOSS_NAMES},
}
ENDED = ("done", "failed", "cancelled")
ACTIVE = ("queued", "running")
MOST_EVENTS = 200_000
OF_ADMINS = "Admins see why."
STATE_WORDS = {
    "queued": "waits for its turn", "running": "running", "paused": "paused", "done": "done", "failed": "failed",
    "cancelled": "cancelled",
}  # fmt: skip
VERDICT_WORDS: Mapping[Judgement, str] = {
    "better": "better", "worse": "worse than its base", "no difference seen": "no difference from its base seen",
    "too few to tell": "too few to tell", "not comparable": "nothing to compare with its base",
    "unknown": "not known whether better than its base",
}  # fmt: skip
IMAGE_NAME = re.compile(r"\d{1,4}\.png")
BELOW_ONE = 1 - 1e-9


@dataclass(frozen=True)
class Run:
    """A job and its events, without those of steps that a crash lost.

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
        """Step -> measures on the held-out images, in the order of the scorings."""
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
        """Measures of the adapter, or the latest of the log before there is one."""
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
        """The verdict in a few words where the run is done and not shown to be better than its base; else None."""
        if self.job.state != "done" or self.verdict is None or self.verdict.better:
            return None
        return VERDICT_WORDS[self.verdict.outcome]

    @property
    def phase(self) -> str:
        """What goes on outside the steps, in words; "" during them."""
        latest = next((one for one in reversed(self.events) if one["event"] in ("phase", "step", "held_out")), {})
        return str(latest.get("text", "")) if latest.get("event") == "phase" else ""

    @property
    def device(self) -> str:
        """Where it ran; "" before it began."""
        return str((self._last("start") or {}).get("device", ""))

    @property
    def images(self) -> tuple[int, int] | None:
        """Numbers of training and of held-out images; None before it began."""
        start = self._last("start") or {}
        numbers = (start.get("images"), start.get("held_out_images"))
        return numbers if all(isinstance(one, int) for one in numbers) else None  # type: ignore[return-value]

    def measure(self, name: str) -> Measure | None:
        """Return one of `measures` by name."""
        return next((one for one in self.measures if one.name == name), None)

    def _last(self, kind: str) -> Event | None:
        return next((event for event in reversed(self.events) if event["event"] == kind), None)


def is_number(value: object) -> bool:
    """Return whether a value can be drawn."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value and abs(value) < 1e30


def kept_events(events: Sequence[Event]) -> tuple[Event, ...]:
    """Return the events without those of lost steps: a process that resumes from a checkpoint does them again."""
    kept: list[Event] = []
    for event in events:
        if event["event"] == "start" and isinstance(event.get("step"), int):
            begun = event["step"]
            kept = [one for one in kept if one["event"] not in ("step", "held_out") or one.get("step", 0) <= begun]
        kept.append(event)
    return tuple(kept)


class RunReader:
    """Reads the logs of jobs, each line once however many people watch."""

    def __init__(self, jobs: "JobService") -> None:
        self._jobs = jobs
        # job id -> the run so far, all events of its log, and the offset to go on from
        self._read: dict[str, tuple[Run | None, tuple[Event, ...], int]] = {}
        self._lock = threading.Lock()

    def run(self, job: "Job") -> Run:
        """Return a job with its events until now."""
        with self._lock:
            known, before, offset = self._read.get(job.job_id, (None, (), 0))
            if job.state in ENDED and known is not None and known.job == job:
                return known  # nothing is written any more
            more, offset = self._jobs.events(job.job_id, offset)
            usable = [event for event in more if isinstance(event.get("step", 0), int)]
            events = (*before, *usable)[-MOST_EVENTS:]
            run = Run(job, kept_events(events))
            self._read[job.job_id] = (run, events, offset)
            return run

    def forget(self, job_id: str) -> None:
        """Drop what was read of a job that is deleted."""
        with self._lock:
            self._read.pop(job_id, None)


# ---- in words -------------------------------------------------------------------------------------------------------
def progress_words(job: "Job") -> str:
    """Return a job's state and how far it is."""
    state = STATE_WORDS[job.state]
    if not job.steps or job.state in ("queued", "done"):
        return state
    return f"{state}, step {job.step:,} of {job.steps:,}"


def run_label(run: Run) -> str:
    """Return a run as it stands in a list to choose from."""
    return f"{run.job.name}: {run.doubt or STATE_WORDS[run.job.state]}"


def better_words(measure: Measure) -> str:
    """Return which way a measure is better."""
    return f"{'higher' if measure.higher_is_better else 'lower'} is better"


def base_name(source: str, bases: Mapping[str, str]) -> str:
    """Return a base's name here, or the last part of where it came from: everybody reads it, so never a path.

    Args:
        source: folder, shipped name or Hub id of a configuration.
        bases: name of a loaded model -> where it was loaded from.
    """
    return next((name for name, known in bases.items() if known == source), PurePath(source).name)


# ---- before and after -----------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class ImagePair:
    """One held-out image as the base and the adapter see it.

    Args:
        image_id: its name.
        image: file.
        question: that was asked.
        answer_before, answer_after: of the base and of the adapter.
        before, after: their paths, as fractions of the image; None where the gaze is untrained.
        target: the path that a person gave it.
    """

    image_id: str
    image: Path
    question: str
    answer_before: str
    answer_after: str
    before: Points | None
    after: Points | None
    target: Points


def read_pairs(run: Path) -> tuple[ImagePair, ...]:
    """Return the held-out images of a run's folder before and after; none where it did not get so far.

    Raises:
        ValueError: the file is not as a run writes it.
    """
    folder = run / BEFORE_AFTER
    try:
        values = json.loads((folder / PAIRS_FILE).read_text(encoding="utf-8"))
        return tuple(_pair(one, folder) for one in values["images"])
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"What this run showed before and after cannot be read ({error}); its scores can.") from None


def _pair(one: dict[str, Any], folder: Path) -> ImagePair:
    name = str(one["file"])
    if not IMAGE_NAME.fullmatch(name):
        raise ValueError(f"{name[:40]!r} is no picture of the run")
    return ImagePair(
        str(one["image_id"]), folder / name, str(one["question"]), str(one["answer_before"] or ""),
        str(one["answer_after"] or ""), _points(one["before"]), _points(one["after"]), _points(one["taught"]) or (),
    )  # fmt: skip


def _points(values: Sequence[Sequence[float]] | None) -> Points | None:
    """Return fractions in [0, 1): what lies on the far edge is drawn just before it."""
    if values is None:
        return None
    return tuple((min(max(float(x), 0.0), BELOW_ONE), min(max(float(y), 0.0), BELOW_ONE)) for x, y in values)
