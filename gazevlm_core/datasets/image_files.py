"""Where the images of a data set lie: paths from table values, which are not trusted, and sizes from DICOM headers."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from gazevlm_core.datasets.record import DatasetError

IMAGE_MISSING = "image missing"
OUTSIDE = "path outside the data set"
HEADER_UNREADABLE = "DICOM header not readable"


def leaves_root(value: str) -> bool:
    """Whether a table value, taken as a path, is absolute or goes upwards, by the rules of any operating system."""
    absolute = value.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", value) is not None
    return absolute or ".." in re.split(r"[/\\]", value)


def need_folder(root: Path, relative: str, dataset: str) -> Path:
    """A folder of a data set.

    Raises:
        DatasetError: it is not there.
    """
    path = root / relative
    if not path.is_dir():
        raise DatasetError(f"{dataset}: there is no folder {relative} in {root}; expected the images there")
    return path


def find_image(relative: str, folders: Sequence[Path], dropped: Counter[str]) -> Path | None:
    """The image that a table value names, in the first folder that has it.

    Args:
        relative: path below a folder.
        folders: where it may lie.
        dropped: gets OUTSIDE or IMAGE_MISSING where the answer is None.
    """
    if leaves_root(relative):
        dropped[OUTSIDE] += 1
        return None
    for folder in folders:
        path = folder / relative
        if os.path.isfile(path):  # unlike Path.is_file, it also says no to names that no file can have
            return path
    dropped[IMAGE_MISSING] += 1
    return None


def index_files(folder: Path, suffix: str) -> dict[str, str]:
    """Name without suffix -> path of every file below a folder; linked folders are not entered.

    Only names are read, no file is opened. Where a name is there twice, the first in sorted order counts.
    """
    found: dict[str, str] = {}
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            if name.endswith(suffix):
                found.setdefault(name.removesuffix(suffix), os.path.join(parent, name))
    return found


def dicom_size_px(path: Path) -> tuple[int, int] | None:
    """Width and height from a DICOM header, without the pixels; None where it cannot be read or gives none.

    Only the two elements are parsed: nothing about the patient is.
    """
    from pydicom import dcmread  # takes half a second to import

    try:
        header = dcmread(path, stop_before_pixels=True, specific_tags=["Rows", "Columns"])
        width, height = int(header.Columns), int(header.Rows)
    except MemoryError:
        raise
    except Exception:
        return None  # pydicom raises whatever it likes on a damaged file
    return (width, height) if width > 0 and height > 0 else None
