"""The Annotations tab in a real browser: what each role sees and does, and that a page's handlers refuse the others."""

import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import numpy as np
import pytest
from PIL import Image

from annotate.store.project import Project
from annotate.store.store import AnnotationStore
from gazevlm_core.scanpath import Fixation, Scanpath
from tests.annotate.dashboard_browser import CALL, choose, enter, open_tab, pick, toast
from tests.annotate.dashboard_maker import ADMIN_TOKEN, REVIEWER_TOKEN
from tests.annotate.dashboard_page import submit
from tests.browser.serving import wait_for, wait_for_value, wait_until_it_fits

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser


def test_without_a_token_there_is_only_what_everybody_may_see(
    browser: "Browser", dashboard: str, dashboard_store: AnnotationStore
) -> None:
    page = open_tab(browser, dashboard)
    wait_for(page, "#dashboard-who", "Choose a name")
    wait_for(page, "#dashboard-totals", "not synced anywhere")
    page.fill("#dashboard-receipt input", dashboard_store.stored()[0].receipt.receipt_id.lower())
    page.click("#dashboard-check")
    wait_for(page, "#dashboard-answer", "Submission 1 is kept here.")
    enter(page, "Ann", "", "annotator")
    assert page.evaluate("localStorage.getItem('gazevlm-teach/name')") == '"Ann"'
    assert "gazevlm_name=Ann" in page.evaluate("document.cookie")
    for part in ("#dashboard-parts", "#dashboard-viewer", "#dashboard-reject", "#dashboard-export-go"):
        assert page.locator(part).first.is_hidden()
    page.close()


def test_the_tab_is_up_to_date_whenever_it_is_opened(
    browser: "Browser", dashboard: str, dashboard_store: AnnotationStore
) -> None:
    page = open_tab(browser, dashboard)
    wait_for(page, "#dashboard-who", "Choose a name")
    page.click("#teach-tab-button[role=tab]")
    page.evaluate("GazeName.name = 'Chosen in Teach'")
    image = dashboard_store.images()[0]
    before = dashboard_store.counts().annotations
    submit(dashboard_store, image, "Latecomer", Scanpath((Fixation(0.4, 0.4), Fixation(0.6, 0.6)), "click"), 5.0)
    page.click("#dashboard-tab-button[role=tab]")
    wait_for(page, "#dashboard-who", "Chosen in Teach")
    assert page.input_value("#dashboard-name input") == "Chosen in Teach"
    wait_for(page, "#dashboard-totals", f"{before + 1}")
    dashboard_store.remove(f"latecomer-{image.sha256[:12]}", "end of this test", "test")
    page.close()


def test_a_token_is_asked_for_once(browser: "Browser", dashboard: str) -> None:
    page = open_tab(browser, dashboard)
    enter(page, "Root", ADMIN_TOKEN, "admin")
    page.wait_for_function("performance.getEntriesByType('resource').some(one => one.name.endsWith('/session'))")
    assert "gazevlm_role" not in page.evaluate("document.cookie"), "no script reads it"
    page.reload()
    page.click("#dashboard-tab-button[role=tab]")
    page.wait_for_selector(".dashboard-is-admin", state="attached")
    assert page.input_value("#dashboard-token input") == ""
    with page.expect_navigation():
        page.click("#dashboard-leave")
    page.click("#dashboard-tab-button[role=tab]")
    page.wait_for_selector(".dashboard-person:not(.dashboard-is-admin)", state="attached")
    page.close()


def test_an_admin_decides_what_everybody_is_told_and_asked(
    browser: "Browser", dashboard: str, dashboard_store: AnnotationStore
) -> None:
    page = open_tab(browser, dashboard)
    enter(page, "Root", ADMIN_TOKEN, "admin")
    page.click("#dashboard-admins-button[role=tab]")
    page.click("#dashboard-project-button[role=tab]")
    page.fill("#dashboard-project-instruction textarea", "Apex first.")
    page.fill("#dashboard-project-least input", "2")
    choose(page, "#dashboard-project-checklist", "edema")
    page.click("#dashboard-project-save")
    wait_for(page, "#dashboard-project-status", "Saved")
    project = dashboard_store.project()
    assert (project.instruction, project.least_clicks, project.checklist) == ("Apex first.", 2, ("edema",))
    page.fill("#dashboard-project-blur input", "0")
    page.click("#dashboard-project-save")
    message = page.locator(".toast-body")
    message.filter(has_text="Blur and disc lie between").wait_for()
    beside, button = (page.locator(place).bounding_box() for place in (".toast-wrap", "#dashboard-project-save"))
    assert beside is not None
    assert button is not None
    gap = max(beside["y"] - button["y"] - button["height"], button["y"] - beside["y"] - beside["height"])
    assert 0 <= gap < 20, "the message is beside what was pressed"
    assert beside["x"] <= button["x"] < beside["x"] + beside["width"]
    assert dashboard_store.project() == project
    page.fill("#dashboard-project-blur input", "41")
    page.click("#dashboard-project-save")
    message.wait_for(state="detached")
    dashboard_store.set_project(Project(), "test")
    page.close()


def test_calling_a_handler_all_the_same_is_refused(
    browser: "Browser", dashboard: str, dashboard_store: AnnotationStore
) -> None:
    page = open_tab(browser, dashboard)
    enter(page, "Ann", "", "annotator")
    before = dashboard_store.audit(), dashboard_store.stored(include_removed=True)
    calls: dict[str, list[Any]] = {
        "dashboard-next": ["", "pending", False, "", None],
        "dashboard-accept": ["", None, "", "pending", True, False, ""],
        "dashboard-offer": ["", "main", "open", "", None, None, "0" * 64],
        "dashboard-rank-first": ["", "main", "open", "", None, None, "0" * 64],
        "dashboard-table-go": ["", None, False],
        "dashboard-import-folder-go": ["", "/tmp", "What?", 1, "main"],
            "dashboard-project-add": ["", "Mine"],
            "dashboard-project-close": ["", "main"],
            "dashboard-chosen": ["", "main"],
        "dashboard-running": ["", 1],
        "dashboard-log-latest": [""],
    }
    for button, values in calls.items():
        answer = page.evaluate(CALL, [button, values])
        assert '"success":false' in answer.replace(" ", "")
        assert "may do this; enter the" in answer
        assert "Traceback" not in answer
    answer = page.evaluate(CALL, ["dashboard-next", ["not the token at all", "pending", False, "", None]])
    assert "gives no role" in answer
    assert (dashboard_store.audit(), dashboard_store.stored(include_removed=True)) == before
    with urlopen(f"{dashboard}gradio_api/info", timeout=60) as answer:
        assert json.load(answer)["named_endpoints"] == {}, "no handler is a public endpoint"
    page.close()


def test_a_reviewer_rejects_with_a_reason_and_restores(
    browser: "Browser", dashboard: str, dashboard_store: AnnotationStore
) -> None:
    page = open_tab(browser, dashboard)
    enter(page, "Rita", REVIEWER_TOKEN, "reviewer")
    wait_for(page, "#dashboard-review-status", "Submission 1 by")
    assert page.locator("#dashboard-admins-button").is_hidden()
    page.locator("#dashboard-viewer .gaze-path").first.wait_for()
    page.wait_for_selector("#dashboard-heat .main-svg")
    page.click("#dashboard-reject")
    toast(page, "The reason for rejecting is empty")
    wait_for(page, "#dashboard-review-status", "Submission 1 by")
    page.fill("#dashboard-reason textarea", "Not what was asked.")
    page.click("#dashboard-reject")
    wait_for(page, "#dashboard-review-status", "Submission 1 is rejected.")
    wait_for(page, "#dashboard-review-status", "Submission 2 by")
    wait_for(page, "#dashboard-totals", "1 rejected")
    assert page.input_value("#dashboard-reason textarea") == ""
    wait_for_value(page, "document.querySelector('#dashboard-viewer .gaze-viewer').viewer.value.paths.length", 2)
    page.locator("#dashboard-everybody input").check()
    page.wait_for_function("document.querySelector('#dashboard-viewer .gaze-viewer').viewer.value.paths.length > 5")
    page.fill("#dashboard-reason textarea", "By wish of the annotator.")
    page.click("#dashboard-remove")
    wait_for(page, "#dashboard-review-status", "Submission 2 is removed.")
    choose(page, "#dashboard-queue", "removed")
    wait_for(page, "#dashboard-review-status", "Submission 2 by")
    page.fill("#dashboard-reason textarea", "They changed their mind.")
    page.click("#dashboard-restore")
    wait_for(page, "#dashboard-review-status", "Submission 2 is restored.")
    first, second = dashboard_store.stored()[:2]
    assert (first.verdict, first.reason) == ("rejected", "Not what was asked.")
    assert not second.removed
    actions = [entry.action for entry in dashboard_store.audit() if entry.subject == second.annotation.submission_id]
    assert actions == ["removed", "restored"]
    page.fill("#dashboard-go-to input", "1")
    page.keyboard.press("Enter")
    wait_for(page, "#dashboard-review-status", "Submission 1 by")
    page.click("#dashboard-reopen")
    wait_for(page, "#dashboard-review-status", "pending again")
    page.keyboard.press("a")
    wait_for(page, "#dashboard-review-status", "Submission 1 is accepted.")
    page.fill("#dashboard-go-to input", "1")
    page.keyboard.press("Enter")
    wait_for(page, "#dashboard-review-status", "Submission 1 by")
    page.locator("#dashboard-next").focus()
    page.keyboard.press("r")
    page.wait_for_function("document.activeElement.closest('#dashboard-reason')")  # it needs one
    page.locator("#dashboard-next").focus()
    page.keyboard.press("u")
    wait_for(page, "#dashboard-review-status", "Submission 1 is pending again.")
    page.close()


def test_many_are_judged_only_while_their_annotator_is_on_the_screen(
    browser: "Browser", dashboard: str, dashboard_store: AnnotationStore
) -> None:
    page = open_tab(browser, dashboard)
    enter(page, "Rita", REVIEWER_TOKEN, "reviewer")
    page.click("#dashboard-bulk button")  # the fold
    page.click("#dashboard-bulk-count")
    shown = page.inner_text("#dashboard-review-status")
    first = next(one for one in dashboard_store.stored() if f"Submission {one.number} by" in shown)
    count = dashboard_store.counts()
    wait_for(page, "#dashboard-bulk-status", f"pending submissions of {first.annotation.annotator} are counted")
    page.click("#dashboard-next")
    page.wait_for_function(
        "before => !document.querySelector('#dashboard-review-status').innerText.includes(before)",
        arg=f"Submission {first.number} by",
    )
    page.click("#dashboard-accept-these")
    wait_for(page, "#dashboard-bulk-status", f"Nothing was done: what was counted is of {first.annotation.annotator}")
    page.click("#dashboard-accept-these")
    toast(page, "Count the submissions first")
    assert dashboard_store.counts() == count
    page.close()


def test_annotators_are_compared_and_an_image_is_opened_from_there(browser: "Browser", dashboard: str) -> None:
    page = open_tab(browser, dashboard)
    enter(page, "Rita", REVIEWER_TOKEN, "reviewer")
    page.click("#dashboard-quality-button")
    page.click("#dashboard-compute")
    page.wait_for_selector("#dashboard-chart .main-svg")
    wait_for(page, "#dashboard-annotators", "too fast")
    assert "Ada" not in page.inner_text("#dashboard-annotators")
    page.click("#dashboard-image-by-agreement input")
    page.locator("[role=option]").last.click()
    page.wait_for_selector("#dashboard-viewer .gaze-path", state="visible")
    page.close()


def test_an_admin_imports_offers_exports_and_reads_the_log(
    browser: "Browser", dashboard: str, dashboard_store: AnnotationStore, tmp_path: Path
) -> None:
    page = open_tab(browser, dashboard)
    enter(page, "Root", ADMIN_TOKEN, "admin")
    page.click("#dashboard-admins-button")
    pixels = io.BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (80, 90), np.uint8)).save(pixels, "PNG")
    with zipfile.ZipFile(tmp_path / "more images.zip", "w") as archive:
        archive.writestr("one.png", pixels.getvalue())
        archive.writestr("broken.png", b"no")
    page.set_input_files("#dashboard-import-zip input[type=file]", tmp_path / "more images.zip")
    page.wait_for_selector("#dashboard-import-zip .file-preview")
    page.click("#dashboard-import-zip-go")
    wait_for(page, "#dashboard-imports", "done")
    wait_for(page, "#dashboard-imports", "more_images.zip")
    assert [one.name for one in dashboard_store.images() if one.name == "one.png"]
    wait_for(page, "#dashboard-totals", "8 images")

    page.click("#dashboard-images-button")
    choose(page, "#dashboard-image-state", "own images")
    wait_for(page, "#dashboard-image-status", "an annotator's own image")
    page.click("#dashboard-offer")
    wait_for(page, "#dashboard-image-status", "1 image is given out.")
    page.click("#dashboard-gold")
    toast(page, "one annotator's path alone, or none")

    page.click("#dashboard-exports-button")
    page.click("#dashboard-export-go")
    page.wait_for_selector("#dashboard-export-file .file-preview a")
    with page.expect_download() as download:
        page.locator("#dashboard-export-file .file-preview a").first.click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert any(name.endswith("/export.json") for name in archive.namelist())
    page.click("#dashboard-audit-button")
    page.click("#dashboard-log-latest")
    wait_for(page, "#dashboard-log", "exported")
    page.close()


def test_where_there_are_several_projects_one_is_looked_at_alone(
    browser: "Browser", dashboard: str, dashboard_store: AnnotationStore
) -> None:
    page = open_tab(browser, dashboard)
    enter(page, "Rita", REVIEWER_TOKEN, "reviewer")
    several = len(dashboard_store.projects()) > 1
    assert page.locator("#dashboard-review-project").count() == several, "one project is no choice"
    nodules = dashboard_store.add_project("Nodules", "root").slug
    pixels = np.random.default_rng(8).integers(0, 255, (64, 64), np.uint8)
    image = dashboard_store.add_image(Image.fromarray(pixels), "nodule", by="root", project=nodules)
    name = submit(dashboard_store, image, "Tuber", Scanpath((Fixation(0.4, 0.4), Fixation(0.6, 0.6)), "click"), 5.0)
    page.reload()
    page.click("#dashboard-tab-button[role=tab]")
    wait_for(page, "#dashboard-review-status", "Submission")
    pick(page, "#dashboard-review-project", "Nodules")
    wait_for(page, "#dashboard-review-status", "1 pending.")
    page.click("#dashboard-quality-button")
    pick(page, "#dashboard-quality-project", "Nodules")
    wait_for(page, "#dashboard-quality-status", "Nothing is computed yet.")
    page.click("#dashboard-compute")
    page.wait_for_selector("#dashboard-annotators tbody tr")
    assert page.locator("#dashboard-annotators tbody tr").count() == 1
    assert dashboard_store.pseudonym("local:tuber") in page.inner_text("#dashboard-annotators")
    page.click("#dashboard-review-button")
    page.click("#dashboard-accept")
    wait_for(page, "#dashboard-review-status", "Nothing here is pending")
    pick(page, "#dashboard-review-project", "All projects")
    wait_for(page, "#dashboard-review-status", "Submission")
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_function("document.documentElement.scrollWidth <= innerWidth")
    dashboard_store.remove(name, "end of this test", "test")
    dashboard_store.set_project(replace(dashboard_store.project(nodules), closed=True), "test")
    page.close()


def test_on_a_phone_nothing_is_wider_than_the_screen(browser: "Browser", dashboard: str) -> None:
    page = open_tab(browser, dashboard, 390)
    wait_until_it_fits(page)
    enter(page, "Root", ADMIN_TOKEN, "admin")
    for part in ("quality", "admins", "review"):
        page.click(f"#dashboard-{part}-button")
        page.wait_for_selector(f"#dashboard-{part}", state="visible")
        wait_until_it_fits(page)  # once charts and tabs have found their width
    page.close()
