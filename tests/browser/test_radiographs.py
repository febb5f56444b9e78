"""The page with the model that ships: real radiographs, images unlike them, and questions that it does not know."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from skimage import data

from diagnose.tab.markup import VERDICT
from tests.browser.diagnose_page import (
    PIXELS,
    ROWS,
    answer_of,
    open_page,
    pick_example,
    upload,
    wait_for_status,
)
from tests.browser.serving import serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def address(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("nano") / "log.txt"
    with serving(repository, ["app.py"], log, {"GAZEVLM_MODEL": "gazevlm-nano"}) as address:
        yield address


def test_real_radiographs(browser: "Browser", address: str, real_radiographs: list[Path], artifacts: Path) -> None:
    """A path, marks where it says, and words; one image after the other, as a visitor gives them.

    Every fifth of them and the last; `gazevlm diagnose` answers all in its tests.
    """
    page = open_page(browser, address)
    given = [*real_radiographs[::5], real_radiographs[-1]]
    assert {path.suffix for path in given} == {".jpg", ".png"}
    for number, path in enumerate(given):
        if number:
            page.click("#upload button[aria-label='Clear'], #upload button[aria-label='Remove']")
            wait_for_status(page, "Upload an image")
            page.wait_for_selector("#upload input[type=file]", state="attached")
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


def test_an_unlike_image_is_called_so(browser: "Browser", address: str, tmp_path: Path, artifacts: Path) -> None:
    Image.effect_noise((400, 400), 90).save(tmp_path / "noise.png")
    Image.fromarray(data.cat()).save(tmp_path / "cat.png")
    page = open_page(browser, address)
    upload(page, tmp_path / "noise.png")
    wait_for_status(page, "Ready")
    page.click("#diagnose")
    page.get_by_text(VERDICT).wait_for()
    wait_for_status(page, "Done in")
    assert not page.is_visible("#answer")
    assert not page.is_visible("#chart")
    page.check("#warning .gaze-anyway")
    page.wait_for_selector("#chart .gaze-finding")
    page.click("#warning summary")
    assert "This image is unlike what the model was trained on" in page.inner_text("#warning")
    page.screenshot(path=artifacts / "page-1280-unlike.png", full_page=True)
    page.fill("#question textarea", "Is there pneumothorax?")
    page.click("#diagnose")
    page.locator("#history").get_by_text(VERDICT).wait_for()
    wait_for_status(page, "Done in")
    words = page.locator("#history li p:not(.gaze-asked)")
    assert not words.is_visible()
    page.click("#history summary")
    assert words.is_visible()
    page.reload()
    page.wait_for_selector("#examples button img")
    upload(page, tmp_path / "cat.png")
    page.get_by_text("This is a colour picture, not a radiograph").wait_for()
    pick_example(page, "cardiomegaly, severe")
    page.click("#diagnose")
    wait_for_status(page, "Done in")
    assert not page.is_visible("#warning")
    _asks_what_was_never_taught(page)
    page.close()


def _asks_what_was_never_taught(page: "Page") -> None:
    """The embedded model says which questions it knows, and nothing else; an answer stands beside its probability."""
    page.fill("#question textarea", "How old is the patient?")
    page.click("#diagnose")
    wait_for_status(page, "Not answered: this model does not know the question.")
    said = page.inner_text("#warning")
    assert 'It knows "Describe the findings on this chest radiograph."' in said
    assert '"Is there ...?" of: enlarged cardiomediastinum' in said
    assert page.locator("#answer .gaze-answer").count() == 0
    assert not page.is_visible("#claims")
    assert page.locator("#scanpath tbody tr").count() == 0
    page.fill("#question textarea", "is there a pneumothorax")
    page.click("#diagnose")
    wait_for_status(page, "Done in")
    assert not page.is_visible("#warning")
    assert page.inner_text("#answer .gaze-answer").startswith(("No", "Yes"))
    assert "pneumothorax: 0." in str(page.text_content("#claims"))
