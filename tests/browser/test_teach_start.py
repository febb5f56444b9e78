"""Around an image: terms, the practice image, one's own submissions, many in a row, full screen, the page."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from annotate.store.model import StoreSettings
from annotate.store.project import Project
from annotate.store.store import AnnotationStore
from tests.annotate.annotate_browser import (
    APP,
    agree,
    ask,
    click,
    new_context,
    next_image,
    open_start,
    records,
    settle,
    submit,
    tick,
    working,
)
from tests.browser.serving import serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.browser, pytest.mark.slow]
MANY = 15


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("start")


@pytest.fixture(scope="module")
def address(repository: Path, folder: Path) -> Iterator[str]:
    arguments = ["-m", "tests.annotate.annotate_page", "PORT", str(folder / "store")]
    with serving(repository, arguments, folder / "log.txt") as address:
        yield address


def test_terms_once_then_the_practice_image_then_the_first_task(browser: "Browser", address: str) -> None:
    context = new_context(browser)
    page = context.new_page()
    page.on("pageerror", lambda error: pytest.fail(f"the page's script failed: {error}"))
    page.goto(address)
    page.fill(".teach-who input", "Newcomer")
    page.click(".teach-who button")
    page.wait_for_selector("[data-act=agree]")
    assert page.locator("[data-act=next]").count() == 0, "nothing before the terms"
    assert page.locator(".teach-lines li").count() == 3
    assert "CC BY 4.0" in page.inner_text(".teach-terms")
    page.click("[data-act=agree]")
    page.wait_for_function("document.querySelector('.teach-error').textContent.includes('experienced')")
    agree(page)
    page.click("[data-act=practise]")
    page.wait_for_function(f"{APP}.work?.practice")
    click(page, 0.3, 0.7)
    page.keyboard.press("9")
    page.keyboard.press("Control+Enter")
    page.wait_for_function("document.querySelector('.teach-result h3')?.textContent.includes('pleural effusion')")
    assert ask(page, "surface.truth.length") == 1, "what was drawn is framed"
    assert page.locator(".teach-receipt-id").count() == 0
    page.keyboard.press("n")
    page.wait_for_function(f"{APP}.work && !{APP}.work.practice")
    working(page)
    assert records(address, page) == [], "nothing of the practice image is kept"
    page.reload()
    page.wait_for_selector("[data-act=next]")
    assert page.locator("[data-act=agree]").count() == 0, "asked once"
    context.close()


def test_another_form_and_other_terms_hold_for_the_next_image(
    browser: "Browser", address: str, folder: Path
) -> None:
    """Without a reload; and what is told of an image is not lost where the next one follows at once."""
    store = AnnotationStore.open(folder / "store", settings=StoreSettings(gold_share=0.0, repeat_share=0.0))
    context = new_context(browser)
    page = open_start(context, address, "Stays open")
    next_image(page)
    click(page, 0.4, 0.4)
    tick(page, "edema")
    store.set_project(Project(checklist=("fracture",)), "root")
    first = page.evaluate(f"{APP}.work.image.sha256")
    page.keyboard.press("Control+Enter")
    page.wait_for_function(f"{APP}.work && {APP}.work.image.sha256 !== '{first}'")
    working(page)
    page.wait_for_function("document.querySelector('.teach-before').textContent.startsWith('The image before: ')")
    asked = page.locator(".teach-findings input").evaluate_all("boxes => boxes.map(box => box.value)")
    assert asked == ["fracture", "no finding"]
    click(page, 0.4, 0.4)
    tick(page, "fracture")
    submit(page)
    store.set_project(Project(licence="CC0 1.0"), "root")
    page.click("[data-act=next]:visible")
    page.wait_for_selector("[data-act=agree]")
    assert "CC0 1.0" in page.inner_text(".teach-terms")
    assert [one["record"]["findings_asked"] for one in records(address, page)][-1] == ["fracture"]
    store.set_project(Project(), "root")
    store.close()
    context.close()


def test_what_one_submitted_is_listed_and_can_be_withdrawn(browser: "Browser", address: str, folder: Path) -> None:
    context = new_context(browser)
    page = open_start(context, address, "Looks back")
    for finding in ("edema", "fracture"):
        next_image(page)
        click(page, 0.4, 0.4)
        tick(page, finding)
        submit(page)
    page.get_by_role("button", name="Back to the start").click()
    page.click(".teach-mine summary")
    page.wait_for_function("document.querySelectorAll('.teach-history .teach-draft').length === 2")
    latest = page.locator(".teach-history .teach-draft").first
    assert "fracture" in latest.inner_text()
    assert "not yet reviewed" in latest.inner_text()
    latest.get_by_role("button", name="Withdraw…").click()
    latest.get_by_role("button", name="Withdraw it").click()
    page.wait_for_function("document.querySelector('.teach-history .teach-draft').textContent.includes('withdrawn')")
    assert [one["record"]["findings"] for one in records(address, page)] == [["edema"]]
    store = AnnotationStore.open(folder / "store")
    (other,) = store.stored(annotator=page.evaluate(f"{APP}.welcome.person.pseudonym"))
    store.remove(other.submission_id, "This was clicked twice.", "root")
    store.close()
    for _ in range(2):  # closed, and opened again
        page.click(".teach-mine summary")
    page.locator(".teach-said", has_text="The reviewer: This was clicked twice.").wait_for()
    row = page.locator(".teach-history .teach-draft").nth(1)
    assert "1 click, removed by a reviewer" in row.inner_text()
    context.close()


def test_full_screen_has_findings_and_submit(browser: "Browser", address: str) -> None:
    context = new_context(browser)
    page = open_start(context, address, "Full screen")
    next_image(page)
    page.locator(".gaze-stage").press("f")
    page.wait_for_function("document.fullscreenElement !== null")
    settle(page)
    for part in (".gaze-stage", ".teach-findings", "[data-act=submit]"):
        box = page.locator(part).bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= page.evaluate("innerHeight"), part
        inside = "part => document.fullscreenElement.contains(document.querySelector(part))"
        assert page.evaluate(inside, part)
    page.keyboard.press("?")
    assert page.locator(".teach-help").is_visible()
    context.close()


def test_the_page_around_the_image_comes_back_and_stays(browser: "Browser", address: str) -> None:
    context = new_context(browser)
    page = open_start(context, address, "Page around")
    next_image(page)
    assert page.locator("#introduction").evaluate("node => Boolean(node.closest('[inert]'))"), "out of reach meanwhile"
    page.get_by_role("button", name="Show page").click()
    assert not page.locator("#introduction").evaluate("node => Boolean(node.closest('[inert]'))")
    click(page, 0.3, 0.3)
    tick(page)
    submit(page)
    assert page.evaluate("document.activeElement.classList.contains('gaze-stage')"), "the focus is not lost"
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    page.keyboard.press("n")
    working(page)
    assert not page.locator(".gaze-teach").evaluate("node => node.classList.contains('teach-filled')"), "as it was left"
    top = page.locator(".teach-desk").bounding_box()
    assert top is not None
    assert 0 <= top["y"] < 120, "and the next image is in sight"
    context.close()


def test_skip_with_a_reason_and_findings_that_exclude_each_other(browser: "Browser", address: str) -> None:
    context = new_context(browser)
    page = open_start(context, address, "Skipper")
    next_image(page)
    first = page.evaluate(f"{APP}.work.image.sha256")
    tick(page, "fracture")
    tick(page, "no finding")
    assert ask(page, "app.desk.form.values.findings") == ["no finding"]
    tick(page, "fracture")
    assert ask(page, "app.desk.form.values.findings") == ["fracture"]
    page.click("[data-act=skip]")
    page.get_by_label("something else").check()
    page.get_by_label("What else").fill("upside down")
    page.get_by_role("button", name="Skip it").click()
    page.wait_for_selector(".teach-progress")
    assert "0 submitted, 1 skipped" in page.inner_text(".teach-progress")
    next_image(page)
    assert page.evaluate(f"{APP}.work.image.sha256") != first
    context.close()


def test_an_annotator_stays_in_the_project_that_was_chosen_or_linked(
    browser: "Browser", address: str, folder: Path
) -> None:
    store = AnnotationStore.open(folder / "store", settings=StoreSettings(gold_share=0.0, repeat_share=0.0))
    context = new_context(browser)
    page = open_start(context, address, "Chooses")
    assert page.locator(".teach-projects").count() == 0, "nothing to choose"
    tubes = store.add_project("Tubes", "root")
    tubes = replace(tubes, instruction="To the tip.", mode="bubble", checklist=("fracture",))
    store.set_project(tubes, "root")
    moved = sorted(image.sha256 for image in store.images()[:3])
    for sha256 in moved:
        store.set_task(sha256, "root", project=tubes.slug)
    page.reload()
    page.wait_for_selector(".teach-projects")
    assert "3 images wait. To the tip." in page.inner_text(".teach-projects")
    page.check(".teach-projects input[value=tubes]")
    page.wait_for_function("document.querySelector('.teach-instruction')?.textContent === 'To the tip.'")
    page.click("[data-act=next]")
    seen = []
    for number in range(3):
        page.wait_for_function(f"{APP}.work?.state === 'working' && {number} === {APP}.welcome.progress.done")
        seen.append(page.evaluate(f"{APP}.work.image.sha256"))
        assert page.evaluate(f"{APP}.work.mode") == "bubble"
        if number == 1:  # begun, and gone on with after a reload
            click(page, 0.3, 0.3)
            page.reload()
            page.get_by_role("button", name="Go on").click()
            working(page)
        click(page, 0.4, 0.4)
        tick(page, "fracture")
        page.keyboard.press("Control+Enter")
    page.wait_for_selector(".teach-note-line:has-text('no further image')")
    assert sorted(seen) == moved, "those of the project, though others wait elsewhere"
    done = store.stored(annotator=page.evaluate(f"{APP}.welcome.person.pseudonym"))
    assert [one.project for one in done] == ["tubes"] * 3
    page.goto(f"{address}?project=main")
    page.wait_for_selector(".teach-projects input[value=main]:checked")
    page.check(".teach-projects input[value=tubes]")
    page.wait_for_url("**?project=tubes")
    store.set_project(replace(tubes, closed=True), "root")
    page.reload()
    page.wait_for_selector(".teach-error:has-text(\"'Tubes' is closed\")")
    assert page.locator("[data-act=next]").count() == 0
    page.click(".teach-projects input[value=main]")  # the choice goes with it: one project is left
    page.wait_for_selector("[data-act=next]")
    assert page.inner_text(".teach-error") == ""
    page.reload()
    page.wait_for_selector("[data-act=next]")
    assert page.locator(".teach-projects").count() == 0, "one is left"
    store.close()
    context.close()


def test_fifteen_images_take_two_keys_each(browser: "Browser", tmp_path: Path, repository: Path) -> None:
    """Beside the clicks themselves: one key for what is seen, one to submit it and have the next image."""
    arguments = ["-m", "tests.annotate.annotate_page", "PORT", str(tmp_path / "store"), str(MANY)]
    with serving(repository, arguments, tmp_path / "log.txt") as address:
        context = new_context(browser)
        page = open_start(context, address, "Quick reader")
        next_image(page)
        ask(page, "viewer.useWindow('lungs')")
        acts = 0
        for number in range(MANY):
            working(page)
            assert page.evaluate("document.activeElement.classList.contains('gaze-stage')"), "the keys reach the image"
            assert ask(page, "viewer.window.preset") == "lungs", "the window is kept"
            box = page.locator(".gaze-stage").bounding_box()
            assert box is not None
            assert box["width"] * box["height"] > 0.6 * 1280 * 900, "the image fills the window"
            for x, y in ((0.3, 0.3), (0.7, 0.35)):
                click(page, x, y)
            shown = page.evaluate(f"{APP}.work.image.sha256")
            for key in (str(number % 10), "Control+Enter") if number % 3 else ("Shift+Enter",):
                page.keyboard.press(key)
                acts += 1
            page.wait_for_function(f"{APP}.work === null || {APP}.work.image.sha256 !== '{shown}'")
        page.wait_for_selector(".teach-progress")
        assert f"{MANY} submitted" in page.inner_text(".teach-progress")
        stored = records(address, page)
        context.close()
    assert acts <= 2 * MANY
    ticked = [one["record"]["findings"] for one in stored]
    assert len(ticked) == MANY
    assert ticked[:4] == [[], ["enlarged cardiomediastinum"], ["cardiomegaly"], []]
    assert ticked[10] == [], "0 is no finding"
