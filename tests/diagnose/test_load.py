"""Fifty users at once: each gets its own result or one clear refusal, the queue drains, and memory stays bounded."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from tests.diagnose.serving import serving_engine
from tests.tiny_model import make_tiny_checkpoint

if TYPE_CHECKING:
    from gradio_client import Client

pytestmark = pytest.mark.slow
USERS, WAVES = 50, 2
MOST_GROWTH_MB = 150  # between the first wave and the last; a leaked image or pass per answer would be more


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    from gazevlm_core.inference import GazeEngine

    folder = str(make_tiny_checkpoint(tmp_path_factory.mktemp("tiny")))
    with serving_engine(folder, GazeEngine.load(folder, device="cpu")) as url:
        yield url


def resident_mb() -> float:
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


def ask(client: "Client", user: int, folder: Path, together: threading.Barrier) -> str:
    """What went wrong, or ""; every user's image has a name and a size of its own."""
    from gradio_client import handle_file

    size = (64 + 2 * user, 90)
    path = folder / f"user-{user}.png"
    Image.new("RGB", size, (user, user, user)).save(path)
    together.wait(60)
    try:
        record, overlay = client.predict(image=handle_file(path), api_name="/diagnose")
    except Exception as error:  # gradio_client raises many kinds; the words are what counts
        return str(error)
    assert record["image"] == path.name
    with Image.open(overlay) as drawn:
        assert drawn.size == size
    return ""


@pytest.mark.timeout(600)
def test_nobody_gets_anothers_result_and_the_queue_drains(address: str, tmp_path: Path) -> None:
    from gradio_client import Client

    patient = {"timeout": 120}  # by itself a client gives up after five seconds, however busy the machine is
    clients = [
        Client(address, verbose=False, download_files=str(tmp_path / f"{user}"), httpx_kwargs=patient)
        for user in range(USERS)
    ]
    grown: list[float] = []
    for _ in range(WAVES):
        together = threading.Barrier(USERS)
        with ThreadPoolExecutor(USERS) as pool:
            wave = [pool.submit(ask, client, user, tmp_path, together) for user, client in enumerate(clients)]
            answers = [future.result() for future in wave]
        refused = [answer for answer in answers if answer]
        assert len(refused) <= USERS - 32, "the queue holds 32"
        assert all("queue" in answer.lower() for answer in refused), refused[:1]
        grown.append(resident_mb())
    assert grown[-1] - grown[0] < MOST_GROWTH_MB
    assert ask(clients[0], 0, tmp_path, threading.Barrier(1)) == "", "the queue is empty again"
