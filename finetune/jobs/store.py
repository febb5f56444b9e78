"""Folders of jobs: made whole or not at all, gone at once when deleted, and locked against other apps."""

import fcntl
import logging
import os
import secrets
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO

from finetune.config import ConfigError, FinetuneConfig
from finetune.jobs.job import CONFIG_FILE, DATA_FOLDER, JOB_FILE, Job, JobError, disk_words, read_job, write_job

JOBS = "jobs"  # the folder, in that of all that the app keeps
DELETED = ".deleted-"  # begins the name of a folder that is being removed
LOCK_FILE = ".lock"
WriteData = Callable[[Path], object]
log = logging.getLogger(__name__)


def read_jobs(folder: Path) -> list[Job]:
    """Read all jobs of a folder; one that cannot be read is passed over.

    Args:
        folder: JOBS; made where it is missing.

    Raises:
        JobError: the folder cannot be made or read.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        found = sorted(path.parent for path in folder.glob(f"[!.]*/{JOB_FILE}"))
    except OSError as error:
        raise JobError(f"{disk_words(error)}; the jobs in {folder} cannot be used.") from None
    jobs = []
    for place in found:
        try:
            jobs.append(read_job(place))
        except (JobError, ConfigError) as error:
            log.warning("A job is passed over: %s", error)
    return jobs


@contextmanager
def make_job(job: Job, write_data: WriteData | None) -> Iterator[Job]:
    """Write a new job to the disk, all of it; it is removed again where the block fails.

    Args:
        job: with a folder that is not there yet.
        write_data: as in `JobService.submit`.

    Raises:
        JobError: the data cannot be written.
    """
    try:
        job.run.mkdir(parents=True)
        job = replace(job, config=_with_data(job.folder / DATA_FOLDER, job.config, write_data))
        write_text(job.folder / CONFIG_FILE, job.config.to_yaml())
        write_job(job)  # from here on it is a job
        yield job
    except BaseException as error:
        (job.folder / JOB_FILE).unlink(missing_ok=True)
        shutil.rmtree(job.folder, ignore_errors=True)
        if isinstance(error, OSError):
            raise JobError(f"{disk_words(error)}; no job was made; make room and try again.") from error
        raise


def _with_data(data: Path, config: FinetuneConfig, write_data: WriteData | None) -> FinetuneConfig:
    """Write the data of a job into a new folder; return the configuration that learns from them."""
    if write_data is None:
        return config
    try:
        write_data(data)
    except JobError:
        raise
    except ValueError as error:
        raise JobError(str(error)) from error
    if not data.is_dir():
        raise JobError("There is nothing to learn from: no annotations were written; choose others.")
    return FinetuneConfig.from_values({**config.to_values(), "annotations": [str(data)], "shares": []})


def write_text(path: Path, text: str) -> None:
    """Write a file, durably."""
    with path.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def remove_folder(folder: Path) -> None:
    """Remove a folder; it is gone at once, even where a kill comes in between.

    Raises:
        JobError: it cannot be removed.
    """
    aside = folder.with_name(f"{DELETED}{folder.name}-{secrets.token_hex(3)}")
    try:
        folder.rename(aside)
    except OSError as error:
        raise JobError(f"{disk_words(error)}; {folder.name} was not deleted.") from None
    shutil.rmtree(aside, ignore_errors=True)


def clean_folders(folder: Path, adapters: Path, in_making: Collection[str]) -> None:
    """Remove what a killed app left half made or half deleted.

    Args:
        folder: JOBS.
        adapters: folder of the adapters.
        in_making: ids of the jobs that are being made.
    """
    for place in folder.iterdir():
        if not place.is_dir() or place.name in in_making:
            continue
        if place.name.startswith(DELETED) or not (place.name.startswith(".") or (place / JOB_FILE).exists()):
            log.info("Removed %s, which was left half made or half deleted.", place)
            shutil.rmtree(place, ignore_errors=True)
    for left_file in folder.glob(f"*/.{JOB_FILE}-*"):
        left_file.unlink(missing_ok=True)
    for deleted in adapters.glob(f"{DELETED}*"):
        shutil.rmtree(deleted, ignore_errors=True)


def lock_folder(folder: Path) -> IO[bytes]:
    """Keep other apps from the same folder until the file that is returned is closed, or the process ends.

    Raises:
        JobError: another app uses it.
        OSError: the file cannot be written.
    """
    lock_file = (folder / LOCK_FILE).open("ab")
    try:
        fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock_file.close()
        raise JobError(f"Another app runs the jobs in {folder}; close it, or choose another folder.") from None
    except OSError as error:
        log.warning("%s cannot be locked (%s); never open it in two apps at once.", folder, error.strerror)
    return lock_file
