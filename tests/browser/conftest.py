"""Fixtures of the browser tests."""

from pathlib import Path

import pytest


@pytest.fixture
def artifacts(repository: Path) -> Path:
    """Return the folder for pictures of pages."""
    folder = repository / "test-artifacts"
    folder.mkdir(exist_ok=True)
    return folder
