"""Nothing that was acknowledged is lost, and nothing is half-written: kill -9, a server that crashes, a full disk."""

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import event, text

from annotate.store.model import StoreError
from annotate.store.store import AnnotationStore
from tests.annotate.conftest import OpenStore, Postgres, make_postgres
from tests.annotate.store_maker import add_images, annotate
from tests.conftest import kills

KILLS = kills(20, 100)
NOISE_PX = 300


def check_whole(store: AnnotationStore) -> dict[str, tuple[int, str]]:
    """Number and digest of every record by its submission id, after looking at each of them."""
    query = text("SELECT submission_id, number, digest, record FROM submissions")
    rows = store.database.read(lambda connection: connection.execute(query).all())
    for _, _, digest, record in rows:
        assert hashlib.sha256(record.encode()).hexdigest() == digest
    counted = text("SELECT count(*) FROM submissions WHERE counted")
    done = text("SELECT coalesce(sum(done), 0) FROM images")
    assert store.database.read(lambda connection: connection.scalar(counted) == connection.scalar(done))
    assert sum(store.progress(person.pseudonym).done for person in store.people()) == len(rows)
    assert len(store.stored(limit=10_000)) == len(rows)
    return {submission_id: (number, digest) for submission_id, number, digest, _ in rows}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_kills_lose_no_acknowledged_submission(
    open_store: OpenStore, tmp_path: Path, store_url: str, repository: Path
) -> None:
    store = open_store()
    who, (image,) = store.pseudonym("Ada"), add_images(store, 1)
    command = [sys.executable, "-m", "tests.annotate.crash_child", str(tmp_path / "data"), store_url, image.sha256, who]
    rng, acknowledged = random.Random(0), {}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, cwd=repository,
        env={**os.environ, "PYTHONPATH": str(repository)},
    ) as template:  # fmt: skip
        assert template.stdin is not None
        assert template.stdout is not None
        assert template.stdout.readline() == "ready\n"
        for round_number in range(KILLS):
            template.stdin.write(f"round{round_number}\n")
            pid, told = 0, 0
            while (line := template.stdout.readline()) != "dead\n":
                first, *rest = line.split()
                if first == "pid":
                    pid = int(rest[0])
                else:
                    acknowledged[first], told = (int(rest[0]), rest[1]), told + 1
                if pid and told:
                    time.sleep(rng.uniform(0, 0.03))
                    os.kill(pid, signal.SIGKILL)
                    pid = 0
        template.stdin.close()
    kept = check_whole(store)
    assert len(acknowledged) >= KILLS
    assert {key: kept.get(key) for key in acknowledged} == acknowledged
    assert len(kept) - len(acknowledged) - 1 <= KILLS  # the warm one, and at most the one under way at each kill
    assert store.submit(annotate(image.sha256, who, "after")).number > max(number for number, _ in kept.values())


@pytest.fixture
def durable_postgres() -> Iterator[Postgres]:
    """A server that may crash."""
    server = make_postgres()
    try:
        server.start("fsync=on", "full_page_writes=on")
        yield server
        server.stop("immediate")
    finally:
        shutil.rmtree(server.folder, ignore_errors=True)


@pytest.mark.slow
def test_a_server_that_crashes_loses_no_acknowledged_submission(durable_postgres: Postgres, tmp_path: Path) -> None:
    durable_postgres.sql("CREATE DATABASE crashing")
    store = AnnotationStore.open(tmp_path, durable_postgres.url("crashing"))
    who, (image,) = store.pseudonym("Ada"), add_images(store, 1)
    acknowledged: dict[str, tuple[int, str]] = {}
    stop = threading.Event()

    def submit_on() -> None:
        number = 0
        while not stop.is_set():
            try:
                receipt = store.submit(annotate(image.sha256, who, f"s{number}"))
            except StoreError:
                continue  # the same one again: nobody knows whether it was stored
            acknowledged[receipt.submission_id] = (receipt.number, receipt.digest)
            number += 1

    writer = threading.Thread(target=submit_on)
    writer.start()
    for _ in range(3):
        before, patience = len(acknowledged), time.monotonic() + 60
        while len(acknowledged) < before + 10 and time.monotonic() < patience:
            time.sleep(0.01)
        durable_postgres.stop("immediate")
        durable_postgres.start("fsync=on", "full_page_writes=on")
    stop.set()
    writer.join(120)
    kept = check_whole(store)
    assert len(acknowledged) > 20
    assert {key: kept.get(key) for key in acknowledged} == acknowledged
    store.close()


# ---- a full disk ----------------------------------------------------------------------------------------------------
def until_full(step: Callable[[int], object]) -> int:
    """How many steps were stored before the disk was full."""
    for number in range(10_000):
        try:
            step(number)
        except StoreError as error:
            if str(error) == "The store's disk is full; nothing was stored; make room and try again.":
                return number
            raise
    pytest.fail("the disk never was full")


def fill_up(store: AnnotationStore, sha256: str, who: str) -> int:
    """Add images of noise, then submissions to what is left of the last pages; how many images were added."""

    def add(number: int) -> None:
        noise = np.random.default_rng(number).integers(0, 256, (NOISE_PX, NOISE_PX), dtype=np.uint8)
        store.add_image(Image.fromarray(noise), "noise", by="admin")

    added = until_full(add)
    until_full(lambda number: store.submit(annotate(sha256, who, f"until full {number}", report="x" * 5_000)))
    return added


def check_full_disk(store: AnnotationStore, sha256: str, who: str, added: int, before: int) -> None:
    """The store is whole, can be read, and holds what was acknowledged."""
    kept = check_whole(store)
    assert "before" in kept
    assert store.counts().images == before + added
    for image in store.images(limit=5):
        assert store.pixels(image.sha256).size == (image.width_px, image.height_px)
    full = [key for key in kept if key.startswith("until full")]
    assert sorted(full) == sorted(f"until full {number}" for number in range(len(full)))


def begin(store: AnnotationStore) -> tuple[str, str]:
    who, (image,) = store.pseudonym("Ada"), add_images(store, 1)
    store.submit(annotate(image.sha256, who, "before"))
    return image.sha256, who


def test_a_database_at_its_largest_size_keeps_the_rest(tmp_path: Path) -> None:
    store = AnnotationStore.open(tmp_path)
    sha256, who = begin(store)

    def limit(connection: object, *_: object) -> None:
        connection.execute("PRAGMA max_page_count=300")  # type: ignore[attr-defined]

    store.close()
    event.listen(store.database.engine, "connect", limit)
    added = fill_up(store, sha256, who)
    check_full_disk(store, sha256, who, added, 1)
    event.remove(store.database.engine, "connect", limit)
    store.close()
    assert store.submit(annotate(sha256, who, "after")).submission_id in check_whole(store)
    store.close()


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of 32 MiB, of which a file called `filler` takes 4; outside of pytest's closed folders."""
    folder = Path(tempfile.mkdtemp(prefix="gazevlm-small-", dir="/tmp"))
    folder.chmod(0o755)
    mount = ["mount", "-t", "tmpfs", "-o", "size=32m,mode=755", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        folder.rmdir()
        pytest.skip("only root may mount a small disk")
    try:
        (folder / "filler").write_bytes(bytes(4 * 2**20))
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
        folder.rmdir()


def check_small_disk(store: AnnotationStore, disk: Path) -> None:
    sha256, who = begin(store)
    added = fill_up(store, sha256, who)
    check_full_disk(store, sha256, who, added, 1)
    (disk / "filler").unlink()
    assert store.submit(annotate(sha256, who, "after")).submission_id in check_whole(store)
    store.close()


def test_a_full_disk_under_sqlite_keeps_the_rest(small_disk: Path) -> None:
    check_small_disk(AnnotationStore.open(small_disk / "data"), small_disk)


def test_a_full_disk_under_postgresql_keeps_the_rest(small_disk: Path, postgres: Postgres, tmp_path: Path) -> None:
    space = small_disk / "space"
    space.mkdir()
    shutil.chown(space, "postgres", "postgres")
    postgres.sql(f"CREATE TABLESPACE small LOCATION '{space}'")
    postgres.sql("CREATE DATABASE small TABLESPACE small")
    try:
        check_small_disk(AnnotationStore.open(tmp_path / "data", postgres.url("small")), small_disk)
    finally:
        postgres.sql("DROP DATABASE small WITH (FORCE)")
        postgres.sql("DROP TABLESPACE small")
