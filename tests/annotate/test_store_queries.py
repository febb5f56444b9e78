"""What an annotator waits for is found by indexes: no statement walks through a table that grows."""

from pathlib import Path

from sqlalchemy import event

from annotate.store.model import StoreSettings
from annotate.store.store import AnnotationStore
from tests.annotate.conftest import Postgres
from tests.annotate.store_maker import PATH, add_images, annotate, picture

ALLOWED = ("ix_submissions_unsynced", "CONSTANT ROW")  # an index of nothing but the outbox; no table at all


class Statements:
    """Every statement with its values, as the database got it."""

    def __init__(self, store: AnnotationStore) -> None:
        self.seen: dict[str, object] = {}
        event.listen(store.database.engine, "before_cursor_execute", self.note)

    def note(self, _connection: object, _cursor: object, statement: str, values: object, *_: object) -> None:
        if statement.split()[0] in ("SELECT", "UPDATE", "INSERT"):
            self.seen.setdefault(statement, values)


def work_a_while(store: AnnotationStore) -> None:
    """Everything an annotator does, on gold images and repeats too."""
    who = store.pseudonym("Ada")
    for turn in range(12):
        task = store.next_task(who)
        assert task is not None
        annotation = annotate(task.image.sha256, who, f"s{turn}")
        if turn == 3:
            store.skip(task.lease_id, who, "blurred")
        else:
            store.submit(annotation, task.lease_id)
            store.submit(annotation, task.lease_id)
        store.png(task.image.sha256)
    receipt = store.stored(after=2, limit=5)[0].receipt
    store.stored(after=2, limit=5, sha256=task.image.sha256)
    store.stored(after=2, limit=5, annotator=who)
    store.find_receipt(receipt.receipt_id)
    store.review(receipt.submission_id, "rejected", "bad", "boss")
    store.mark_synced(store.unsynced(3), "shard")
    assert {one.kind for one in store.stored()} == {"usual", "gold", "repeat"}


def filled(store: AnnotationStore) -> Statements:
    add_images(store, 12)
    for seed in range(100, 105):
        store.add_image(picture(seed), "gold", gold=PATH, by="admin")
    statements = Statements(store)
    work_a_while(store)
    return statements


SHARES = {"gold_share": 0.3, "repeat_share": 0.3, "secret": "the same draws in every run", "seed": 5}


def test_sqlite_scans_no_table(tmp_path: Path) -> None:
    store = AnnotationStore.open(tmp_path, "", StoreSettings(**SHARES))
    statements = filled(store)
    assert len(statements.seen) > 25
    with store.database.engine.connect() as connection:
        for statement, values in statements.seen.items():
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)  # type: ignore[arg-type]
            steps = [row[3] for row in plan]
            assert not [step for step in steps if step.startswith("SCAN") and not step.endswith(ALLOWED)], statement
            assert "USE TEMP B-TREE FOR ORDER BY" not in steps, statement
    store.close()


def test_postgresql_needs_to_scan_no_table(postgres: Postgres, tmp_path: Path) -> None:
    postgres.sql("CREATE DATABASE plans")
    store = AnnotationStore.open(tmp_path, postgres.url("plans"), StoreSettings(**SHARES))
    statements = filled(store)
    with store.database.engine.connect() as connection:
        connection.exec_driver_sql("SET enable_seqscan = off")  # small tables are read whole unless that is dear
        for statement, values in statements.seen.items():
            plan = connection.exec_driver_sql(f"EXPLAIN {statement}", values)  # type: ignore[arg-type]
            steps = [row[0] for row in plan]
            assert not [step for step in steps if "Seq Scan" in step], statement
    store.close()
