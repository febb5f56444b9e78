"""Roles from the environment: read, or refused in one line; secrets are never shown."""

import pytest

from web.roles import RoleSettings, RoleSettingsError, check_secrets

TOKEN = "the token of this test"
SPACE_ENVIRONMENT = {"SYSTEM": "spaces", "SPACE_ID": "a/b", "OAUTH_CLIENT_SECRET": "s"}


def test_a_space_is_one_where_gradios_login_is_real() -> None:
    space = RoleSettings.from_environment(SPACE_ENVIRONMENT)
    assert (space.on_space, space.admin_token, space.token_is_new) == (True, "", False)
    for missing in SPACE_ENVIRONMENT:
        given = {name: value for name, value in SPACE_ENVIRONMENT.items() if name != missing}
        assert not RoleSettings.from_environment(given).on_space, "the login there would be a pretended one"


def test_elsewhere_a_missing_token_is_made_anew() -> None:
    one, other = (RoleSettings.from_environment({"GAZEVLM_ADMINS": " Ada, bob ,"}) for _ in range(2))
    assert one.token_is_new
    assert len(one.admin_token) > 16
    assert one.admin_token != other.admin_token
    assert one.admins == {"ada", "bob"}
    given = RoleSettings.from_environment({"GAZEVLM_ADMIN_TOKEN": TOKEN, "GAZEVLM_REVIEWERS": "Rosa"})
    assert (given.admin_token, given.token_is_new, given.reviewers) == (TOKEN, False, {"rosa"})


def test_tokens_are_not_shown() -> None:
    other = "another one of this test"
    given = RoleSettings.from_environment({"GAZEVLM_ADMIN_TOKEN": TOKEN, "GAZEVLM_REVIEWER_TOKEN": other})
    assert TOKEN not in repr(given)
    assert other not in repr(given)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"GAZEVLM_REVIEWER_TOKEN": "short"}, "GAZEVLM_REVIEWER_TOKEN is too easy to guess; give at least 16"),
        (
            {"GAZEVLM_ADMIN_TOKEN": TOKEN, "GAZEVLM_REVIEWER_TOKEN": TOKEN},
            "GAZEVLM_ADMIN_TOKEN and GAZEVLM_REVIEWER_TOKEN must differ",
        ),
    ],
)
def test_tokens_that_protect_nothing(environment: dict[str, str], message: str) -> None:
    with pytest.raises(RoleSettingsError, match=message):
        RoleSettings.from_environment(environment)


@pytest.mark.parametrize(
    "token",
    ["a" * 40, "abcdefghijklmnopqrstuvwxyz", "0123456789abcdef", "passwordpassword1", "adminadminadminadmin",
     "1234567890" * 3, "aaaaaaaabbbbbbbbccccccccdddddddd", "zyxwvutsrqponmlkjihg"],
)  # fmt: skip
def test_tokens_that_can_be_guessed_are_refused_at_the_start(token: str) -> None:
    with pytest.raises(RoleSettingsError, match="GAZEVLM_ADMIN_TOKEN is too easy to guess") as refused:
        RoleSettings.from_environment({"GAZEVLM_ADMIN_TOKEN": token})
    assert f" {token} " not in str(refused.value)


def test_tokens_by_chance_pass() -> None:
    import secrets

    for make in (secrets.token_urlsafe, secrets.token_hex):
        for _ in range(200):
            RoleSettings.from_environment({"GAZEVLM_ADMIN_TOKEN": make(16)})


def test_secrets_that_are_not_set_are_no_secrets() -> None:
    check_secrets({"A": "", "B": "", "C": TOKEN})
