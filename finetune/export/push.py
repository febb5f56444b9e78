"""An adapter, or a merged model, to a repository of the Hub with its card."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from huggingface_hub import HfApi
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from finetune.export.files import BESIDE, ExportError, adapter_files, model_files
from gazevlm_core.model.adapters import PEFT_CONFIG_FILE
from web.hub import ATTEMPTS, FIRST_WAIT_S, ask_hub

MODEL = "model"
USUAL = frozenset({".gitattributes"})  # what a new repository holds


class ModelHub(Protocol):
    """What is used of `huggingface_hub.HfApi`; tests put a stub in its place."""

    def create_repo(self, repo_id: str, *, repo_type: str, private: bool, exist_ok: bool) -> object:
        """Make the repository where it is not there."""
        ...

    def model_info(self, repo_id: str) -> Any:  # noqa: ANN401 (of the library)
        """Whether it is private, and its files."""
        ...

    def upload_folder(
        self, *, repo_id: str, folder_path: str, allow_patterns: list[str], repo_type: str, commit_message: str
    ) -> object:
        """Add these files of a folder in one commit."""
        ...


@dataclass(frozen=True)
class Pushed:
    """What was sent.

    Args:
        repo_id: where to.
        private: whether only its owner sees it.
        files: names.
    """

    repo_id: str
    private: bool
    files: tuple[str, ...]


def push_adapter(
    folder: Path, repo_id: str, *, token: str | None = None, private: bool = True, api: ModelHub | None = None,
    attempts: int = ATTEMPTS, first_wait_s: float = FIRST_WAIT_S,
) -> Pushed:  # fmt: skip
    """Send an adapter, exactly its files, to a model repository, which is made if missing.

    An older version of an adapter there stays in the repository's history. A repository that holds anything else is
    left alone, and so is a public one where a private one is wanted: provenance names images and annotators.

    Args:
        folder: of the adapter.
        repo_id: "owner/name".
        token: that may write there; None takes the one of this machine.
        private: whether the repository is to be seen by its owner alone.
        api: client; None for the Hub itself.
        attempts, first_wait_s: see `ask_hub`.

    Raises:
        AdapterError: no whole adapter.
        ExportError: the repository's name or contents do not allow it.
        HubError: the Hub did not do it.
        OSError: a file cannot be read.
    """
    names = adapter_files(folder)
    return _push(folder, names, repo_id, token, private, api, (attempts, first_wait_s))


def push_model(
    folder: Path, repo_id: str, *, token: str | None = None, private: bool = True, api: ModelHub | None = None,
    attempts: int = ATTEMPTS, first_wait_s: float = FIRST_WAIT_S,
) -> Pushed:  # fmt: skip
    """Send a merged model; all as in `push_adapter`."""
    return _push(folder, model_files(folder), repo_id, token, private, api, (attempts, first_wait_s))


def push_folder(folder: Path, repo_id: str, *, token: str | None, private: bool) -> Pushed:
    """Send an adapter or a merged model, whichever the folder holds; all as in `push_adapter`."""
    push = push_adapter if (folder / PEFT_CONFIG_FILE).is_file() or not folder.is_dir() else push_model
    return push(folder, repo_id, token=token, private=private)


def _push(
    folder: Path, names: Sequence[str], repo_id: str, token: str | None, private: bool, api: ModelHub | None,
    trying: tuple[int, float],
) -> Pushed:  # fmt: skip
    check_name(repo_id)
    client = api if api is not None else HfApi(token=token)
    attempts, wait = trying

    def ask(action: Any) -> Any:  # noqa: ANN401 (whatever the call gives)
        return ask_hub(action, repo_id, attempts=attempts, first_wait_s=wait)

    ask(lambda: client.create_repo(repo_id, repo_type=MODEL, private=private, exist_ok=True))
    info = ask(lambda: client.model_info(repo_id))
    if private and not info.private:
        raise ExportError(f"{repo_id} is public already; give --public, or the name of another repository")
    others = sorted({file.rfilename for file in info.siblings or ()} - {*USUAL, *names, *BESIDE})
    if others:
        raise ExportError(f"{repo_id} holds something else ({others[0]}); give the name of another one")
    ask(
        lambda: client.upload_folder(
            repo_id=repo_id, folder_path=str(folder), allow_patterns=list(names), repo_type=MODEL,
            commit_message=f"{folder.resolve().name} from GazeVLM",
        )
    )
    return Pushed(repo_id, bool(info.private), tuple(names))


def check_name(repo_id: str) -> None:
    """Whether it is the name of a repository.

    Raises:
        ExportError: it is not.
    """
    try:
        validate_repo_id(repo_id)
    except HFValidationError:
        raise ExportError(f"{repo_id!r} is no name of a repository; give OWNER/NAME") from None
    if "/" not in repo_id:
        raise ExportError(f"{repo_id!r} lacks its owner; give OWNER/NAME")
