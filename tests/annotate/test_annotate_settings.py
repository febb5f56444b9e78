"""Settings of Teach: read from the environment, or refused in one line."""

import pytest

from annotate.settings import AnnotateSettings, AnnotateSettingsError
from web.roles import RoleSettings

TOKEN = "the token of this test"
SPACE_ENVIRONMENT = {"SYSTEM": "spaces", "SPACE_ID": "a/b", "OAUTH_CLIENT_SECRET": "s"}


def test_settings_from_the_environment() -> None:
    assert AnnotateSettings.from_environment(SPACE_ENVIRONMENT).admin_token == ""
    for missing in SPACE_ENVIRONMENT:
        given = {name: value for name, value in SPACE_ENVIRONMENT.items() if name != missing}
        assert not AnnotateSettings.from_environment(given).on_space, "the login there would be a pretended one"
    local = AnnotateSettings.from_environment({"SPACE_ID": "a/b", "GAZEVLM_ADMINS": " Ada, bob ,"})  # no login there
    assert (local.on_space, local.token_is_new, len(local.admin_token) > 16) == (False, True, True)
    assert local.admins == {"ada", "bob"}
    assert local.admin_token not in repr(local)
    assert AnnotateSettings.from_environment({"GAZEVLM_FINDINGS": "Hiatal hernia ,,"}).findings == ("hiatal hernia",)
    given = AnnotateSettings.from_environment({"GAZEVLM_ADMIN_TOKEN": TOKEN, "GAZEVLM_QUOTA": "3"})
    assert (given.admin_token, given.token_is_new, given.quota) == (TOKEN, False, 3)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"GAZEVLM_ADMIN_TOKEN": "short"}, "too easy to guess"),
        ({"GAZEVLM_ADMIN_TOKEN": TOKEN, "GAZEVLM_REVIEWER_TOKEN": TOKEN}, "must differ"),
        ({"GAZEVLM_SYNC_REPO": "a/b"}, "needs GAZEVLM_PSEUDONYM_KEY"),
        ({"GAZEVLM_PSEUDONYM_KEY": TOKEN, "GAZEVLM_ADMIN_TOKEN": TOKEN}, "must differ"),
        ({"GAZEVLM_FINDINGS": "hiatal hernia, edema"}, "names 'edema'; give names that are new"),
        ({"GAZEVLM_FINDINGS": ",".join(f"finding {n}" for n in range(21))}, "at most 20"),
        ({"GAZEVLM_GOLD_SHARE": "nan"}, "give a share from 0 to 1"),
        ({"GAZEVLM_REPEAT_SHARE": "a tenth"}, "give a share from 0 to 1"),
        ({"GAZEVLM_GOLD_SHARE": "0.97"}, "shares of one whole"),
        ({"GAZEVLM_STARTERS": "yes"}, "give 0 or 1"),
        ({"GAZEVLM_QUOTA": "0"}, "whole number from 1"),
        ({"GAZEVLM_QUOTA": "many"}, "whole number from 1"),
    ],
)
def test_settings_that_cannot_be_used(environment: dict[str, str], message: str) -> None:
    with pytest.raises(AnnotateSettingsError, match=message):
        AnnotateSettings.from_environment(environment)


def test_roles_are_those_of_the_frame() -> None:
    environment = {**SPACE_ENVIRONMENT, "GAZEVLM_ADMINS": "Ada", "GAZEVLM_REVIEWER_TOKEN": TOKEN}
    assert vars(RoleSettings.from_environment(environment)).items() <= vars(
        AnnotateSettings.from_environment(environment)
    ).items()
