"""The data set repository on the Hub: files are added and read, never changed or deleted."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, TypeVar

from huggingface_hub import CommitOperationAdd

from web.hub import ATTEMPTS, FIRST_WAIT_S, ask_hub

LATER = "; it is tried again later"
T = TypeVar("T")


class HubClient(Protocol):
    """What is used of `huggingface_hub.HfApi`; tests put a stub in its place."""

    def create_repo(self, repo_id: str, *, repo_type: str, private: bool, exist_ok: bool) -> object:
        """Make the repository where it is not there."""
        ...

    def list_repo_files(self, repo_id: str, *, repo_type: str) -> list[str]:
        """Names of all files."""
        ...

    def hf_hub_download(self, repo_id: str, filename: str, *, repo_type: str) -> str:
        """Fetch one file; its path on this machine."""
        ...

    def create_commit(
        self, repo_id: str, operations: list[CommitOperationAdd], *, commit_message: str, repo_type: str
    ) -> object:
        """Add files, all of them or none."""
        ...


class HubRepo:
    """A data set repository; every method raises `HubError` where the Hub did not do it, `OSError` where this machine
    did not.

    Args:
        repo_id: "owner/name".
        client: `HfApi(token=...)`, or a stub.
        attempts: how often a call is tried before it counts as failed.
        first_wait_s: before the second attempt; doubled each time, with some jitter.
    """

    def __init__(
        self, repo_id: str, client: HubClient, *, attempts: int = ATTEMPTS, first_wait_s: float = FIRST_WAIT_S
    ) -> None:
        self.repo_id, self._client = repo_id, client
        self._attempts, self._first_wait_s = attempts, first_wait_s

    def create(self) -> None:
        """Make the repository, private, where it is not there."""
        self._call(lambda: self._client.create_repo(self.repo_id, repo_type="dataset", private=True, exist_ok=True))

    def files(self) -> list[str]:
        """Names of all files, sorted."""
        return sorted(self._call(lambda: self._client.list_repo_files(self.repo_id, repo_type="dataset")))

    def fetch(self, name: str) -> Path:
        """One file, on this machine."""
        return Path(self._call(lambda: self._client.hf_hub_download(self.repo_id, name, repo_type="dataset")))

    def add(self, files: Mapping[str, bytes], message: str) -> None:
        """Add files in one commit.

        Every attempt sends the same names with the same bytes, so one whose answer was lost does no harm when it is
        sent again. What `CommitOperationAdd` remembers of an attempt is not reused.
        """

        def commit() -> object:
            operations = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=data) for name, data in files.items()]
            return self._client.create_commit(
                self.repo_id, operations, commit_message=message, repo_type="dataset"
            )

        self._call(commit)

    def _call(self, action: Callable[[], T]) -> T:
        return ask_hub(
            action, self.repo_id, attempts=self._attempts, first_wait_s=self._first_wait_s, later=LATER
        )
