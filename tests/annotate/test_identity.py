"""Who may do what: claims are never believed as they are, on a Space and elsewhere."""

import base64
import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import itsdangerous
import pytest
from fastapi.testclient import TestClient

from annotate.identity import LIMITS, LOGIN, LONGEST_NAME, NAME_COOKIE, NEIGHBOURS, Claim, Gate, NotAllowed
from annotate.settings import AnnotateSettings, AnnotateSettingsError

TOKEN, REVIEW_TOKEN = "a" * 20, "r" * 20
SPACE = AnnotateSettings(admins=frozenset({"ada"}), reviewers=frozenset({"rosa"}), on_space=True)
LOCAL = AnnotateSettings(admins=frozenset({"ada"}), admin_token=TOKEN, reviewer_token=REVIEW_TOKEN)
SPACE_ENVIRONMENT = {"SYSTEM": "spaces", "SPACE_ID": "a/b", "OAUTH_CLIENT_SECRET": "s"}
NOBODY = Claim(None, "", "", "10.0.0.1")


def gate(settings: AnnotateSettings) -> Gate:
    return Gate(settings, lambda name: f"p-{name}")


def test_on_a_space_the_hubs_login_alone_names_somebody() -> None:
    space = gate(SPACE)
    with pytest.raises(NotAllowed, match="Log in with your Hugging Face account"):
        space.visitor(replace(NOBODY, name="ada"))
    ada = space.visitor(replace(NOBODY, login="Ada", name="somebody else"))
    assert (ada.name, ada.pseudonym, ada.verified) == ("Ada", "p-hub:ada", True)
    assert ada.roles == {"annotator", "reviewer", "admin"}
    assert space.visitor(replace(NOBODY, login="rosa")).roles == {"annotator", "reviewer"}
    assert space.visitor(replace(NOBODY, login="eve")).roles == {"annotator"}
    assert LOGIN.endswith("tab.")


def test_elsewhere_a_login_is_never_believed_and_names_give_no_role() -> None:
    local = gate(LOCAL)
    with pytest.raises(NotAllowed, match="Choose a name first"):
        local.visitor(replace(NOBODY, login="ada"))
    ada = local.visitor(replace(NOBODY, login="ada", name="ada"))
    assert (ada.roles, ada.verified, ada.pseudonym) == ({"annotator"}, False, "p-local:ada")


def test_tokens_give_roles() -> None:
    local = gate(LOCAL)
    assert local.visitor(replace(NOBODY, name="a", token=TOKEN)).roles == {"annotator", "reviewer", "admin"}
    assert local.visitor(replace(NOBODY, name="a", token=REVIEW_TOKEN)).roles == {"annotator", "reviewer"}
    with pytest.raises(NotAllowed, match="gives no role"):
        local.visitor(replace(NOBODY, name="a", token=TOKEN[:-1]))
    no_tokens = gate(replace(LOCAL, admin_token="", reviewer_token=""))
    with pytest.raises(NotAllowed, match="gives no role"):
        no_tokens.visitor(replace(NOBODY, name="a", token=TOKEN))


def test_tokens_cannot_be_tried_without_end() -> None:
    local = gate(LOCAL)
    for attempt in range(LIMITS["token"].amount):
        with pytest.raises(NotAllowed, match="gives no role"):
            local.visitor(replace(NOBODY, name=f"name {attempt}", token="wrong" * 4))
    for token in ("wrong" * 4, TOKEN):
        with pytest.raises(NotAllowed, match="Too many wrong tokens"):
            local.visitor(replace(NOBODY, name="a", token=token))
    assert local.visitor(replace(NOBODY, name="a")).roles == {"annotator"}, "without a token nothing is in the way"
    elsewhere = replace(NOBODY, name="a", token=TOKEN, address="10.0.0.2")
    assert "admin" in local.visitor(elsewhere).roles


@pytest.mark.parametrize("role", ["reviewer", "admin"])
def test_roles_are_asked_for_at_the_gate(role: str) -> None:
    claim = replace(NOBODY, name="eve", login="eve")
    with pytest.raises(NotAllowed, match=f"Only an? {role} may do this; ask whoever runs this Space"):
        gate(SPACE).admit(claim, "review", role)
    with pytest.raises(NotAllowed, match=f"Only an? {role} may do this; enter the {role}'s token"):
        gate(LOCAL).admit(claim, "review", role)
    assert gate(LOCAL).admit(replace(claim, token=TOKEN), "review", role).name == "eve"


def test_rates_are_limited_by_person_and_off_a_space_by_address() -> None:
    local, claim = gate(LOCAL), replace(NOBODY, name="quick")
    for _ in range(LIMITS["submit"].amount):
        local.admit(claim, "submit")
    with pytest.raises(NotAllowed, match=r"too often \(60 in one minute\); wait a moment\. Nothing is lost"):
        local.admit(claim, "submit")
    local.admit(claim, "read")  # another action has a count of its own
    for number in range((NEIGHBOURS - 1) * LIMITS["submit"].amount - 1):  # many names from one place
        local.admit(replace(claim, name=f"name {number}"), "submit")
    with pytest.raises(NotAllowed, match="wait a moment"):
        local.admit(replace(claim, name="one more"), "submit")
    local.admit(replace(claim, name="other", address="10.0.0.2"), "submit")
    asked: list[str] = []
    crowded = Gate(LOCAL, lambda name: asked.append(name) or name)
    for number in range(NEIGHBOURS * LIMITS["upload"].amount + 50):
        with suppress(NotAllowed):
            crowded.admit(replace(claim, name=f"name {number}"), "upload")
    assert len(asked) == NEIGHBOURS * LIMITS["upload"].amount, "no more names reach the store"
    space, visitor = gate(SPACE), replace(NOBODY, login="quick")
    for _ in range(LIMITS["submit"].amount):
        space.admit(visitor, "submit")
    space.admit(replace(visitor, login="other"), "submit")  # the proxy's address counts for nobody
    with pytest.raises(NotAllowed, match="wait a moment"):
        space.admit(visitor, "submit")


@pytest.mark.parametrize("name", ["", " ", "x" * (LONGEST_NAME + 1), "a\nb", "a\u202eb", "a\u00a0b", "\x00"])
def test_names_that_cannot_be_used(name: str) -> None:
    with pytest.raises(NotAllowed, match=r"name"):
        gate(LOCAL).visitor(replace(NOBODY, name=name))


def test_the_same_name_in_other_letters_is_the_same_person() -> None:
    local = gate(LOCAL)
    spellings = ("Zo\u00eb", "Zoe\u0308", " zo\u00eb ")
    assert len({local.visitor(replace(NOBODY, name=name)).pseudonym for name in spellings}) == 1


def test_settings_from_the_environment() -> None:
    assert AnnotateSettings.from_environment(SPACE_ENVIRONMENT).admin_token == ""
    for missing in SPACE_ENVIRONMENT:
        given = {name: value for name, value in SPACE_ENVIRONMENT.items() if name != missing}
        assert not AnnotateSettings.from_environment(given).on_space, "the login there would be a pretended one"
    local = AnnotateSettings.from_environment({"SPACE_ID": "a/b", "GAZEVLM_ADMINS": " Ada, bob ,"})  # no login there
    assert (local.on_space, local.token_is_new, len(local.admin_token) > 16) == (False, True, True)
    assert local.admins == {"ada", "bob"}
    assert local.admin_token not in repr(local)
    assert AnnotateSettings.from_environment({"GAZEVLM_FINDINGS": "Hiatal hernia ,,"}).findings == ("hiatal hernia",)
    given = AnnotateSettings.from_environment({"GAZEVLM_ADMIN_TOKEN": TOKEN, "GAZEVLM_QUOTA": "3"})
    assert (given.admin_token, given.token_is_new, given.quota) == (TOKEN, False, 3)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"GAZEVLM_ADMIN_TOKEN": "short"}, "too easy to guess"),
        ({"GAZEVLM_ADMIN_TOKEN": TOKEN, "GAZEVLM_REVIEWER_TOKEN": TOKEN}, "must differ"),
        ({"GAZEVLM_SYNC_REPO": "a/b"}, "needs GAZEVLM_PSEUDONYM_KEY"),
        ({"GAZEVLM_PSEUDONYM_KEY": TOKEN, "GAZEVLM_ADMIN_TOKEN": TOKEN}, "must differ"),
        ({"GAZEVLM_FINDINGS": "hiatal hernia, edema"}, "names 'edema'; give names that are new"),
        ({"GAZEVLM_FINDINGS": ",".join(f"finding {n}" for n in range(21))}, "at most 20"),
        ({"GAZEVLM_GOLD_SHARE": "nan"}, "give a share from 0 to 1"),
        ({"GAZEVLM_REPEAT_SHARE": "a tenth"}, "give a share from 0 to 1"),
        ({"GAZEVLM_GOLD_SHARE": "0.97"}, "shares of one whole"),
        ({"GAZEVLM_STARTERS": "yes"}, "give 0 or 1"),
        ({"GAZEVLM_QUOTA": "0"}, "whole number from 1"),
        ({"GAZEVLM_QUOTA": "many"}, "whole number from 1"),
    ],
)
def test_settings_that_cannot_be_used(environment: dict[str, str], message: str) -> None:
    with pytest.raises(AnnotateSettingsError, match=message):
        AnnotateSettings.from_environment(environment)


def test_a_request_says_who_made_it_by_the_session_on_a_space_and_by_the_cookie_elsewhere() -> None:
    request = SimpleNamespace(
        cookies={NAME_COOKIE: "Zo%C3%AB  B"},
        client=SimpleNamespace(host="10.0.0.3"),
        session={"oauth_info": {"userinfo": {"preferred_username": "ada"}}},
    )
    assert gate(SPACE).claim(request) == Claim("ada", "Zo\u00eb  B", "", "10.0.0.3")
    local = gate(LOCAL)
    assert local.claim(request, "t") == Claim(None, "Zo\u00eb  B", "t", "10.0.0.3")
    assert local.visitor(local.claim(request)).name == "Zo\u00eb B"
    nobody = SimpleNamespace(cookies={}, client=None, session={})
    assert gate(SPACE).claim(nobody) == Claim(None, "", "", "")
    assert (gate(SPACE).asks_name, local.asks_name) == (False, True)


@pytest.fixture
def space_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """The Teach tab as a Space serves it, with Gradio's own login; nobody is asked at the Hub."""
    import gradio.oauth
    from gradio.routes import App

    from annotate.service import AnnotationService
    from annotate.store.store import AnnotationStore
    from annotate.tab.ui import annotate_tab
    from frame.ui import build_page
    from tests.annotate.annotate_page import Stubs, ask

    for name, value in {**SPACE_ENVIRONMENT, "OAUTH_CLIENT_ID": "id", "OAUTH_SCOPES": "openid profile"}.items():
        monkeypatch.setenv(name, value)
        if name.startswith("OAUTH"):
            monkeypatch.setattr(gradio.oauth, name, value)
    monkeypatch.setattr(gradio.oauth, "OPENID_PROVIDER_URL", "https://hub.invalid")
    store = AnnotationStore.open(tmp_path)
    local = Gate(AnnotateSettings.from_environment(SPACE_ENVIRONMENT), store.pseudonym)
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
