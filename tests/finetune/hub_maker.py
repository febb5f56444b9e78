"""A cache of the Hub on disk, as `huggingface_hub` fills it, for tests that reach no network."""

import hashlib
import shutil
from pathlib import Path

import pytest


def use_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the libraries look for the Hub's files in a folder."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    return folder


def commit_of(words: str) -> str:
    """A name like that of a commit."""
    return hashlib.sha1(words.encode()).hexdigest()


def put(cache: Path, repo_id: str, checkpoint: Path, commit: str) -> Path:
    """A checkpoint as the newest commit of a repository; the folder of its files."""
    repository = cache / f"models--{repo_id.replace('/', '--')}"
    snapshot, blobs = repository / "snapshots" / commit, repository / "blobs"
    for folder in (snapshot, blobs, repository / "refs"):
        folder.mkdir(parents=True, exist_ok=True)
    (repository / "refs" / "main").write_text(commit, encoding="utf-8")
    for path in checkpoint.iterdir():
        blob = blobs / hashlib.sha256(path.read_bytes()).hexdigest()
        shutil.copyfile(path, blob)
        (snapshot / path.name).symlink_to(blob)
    return snapshot
