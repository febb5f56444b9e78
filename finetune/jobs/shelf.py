"""The folder of the jobs: each is made whole or not at all, kept at every change, and gone at once when deleted."""

import fcntl
import logging
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from finetune.config import ConfigError, FinetuneConfig
from finetune.jobs.files import DELETED, WriteData, remove_folder, with_data, write_text
from finetune.jobs.job import (
    CONFIG_FILE,
    DATA_FOLDER,
    JOB_FILE,
    RUN_FOLDER,
    JobError,
    Record,
    disk_words,
    read_record,
    write_record,
)
from finetune.jobs.launcher import Process
from finetune.jobs.progress import Progress

LOCK_FILE = ".lock"
log = logging.getLogger(__name__)


@dataclass
class Entry:
    """A job in memory.

    Args:
        folder: of the job.
        record: what job.json holds, or should hold.
        config: what config.yaml holds.
        progress: of its run.
        process: that runs for it.
        kill_at_s: `time.monotonic` after which a process that was asked to stop is killed.
        unsaved: whether job.json is behind the record, because the disk is full.
    """

    folder: Path
    record: Record
    config: FinetuneConfig
    progress: Progress
    process: Process | None = None
    kill_at_s: float | None = None
    unsaved: bool = False

    @property
    def run(self) -> Path:
        """Folder of the run."""
        return self.folder / RUN_FOLDER


class Shelf:
    """All jobs. What changes an entry is called under the service's lock.

    Args:
        folder: JOBS; made where it is missing.

    Raises:
        JobError: the folder cannot be made or read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entries: dict[str, Entry] = {}
        self._making: set[str] = set()
        self._lock_file: IO[bytes] | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            found = sorted(path.parent for path in folder.glob(f"[!.]*/{JOB_FILE}"))
        except OSError as error:
            raise JobError(f"{disk_words(error)}; the jobs in {folder} cannot be used.") from None
        for place in found:
            try:
                config = FinetuneConfig.from_yaml(place / CONFIG_FILE)
                self.entries[place.name] = Entry(place, read_record(place), config, Progress(place / RUN_FOLDER))
            except (JobError, ConfigError) as error:
                log.warning("A job is passed over: %s", error)

    @contextmanager
    def making(self, name: str, config: FinetuneConfig, creator: str, write_data: WriteData | None) -> Iterator[Entry]:
        """A new job on the disk, all of it; removed again where the block fails.

        Raises:
            JobError: the data cannot be written.
        """
        now = time.time()
        job_id = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now))}-{secrets.token_hex(3)}"
        folder = self.folder / job_id
        self._making.add(job_id)
        try:
            (folder / RUN_FOLDER).mkdir(parents=True)
            config = with_data(folder / DATA_FOLDER, config, write_data)
            write_text(folder / CONFIG_FILE, config.to_yaml())
            record = Record(job_id, name, "queued", "Waits for its turn.", creator, created_at_s=now, queued_at_s=now)
            write_record(folder, record)  # from here on it is a job
            yield Entry(folder, record, config, Progress(folder / RUN_FOLDER))
        except BaseException as error:
            (folder / JOB_FILE).unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, OSError):
                raise JobError(f"{disk_words(error)}; no job was made; make room and try again.") from error
            raise
        finally:
            self._making.discard(job_id)

    def change(self, entry: Entry, **changes: Any) -> None:
        """Change a record; where the disk is full it is kept in memory, and written as soon as that works."""
        entry.record = replace(entry.record, **changes)
        self.save(entry)

    def save(self, entry: Entry) -> None:
        """Write job.json, or remember that it must be written."""
        try:
            write_record(entry.folder, entry.record)
            entry.unsaved = False
        except OSError as error:
            if not entry.unsaved:
                log.warning("Job %s: %s; its state is kept in memory for now.", entry.record.name, disk_words(error))
            entry.unsaved = True

    def remove(self, entry: Entry) -> None:
        """Remove a job with all that belongs to it."""
        remove_folder(entry.folder)
        del self.entries[entry.record.job_id]

    def clean(self) -> None:
        """Remove what a killed app left half made or half deleted."""
        for place in self.folder.iterdir():
            left = place.name.startswith(DELETED) or not (place.name.startswith(".") or (place / JOB_FILE).exists())
            if place.is_dir() and left and place.name not in self._making:
                log.info("Removed %s, which was left half made or half deleted.", place)
                shutil.rmtree(place, ignore_errors=True)
        for left_file in self.folder.glob(f"*/.{JOB_FILE}-*"):
            left_file.unlink(missing_ok=True)

    def lock(self) -> None:
        """Keep other apps from the same folder; the lock goes with the process.

        Raises:
            JobError: another app uses it.
        """
        lock_file = (self.folder / LOCK_FILE).open("ab")
        try:
            fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock_file.close()
            raise JobError(f"Another app runs the jobs in {self.folder}; close it, or choose another folder.") from None
        except OSError as error:
            log.warning("%s cannot be locked (%s); never open it in two apps at once.", self.folder, error.strerror)
        self._lock_file = lock_file

    def unlock(self) -> None:
        """Let other apps use the folder."""
        if self._lock_file is not None:
            self._lock_file.close()
            self._lock_file = None
