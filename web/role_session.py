"""A role that a token gave, kept in a cookie that no script reads, so that nobody types a token after each reload.

The page hands the token over once, when it was taken; the answer sets the cookie. It holds the role, until when, and a
signature whose key follows from the token: with another token, every session of the old one is over. The server keeps
nothing. Other sites cannot use it: the guard refuses their requests, and browsers do not send it with them.
"""

import hmac
import time
from collections.abc import Mapping
from hashlib import sha256
from typing import Literal

from web.guard import API, Asgi, Message, Receive, Scope, Send, refuse, route_of
from web.settings import Settings

TokenRole = Literal["admin", "reviewer"]
ROLE_COOKIE = "gazevlm_role"
ROUTE = f"{API}/session"
SESSION_S = 12 * 3600
LONGEST_SESSION, LONGEST_TOKEN = 200, 500
NO_ROLE = "This token gives no role."


def tokens_of(settings: Settings) -> Mapping[TokenRole, str]:
    """Return the tokens that are set, by role."""
    tokens: dict[TokenRole, str] = {
        "admin": settings.admin_token.get_secret_value(), "reviewer": settings.reviewer_token.get_secret_value(),
    }  # fmt: skip
    return {role: token for role, token in tokens.items() if token}


def matching_tokens(settings: Settings, given: bytes) -> Mapping[TokenRole, str]:
    """Return the tokens that are the given one, by role, the higher one first; each is compared in constant time."""
    digest = sha256(given).digest()  # of one length for all, so that a comparison does not tell that of the right token
    return {
        role: token for role, token in tokens_of(settings).items()
        if hmac.compare_digest(digest, sha256(token.encode("utf-8", "replace")).digest())
    }  # fmt: skip


def sign(role: TokenRole, token: str, until: int) -> str:
    """Return the session of a role until a time, in s since 1970."""
    key = sha256(b"role session " + token.encode()).digest()
    return f"{role}.{until}.{hmac.new(key, f'{role}.{until}'.encode(), sha256).hexdigest()}"


def role_of(settings: Settings, session: str) -> TokenRole | None:
    """Return the role of a session; None where it is no session of ours, or over."""
    role, _, rest = session[:LONGEST_SESSION].partition(".")
    until = rest.partition(".")[0]
    if not (until.isascii() and until.isdigit() and len(until) < 16 and int(until) > time.time()):
        return None
    for known, token in tokens_of(settings).items():
        right = sign(known, token, int(until))
        if role == known and hmac.compare_digest(session.encode(errors="replace"), right.encode()):
            return known
    return None


class RoleSessions:
    """Answers POST /gradio_api/session: a body with a right token sets the cookie, an empty one takes it away.

    Args:
        app: the page, for all other requests.
        settings: that have the tokens.
    """

    def __init__(self, app: Asgi, settings: Settings) -> None:
        self.app, self.settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        if scope["type"] != "http" or route_of(scope) != ROUTE or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        message: Message = await receive()  # the guard has read and bounded it
        given = message.get("body", b"")[: LONGEST_TOKEN + 1]
        right, until = matching_tokens(self.settings, given), int(time.time()) + SESSION_S
        session = next((sign(role, token, until) for role, token in right.items()), "")  # of the higher role
        if given and not session:
            await refuse(scope, send, 403, NO_ROLE)
            return
        parts = [f"{ROLE_COOKIE}={session}", "Path=/", f"Max-Age={SESSION_S if session else 0}", "HttpOnly"]
        parts += ["SameSite=Strict", *(["Secure"] if scope.get("scheme") == "https" else [])]
        headers = [(b"set-cookie", "; ".join(parts).encode()), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 204, "headers": headers})
        await send({"type": "http.response.body", "body": b""})
