"""What admins do: imports in the background, tasks and gold, exports out and back, hostile archives, the log."""

import io
import os
import stat
import time
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from annotate.dashboard import images, overview
from annotate.dashboard.exports import unpack
from annotate.dashboard.gallery import gallery_html
from annotate.dashboard.page import DashboardService
from annotate.export.folder import export_store, files_below
from annotate.export.importer import BadExportError
from annotate.store.imports import shown_place
from annotate.store.model import ImportStatus, StoreError
from annotate.store.store import AnnotationStore
from annotate.sync.worker import SyncState
from tests.annotate.dashboard_maker import ADMIN, make_service
from tests.annotate.filled_store import clicks, fill, open_store, picture

QUESTION = "Where do you look?"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[AnnotationStore]:
    store = open_store(tmp_path / "data")
    yield store
    store.close()


@pytest.fixture
def service(store: AnnotationStore, tmp_path: Path) -> Iterator[DashboardService]:
    service = make_service(store, tmp_path / "data")
    yield service
    assert service.worker.stop()


def png(seed: int) -> bytes:
    file = io.BytesIO()
    picture(seed).save(file, "PNG")
    return file.getvalue()


def make_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def ended(service: DashboardService, number: int) -> ImportStatus:
    """The import, once it has ended."""
    for _ in range(600):
        status = next(one for one in service.imports.history(ADMIN) if one.number == number)
        if status.state in ("done", "failed"):
            return status
        time.sleep(0.1)
    pytest.fail(f"import {number} does not end: {status}")


# ---- imports --------------------------------------------------------------------------------------------------------
def test_an_uploaded_archive_is_kept_until_its_import_has_ended(
    service: DashboardService, store: AnnotationStore, tmp_path: Path
) -> None:
    upload = make_zip(tmp_path / "my images; rm -rf.zip", {"a.png": png(1), "b/c.png": png(2), "no.png": b"no"})
    number = service.imports.archive(ADMIN, upload, QUESTION, 3)
    status = ended(service, number)
    assert (status.state, status.added, status.refused, len(status.reasons)) == ("done", 2, 1, 1)
    assert shown_place(status.kind, status.where) == "my_images_rm_-rf.zip"
    assert {image.source for image in store.images()} == {"zip my_images_rm_-rf.zip"}, "no path of the server"
    assert all((image.question, image.quota, image.open) == (QUESTION, 3, True) for image in store.images())
    assert upload.exists(), "only the copy is ours"
    service.worker.stop()
    assert list((tmp_path / "data" / "imports").iterdir()) == []


def test_a_worker_that_starts_again_clears_what_was_left_behind(
    service: DashboardService, store: AnnotationStore, tmp_path: Path
) -> None:
    folder = tmp_path / "data" / "imports"
    rooms = young, old, other = [folder / name for name in ("young", "old", "other")]
    for room in rooms:
        room.mkdir(parents=True)
        make_zip(room / "a.zip", {"a.png": png(1)})
    waiting = other / "a.zip"
    store.queue_import("zip", str(waiting), "admin")
    hours_ago = time.time() - 7200

    os.utime(old, (hours_ago, hours_ago))
    service.worker.clear()
    assert waiting.exists()
    service.worker.work()
    assert list(folder.iterdir()) == [young]
    assert store.counts().images == 1


def test_a_folder_is_imported_and_links_that_lead_out_are_refused(
    service: DashboardService, store: AnnotationStore, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.png").write_bytes(png(1))
    (tmp_path / "secret.png").write_bytes(png(2))
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    status = ended(service, service.imports.folder(ADMIN, f" {folder} ", QUESTION, 5))
    assert (status.state, status.added, status.refused) == ("done", 1, 1)
    assert "leads out" in next(iter(status.reasons))
    assert [image.name for image in store.images()] == ["a.png"]


@pytest.mark.parametrize("quota", [0, -1, 2.5, 10_000_000])
def test_a_quota_out_of_bounds_is_refused_and_leaves_nothing(
    service: DashboardService, store: AnnotationStore, tmp_path: Path, quota: float
) -> None:
    upload = make_zip(tmp_path / "a.zip", {"a.png": png(1)})
    for act in (
        lambda: service.imports.folder(ADMIN, str(tmp_path), QUESTION, quota),
        lambda: service.imports.archive(ADMIN, upload, QUESTION, quota),
        lambda: service.imports.hub(ADMIN, "owner/name", QUESTION, quota),
    ):
        with pytest.raises(StoreError, match=r"annotators"):
            act()
    assert store.imports() == []
    assert list((tmp_path / "data" / "imports").iterdir()) == []


def test_bad_sources_are_refused_at_once(service: DashboardService, store: AnnotationStore, tmp_path: Path) -> None:
    for where in ("", "  ", str(tmp_path / "none"), "a\0b", str(make_zip(tmp_path / "a.zip", {}))):
        with pytest.raises(StoreError, match="no such folder"):
            service.imports.folder(ADMIN, where, QUESTION, None)
    for name in ("", "a/b/c", "../etc", "https://evil/x", "owner/name; rm"):
        with pytest.raises(StoreError, match="owner/name"):
            service.imports.hub(ADMIN, name, QUESTION, None)
    (tmp_path / "no.zip").write_bytes(b"PK but no archive")
    for upload in (None, tmp_path / "none.zip", tmp_path):
        with pytest.raises(StoreError, match="Choose a zip archive"):
            service.imports.archive(ADMIN, upload, QUESTION, None)
    with pytest.raises(StoreError, match="no zip archive"):
        service.imports.archive(ADMIN, tmp_path / "no.zip", QUESTION, None)
    with pytest.raises(StoreError, match="question"):
        service.imports.folder(ADMIN, str(tmp_path), " ", None)
    assert store.imports() == []


# ---- tasks and gold -------------------------------------------------------------------------------------------------
def test_an_own_image_becomes_a_task_when_it_is_offered(service: DashboardService, store: AnnotationStore) -> None:
    fill(store)
    (own,) = service.images.page(ADMIN, "own").listed
    assert (own.offered, own.submissions) == (False, 1)
    sha256 = own.image.sha256
    service.images.set_open(ADMIN, [sha256], True)
    assert sha256 in [one.image.sha256 for one in service.images.page(ADMIN, "open").listed]
    service.images.set_open(ADMIN, [sha256], False)
    assert sha256 in [one.image.sha256 for one in service.images.page(ADMIN, "closed").listed]
    assert [one.action for one in store.audit()[-2:]] == ["image opened", "image closed"]
    with pytest.raises(StoreError, match="no such image"):
        service.images.set_open(ADMIN, ["0" * 64], True)
    with pytest.raises(StoreError, match="none of these"):
        service.images.page(ADMIN, "other")  # type: ignore[arg-type]


def test_gold_is_the_consensus_or_a_chosen_path(service: DashboardService, store: AnnotationStore) -> None:
    fill(store)
    grey = next(one.image for one in service.images.page(ADMIN, "open").listed if one.image.name == "grey.png")
    view = service.images.view(ADMIN, grey.sha256)
    assert view.consensus is not None
    service.images.set_gold(ADMIN, grey.sha256)
    assert store.image(grey.sha256).gold == view.consensus.scanpath
    assert store.image(grey.sha256).gold_from == tuple(sorted(one.annotation.annotator for one in view.stored))
    other = view.stored[-1].annotation
    service.images.set_gold(ADMIN, grey.sha256, other.submission_id)
    assert (store.image(grey.sha256).gold, store.image(grey.sha256).gold_from) == (other.scanpath, (other.annotator,))
    assert grey.sha256 in [one.image.sha256 for one in service.images.page(ADMIN, "gold").listed]
    service.images.clear_gold(ADMIN, grey.sha256)
    assert (store.image(grey.sha256).gold, store.image(grey.sha256).gold_from) == (None, ())
    elsewhere = next(one for one in store.stored() if one.image_sha256 != grey.sha256)
    with pytest.raises(StoreError, match="no such submission"):
        service.images.set_gold(ADMIN, grey.sha256, elsewhere.annotation.submission_id)
    (own,) = service.images.page(ADMIN, "own").listed
    with pytest.raises(StoreError, match="one annotator's path alone"):
        service.images.set_gold(ADMIN, own.image.sha256)


def test_the_quota_counts_annotators_and_no_rejected_or_repeated_submission(
    service: DashboardService, store: AnnotationStore
) -> None:
    image = store.add_image(picture(1), "case", by="boss", quota=3)
    ada, ben = store.pseudonym("Ada"), store.pseudonym("Ben")
    made = [clicks(image, who, number) for number, who in enumerate((ada, ada, ben))]
    for one in made:
        store.submit(one)
    store.review(made[2].submission_id, "rejected", "in haste", "boss")
    (listed,) = service.images.page(ADMIN, "open").listed
    assert (listed.done, listed.submissions, listed.wanted) == (1, 3, True)
    assert "<small>1 of 3</small><small>3 submissions</small>" in gallery_html([listed], [""], 0, 1, "")
    facts = images._facts(service.images.view(ADMIN, image.sha256))
    assert "1 of 3 annotators; 3 submissions" in facts
    service.images.set_gold(ADMIN, image.sha256, made[0].submission_id)
    (listed,) = service.images.page(ADMIN, "gold").listed
    assert "</b><small>3 submissions</small>" in gallery_html([listed], [""], 0, 1, ""), "gold has no quota"
    store.withdraw(made[0].submission_id, ada)
    facts = images._facts(service.images.view(ADMIN, image.sha256))
    assert "no longer gold, since its path rested on submission 1, which was withdrawn" in facts


# ---- exports --------------------------------------------------------------------------------------------------------
def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files_below(folder)}


def test_the_archive_is_the_store_and_brings_it_back(
    service: DashboardService, store: AnnotationStore, tmp_path: Path
) -> None:
    fill(store)
    store.pseudonym("local:root")  # the admin is somebody too
    whole = contents(export_store(store, tmp_path / "whole").folder)
    done = service.exports.export(ADMIN, tmp_path / "out")
    unpacked = contents(unpack(done.path, tmp_path / "unpacked"))
    assert unpacked == whole
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o700
    assert not [path for path in (tmp_path / "data").iterdir() if path.name.startswith("work-")]
    assert b"local:ada" not in b"".join(unpacked.values())
    assert store.audit()[-1].action == "exported"

    back = open_store(tmp_path / "back")
    other = make_service(back, tmp_path / "back")
    added = other.exports.import_archive(ADMIN, done.path).added
    assert added["submissions"] == 9
    assert contents(export_store(back, tmp_path / "again").folder) == whole
    assert not other.exports.import_archive(ADMIN, done.path).added
    back.close()


def test_accepted_ones_and_names_only_when_asked_for(
    service: DashboardService, store: AnnotationStore, tmp_path: Path
) -> None:
    fill(store)
    accepted = service.exports.export(ADMIN, tmp_path / "a", which="accepted", formats=["jsonl"], licence="cc-by-4.0")
    files = contents(unpack(accepted.path, tmp_path / "ua"))
    assert "people.jsonl" not in files
    assert "audit.jsonl" not in files
    assert files["records.jsonl"].count(b"\n") == accepted.counts["submissions"] == 3
    assert b"license: cc-by-4.0" in files["README.md"]
    named = service.exports.export(ADMIN, tmp_path / "n", names=True, formats=["jsonl"])
    assert b'"Ada"' in contents(unpack(named.path, tmp_path / "un"))["people.jsonl"]
    assert store.audit()[-1].details == {"names": True, "formats": ["jsonl"]}


def test_a_wrong_choice_leaves_nothing(service: DashboardService, tmp_path: Path) -> None:
    for wrong in ({"which": "some"}, {"formats": []}, {"formats": ["exe"]}, {"licence": "x" * 61}, {"licence": "a\nb"}):
        with pytest.raises(StoreError):
            service.exports.export(ADMIN, tmp_path / "out", **wrong)
    assert not (tmp_path / "out").exists()
    assert not [path for path in (tmp_path / "data").iterdir() if path.name.startswith("work-")]


Spoil = Callable[[zipfile.ZipFile], None]


def link(archive: zipfile.ZipFile) -> None:
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive.writestr(info, "/etc/passwd")


def bomb(archive: zipfile.ZipFile) -> None:
    info = zipfile.ZipInfo("bomb")
    info.compress_type = zipfile.ZIP_DEFLATED
    with archive.open(info, "w") as file:
        for _ in range(5):
            file.write(b"\0" * 2**26)


def twice(archive: zipfile.ZipFile) -> None:
    archive.writestr("Export.json", b"{}")
    archive.writestr("EXPORT.json", b"{}")


def named(name: str) -> Spoil:
    return lambda archive: archive.writestr(name, b"x")


HOSTILE: dict[str, Spoil] = {
    "a path above": named("../evil"), "a path above inside": named("a/../../evil"), "a drive": named("C:evil"),
    "an absolute path": named("/tmp/evil"), "a backslash": named("a\\..\\evil"), "a line end": named("a\nb"),
    "a link": link, "a bomb": bomb, "the same file twice": twice, "a deep folder": named("a/b/c/d/e"),
    "a file as a folder": named("records.jsonl/x"),
}  # fmt: skip


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """A good export as an archive."""
    store = open_store(tmp_path / "source")
    fill(store)
    path = make_service(store, tmp_path / "source").exports.export(ADMIN, tmp_path / "good").path
    store.close()
    return path


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_archive_is_refused_and_leaves_nothing(
    service: DashboardService, store: AnnotationStore, exported: Path, tmp_path: Path, kind: str
) -> None:
    spoiled = tmp_path / "spoiled.zip"
    with zipfile.ZipFile(exported) as good, zipfile.ZipFile(spoiled, "w", zipfile.ZIP_DEFLATED) as bad:
        for name in good.namelist():
            bad.writestr(name.split("/", 1)[1], good.read(name))
        HOSTILE[kind](bad)
    before = sorted(path for path in tmp_path.rglob("*") if "data" not in path.parts)
    with pytest.raises(StoreError) as refused:
        service.exports.import_archive(ADMIN, spoiled)
    assert "\n" not in str(refused.value)
    assert sorted(path for path in tmp_path.rglob("*") if "data" not in path.parts) == before
    assert not Path("/tmp/evil").exists()
    assert not [path for path in (tmp_path / "data").iterdir() if path.name.startswith("work-")]
    assert (store.counts().images, store.counts().annotations) == (0, 0)


def test_what_is_no_export_is_refused(service: DashboardService, exported: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.zip"
    cut.write_bytes(exported.read_bytes()[:-200])
    flipped = tmp_path / "flipped.zip"
    data = bytearray(exported.read_bytes())
    data[len(data) // 3] ^= 0xFF
    flipped.write_bytes(data)
    for upload in (None, tmp_path, cut, flipped, make_zip(tmp_path / "a.zip", {"a.txt": b""}),
                   make_zip(tmp_path / "b.zip", {"a/b/export.json": b"{}"}),
                   make_zip(tmp_path / "c.zip", {"export.json": b"{}"})):  # fmt: skip
        with pytest.raises(StoreError):
            service.exports.import_archive(ADMIN, upload)


def test_one_bad_line_refuses_the_whole_archive(
    service: DashboardService, store: AnnotationStore, exported: Path, tmp_path: Path
) -> None:
    changed = tmp_path / "changed.zip"
    with zipfile.ZipFile(exported) as good, zipfile.ZipFile(changed, "w") as bad:
        for name in good.namelist():
            text = good.read(name)
            bad.writestr(name, text.replace(b'"edema"', b'"nodule"') if name.endswith("records.jsonl") else text)
    with pytest.raises(BadExportError, match="nothing was imported"):
        service.exports.import_archive(ADMIN, changed)
    assert (store.counts().images, store.counts().annotations) == (0, 0)


# ---- log and sync ---------------------------------------------------------------------------------------------------
def test_the_log_is_read_backwards_by_pages(
    service: DashboardService, store: AnnotationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store)
    monkeypatch.setattr(overview, "LOG_PAGE", 4)
    numbers: list[int] = []
    while page := service.audit_log.page(ADMIN, numbers[-1] if numbers else None):
        assert len(page) <= 4
        numbers += [one.number for one in page]
    assert numbers == [one.number for one in reversed(store.audit())]


def test_the_sync_is_woken_where_there_is_one(store: AnnotationStore, tmp_path: Path) -> None:
    woken: list[str] = []
    with pytest.raises(StoreError, match="not synced anywhere"):
        make_service(store, tmp_path, wake_sync=lambda: woken.append("no")).audit_log.sync_now(ADMIN)
    state = SyncState(1, 1, 0, "", datetime.now(UTC))
    synced = make_service(store, tmp_path, sync_state=lambda: state, wake_sync=lambda: woken.append("yes"))
    synced.audit_log.sync_now(ADMIN)
    assert woken == ["yes"]
