"""Real radiographs on the page, in a browser that has shown nothing else: a path, marks where it says, and words."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.test_page import (
    PIXELS,
    ROWS,
    answer_of,
    artifacts,
    open_page,
    serving_model,
    upload,
    wait_for_status,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser
__all__ = ["artifacts"]  # a fixture


def test_real_radiograph_with_the_model_that_ships(
    browser: "Browser", repository: Path, real_radiographs: list[Path], tmp_path: Path, artifacts: Path
) -> None:
    if not (repository / "models" / "gazevlm-nano").is_dir():
        pytest.skip("models/gazevlm-nano has not been trained yet")
    with serving_model(repository, "gazevlm-nano", tmp_path / "log.txt") as address:
        page = open_page(browser, address)
        for number, path in enumerate(real_radiographs):
            if number:
                page.reload()
                page.wait_for_selector("#examples button img")
            upload(page, path)
            wait_for_status(page, "Ready")
            page.click("#diagnose")
            wait_for_status(page, "Done in")
            assert answer_of(page)
            places = page.eval_on_selector_all("#scanpath tbody tr", ROWS)
            assert len(places) >= 2
            assert page.evaluate(PIXELS, places) == [[255, 255, 255]] * len(places)
            page.screenshot(path=artifacts / f"radiograph-{number + 1:02d}.png")
        page.close()
