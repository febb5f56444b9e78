"""The Annotations tab on a store of simulated annotators: `python -m tests.annotate.dashboard_page PORT FOLDER`."""

import random
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from PIL import Image

from annotate.store.model import StoredImage, StoreSettings
from annotate.store.store import AnnotationStore
from gazevlm_core.scanpath import Fixation, Scanpath
from phantoms.dataset import draw_case
from tests.annotate.dashboard_maker import make_service
from tests.annotation_maker import CLICK, make_annotation

SETTINGS = StoreSettings(gold_share=0, repeat_share=0, secret="dashboard")
PEOPLE = ("Ada", "Ben", "Cleo", "Dora", "Emil", "Finn")
CARELESS = "Quick"
IMAGES = 6


def fill(store: AnnotationStore, images: int = IMAGES) -> list[StoredImage]:
    """Phantoms, read by six simulated readers and one who clicks anywhere; one image of an annotator's own."""
    rng, stored, root = random.Random(3), [], store.pseudonym("local:root")
    for seed in range(images):
        case = draw_case(seed, "A", sizes_px=(300,))
        image = store.add_image(Image.fromarray(case.image), f"phantom {seed}", source="test", by=root)
        stored.append(image)
        findings = tuple(dict.fromkeys(finding.name for finding in case.findings))
        for name, paths in zip(PEOPLE, case.readings, strict=True):
            seconds = sum(fixation.duration_ms or 300.0 for fixation in paths[0]) / 1000 + rng.uniform(3, 9)
            submit(store, image, name, paths[0], seconds, findings=findings)
        anywhere = Scanpath(tuple(Fixation(rng.random(), rng.random()) for _ in range(2)), "click")
        submit(store, image, CARELESS, anywhere, 1.2)
    own = Image.fromarray(draw_case(99, "B", sizes_px=(300,)).image)
    store.add_image(own, "own image", source="upload", by=store.pseudonym("local:ada"), offered=False)
    return stored


def submit(
    store: AnnotationStore, image: StoredImage, name: str, path: Scanpath, seconds: float, **change: Any
) -> str:
    """Clicks at the places of a path; returns the submission's id."""
    submission_id = f"{name}-{image.sha256[:12]}".lower()
    began = store.clock() - timedelta(seconds=seconds)
    clicks = Scanpath(tuple(Fixation(fixation.x, fixation.y) for fixation in path), "click")
    values = {
        "submission_id": submission_id, "image_id": image.name, "image_sha256": image.sha256,
        "image_width_px": image.width_px, "image_height_px": image.height_px,
        "annotator": store.pseudonym(f"local:{name.lower()}"), "scanpath": clicks, "clicks": (CLICK,) * len(clicks),
        "started_at": began, "submitted_at": began, "findings": (), "question": image.question, **change,
    }  # fmt: skip
    store.submit(make_annotation(**values))
    return submission_id


def main(port: int, folder: Path) -> None:
    """Serve until the process ends."""
    from annotate.dashboard.page import dashboard_tab
    from web.page import Tab, build_page, launch_options

    store = AnnotationStore.open(folder, settings=SETTINGS)
    if not store.images():
        fill(store)
    service = make_service(store, folder)
    service.worker.start()
    first = Tab("Teach", "teach-tab", lambda page: None)
    page = build_page([first, dashboard_tab(service)])
    page.launch(server_name="127.0.0.1", server_port=port, quiet=True, **launch_options(page, service.gate.settings))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
