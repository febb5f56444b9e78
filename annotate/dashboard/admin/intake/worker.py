"""Does the imports that were asked for, one after the other in a thread, and clears their archives away."""

import logging
import shutil
import threading
import time
from pathlib import Path

from annotate.store.imports import run_next_import
from annotate.store.store import AnnotationStore
from annotate.store.types import StoreError

FOLDER = "imports"
PERIOD_S = 60.0  # another worker's import may have been left behind
ORPHAN_S = 3600.0  # an archive that no import names: its upload was cut off
log = logging.getLogger(__name__)


class ImportWorker:
    """One thread. Several processes may each have one: an import is done by one of them.

    Args:
        store: takes the images.
        folder: data folder; each archive lies in a folder of "imports" there until their import has ended.
        period_s: between two looks for imports that nobody told of.
    """

    def __init__(self, store: AnnotationStore, folder: Path, *, period_s: float = PERIOD_S) -> None:
        self._store, self.folder, self._period_s = store, folder / FOLDER, period_s
        self._wake, self._ended = threading.Event(), threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def wake(self) -> None:
        """Look for imports now; starts the thread where it does not run."""
        self.start()
        self._wake.set()

    def start(self) -> None:
        """Go on with what was left behind, then wait."""
        with self._starting:
            if self._thread is None and not self._ended.is_set():
                self._thread = threading.Thread(target=self._run, name="imports", daemon=True)
                self._thread.start()

    def stop(self, limit_s: float = 10.0) -> bool:
        """End the thread; False where an import takes longer. It is gone on with at the next start."""
        self._ended.set()
        self._wake.set()
        if self._thread is None:
            return True
        self._thread.join(limit_s)
        return not self._thread.is_alive()

    def work(self) -> None:
        """Do all imports that wait, and clear away what ended; on a failure of the database, later again."""
        try:
            while not self._ended.is_set() and run_next_import(self._store) is not None:
                self.clear()
            self.clear()
        except (StoreError, OSError) as error:
            log.warning("An import waits: %s", error)
        except Exception:  # the thread goes on: other imports may succeed
            log.exception("An import waits")

    def clear(self) -> None:
        """Remove the archives whose imports have ended."""
        if not self.folder.is_dir():
            return
        states = {one.where: one.state for one in self._store.imports() if one.kind == "zip"}
        for room in self.folder.iterdir():
            found = [states[str(path)] for path in room.iterdir() if str(path) in states]
            forgotten = not found and time.time() - room.stat().st_mtime > ORPHAN_S
            if forgotten or (found and set(found) <= {"done", "failed"}):
                shutil.rmtree(room, ignore_errors=True)

    def _run(self) -> None:
        while not self._ended.is_set():
            self.work()
            self._wake.wait(self._period_s)
            self._wake.clear()
