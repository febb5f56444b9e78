"""Batch imports of folders, archives and hub data sets: bounded, gone on with after a crash, nothing doubled."""

import struct
import zipfile
from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from annotate.store import import_sources, imports
from annotate.store.archives import MOST_ENTRIES, SourceError
from annotate.store.import_sources import zip_images
from annotate.store.imports import run_next_import
from annotate.store.model import ImportKind, ImportStatus, StoreError
from annotate.store.store import AnnotationStore
from gazevlm_core.images import open_image
from tests.annotate.conftest import OpenStore
from tests.annotate.store_maker import Clock, picture
from tests.hostile_corpus import build_corpus


def png(seed: int) -> bytes:
    file = BytesIO()
    picture(seed).save(file, "PNG")
    return file.getvalue()


def fill_folder(folder: Path, number: int) -> Path:
    (folder / "inner").mkdir(parents=True)
    for seed in range(number):
        (folder / ("inner" if seed % 2 else ".") / f"{seed}.png").write_bytes(png(seed))
    return folder


def pack(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def do_import(store: AnnotationStore, kind: ImportKind, where: Path | str) -> ImportStatus:
    number = store.queue_import(kind, str(where), "admin", "Where is the tube?", 3)
    done = run_next_import(store)
    assert done is not None
    assert done.number == number
    assert store.imports()[0] == done
    return done


def test_a_folder_becomes_tasks(store: AnnotationStore, tmp_path: Path) -> None:
    folder = fill_folder(tmp_path / "images", 5)
    (folder / "again.png").write_bytes(png(0))
    (folder / "notes.txt").write_text("no image")
    done = do_import(store, "folder", folder)
    assert (done.state, done.added, done.known, done.refused, done.error) == ("done", 5, 1, 0, "")
    assert {(image.question, image.quota, image.open) for image in store.images()} == {("Where is the tube?", 3, True)}
    assert Counter(image.name for image in store.images())["1.png"] == 1
    assert {image.source for image in store.images()} == {"folder images"}, "no path: exports tell this"
    assert store.next_task(store.pseudonym("Ada")) is not None
    assert [entry.action for entry in store.audit()] == ["import queued", "import done"]
    assert store.audit()[-1].details == {"added": 5, "known": 1, "refused": 0, "error": ""}
    assert run_next_import(store) is None
    assert do_import(store, "folder", folder).known == 6


def test_an_import_tells_how_far_it_is_and_ends_when_it_is_cancelled(
    store: AnnotationStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fill_folder(tmp_path / "images", 6)
    (folder / "broken.png").write_bytes(b"no image")
    number, seen = store.queue_import("folder", str(folder), "admin"), []

    def watching(source: Path | bytes, *, name: str) -> object:
        (status,) = store.imports()
        seen.append((status.looked_at, status.total))
        if len(seen) == 4:
            store.cancel_import(number, "boss")
        return open_image(source, name=name)

    with monkeypatch.context() as patched:
        patched.setattr(imports, "open_image", watching)
        done = run_next_import(store)
    assert done is not None
    assert (done.state, done.looked_at, done.total) == ("cancelled", 3, 7)
    assert seen == [(0, 7), (1, 7), (2, 7), (3, 7)]
    assert run_next_import(store) is None, "it is not taken up again"
    assert len(store.images()) == done.added, "what was added stays"
    assert store.audit()[-1].action == "import cancelled"
    for wrong in (number, 99):
        with pytest.raises(StoreError, match=r"ended already|no such import"):
            store.cancel_import(wrong, "boss")
    again = do_import(store, "folder", folder)
    assert [file for file, _ in again.refused_files] == ["broken.png"]


def test_hostile_files_are_counted_with_their_reason_and_the_rest_goes_on(
    store: AnnotationStore, tmp_path: Path
) -> None:
    folder = tmp_path / "hostile"
    folder.mkdir()
    build_corpus(folder)
    fill_folder(folder / "good", 2)
    done = do_import(store, "folder", folder)
    assert (done.state, done.added) == ("done", 2)
    assert done.refused > 60
    assert all(reason.endswith(".") and "\n" not in reason for reason in done.reasons)
    assert len(done.reasons) > 5


def test_a_file_that_breaks_its_decoder_ends_no_import(
    store: AnnotationStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_on_one(source: Path | bytes, *, name: str) -> object:
        if name == "1.png":
            raise MemoryError
        return open_image(source, name=name)

    monkeypatch.setattr(imports, "open_image", break_on_one)
    done = do_import(store, "folder", fill_folder(tmp_path / "images", 3))
    assert (done.state, done.added, done.refused) == ("done", 2, 1)
    assert list(done.reasons) == [imports.BROKEN_FILE]


def test_links_out_of_the_folder_are_not_followed(store: AnnotationStore, tmp_path: Path) -> None:
    folder = fill_folder(tmp_path / "images", 1)
    (tmp_path / "secret.png").write_bytes(png(7))
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "loop.png").symlink_to(folder / "loop.png")
    done = do_import(store, "folder", folder)
    assert (done.added, done.refused) == (1, 1)
    assert "leads out of the folder" in next(iter(done.reasons))


def test_an_archive_becomes_tasks_whatever_its_names_say(store: AnnotationStore, tmp_path: Path) -> None:
    members = {"../../etc/0.png": png(0), "/1.png": png(1), "in/2.png": png(2), "in/.hidden.png": png(3),
               "__MACOSX/4.png": png(4), "in/bad.png": b"no image", "readme.txt": b"text"}  # fmt: skip
    done = do_import(store, "zip", pack(tmp_path / "images.zip", members))
    assert (done.state, done.added, done.known, done.refused) == ("done", 3, 0, 1)
    assert sorted(image.name for image in store.images()) == ["0.png", "1.png", "2.png"]
    assert not list(tmp_path.rglob("etc"))


def test_archives_that_are_bombs_or_damaged_are_refused(
    store: AnnotationStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = pack(tmp_path / "good.zip", {"0.png": png(0)}).read_bytes()
    end = good.rfind(b"PK\x05\x06")
    many = bytearray(good)
    many[end + 10:end + 12] = struct.pack("<H", MOST_ENTRIES + 1)
    large = good[:end] + b"PK\x06\x07" + bytes(16) + good[end:]
    directory = good.rfind(b"PK\x01\x02")
    entries = good[directory:end] * (MOST_ENTRIES + 1)  # the end record says that it is one
    lying = good[:directory] + entries + good[end:end + 12] + struct.pack("<I", len(entries)) + good[end + 16:]
    bomb = pack(tmp_path / "bomb.zip", {f"{number}.png": bytes(2**20) for number in range(8)}).read_bytes()
    monkeypatch.setattr(import_sources, "RATIO_FROM_BYTES", 2**22)
    for data, message in (
        (bytes(many), "more than 60,000 files"), (lying, "more than 60,000 files"),
        (large, "damaged"), (bomb, "unpack to far more"),
        (good[:50], "cut short"), (b"", "cut short"), (b"PK\x05\x06", "cut short"),
        (good[end:], "damaged"), (pack(tmp_path / "empty.zip", {}).read_bytes(), "no image in it"),
    ):  # fmt: skip
        path = tmp_path / "bad.zip"
        path.write_bytes(data)
        done = do_import(store, "zip", path)
        assert done.state == "failed"
        assert message in done.error
    assert do_import(store, "zip", tmp_path / "missing.zip").error.startswith("There is no such file")
    assert store.images() == []


def large_form(archive: bytes, entries: int | None = None) -> bytes:
    """A small archive with the records of the 64-bit form, and nothing but their marks in the small one."""
    end = archive.rfind(b"PK\x05\x06")
    count, size, offset = struct.unpack_from("<HII", archive, end + 10)
    record = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, *[entries or count] * 2, size, offset)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, end, 1)
    small = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return archive[:end] + record + locator + small


def commented(archive: bytes, comment: bytes) -> bytes:
    return archive[:-2] + struct.pack("<H", len(comment)) + comment


def test_archives_of_the_64_bit_form_and_with_comments_are_read(store: AnnotationStore, tmp_path: Path) -> None:
    good = pack(tmp_path / "good.zip", {"0.png": png(0), "1.png": png(1)}).read_bytes()
    whole_record = b"PK\x05\x06" + bytes(6) + b"\xff\xff" + bytes(10)
    for number, data in enumerate((
        large_form(good), commented(good, b"PK\x05\x06 made by hand"), commented(good, whole_record + b"more"),
        commented(large_form(good), b"PK\x05\x06" * 9), good + b"trailing", b"#!/bin/sh\n" + good,
    )):
        path = tmp_path / f"{number}.zip"
        path.write_bytes(data)
        done = do_import(store, "zip", path)
        assert (done.state, done.added + done.known, done.refused) == ("done", 2, 0)
    path.write_bytes(large_form(good, entries=MOST_ENTRIES + 1))
    assert "more than 60,000 files" in do_import(store, "zip", path).error


ROENTGEN, CHEST = "R\xf6ntgen 2.png", "\u80f8\u90e8.png"


@pytest.mark.parametrize(("raw", "name"), [
    *((ROENTGEN.encode(codec), ROENTGEN) for codec in ("utf-8", "cp437", "cp850", "cp1252")),
    *((CHEST.encode(codec), CHEST) for codec in ("utf-8", "cp932")),
    (CHEST.encode("gbk"), "\\xd0\\xd8\\xb2\\xbf.png"),
    ("\u0441\u043d.png".encode("cp1251"), "\\xf1\\xed.png"),
    (b"a\xff\xfe.png", "a\\xff\\xfe.png"), (b"plain_1-2 (3).png", "plain_1-2 (3).png"),
])
def test_names_in_old_code_pages_are_read_or_escaped(raw: bytes, name: str, tmp_path: Path) -> None:
    path = pack(tmp_path / "names.zip", {"x" * len(raw): png(0)})
    path.write_bytes(path.read_bytes().replace(b"x" * len(raw), raw))
    assert [found.name for found in zip_images(str(path))] == [name]


def test_a_name_in_an_extra_field_goes_first(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("x.png")
    said = "h\u00e9.png".encode()
    info.extra = struct.pack("<HHBI", 0x7075, 5 + len(said), 1, 0) + said
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, png(0))
    assert [found.name for found in zip_images(str(tmp_path / "a.zip"))] == ["h\u00e9.png"]


def test_refused_files_are_named_whatever_their_name(store: AnnotationStore, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("two\nlines.png", f"{'long ' * 45}end.png"):
        (folder / name).write_bytes(b"no image")
    done = do_import(store, "folder", folder)
    names = [file for file, _ in done.refused_files]
    assert (done.total, done.refused, len(names)) == (2, 2, 2)
    assert [any(part in name for name in names) for part in ("twolines.png", "end.png")] == [True, True]
    assert all(len(name) <= 200 and name.isprintable() for name in names)


def test_parts_of_an_archive_that_cannot_be_read_are_counted(store: AnnotationStore, tmp_path: Path) -> None:
    pack(tmp_path / "a.zip", {"rare.png": png(0)}, zipfile.ZIP_BZIP2)
    with zipfile.ZipFile(tmp_path / "a.zip", "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("huge.png", png(3) + bytes(30 * 2**20))
        archive.writestr("broken.png", png(1) * 3)
        archive.writestr("good.png", png(2))
        place = archive.getinfo("broken.png").header_offset + 50
    data = bytearray((tmp_path / "a.zip").read_bytes())
    data[place:place + 20] = bytes(20)
    (tmp_path / "a.zip").write_bytes(data)
    done = do_import(store, "zip", tmp_path / "a.zip")
    assert (done.state, done.added, done.refused) == ("done", 1, 3)
    assert sum("archive is damaged, encrypted or packed" in reason for reason in done.reasons) == 1
    assert sum("far more than a picture of" in reason for reason in done.reasons) == 1


def test_a_hub_data_set_becomes_tasks(
    store: AnnotationStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datasets import Dataset, Features, Image, Value

    features = Features({"xray": Image(), "label": Value("int64")})
    rows = [{"xray": {"bytes": data, "path": None}, "label": 0} for data in (png(0), png(1), b"no image")]
    folder = tmp_path / "someone" / "xrays"
    folder.mkdir(parents=True)
    Dataset.from_list(rows, features).to_parquet(folder / "train.parquet")
    Dataset.from_dict({"label": [1]}).to_parquet(tmp_path / "someone" / "words.parquet")
    monkeypatch.chdir(tmp_path)  # the library takes a folder of that name for the data set
    done = do_import(store, "hub", "someone/xrays")
    assert (done.state, done.added, done.refused) == ("done", 2, 1)
    assert {image.source for image in store.images()} == {"hub someone/xrays"}
    for where, message in (("../../etc", "no name of a data set"), ("someone/nothing", "cannot be read"),
                           ("someone/xrays:test", "cannot be read")):  # fmt: skip
        done = do_import(store, "hub", where)
        assert done.state == "failed"
        assert message in done.error
        assert "\n" not in done.error


def test_an_import_goes_on_after_a_crash_without_doubling(
    open_store: OpenStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    store = open_store(clock)
    folder = fill_folder(tmp_path / "images", 6)
    (folder / "bad.png").write_bytes(b"no image")
    store.queue_import("folder", str(folder), "admin")
    loads: list[str] = []

    def load(*given: object, crash_at: int = 4, **named: object) -> object:
        loads.append(str(named["name"]))
        if len(loads) == crash_at:
            raise KeyboardInterrupt
        return open_image(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(imports, "open_image", load)
    with pytest.raises(KeyboardInterrupt):
        run_next_import(store)
    (status,) = store.imports()
    assert (status.state, status.added + status.refused) == ("running", 3)
    assert run_next_import(open_store(clock)) is None  # perhaps its worker still lives
    clock.move(300)
    done = run_next_import(open_store(clock))
    assert done is not None
    assert (done.state, done.added, done.known, done.refused) == ("done", 6, 0, 1)
    assert len(loads) == 8  # one file was begun twice, none done twice


def test_a_worker_whose_import_was_taken_over_stops(
    open_store: OpenStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    store, other = open_store(clock), open_store(clock)
    store.queue_import("folder", str(fill_folder(tmp_path / "images", 4)), "admin")
    real = imports._read_image
    slept = []

    def slow(*args: Any) -> Any:
        if not slept:
            slept.append(args)
            clock.move(300)
            assert run_next_import(other) is not None
        return real(*args)

    monkeypatch.setattr(imports, "_read_image", slow)
    done = run_next_import(store)
    assert done is not None
    assert (done.state, done.added, done.known) == ("done", 4, 0)
    assert [entry.action for entry in store.audit()] == ["import queued", "import done"]


def test_imports_are_done_in_turn_and_bad_requests_refused(store: AnnotationStore, tmp_path: Path) -> None:
    first = store.queue_import("folder", str(tmp_path / "missing"), "admin")
    second = store.queue_import("folder", str(fill_folder(tmp_path / "images", 1)), "admin")
    assert [status.state for status in store.imports()] == ["queued", "queued"]
    statuses = [run_next_import(store), run_next_import(store)]
    assert [(status.number, status.state) for status in statuses if status] == [(first, "failed"), (second, "done")]
    for kind, where, quota in (("ftp", "x", None), ("zip", " ", None), ("zip", "x", 0)):
        with pytest.raises(StoreError):
            store.queue_import(kind, where, "admin", "Where?", quota)  # type: ignore[arg-type]
    with pytest.raises(SourceError):
        next(zip_images(str(tmp_path)))

