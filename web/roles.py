"""Who has which role, and where people log in: environment variables, checked before anything is opened."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

ADMINS_VARIABLE, REVIEWERS_VARIABLE = "GAZEVLM_ADMINS", "GAZEVLM_REVIEWERS"
ADMIN_TOKEN_VARIABLE, REVIEWER_TOKEN_VARIABLE = "GAZEVLM_ADMIN_TOKEN", "GAZEVLM_REVIEWER_TOKEN"
SPACE_VARIABLE, SYSTEM_VARIABLE, OAUTH_VARIABLE = "SPACE_ID", "SYSTEM", "OAUTH_CLIENT_SECRET"
SHORTEST_TOKEN = 16  # characters; shorter ones can be guessed
LEAST_NEW = 12  # of them that do not go on as those before did


class RoleSettingsError(ValueError):
    """A setting of the environment that cannot be used; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class RoleSettings:
    """What the gate goes by.

    Args:
        admins, reviewers: user names on the Hub, lower case; they count for those who are logged in there alone.
        admin_token, reviewer_token: give the role to whoever shows them; "" gives it to nobody.
        on_space: whether this is a Space whose visitors log in at the Hub.
        token_is_new: whether `admin_token` was made now, since nothing else would let anybody administer the store.
    """

    admins: frozenset[str] = frozenset()
    reviewers: frozenset[str] = frozenset()
    admin_token: str = field(default="", repr=False)
    reviewer_token: str = field(default="", repr=False)
    on_space: bool = False
    token_is_new: bool = False

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "RoleSettings":
        """Read the variables above; empty ones count as not set.

        Off a Space, a missing admin token is made anew: the name that somebody types there proves nothing.

        Raises:
            RoleSettingsError: a token that is too short, can be guessed, or is used twice.
        """
        values = {name: environment.get(name, "").strip() for name in (
            ADMINS_VARIABLE, REVIEWERS_VARIABLE, ADMIN_TOKEN_VARIABLE, REVIEWER_TOKEN_VARIABLE,
            SPACE_VARIABLE, SYSTEM_VARIABLE, OAUTH_VARIABLE,
        )}  # fmt: skip
        # All three, as Gradio asks for them: where one is missing, its login is a pretended one.
        on_space = values[SYSTEM_VARIABLE] == "spaces" and bool(values[SPACE_VARIABLE] and values[OAUTH_VARIABLE])
        admin, reviewer = values[ADMIN_TOKEN_VARIABLE], values[REVIEWER_TOKEN_VARIABLE]
        check_tokens({ADMIN_TOKEN_VARIABLE: admin, REVIEWER_TOKEN_VARIABLE: reviewer})
        new = not admin and not on_space
        return RoleSettings(
            admins=_names(values[ADMINS_VARIABLE]),
            reviewers=_names(values[REVIEWERS_VARIABLE]),
            admin_token=secrets.token_urlsafe(SHORTEST_TOKEN) if new else admin,
            reviewer_token=reviewer,
            on_space=on_space,
            token_is_new=new,
        )


def check_secrets(given: Mapping[str, str]) -> None:
    """Refuse secrets that protect nothing.

    Args:
        given: variable -> its value; "" where it is not set.

    Raises:
        RoleSettingsError: one is too short, or two are the same.
    """
    for name, secret in given.items():
        if secret and len(secret) < SHORTEST_TOKEN:
            raise RoleSettingsError(f"{name} is too easy to guess; give at least {SHORTEST_TOKEN} characters")
    known: dict[str, str] = {}
    for name, secret in given.items():
        if secret and known.setdefault(secret, name) != name:
            raise RoleSettingsError(f"{known[secret]} and {name} must differ")


def check_tokens(given: Mapping[str, str]) -> None:
    """Refuse tokens that somebody could guess who may try for years: nothing else stands in their way.

    Args:
        given: variable -> its value; "" where it is not set.

    Raises:
        RoleSettingsError: as `check_secrets`, or one repeats itself or counts up or down.
    """
    check_secrets(given)
    for name, token in given.items():
        if token and _new_signs(token) < LEAST_NEW:
            raise RoleSettingsError(
                f"{name} is too easy to guess: it repeats itself, or goes through the alphabet; give at least "
                f"{SHORTEST_TOKEN} characters by chance, such as {secrets.token_urlsafe(SHORTEST_TOKEN)}"
            )


def _new_signs(token: str) -> int:
    """Signs that are neither beside the last one in the alphabet, nor the end of three that came before."""
    token, threes, count = token.lower(), set(), 0
    for end, sign in enumerate(token):
        three = token[max(0, end - 2) : end + 1]
        beside = end > 0 and abs(ord(sign) - ord(token[end - 1])) <= 1
        count += not beside and (three not in threes)
        threes.add(three)
    return count


def _names(text: str) -> frozenset[str]:
    return frozenset(name.strip().lower() for name in text.split(",") if name.strip())
