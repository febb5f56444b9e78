"""How values are written in the tab: times, figures, sizes, states."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from finetune.records import Judgement

if TYPE_CHECKING:
    from finetune.jobs.job import Job

UNKNOWN = "-"
MINUTE_S = 60
STATE_WORDS = {
    "queued": "waits for its turn", "running": "running", "paused": "paused", "done": "done", "failed": "failed",
    "cancelled": "cancelled",
}  # fmt: skip
VERDICT_WORDS: Mapping[Judgement, str] = {
    "better": "better", "worse": "worse than its base", "no difference seen": "no difference from its base seen",
    "too few to tell": "too few to tell", "unknown": "not known whether better than its base",
}  # fmt: skip


def when(moment_s: float | None) -> str:
    """A moment (unix time) to the minute, in UTC."""
    return UNKNOWN if moment_s is None else f"{datetime.fromtimestamp(moment_s, UTC):%Y-%m-%d %H:%M} UTC"


def duration(seconds: float) -> str:
    """A length of time to two digits or so: "45 s", "4 min", "2 h 10 min"."""
    if seconds < 1.5 * MINUTE_S:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / MINUTE_S)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def figure(value: float | None, *, signed: bool = False) -> str:
    """Three digits, or a dash where it is not known."""
    if value is None:
        return UNKNOWN
    return f"{value:+.3f}" if signed else f"{value:.3f}"


def size(count: float) -> str:
    """Bytes in words."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def counted(count: int, one: str, more: str = "") -> str:
    """A number with its noun."""
    return f"{count:,} {one if count == 1 else more or one + 's'}"


def progress(job: "Job") -> str:
    """A job's state, and how far it is."""
    state = STATE_WORDS[job.state]
    if not job.steps or job.state in ("queued", "done"):
        return state
    return f"{state}, step {job.step:,} of {job.steps:,}"
