"""A role in a signed cookie: given for a right token alone, read by no script, over with its time or its token."""

import asyncio
import time
from typing import Any

import pytest
from pydantic import SecretStr

from web.identity import Claim, Gate, NotAllowed
from web.page import build_page, launch_options
from web.role_session import ROLE_COOKIE, ROUTE, SESSION_S, RoleSessions, role_of, sign
from web.settings import Settings

ADMIN, REVIEWER = "an admin's token of the test", "a reviewer's token of it"
SETTINGS = Settings(admin_token=SecretStr(ADMIN), reviewer_token=SecretStr(REVIEWER))


def post(body: bytes, *, scheme: str = "http", method: str = "POST", path: str = ROUTE) -> tuple[int, dict[str, str]]:
    """Status and headers of what is answered; 418 where the request is passed on."""
    sent: list[Any] = []

    async def page(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 418, "headers": []})

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "path": path, "method": method, "scheme": scheme, "headers": []}
    asyncio.run(RoleSessions(page, SETTINGS)(scope, receive, send))
    return sent[0]["status"], {name.decode(): value.decode() for name, value in sent[0]["headers"]}


def test_a_right_token_gives_a_cookie_that_no_script_reads() -> None:
    for token, role in ((ADMIN, "admin"), (REVIEWER, "reviewer")):
        status, headers = post(token.encode())
        assert status == 204
        session, *marks = headers["set-cookie"].removeprefix(f"{ROLE_COOKIE}=").split("; ")
        assert {"HttpOnly", "SameSite=Strict", "Path=/", f"Max-Age={SESSION_S}"} == set(marks)
        assert role_of(SETTINGS, session) == role
        assert token not in session
    assert "Secure" in post(ADMIN.encode(), scheme="https")[1]["set-cookie"]
    assert post(b"")[1]["set-cookie"].startswith(f"{ROLE_COOKIE}=; Path=/; Max-Age=0"), "signed out"
    for wrong in (b"wrong", ADMIN.encode() + b"x", b"\xff" * 5000):
        status, headers = post(wrong)
        assert (status, "set-cookie" in headers) == (403, False)
    assert post(ADMIN.encode(), method="GET")[0] == post(b"", path="/config")[0] == 418


def test_nobody_makes_or_stretches_a_session() -> None:
    later = int(time.time()) + 60
    right = sign("reviewer", REVIEWER, later)
    assert role_of(SETTINGS, right) == "reviewer"
    forged = (
        "", "admin", right.replace("reviewer", "admin"), right.replace(str(later), str(later + 9)), right[:-1],
        sign("admin", REVIEWER, later), sign("reviewer", REVIEWER, int(time.time()) - 1), "reviewer.\u0663.x",
        f"reviewer.{'9' * 100}.x", "\udc80" * 9,
    )  # fmt: skip
    assert [role_of(SETTINGS, session) for session in forged] == [None] * len(forged)
    other = Settings(admin_token=SecretStr("another token, as long as needed"))
    assert role_of(other, right) is None, "the token was changed"
    assert role_of(other, sign("reviewer", "", later)) is None, "without a token there is no role"


def test_the_gate_takes_it_in_the_place_of_a_token() -> None:
    gate = Gate(SETTINGS, lambda name: name)
    session = sign("admin", ADMIN, int(time.time()) + 60)
    assert gate.admit(Claim(None, "Root", "", "1", session), "read", "admin").roles >= {"admin", "reviewer"}
    with pytest.raises(NotAllowed):
        gate.admit(Claim(None, "Root", "", "1", session + "0"), "read", "admin")
    assert session not in repr(Claim(None, "Root", "", "1", session))


def test_the_page_knows_the_same_tokens_as_its_gate() -> None:
    """Also one that was made at the start, which no environment names."""
    made = Settings()
    assert made.token_is_new
    served = launch_options(build_page([]), made)["_app"]
    assert served.role_settings is made
