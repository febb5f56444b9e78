"""Who is logged in on a Space: what the Teach tab believes of Gradio's signed session."""

import base64
import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import itsdangerous
import pytest
from fastapi.testclient import TestClient

from web.identity import LOGIN, NAME_COOKIE, Gate
from web.settings import Settings

SPACE_ENVIRONMENT = {"SYSTEM": "spaces", "SPACE_ID": "a/b", "OAUTH_CLIENT_SECRET": "s"}


@pytest.fixture
def space_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """The Teach tab as a Space serves it, with Gradio's own login; nobody is asked at the Hub."""
    import gradio.oauth
    from gradio.routes import App

    from annotate.store.store import AnnotationStore
    from annotate.tab.page import annotate_tab
    from annotate.tab.service import AnnotationService
    from tests.annotate.annotate_page import Stubs, ask
    from web.page import build_page

    for name, value in {**SPACE_ENVIRONMENT, "OAUTH_CLIENT_ID": "id", "OAUTH_SCOPES": "openid profile"}.items():
        monkeypatch.setenv(name, value)
        if name.startswith("OAUTH"):
            monkeypatch.setattr(gradio.oauth, name, value)
    monkeypatch.setattr(gradio.oauth, "OPENID_PROVIDER_URL", "https://hub.invalid")
    store = AnnotationStore.open(tmp_path)
    local = Gate(Settings.from_environment(SPACE_ENVIRONMENT), store.pseudonym)
    page = build_page([annotate_tab(AnnotationService(store, Stubs(), ask, local))])
    with TestClient(App.create_app(page), base_url="https://space.invalid") as client:
        yield client
    store.close()


def signed_cookie(secret: str, expires_at: float) -> str:
    """As Starlette signs a session for Gradio."""
    key = hashlib.sha256(f"{secret}-v4".encode()).hexdigest()
    values = {"oauth_info": {"userinfo": {"preferred_username": "Ada"}, "expires_at": expires_at}}
    return itsdangerous.TimestampSigner(key).sign(base64.b64encode(json.dumps(values).encode())).decode()


def test_a_space_knows_who_is_logged_in_by_gradios_signed_session_alone(space_page: TestClient) -> None:
    components = space_page.get("/config").json()["components"]
    number = next(one["id"] for one in components if one["props"].get("elem_id") == "teach-canvas")
    assert any(one["props"].get("elem_id") == "teach-login" for one in components), "a button to log in"

    def begin(session: str) -> dict[str, Any]:
        space_page.cookies.clear()
        space_page.cookies.set("session", session)
        space_page.cookies.set(NAME_COOKIE, "Eve")
        body = {"data": {}, "component_id": number, "fn_name": "teach_begin", "session_hash": "s"}
        answer: dict[str, Any] = space_page.post("/gradio_api/component_server/", json=body).json()["ok"]
        return answer

    later = time.time() + 3600
    ada = begin(signed_cookie("s", later))
    assert (ada["asks_name"], ada["person"]["name"]) == (False, "Ada")
    for session in ("", signed_cookie("another secret", later), signed_cookie("s", time.time() - 1)):
        nobody = begin(session)
        assert (nobody["person"], nobody["problem"]) == (None, LOGIN)
