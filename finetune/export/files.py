"""Which files make an adapter or a merged model, and exact copies of these: a folder, a ZIP, a repository of the Hub.

Nothing is written over, and what is written appears complete or not at all.
"""

import os
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import HfApi
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from finetune.card import CARD
from finetune.records import PROVENANCE_FILE, give_usual_modes
from gazevlm_core.evaluation.checkpoint_scores import SCORES_FILE
from gazevlm_core.model.adapters import ADAPTER_FILES, PEFT_CONFIG_FILE, PICKLE_SUFFIXES, read_gaze_config
from web.hub import ATTEMPTS, FIRST_WAIT_S, ask_hub

BESIDE = (PROVENANCE_FILE, CARD, SCORES_FILE)  # what says where an adapter comes from; one made by hand has none of it
MODEL_CONFIG = "config.json"
MODEL = "model"
NEW_REPOSITORY = frozenset({".gitattributes"})  # what a new one holds
ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # the same adapter gives the same file


class ExportError(ValueError):
    """Something that cannot be exported, or not to there; one sentence that says what to do."""


# ---- files ----------------------------------------------------------------------------------------------------------
def adapter_files(folder: Path) -> tuple[str, ...]:
    """Return the names of the files that are an adapter; whatever else lies there is none of it.

    Raises:
        AdapterError: the folder is incomplete, or holds a pickle.
    """
    read_gaze_config(folder)
    return (*ADAPTER_FILES, *(name for name in BESIDE if (folder / name).is_file()))


def model_files(folder: Path) -> tuple[str, ...]:
    """Return the names of the files of a model's folder.

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
    """Raise `ExportError` where there is something already."""
    if target.exists() or target.is_symlink():
        raise ExportError(f"{target} is there already; give another name")


# ---- copies ---------------------------------------------------------------------------------------------------------
@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Give a folder beside `target` to work in, and its name at the end; after an error nothing is left.

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


def zip_adapter(folder: Path, target: Path) -> tuple[str, ...]:
    """Write exactly an adapter's files into a ZIP, in a folder of the adapter's name, and return their names.

    Raises:
        AdapterError: the adapter is incomplete.
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


# ---- the Hub --------------------------------------------------------------------------------------------------------
class Pushed(NamedTuple):
    """Where files were sent, whether only the owner sees them there, and their names."""

    repo_id: str
    private: bool
    files: tuple[str, ...]


def push_folder(
    folder: Path, repo_id: str, *, token: str | None = None, private: bool = True, api: HfApi | None = None,
    attempts: int = ATTEMPTS, first_wait_s: float = FIRST_WAIT_S,
) -> Pushed:  # fmt: skip
    """Send exactly the files of an adapter or a merged model to a model repository, which is made if missing.

    An older version there stays in the repository's history. A repository that holds anything else is left alone, and
    so is a public one where a private one is wanted: provenance names images and annotators.

    Args:
        folder: of the adapter or the model.
        repo_id: "owner/name".
        token: that may write there; None takes the one of this machine.
        private: whether the repository is to be seen by its owner alone.
        api: client; None for the Hub itself.
        attempts, first_wait_s: see `ask_hub`.

    Raises:
        AdapterError: the adapter is incomplete.
        ExportError: no model, or the repository's name or contents do not allow it.
        HubError: the Hub did not do it.
        OSError: a file cannot be read.
    """
    is_adapter = (folder / PEFT_CONFIG_FILE).is_file() or not folder.is_dir()
    names = adapter_files(folder) if is_adapter else model_files(folder)
    _check_name(repo_id)
    client = api if api is not None else HfApi(token=token)

    def ask(action: Any) -> Any:  # noqa: ANN401 (whatever the call gives)
        return ask_hub(action, repo_id, attempts=attempts, first_wait_s=first_wait_s)

    ask(lambda: client.create_repo(repo_id, repo_type=MODEL, private=private, exist_ok=True))
    info = ask(lambda: client.model_info(repo_id))
    if private and not info.private:
        raise ExportError(f"{repo_id} is public already; give --public, or the name of another repository")
    others = sorted({file.rfilename for file in info.siblings or ()} - {*NEW_REPOSITORY, *names, *BESIDE})
    if others:
        raise ExportError(f"{repo_id} holds something else ({others[0]}); give the name of another one")
    ask(
        lambda: client.upload_folder(
            repo_id=repo_id, folder_path=str(folder), allow_patterns=list(names), repo_type=MODEL,
            commit_message=f"{folder.resolve().name} from GazeVLM",
        )
    )
    return Pushed(repo_id, bool(info.private), tuple(names))


def _check_name(repo_id: str) -> None:
    """Raise `ExportError` where it is no name of a repository."""
    try:
        validate_repo_id(repo_id)
    except HFValidationError:
        raise ExportError(f"{repo_id!r} is no name of a repository; give OWNER/NAME") from None
    if "/" not in repo_id:
        raise ExportError(f"{repo_id!r} lacks its owner; give OWNER/NAME")
