"""Teach from the name to the receipt: mouse and keyboard, undo, reload, no connection, two browsers."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.annotate.annotate_browser import (
    APP,
    SURFACE,
    ask,
    click,
    new_context,
    next_image,
    open_start,
    own_image,
    place,
    points,
    records,
    same_clicks,
    settle,
    submit,
    tick,
    working,
)
from tests.browser.serving import serving
from tests.dicom_samples import dicom

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

pytestmark = [pytest.mark.browser, pytest.mark.slow]
PLACES = ((0.3, 0.3), (0.7, 0.35), (0.45, 0.6), (0.6, 0.8))
COLORS = """['', '::placeholder'].map(
  part => getComputedStyle(document.querySelector('.teach-form textarea'), part).color)"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("teach")


@pytest.fixture(scope="module")
def address(repository: Path, folder: Path) -> Iterator[str]:
    arguments = ["-m", "tests.annotate.annotate_page", "PORT", str(folder / "store")]
    with serving(repository, arguments, folder / "log.txt") as address:
        yield address


def exported_clicks(store: Path, out: Path) -> dict[str, list[tuple[float, float]]]:
    """Submission id -> its clicks in px of the image, as the exported table of fixations has them."""
    from typer.testing import CliRunner

    from cli.main import app

    done = CliRunner().invoke(app, ["annotations", "export", str(out), "--data", str(store), "--formats", "csv"])
    assert done.exit_code == 0, done.output
    clicks: dict[str, list[tuple[float, float]]] = {}
    with (out / "fixations.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            clicks.setdefault(row["submission_id"], []).append((float(row["x_px"]), float(row["y_px"])))
    return clicks


def hint(page: "Page") -> str:
    return page.inner_text(".teach-hint")


def test_three_images_by_mouse_by_keyboard_and_without_a_connection(
    browser: "Browser", address: str, folder: Path
) -> None:
    context = new_context(browser)
    page = open_start(context, address, "Three images")
    made, receipts = [], []
    next_image(page)
    for x, y in PLACES:
        click(page, x, y)
    assert hint(page).startswith("Click 4 of 4 placed, patch 52 of 64")  # row 6, column 4 of 8 x 8, from 0
    page.click("[data-tool=undo]")
    assert len(points(page)) == 3, "undo takes back one click"
    page.get_by_role("button", name="Tools").click()
    page.click("[data-tool=redo]")
    page.click("[data-tool=undo]")
    page.mouse.move(*place(page, *PLACES[1]))
    page.mouse.down()
    page.mouse.move(*place(page, 0.72, 0.5), steps=6)
    page.mouse.up()
    moved = points(page)[1]
    assert moved["edit"] == "moved"
    assert [moved["x"], moved["y"]] == pytest.approx([0.72, 0.5], abs=0.01)
    tick(page, "pleural effusion")
    made.append(points(page))
    receipts.append(submit(page))

    next_image(page)
    page.locator(".gaze-stage").focus()
    page.keyboard.press("ArrowRight")  # the cursor begins in the middle
    for key in ("ArrowLeft", "ArrowLeft", "ArrowUp", "Enter", "Shift+ArrowDown", "ArrowRight", "Enter"):
        page.keyboard.press(key)
    page.reload()
    page.get_by_role("button", name="Go on").click()
    working(page)
    assert [point["pointer"] for point in points(page)] == ["keyboard"] * 2, "the draft came back"
    page.locator(".gaze-stage").focus()
    for key in ("ArrowDown", "ArrowDown", "Enter", "ArrowDown", "Enter", "z"):
        page.keyboard.press(key)
    assert len(points(page)) == 3
    page.locator(".teach-findings input[value='no finding']").focus()
    page.keyboard.press("Space")
    page.locator("[data-act=submit]").focus()
    made.append(points(page))
    page.keyboard.press("Enter")
    page.wait_for_selector(".teach-receipt-id")
    receipts.append(page.inner_text(".teach-receipt-id"))

    next_image(page)
    context.set_offline(True)
    for x, y in PLACES[:2]:
        click(page, x, y)
    tick(page, "edema")
    made.append(points(page))
    page.click("[data-act=submit]")
    page.wait_for_function("document.querySelector('.teach-sent').textContent.includes('no connection')")
    assert page.inner_text(".teach-sent").startswith("Saved on this device")
    assert points(page) == made[-1], "the canvas is as it was"
    context.set_offline(False)
    page.wait_for_selector(".teach-receipt-id")
    receipts.append(page.inner_text(".teach-receipt-id"))

    stored = records(address, page)
    assert [one["receipt_id"] for one in stored] == receipts
    for one, clicked in zip(stored, made, strict=True):
        same_clicks(one["record"], clicked)
    assert [one["record"]["findings"] for one in stored] == [["pleural effusion"], [], ["edema"]]
    assert page.evaluate("Object.keys(localStorage).filter(key => /draft|outbox/.test(key))") == []
    context.close()
    in_files = exported_clicks(folder / "store", folder / "export")
    for one, clicked in zip(stored, made, strict=True):
        size = (one["record"]["image_width_px"], one["record"]["image_height_px"])
        expected = [(point["x"] * size[0], point["y"] * size[1]) for point in clicked]
        assert in_files[one["record"]["submission_id"]] == [pytest.approx(place, abs=0.01) for place in expected]


def test_a_lost_answer_stores_once(browser: "Browser", address: str) -> None:
    context = new_context(browser)
    page = open_start(context, address, "Lost answer")
    next_image(page)
    click(page, *PLACES[0])
    tick(page)
    lost: list[str] = []

    def lose(route: "Route") -> None:
        if "teach_submit" in (route.request.post_data or "") and len(lost) < 2:
            lost.append(str(route.fetch().json()["ok"]["receipt_id"]))  # it reached the server
            return route.abort()
        return route.continue_()

    page.route("**/component_server/", lose)
    receipt = submit(page)
    assert lost == [receipt, receipt], "each attempt was told the same"
    assert len(records(address, page)) == 1
    context.close()


def test_a_submission_of_a_closed_page_is_sent_by_the_next(browser: "Browser", address: str) -> None:
    context = new_context(browser)
    page = open_start(context, address, "Closed page")
    next_image(page)
    click(page, *PLACES[0])
    tick(page)
    made = points(page)
    context.set_offline(True)
    page.click("[data-act=submit]")
    page.wait_for_function("document.querySelector('.teach-sent').textContent.includes('no connection')")
    page.close()
    context.set_offline(False)
    page = open_start(context, address, "Closed page")
    page.wait_for_function("document.querySelector('.teach-note-line').textContent.includes('is stored now')")
    stored = records(address, page)
    assert len(stored) == 1
    same_clicks(stored[0]["record"], made)
    assert page.locator(".teach-draft").count() == 0
    context.close()


def test_what_the_server_cannot_do_now_is_sent_again_under_the_same_id(browser: "Browser", address: str) -> None:
    context = new_context(browser)
    page = open_start(context, address, "Busy store")
    next_image(page)
    click(page, *PLACES[0])
    tick(page)
    attempts: list[str] = []

    def trouble(route: "Route") -> None:
        if "teach_submit" not in (route.request.post_data or ""):
            return route.continue_()
        attempts.append(route.request.post_data)
        if len(attempts) == 1:
            route.fetch()  # it is stored, but nobody is told
            return route.abort()
        if len(attempts) == 2:
            return route.fulfill(json={"error": "The store is busy; try again in a moment.", "later": True})
        return route.continue_()

    page.route("**/component_server/", trouble)
    page.click("[data-act=submit]")
    page.wait_for_function("document.querySelector('.teach-sent').textContent.includes('The store is busy')")
    assert page.inner_text(".teach-sent").startswith("Saved on this device")
    page.wait_for_selector(".teach-receipt-id")
    assert len(attempts) == 3
    assert len(set(attempts)) == 1
    assert len(records(address, page)) == 1
    context.close()


def test_another_name_in_another_tab_loses_nothing(browser: "Browser", address: str) -> None:
    context = new_context(browser)
    first = open_start(context, address, "Tab one")
    next_image(first)
    click(first, *PLACES[0])
    tick(first)
    second = open_start(context, address, "Tab two")
    first.click("[data-act=submit]")
    first.wait_for_function("document.querySelector('.teach-sent').textContent.includes('under another name')")
    second.fill(".teach-who input", "Tab one")
    second.click(".teach-who button")
    first.wait_for_selector(".teach-receipt-id")  # it is tried again by itself
    assert len(records(address, first)) == 1
    second.wait_for_function(f"{APP}.welcome.person.name === 'Tab one'")
    second.fill(".teach-who input", "Tab two")
    second.click(".teach-who button")
    second.wait_for_function(f"{APP}.welcome.person.name === 'Tab two'")
    first.click("[data-act=next]:visible")
    first.wait_for_function("document.querySelector('.teach-error').textContent.includes('Another name')")
    assert first.evaluate(f"[{APP}.welcome.person.name, {APP}.work]") == ["Tab two", None]
    context.close()


def test_an_own_image_that_is_opened_again_brings_its_draft(browser: "Browser", address: str) -> None:
    context = new_context(browser)
    page = open_start(context, address, "Opens twice")
    data = dicom(np.arange(64 * 64, dtype=np.uint16).reshape(64, 64))
    own_image(page, data, "mine.dcm")
    for x, y in PLACES:
        click(page, x, y)
    made = points(page)
    page.reload()
    page.wait_for_selector("[data-act=next]")
    own_image(page, data, "mine.dcm")
    assert points(page) == made
    assert "your draft is back" in hint(page)
    tick(page)
    submit(page)
    page.wait_for_function("document.querySelector('.teach-result').innerText.includes('You ticked no finding.')")
    context.close()


def test_a_refusal_keeps_the_canvas(browser: "Browser", address: str) -> None:
    context = new_context(browser)
    page = open_start(context, address, "Refused")
    next_image(page)
    assert len(set(page.evaluate(COLORS))) == 2, "what may be written into the report does not look written"
    click(page, *PLACES[0])
    page.click("[data-act=submit]")
    assert page.inner_text(".teach-error >> nth=-1").startswith("Tick the findings"), "asked here already"
    tick(page)
    assert page.inner_text(".teach-error >> nth=-1") == "", "what was missing is there"
    page.evaluate(f"{APP}.work.shown_at = '1999-01-01T00:00:00+00:00'")  # the server refuses
    page.click("[data-act=submit]")
    page.wait_for_function("document.querySelector('.teach-right .teach-error').textContent !== ''")
    assert len(points(page)) == 1
    assert not ask(page, "surface.locked")
    assert records(address, page) == []
    context.close()


def test_edits_by_keyboard(browser: "Browser", address: str) -> None:
    context = new_context(browser)
    page = open_start(context, address, "Edits")
    next_image(page)
    for x, y in PLACES[:2]:
        click(page, x, y)
    page.locator(".gaze-stage").focus()
    for key in ("[", "[", "a"):
        page.keyboard.press(key)
    assert "after click 1" in hint(page)
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    onsets, edits = ([point[name] for point in points(page)] for name in ("onset_ms", "edit"))
    assert edits == ["", "inserted", ""]
    assert onsets[1] is None
    assert onsets[0] < onsets[2], "what is inserted later has no time of its own"
    before = points(page)
    for key in ("m", "ArrowRight", "Escape"):
        page.keyboard.press(key)
    assert points(page) == before, "a move that is left changes nothing"
    for key in ("]", "m", "ArrowRight", "Enter", "Delete"):
        page.keyboard.press(key)
    assert len(points(page)) == 2
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    assert points(page) == before
    for key in ("[", "m", "z"):
        page.keyboard.press(key)
    assert ask(page, "[surface.carried, surface.path.length]") == [None, 2], "a click that is gone is not moved"
    page.keyboard.press("y")
    assert points(page) == before
    page.keyboard.press("c")
    page.get_by_role("button", name="No", exact=True).click()
    assert points(page) == before, "clearing asks first"
    page.keyboard.press("c")
    page.keyboard.press("Enter")  # the focus is on "No"
    assert points(page) == before
    page.keyboard.press("c")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    assert points(page) == []
    page.keyboard.press("z")
    assert points(page) == before, "and can be undone"
    page.keyboard.press("?")
    assert page.locator(".teach-help").is_visible()
    ask(page, "(viewer.view.zoomTo(0.6 * viewer.view.scale), viewer.refresh())")  # room beside the image
    settle(page)
    page.mouse.click(*(edge + 4 for edge in place(page, 1.0, 0.5)))
    assert hint(page) == "That click lay outside the image and was not counted."
    assert points(page) == before
    context.close()


def test_the_models_path_comes_after_the_submission_alone(browser: "Browser", address: str) -> None:
    context = new_context(browser)
    page = open_start(context, address, "Curious")
    answers: list[str] = []
    page.on("response", lambda answer: "component_server" in answer.url and answers.append(answer.text()))
    next_image(page)
    assert any('"rows"' in answer for answer in answers)
    assert not any('"fixations"' in answer for answer in answers), "no path reached the page before a submission"
    for x, y in PLACES:
        click(page, x, y)
    tick(page)
    submit(page)
    page.wait_for_function(f"{SURFACE}.viewer.value.paths.length === 2")
    assert page.locator(".gaze-name").all_inner_texts() == ["Model: stub", "You"]
    assert page.inner_text(".teach-result h3").startswith(("Closer to the model", "No closer to the model"))
    assert page.locator(".teach-scores table").first.is_hidden(), "numbers are for whoever wants them"
    page.set_viewport_size({"width": 1280, "height": 600})
    page.click(".teach-details summary")
    page.wait_for_function(
        "document.querySelector('.teach-scores table').getBoundingClientRect().top < innerHeight / 3"
    )
    heads = page.locator(".teach-scores table").first.locator("thead th").all_inner_texts()
    assert heads[:2] == ["score", "you"]
    assert all(head.startswith("floor: ") for head in heads[2:])
    assert len(heads) == 6
    context.close()


def test_two_browsers_at_once(browser: "Browser", address: str) -> None:
    contexts = [new_context(browser) for _ in range(2)]
    pages = [open_start(context, address, f"At once {k}") for k, context in enumerate(contexts)]
    made: list[list[list[dict[str, object]]]] = [[], []]
    for turn in range(2):
        for page in pages:
            next_image(page)
        for k, page in enumerate(pages):
            for x, y in PLACES[: 2 + k]:
                click(page, x + 0.05 * turn, y)
            tick(page)
            made[k].append(points(page))
        for page in pages:
            page.click("[data-act=submit]")
        for page in pages:
            page.wait_for_selector(".teach-receipt-id")
    for k, page in enumerate(pages):
        stored = records(address, page)
        assert len(stored) == 2
        for one, clicked in zip(stored, made[k], strict=True):
            same_clicks(one["record"], clicked)
    for context in contexts:
        context.close()
