"""What Teach is started with: environment variables, checked before anything is opened."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

DATA_VARIABLE, DATABASE_VARIABLE, SYNC_VARIABLE = "GAZEVLM_DATA", "DATABASE_URL", "GAZEVLM_SYNC_REPO"
ADMINS_VARIABLE, REVIEWERS_VARIABLE = "GAZEVLM_ADMINS", "GAZEVLM_REVIEWERS"
ADMIN_TOKEN_VARIABLE, REVIEWER_TOKEN_VARIABLE = "GAZEVLM_ADMIN_TOKEN", "GAZEVLM_REVIEWER_TOKEN"
QUOTA_VARIABLE = "GAZEVLM_QUOTA"
SPACE_VARIABLE, OAUTH_VARIABLE = "SPACE_ID", "OAUTH_CLIENT_SECRET"
SHORTEST_TOKEN = 16  # characters; shorter ones can be guessed
DEFAULT_DATA, DEFAULT_QUOTA, LARGEST_QUOTA = "data", 12, 10_000


class AnnotateSettingsError(ValueError):
    """A setting of the environment that cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class AnnotateSettings:
    """What Teach is started with.

    Args:
        folder: where the store lies.
        database_url: of PostgreSQL; "" for SQLite in `folder`.
        sync_repo: data set repository on the Hub that submissions are copied to; "" for none.
        quota: how many annotators each image wants.
        admins, reviewers: user names on the Hub, lower case; they count for those who are logged in there alone.
        admin_token, reviewer_token: give the role to whoever shows them; "" gives it to nobody.
        on_space: whether this is a Space whose visitors log in at the Hub.
        token_is_new: whether `admin_token` was made now, since nothing else would let anybody administer the store.
    """

    folder: Path = Path(DEFAULT_DATA)
    database_url: str = field(default="", repr=False)
    sync_repo: str = ""
    quota: int = DEFAULT_QUOTA
    admins: frozenset[str] = frozenset()
    reviewers: frozenset[str] = frozenset()
    admin_token: str = field(default="", repr=False)
    reviewer_token: str = field(default="", repr=False)
    on_space: bool = False
    token_is_new: bool = False

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "AnnotateSettings":
        """Read the variables above; empty ones count as not set.

        Off a Space, a missing admin token is made anew: the name that somebody types there proves nothing.

        Raises:
            AnnotateSettingsError: a quota that is no number, or a token that is too short or used for both roles.
        """
        values = {name: environment.get(name, "").strip() for name in (
            DATA_VARIABLE, DATABASE_VARIABLE, SYNC_VARIABLE, ADMINS_VARIABLE, REVIEWERS_VARIABLE, ADMIN_TOKEN_VARIABLE,
            REVIEWER_TOKEN_VARIABLE, QUOTA_VARIABLE, SPACE_VARIABLE, OAUTH_VARIABLE,
        )}  # fmt: skip
        on_space = bool(values[SPACE_VARIABLE] and values[OAUTH_VARIABLE])
        admin, reviewer = values[ADMIN_TOKEN_VARIABLE], values[REVIEWER_TOKEN_VARIABLE]
        for name, token in ((ADMIN_TOKEN_VARIABLE, admin), (REVIEWER_TOKEN_VARIABLE, reviewer)):
            if token and len(token) < SHORTEST_TOKEN:
                raise AnnotateSettingsError(f"{name} is too easy to guess; give at least {SHORTEST_TOKEN} characters")
        if admin and admin == reviewer:
            raise AnnotateSettingsError(f"{ADMIN_TOKEN_VARIABLE} and {REVIEWER_TOKEN_VARIABLE} must differ")
        new = not admin and not on_space
        return cls(
            folder=Path(values[DATA_VARIABLE] or DEFAULT_DATA),
            database_url=values[DATABASE_VARIABLE],
            sync_repo=values[SYNC_VARIABLE],
            quota=_quota(values[QUOTA_VARIABLE]),
            admins=_names(values[ADMINS_VARIABLE]),
            reviewers=_names(values[REVIEWERS_VARIABLE]),
            admin_token=secrets.token_urlsafe(SHORTEST_TOKEN) if new else admin,
            reviewer_token=reviewer,
            on_space=on_space,
            token_is_new=new,
        )


def _quota(text: str) -> int:
    if not text:
        return DEFAULT_QUOTA
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= LARGEST_QUOTA):
        raise AnnotateSettingsError(f"{QUOTA_VARIABLE} is {text[:20]!r}; give a whole number from 1 to {LARGEST_QUOTA}")
    return int(text)


def _names(text: str) -> frozenset[str]:
    return frozenset(name.strip().lower() for name in text.split(",") if name.strip())
