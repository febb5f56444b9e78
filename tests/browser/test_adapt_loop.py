"""The closed loop in the whole program: click in Teach, train in Adapt, and Diagnose looks as it was taught."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from gazevlm_core.geometry import PatchGrid
from gazevlm_core.metrics.sequence import sequence_score
from gazevlm_core.model.adapters import ADAPTER_FILES
from gazevlm_core.scanpath import Fixation
from phantoms.make import make_phantom
from tests.annotate.annotate_browser import agree, click, new_context, next_image, points, submit, tick
from tests.browser.diagnose_page import PIXELS, ROWS, upload, wait_for_status
from tests.browser.serving import serving, wait_for

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(900)]
TOKEN = "the token of this test"
IMAGES = 10
TRAINING_MS = 600_000  # about a minute on a quiet machine
# Round the four corners of the chest, as no reader of the model's ever looked.
TAUGHT = ((0.22, 0.2), (0.78, 0.2), (0.78, 0.8), (0.22, 0.8), (0.5, 0.5))
GRID = PatchGrid(8, 8)
# The line beside Start once it no longer says what goes on, whatever came of it.
BEGUN = (
    "() => { const line = document.querySelector('#adapt-start-status').textContent.trim();"
    " return line && !line.endsWith('\u2026') && line; }"
)


@pytest.fixture
def address(repository: Path, tmp_path: Path) -> Iterator[str]:
    """`app.py` with the embedded model and a store of its own, whose first images are its only ones."""
    settings = {
        "GAZEVLM_DATA": str(tmp_path / "data"), "GAZEVLM_MODEL": "gazevlm-nano", "GAZEVLM_ADMIN_TOKEN": TOKEN,
        "GAZEVLM_ADAPTERS": "", "HF_HUB_OFFLINE": "1", "GAZEVLM_GOLD_SHARE": "0", "GAZEVLM_REPEAT_SHARE": "0",
    }  # fmt: skip
    with serving(repository, ["app.py"], tmp_path / "log.txt", settings) as address:
        yield address


def teach(page: "Page") -> None:
    """Click through images in one and the same way."""
    page.get_by_role("tab", name="Teach").click()
    page.fill(".teach-who input", "Ann")
    page.click(".teach-who button")
    agree(page)
    for _ in range(IMAGES):
        next_image(page)
        for x, y in TAUGHT:
            click(page, x, y)
        assert len(points(page)) == len(TAUGHT)
        tick(page)
        submit(page)
    page.get_by_role("button", name="Show page").click()  # other tabs are out of reach until then


def diagnosed_path(page: "Page", file: Path) -> list[int]:
    """Patches of the path that Diagnose shows for an image; every mark is where the table says."""
    upload(page, file)
    wait_for_status(page, "Ready")
    page.click("#diagnose")
    wait_for_status(page, "Done in")
    places = page.eval_on_selector_all("#scanpath tbody tr", ROWS)
    assert page.evaluate(PIXELS, places) == [[255, 255, 255]] * len(places)
    return [GRID.index_of(Fixation(x, y)) for x, y in places]


def test_what_is_clicked_in_teach_is_how_the_trained_adapter_looks_in_diagnose(
    browser: "Browser", address: str, tmp_path: Path
) -> None:
    unseen = tmp_path / "unseen.png"
    Image.fromarray(make_phantom(4_321, size_px=448).image).save(unseen)
    context = new_context(browser)
    page = context.new_page()
    page.on("pageerror", lambda error: pytest.fail(f"the page's script failed: {error}"))
    page.goto(address)
    page.wait_for_selector("#examples button img")
    before = diagnosed_path(page, unseen)
    teach(page)

    page.click("#adapt-tab-button[role=tab]")
    page.fill("#adapt-name input", "Ann")
    page.fill("#adapt-token input", TOKEN)
    page.click("#adapt-use")
    page.click("#adapt-part-train-button[role=tab]")
    wait_for(page, "#adapt-counts", f"Chosen: {IMAGES} scanpaths on {IMAGES} images")
    page.fill("#adapt-adapter input", "corners")
    page.click("#adapt-fold-changed button")
    page.fill("#adapt-epochs input", "40")
    page.press("#adapt-epochs input", "Tab")
    assert page.input_value("#adapt-adapter input") == "corners"
    page.click("#adapt-start")
    begun = page.wait_for_function(BEGUN, timeout=TRAINING_MS).json_value()
    assert "corners is in the list of runs" in begun, (begun, page.locator(".toast-body").all_inner_texts())
    wait_for(page, "#adapt-run-status", "corners")
    wait_for(page, "#adapt-run-status", "corners: done", TRAINING_MS)
    wait_for(page, "#adapt-figures", "sequence score")
    page.click("#adapt-take-fold button")
    page.click("#adapt-take")
    wait_for(page, "#adapt-take-status", "corners.zip is packed")
    with page.expect_download() as download:
        page.locator("#adapt-take-file a").first.click()
    download.value.save_as(tmp_path / "corners.zip")
    with zipfile.ZipFile(tmp_path / "corners.zip") as archive:
        assert set(ADAPTER_FILES) < {name.removeprefix("corners/") for name in archive.namelist()}
    page.click("#adapt-use-it a")

    page.wait_for_selector("#examples button img")
    page.wait_for_function("document.querySelector('#model input')?.value?.endsWith('+ corners')")
    wait_for_status(page, "Done in")  # the adapter's answer about an example
    after = diagnosed_path(page, unseen)
    context.close()

    taught = [GRID.index_of(Fixation(x, y)) for x, y in TAUGHT]
    assert sequence_score(after, taught) >= sequence_score(before, taught) + 0.3, (before, after, taught)
    nearest = [
        min(np.hypot(*np.subtract(place, (x, y))) for place in map(GRID.center_of, after)) for x, y in TAUGHT
    ]
    assert max(nearest) < 0.2, "every taught place is looked at"
