"""Who somebody is and what they may do; asked by every handler for itself, since hiding a button protects nothing."""

import logging
import time
import unicodedata
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import unquote

from limits import RateLimitItem, RateLimitItemPerHour, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from web.guard import WebRequest, client_address
from web.role_session import LONGEST_SESSION, ROLE_COOKIE, matching_tokens, role_of
from web.settings import Settings

log = logging.getLogger(__name__)

Role = Literal["annotator", "reviewer", "admin"]
Action = Literal["read", "draft", "submit", "predict", "upload", "review", "administer", "train", "token"]
LONGEST_NAME = 40
NAME_COOKIE = "gazevlm_name"  # where the page keeps a chosen name; written by annotate/static/keep.js
NEIGHBOURS = 10  # people behind one address; behind a Space's proxy, all who are not logged in
CHOOSE_NAME = "Choose a name first; any will do. It is the same as in the Teach tab."
LOGIN = "Log in with your Hugging Face account first; the button is at the top of the tab."
# Per person and process. "draft": tasks and skips; "predict": a pass of the model; "train": starts, ends of trainings;
# "token": wrong ones.
LIMITS: Mapping[Action, RateLimitItem] = {
    "read": RateLimitItemPerMinute(240),
    "draft": RateLimitItemPerMinute(120),
    "submit": RateLimitItemPerMinute(60),
    "predict": RateLimitItemPerMinute(30),
    "upload": RateLimitItemPerHour(60),
    "review": RateLimitItemPerMinute(240),
    "administer": RateLimitItemPerMinute(120),
    "train": RateLimitItemPerHour(60),
    "token": RateLimitItemPerHour(30),
}
WRONG_TOKENS = RateLimitItemPerMinute(120)  # of everybody together, however many addresses they have
LOG_OF_THEM = RateLimitItemPerHour(1)  # in the log
TOO_MANY_TOKENS = (
    "Too many wrong tokens were tried; try again in an hour, or leave the token empty. The right one is taken at once."
)


class NotAllowed(ValueError):
    """Somebody may not do this, or not yet; the message says what to do."""


@dataclass(frozen=True)
class Claim:
    """What a request says of who made it. Nothing of it is believed as it is."""

    login: str | None  # user name of the Hub from the signed session; None where nobody is logged in
    name: str  # what was typed in the page
    token: str = field(repr=False)  # what was typed in the page; never shown, stored or logged
    address: str  # as `client_address` has it
    session: str = field(default="", repr=False)  # of a role that a token gave before; see `web.role_session`


@dataclass(frozen=True)
class Visitor:
    """Somebody as the server sees them."""

    name: str  # for the page alone
    pseudonym: str  # what everything that is stored or shown to others says
    roles: frozenset[Role]  # what they may do; everybody who has a name is an annotator
    verified: bool  # whether the Hub vouches for the name


@dataclass(frozen=True)
class Welcome:
    """Who opened a tab, as the server sees them."""

    visitor: Visitor | None  # None where nobody is named
    problem: str = ""  # what to do to be somebody; "" where there is nothing to do

    @property
    def roles(self) -> frozenset[Role]:
        """What they may do; nothing where nobody is named."""
        return self.visitor.roles if self.visitor else frozenset()


class Gate:
    """Decides who somebody is, and whether they may do something now.

    Args:
        settings: names and tokens.
        pseudonym: name -> pseudonym, the store's.
    """

    def __init__(self, settings: Settings, pseudonym: Callable[[str], str]) -> None:
        self.settings, self._pseudonym = settings, pseudonym
        self._rates = MovingWindowRateLimiter(MemoryStorage())

    @property
    def asks_name(self) -> bool:
        """Whether people choose a name in the page; on a Space they log in instead."""
        return not self.settings.on_space

    def claim(self, request: WebRequest, token: str = "") -> Claim:
        """Return what a request says of who made it.

        Args:
            request: any web request.
            token: what was typed in the page.
        """
        login = None
        if self.settings.on_space:
            login = _login_of(getattr(request, "request", request).session)  # Gradio's own request hides the session
        name = unquote(request.cookies.get(NAME_COOKIE, "")[: 12 * LONGEST_NAME])  # %XX for up to 4 bytes a character
        session = request.cookies.get(ROLE_COOKIE, "")[:LONGEST_SESSION]
        return Claim(login, name, token, client_address(request), session)

    def visitor(self, claim: Claim) -> Visitor:
        """Return who it is.

        On a Space, only a login at the Hub names anybody. Elsewhere Gradio offers a pretended login, which is never
        believed; the name is the one that was typed, and roles come from tokens alone.

        Raises:
            NotAllowed: nobody is named, the name cannot be used, or a token is wrong.
        """
        name = claim.login if self.settings.on_space else claim.name
        if not name:
            raise NotAllowed(LOGIN if self.settings.on_space else "Choose a name first; any will do.")
        name = checked_name(name)
        roles = {"annotator", *self._roles_of_token(claim)}
        if self.settings.on_space:
            roles |= {"admin"} if name.lower() in self.settings.admins else set()
            roles |= {"reviewer"} if name.lower() in self.settings.reviewers else set()
        if "admin" in roles:
            roles.add("reviewer")
        realm = "hub" if self.settings.on_space else "local"  # the same name elsewhere is somebody else
        return Visitor(name, self._pseudonym(f"{realm}:{name.lower()}"), frozenset(roles), self.settings.on_space)

    def admit(self, claim: Claim, action: Action, role: Role = "annotator") -> Visitor:
        """Return who it is, if they may do this now.

        Args:
            claim: what the request says.
            action: what they want, for the limits of rate.
            role: what it takes.

        Raises:
            NotAllowed: as in `visitor`, or they lack the role, or they were too quick.
        """
        shown = self._roles_of_token(claim)
        if not self.settings.on_space and not shown:  # first of all, since each new name makes a row in the store
            self._count(action, f"from {claim.address}", NEIGHBOURS)  # behind a Space's proxy all have one address
        visitor = self.visitor(claim)
        if role not in visitor.roles:
            raise NotAllowed(f"Only a{'n' if role == 'admin' else ''} {role} may do this; {self._how(role)}")
        # Who shows a token is counted apart: nobody else uses up their share under their name, or from their address.
        self._count(action, f"who {visitor.pseudonym} {' '.join(sorted(shown))}".rstrip())
        return visitor

    def welcome(self, claim: Claim) -> Welcome:
        """Return who opens a tab; a name without a token is an annotator.

        Raises:
            NotAllowed: a wrong token, a name that cannot be used, or too many requests.
        """
        if self._is_named(claim):
            return Welcome(self.admit(claim, "read"))
        self._count("read", f"from {claim.address}", NEIGHBOURS)
        return Welcome(None, CHOOSE_NAME if self.asks_name else LOGIN)

    def admit_anyone(self, claim: Claim) -> Visitor | None:
        """Let everybody read, though not too often; a name that cannot be used or a wrong token count as nobody.

        Raises:
            NotAllowed: too many requests.
        """
        if self._is_named(claim):
            with suppress(NotAllowed):
                return self.admit(claim, "read")  # counts before it makes anybody known to the store
        self._count("read", f"from {claim.address}", NEIGHBOURS)
        return None

    def _is_named(self, claim: Claim) -> bool:
        return bool(claim.name if self.asks_name else claim.login)

    def _count(self, action: Action, key: str, people: int = 1) -> None:
        limit = LIMITS[action]
        most = limit.amount * people
        if not self._rates.hit(type(limit)(most), action, key):
            period = "hour" if limit.get_expiry() > 60 else "minute"
            whose = " from your address" if people > 1 else ""
            raise NotAllowed(f"That was too often ({most} in one {period}{whose}); wait a moment. Nothing is lost.")

    def _roles_of_token(self, claim: Claim) -> set[Role]:
        """Return what a token gives; nothing where there is none.

        The right token passes at any time, whoever tried wrong ones from the same address: else anybody behind the same
        router could lock its owner out. So no limit stands between a guess and its answer, and it is the token that has
        to be beyond guessing: `web.settings` refuses another one at the start, and 16 characters by chance would take
        all the world's requests for longer than the world has. The limits are of the wrong ones that get an answer of
        their own, by address and of everybody together; and the latter are logged.

        Raises:
            NotAllowed: a wrong one.
        """
        if not claim.token:
            kept = role_of(self.settings, claim.session) if claim.session else None
            return {kept} if kept else set()
        right = matching_tokens(self.settings, claim.token.encode("utf-8", "replace"))
        if right:
            return {*right}
        by = f"who {claim.login}" if self.settings.on_space else f"from {claim.address}"
        of_all, of_them = self._rates.hit(WRONG_TOKENS, "token"), self._rates.hit(LIMITS["token"], "token", by)
        if not of_all and self._rates.hit(LOG_OF_THEM, "logged tokens"):
            log.warning("somebody is guessing tokens: more than %s wrong ones came in a minute", WRONG_TOKENS.amount)
        if not (of_all and of_them):
            raise NotAllowed(TOO_MANY_TOKENS)
        raise NotAllowed("This token gives no role; check it, or leave it empty to go on as an annotator.")

    def _how(self, role: Role) -> str:
        if self.settings.on_space:
            return f"ask whoever runs this Space to add your name to its {role}s."
        return f"enter the {role}'s token, which the program printed when it was started, or which its settings name."


def _login_of(session: object) -> str | None:
    """Return the user name that Gradio's login keeps in the signed session, unless the login has expired."""
    found = session.get("oauth_info") if isinstance(session, Mapping) else None
    expires_at = found.get("expires_at") if isinstance(found, Mapping) else None
    if isinstance(expires_at, int | float) and expires_at <= time.time():
        return None
    for key in ("userinfo", "preferred_username"):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, str) and found else None


def checked_name(name: str) -> str:
    """Return a name in its one form: NFC, without spaces around it, single ones inside.

    Raises:
        NotAllowed: empty, longer than LONGEST_NAME, or with characters that are not seen.
    """
    name = unicodedata.normalize("NFC", name).strip()
    if not 1 <= len(name) <= LONGEST_NAME:
        raise NotAllowed(f"A name has 1 to {LONGEST_NAME} characters; choose another.")
    if any(unicodedata.category(character)[0] in "CZ" and character != " " for character in name):
        raise NotAllowed("A name has letters, digits, signs and single spaces; choose another.")
    return " ".join(name.split())
