"""Folders and files of jobs: written durably, removed at once."""

import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

from finetune.config import FinetuneConfig
from finetune.jobs.job import JobError, disk_words

DELETED = ".deleted-"  # begins the name of a folder that is being removed
WriteData = Callable[[Path], object]


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


def with_data(data: Path, config: FinetuneConfig, write_data: WriteData | None) -> FinetuneConfig:
    """Write the data of a job; the configuration that learns from them.

    Args:
        data: folder that `write_data` makes.
        config: as it was submitted.
        write_data: None where the configuration names its data itself.

    Raises:
        JobError: with the sentence of `write_data`, or where it wrote nothing.
    """
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
