"""How fast the store of Teach acknowledges submissions, and how long the next task takes as it fills.

    python -m benchmarks.store_speed --seconds 5 --largest 1000000

Submissions are durable when they are counted (SQLite, WAL, full synchronous), so the disk decides the first figures.
Beside them stands what share they are of bare commits on that disk, measured in turns with them.
"""

import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from PIL import Image
from sqlalchemy import Connection, Row, Table, select

from annotate.store.model import MAIN_PROJECT, StoredImage, StoreSettings
from annotate.store.queue import QueueEntry, band_of
from annotate.store.store import AnnotationStore
from annotate.store.submissions import receipt_id_of
from annotate.store.tables import COUNTERS, IMAGES, PEOPLE, SEEN, SUBMISSIONS, values_of
from benchmarks.measure import Figure
from gazevlm_core.annotation import Annotation, Click, Client, canonical_json, to_values
from gazevlm_core.scanpath import Fixation, Scanpath

CLIENTS = (1, 10, 50)
SIZES = (1_000, 100_000, 1_000_000)
SECONDS = 5.0
ROUNDS = 5  # of submissions and of bare commits, since a disk's speed drifts
FIXATIONS = 10
IMAGES_USED, SIDE_PX = 200, 32
PER_IMAGE = 10  # stored annotations of each image, of the 12 it wants
BUSIEST = 10_000  # annotations of the busiest annotator at most
ROWS_AT_ONCE = 20_000
PROBES = 60


def annotation_of(
    image: StoredImage, who: str, submission_id: str, rng: np.random.Generator, length: int = FIXATIONS
) -> Annotation:
    """Random clicks with onsets."""
    onsets = np.sort(rng.uniform(0, 20_000, length))
    places = zip(rng.random((length, 2)), onsets, strict=True)
    path = Scanpath(tuple(Fixation(float(x), float(y), onset_ms=float(ms)) for (x, y), ms in places), "click")
    now, click = datetime.now(UTC), Click(1.0, 127.5, 255.0, False, "mouse")
    return Annotation(
        submission_id, image.name, image.sha256, image.width_px, image.height_px, image.question, ("edema",), "",
        path, who, now, now, Client(600, 600, 1.0, 2.0, "clicks"), 4, (click,) * length,
    )  # fmt: skip


def noise_image(store: AnnotationStore, seed: int) -> StoredImage:
    """A small image of noise."""
    noise = np.random.default_rng(seed).integers(0, 256, (SIDE_PX, SIDE_PX), dtype=np.uint8)
    return store.add_image(Image.fromarray(noise), f"image {seed}", by="benchmark")


def bare_commits_per_s(file: Path, seconds: float) -> float:
    """Durable commits per second of one short row each, by SQLite alone from one thread: the most that a disk gives."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE IF NOT EXISTS rows (id INTEGER PRIMARY KEY, value TEXT)")
        commits, begin = 0, time.perf_counter()
        while time.perf_counter() - begin < seconds:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO rows (value) VALUES ('a short row')")
            connection.execute("COMMIT")
            commits += 1
        return commits / (time.perf_counter() - begin)


def submission_figures(folder: Path, clients: int, seconds: float) -> tuple[float, float, float]:
    """Acknowledged submissions with that many clients at once, in turns with bare commits on the same disk.

    Returns:
        Submissions per second, the 99th percentile of one in ms, and submissions per bare commit.
    """
    store = AnnotationStore.open(folder, settings=StoreSettings(quota=1_000_000))
    images = [noise_image(store, seed) for seed in range(IMAGES_USED)]
    names = [store.pseudonym(f"client {number}") for number in range(clients)]
    start, waits, rows = threading.Barrier(clients), list[float](), [0] * clients

    def client(number: int) -> None:
        rng = np.random.default_rng([number, rows[number]])
        start.wait()
        end = time.perf_counter() + seconds / ROUNDS
        while (begin := time.perf_counter()) < end:
            row, rows[number] = rows[number], rows[number] + 1
            store.submit(annotation_of(images[row % IMAGES_USED], names[number], f"{number}-{row}", rng))
            waits.append(time.perf_counter() - begin)

    bare, spent = list[float](), 0.0
    with ThreadPoolExecutor(clients) as pool:
        for _ in range(ROUNDS):
            bare.append(bare_commits_per_s(folder / "bare.db", seconds / ROUNDS))
            begin = time.perf_counter()
            list(pool.map(client, range(clients)))
            spent += time.perf_counter() - begin
    assert store.counts().annotations == len(waits)
    store.close()
    rate = len(waits) / spent
    return rate, 1000 * float(np.percentile(waits, 99)), rate / statistics.mean(bare)


def fill(store: AnnotationStore, number: int) -> str:
    """Write that many annotations in bulk; the pseudonym of the annotator who did the most, up to 10,000."""
    who = store.pseudonym("busiest")
    image = noise_image(store, 0)
    record = store.submit(annotation_of(image, who, "template", np.random.default_rng(0), length=1))
    query = select(SUBMISSIONS).where(SUBMISSIONS.c.number == record.number)
    kept = store.database.read(lambda connection: connection.execute(query).one())
    images = number // PER_IMAGE
    _write(store, PEOPLE, _people(images))
    _write(store, IMAGES, _images(images))
    _write(store, SUBMISSIONS, _submissions(kept, number, images))
    _write(store, SEEN, _seen(number, images))
    counters = COUNTERS.update().values(submission=number + 10, position=images + 2)
    store.database.write(lambda connection: connection.execute(counters))
    return who


def _write(store: AnnotationStore, table: Table, rows: Iterator[dict[str, Any]]) -> None:
    """Insert rows, many at once."""
    while batch := list(islice(rows, ROWS_AT_ONCE)):

        def put(connection: Connection, batch: list[dict[str, Any]] = batch) -> None:
            connection.execute(table.insert(), batch)

        store.database.write(put)


def _annotator(image: int, turn: int, images: int) -> int:
    """Key of who did annotation `turn` of an image: the busiest does the first one of half of the images, at most."""
    if turn == 0 and image < min(BUSIEST, images // 2):
        return 1
    return 2 + (image * PER_IMAGE + turn) % (_crowd(images) - PER_IMAGE)


def _crowd(images: int) -> int:
    return max(4 * PER_IMAGE, images // 50)


def _people(images: int) -> Iterator[dict[str, Any]]:
    for key in range(2, 2 + _crowd(images)):
        yield {"id": key, "pseudonym": f"reader-{key}", "name": None, "given": 0, "done": 0, "skipped": 0}


def _images(images: int) -> Iterator[dict[str, Any]]:
    """Half of low agreement, half not, all with room for two more annotators."""
    rng = np.random.default_rng(1)
    for number in range(images):
        digest = f"{number:064x}"
        place = QueueEntry(
            id=2 + number, sha256=digest, width_px=SIDE_PX, height_px=SIDE_PX, open=True, is_gold=False, quota=12,
            priority=0, project=MAIN_PROJECT, lane=0, done=PER_IMAGE, leased=0,
            agreement=float(rng.uniform(0.1, 0.7)), band=None, position=number + 2,
        )  # fmt: skip
        image = StoredImage(digest, str(number), SIDE_PX, SIDE_PX, "Where?", True, None, "", place.quota)
        yield {**values_of(IMAGES, image), **values_of(IMAGES, place), "offered": True, "band": band_of(place)}


def _submissions(kept: Row[Any], number: int, images: int) -> Iterator[dict[str, Any]]:
    same = {**kept._mapping, "annotation": canonical_json(to_values(kept.annotation))}
    for row in range(number):
        image, turn = divmod(row, PER_IMAGE)
        digest = f"{row:064x}"
        yield same | {
            "number": 10 + row, "submission_id": f"bulk {row}", "image_id": 2 + image, "digest": digest,
            "person_id": _annotator(image, turn, images), "receipt_id": receipt_id_of(digest[::-1]), "synced": True,
        }  # fmt: skip


def _seen(number: int, images: int) -> Iterator[dict[str, Any]]:
    for row in range(number):
        image, turn = divmod(row, PER_IMAGE)
        yield {"person_id": _annotator(image, turn, images), "image_id": 2 + image}


def next_task_ms(folder: Path, number: int) -> float:
    """Median time to the next task with that many stored annotations, for newcomers and for the busiest annotator."""
    store = AnnotationStore.open(folder, settings=StoreSettings(lease_s=3600))
    busiest, times = fill(store, number), []
    for probe in range(PROBES):
        who = busiest if probe % 2 else store.pseudonym(f"newcomer {probe}")
        begin = time.perf_counter()
        task = store.next_task(who)
        times.append(1000 * (time.perf_counter() - begin))
        if task is None:
            raise RuntimeError(f"no task among {number} annotations")
        store.skip(task.lease_id, who, "benchmark")
    store.close()
    return statistics.median(times)


def store_figures(seconds: float = SECONDS, sizes: tuple[int, ...] = SIZES) -> list[Figure]:
    """How fast the store acknowledges and finds tasks."""
    lines: list[Figure] = []
    for clients in CLIENTS:
        with tempfile.TemporaryDirectory() as folder:
            rate, p99_ms, share = submission_figures(Path(folder), clients, seconds)
        lines.append(Figure(f"store_submissions_per_s_{clients}", rate, f"durable, {clients} clients, SQLite"))
        lines.append(Figure(f"store_submissions_share_of_commits_{clients}", share, "the same, over bare commits"))
        lines.append(Figure(f"store_submit_p99_ms_{clients}", p99_ms, f"ms until acknowledged, {clients} clients"))
    medians = []
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            medians.append(next_task_ms(Path(folder), size))
        lines.append(Figure(f"store_next_task_ms_{size}", medians[-1], f"ms to the next task, {size:,} stored"))
    lines.append(Figure("store_next_task_growth", medians[-1] / medians[0], f"{sizes[-1]:,} stored over {sizes[0]:,}"))
    return lines


def main(
    seconds: Annotated[float, typer.Option(help="Of submissions, for each number of clients.", min=0.1)] = SECONDS,
    largest: Annotated[int, typer.Option(help="Stored annotations at most.", min=1_000)] = SIZES[-1],
) -> None:
    """Measure and print."""
    for key, value, meaning in store_figures(seconds, tuple(size for size in SIZES if size <= largest)):
        typer.echo(f"{key:37} {value:10.2f}  {meaning}")


if __name__ == "__main__":
    typer.run(main)
