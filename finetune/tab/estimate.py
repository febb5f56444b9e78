"""What a training will take: time from earlier runs on this machine, memory from the dimensions of its base."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from statistics import median
from typing import NamedTuple

from finetune.config import FinetuneConfig
from finetune.room import BaseFacts, memory_for
from finetune.tab.runs import Event, Run
from web.formatting import counted, duration, size

NO_RUN = "Time: no run with this base on this machine yet, so nobody can tell."
TIME = (
    "Time: about {time} on {device} ({seen:,.0f} times an image at {image_s:.2g} s, measured in {runs} with this base)."
)
MEMORY = "Memory: about {total} on the {device}, {activations} of it for one batch (computed, not measured)."
MOST_RUNS = 10  # the latest; libraries and the machine change


# ---- time -----------------------------------------------------------------------------------------------------------
class RunTimes(NamedTuple):
    """What one run took for one image once, its share of the scorings between the steps included; before the first step
    and after the last, where that is known; and on which device."""

    image_s: float
    around_s: float | None
    device: str


def images_seen(config: FinetuneConfig, images: int) -> float:
    """Return how many images a training sees, each as often as it is seen; `images` include the held-out ones."""
    if config.max_steps:
        return float(config.max_steps * config.batch_size * config.accumulation)
    return max(1, round(images * (1 - config.held_out_share))) * config.epochs


def measure_times(run: Run) -> RunTimes | None:
    """Return what a run took per image; None where fewer than two steps of one process are known."""
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
    uninterrupted = processes == 2 and run.job.state == "done"  # one process from beginning to end
    around = float(run.events[-1]["time_s"] - run.events[0]["time_s"]) - seconds if uninterrupted else None
    config = run.job.config
    return RunTimes(seconds / (steps * config.batch_size * config.accumulation), around, run.device)


def time_sentence(config: FinetuneConfig, images: int, runs: Sequence[Run]) -> str:
    """Return how long a training will take, by the latest runs with the same base, device and precision.

    Args:
        config: of the training.
        images: that there are, held-out ones among them.
        runs: earlier ones on this machine, the latest first.
    """
    wanted = (config.base, config.device, config.precision)
    same = (run for run in runs if (run.job.config.base, run.job.config.device, run.job.config.precision) == wanted)
    times = list(islice((found for run in same if (found := measure_times(run)) is not None), MOST_RUNS))
    if not times:
        return NO_RUN
    image_s, seen = median(one.image_s for one in times), images_seen(config, images)
    around = [one.around_s for one in times if one.around_s is not None]
    seconds = image_s * seen + (median(around) if around else 0.0)
    return TIME.format(
        time=duration(seconds), device=times[0].device or config.device, seen=seen, image_s=image_s,
        runs=counted(len(times), "earlier run"),
    )  # fmt: skip


# ---- memory ---------------------------------------------------------------------------------------------------------
def memory_sentence(config: FinetuneConfig, facts: BaseFacts) -> str:
    """Return what memory a training takes on one device."""
    on_gpu = facts.on_gpu if config.device == "auto" else config.device != "cpu"
    memory = memory_for(config, replace(facts, on_gpu=on_gpu))
    device = "GPU" if on_gpu else "CPU"
    return MEMORY.format(total=size(memory.total), device=device, activations=size(memory.activations))
