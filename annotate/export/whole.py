"""A folder that is there as a whole or not at all."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from annotate.store.types import StoreError


@contextmanager
def whole_folder(folder: Path, what: str) -> Iterator[Path]:
    """A folder beside the wanted one to write to; it takes that name at the end, and is gone after any error.

    Args:
        folder: must not exist, or be empty.
        what: is written, for messages, such as "export".

    Raises:
        StoreError: the folder is in use, or the disk takes no more.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StoreError(f"{folder} is in use; give a folder that is empty or not there yet.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise StoreError(f"Cannot write beside {folder}: {error.strerror}.") from None
    try:
        yield work
        work.chmod(0o755)
        work.replace(folder)  # a rename; an empty folder gives way
    except OSError as error:
        raise StoreError(f"The {what} could not be written ({error.strerror}); nothing was left behind.") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)
