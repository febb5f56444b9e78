"""A stand-in for `huggingface_hub.HfApi`: the same methods on a folder, with failures on demand. No network."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import httpx
from huggingface_hub import CommitOperationAdd
from huggingface_hub.errors import HfHubHTTPError

REQUEST = httpx.Request("POST", "https://huggingface.co/api/datasets/o/n/commit/main")


class Killed(BaseException):
    """The process ends here."""


class Overwritten(AssertionError):
    """A file was sent again with other content."""


class HubStub:
    """The methods of `HfApi` that the sync calls.

    Args:
        folder: of the repository; outlives the stub, as the Hub outlives the process.
        plan: what the next calls of `create_commit` do: "ok"; "down" and "timeout" do nothing; "lost" commits, but the
            answer never comes; "busy" and "forbidden" answer 503 and 403; "killed" commits, then the process ends.
    """

    def __init__(self, folder: Path, plan: tuple[str, ...] = ()) -> None:
        self.folder, self.plan = folder, list(plan)
        self.commits = 0
        self.before_commit: Callable[[], None] = lambda: None
        self.broken_reads = 0

    def create_repo(self, repo_id: str, *, repo_type: str, private: bool, exist_ok: bool) -> None:
        assert (repo_type, private, exist_ok) == ("dataset", True, True)
        self._read()
        self.folder.mkdir(parents=True, exist_ok=True)

    def list_repo_files(self, repo_id: str, *, repo_type: str) -> list[str]:
        assert repo_type == "dataset"
        self._read()
        return [path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file()]

    def hf_hub_download(self, repo_id: str, filename: str, *, repo_type: str) -> str:
        assert repo_type == "dataset"
        self._read()
        cached = self.folder.parent / "cache" / filename
        cached.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.folder / filename, cached)
        return str(cached)

    def create_commit(
        self, repo_id: str, operations: list[CommitOperationAdd], *, commit_message: str, repo_type: str
    ) -> None:
        assert commit_message
        assert repo_type == "dataset"
        assert all(isinstance(operation, CommitOperationAdd) for operation in operations)
        assert not any(getattr(operation, "used", False) for operation in operations), "not to be used twice"
        for operation in operations:
            operation.used = True
        action = self.plan.pop(0) if self.plan else "ok"
        if action == "down":
            raise httpx.ConnectError("no route", request=REQUEST)
        if action == "timeout":
            raise httpx.ReadTimeout("timed out", request=REQUEST)
        if action in ("busy", "forbidden"):
            status = 503 if action == "busy" else 403
            raise HfHubHTTPError("no hf_secret_token", response=httpx.Response(status, request=REQUEST))
        self.before_commit()
        for operation in operations:
            self._put(self.folder / operation.path_in_repo, operation.path_or_fileobj)
        self.commits += 1
        if action == "lost":
            raise httpx.ReadTimeout("timed out", request=REQUEST)
        if action == "killed":
            raise Killed

    def _put(self, path: Path, data: bytes) -> None:
        if path.exists() and path.name != "README.md" and path.read_bytes() != data:
            raise Overwritten(path.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        half = path.with_name(path.name + ".half")
        half.write_bytes(data)
        os.replace(half, path)

    def _read(self) -> None:
        if self.broken_reads:
            self.broken_reads -= 1
            raise httpx.ConnectTimeout("timed out", request=REQUEST)
