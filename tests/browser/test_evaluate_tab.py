"""The Evaluate tab in a real browser: two paths in step with their scores, reports, bad files, a phone."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.serving import serving
from tests.diagnose.talking_model import make_talking_checkpoint
from tests.evaluate.test_reports import experiment

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser
VIEWER = "document.querySelector('#pair-viewer .gaze-viewer').viewer"


@pytest.fixture(scope="module")
def address(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("evaluate")
    model = make_talking_checkpoint(folder / "model")
    with serving(repository, ["app.py"], folder / "log.txt", {"GAZEVLM_MODEL": str(model)}) as address:
        yield address


def open_tab(browser: "Browser", address: str, width: int = 1280) -> "Page":
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.set_default_timeout(60_000)
    page.goto(address)
    page.get_by_role("tab", name="Evaluate").click()
    page.wait_for_selector("#pair-start")
    return page


def open_report(page: "Page", file: Path) -> None:
    with page.expect_file_chooser() as chooser:
        page.click("#report-file")
    chooser.value.set_files(file)


def test_two_paths_are_shown_in_step_beside_their_scores(browser: "Browser", address: str, repository: Path) -> None:
    page = open_tab(browser, address)
    page.fill("#pair-number input", "7")
    page.click("#pair-start")
    page.wait_for_selector("#pair-scores table")
    assert "Phantom 7 of domain A" in page.inner_text("#pair-status")
    assert page.evaluate(f"{VIEWER}.value.paths.map(path => path.role)") == ["model", "reader"]
    starts = page.evaluate(f"{VIEWER}.timeline.starts")
    assert [len(row) for row in starts] == page.evaluate(f"{VIEWER}.value.paths.map(path => path.fixations.length)")
    shorter = min(map(len, starts))
    assert starts[0][:shorter] == starts[1][:shorter], "the k-th fixations are looked at together"
    heads = page.locator("#pair-scores thead th").all_inner_texts()
    assert "order gain" in heads
    assert any("shuffled" in head for head in heads)
    before = page.inner_text("#pair-scores table")
    page.click("#pair-reader input")
    page.get_by_role("option").nth(1).click()
    page.wait_for_function("text => document.querySelector('#pair-scores table').innerText !== text", arg=before)
    (repository / "test-artifacts").mkdir(exist_ok=True)
    page.screenshot(path=repository / "test-artifacts" / "evaluate-1280.png", full_page=True)
    page.close()


def test_a_report_is_loaded_and_a_bad_one_changes_nothing(browser: "Browser", address: str, tmp_path: Path) -> None:
    page = open_tab(browser, address, width=390)
    good, bad = tmp_path / "results.json", tmp_path / "bad.json"
    good.write_text(json.dumps(experiment()))
    bad.write_text("{}")
    open_report(page, good)
    page.wait_for_selector("#report table")
    page.wait_for_selector("#figure-1 .plot-container")
    assert "12 of 57 runs" in page.inner_text("#report-title")
    shown = page.inner_text("#report")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390, "wide tables scroll by themselves"
    open_report(page, bad)
    page.wait_for_selector(".toast-body")
    assert "none of our reports" in page.inner_text(".toast-body")
    assert "none of our reports" in page.inner_text("#report-status")
    assert page.inner_text("#report") == shown
    page.close()
