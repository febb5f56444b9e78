"""What the program is started with: environment variables, checked before anything is opened."""

import ipaddress
import secrets
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    DirectoryPath,
    Field,
    SecretStr,
    Strict,
    StringConstraints,
    ValidationError,
    model_validator,
)

from gazevlm_core.findings import FINDING_NAMES, NO_FINDING

SHORTEST_TOKEN = 16  # characters; shorter ones can be guessed
LEAST_NEW = 12  # of them that do not go on as those before did
LONGEST_FINDING, MOST_FINDINGS = 60, 20  # characters; further findings
LARGEST_QUOTA, DEFAULT_UPLOADS_MB = 10_000, 4096
# A Space is reached through proxies of the Hub alone, which have private addresses and add the visitor's to the header.
SPACE_PROXIES = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fd00::/8")
UNPREFIXED = {"DATABASE_URL", "SYSTEM", "SPACE_ID", "SPACES_ZERO_GPU", "OAUTH_CLIENT_SECRET"}  # names that others chose


class SettingsError(ValueError):
    """A setting of the environment that cannot be used; the message says why and what to do."""


def variable(field: str) -> str:
    """Name of the environment variable of a field of `Settings`."""
    name = field.upper()
    return name if name in UNPREFIXED else f"GAZEVLM_{name}"


def _split(given: object) -> object:
    return [name.strip() for name in given.split(",") if name.strip()] if isinstance(given, str) else given


def _switch(given: object) -> object:
    return {"0": False, "1": True}.get(given, given) if isinstance(given, str) else given


def _models(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name.startswith((".", "/", "~")) and not Path(name).is_dir():
            raise ValueError(f"is {name!r}, which is no folder; give a folder or a Hub id")
    if len({Path(name).name for name in names}) < len(names):
        raise ValueError("names two models alike; their last parts must differ")
    return names


def _proxy(name: str) -> str:
    try:
        ipaddress.ip_network(name)
    except ValueError:
        advice = "give addresses or networks such as 10.0.0.0/8, separated by commas"
        raise ValueError(f"names {name[:40]!r}; {advice}") from None
    return name


def _findings(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if len(name) > LONGEST_FINDING or not name.isprintable() or name in {*FINDING_NAMES, NO_FINDING}:
            raise ValueError(
                f"names {name[:LONGEST_FINDING]!r}; give names that are new and have at most "
                f"{LONGEST_FINDING} characters, separated by commas"
            )
    names = tuple(dict.fromkeys(names))
    if len(names) > MOST_FINDINGS:
        raise ValueError(f"names {len(names)} findings; give at most {MOST_FINDINGS}")
    return names


def _secret(secret: SecretStr) -> SecretStr:
    if len(secret) < SHORTEST_TOKEN:
        raise ValueError(f"is too easy to guess; give at least {SHORTEST_TOKEN} characters")
    return secret


def _token(secret: SecretStr) -> SecretStr:
    """Refuse tokens that somebody could guess who may try for years: nothing else stands in their way."""
    if _new_signs(secret.get_secret_value()) < LEAST_NEW:
        raise ValueError(
            f"is too easy to guess: it repeats itself, or goes through the alphabet; give at least "
            f"{SHORTEST_TOKEN} characters by chance, such as {secrets.token_urlsafe(SHORTEST_TOKEN)}"
        )
    return secret


def _new_signs(token: str) -> int:
    """Signs that are neither beside the last one in the alphabet, nor the end of three that came before."""
    token, threes, count = token.lower(), set(), 0
    for end, sign in enumerate(token):
        three = token[max(0, end - 2) : end + 1]
        beside = end > 0 and abs(ord(sign) - ord(token[end - 1])) <= 1
        count += not beside and (three not in threes)
        threes.add(three)
    return count


def _new_token(read: dict[str, Any]) -> SecretStr:
    """Return an admin's token off a Space: the name that somebody types there proves nothing."""
    return SecretStr("" if _has_login(read) else secrets.token_urlsafe(SHORTEST_TOKEN))


def _has_login(read: dict[str, Any]) -> bool:
    # All three, as Gradio asks for them: where one is missing, its login is a pretended one.
    return read["system"] == "spaces" and bool(read["space_id"] and read["oauth_client_secret"])


def _proxies_of_space(read: dict[str, Any]) -> tuple[str, ...]:
    return SPACE_PROXIES if read["system"] == "spaces" and read["space_id"] else ()


Lower = Annotated[str, StringConstraints(to_lower=True)]
LowerNames = Annotated[frozenset[Lower], BeforeValidator(_split)]
Switch = Annotated[bool, Strict(), BeforeValidator(_switch)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Secret = Annotated[SecretStr, AfterValidator(_secret)]
Token = Annotated[Secret, AfterValidator(_token)]


class Settings(BaseModel):
    """What the program is started with. See docs/reference/settings.md; `description` says what to give.

    Args:
        system, space_id, oauth_client_secret: what the Hub sets on a Space whose visitors log in there.
        spaces_zero_gpu: what it sets where each answer is given by a process of its own, on a shared GPU; else "".
        model: shipped names, folders, or Hub ids, the first one chosen at the start; empty for all that ship.
        adapter: folder of an adapter of the first model, chosen at the start, or None.
        adapters: folder whose subfolders are adapters to choose from, or None.
        mcp: whether the endpoints are offered as MCP tools too.
        trusted_proxies: addresses and networks whose `X-Forwarded-For` is believed. Nobody's where nothing is set, not
            even that of this machine: whoever shares a page through a tunnel would let everybody choose an address.
        uploads_mb: what all that visitors leave may take on the disk.
        data: folder of the store.
        database_url: of PostgreSQL; "" for SQLite in `data`.
        quota: how many annotators each image wants.
        gold_share, repeat_share: of the tasks that are gold images, and that somebody has done before.
        findings: that can be ticked beside those that the phantoms have.
        starters: whether an empty store gets a few drawn images to annotate.
        admins, reviewers: user names on the Hub, lower case; they count for those who are logged in there alone.
        admin_token, reviewer_token: give the role to whoever shows them; "" gives it to nobody. Off a Space, a missing
            admin token is made anew.
        sync_repo: data set repository on the Hub that submissions are copied to; "" for none.
        pseudonym_key: what pseudonyms are made with; "" for a key that the database makes for itself.
    """

    model_config = ConfigDict(
        frozen=True, alias_generator=variable, validate_by_name=True, validate_by_alias=True, hide_input_in_errors=True
    )

    system: str = ""
    space_id: str = ""
    oauth_client_secret: SecretStr = SecretStr("")
    spaces_zero_gpu: str = ""
    model: Annotated[tuple[str, ...], BeforeValidator(_split), AfterValidator(_models)] = ()
    adapter: DirectoryPath | None = Field(default=None, description="an adapter's folder")
    adapters: DirectoryPath | None = Field(default=None, description="the folder that holds the adapters' folders")
    mcp: Switch = Field(default=False, description="1 to offer MCP tools, or 0")
    trusted_proxies: Annotated[tuple[Annotated[str, AfterValidator(_proxy)], ...], BeforeValidator(_split)] = Field(
        default_factory=_proxies_of_space
    )
    uploads_mb: int = Field(default=DEFAULT_UPLOADS_MB, ge=256, le=10**7, description="a whole number of at least 256")
    data: Path = Path("data")
    database_url: SecretStr = SecretStr("")
    quota: int = Field(default=12, ge=1, le=LARGEST_QUOTA, description=f"a whole number from 1 to {LARGEST_QUOTA}")
    gold_share: Share = Field(default=0.1, description="a share from 0 to 1, such as 0.1")
    repeat_share: Share = Field(default=0.05, description="a share from 0 to 1, such as 0.05")
    findings: Annotated[tuple[Lower, ...], BeforeValidator(_split), AfterValidator(_findings)] = ()
    starters: Switch = Field(default=True, description="0 or 1")
    admins: LowerNames = frozenset()
    reviewers: LowerNames = frozenset()
    admin_token: Token = Field(default_factory=_new_token)
    reviewer_token: Token = SecretStr("")
    sync_repo: str = ""
    pseudonym_key: Secret = SecretStr("")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Read the variables; empty ones count as not set.

        Raises:
            SettingsError: one cannot be used. One line, which shows no secret.
        """
        given = {name: text.strip() for name, text in environment.items() if text.strip()}
        try:
            return cls.model_validate(given, by_alias=True, by_name=False)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
        if first["type"] == "value_error":
            raise SettingsError(" ".join(map(str, (*first["loc"][:1], first["ctx"]["error"]))))
        name = str(first["loc"][0])
        advice = next(field.description for field in cls.model_fields.values() if field.alias == name)
        reason = ", which is no folder" if first["type"] == "path_not_directory" else ""
        raise SettingsError(f"{name} is {first['input']!r}{reason}; give {advice}")

    @model_validator(mode="after")
    def _check_together(self) -> "Settings":
        names = ("admin_token", "reviewer_token", "pseudonym_key")
        for one, other in combinations([name for name in names if getattr(self, name)], 2):
            if getattr(self, one) == getattr(self, other):
                raise ValueError(f"{variable(one)} and {variable(other)} must differ")
        if self.sync_repo and not self.pseudonym_key:
            raise ValueError(
                "GAZEVLM_SYNC_REPO needs GAZEVLM_PSEUDONYM_KEY, a secret of your own, so that everybody keeps their "
                "pseudonym when the store is restored on a new disk"
            )
        if self.gold_share + self.repeat_share > 1:
            raise ValueError("GAZEVLM_GOLD_SHARE and GAZEVLM_REPEAT_SHARE are shares of one whole; lower them")
        return self

    @property
    def on_space(self) -> bool:
        """Whether this is a Space whose visitors log in at the Hub."""
        return _has_login(vars(self))

    @property
    def token_is_new(self) -> bool:
        """Whether `admin_token` was made now, since nothing else would let anybody administer the store."""
        return bool(self.admin_token) and "admin_token" not in self.model_fields_set
