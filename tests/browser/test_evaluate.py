"""The Evaluate tab in a real browser: a model and a reader in step, reports, hostile files, a phone, keys."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from gazevlm_core.metrics.registry import path_metrics
from tests.browser.serving import serving, wait_for, wait_for_value, wait_until_it_fits
from tests.evaluate.report_maker import REPORTS, experiment_report, path_report
from tests.tiny_model import make_tiny_checkpoint

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser
HOSTILE = "<img src=x onerror=alert(1)>"
VIEWER = "document.querySelector('#evaluate-viewer .gaze-viewer').viewer"
WAIT_MS = 60_000


@pytest.fixture(scope="module")
def address(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("evaluate")
    trained = make_tiny_checkpoint(folder / "trained", trained_on=f"{HOSTILE} phantoms")
    untrained = make_tiny_checkpoint(folder / "untrained", gaze_trained=False)
    settings = {"GAZEVLM_MODEL": f"{trained},{untrained}"}
    with serving(repository, ["-m", "tests.evaluate.evaluate_page"], folder / "log.txt", settings) as address:
        yield address


def open_tab(browser: "Browser", address: str, width: int = 1280, scheme: str = "light") -> "Page":
    page = browser.new_page(
        viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce"
    )
    page.set_default_timeout(WAIT_MS)
    page.on("pageerror", lambda error: pytest.fail(f"the page's script failed: {error}"))
    page.on("dialog", lambda dialog: pytest.fail(f"a dialog opened: {dialog.message}"))
    page.goto(address)
    page.click("#evaluate-tab-button[role=tab]")
    page.click("#evaluate-paths-button[role=tab]")
    page.wait_for_selector("#evaluate-viewer .gaze-stage")
    return page


def open_reports(browser: "Browser", address: str, width: int = 1280, scheme: str = "light") -> "Page":
    page = open_tab(browser, address, width, scheme)
    page.click("#evaluate-reports-button[role=tab]")
    wait_for(page, "#evaluate-report-status", "Shown: order-experiment")
    return page


def draw_and_look(page: "Page", model: str = "") -> None:
    page.click("#evaluate-draw")
    wait_for(page, "#evaluate-status", "Let a model look")
    if model:
        choose(page, "#evaluate-model", model)
    page.click("#evaluate-look")


def choose(page: "Page", dropdown: str, option: str) -> None:
    page.click(f"{dropdown} input")
    page.get_by_role("option", name=option, exact=True).click()


def give(page: "Page", path: Path, content: str | bytes) -> None:
    """Upload a report; an earlier one leaves first."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    clear = page.locator("#evaluate-report button[aria-label='Clear'], #evaluate-report button[aria-label='Remove']")
    if clear.count():
        clear.first.click()
        page.wait_for_selector("#evaluate-report input[type=file]", state="attached")
    page.set_input_files("#evaluate-report input[type=file]", path)


def test_a_model_and_a_reader_are_replayed_in_step_beside_their_scores(browser: "Browser", address: str) -> None:
    page = open_tab(browser, address)
    draw_and_look(page)
    wait_for(page, "#evaluate-status", "trained looked at")
    roles = page.evaluate(f"{VIEWER}.value.paths.map(path => path.role)")
    assert roles == ["model", "reader"]
    assert page.evaluate(f"{VIEWER}.inStep")
    page.click("#evaluate-viewer .gaze-path:nth-child(2) li:nth-child(2) button")
    steps = page.evaluate(f"[0, 1].map(path => {VIEWER}.timeline.stepAt(path, {VIEWER}.time_ms))")
    lengths = page.evaluate(f"{VIEWER}.value.paths.map(path => path.fixations.length)")
    assert steps == [min(1, length - 1) for length in lengths], "the second fixations of both"
    names = page.locator("#evaluate-table tbody th").all_inner_texts()
    assert len(names) == len(path_metrics())
    assert "blind to order" in next(name for name in names if name.startswith("Jaccard"))
    heads = page.locator("#evaluate-table thead th").all_inner_texts()
    assert heads[1:3] == ["model", "order gain"]
    assert heads[-1] == "ceiling: other readers (5)"
    before = page.evaluate(f"JSON.stringify({VIEWER}.value.paths[1])")
    choose(page, "#evaluate-reader", "careful")
    wait_for(page, "#evaluate-table", "against careful")
    assert page.evaluate(f"JSON.stringify({VIEWER}.value.paths[1])") != before
    page.close()


def test_terms_of_art_are_explained_where_they_stand(browser: "Browser", address: str) -> None:
    """In the headline, at what Gradio draws, and beside a path, for whose card there is no pressing."""
    page = open_tab(browser, address)
    headline = str(page.get_attribute(".gaze-answer-line .gaze-term", "title"))
    assert "patch: " in headline
    assert "glimpse: " in headline
    draw_and_look(page)
    wait_for(page, "#evaluate-status", "trained looked at")
    marks = page.locator("#evaluate-viewer .gaze-path .gaze-term")
    assert marks.count() == 1, "of two paths, the first"
    assert all(f"{term}: " in str(marks.get_attribute("title")) for term in ("fixation", "patch", "dwell"))
    page.click("#evaluate-domain > .gaze-term")
    assert page.inner_text(".gaze-tip").startswith("phantom: A drawn radiograph")
    assert page.locator("#evaluate-model > .gaze-term").count() == 0, "nothing to explain"
    page.close()


def test_a_model_with_untrained_gaze_says_that_it_shows_no_path(browser: "Browser", address: str) -> None:
    page = open_tab(browser, address)
    draw_and_look(page, "untrained")
    wait_for(page, "#evaluate-status", "The gaze of untrained is untrained: no path is shown")
    assert page.evaluate(f"{VIEWER}.value.paths.map(path => path.role)") == ["reader"]
    assert page.locator("#evaluate-table").is_hidden()
    page.close()


def test_an_own_image_with_readings_of_several_readers(browser: "Browser", address: str, tmp_path: Path) -> None:
    page = open_tab(browser, address)
    image, readings = tmp_path / "chest.png", tmp_path / "readings.jsonl"
    Image.effect_noise((120, 100), 40).save(image)
    lines = [{"image_id": "chest", "reader": name, "x": [0.2, 0.7], "y": [0.3, 0.6]} for name in (HOSTILE, "second")]
    readings.write_text("\n".join(map(json.dumps, lines)))
    page.click("#evaluate-own button:has-text('Or your own')")
    page.click("#evaluate-use")
    page.locator(".toast-body", has_text="Two files are needed").wait_for()
    page.set_input_files("#evaluate-image input[type=file]", image)
    page.set_input_files("#evaluate-readings input[type=file]", readings)
    page.wait_for_selector("#evaluate-readings .file-preview")
    page.click("#evaluate-use")
    wait_for(page, "#evaluate-status", "Uploaded image, 2 readings")
    page.click("#evaluate-look")
    wait_for(page, "#evaluate-status", "looked at")
    wait_for(page, "#evaluate-table", f"against {HOSTILE}")
    assert page.locator("#evaluate-tab img[src=x]").count() == 0
    page.close()


def test_every_report_is_shown_as_chart_and_tables(browser: "Browser", address: str, tmp_path: Path) -> None:
    page = open_reports(browser, address)
    for kind, report in REPORTS.items():
        give(page, tmp_path / f"{kind}.json", json.dumps(report()))
        wait_for(page, "#evaluate-report-status", f"Shown: {kind}.json")
        page.wait_for_selector("#evaluate-chart .main-svg")
        wait_for(page, "#evaluate-facts", "Measured on")
        assert page.locator("#evaluate-tables table.gaze-wide").count() >= 1, kind
        assert page.locator("#evaluate-tables details[open]").count() == 0, kind
    give(page, tmp_path / "results.json", json.dumps(experiment_report()))
    wait_for(page, "#evaluate-report-status", "Shown: results.json")
    choose(page, "#evaluate-chart-name", "sequence score, without glimpses, drawn as in training")
    wait_for(page, "#evaluate-chart", "training images")
    page.close()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light")])
def test_it_opens_with_an_answer_and_a_figure(
    browser: "Browser", address: str, repository: Path, width: int, scheme: str
) -> None:
    page = open_reports(browser, address, width, scheme)
    page.set_viewport_size({"width": width, "height": 844 if width < 400 else 800})
    wait_for(page, "#evaluate-facts .gaze-answer-line", "earning where people look")
    page.wait_for_selector("#evaluate-chart .main-svg")
    wait_for(page, "#evaluate-chart", "another reader")
    assert page.locator("#evaluate-tables details[open]").count() == 0
    wait_for_value(page, "document.documentElement.scrollWidth <= innerWidth", True)
    page.evaluate("scrollTo(0, 0)")
    artifacts = repository / "test-artifacts"
    artifacts.mkdir(exist_ok=True)
    page.screenshot(path=artifacts / f"evaluate-{width}-{scheme}.png")
    page.close()


def test_several_reports_stand_side_by_side(browser: "Browser", address: str, tmp_path: Path) -> None:
    page = open_reports(browser, address)
    files = [tmp_path / "one.json", tmp_path / "two.json"]
    for file in files:
        file.write_text(json.dumps(path_report()))
    page.set_input_files("#evaluate-report input[type=file]", files)
    wait_for(page, "#evaluate-report-status", "Shown: one.json, two.json")
    names = "document.querySelector('#evaluate-chart .js-plotly-plot').data.map(one => one.name).slice(-2)"
    wait_for_value(page, names, ["one.json: these paths", "two.json: these paths"])
    page.locator("#evaluate-tables summary", has_text="side by side").click()
    with page.expect_download() as download:
        page.locator("#evaluate-tables details[open] .gaze-csv").click()
    saved = Path(download.value.path()).read_text(encoding="utf-8")
    assert saved.startswith("score,chance,one.json: these paths,two.json: these paths,another reader")
    page.close()


def test_anything_else_gives_one_error_and_leaves_what_was_shown(
    browser: "Browser", address: str, tmp_path: Path
) -> None:
    page = open_reports(browser, address)
    give(page, tmp_path / "good.json", json.dumps(path_report(sequence=HOSTILE)))
    wait_for(page, "#evaluate-report-status", "Shown: good.json")
    shown = page.inner_html("#evaluate-tables .prose")
    assert "&lt;img" in shown
    for number, bad in enumerate(("{}", b"\x89PNG\r\n", "[" * 100_000, '{"metrics": NaN}', '{"dataset": 1}')):
        give(page, tmp_path / f"bad{number}.json", bad)
        toast = page.locator(".toast-body")
        toast.filter(has_text="gazevlm experiment").wait_for()
        assert toast.count() == 1
        wait_for(page, "#evaluate-report-status", "What was shown before is still there")
        assert page.inner_html("#evaluate-tables .prose") == shown
        toast.locator("button").first.click()
        toast.wait_for(state="detached")
    assert page.locator("#evaluate-tab img[src=x]").count() == 0
    page.close()


def test_on_a_phone_nothing_is_wider_than_the_screen(browser: "Browser", address: str, tmp_path: Path) -> None:
    page = open_tab(browser, address, 390)
    draw_and_look(page)
    wait_for(page, "#evaluate-status", "looked at")
    wait_until_it_fits(page)
    table = page.locator("#evaluate-table .gaze-scroll")
    assert table.evaluate("box => box.scrollWidth > box.clientWidth"), "the table is scrolled by itself"
    page.click("#evaluate-reports-button[role=tab]")
    give(page, tmp_path / "results.json", json.dumps(experiment_report()))
    wait_for(page, "#evaluate-report-status", "Shown: results.json")
    page.wait_for_selector("#evaluate-chart .main-svg")
    wait_until_it_fits(page)
    page.close()


def test_keys_are_enough(browser: "Browser", address: str) -> None:
    page = open_tab(browser, address)
    page.focus("#evaluate-number input")
    page.keyboard.press("Enter")
    wait_for(page, "#evaluate-status", "Let a model look")
    page.wait_for_selector("#evaluate-look:not([disabled])")  # it is freed a moment after the words
    page.focus("#evaluate-look")
    page.keyboard.press("Enter")
    wait_for(page, "#evaluate-status", "looked at")
    page.focus("#evaluate-table .gaze-scroll")
    assert page.evaluate("document.activeElement.getAttribute('role')") == "region"
    page.focus("#evaluate-paths-button[role=tab]")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    wait_for(page, "#evaluate-report-status", "Shown: order-experiment")
    page.close()
