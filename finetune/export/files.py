"""Which files make an adapter or a merged model, and copies of exactly these: whole or not at all, over nothing."""

import os
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from finetune.provenance import CARD, SCORES
from finetune.records import PROVENANCE_FILE, give_usual_modes
from gazevlm_core.model.adapters import ADAPTER_FILES, PICKLE_SUFFIXES, read_gaze_config

BESIDE = (PROVENANCE_FILE, CARD, SCORES)  # what says where an adapter comes from; one made by hand has none of it
MODEL_CONFIG = "config.json"
ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # the same adapter gives the same file


class ExportError(ValueError):
    """Something that cannot be exported, or not to there; one sentence that says what to do."""


def adapter_files(folder: Path) -> tuple[str, ...]:
    """Names of the files that are an adapter; whatever else lies there is none of it.

    Raises:
        AdapterError: the folder is not whole, or holds a pickle.
    """
    read_gaze_config(folder)
    return (*ADAPTER_FILES, *(name for name in BESIDE if (folder / name).is_file()))


def model_files(folder: Path) -> tuple[str, ...]:
    """Names of the files of a model's folder.

    Raises:
        ExportError: it holds no model, or a pickle.
    """
    if not (folder / MODEL_CONFIG).is_file():
        raise ExportError(f"{folder} holds neither an adapter nor a model; give a folder that does")
    names = tuple(sorted(path.name for path in folder.iterdir() if path.is_file() and path.name[0] != "."))
    pickles = [name for name in names if Path(name).suffix.lower() in PICKLE_SUFFIXES]
    if pickles:
        raise ExportError(f"{folder} holds pickle files ({pickles[0]}); save it as safetensors")
    return names


def check_free(target: Path) -> None:
    """Whether something can be made there.

    Raises:
        ExportError: there is something already.
    """
    if target.exists() or target.is_symlink():
        raise ExportError(f"{target} is there already; give another name")


@contextmanager
def made_whole(target: Path) -> Iterator[Path]:
    """A folder beside `target` to work in, which gets its name at the end; after an error nothing is left.

    Raises:
        ExportError: `target` is there already.
    """
    check_free(target)
    work = target.with_name(f".{target.name}.{os.getpid()}.partial")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(work, ignore_errors=True)  # of a process that was killed
    try:
        work.mkdir()
        yield work
        give_usual_modes(work)
        check_free(target)  # a rename would take the place of an empty folder
        work.rename(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def copy_adapter(folder: Path, target: Path) -> tuple[str, ...]:
    """Copy an adapter's files, and nothing else that lies beside them, to a new folder.

    Returns:
        Their names.

    Raises:
        AdapterError: no whole adapter.
        ExportError: `target` is there already.
    """
    names = adapter_files(folder)
    with made_whole(target) as work:
        for name in names:
            shutil.copyfile(folder / name, work / name)
    return names


def zip_adapter(folder: Path, target: Path) -> tuple[str, ...]:
    """Write an adapter's files into a ZIP, in a folder of the adapter's name.

    Args:
        folder: of the adapter.
        target: the file, whose folder is made if missing.

    Returns:
        Names of the files.

    Raises:
        AdapterError: no whole adapter.
        ExportError: `target` is there already.
    """
    names = adapter_files(folder)
    check_free(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    work = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        with zipfile.ZipFile(work, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in names:
                entry = zipfile.ZipInfo(f"{folder.resolve().name}/{name}", ZIP_TIME)
                entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
                with (folder / name).open("rb") as source, archive.open(entry, "w", force_zip64=True) as stream:
                    shutil.copyfileobj(source, stream)
        check_free(target)
        work.rename(target)
    finally:
        work.unlink(missing_ok=True)
    return names
