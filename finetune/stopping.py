"""How a run is asked to stop, and why it ended, in words."""

import errno
import signal
import threading
from types import FrameType

FULL_DISK = "The disk is full; make room and resume. What was kept before is whole."
NO_MEMORY = (
    "Memory ran out; start again with gradient_checkpointing turned on, or with a lower batch_size (and more "
    "accumulation), max_pixels or lora_rank. On the command line, --resume --gradient-checkpointing goes on."
)
# What torch.save says instead of the system's error, whose number it drops.
TORCH_CANNOT_WRITE = ("inline_container", "pytorchstreamwriter", "iostream error")
BUG = "{kind}: {text} (not an error that is known; the whole of it is in the process's output)"


class Stopped(Exception):
    """The run was asked to stop."""


class StopRequest:
    """Set by SIGTERM or SIGINT; a run asks for it between steps.

    Further signals change nothing: a checkpoint that is being written is worth more than haste.
    """

    def __init__(self) -> None:
        self._event = threading.Event()

    def listen(self) -> None:
        """Handle the signals of this process from now on."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._receive)

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        self._event.set()

    def __call__(self) -> bool:
        """Return whether the run should stop."""
        return self._event.is_set()

    def check(self) -> None:
        """Raise `Stopped` if the run should stop."""
        if self():
            raise Stopped


def cause_of(error: BaseException, known: tuple[type[BaseException], ...]) -> str:
    """Return why a run failed, in words for the user.

    Args:
        known: errors whose text is such words already.
    """
    text = " ".join(str(error).split())
    if isinstance(error, known):
        return text
    lowered = text.lower()
    full = ("no space left on device", *TORCH_CANNOT_WRITE)
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or any(one in lowered for one in full):
        return FULL_DISK
    if isinstance(error, MemoryError) or "out of memory" in lowered or "can't allocate memory" in lowered:
        return NO_MEMORY
    return BUG.format(kind=type(error).__name__, text=text[:300])
