"""Fixtures that every test may use: an offline environment, the real radiographs, and Chromium."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from gazevlm_core.inference import GazeEngine
    from gazevlm_core.model.processing_gazevlm import GazeVLMProcessor

# Before any test imports torch or a Hugging Face library: they read these once, at import.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ.setdefault("OMP_NUM_THREADS", "1")  # of processes side by side, threads that wait spin: ten times as slow

REPOSITORY = Path(__file__).resolve().parent.parent
RADIOGRAPHS = REPOSITORY.parent / "shared" / "data" / "cxr_real"
RADIOGRAPH_COUNT = 12

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def kills(usual: int, every: int) -> int:
    """How often a test kills: a few times at each run of the suite, and often with GAZEVLM_EVERY_KILL=1."""
    return every if os.environ.get("GAZEVLM_EVERY_KILL") == "1" else usual


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files with long tests first: two workers that take a file at a time then end together."""
    long = {item.path for item in items if item.get_closest_marker("browser") or item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in long)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests marked `gpu` on a machine without CUDA."""
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs CUDA, and torch sees no such device")


def _arithmetic() -> tuple[object, ...] | None:
    """The settings of the process that decide torch's bits; None before anything imported it."""
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "get_num_threads"):
        return None
    return (torch.get_float32_matmul_precision(), torch.get_default_dtype(), torch.get_num_threads())


@pytest.fixture(autouse=True)
def same_arithmetic() -> Iterator[None]:
    """No test leaves torch computing otherwise: tests of equal bits behind it would fail, and not by themselves."""
    before = _arithmetic()
    yield
    if before is not None:
        assert _arithmetic() == before, "it changed torch's settings for every test behind it"


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def real_radiographs() -> list[Path]:
    """The twelve real chest radiographs that lie beside the checkout; they are never committed."""
    if not RADIOGRAPHS.is_dir():
        pytest.skip("the real radiographs are not beside the checkout (../shared/data/cxr_real)")
    paths = sorted(path for path in RADIOGRAPHS.iterdir() if path.suffix in {".jpg", ".png"})
    assert len(paths) == RADIOGRAPH_COUNT, f"expected {RADIOGRAPH_COUNT} radiographs, found {len(paths)}"
    return paths


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """Path of Chromium: $CHROMIUM, or the first known name on the PATH. A missing browser is an error.

    Only GAZEVLM_NO_BROWSER=1 skips the tests that need it.
    """
    if os.environ.get("GAZEVLM_NO_BROWSER") == "1":
        pytest.skip("GAZEVLM_NO_BROWSER=1")
    names = [name] if (name := os.environ.get("CHROMIUM")) else CHROMIUM_NAMES
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.fail(f"no Chromium ({', '.join(names)}): install it, set CHROMIUM, or set GAZEVLM_NO_BROWSER=1")
    return found


@pytest.fixture(scope="module")
def browser(chromium_path: str) -> Iterator["Browser"]:
    """A headless Chromium for the tests of one file; open pages with `browser.new_page()` and close them.

    Not one for the whole run: while Playwright's synchronous interface is open it holds an event loop in this
    thread, and `asyncio.run` would fail in every file behind it.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=chromium_path, headless=True, args=list(CHROMIUM_FLAGS), timeout=60_000
        )
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random model of the embedded size, marked as trained; never written to."""
    from tests.tiny_model import make_tiny_checkpoint

    return make_tiny_checkpoint(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def tiny_processor(tiny_checkpoint: Path) -> "GazeVLMProcessor":
    """Processor of the random model."""
    from gazevlm_core.model.processing_gazevlm import GazeVLMProcessor

    return GazeVLMProcessor.from_pretrained(tiny_checkpoint)


@pytest.fixture(scope="session")
def tiny_engine(tiny_checkpoint: Path) -> "GazeEngine":
    """Engine on the random model; tests that attach adapters load their own."""
    from gazevlm_core.inference import GazeEngine

    return GazeEngine.load(str(tiny_checkpoint), device="cpu")
