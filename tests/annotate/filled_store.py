"""A small store with everything in it that may go out and come back."""

import hashlib
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from annotate.store.model import StoredImage, StoreSettings
from annotate.store.store import AnnotationStore
from gazevlm_core.annotation import Annotation, Client, PointerSample
from gazevlm_core.scanpath import Fixation, Scanpath
from tests.annotation_maker import CLICK, START, make_annotation

SETTINGS = StoreSettings(gold_share=0, repeat_share=0, secret="a secret that outlives the database")
HOSTILE = '=HYPERLINK("http://evil")'
REPORT = "Nodule, right.\r\nSecond line; \"quoted\", with, commas, \\u0000 and ünïcode \U0001f441"


class Clock:
    """A server's clock that goes on by a second each time it is asked."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


def open_store(folder: Path, url: str = "") -> AnnotationStore:
    return AnnotationStore.open(folder, url, SETTINGS, Clock())


def picture(seed: int, *, color: bool = False, size: tuple[int, int] = (60, 40)) -> Image.Image:
    width, height = size
    shape = (height, width, 3) if color else (height, width)
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def clicks(image: StoredImage, who: str, number: int, **change: Any) -> Annotation:
    """Four clicks, different for each number."""
    places = np.random.default_rng(number).random((4, 2)).tolist()
    path = Scanpath(tuple(Fixation(x, y, onset_ms=300.5 * step) for step, (x, y) in enumerate(places)), "click")
    values = {
        "submission_id": f"sub-{hashlib.md5(str(number).encode()).hexdigest()}", "image_id": image.name,
        "image_sha256": image.sha256, "image_width_px": image.width_px, "image_height_px": image.height_px,
        "annotator": who, "scanpath": path, "clicks": (CLICK,) * 4, **change,
    }  # fmt: skip
    return make_annotation(**values)


def window(image: StoredImage, who: str, number: int) -> Annotation:
    """Two fixations of the moving window, with durations."""
    path = Scanpath((Fixation(0.2, 0.3, 250.0, 0.0), Fixation(0.6, 0.7, 420.5, 300.0)), "moving window")
    return clicks(
        image, who, number, scanpath=path, clicks=(), samples=(PointerSample(0, 0.2, 0.3), PointerSample(30, 1.2, 0.3)),
        client=Client(600, 400, 1.0, 1.0, "moving window", 40.0, 32.0), findings=(), confidence=None,
    )  # fmt: skip


def fill(store: AnnotationStore) -> None:
    """Three images and an annotator's own one; nine submissions, some judged or removed; a skip."""
    people = [store.pseudonym(name) for name in ("Ada", "Ben", "Cleo", "=Dan")]
    admin = store.pseudonym("Root")
    gold = Scanpath((Fixation(0.25, 0.5), Fixation(0.75, 0.5)), "eyetracker")
    about = {"patient_id": "p 7", "metadata": {"view": "PA", "sex": "F", "imported path": "ward/grey.png"}}
    grey = store.add_image(picture(1), "grey.png", by=admin, quota=5, source="folder a", **about)
    color = store.add_image(picture(2, color=True), HOSTILE, by=admin, question="What is wrong?")
    known = store.add_image(picture(3, size=(31, 47)), "gold.png", by=admin, gold=gold)
    own = store.add_image(picture(4), "mine.png", by=people[0], offered=False)
    task = store.next_task(people[3])
    assert task is not None
    store.skip(task.lease_id, people[3], "too dark")
    number = 0
    for who in people[:3]:
        for _ in (grey, color):
            number += 1
            task = store.next_task(who)
            assert task is not None
            findings = ("nodule",) if who != people[2] else ("edema", "nodule")
            report = REPORT if number == 3 else ""
            asked = ("edema", "nodule") if who == people[1] else None
            told = {"findings": findings, "findings_asked": asked, "report": report}
            store.submit(clicks(task.image, who, number, **told), task.lease_id)
    store.submit(clicks(known, people[0], 7, report=HOSTILE, question="@SUM(A1)"))
    store.submit(window(grey, people[3], 8))
    store.submit(clicks(own, people[0], 9, findings=()))
    ids = [one.annotation.submission_id for one in store.stored()]
    store.review(ids[0], "accepted", "", admin)
    store.review(ids[1], "rejected", "-1 for clicking at random", admin)
    store.review(ids[2], "accepted", "good", admin)
    store.review(ids[8], "accepted", "", admin)
    store.remove(ids[3], "by wish", admin)
    store.remove(ids[4], "by mistake", admin)
    store.restore(ids[4], "it was fine", admin)
    store.set_open(color.sha256, False, admin)
    store.set_task(color.sha256, admin, priority=-1)
    store.set_gold(known.sha256, gold, admin, gold_from=(people[2], people[1]))
