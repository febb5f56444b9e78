"""Fixtures of the browser tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from annotate.store.store import AnnotationStore
from tests.annotate.dashboard_page import SETTINGS
from tests.browser.serving import serving


@pytest.fixture
def artifacts(repository: Path) -> Path:
    """Return the folder for pictures of pages."""
    folder = repository / "test-artifacts"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def dashboard_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the page at `dashboard`, new in each module."""
    return tmp_path_factory.mktemp("dashboard")


@pytest.fixture(scope="module")
def dashboard(repository: Path, dashboard_folder: Path) -> Iterator[str]:
    """Serve the Annotations tab; yields its address."""
    arguments = ["-m", "tests.annotate.dashboard_page", "PORT", str(dashboard_folder / "store")]
    with serving(repository, arguments, dashboard_folder / "log.txt") as address:
        yield address


@pytest.fixture
def dashboard_store(dashboard_folder: Path, dashboard: str) -> Iterator[AnnotationStore]:
    """Open the store of `dashboard`, beside the page."""
    store = AnnotationStore.open(dashboard_folder / "store", settings=SETTINGS)
    yield store
    store.close()
