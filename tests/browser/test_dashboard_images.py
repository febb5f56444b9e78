"""Images and projects of the Annotations tab in a real browser: what an admin changes of many at once."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import update

from annotate.store.imports import CLAIM_US
from annotate.store.store import AnnotationStore
from annotate.store.tables import IMPORTS
from tests.annotate.dashboard_browser import enter, open_tab, pick
from tests.annotate.dashboard_maker import ADMIN_TOKEN
from tests.browser.serving import wait_for, wait_for_value

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser


def test_an_admin_makes_a_project_and_moves_images_into_it(
    browser: "Browser", dashboard: str, dashboard_store: AnnotationStore
) -> None:
    page = open_tab(browser, dashboard)
    enter(page, "Root", ADMIN_TOKEN, "admin")
    page.click("#dashboard-admins-button[role=tab]")
    page.click("#dashboard-project-button[role=tab]")
    page.fill("#dashboard-project-new input", "Tubes")
    page.click("#dashboard-project-add")
    wait_for(page, "#dashboard-project-status", "Created")
    wait_for(page, "#dashboard-project-link", "?project=tubes")
    page.fill("#dashboard-project-question textarea, #dashboard-project-question input", "Where does it end?")
    page.click("#dashboard-project-save")
    wait_for(page, "#dashboard-project-status", "Saved")
    page.click("#dashboard-images-button[role=tab]")
    wait_for(page, "#dashboard-gallery", "no such image")
    pick(page, "#dashboard-chosen", "Main")
    page.wait_for_selector(".dashboard-cards li:nth-child(2)")
    moved = [page.locator(".dashboard-cards [name=task]").nth(place).get_attribute("value") for place in range(2)]
    for place in range(2):
        page.locator(".dashboard-cards [name=task]").nth(place).check()
    pick(page, "#dashboard-task-project", "Tubes")
    page.click("#dashboard-task-move")
    wait_for(page, "#dashboard-image-status", "2 images are moved")
    of_project = [(one.project, one.question) for one in map(dashboard_store.image, moved)]
    assert of_project == [("tubes", "Where does it end?")] * 2
    pick(page, "#dashboard-chosen", "Tubes")
    wait_for(page, "#dashboard-gallery", "1 to 2 of 2")
    page.click("#dashboard-intake-button[role=tab]")
    assert page.input_value("#dashboard-import-question textarea") == "Where does it end?"
    page.click("#dashboard-project-button[role=tab]")
    page.fill("#dashboard-project-name input", "Lines")
    page.click("#dashboard-project-rename")
    wait_for(page, "#dashboard-project-status", "Renamed")
    page.click("#dashboard-project-close")
    wait_for(page, "#dashboard-project-close", "Open it again")
    wait_for(page, "#dashboard-project-status", "gives out no images")
    project = dashboard_store.project("tubes")
    assert (project.name, project.closed, project.question) == ("Lines", True, "Where does it end?")
    assert page.input_value("#dashboard-chosen input") == "Lines (closed)"
    for sha256 in moved:
        dashboard_store.set_task(str(sha256), "test", project="main")
    page.close()


def test_tasks_are_ticked_in_a_gallery_and_changed_together(
    browser: "Browser", dashboard: str, dashboard_store: AnnotationStore
) -> None:
    page = open_tab(browser, dashboard)
    enter(page, "Root", ADMIN_TOKEN, "admin")
    page.click("#dashboard-admins-button")
    page.click("#dashboard-images-button")
    page.wait_for_selector(".dashboard-cards img")
    term = page.get_attribute("#dashboard-admin-parts > .tab-wrapper > .gaze-term", "title")
    assert str(term).startswith("gold: "), "of a tab's title, outside of the list of tabs"
    boxes, cards = page.locator(".dashboard-cards [name=task]"), page.locator(".dashboard-cards button")
    ticked = [str(boxes.nth(place).get_attribute("value")) for place in (2, 3)]
    for place in (2, 3):
        boxes.nth(place).check()
    page.click("#dashboard-rank-first")
    wait_for(page, "#dashboard-image-status", "2 images are of the priority 'first'.")
    assert {dashboard_store.image(sha256).priority for sha256 in ticked} == {1}
    assert {str(boxes.nth(place).get_attribute("value")) for place in (0, 1)} == set(ticked), "the first in line"
    assert page.locator(".dashboard-cards :checked").count() == 0, "other images stand there now"
    cards.nth(3).focus()
    page.keyboard.press("Enter")
    third = str(cards.nth(3).get_attribute("data-image"))
    wait_for(page, "#dashboard-image-status", dashboard_store.image(third).name)
    page.fill("#dashboard-task-quota input, #dashboard-task-quota textarea", "7")
    page.click("#dashboard-task-want")
    wait_for(page, "#dashboard-image-status", "1 image is wanting so many.")
    assert dashboard_store.image(third).quota == 7, "without a tick, the one that is shown"
    page.locator(".dashboard-gallery-bar [name=all]").check()
    page.fill("#dashboard-task-question input, #dashboard-task-question textarea", "Where is the tube?")
    page.click("#dashboard-task-ask")
    wait_for(page, "#dashboard-image-status", "are asked about so.")
    shown = [str(box.get_attribute("value")) for box in boxes.all()]
    assert {dashboard_store.image(sha256).question for sha256 in shown} == {"Where is the tube?"}
    page.fill("#dashboard-image-search input, #dashboard-image-search textarea", third[:8])
    page.keyboard.press("Enter")
    wait_for(page, ".dashboard-gallery-bar", "1 to 1 of 1")
    for sha256 in ticked:
        dashboard_store.set_task(sha256, "test", priority=0)
    page.close()


def test_an_admin_tells_patients_by_a_table(
    browser: "Browser", dashboard: str, dashboard_store: AnnotationStore, tmp_path: Path
) -> None:
    page = open_tab(browser, dashboard)
    enter(page, "Root", ADMIN_TOKEN, "admin")
    page.click("#dashboard-admins-button")
    page.click("#dashboard-table button")
    (tmp_path / "patients.csv").write_text("file,patient,age\nphantom 1,7,61\nphantom 99,8,\nphantom 2,=1+1,\n")
    page.set_input_files("#dashboard-table-file input[type=file]", tmp_path / "patients.csv")
    page.wait_for_selector("#dashboard-table-file .file-preview")
    page.click("#dashboard-table-go")
    wait_for(page, "#dashboard-table-status", "1 row is new, 0 were known, 2 are refused.")
    wait_for(page, "#dashboard-table-refused", "no image here is called so")
    wait_for(page, "#dashboard-table-refused", "as a formula does")
    (image,) = (one for one in dashboard_store.images() if one.name == "phantom 1")
    assert (image.patient_id, image.metadata) == ("7", {"age": "61"})
    page.close()


@pytest.mark.parametrize("width", [1280, 390])
def test_an_import_is_cancelled_by_the_button_beside_it(
    browser: "Browser", dashboard: str, dashboard_store: AnnotationStore, tmp_path: Path, width: int
) -> None:
    first, second = (dashboard_store.queue_import("folder", str(tmp_path), "test") for _ in range(2))
    taken = {"state": "running", "claim": "a slow worker", "claimed_until_us": dashboard_store.now_us() + 5 * CLAIM_US}
    mine = update(IMPORTS).where(IMPORTS.c.id.in_((first, second))).values(taken)
    dashboard_store.database.write(lambda connection: connection.execute(mine))  # so the page's worker leaves them
    page = open_tab(browser, dashboard, width)
    enter(page, "Root", ADMIN_TOKEN, "admin")
    page.click("#dashboard-admins-button")
    page.locator(".dashboard-running li").nth(1).wait_for()
    button = page.locator(f".dashboard-running [data-cancel='{second}']")
    wait_for_value(page, "document.documentElement.scrollWidth <= innerWidth", True)
    button.click()
    wait_for(page, "#dashboard-import-status", f"Import {second} is cancelled; what it has added stays.")
    button.wait_for(state="detached")
    states = {one.number: one.state for one in dashboard_store.imports()}
    assert states[second] == "cancelled"
    assert states[first] == "running", "the other one goes on"
    page.locator(f".dashboard-running [data-cancel='{first}']").click()
    wait_for(page, "#dashboard-import-status", f"Import {first} is cancelled")
    page.locator(".dashboard-running").wait_for(state="detached")
    page.close()
