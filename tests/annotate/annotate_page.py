"""The Teach tab alone, on a store in a folder: `python -m tests.annotate.annotate_page PORT FOLDER [IMAGES]`.

Next to the tab there is GET /static/test-records: all that the store holds, as JSON lines, for tests to compare with.
"""

import json
import sys
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from fastapi.responses import PlainTextResponse
from PIL import Image, ImageDraw

from annotate.store.model import StoreSettings
from annotate.store.store import AnnotationStore
from annotate.tab.page import annotate_tab
from annotate.tab.service import AnnotationService
from gazevlm_core.annotation import to_values
from gazevlm_core.datasets.trained_on import TrainedOn
from gazevlm_core.geometry import PatchGrid
from gazevlm_core.options import DEFAULT_QUESTION, DiagnoseOptions
from gazevlm_core.records import Diagnosis
from gazevlm_core.scanpath import Fixation, Scanpath
from phantoms.make import make_phantom
from web.identity import Gate
from web.page import build_page, launch_options
from web.settings import Settings

MODEL, UNTRAINED, GRID = "stub", "untrained stub", PatchGrid(8, 8)
PHANTOMS, PHANTOM_PX = 4, 300
TARGETS_PX = ((120.5, 100.5), (700.5, 180.5), (450.5, 350.5), (200.5, 600.5), (780.5, 560.5))
WIDTH_PX, HEIGHT_PX = 900, 700
MODEL_PATH = Scanpath((Fixation(0.3, 0.3, 300.0), Fixation(0.7, 0.4, 200.0), Fixation(0.5, 0.8, 250.0)), "model")


@dataclass(frozen=True)
class Facts:
    """What a stub knows of itself."""

    gaze_trained: bool
    trained_on: str = "nothing; a stub"


@dataclass(frozen=True)
class Stub:
    """Something that says that it can look."""

    gaze: Facts
    stamp: int = 0
    learned: tuple[TrainedOn, ...] = ()


class Stubs:
    """Two models of no weight."""

    def choices(self) -> Mapping[str, Stub]:
        return {MODEL: Stub(Facts(True)), UNTRAINED: Stub(Facts(False))}


def ask(name: str, image: Image.Image, question: str, options: DiagnoseOptions) -> Generator[Diagnosis, None, None]:
    """Looks at the same three places of every image; the untrained one nowhere."""
    if name == UNTRAINED:
        yield Diagnosis("", {}, None, None, (), GRID, name)
        return
    even = np.full((len(MODEL_PATH), len(GRID)), 1 / len(GRID), dtype=np.float32)
    yield Diagnosis("", {}, MODEL_PATH, even, (0.5, 0.4, 0.3), GRID, name)


def local_gate(store: AnnotationStore) -> Gate:
    """As on a laptop."""
    return Gate(Settings(), store.pseudonym)


def targets() -> Image.Image:
    """Grey noise, with a bright square around each of TARGETS_PX; not like itself anywhere else."""
    noise = np.random.default_rng(5).integers(0, 120, (HEIGHT_PX, WIDTH_PX), np.uint8)
    image = Image.fromarray(noise)
    draw = ImageDraw.Draw(image)
    for x, y in TARGETS_PX:
        draw.rectangle((x - 10.5, y - 10.5, x + 9.5, y + 9.5), fill=255)
    return image


def fill(store: AnnotationStore, images: int) -> None:
    """The targets first, then phantoms."""
    store.add_image(targets(), "targets", by="test")
    for seed in range(images - 1):
        image = Image.fromarray(make_phantom(seed, size_px=PHANTOM_PX).image)
        store.add_image(image, f"phantom {seed}", question=DEFAULT_QUESTION, by="test")


def main(port: int, folder: Path, images: int = PHANTOMS + 1) -> None:
    """Serve until the process ends."""
    store = AnnotationStore.open(folder, settings=StoreSettings(gold_share=0.0, repeat_share=0.0))
    fill(store, images)
    page = build_page([annotate_tab(AnnotationService(store, Stubs(), ask, local_gate(store)))])
    app, _, _ = page.launch(
        server_name="127.0.0.1", server_port=port, quiet=True, prevent_thread_lock=True, **launch_options(page)
    )

    @app.get("/static/test-records")  # below a route that the guard leaves open
    def records() -> PlainTextResponse:
        rows = [
            {"kind": one.kind, "receipt_id": one.receipt.receipt_id, "digest": one.receipt.digest,
             "record": to_values(one.annotation)}
            for one in store.stored()
        ]  # fmt: skip
        return PlainTextResponse("".join(json.dumps(row) + "\n" for row in rows))

    app.router.routes.insert(0, app.router.routes.pop())  # before Gradio's page for everything else
    page.block_thread()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:]))
