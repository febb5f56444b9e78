"""The Adapt tab's service on jobs and data that are made up, for tests."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from PIL import Image

from finetune.config import FinetuneConfig
from finetune.records import Measure, write_json
from finetune.tab.form import TrainingForm
from finetune.tab.runs import Run
from finetune.tab.service import AdaptService
from web.identity import Claim, Gate
from web.settings import Settings
from web.training_data import DataChoice, DataCount

ADMIN_TOKEN, REVIEWER_TOKEN = "admin-token-of-the-test", "reviewer-token-of-the-test"
NOBODY = Claim(None, "", "", "10.0.0.1")
ANNOTATOR = Claim(None, "Ann", "", "10.0.0.2")
REVIEWER = Claim(None, "Rita", REVIEWER_TOKEN, "10.0.0.3")
ADMIN = Claim(None, "Root", ADMIN_TOKEN, "10.0.0.4")
BASES = {"gazevlm-nano": "gazevlm-nano", "org/large model": "/models/large"}
MEASURES = (
    Measure("sequence score", 0.41, 0.30, {"centre": 0.2, "another image": 0.25}),
    Measure("AUROC", 0.9, 0.88, {"chance": 0.5}),
    Measure("gaze loss", 2.5, 3.1, {}, higher_is_better=False, unit="nats"),
)


@dataclass(frozen=True)
class FakeJob:
    """As `finetune.jobs.job.Job`."""

    job_id: str
    name: str = "first"
    state: str = "done"
    cause: str = ""
    config: FinetuneConfig = field(default_factory=lambda: FinetuneConfig(annotations=("data",)))
    creator: str = "A-1"
    created_at_s: float = 1_760_000_000.0
    begun_at_s: float | None = 1_760_000_010.0
    worked_s: float = 90.0
    ended_at_s: float | None = 1_760_000_100.0
    step: int = 0
    steps: int = 0
    eta_s: float | None = None
    adapter: Path | None = None
    folder: Path = Path("/nowhere")

    @property
    def run(self) -> Path:
        return self.folder / "run"


class FakeJobs:
    """Jobs without processes; `done` says what was asked of them."""

    def __init__(self, *runs: tuple[FakeJob, list[dict[str, Any]]]) -> None:
        self.known = {job.job_id: job for job, _ in runs}
        self.logs = {job.job_id: events for job, events in runs}
        self.asked: list[tuple[Any, ...]] = []

    def jobs(self) -> list[FakeJob]:
        return list(self.known.values())

    def events(self, job_id: str, offset: int) -> tuple[list[dict[str, Any]], int]:
        return self.logs[job_id][offset:], len(self.logs[job_id])

    def log_tail(self, job_id: str, lines: int) -> str:
        return f"last {lines} lines of {job_id} <b>"

    def submit(
        self, name: str, config: FinetuneConfig, creator: str, write_data: Callable[[Path], object]
    ) -> FakeJob:
        job = FakeJob(f"job-{len(self.known)}", name, "queued", "", config, creator)
        self.asked.append(("submit", name, config, creator, write_data))
        self.known = {job.job_id: job, **self.known}
        self.logs[job.job_id] = []
        return job

    def pause(self, job_id: str) -> None:
        self.asked.append(("pause", job_id))

    def resume(self, job_id: str) -> None:
        self.asked.append(("resume", job_id))

    def cancel(self, job_id: str) -> None:
        self.asked.append(("cancel", job_id))

    def delete(self, job_id: str, *, adapter: bool = False) -> None:
        self.asked.append(("delete", job_id, adapter))
        del self.known[job_id]


class FakeData:
    """Twelve scanpaths of two people on nine images; the counts tell the choices apart."""

    def projects(self) -> dict[str, str]:
        return {"main": "Main", "tubes": "Tubes & lines"}

    def count(self, choice: DataChoice) -> DataCount:
        if choice.least_agreement > 0.9:
            return DataCount(left_out={"agrees too little": 12})
        if choice.project == "tubes":
            return DataCount(2, 3, {"B-2": 3}, {}, {"of another project": 9})
        if choice.accepted_only:
            return DataCount(4, 5, {"A-1": 5}, {"effusion": 2}, {"not accepted yet": 7})
        return DataCount(9, 12, {"B-2": 8, "A-1": 4}, {"effusion": 3, "nodule <b>": 1}, {"rejected": 2})

    def write(self, choice: DataChoice, folder: Path) -> DataCount:
        folder.mkdir(parents=True)
        (folder / "choice.json").write_text(json.dumps([choice.accepted_only, *choice.annotators]))
        return self.count(choice)


def make_gate(**change: Any) -> Gate:
    """As on a laptop, with both tokens."""
    settings = Settings(**{"admin_token": ADMIN_TOKEN, "reviewer_token": REVIEWER_TOKEN, **change})
    return Gate(settings, lambda name: f"P-{name.partition(':')[2][:8]}")


def make_service(jobs: Any = None, **change: Any) -> AdaptService:
    """A service; on made-up jobs unless others are given."""
    parts: dict[str, Any] = {
        "gate": make_gate(), "jobs": jobs or FakeJobs(), "adapters": Path("/nowhere"), "data": FakeData(),
        "bases": BASES, "memory": lambda config: f"Memory: {config.lora_rank} MiB.", **change,
    }  # fmt: skip
    return AdaptService(**parts)


def make_form(**change: Any) -> TrainingForm:
    """A form as the page fills it in."""
    return replace(TrainingForm("new", "gazevlm-nano", False, [], 0.0, {}), **change)


def make_events(
    steps: int, of: int = 0, *, begin: int = 0, at_s: float = 100.0, step_s: float = 2.0, loss: float = 3.0
) -> list[dict[str, Any]]:
    """A log of one process: its start, then steps."""
    of = of or begin + steps
    start = {"event": "start", "step": begin, "steps": of, "images": 8, "held_out_images": 2, "device": "cpu",
             "time_s": at_s}  # fmt: skip
    lines = [
        {"event": "step", "step": begin + number, "steps": of, "time_s": at_s + 10 + step_s * number,
         "loss": loss / (begin + number), "gaze_loss": loss / (begin + number) - 0.01, "text_loss": 0.01}
        for number in range(1, steps + 1)
    ]  # fmt: skip
    return [start, *lines]


def held_out(step: int, *, measures: tuple[Measure, ...] = MEASURES, time_s: float = 500.0) -> dict[str, Any]:
    """The event of a scoring."""
    return {"event": "held_out", "step": step, "time_s": time_s, "measures": [as_values(one) for one in measures]}


def as_values(measure: Measure) -> Mapping[str, Any]:
    return {**vars(measure), "floors": dict(measure.floors)}


def verdict(*, better: bool = True, why: str = "Sequence score 0.410 against 0.300.") -> dict[str, Any]:
    """The event of a verdict."""
    outcome = "better" if better else "no difference seen"
    return {"event": "verdict", "outcome": outcome, "why": why, "scores": {}, "time_s": 600.0}


def make_run(
    job_id: str = "one", *, better: bool = True, events: list[dict[str, Any]] | None = None, **job: Any
) -> Run:
    """A finished run."""
    log = events if events is not None else [*make_events(6), held_out(6), verdict(better=better)]
    return Run(FakeJob(job_id, **{"step": 6, "steps": 6, **job}), tuple(log))  # type: ignore[arg-type]


def write_pairs(run: Path, number: int = 2) -> None:
    """What a run leaves of held-out images: before_after/ with pictures."""
    folder = run / "before_after"
    folder.mkdir(parents=True)
    images = []
    for count in range(number):
        Image.new("L", (120, 100), 40 + 60 * count).save(folder / f"{count}.png")
        images.append({
            "image_id": f"phantom {count}", "file": f"{count}.png", "question": "What do you see?",
            "answer_before": "No <b>finding</b>.", "answer_after": f"A target, number {count}.",
            "before": [[0.2, 0.2], [0.5, 0.5]], "after": [[0.8, 0.8], [1.0, 0.1]], "taught": [[0.8, 0.75]],
        })  # fmt: skip
    write_json(folder / "before_after.json", {"images": images})
