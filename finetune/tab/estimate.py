"""How long a training will take, from what earlier ones on this machine took; never guessed from anything else."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from statistics import median
from typing import TYPE_CHECKING

from finetune.tab.runs import Event, Run
from web.formatting import counted, duration

if TYPE_CHECKING:
    from finetune.config import FinetuneConfig

NO_RUN = "Time: no run with this base on this machine yet, so nobody can tell."
MOST_RUNS = 10  # the latest; libraries and the machine change


@dataclass(frozen=True)
class Pace:
    """What one run took.

    Args:
        image_s: for one image once, its share of the scorings between the steps included.
        around_s: before the first step and after the last; None where that is not known.
        device: where.
    """

    image_s: float
    around_s: float | None
    device: str


@dataclass(frozen=True)
class Estimate:
    """What a training will take.

    Args:
        seconds: None where there was no such run yet.
        image_s: seconds for one image once.
        runs: that it was measured in.
        seen: images, each as often as it will be seen.
        device: where those runs were.
    """

    seconds: float | None
    image_s: float = 0.0
    runs: int = 0
    seen: float = 0.0
    device: str = ""

    def sentence(self) -> str:
        """In words."""
        if self.seconds is None:
            return NO_RUN
        return (
            f"Time: about {duration(self.seconds)} on {self.device} ({self.seen:,.0f} times an image at "
            f"{self.image_s:.2g} s, measured in {counted(self.runs, 'earlier run')} with this base)."
        )


def images_per_step(config: "FinetuneConfig") -> int:
    """Images behind one optimizer step."""
    return config.batch_size * config.accumulation


def images_seen(config: "FinetuneConfig", images: int) -> float:
    """How often an image is looked at in a whole training.

    Args:
        config: of it.
        images: that there are, held-out ones among them.
    """
    if config.max_steps:
        return float(config.max_steps * images_per_step(config))
    return max(1, round(images * (1 - config.held_out_share))) * config.epochs


def pace_of(run: Run) -> Pace | None:
    """What a run took per image; None where fewer than two steps of one process are known."""
    seconds, steps, processes = 0.0, 0, 0
    first: Event | None = None
    last: Event | None = None
    for event in (*run.events, {"event": "start"}):
        if event["event"] == "start":
            if first is not None and last is not None and last["step"] > first["step"]:
                seconds += last["time_s"] - first["time_s"]
                steps += last["step"] - first["step"]
            first, last, processes = None, None, processes + 1
        elif event["event"] == "step":
            first, last = first or event, event
    if not steps or seconds <= 0:
        return None
    whole = processes == 2 and run.job.state == "done"  # one process, from the beginning to the end
    around = _span(run.events) - seconds if whole else None
    return Pace(seconds / (steps * images_per_step(run.job.config)), around, run.device)


def estimate_time(config: "FinetuneConfig", images: int, runs: Sequence[Run]) -> Estimate:
    """How long a training will take.

    Args:
        config: of it.
        images: that there are, held-out ones among them.
        runs: earlier ones on this machine, the latest first; those with another base or device are passed over.
    """
    same = (run for run in runs if _kind(run.job.config) == _kind(config))
    paces = list(islice((pace for run in same if (pace := pace_of(run)) is not None), MOST_RUNS))
    if not paces:
        return Estimate(None)
    image_s = median(pace.image_s for pace in paces)
    around = [pace.around_s for pace in paces if pace.around_s is not None]
    seen = images_seen(config, images)
    seconds = image_s * seen + (median(around) if around else 0.0)
    return Estimate(seconds, image_s, len(paces), seen, paces[0].device or config.device)


def _kind(config: "FinetuneConfig") -> tuple[str, str, str]:
    return config.base, config.device, config.precision


def _span(events: Sequence[Event]) -> float:
    return float(events[-1]["time_s"] - events[0]["time_s"])
