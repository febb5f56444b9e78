"""The Adapt tab in a real browser, on a fake trainer: start, watch, cancel, resume, before and after, compare, link."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import pytest

from tests.annotate.dashboard_browser import CALL
from tests.browser.serving import serving, wait_for, wait_for_value, wait_until_it_fits
from tests.finetune.adapt_maker import ADMIN_TOKEN
from tests.finetune.adapt_page import TICK_S

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser
MIDDLE = 50  # of the trainer called "mine", which waits there
WAIT_MS = 90_000  # the machine may be busy with other things
PAUSE_MS = 2500 * TICK_S  # longer than two ticks
PACE = {"FAKE_STEP_S": "0.1", "FAKE_CHECKPOINT": "5", "HF_HUB_OFFLINE": "1"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("adapt")


@pytest.fixture(scope="module")
def address(repository: Path, folder: Path) -> Iterator[str]:
    arguments = ["-m", "tests.finetune.adapt_page", "PORT", str(folder / "kept")]
    with serving(repository, arguments, folder / "log.txt", PACE) as address:
        yield address


def open_tab(browser: "Browser", address: str, width: int = 1280) -> "Page":
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.set_default_timeout(WAIT_MS)
    page.on("pageerror", lambda error: pytest.fail(f"the page's script failed: {error}"))
    page.goto(address)
    page.click("#adapt-tab-button[role=tab]")
    page.wait_for_selector("#adapt-who p")
    return page


def enter(page: "Page", name: str = "Root", token: str = ADMIN_TOKEN) -> None:
    page.fill("#adapt-name input", name)
    page.fill("#adapt-token input", token)
    page.click("#adapt-use")
    wait_for(page, "#adapt-who", f"You are {name}")


def unfold(page: "Page", fold: str, field: str) -> None:
    """Open a fold of the settings, unless it is open."""
    if not page.is_visible(f"#adapt-{field} input"):
        page.click(f"#adapt-fold-{fold} button")


def start(page: "Page", name: str, steps: int) -> None:
    """Begin a training of so many steps; the page shows it."""
    page.click("#adapt-part-train-button[role=tab]")
    wait_for(page, "#adapt-counts", "Chosen:")
    unfold(page, "optimisation", "max-steps")
    page.fill("#adapt-max-steps input", str(steps))
    page.fill("#adapt-adapter input", name)
    page.click("#adapt-start")
    wait_for(page, "#adapt-run-status", name)


def in_sight(page: "Page", place: str) -> bool:
    box = page.locator(place).bounding_box()
    return box is not None and box["y"] >= 0 and box["y"] + box["height"] <= page.viewport_size["height"]


def drawn_steps(page: "Page", chart: str = "#adapt-losses") -> int:
    """The last step of the first line of a chart, whose points are thinned; 0 where there is none."""
    return page.evaluate(f"document.querySelector('{chart} .js-plotly-plot')?.data?.[0]?.x.at(-1) ?? 0")


def wait_for_more(page: "Page", steps: int) -> int:
    """Until the losses go beyond that step; how far they go then."""
    page.wait_for_function(f"document.querySelector('#adapt-losses .js-plotly-plot')?.data?.[0]?.x.at(-1) > {steps}")
    return drawn_steps(page)


def paths(page: "Page", viewer: str) -> list[dict[str, Any]]:
    page.wait_for_selector(f"{viewer} .gaze-path", state="attached")
    return page.evaluate(f"document.querySelector('{viewer} .gaze-viewer').viewer.value.paths")


def test_a_training_is_started_watched_and_taken_to_diagnose(browser: "Browser", address: str, folder: Path) -> None:
    page = open_tab(browser, address)
    enter(page)
    page.click("#adapt-part-train-button[role=tab]")
    wait_for(page, "#adapt-counts", "Chosen: 12 scanpaths on 9 images")
    wait_for(page, "#adapt-estimate", "no run with this base on this machine yet")
    page.locator("#adapt-accepted input").check()
    wait_for(page, "#adapt-counts", "not accepted yet")
    assert page.locator("#adapt-part-train").get_by_role("heading").count() == 2, "and the third decision is the button"
    unfold(page, "changed", "epochs")
    assert in_sight(page, "#adapt-start"), "at the foot of the window, however many folds are open"
    page.fill("#adapt-epochs input", "0")
    wait_for(page, "#adapt-estimate", "Epochs should be greater than 0; change it.")
    page.click("#adapt-start")
    page.locator(".toast-body").filter(has_text="Epochs should be greater than 0").wait_for()
    page.fill("#adapt-epochs input", "2")
    start(page, "mine", 100)
    wait_for(page, "#adapt-run-status", "left.")
    page.wait_for_selector("#adapt-losses .main-svg")
    page.wait_for_selector("#adapt-curve .main-svg")
    wait_for_more(page, MIDDLE - 1)
    assert page.is_enabled("#adapt-pause")
    assert page.is_disabled("#adapt-resume")
    page.reload()  # the state is on the server
    page.click("#adapt-tab-button[role=tab]")
    wait_for(page, "#adapt-run-status", "mine")
    assert page.locator("#adapt-actions").is_hidden(), "the token is forgotten by a reload"
    (folder / "kept" / "adapters" / ".go-on").touch()
    page.wait_for_selector("#adapt-use-it a")
    wait_for(page, "#adapt-run-status", "mine: done. It is better than its base (24 held-out patients): sequence score")
    wait_for(page, "#adapt-verdict", "sequence score")
    wait_for(page, "#adapt-verdict", "better")
    wait_for(page, "#adapt-figures", "floor: another image")
    wait_for(page, "#adapt-pair-note", "Reviewers and admins see held-out images here")
    assert page.locator("#adapt-before .gaze-path").count() == 0
    enter(page)
    before, after = paths(page, "#adapt-before"), paths(page, "#adapt-after")
    assert [one["name"] for one in before] == ["Before: the base", "What was taught"]
    assert [one["name"] for one in after] == ["After: the adapter", "What was taught"]
    wait_for(page, "#adapt-said-before", "No <b>finding</b>.")
    page.click("#adapt-pair-image input")
    page.locator("[role=option]").last.click()
    wait_for(page, "#adapt-said-after", "A target, number 1.")
    page.click("#adapt-use-it a")
    page.wait_for_url(re.compile(r"\?model="))
    page.wait_for_function("document.querySelector('#asked textarea, #asked input')?.value")
    assert page.input_value("#asked textarea, #asked input") == "gazevlm-nano + mine"
    page.close()


def test_a_training_is_cancelled_resumed_and_paused(browser: "Browser", address: str, folder: Path) -> None:
    page = open_tab(browser, address)
    enter(page)
    start(page, "stopped", 600)
    page.wait_for_selector("#adapt-losses .main-svg")
    page.click("#adapt-cancel")
    wait_for(page, "#adapt-run-status", "Cancelled at step")
    page.click("#adapt-resume")
    wait_for(page, "#adapt-run-status", "stopped: running")
    page.click("#adapt-log-fold button")
    wait_for(page, "#adapt-log", "from step")
    page.click("#adapt-pause")
    wait_for(page, "#adapt-run-status", "stopped: paused")  # with a last checkpoint, or before it had begun
    page.click("#adapt-cancel")
    wait_for(page, "#adapt-run-status", "Cancelled while it was paused")
    page.click("#adapt-delete")
    page.click("#adapt-keep")
    page.wait_for_selector("#adapt-sure", state="hidden")
    page.click("#adapt-delete")
    page.click("#adapt-delete-both")
    page.wait_for_function("!document.querySelector('#adapt-runs').innerText.includes('stopped')")
    assert not (folder / "kept" / "adapters" / "stopped").exists()
    page.close()


def test_before_the_first_step_there_is_no_empty_chart(browser: "Browser", address: str) -> None:
    page = open_tab(browser, address)
    enter(page)
    start(page, "ahead", 3000)
    page.wait_for_selector("#adapt-losses .main-svg")
    start(page, "behind", 3000)
    wait_for(page, "#adapt-run-status", "behind: waits for its turn")
    page.wait_for_selector("#adapt-losses", state="hidden")
    assert page.locator("#adapt-curve").is_hidden()
    assert page.locator("#adapt-measure").is_hidden()
    page.click("#adapt-cancel")
    wait_for(page, "#adapt-run-status", "behind: cancelled")
    page.click("#adapt-run input")
    page.get_by_role("option", name="ahead").click()
    wait_for(page, "#adapt-run-status", "ahead: running")
    page.wait_for_selector("#adapt-losses .main-svg")
    page.click("#adapt-cancel")
    wait_for(page, "#adapt-run-status", "Cancelled at step")
    page.close()


def test_nothing_is_asked_for_while_another_tab_is_open(browser: "Browser", address: str) -> None:
    page = open_tab(browser, address)
    enter(page)
    start(page, "unwatched", 3000)
    page.wait_for_selector("#adapt-losses .main-svg")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.click("#diagnose-button[role=tab]")
    for _ in range(10):  # one tick finds out, and its answer may take a while
        asked.clear()
        page.wait_for_timeout(PAUSE_MS)
        if not (ticks := [url for url in asked if "predict" in url or "/join" in url]):
            break
    assert ticks == []
    steps = drawn_steps(page)
    page.click("#adapt-tab-button[role=tab]")
    steps = wait_for_more(page, steps)
    page.click("#adapt-part-compare-button[role=tab]")
    page.wait_for_timeout(PAUSE_MS)
    page.click("#adapt-part-runs-button[role=tab]")
    wait_for_more(page, wait_for_more(page, steps))  # not only once: its timer goes on
    page.click("#adapt-cancel")
    wait_for(page, "#adapt-run-status", "Cancelled at step")
    page.close()


def test_what_one_project_has_is_learned_alone(browser: "Browser", address: str) -> None:
    page = open_tab(browser, address)
    enter(page)
    page.click("#adapt-part-train-button[role=tab]")
    wait_for(page, "#adapt-counts", "Chosen: 12 scanpaths on 9 images")
    page.click("#adapt-project input")
    offered = [text.removeprefix("✓").strip() for text in page.get_by_role("option").all_inner_texts()]
    assert offered == ["All projects", "Main", "Tubes & lines"]
    page.get_by_role("option", name="Tubes & lines").click()
    wait_for(page, "#adapt-counts", "Chosen: 3 scanpaths on 2 images")
    for tab in ("diagnose", "adapt-tab"):  # what was chosen stays
        page.click(f"#{tab}-button[role=tab]")
    wait_for(page, "#adapt-counts", "Chosen: 3 scanpaths on 2 images")
    assert page.input_value("#adapt-project input") == "Tubes & lines"
    page.close()


def test_a_word_in_another_sense_is_not_explained(browser: "Browser", address: str) -> None:
    page = open_tab(browser, address)
    enter(page)
    page.click("#adapt-part-train-button[role=tab]")
    unfold(page, "base", "precision")
    page.wait_for_selector("#adapt-num-glimpses > .gaze-term")
    for field in ("precision", "fold-base"):
        assert page.locator(f"#adapt-{field} > .gaze-term").count() == 0, "that of numbers, not of answers"
    assert "seed: " in str(page.get_attribute("#adapt-fold-run > .gaze-term", "title")), "of a fold's title"
    assert page.locator("#adapt-num-glimpses label .gaze-term").count() == 0, "it would be part of the field's name"
    page.close()


def test_a_half_typed_token_does_not_lock_its_owner_out(browser: "Browser", address: str) -> None:
    page = open_tab(browser, address)
    enter(page)
    start(page, "typed", 3000)
    page.wait_for_selector("#adapt-losses .main-svg")
    page.fill("#adapt-token input", ADMIN_TOKEN[:-1])  # and not used
    for _ in range(3):
        wait_for_more(page, drawn_steps(page))
    assert page.locator(".toast-body").count() == 0
    page.click("#adapt-cancel")  # as the admin who was entered
    wait_for(page, "#adapt-run-status", "Cancelled at step")
    page.click("#adapt-use")
    page.wait_for_selector(".toast-body")
    assert "This token gives no role" in page.inner_text(".toast-body")
    page.close()


def test_finished_runs_are_compared_and_one_that_is_no_better_is_not_chosen(browser: "Browser", address: str) -> None:
    page = open_tab(browser, address)
    enter(page)
    for name in ("first", "second", "worse"):
        start(page, name, 6)
        wait_for(page, "#adapt-run-status", f"{name}: done")
    wait_for(page, "#adapt-run-status", "No difference from its base was seen (24 held-out patients): sequence")
    wait_for(page, "#adapt-use-it", "Against its base: no difference from its base seen.")
    page.click("#adapt-part-compare-button[role=tab]")
    wait_for(page, "#adapt-history", "worse")
    wait_for(page, "#adapt-history", "no difference from its base seen")
    wait_for(page, "#adapt-chosen", "second")
    assert "worse" not in page.inner_text("#adapt-chosen")
    page.click("#adapt-compare")
    wait_for(page, "#adapt-compared", "sequence score")
    page.wait_for_selector("#adapt-compared-chart .main-svg")
    wait_for_value(page, "document.querySelector('#adapt-compared-chart .js-plotly-plot').data.length", 2)
    page.close()


def test_without_the_admins_token_there_is_only_looking(browser: "Browser", address: str) -> None:
    page = open_tab(browser, address)
    wait_for(page, "#adapt-who", "Choose a name")
    enter(page, "Ann", "")
    wait_for(page, "#adapt-who", "to train, an admin is needed")
    for part in ("#adapt-part-train-button", "#adapt-actions", "#adapt-log-fold", "#adapt-start"):
        assert page.locator(part).first.is_hidden()
    config = page.evaluate("window.gradio_config")
    ids = {one["props"].get("elem_id"): one["id"] for one in config["components"]}
    for button in ("adapt-pause", "adapt-cancel", "adapt-resume", "adapt-delete-run", "adapt-delete-both"):
        (wanted,) = (one for one in config["dependencies"] if [ids[button], "click"] in one["targets"])
        answer = page.evaluate(CALL, [button, [None for _ in wanted["inputs"]]])
        assert "Only an admin may do this; enter the" in answer
        assert "Traceback" not in answer
    with urlopen(f"{address}gradio_api/info", timeout=60) as answer:
        assert json.load(answer)["named_endpoints"] == {}, "no handler is a public endpoint"
    page.close()


def test_on_a_phone_nothing_is_wider_than_the_screen(browser: "Browser", address: str) -> None:
    page = open_tab(browser, address, 390)
    wait_until_it_fits(page)
    enter(page)
    for part in ("train", "compare", "runs"):
        page.click(f"#adapt-part-{part}-button[role=tab]")
        page.wait_for_selector(f"#adapt-part-{part}", state="visible")
        wait_until_it_fits(page)
    page.close()


def test_on_zero_gpu_there_is_the_command_instead(repository: Path, browser: "Browser", tmp_path: Path) -> None:
    arguments = ["-m", "tests.finetune.adapt_page", "PORT", str(tmp_path / "kept"), "zero"]
    with serving(repository, arguments, tmp_path / "log.txt", PACE) as address:
        page = open_tab(browser, address)
        page.click("#adapt-part-train-button[role=tab]")
        wait_for(page, "#adapt-zero", "Training does not fit on ZeroGPU")
        wait_for(page, ".adapt-command", "--out adapters/gazevlm-nano-adapted-1")
        unfold(page, "changed", "epochs")
        page.fill("#adapt-epochs input", "3")
        wait_for(page, ".adapt-command", "--epochs 3.0")
        assert page.locator("#adapt-start").is_hidden()
        enter(page)
        wait_for(page, "#adapt-counts", "Chosen: 12 scanpaths on 9 images")
        page.click("#adapt-project input")
        page.get_by_role("option", name="Tubes & lines").click()
        wait_for(page, "#adapt-counts", "Chosen: 3 scanpaths on 2 images")
        wait_for(page, "#adapt-estimate", "Choose the project “Tubes & lines” there first")
        assert "with “those of the project that is chosen above”" in page.inner_text("#adapt-estimate")
        page.close()
