"""Roles from the environment: read, or refused in one line; secrets are never shown."""

import pytest

from frame.roles import RoleSettings, RoleSettingsError, check_secrets

TOKEN = "a" * 20
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
    given = RoleSettings.from_environment({"GAZEVLM_ADMIN_TOKEN": TOKEN, "GAZEVLM_REVIEWER_TOKEN": "r" * 20})
    assert TOKEN not in repr(given)
    assert "r" * 20 not in repr(given)


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


def test_secrets_that_are_not_set_are_no_secrets() -> None:
    check_secrets({"A": "", "B": "", "C": TOKEN})
