"""Whatever anybody sends to any handler of the page, there is one sentence, and no traceback in the log."""

import asyncio
import logging
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from web import error_log as troubles
from web.blocks import Session
from web.error_log import UNEXPECTED
from web.identity import LIMITS, NAME_COOKIE

TOKEN = "admin-token-of-the-test"  # what admins alone may send is fuzzed, too
DEEP: Any = []
for _ in range(900):
    DEEP = [DEEP]
VALUES: dict[str, Any] = {
    "null": None, "nan": float("nan"), "infinity": float("inf"), "huge": 10**400, "negative": -(10**12), "yes": True,
    "text": "x\n\0\ud800<b>" + "y" * 3000, "list": [1, "a", None], "object": {"a": [1], "path": "/etc/passwd"},
    "deep": DEEP, "file": {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}},
    "choices": [{}, [], None], "fraction": 1.5,
}  # fmt: skip


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[gr.Blocks]:
    from annotate.dashboard.page import dashboard_tab
    from annotate.tab.page import annotate_tab
    from annotate.tab.service import AnnotationService
    from evaluate.tab.page import evaluate_tab
    from finetune.tab.page import adapt_tab
    from tests.annotate.annotate_page import Stubs, ask
    from tests.annotate.dashboard_maker import make_service
    from tests.annotate.filled_store import fill, open_store
    from tests.finetune.adapt_maker import make_service as make_adapt
    from web.page import build_page

    folder = tmp_path_factory.mktemp("fuzz")
    store = open_store(folder)
    fill(store)
    dashboard = make_service(store, folder)
    teach = AnnotationService(store, Stubs(), ask, dashboard.gate)
    yield build_page([
        annotate_tab(teach), dashboard_tab(dashboard), adapt_tab(make_adapt(adapters=folder)),
        evaluate_tab(Stubs(), ask),
    ])  # fmt: skip
    store.close()


def is_token(block: object) -> bool:
    return isinstance(block, gr.Textbox) and (block.type == "password" or block.visible is False)


@pytest.mark.parametrize("name", VALUES)
def test_every_handler_takes_whatever_is_sent(
    page: gr.Blocks, name: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(troubles, "_counts", troubles.Counter())
    monkeypatch.setattr("web.identity.LIMITS", {key: type(limit)(10**6) for key, limit in LIMITS.items()})
    request: Any = SimpleNamespace(
        cookies={NAME_COOKIE: "Root"}, client=SimpleNamespace(host="10.0.0.9"), session={}, username=None,
        query_params={},
    )  # fmt: skip
    bad: list[str] = []
    caplog.set_level(logging.ERROR)
    for call in page.fns.values():
        if call.fn is None or call.cancels:
            continue
        values = [TOKEN if is_token(block) else VALUES[name] for block in call.inputs]
        try:
            asyncio.run(page.process_api(call, values, state=Session(page), session_hash="s", request=request))
        except gr.Error as error:
            if error.message == UNEXPECTED or "\n" in error.message or error.print_exception:
                bad.append(f"{call.name}: {error.message[:100]!r} from {error.__cause__!r:.200}")
    assert bad == []
    assert caplog.records == []

