"""Who may do what: claims are never believed as they are, on a Space and elsewhere."""

from contextlib import suppress
from dataclasses import replace
from types import SimpleNamespace

import pytest
from pydantic import SecretStr

from web.identity import LIMITS, LOGIN, LONGEST_NAME, NAME_COOKIE, NEIGHBOURS, WRONG_TOKENS, Claim, Gate, NotAllowed
from web.settings import Settings

TOKEN, REVIEW_TOKEN = "the token of this test", "another one of this test"
NO_SECRET = SecretStr("")
SPACE = Settings(admins={"ada"}, reviewers={"rosa"}, system="spaces", space_id="a/b", oauth_client_secret="s")
LOCAL = Settings(admins={"ada"}, admin_token=TOKEN, reviewer_token=REVIEW_TOKEN)
NOBODY = Claim(None, "", "", "10.0.0.1")


def gate(settings: Settings) -> Gate:
    return Gate(settings, lambda name: f"p-{name}")


def test_on_a_space_the_hubs_login_alone_names_somebody() -> None:
    space = gate(SPACE)
    with pytest.raises(NotAllowed, match="Log in with your Hugging Face account"):
        space.visitor(replace(NOBODY, name="ada"))
    ada = space.visitor(replace(NOBODY, login="Ada", name="somebody else"))
    assert (ada.name, ada.pseudonym, ada.verified) == ("Ada", "p-hub:ada", True)
    assert ada.roles == {"annotator", "reviewer", "admin"}
    assert space.visitor(replace(NOBODY, login="rosa")).roles == {"annotator", "reviewer"}
    assert space.visitor(replace(NOBODY, login="eve")).roles == {"annotator"}
    assert LOGIN.endswith("tab.")


def test_elsewhere_a_login_is_never_believed_and_names_give_no_role() -> None:
    local = gate(LOCAL)
    with pytest.raises(NotAllowed, match="Choose a name first"):
        local.visitor(replace(NOBODY, login="ada"))
    ada = local.visitor(replace(NOBODY, login="ada", name="ada"))
    assert (ada.roles, ada.verified, ada.pseudonym) == ({"annotator"}, False, "p-local:ada")


def test_tokens_give_roles() -> None:
    local = gate(LOCAL)
    assert local.visitor(replace(NOBODY, name="a", token=TOKEN)).roles == {"annotator", "reviewer", "admin"}
    assert local.visitor(replace(NOBODY, name="a", token=REVIEW_TOKEN)).roles == {"annotator", "reviewer"}
    with pytest.raises(NotAllowed, match="gives no role"):
        local.visitor(replace(NOBODY, name="a", token=TOKEN[:-1]))
    no_tokens = gate(LOCAL.model_copy(update={"admin_token": NO_SECRET, "reviewer_token": NO_SECRET}))
    with pytest.raises(NotAllowed, match="gives no role"):
        no_tokens.visitor(replace(NOBODY, name="a", token=TOKEN))


def test_wrong_tokens_are_limited_by_address_and_the_right_one_always_passes() -> None:
    local = gate(LOCAL)
    for attempt in range(LIMITS["token"].amount):
        with pytest.raises(NotAllowed, match="gives no role"):
            local.visitor(replace(NOBODY, name=f"name {attempt}", token="wrong" * 4))
    with pytest.raises(NotAllowed, match="Too many wrong tokens"):
        local.visitor(replace(NOBODY, name="a", token="wrong" * 4))
    assert "admin" in local.visitor(replace(NOBODY, name="a", token=TOKEN)).roles, "the owner sits behind that router"
    assert local.visitor(replace(NOBODY, name="a")).roles == {"annotator"}, "without a token nothing is in the way"
    with pytest.raises(NotAllowed, match="gives no role"):
        local.visitor(replace(NOBODY, name="a", token="wrong" * 4, address="10.0.0.2"))


def test_wrong_tokens_are_limited_over_all_addresses_together(caplog: pytest.LogCaptureFixture) -> None:
    local, said = gate(LOCAL), []
    for attempt in range(WRONG_TOKENS.amount + 50):
        with pytest.raises(NotAllowed) as refused:
            local.visitor(replace(NOBODY, name="a", token="secret guess", address=f"10.1.{attempt}.1"))
        said.append(str(refused.value))
    assert [text.startswith("Too many wrong tokens") for text in said] == [False] * WRONG_TOKENS.amount + [True] * 50
    assert "admin" in local.visitor(replace(NOBODY, name="a", token=TOKEN, address="10.1.0.1")).roles
    assert caplog.text.count("guessing tokens") == 1
    assert "secret guess" not in caplog.text


@pytest.mark.parametrize("token", ["\ud800" * 20, "a" * 10**6, "\0", "é" * 20])
def test_any_text_may_be_a_wrong_token(token: str) -> None:
    with pytest.raises(NotAllowed, match="gives no role"):
        gate(LOCAL).visitor(replace(NOBODY, name="a", token=token))


def test_nobody_uses_up_the_share_of_whoever_has_the_token() -> None:
    local, owner = gate(LOCAL), replace(NOBODY, name="root", token=TOKEN)
    for number in range((NEIGHBOURS + 1) * LIMITS["submit"].amount):
        with suppress(NotAllowed):
            local.admit(replace(NOBODY, name="root" if number % 2 else f"name {number}"), "submit")
    with pytest.raises(NotAllowed, match="too often"):
        local.admit(replace(NOBODY, name="one more"), "submit")
    assert local.admit(owner, "submit").name == "root"
    for _ in range(LIMITS["submit"].amount - 1):
        local.admit(owner, "submit")
    with pytest.raises(NotAllowed, match="too often"):
        local.admit(owner, "submit")


def test_a_claim_does_not_show_its_token() -> None:
    assert TOKEN not in repr(replace(NOBODY, token=TOKEN))


@pytest.mark.parametrize("role", ["reviewer", "admin"])
def test_roles_are_asked_for_at_the_gate(role: str) -> None:
    claim = replace(NOBODY, name="eve", login="eve")
    with pytest.raises(NotAllowed, match=f"Only an? {role} may do this; ask whoever runs this Space"):
        gate(SPACE).admit(claim, "review", role)
    with pytest.raises(NotAllowed, match=f"Only an? {role} may do this; enter the {role}'s token"):
        gate(LOCAL).admit(claim, "review", role)
    assert gate(LOCAL).admit(replace(claim, token=TOKEN), "review", role).name == "eve"


def test_rates_are_limited_by_person_and_off_a_space_by_address() -> None:
    local, claim = gate(LOCAL), replace(NOBODY, name="quick")
    for _ in range(LIMITS["submit"].amount):
        local.admit(claim, "submit")
    with pytest.raises(NotAllowed, match=r"too often \(60 in one minute\); wait a moment\. Nothing is lost"):
        local.admit(claim, "submit")
    local.admit(claim, "read")  # another action has a count of its own
    for number in range((NEIGHBOURS - 1) * LIMITS["submit"].amount - 1):  # many names from one place
        local.admit(replace(claim, name=f"name {number}"), "submit")
    with pytest.raises(NotAllowed, match=r"too often \(600 in one minute from your address\); wait a moment"):
        local.admit(replace(claim, name="one more"), "submit")
    local.admit(replace(claim, name="other", address="10.0.0.2"), "submit")
    asked: list[str] = []
    crowded = Gate(LOCAL, lambda name: asked.append(name) or name)
    for number in range(NEIGHBOURS * LIMITS["upload"].amount + 50):
        with suppress(NotAllowed):
            crowded.admit(replace(claim, name=f"name {number}"), "upload")
    assert len(asked) == NEIGHBOURS * LIMITS["upload"].amount, "no more names reach the store"
    space, visitor = gate(SPACE), replace(NOBODY, login="quick")
    for _ in range(LIMITS["submit"].amount):
        space.admit(visitor, "submit")
    space.admit(replace(visitor, login="other"), "submit")  # the proxy's address counts for nobody
    with pytest.raises(NotAllowed, match="wait a moment"):
        space.admit(visitor, "submit")


@pytest.mark.parametrize("name", ["", " ", "x" * (LONGEST_NAME + 1), "a\nb", "a\u202eb", "a\u00a0b", "\x00"])
def test_names_that_cannot_be_used(name: str) -> None:
    with pytest.raises(NotAllowed, match=r"name"):
        gate(LOCAL).visitor(replace(NOBODY, name=name))


def test_the_same_name_in_other_letters_is_the_same_person() -> None:
    local = gate(LOCAL)
    spellings = ("Zo\u00eb", "Zoe\u0308", " zo\u00eb ")
    assert len({local.visitor(replace(NOBODY, name=name)).pseudonym for name in spellings}) == 1


def test_a_request_says_who_made_it_by_the_session_on_a_space_and_by_the_cookie_elsewhere() -> None:
    request = SimpleNamespace(
        cookies={NAME_COOKIE: "Zo%C3%AB  B"},
        client=SimpleNamespace(host="10.0.0.3"),
        session={"oauth_info": {"userinfo": {"preferred_username": "ada"}}},
    )
    assert gate(SPACE).claim(request) == Claim("ada", "Zo\u00eb  B", "", "10.0.0.3")
    local = gate(LOCAL)
    assert local.claim(request, "t") == Claim(None, "Zo\u00eb  B", "t", "10.0.0.3")
    assert local.visitor(local.claim(request)).name == "Zo\u00eb B"
    nobody = SimpleNamespace(cookies={}, client=None, session={})
    assert gate(SPACE).claim(nobody) == Claim(None, "", "", "")
    assert (gate(SPACE).asks_name, local.asks_name) == (False, True)


def test_trainings_are_counted_by_the_hour_and_take_an_admin() -> None:
    admin = replace(NOBODY, name="root", token=TOKEN)
    local = gate(LOCAL)
    with pytest.raises(NotAllowed, match="Only an admin"):
        local.admit(replace(admin, token=REVIEW_TOKEN), "train", "admin")
    for _ in range(LIMITS["train"].amount):
        local.admit(admin, "train", "admin")
    with pytest.raises(NotAllowed, match=r"60 in one hour"):
        local.admit(admin, "train", "admin")
