"""A token that was typed on the page is used, and neither kept by the server nor given out again."""

import asyncio
import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from web.identity import NAME_COOKIE
from web.page import build_page


@pytest.fixture(params=["annotations", "adapt"])
def page_and_token(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[gr.Blocks, str]]:
    if request.param == "adapt":
        from finetune.tab.page import adapt_tab
        from tests.finetune.adapt_maker import ADMIN_TOKEN, make_service

        yield build_page([adapt_tab(make_service(adapters=tmp_path))]), ADMIN_TOKEN
        return
    from annotate.dashboard.page import dashboard_tab
    from tests.annotate.dashboard_maker import ADMIN_TOKEN as TOKEN
    from tests.annotate.dashboard_maker import make_service as make_dashboard
    from tests.annotate.filled_store import open_store

    store = open_store(tmp_path)
    yield build_page([dashboard_tab(make_dashboard(store, tmp_path))]), TOKEN
    store.close()


def test_a_token_is_neither_kept_nor_given_out(
    page_and_token: tuple[gr.Blocks, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    page, token = page_and_token
    request: Any = SimpleNamespace(
        cookies={NAME_COOKIE: "Root"}, client=SimpleNamespace(host="10.0.0.9"), session={}, username=None
    )
    click = next(
        call for call in page.fns.values() if getattr(call.fn, "__name__", "") == "_enter"
        and any(event == "click" for _, event in call.targets)
    )  # fmt: skip
    inputs = [block.value for block in click.inputs]
    inputs[:2] = ["Root", token]
    holder = page.app.state_holder
    answer = asyncio.run(page.process_api(click, inputs, state=holder["one"], session_hash="one", request=request))
    given = json.dumps(answer["data"], default=str)
    assert "an admin" in given, "the token was taken"
    assert token not in given
    session = holder["one"]
    assert token not in json.dumps(session.config_values, default=str)
    assert token.encode() not in pickle.dumps(session.state_data)
    assert all(token not in str(block.constructor_args) for block in session.blocks_config.blocks.values())


def test_what_was_not_refused_is_noted_in_the_browser_alone(page_and_token: tuple[gr.Blocks, str]) -> None:
    """No function of the server has the kept token among its outputs."""
    page, _ = page_and_token
    kept = {
        block for call in page.fns.values() for block in call.outputs
        if call.fn is None and "GazeName.tried" in str(call.js)
    }  # fmt: skip
    assert len(kept) == 1
    assert not [call for call in page.fns.values() if call.fn is not None and kept & set(call.outputs)]
