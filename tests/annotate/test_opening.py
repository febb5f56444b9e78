"""What Teach runs on, as the program opens it: first images, a worker of imports, a Hub that comes and goes."""

import errno
import time
from pathlib import Path

import pytest
from PIL import Image

from annotate import opening
from annotate.opening import STARTERS, open_teaching
from annotate.store.model import StoreError
from annotate.sync.repo import HubRepo
from annotate.sync.worker import HubSync
from tests.annotate.filled_store import clicks
from tests.annotate.hub_stub import HubStub
from web.settings import Settings

PATIENCE_S = 60


class HubThatComesAndGoes(HubStub):
    """Answers, or cannot be reached, or meets a full disk."""

    down, full = False, False

    def create_repo(self, repo_id: str, *, repo_type: str, private: bool, exist_ok: bool) -> None:
        if self.down:
            raise ConnectionError("no route")
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device", "/cache/file")
        super().create_repo(repo_id, repo_type=repo_type, private=private, exist_ok=exist_ok)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path / "data", quota=3)


def test_an_empty_store_gets_drawn_images_once(settings: Settings) -> None:
    teaching = open_teaching(settings)
    images = teaching.store.images()
    teaching.close()
    assert len(images) == STARTERS
    assert {(image.quota, image.open) for image in images} == {(3, True)}
    again = open_teaching(settings)
    assert len(again.store.images()) == STARTERS
    again.close()


def test_stale_gold_goes_when_the_store_is_opened(settings: Settings) -> None:
    teaching = open_teaching(settings)
    image = teaching.store.images()[0]
    teaching.store.submit(clicks(image, teaching.store.pseudonym("Ada"), 1))
    (one,) = teaching.store.stored()
    teaching.store.review(one.submission_id, "rejected", "in haste", "boss")
    teaching.store.set_gold(image.sha256, one.annotation.scanpath, "boss", gold_from=[one.annotation.annotator])
    teaching.close()
    again = open_teaching(settings)
    assert again.store.image(image.sha256).gold is None
    assert again.dashboard.images.store.audit()[-1].who == "program"
    again.close()


def test_the_store_gives_tasks_as_the_settings_say(settings: Settings) -> None:
    given = Settings.from_environment(
        {"GAZEVLM_GOLD_SHARE": "0.3", "GAZEVLM_REPEAT_SHARE": "0", "GAZEVLM_FINDINGS": "hiatal hernia"}
    )
    teaching = open_teaching(given.model_copy(update={"data": settings.data}))
    assert (teaching.store.settings.gold_share, teaching.store.settings.repeat_share) == (0.3, 0.0)
    assert teaching.findings == ("hiatal hernia",)
    teaching.close()


def test_no_drawn_images_where_they_are_not_wanted(settings: Settings) -> None:
    teaching = open_teaching(settings.model_copy(update={"starters": False}))
    assert teaching.store.images() == []
    teaching.close()


def test_imports_that_are_queued_get_done(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    Image.linear_gradient("L").save(folder / "a.png")
    teaching = open_teaching(settings.model_copy(update={"starters": False}))
    teaching.start()
    teaching.store.queue_import("folder", str(folder), by="test")
    teaching.dashboard.worker.wake()
    deadline = time.monotonic() + PATIENCE_S
    while teaching.store.imports()[0].state in ("queued", "running") and time.monotonic() < deadline:
        time.sleep(0.1)
    assert (teaching.store.imports()[0].state, len(teaching.store.images())) == ("done", 1)
    teaching.close()


@pytest.mark.parametrize("trouble", ["down", "full"])
def test_a_hub_that_is_away_stops_an_empty_store_alone(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    stub = HubThatComesAndGoes(tmp_path / "hub")

    def opened(store: object, repo_id: str, folder: Path) -> HubSync:
        return HubSync(store, HubRepo(repo_id, stub, attempts=1), folder)  # type: ignore[arg-type]

    monkeypatch.setattr(opening.HubSync, "open", opened)
    synced = Settings(data=settings.data, quota=3, sync_repo="a/b", pseudonym_key="k" * 20)
    setattr(stub, trouble, True)
    with pytest.raises(StoreError, match="a/b cannot be read, and the store here is empty"):
        open_teaching(synced)
    setattr(stub, trouble, False)
    teaching = open_teaching(synced)
    teaching.close()
    setattr(stub, trouble, True)
    teaching = open_teaching(synced)
    assert teaching.sync is not None
    assert len(teaching.store.images()) == STARTERS
    teaching.close()
