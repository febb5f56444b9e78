"""What the page keeps of its visitors, and what it says, to them and in the log, where something goes wrong."""

import asyncio
import errno
import json
import logging
import math
import pickle
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from PIL import Image

from web import blocks as page_ui
from web import error_log as troubles
from web.blocks import MODEL_QUEUE, Page, Session
from web.error_log import UNEXPECTED, OncePerKind, brief, log_error
from web.page import FAILED, SESSIONS, Tab, build_page, launch_options, remembered, run_busily, show_errors

SIDE_PX, VISITORS, MOST_BYTES = 1500, 4, 40_000
HOSTILE = "x\n\x1b[31mERROR: all is lost\u202e" + "y" * 5000


@pytest.fixture
def uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "gradio"
    folder.mkdir()
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(folder))
    return folder


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], str]]:
    troubles._counts.clear()
    with caplog.at_level(logging.ERROR):
        yield lambda: "\n".join(record.getMessage() for record in caplog.records)
    troubles._counts.clear()


def send(page: gr.Blocks, event: Any, values: list[Any], session: str = "one") -> dict[str, Any]:
    """An event as if a browser had sent it."""
    holder = page.app.state_holder
    return asyncio.run(page.process_api(event, values, state=holder[session], session_hash=session))


def handler(page: gr.Blocks, name: str) -> Any:
    return next(call for call in page.fns.values() if getattr(call.fn, "__name__", "") == name)


def one_handler(work: Callable[..., Any], *inputs: gr.components.Component) -> tuple[Page, Any]:
    """A page with one handler, and the handler."""
    made: list[gr.components.Component] = []

    def fill(_page: gr.Blocks) -> None:
        made.extend(component.render() for component in inputs)
        gr.Button().click(work, made, gr.Textbox())

    page = build_page([Tab("Only", "only", fill)])
    assert isinstance(page, Page)
    return page, next(call for call in page.fns.values() if call.fn is not None)


def test_what_is_remembered_of_many_visitors_of_evaluate_is_small(uploads: Path) -> None:
    from evaluate.tab.page import evaluate_tab
    from tests.annotate.annotate_page import Stubs, ask

    looked_at: list[tuple[int, int]] = []

    def looking(name: str, image: Image.Image, *rest: Any) -> Any:
        looked_at.append(image.size)
        return ask(name, image, *rest)

    page = build_page([evaluate_tab(Stubs(), looking)])
    image, readings = uploads / "chest.png", uploads / "readings.jsonl"
    Image.new("L", (SIDE_PX, SIDE_PX), 90).save(image)
    readings.write_text(json.dumps({"image_id": "chest", "reader": "r", "x": [0.1, 0.5], "y": [0.1, 0.5]}))
    files = [{"path": str(path), "meta": {"_type": "gradio.FileData"}} for path in (image, readings)]
    for number in range(VISITORS):
        send(page, handler(page, "_use"), list(files), f"visitor {number}")
        send(page, handler(page, "_predict"), [None, "stub", "r"], f"visitor {number}")
    assert looked_at == [(SIDE_PX, SIDE_PX)] * VISITORS, "the model sees the whole image all the same"
    sessions = page.app.state_holder.session_data
    assert len(sessions) == VISITORS
    for session in sessions.values():
        assert isinstance(session, Session)
        assert 0 < len(pickle.dumps(session.state_data)) < MOST_BYTES, "an image of 1500 by 1500 px has 7 MB"
        assert session.config_values == {}


def test_a_report_is_remembered_by_its_place(uploads: Path) -> None:
    from evaluate.tab.page import evaluate_tab, shipped_reports
    from tests.annotate.annotate_page import Stubs, ask

    page = build_page([evaluate_tab(Stubs(), ask)])
    name = next(iter(shipped_reports()))
    send(page, handler(page, "_pick"), [[name], None])
    assert len(pickle.dumps(page.app.state_holder["one"].state_data)) < 1000
    with pytest.raises(gr.Error, match="No report is shown any more"):
        send(page, handler(page, "_chart"), [None, None], "another")


def test_no_value_that_was_sent_or_shown_is_kept_with_the_session() -> None:
    secret = "a token that nobody else may see"
    page, click = one_handler(lambda text: text.upper(), gr.Textbox())
    assert send(page, click, [secret])["data"] == [secret.upper()]
    session = page.app.state_holder["one"]
    kept = json.dumps([session.config_values, list(session.components), list(session.state_data)], default=str)
    assert secret not in kept
    assert secret.upper() not in kept


def test_states_end_and_sessions_are_few() -> None:
    page, _ = one_handler(lambda state, _text: state, remembered(), gr.Textbox())
    (state,) = (block for block in page.blocks.values() if isinstance(block, gr.State))
    assert 3600 <= state.time_to_live < 24 * 3600
    assert launch_options(page)["state_session_capacity"] == SESSIONS <= 1000


def test_every_state_of_the_project_ends(repository: Path) -> None:
    """`remembered` makes them all."""
    import ast

    made = [
        f"{path.relative_to(repository)}:{node.lineno}"
        for folder in ("annotate", "diagnose", "evaluate", "finetune", "web")
        for path in sorted((repository / folder).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("gr.State", "gr.BrowserState")
    ]
    assert [place.split(":")[0] for place in made] == ["web/page.py"]


def test_an_error_that_nobody_foresaw_is_one_sentence_and_one_traceback(logged: Callable[[], str]) -> None:
    def fails(text: str) -> str:
        raise KeyError(text)

    page, click = one_handler(fails, gr.Textbox())
    for _ in range(12):
        with pytest.raises(gr.Error) as error:
            send(page, click, [HOSTILE])
        assert (error.value.message, error.value.print_exception) == (UNEXPECTED, False)
    said = logged()
    assert said.count("in fails") == 1
    assert "again, 10 times so far" in said
    assert "all is lost" in said, "the beginning helps"
    assert all(sign not in said for sign in ("\x1b", "\u202e", "y" * 300))
    assert "\nERROR" not in said


def test_what_was_only_sent_wrongly_is_not_in_the_log(
    logged: Callable[[], str], capsys: pytest.CaptureFixture[str]
) -> None:
    page, click = one_handler(show_errors(lambda *_: ""), gr.Slider(0, 1), gr.Dropdown(["a"]), gr.Number(minimum=0))
    for values in ([7, "a", 1], [0.5, HOSTILE, 1], [0.5, "a", HOSTILE], [{}, [], {}], [0.5, {"a": HOSTILE}, 1], []):
        with pytest.raises(gr.Error, match="reload the page") as error:
            send(page, click, list(values))
        assert not error.value.print_exception
        assert len(error.value.message) < 500
        assert "\n" not in error.value.message
    assert logged() == ""
    assert capsys.readouterr().err == ""


def test_a_full_disk_is_no_fault_of_what_was_sent(
    logged: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    page, click = one_handler(lambda text: text, gr.Textbox())
    monkeypatch.setattr(gr.Textbox, "preprocess", full)
    with pytest.raises(gr.Error) as error:
        send(page, click, ["right"])
    assert error.value.message == UNEXPECTED
    assert "No space left on device" in logged()


def test_sentences_to_the_page_never_hold_a_text_at_length() -> None:
    def refuses(text: str) -> str:
        raise ValueError(f"There is no {text}.")

    page, click = one_handler(show_errors(refuses), gr.Textbox())
    with pytest.raises(gr.Error) as error:
        send(page, click, [HOSTILE])
    assert len(error.value.message) < 1500
    assert "\x1b" not in error.value.message


def test_the_servers_own_loggers_are_brief(logged: Callable[[], str]) -> None:
    filters = [one for one in logging.getLogger("uvicorn.error").filters if isinstance(one, OncePerKind)]
    assert len(filters) == 1, "building a page again adds none"

    def record() -> logging.LogRecord:
        try:
            raise RuntimeError(HOSTILE)
        except RuntimeError as error:
            told_of = (RuntimeError, error, error.__traceback__)
        return logging.LogRecord("uvicorn.error", logging.ERROR, "", 0, "Exception in ASGI application\n", (), told_of)

    first, again = record(), record()
    assert filters[0].filter(first)
    assert not filters[0].filter(again)
    assert first.exc_info is None
    assert "RuntimeError: x\\n" in first.getMessage()
    assert len(first.getMessage()) < 2000


def test_a_chain_of_errors_is_told_from_its_beginning(logged: Callable[[], str]) -> None:
    try:
        try:
            raise OSError("first")
        except OSError as error:
            raise TypeError("then") from error
    except TypeError as error:
        error.__cause__.__cause__ = error  # a circle ends
        log_error(error)
    assert logged().index("OSError: first") < logged().index("TypeError: then")


def test_brief() -> None:
    assert brief("a b") == "a b"
    assert brief("a\nb\x00\u202e") == r"a\nb\x00\u202e"
    assert brief("y" * 300) == "y" * 200 + "... (300 characters)"
    assert math.isclose(len(brief("\n" * 10**6)), 400, abs_tol=40)


def test_answers_leave_the_disk_its_reserve(uploads: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(text: str) -> str:
        asked.append(text)
        return text

    page, call = one_handler(answer, gr.Textbox())
    call.concurrency_id = MODEL_QUEUE
    free = page_ui.RESERVE_BYTES + 1
    monkeypatch.setattr(page_ui.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    assert send(page, call, ["a"])["data"] == ["a"]
    free = page_ui.RESERVE_BYTES
    with pytest.raises(gr.Error, match="disk is almost full"):
        send(page, call, ["b"])
    call.concurrency_id = "small"
    assert send(page, call, ["c"])["data"] == ["c"], "what keeps nothing of its own goes on"
    assert asked == ["a", "c"]


def test_a_busy_button_is_free_again_whatever_came_of_the_work(uploads: Path) -> None:
    def fill(_page: gr.Blocks) -> None:
        line, button, result = gr.HTML(), gr.Button(), gr.Textbox()
        run_busily(button.click, [button], line, "At work", lambda: "done", None, [result], concurrency_limit=1)

    page = build_page([Tab("Only", "only", fill)])
    begun, work, succeeded, failed = (call for call in page.fns.values() if call.fn is not None)
    said = {call: send(page, call, [])["data"] for call in (begun, work, succeeded, failed)}
    assert said[work] == ["done"]
    buttons = [said[call][1]["interactive"] for call in (begun, succeeded, failed)]
    assert buttons == [False, True, True]
    assert "At work" in said[begun][0]
    assert FAILED in said[failed][0]
    assert "value" not in str(said[succeeded][0]), "what the work wrote stays"
    assert (succeeded.trigger_only_on_success, failed.trigger_only_on_failure) == (True, True)


def test_a_step_of_a_stream_leaves_what_the_step_before_gave_to_the_page() -> None:
    """Gradio's script edits the object of the step before in place; a busy page has not shown that one yet."""
    skipped = {"__type__": "update"}
    steps = [["", {"paths": []}], ["", {"paths": [1]}], ["One", skipped], ["One word", skipped], ["Another", [1]]]
    page, call = build_page([Tab("Only", "only", lambda _page: None)]), SimpleNamespace(outputs=[0, 0])
    given: list[list[Any]] = []
    for step in steps:
        sent = page.handle_streaming_diffs(call, list(step), "one", "run", final=False)
        edited = [_edit(value, edits) for value, edits in zip(given[-1], sent, strict=True)] if given else sent
        given.append(edited)
    assert given == steps
    assert sent == [[["replace", [], "Another"]], [["replace", [], [1]]]]
    assert page.handle_streaming_diffs(call, [None, None], "one", "run", final=True) == steps[-1]


def _edit(value: Any, edits: list[Any]) -> Any:
    """What Gradio's script makes of a value that the page holds."""
    for action, path, new in edits:
        if not path:
            value = value + new if action == "append" else new
            continue
        place = value
        for key in path[:-1]:
            place = place[key]
        if action == "delete":
            del place[path[-1]]
        elif action == "add" and isinstance(place, list):
            place.insert(path[-1], new)
        else:
            place[path[-1]] = place[path[-1]] + new if action == "append" else new
    return value


def test_a_page_is_closed_from_another_thread_than_its_servers() -> None:
    from web.server import StopEvent

    stop = StopEvent()

    async def visitor() -> None:
        threading.Timer(0.1, stop.set).start()  # asyncio's own would not even wake the loop
        await asyncio.wait_for(stop.wait(), 20)

    asyncio.run(visitor())
    assert stop.is_set()
    stop.set()  # its loop is closed
    page = build_page([Tab("One", "one", lambda page: None)])
    assert isinstance(launch_options(page)["_app"].stop_event, StopEvent)
