"""The sync in the background: every so often, at once when it is asked to, and a last time before the program ends."""

import atexit
import logging
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from annotate.store.model import StoreError
from annotate.store.store import AnnotationStore
from annotate.sync.repo import HubRepo, Memory
from annotate.sync.transfer import Pusher, restore
from web.hub import HubError

PERIOD_S, FLUSH_S = 120.0, 25.0  # a Space is killed half a minute after SIGTERM
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SyncState:
    """What is safe, and where.

    Args:
        saved: submissions that are durable in the store ("saved here").
        synced: of them, how many are in the repository as they are now.
        backlog: of them, how many are not.
        last_error: why the last try failed, in one sentence; "" where it did not.
        last_success_at: when the repository last held everything; None where it has not since the start.
    """

    saved: int
    synced: int
    backlog: int
    last_error: str
    last_success_at: datetime | None


class HubSync:
    """Keeps a data set on the Hub in step with the store. One process per store and repository.

    Args:
        store: what is published.
        repo: where to.
        folder: data folder, for a small note of what is there.
        period_s: between two tries.
    """

    def __init__(self, store: AnnotationStore, repo: HubRepo, folder: Path, *, period_s: float = PERIOD_S) -> None:
        self._store, self._repo, self._period_s = store, repo, period_s
        self._memory = Memory.load(folder, repo.repo_id)
        self._pusher = Pusher(store, repo, self._memory)
        self._lock = threading.Lock()
        self._wake, self._ended = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._reconciled = False
        self._last_error = ""
        self._last_success_at: datetime | None = None

    @classmethod
    def open(cls, store: AnnotationStore, repo_id: str, folder: Path, token: str | None = None) -> "HubSync":
        """Make one with the Hub itself as the client.

        Args:
            store: what is published.
            repo_id: "owner/name" of the data set; made, private, where it is not there.
            folder: data folder.
            token: that may write there; None for the one that is logged in.
        """
        from huggingface_hub import HfApi

        return cls(store, HubRepo(repo_id, HfApi(token=token)), folder)

    def restore(self) -> Counter[str]:
        """Fetch what the repository has and the store has not; once before anything is pushed.

        Raises:
            HubError: the Hub cannot be reached.
            OSError: this machine did not do it, e.g. its disk is full.
            StoreError: what is there is not of this store.
        """
        with self._lock:
            return self._restore()

    def sync(self) -> bool:
        """Push until everything is in the repository; return False where that failed, and why is in `state`."""
        with self._lock:
            try:
                if not self._reconciled:
                    self._restore()
                while self._pusher.step():
                    pass
            except (HubError, StoreError, OSError) as error:
                self._last_error = _disk_words(error) if isinstance(error, OSError) else str(error)
                log.warning("Annotations are saved here but not synced: %s", error)
                return False
            except Exception as error:  # whatever a client raises: the thread goes on, and the page tells
                self._last_error = f"The sync failed unexpectedly ({type(error).__name__}); it is tried again later."
                log.exception("Annotations are saved here but not synced")
                return False
            self._last_error, self._last_success_at = "", datetime.now(UTC)
            return True

    def state(self) -> SyncState:
        """Return what is saved here and what is synced; this asks the store, not the Hub."""
        counts = self._store.counts()
        saved, backlog = counts.annotations + counts.removed, counts.backlog
        return SyncState(saved, saved - backlog, backlog, self._last_error, self._last_success_at)

    # ---- in the background -------------------------------------------------------------------------------------------
    def start(self) -> None:
        """Sync every `period_s`, in a thread of its own."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="hub-sync", daemon=True)
            self._thread.start()

    def wake(self) -> None:
        """Sync now, in the background."""
        self._wake.set()

    def stop(self, limit_s: float = FLUSH_S) -> bool:
        """End the thread after a last sync; return False where it takes longer than `limit_s`. The rest stays saved."""
        thread, self._thread = self._thread, None
        if thread is None:
            return True
        self._ended.set()
        self._wake.set()
        thread.join(limit_s)
        return not thread.is_alive()

    def flush_at_exit(self, limit_s: float = FLUSH_S) -> None:
        """Sync a last time when the program ends, also by SIGTERM; to be called from the main thread."""
        atexit.register(self.stop, limit_s)
        before = signal.getsignal(signal.SIGTERM)

        def ended(number: int, frame: FrameType | None) -> None:
            self.stop(limit_s)
            _pass_on(before, number, frame)

        signal.signal(signal.SIGTERM, ended)

    def _run(self) -> None:
        while True:
            self.sync()
            if self._ended.is_set():
                return
            self._wake.wait(self._period_s)
            self._wake.clear()

    def _restore(self) -> Counter[str]:
        if not self._memory.fits(self._store):
            self._memory.forget()
        self._repo.create()
        files = self._repo.files()
        restored = restore(self._store, self._repo, self._memory, files)
        self._pusher.add_card(files)
        self._reconciled = True
        return restored


def _disk_words(error: OSError) -> str:
    """Say what a disk did for everybody who opens the page: without a path of this machine, which is in the log."""
    return f"This machine could not do it ({error.strerror or type(error).__name__}); it is tried again later."


def _pass_on(before: Callable[[int, FrameType | None], Any] | int | None, number: int, frame: FrameType | None) -> None:
    """Do what the signal did before."""
    if callable(before):
        before(number, frame)
    elif before != signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        time.sleep(1)  # until it comes
