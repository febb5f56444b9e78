"""What a run leaves behind, for jobs, the tab and people: its log, how it ended, and an adapter's provenance.

    RUN/log.jsonl       one event per line, appended and flushed: Event
    RUN/begun.json      configuration, data and base that the run began with
    RUN/exit.json       written once, at the very end: Ending; missing after a crash or a kill
    RUN/stdout.txt      (by `finetune.jobs.process`) what the process printed
    RUN/checkpoints/    checkpoint-N folders; only those with a file COMPLETE count
    RUN/features/       of the images, where the vision tower is frozen
    RUN/tensorboard/    where the curves are sent there
    RUN/before_after/   before_after.json and PNG files: Shown
    ADAPTER/provenance.json

Free of torch, and quick to import.
"""

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from gazevlm_core.datasets.trained_on import PROVENANCE_FILE
from gazevlm_core.evaluation.checkpoint_scores import PASSED_BY_NOISE, why_unknown
from web.formatting import counted

BASE = "base"  # what a gain is measured against
LOG_FILE, EXIT_FILE, STDOUT_FILE = "log.jsonl", "exit.json", "stdout.txt"
BEGUN, TENSORBOARD = "begun.json", "tensorboard"
CHECKPOINTS, FEATURES, BEFORE_AFTER, COMPLETE = "checkpoints", "features", "before_after", "COMPLETE"
PAIRS_FILE = "before_after.json"  # in BEFORE_AFTER, beside the pictures
Outcome = Literal["done", "stopped", "failed"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
Judgement = Literal["better", "worse", "no difference seen", "too few to tell", "not comparable", "unknown"]
JUDGEMENTS: tuple[Judgement, ...] = get_args(Judgement)
BesideFloor = Literal["above the floor", "below the floor", "no different from the floor"]
UNJUDGED = "Whether it is better than its base is unknown: {why}."
# Exit status of the training process: what it says when exit.json could not be written.
EXIT_DONE, EXIT_FAILED, EXIT_STOPPED = 0, 1, 3


class RecordError(ValueError):
    """A file that is not as a run writes it; the message names it."""


@dataclass(frozen=True)
class Ending:
    """How a process of a run ended.

    Args:
        outcome: "done"; "stopped" by SIGTERM or SIGINT, with a checkpoint; or "failed".
        cause: in words, for the user.
        step: optimizer steps that are kept.
    """

    outcome: Outcome
    cause: str
    step: int = 0


@dataclass(frozen=True)
class Gain:
    """How much a score of the adapter lies above another one of the same held-out images.

    Args:
        against: BASE, or the name of the floor that stands in where the base shows nothing.
        patients: held-out patients behind it.
        value: mean gain; None, as the ends are, where the patients are too few for an interval.
        low, high: ends of the interval, in pairs over patients.
        findings: how many it is the mean of, as its measure then is; None where it is of none.
        left_out: findings of the measure that too few patients have or lack.
    """

    against: str
    patients: int
    value: float | None = None
    low: float | None = None
    high: float | None = None
    findings: int | None = None
    left_out: int = 0

    @property
    def over_base(self) -> bool:
        """Whether it is over the base, and not over a floor."""
        return self.against == BASE


@dataclass(frozen=True)
class Measure:
    """One figure on the held-out images.

    Args:
        name: "sequence score", "order gain", "AUROC", "AUROC: FINDING", "gaze loss", "text loss", ...
        value: of the adapter; None where it is not defined.
        base: of the base on the same images; None where it is not defined.
        floors: name -> figure of something that knows less, on the same images.
        higher_is_better: for the verdict and the charts.
        unit: "" or such as "nats".
        gain: what a verdict goes by; None for what none goes by.
    """

    name: str
    value: float | None
    base: float | None
    floors: Mapping[str, float] = field(default_factory=dict)
    higher_is_better: bool = True
    unit: str = ""
    gain: Gain | None = None

    def __post_init__(self) -> None:
        gain: Any = self.gain
        if isinstance(gain, Mapping):  # from a file
            object.__setattr__(self, "gain", Gain(**gain))


@dataclass(frozen=True)
class Verdict:
    """Whether an adapter is better than its base on held-out patients.

    Args:
        outcome: overall: "better" where some score is and none is worse, "worse" where some score is; "not comparable"
            where the base has none of them; "unknown" where an earlier version judged.
        why: in words, with the figures.
        scores: name of each score -> the outcome there; beside a floor where the base has none, which decides nothing.
    """

    outcome: Judgement
    why: str
    scores: Mapping[str, Judgement | BesideFloor] = field(default_factory=dict)

    @property
    def better(self) -> bool:
        """Whether it was shown to be better."""
        return self.outcome == "better"


def write_json(path: Path, values: object) -> None:
    """Write a file atomically and durably."""
    work = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        with work.open("x", encoding="utf-8") as stream:
            json.dump(values, stream, indent=2, allow_nan=False)
            stream.write("\n")
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(work, path)
    except BaseException:
        work.unlink(missing_ok=True)
        raise


def give_usual_modes(folder: Path) -> None:
    """Let the files of a folder that was just made be read by whom the umask allows: safetensors writes its files for
    their owner alone."""
    usual = folder.stat().st_mode & 0o666
    for path in folder.iterdir():
        if path.is_file():
            path.chmod(usual)


def sync_files(folder: Path) -> None:
    """Flush the files of a folder to the disk, so that a power cut leaves none of them incomplete."""
    for path in folder.iterdir():
        if path.is_file():
            with path.open("rb") as stream:
                os.fsync(stream.fileno())


def partial_of(adapter: Path) -> Path:
    """Return where an adapter is written before it gets its name; a kill leaves it behind until the next try."""
    return adapter.with_name(f".{adapter.name}.partial")


def last_checkpoint(run: Path) -> Path | None:
    """Return the latest complete checkpoint of a run."""
    marked = [path.parent for path in (run / CHECKPOINTS).glob(f"checkpoint-*/{COMPLETE}")]
    numbered = [path for path in marked if path.name.rpartition("-")[2].isdecimal()]
    return max(numbered, key=step_of, default=None)


def has_learned(run: Path) -> bool:
    """Return whether a run got as far as its first step: there is something to go on with, or to look at."""
    return last_checkpoint(run) is not None or any(event["event"] == "step" for event in read_events(run)[0])


def step_of(checkpoint: Path) -> int:
    """Return the step of a checkpoint."""
    return int(checkpoint.name.rpartition("-")[2])


def write_ending(run: Path, ending: Ending) -> None:
    """Leave exit.json."""
    write_json(run / EXIT_FILE, asdict(ending))


def read_ending(run: Path) -> Ending | None:
    """Return how the last process of a run ended; None while it runs, and after a crash or a kill."""
    try:
        values = json.loads((run / EXIT_FILE).read_text(encoding="utf-8"))
        ending = Ending(**values)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise RecordError(f"{run / EXIT_FILE} is not usable: {error}") from None
    if ending.outcome not in OUTCOMES:
        raise RecordError(f"{run / EXIT_FILE} has an unknown outcome")
    return ending


def read_events(run: Path, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
    """Return the events of a run from a byte offset on, and the offset to go on from; half a line is left for the next
    time.

    A line that cannot be read (a kill in the middle of it) is passed over.
    """
    path = run / LOG_FILE
    if not path.is_file():
        return [], 0
    with path.open("rb") as stream:
        stream.seek(offset)
        data = stream.read()
    whole = data[: data.rfind(b"\n") + 1]
    events = []
    for line in whole.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and isinstance(event.get("event"), str):
            events.append(event)
    return events, offset + len(whole)


def verdict_of(values: object) -> Verdict | None:
    """Return a verdict from a log event or provenance; None where there is none. An earlier version's counts as
    unknown."""
    if not isinstance(values, Mapping) or not isinstance(values.get("why"), str):
        return None
    outcome, scores = values.get("outcome"), values.get("scores", {})
    if outcome not in JUDGEMENTS or not isinstance(scores, Mapping):
        return Verdict("unknown", UNJUDGED.format(why=PASSED_BY_NOISE))
    return Verdict(outcome, values["why"], dict(scores))


def gain_words(gain: Gain | None) -> str:
    """Return a gain with its interval, of how many findings, and over which floor where it is none over the base; ""
    where there is none."""
    if gain is None or gain.value is None:
        return ""
    over = "" if gain.over_base else f" over the floor: {gain.against}"
    return f"{gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]{findings_words(gain)}{over}"


def findings_words(gain: Gain) -> str:
    """Return how many findings a gain is the mean of, e.g. " (4 of 7 findings)"; "" where it is of none."""
    if gain.findings is None:
        return ""
    every = counted(gain.findings + gain.left_out, "finding")
    return f" ({gain.findings} of {every})" if gain.left_out else f" ({every})"


def measures_of(values: object) -> tuple[Measure, ...]:
    """Return measures from a log event or provenance.

    Raises:
        RecordError: not as they are written.
    """
    try:
        return tuple(Measure(**one) for one in values)  # type: ignore[attr-defined]
    except TypeError as error:
        raise RecordError(f"measures are not usable: {error}") from None


def read_provenance(adapter: Path) -> dict[str, Any] | None:
    """Return an adapter's provenance as JSON values; None where it has none. An earlier version's verdict becomes
    "unknown".

    Raises:
        RecordError: a file that is no such thing.
    """
    path = adapter / PROVENANCE_FILE
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise RecordError(f"{path} is not usable: {error}") from None
    if not isinstance(values, dict):
        raise RecordError(f"{path} is not usable")
    verdict = verdict_of(values.get("verdict"))
    if verdict is None:
        return values
    try:
        why = why_unknown(values)
    except (AttributeError, KeyError, TypeError) as error:
        raise RecordError(f"{path} is not usable: {error!r}") from None
    verdict = Verdict("unknown", UNJUDGED.format(why=why)) if why else verdict
    return {**values, "verdict": asdict(verdict)}
