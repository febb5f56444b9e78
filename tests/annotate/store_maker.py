"""Images, annotations and clocks for tests of the store."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from PIL import Image

from annotate.store.model import Stored, StoredImage, Task
from annotate.store.store import AnnotationStore
from gazevlm_core.annotation import Annotation
from gazevlm_core.scanpath import Fixation, Scanpath
from tests.annotation_maker import CLICK, START, make_annotation

WIDTH_PX, HEIGHT_PX = 24, 20
PATH = Scanpath((Fixation(0.5, 0.5), Fixation(0.1, 0.9)), "click")


class Clock:
    """A clock that only tests move."""

    def __init__(self) -> None:
        self.now = datetime(2026, 5, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def picture(seed: int) -> Image.Image:
    """A small grey image, another one for each seed."""
    noise = np.random.default_rng(seed).integers(0, 256, (HEIGHT_PX, WIDTH_PX), dtype=np.uint8)
    return Image.fromarray(noise)


def add_images(store: AnnotationStore, number: int, **about: Any) -> list[StoredImage]:
    """Images 0 to number - 1."""
    return [store.add_image(picture(seed), f"image {seed}", **{"by": "admin", **about}) for seed in range(number)]


def click_path(points: list[tuple[float, float]]) -> dict[str, Any]:
    """Parts of an annotation whose clicks are at these places."""
    return {
        "scanpath": Scanpath(tuple(Fixation(x, y) for x, y in points), "click"),
        "clicks": (CLICK,) * len(points),
    }


def annotate(sha256: str, who: str, submission_id: str, **change: Any) -> Annotation:
    """An annotation of a stored image; five random clicks unless something else is said."""
    rng = random.Random(submission_id)
    values: dict[str, Any] = {
        "submission_id": submission_id,
        "image_sha256": sha256,
        "image_width_px": WIDTH_PX,
        "image_height_px": HEIGHT_PX,
        "annotator": who,
        "started_at": START,
        **click_path([(rng.random(), rng.random()) for _ in range(5)]),
    }
    values |= change
    return make_annotation(**{"submitted_at": values["started_at"], **values})


def do_task(store: AnnotationStore, who: str, task: Task, submission_id: str, **change: Any) -> Annotation:
    """Submit an annotation of a task."""
    annotation = annotate(task.image.sha256, who, submission_id, **change)
    store.submit(annotation, task.lease_id)
    return annotation


def ingest(store: AnnotationStore, stored: Stored, shard: str = "") -> bool:
    """Import one exported record; whether it was new or newer."""
    (is_new,) = store.ingest([(stored, b"")], shard=shard)
    return is_new
