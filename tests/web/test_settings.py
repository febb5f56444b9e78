"""Settings: read from the environment, or refused in one line; secrets are never shown; the docs list them all."""

import re
import secrets
from pathlib import Path

import pytest

from web.settings import Settings, SettingsError, variable

TOKEN, OTHER = "the token of this test", "another one of this test"
SPACE_ENVIRONMENT = {"SYSTEM": "spaces", "SPACE_ID": "a/b", "OAUTH_CLIENT_SECRET": "s"}
ALL = {variable(name) for name in Settings.model_fields}


def test_nothing_set_is_the_default() -> None:
    for environment in ({}, dict.fromkeys(ALL, " "), {name.lower(): "0" for name in ALL}, {"quota": "0", "data": "x"}):
        given = Settings.from_environment(environment)
        assert given == Settings(admin_token=given.admin_token.get_secret_value())
        assert given.token_is_new


def test_settings_are_read(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    given = Settings.from_environment({
        "GAZEVLM_MODEL": f"Qwen/Qwen2.5-VL-3B-Instruct, gazevlm-nano,{tmp_path}", "GAZEVLM_MCP": "1",
        "GAZEVLM_ADAPTER": str(tmp_path / "one"), "GAZEVLM_ADAPTERS": f" {tmp_path} ", "GAZEVLM_UPLOADS_MB": " 300 ",
        "GAZEVLM_QUOTA": "3", "GAZEVLM_STARTERS": "0", "GAZEVLM_REPEAT_SHARE": "0",
        "GAZEVLM_FINDINGS": "Hiatal hernia ,,hiatal Hernia",
    })  # fmt: skip
    assert given.model == ("Qwen/Qwen2.5-VL-3B-Instruct", "gazevlm-nano", str(tmp_path))
    assert (given.adapter, given.adapters, given.mcp) == (tmp_path / "one", tmp_path, True)
    assert (given.uploads_mb, given.quota, given.starters, given.repeat_share) == (300, 3, False, 0.0)
    assert given.findings == ("hiatal hernia",)


def test_a_space_is_one_where_gradios_login_is_real() -> None:
    space = Settings.from_environment(SPACE_ENVIRONMENT)
    assert (space.on_space, space.admin_token.get_secret_value(), space.token_is_new) == (True, "", False)
    for missing in SPACE_ENVIRONMENT:
        given = {name: value for name, value in SPACE_ENVIRONMENT.items() if name != missing}
        assert not Settings.from_environment(given).on_space, "the login there would be a pretended one"


def test_elsewhere_a_missing_token_is_made_anew() -> None:
    one, other = (Settings.from_environment({"GAZEVLM_ADMINS": " Ada, bob ,", "SPACE_ID": "a/b"}) for _ in range(2))
    assert one.token_is_new
    assert len(one.admin_token) > 16
    assert one.admin_token != other.admin_token
    assert one.admins == {"ada", "bob"}
    given = Settings.from_environment({"GAZEVLM_ADMIN_TOKEN": TOKEN, "GAZEVLM_REVIEWERS": "Rosa"})
    assert (given.admin_token.get_secret_value(), given.token_is_new, given.reviewers) == (TOKEN, False, {"rosa"})


def test_secrets_are_not_shown() -> None:
    hidden = {
        "GAZEVLM_ADMIN_TOKEN": TOKEN, "GAZEVLM_REVIEWER_TOKEN": OTHER, "GAZEVLM_PSEUDONYM_KEY": "a key of this test",
        "DATABASE_URL": "postgresql://me:password@host/store", "OAUTH_CLIENT_SECRET": "what the Hub knows",
    }  # fmt: skip
    shown = f"{Settings.from_environment(hidden)!r} {Settings.from_environment({})!r}"
    assert [name for name, secret in hidden.items() if secret in shown] == []
    made = Settings.from_environment({})
    assert made.admin_token.get_secret_value() not in repr(made)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"GAZEVLM_MODEL": "./nowhere"}, "GAZEVLM_MODEL is './nowhere', which is no folder; give a folder or a Hub id"),
        ({"GAZEVLM_MODEL": "gazevlm-nano,~/nowhere"}, "GAZEVLM_MODEL is '~/nowhere', which is no folder"),
        ({"GAZEVLM_MODEL": "a/nano, b/nano"}, "GAZEVLM_MODEL names two models alike"),
        ({"GAZEVLM_ADAPTER": "nowhere"}, "GAZEVLM_ADAPTER is 'nowhere', which is no folder; give an adapter's folder"),
        ({"GAZEVLM_ADAPTERS": "nowhere"}, "GAZEVLM_ADAPTERS is 'nowhere', which is no folder; give the folder that"),
        ({"GAZEVLM_MCP": "yes"}, "GAZEVLM_MCP is 'yes'; give 1 to offer MCP tools, or 0"),
        ({"GAZEVLM_TRUSTED_PROXIES": "10.0.0.1,nginx"}, "GAZEVLM_TRUSTED_PROXIES names 'nginx'; give addresses or net"),
        *(
            ({"GAZEVLM_UPLOADS_MB": text}, f"GAZEVLM_UPLOADS_MB is '{text}'; give a whole number of at least 256")
            for text in ("10", "-1", "1e4", "much")
        ),
        ({"GAZEVLM_QUOTA": "0"}, "GAZEVLM_QUOTA is '0'; give a whole number from 1 to 10000"),
        ({"GAZEVLM_QUOTA": "many"}, "GAZEVLM_QUOTA is 'many'; give a whole number from 1 to 10000"),
        ({"GAZEVLM_GOLD_SHARE": "nan"}, "GAZEVLM_GOLD_SHARE is 'nan'; give a share from 0 to 1, such as 0.1"),
        ({"GAZEVLM_REPEAT_SHARE": "a tenth"}, "GAZEVLM_REPEAT_SHARE is 'a tenth'; give a share from 0 to 1, such as"),
        ({"GAZEVLM_GOLD_SHARE": "0.97"}, "GAZEVLM_GOLD_SHARE and GAZEVLM_REPEAT_SHARE are shares of one whole"),
        ({"GAZEVLM_FINDINGS": "hernia, Edema"}, "GAZEVLM_FINDINGS names 'edema'; give names that are new"),
        ({"GAZEVLM_FINDINGS": ",".join(f"f {n}" for n in range(21))}, "GAZEVLM_FINDINGS names 21 findings; give at"),
        ({"GAZEVLM_STARTERS": "yes"}, "GAZEVLM_STARTERS is 'yes'; give 0 or 1"),
        ({"GAZEVLM_SYNC_REPO": "a/b"}, "GAZEVLM_SYNC_REPO needs GAZEVLM_PSEUDONYM_KEY"),
        *(
            ({name: "short"}, f"{name} is too easy to guess; give at least 16 characters")
            for name in ("GAZEVLM_ADMIN_TOKEN", "GAZEVLM_REVIEWER_TOKEN", "GAZEVLM_PSEUDONYM_KEY")
        ),
        (
            {"GAZEVLM_ADMIN_TOKEN": TOKEN, "GAZEVLM_REVIEWER_TOKEN": TOKEN},
            "GAZEVLM_ADMIN_TOKEN and GAZEVLM_REVIEWER_TOKEN must differ",
        ),
        (
            {"GAZEVLM_PSEUDONYM_KEY": TOKEN, "GAZEVLM_ADMIN_TOKEN": TOKEN},
            "GAZEVLM_ADMIN_TOKEN and GAZEVLM_PSEUDONYM_KEY must differ",
        ),
    ],
)
def test_what_cannot_be_used_is_one_line(environment: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.from_environment(environment)
    said = str(refused.value)
    assert said.startswith(message)
    assert "\n" not in said
    assert TOKEN not in said
    assert "'short'" not in said
    assert refused.value.__context__ is None, "which would show the rest of what was set"


@pytest.mark.parametrize(
    "token",
    ["a" * 40, "abcdefghijklmnopqrstuvwxyz", "0123456789abcdef", "passwordpassword1", "adminadminadminadmin",
     "1234567890" * 3, "aaaaaaaabbbbbbbbccccccccdddddddd", "zyxwvutsrqponmlkjihg"],
)  # fmt: skip
def test_tokens_that_can_be_guessed_are_refused_at_the_start(token: str) -> None:
    with pytest.raises(SettingsError, match="GAZEVLM_ADMIN_TOKEN is too easy to guess") as refused:
        Settings.from_environment({"GAZEVLM_ADMIN_TOKEN": token})
    assert f" {token} " not in str(refused.value)


def test_tokens_by_chance_pass() -> None:
    for make in (secrets.token_urlsafe, secrets.token_hex):
        for token in [make(16) for _ in range(200)]:
            settings = Settings.from_environment({"GAZEVLM_ADMIN_TOKEN": token})
            assert settings.admin_token.get_secret_value() == token


def test_the_page_of_settings_lists_what_there_is(repository: Path) -> None:
    page = (repository / "docs" / "reference" / "settings.md").read_text("utf-8")
    rows = re.findall(r"^\| (`.*?) \|", page, re.MULTILINE)
    listed = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(listed) == sorted(ALL)
