"""Steps that the browser tests of the Annotations tab share."""

from typing import TYPE_CHECKING

import pytest

from tests.browser.serving import wait_for

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

WAIT_MS = 90_000  # the machine may be busy with other things
# Calls a handler of the page as anybody can, whatever is shown: (id of the button, values) -> the answer.
CALL = """async ([button, data]) => {
  const config = window.gradio_config;
  const id = config.components.find(one => one.props.elem_id === button).id;
  const fn = config.dependencies.find(one => one.targets.some(([target]) => target === id)).id;
  const session_hash = Math.random().toString(36).slice(2);
  const headers = {"content-type": "application/json"};
  const body = JSON.stringify({data, fn_index: fn, session_hash, trigger_id: id, event_data: null});
  await fetch("gradio_api/queue/join?", {method: "POST", headers, body});
  const answer = await fetch(`gradio_api/queue/data?session_hash=${session_hash}`);
  return (await answer.text()).split("\\n").filter(line => line.includes("process_completed")).join();
}"""


def open_tab(browser: "Browser", address: str, width: int = 1280) -> "Page":
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.set_default_timeout(WAIT_MS)
    page.on("pageerror", lambda error: pytest.fail(f"the page's script failed: {error}"))
    page.goto(address)
    page.click("#dashboard-tab-button[role=tab]")
    page.wait_for_selector(".dashboard-tile")
    return page


def enter(page: "Page", name: str, token: str, role: str) -> None:
    page.fill("#dashboard-name input", name)
    page.fill("#dashboard-token input", token)
    page.click("#dashboard-use")
    page.wait_for_selector(f".dashboard-is-{role}", state="attached")
    if role != "annotator":
        wait_for(page, "#dashboard-review-status", "Submission")


def toast(page: "Page", text: str) -> None:
    """One message that says so; it is put away."""
    shown = page.locator(".toast-body")
    shown.filter(has_text=text).wait_for()
    assert shown.count() == 1
    shown.locator("button").first.click()
    shown.wait_for(state="detached")


def choose(page: "Page", radio: str, option: str) -> None:
    page.locator(f"{radio} label", has_text=option).click()


def pick(page: "Page", dropdown: str, option: str) -> None:
    page.click(f"{dropdown} input")
    page.get_by_role("option", name=option).click()
