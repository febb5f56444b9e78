"""Databases: made and upgraded under a lock, refused where they are newer, and reached by every usual form of URL."""

import json
import sqlite3
import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from annotate.store import database as engine
from annotate.store.database import DATABASE_FILE, HEAD, MIGRATIONS, Database, database_url, migrate
from annotate.store.model import StoreError
from annotate.store.project import Project
from annotate.store.queue import BANDS
from annotate.store.store import AnnotationStore
from annotate.store.submissions import receipt_id_of, record_of
from annotate.store.tables import METADATA
from tests.annotate.conftest import OpenStore
from tests.annotate.store_maker import add_images, annotate, do_task

NO_STORE = "postgresql://nobody@127.0.0.1:1/none?connect_timeout=2"


def database_at(folder: Path, url: str, revision: str) -> Database:
    folder.mkdir(exist_ok=True)
    database = Database(database_url(folder, url))
    migrate(database, revision)
    return database


def write_first_form(connection: Connection, sha256: str) -> str:
    """Rows as the program of revision 0001 wrote them; the digest of the one record."""
    annotation = annotate(sha256, "reader-old", "old")
    record = record_of(annotation)
    digest = record.digest
    rows = {
        "people": {"id": 1, "pseudonym": "reader-old", "name": "Ada", "given": 1, "done": 1, "skipped": 0},
        "images": {
            "id": 1, "sha256": sha256, "name": "old.png", "width_px": annotation.image_width_px,
            "height_px": annotation.image_height_px, "question": "Where?", "offered": True, "open": True,
            "source": "", "quota": 2, "done": 1, "leased": 0, "band": 9, "position": 1,
        },
        "submissions": {
            "number": 1, "submission_id": "old", "image_id": 1, "person_id": 1, "kind": "usual",
            "record": record.annotation, "digest": digest, "receipt_id": receipt_id_of(digest),
            "content": record.content, "patches": b"\1\2", "counted": True, "verdict": "accepted", "reason": "",
            "removed": False, "synced": False,
        },
        "seen": {"person_id": 1, "image_id": 1},
        "audit": {"number": 1, "at_us": 1, "who": "boss", "action": "accepted", "subject": "old", "details": "{}"},
    }  # fmt: skip
    for table, row in rows.items():
        columns = ", ".join(row)
        connection.execute(text(f"INSERT INTO {table} ({columns}) VALUES (:{', :'.join(row)})"), row)
    connection.execute(text("UPDATE counters SET submission = 1, audit = 1, position = 1"))
    return digest


def test_an_old_database_opens(tmp_path: Path, store_url: str, open_store: OpenStore) -> None:
    old = database_at(tmp_path / "data", store_url, "0001")
    digest = old.write(lambda session: write_first_form(session, "a" * 64))
    old.close()
    store = open_store()
    (kept,) = store.stored()
    assert (kept.receipt.digest, kept.verdict, kept.revision, kept.number) == (digest, "accepted", 0, 1)
    assert [entry.action for entry in store.audit()] == ["accepted"]
    assert store.imports() == []
    assert store.pseudonym("Ada") == "reader-old"
    task = store.next_task(store.pseudonym("Bob"))
    assert task is not None
    do_task(store, store.pseudonym("Bob"), task, "new")
    assert [stored.number for stored in store.stored()] == [1, 2]
    assert store.counts().open_images == 0


def test_an_old_queue_goes_on_in_the_usual_priority(tmp_path: Path, store_url: str, open_store: OpenStore) -> None:
    old = database_at(tmp_path / "data", store_url, "0004")
    old.write(lambda session: write_first_form(session, "a" * 64))
    move = "INSERT INTO cursors (person_id, band, position) VALUES (1, 9, 1), (1, -1, 4)"
    old.write(lambda session: session.execute(text(move)))
    old.close()
    store, cursors = open_store(), "SELECT band, position FROM cursors ORDER BY band"
    assert store.database.read(lambda session: session.scalar(text("SELECT band FROM images"))) == BANDS + 9
    assert store.database.read(lambda session: session.execute(text(cursors)).all()) == [(-1, 4), (BANDS + 9, 1)]
    (image,) = store.images()
    assert (image.priority, image.patient_id, image.metadata) == (0, "", {})
    store.set_open(image.sha256, False, "admin")
    store.set_open(image.sha256, True, "admin")
    assert store.database.read(lambda session: session.scalar(text("SELECT band FROM images"))) == BANDS + 9


def test_what_an_old_store_decided_is_the_first_of_its_projects(
    tmp_path: Path, store_url: str, open_store: OpenStore
) -> None:
    old = database_at(tmp_path / "data", store_url, "0005")
    old.write(lambda session: write_first_form(session, "a" * 64))
    decided = {"instruction": "Apex first.", "mode": "bubble", "least_clicks": 3, "checklist": ["edema"], "later": 1}
    keep = text("INSERT INTO facts (name, value) VALUES ('project', :value)")
    old.write(lambda session: session.execute(keep, {"value": json.dumps(decided)}))
    lease = "INSERT INTO leases VALUES ('old', 1, 1, 'usual', 'open', :holds, 9)"
    old.write(lambda session: session.execute(text(lease), {"holds": False}))
    old.close()
    store = open_store()
    assert store.projects() == [Project("Apex first.", mode="bubble", least_clicks=3, checklist=("edema",))]
    assert [one.project for one in (*store.images(), *store.stored())] == ["main", "main"]
    left = "SELECT count(*) FROM facts WHERE name = 'project'"
    assert store.database.read(lambda session: session.scalar(text(left))) == 0
    task = store.next_task("reader-old")
    assert task is not None
    assert task.lease_id == "old"
    new = database_at(tmp_path / "new", "", HEAD)
    assert AnnotationStore.open(tmp_path / "new").projects() == [Project()], "usual, as the program has it"
    new.close()


def test_migrations_lead_to_the_tables_of_the_program(open_store: OpenStore) -> None:
    with open_store().database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


def test_a_database_of_a_newer_program_is_refused(open_store: OpenStore) -> None:
    store = open_store()
    store.database.write(lambda session: session.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    with pytest.raises(StoreError, match="newer program") as caught:
        open_store()
    assert "update GazeVLM" in str(caught.value)


def test_replicas_that_start_together_make_the_tables_once(tmp_path: Path, store_url: str) -> None:
    barrier, opened, troubles = threading.Barrier(6), [], []

    def start() -> None:
        barrier.wait()
        try:
            opened.append(AnnotationStore.open(tmp_path / "data", store_url))
        except Exception as error:
            troubles.append(error)

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert troubles == []
    assert len({store.pseudonym("Ada") for store in opened}) == 1
    for store in opened:
        store.close()


def test_a_file_that_another_program_is_making_is_waited_for(tmp_path: Path) -> None:
    """SQLite refuses the change to WAL at once while somebody else writes, without waiting."""
    other = sqlite3.connect(tmp_path / DATABASE_FILE, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    threading.Timer(0.5, lambda: other.execute("COMMIT")).start()
    store = AnnotationStore.open(tmp_path)
    assert store.counts().annotations == 0, "it is there, and can be read"
    store.close()
    assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    other.close()


def test_urls_of_every_usual_form_lead_to_psycopg(tmp_path: Path) -> None:
    for form in ("postgres", "postgresql", "postgresql+psycopg2", "postgresql+psycopg"):
        assert database_url(tmp_path, f"{form}://me:pw@host/db").drivername == "postgresql+psycopg"
    assert database_url(tmp_path, "").database == str(tmp_path / "annotations.db")
    assert database_url(tmp_path, f"sqlite:///{tmp_path}/x.db").database == f"{tmp_path}/x.db"
    for url in ("mysql://me@host/db", "sqlite://", "no url", "sqlite:///:memory:"):
        with pytest.raises(StoreError, match="DATABASE_URL"):
            database_url(tmp_path, url)


def test_what_is_no_database_is_told_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "ATTEMPTS", 1)
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "noise").mkdir()
    (tmp_path / "noise" / "annotations.db").write_bytes(b"no database at all " * 500)
    for folder, url, message in (
        (tmp_path / "file", "", "cannot be made"),
        (tmp_path / "noise", "", "damaged or of another program"),
        (tmp_path / "data", NO_STORE, "cannot be reached"),
        (tmp_path / "data", f"sqlite:///{tmp_path}/missing/x.db", "cannot be written"),
    ):
        with pytest.raises(StoreError, match=message) as caught:
            AnnotationStore.open(folder, url)
        assert "\n" not in str(caught.value)


def test_sqlite_is_as_durable_as_it_can_be(tmp_path: Path) -> None:
    store = AnnotationStore.open(tmp_path)
    with store.database.engine.connect() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 60_000}
    store.close()


def test_a_writer_waits_for_another_process_and_says_so_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_S", 0.2)
    store, other = AnnotationStore.open(tmp_path), AnnotationStore.open(tmp_path)
    with other.database.transaction(writes=True):
        assert store.images() == []  # readers never wait
        with pytest.raises(StoreError, match="busy with another program"):
            add_images(store, 1)
    add_images(store, 1)
    store.close()
    other.close()
