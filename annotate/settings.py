"""What Teach is started with: environment variables, checked before anything is opened."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gazevlm_core.findings import FINDING_NAMES, NO_FINDING
from web.roles import (
    ADMIN_TOKEN_VARIABLE,
    REVIEWER_TOKEN_VARIABLE,
    RoleSettings,
    RoleSettingsError,
    check_secrets,
)

DATA_VARIABLE, DATABASE_VARIABLE, SYNC_VARIABLE = "GAZEVLM_DATA", "DATABASE_URL", "GAZEVLM_SYNC_REPO"
QUOTA_VARIABLE, STARTERS_VARIABLE = "GAZEVLM_QUOTA", "GAZEVLM_STARTERS"
PSEUDONYM_VARIABLE, FINDINGS_VARIABLE = "GAZEVLM_PSEUDONYM_KEY", "GAZEVLM_FINDINGS"
SECRET_VARIABLES = (ADMIN_TOKEN_VARIABLE, REVIEWER_TOKEN_VARIABLE, PSEUDONYM_VARIABLE)
GOLD_VARIABLE, REPEAT_VARIABLE = "GAZEVLM_GOLD_SHARE", "GAZEVLM_REPEAT_SHARE"
LONGEST_FINDING, MOST_FINDINGS = 60, 20  # characters; further findings
SWITCH = {"": True, "0": False, "1": True}
DEFAULT_DATA, DEFAULT_QUOTA, LARGEST_QUOTA = "data", 12, 10_000
DEFAULT_GOLD, DEFAULT_REPEAT = 0.1, 0.05


class AnnotateSettingsError(ValueError):
    """A setting of the environment that cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class AnnotateSettings(RoleSettings):
    """What Teach is started with, beside roles.

    Args:
        folder: where the store lies.
        database_url: of PostgreSQL; "" for SQLite in `folder`.
        sync_repo: data set repository on the Hub that submissions are copied to; "" for none.
        quota: how many annotators each image wants.
        gold_share, repeat_share: of the tasks that are gold images, and that somebody has done before.
        findings: that can be ticked beside those that the phantoms have.
        starters: whether an empty store gets a few drawn images to annotate.
        pseudonym_key: what pseudonyms are made with; "" for a key that the database makes for itself.
    """

    folder: Path = Path(DEFAULT_DATA)
    database_url: str = field(default="", repr=False)
    sync_repo: str = ""
    quota: int = DEFAULT_QUOTA
    gold_share: float = DEFAULT_GOLD
    repeat_share: float = DEFAULT_REPEAT
    findings: tuple[str, ...] = ()
    starters: bool = True
    pseudonym_key: str = field(default="", repr=False)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "AnnotateSettings":
        """Read the variables above and those of `RoleSettings`; empty ones count as not set.

        Raises:
            AnnotateSettingsError: a quota or share that is no number, findings that are no names, a token or key that
                is too short or used twice, or a repository without the key that gives everybody their pseudonym again
                when the disk is new.
        """
        values = {name: environment.get(name, "").strip() for name in (
            DATA_VARIABLE, DATABASE_VARIABLE, SYNC_VARIABLE, QUOTA_VARIABLE, STARTERS_VARIABLE, FINDINGS_VARIABLE,
            GOLD_VARIABLE, REPEAT_VARIABLE, *SECRET_VARIABLES,
        )}  # fmt: skip
        try:
            check_secrets({name: values[name] for name in SECRET_VARIABLES})
            roles = RoleSettings.from_environment(environment)
        except RoleSettingsError as error:
            raise AnnotateSettingsError(str(error)) from None
        if values[SYNC_VARIABLE] and not values[PSEUDONYM_VARIABLE]:
            raise AnnotateSettingsError(
                f"{SYNC_VARIABLE} needs {PSEUDONYM_VARIABLE}, a secret of your own, so that everybody keeps their "
                "pseudonym when the store is restored on a new disk"
            )
        if values[STARTERS_VARIABLE] not in SWITCH:
            raise AnnotateSettingsError(f"{STARTERS_VARIABLE} is {values[STARTERS_VARIABLE][:20]!r}; give 0 or 1")
        gold = _share(GOLD_VARIABLE, values[GOLD_VARIABLE], DEFAULT_GOLD)
        repeat = _share(REPEAT_VARIABLE, values[REPEAT_VARIABLE], DEFAULT_REPEAT)
        if gold + repeat > 1:
            raise AnnotateSettingsError(f"{GOLD_VARIABLE} and {REPEAT_VARIABLE} are shares of one whole; lower them")
        return cls(
            folder=Path(values[DATA_VARIABLE] or DEFAULT_DATA),
            database_url=values[DATABASE_VARIABLE],
            sync_repo=values[SYNC_VARIABLE],
            quota=_quota(values[QUOTA_VARIABLE]),
            gold_share=gold,
            repeat_share=repeat,
            findings=_findings(values[FINDINGS_VARIABLE]),
            starters=SWITCH[values[STARTERS_VARIABLE]],
            pseudonym_key=values[PSEUDONYM_VARIABLE],
            **vars(roles),
        )


def _quota(text: str) -> int:
    if not text:
        return DEFAULT_QUOTA
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= LARGEST_QUOTA):
        raise AnnotateSettingsError(f"{QUOTA_VARIABLE} is {text[:20]!r}; give a whole number from 1 to {LARGEST_QUOTA}")
    return int(text)


def _share(name: str, text: str, usual: float) -> float:
    try:
        share = float(text) if text else usual
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise AnnotateSettingsError(f"{name} is {text[:20]!r}; give a share from 0 to 1, such as {usual:g}")
    return share


def _findings(text: str) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(name.strip().lower() for name in text.split(",") if name.strip()))
    taken = {*FINDING_NAMES, NO_FINDING}
    for name in found:
        if len(name) > LONGEST_FINDING or not name.isprintable() or name in taken:
            raise AnnotateSettingsError(
                f"{FINDINGS_VARIABLE} names {name[:LONGEST_FINDING]!r}; give names that are new and have at most "
                f"{LONGEST_FINDING} characters, separated by commas"
            )
    if len(found) > MOST_FINDINGS:
        raise AnnotateSettingsError(f"{FINDINGS_VARIABLE} names {len(found)} findings; give at most {MOST_FINDINGS}")
    return found
