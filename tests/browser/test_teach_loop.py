"""The whole program: an image is clicked through in Teach and exported in Annotations; its clicks are in the file."""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.annotate.annotate_browser import agree, click, new_context, points, same_clicks, submit, tick, working
from tests.browser.serving import serving, wait_for

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.browser, pytest.mark.slow]
TOKEN = "the token of this test"
PLACES = ((0.31, 0.32), (0.68, 0.4), (0.4, 0.66))


@pytest.fixture
def address(repository: Path, tmp_path: Path) -> Iterator[str]:
    """`app.py` with the embedded model and a store of its own."""
    settings = {"GAZEVLM_DATA": str(tmp_path / "data"), "GAZEVLM_MODEL": "gazevlm-nano", "GAZEVLM_ADMIN_TOKEN": TOKEN}
    with serving(repository, ["app.py"], tmp_path / "log.txt", settings) as address:
        yield address


def test_from_the_click_to_the_exported_file(browser: "Browser", address: str, tmp_path: Path) -> None:
    context = new_context(browser)
    page = context.new_page()
    page.on("pageerror", lambda error: pytest.fail(f"the page's script failed: {error}"))
    page.goto(address)
    page.get_by_role("tab", name="Teach").click()
    page.fill(".teach-who input", "Ann")
    page.click(".teach-who button")
    agree(page)
    page.click("[data-act=next]")
    working(page)
    for x, y in PLACES:
        click(page, x, y)
    tick(page, "edema")
    made = points(page)
    receipt = submit(page)
    page.evaluate("navigator.clipboard.writeText = async text => { globalThis.copied = text; }")
    page.get_by_role("button", name="Copy").click()
    wait_for(page, ".teach-receipt", "Copied.")
    copied = page.evaluate("copied")
    wait_for(page, ".teach-result h3", "loser to the model")
    page.locator(".gaze-replay", has_text="Model: gazevlm-nano").wait_for()  # Diagnose has one of its own
    page.click(".teach-details summary")
    wait_for(page, ".teach-scores", "sequence score")
    page.get_by_role("button", name="Back to the start").click()

    page.get_by_role("tab", name="Annotations").click()
    page.fill("#dashboard-name input", "Ann")
    page.fill("#dashboard-token input", TOKEN)
    page.click("#dashboard-use")
    wait_for(page, "#dashboard-review-status", "Submission 1 by")
    page.fill("#dashboard-receipt input", copied)
    page.click("#dashboard-check")
    wait_for(page, "#dashboard-answer", "Submission 1 is kept here.")
    page.click("#dashboard-accept")
    wait_for(page, "#dashboard-review-status", "Submission 1 is accepted.")
    page.click("#dashboard-admins-button")
    page.click("#dashboard-exports-button")
    page.locator("#dashboard-export-which label", has_text="accepted").click()
    page.click("#dashboard-export-go")
    wait_for(page, "#dashboard-export-status", "1 submissions on 1 images")
    with page.expect_download() as download:
        page.locator("#dashboard-export-file a").first.click()
    download.value.save_as(tmp_path / "export.zip")
    context.close()

    with zipfile.ZipFile(tmp_path / "export.zip") as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/records.jsonl"))
        (line,) = archive.read(name).decode().splitlines()
    stored = json.loads(line)
    assert (stored["receipt"], stored["verdict"], stored["record"]["findings"]) == (receipt, "accepted", ["edema"])
    same_clicks(stored["record"], made)
