"""Every method of the dashboard asks the gate by itself: whoever lacks the role is refused, whatever the page shows."""

import inspect
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from limits import RateLimitItemPerMinute

from annotate.dashboard import page
from annotate.dashboard.page import DashboardService
from annotate.store.store import AnnotationStore
from annotate.sync.worker import SyncState
from tests.annotate.dashboard_maker import ADMIN, ANNOTATOR, NOBODY, REVIEWER, make_service, make_settings
from tests.annotate.filled_store import fill, open_store
from web.identity import LIMITS, NEIGHBOURS, Claim, NotAllowed

# Who may use which part; a part that is new fails below until it stands here.
ROLE_OF = {
    "overview": "everybody", "quality": "reviewer", "review": "reviewer", "imports": "admin", "images": "admin",
    "exports": "admin", "audit_log": "admin", "bulk": "reviewer", "project": "admin",
}  # fmt: skip
CLAIMS = {"everybody": NOBODY, "annotator": ANNOTATOR, "reviewer": REVIEWER, "admin": ADMIN}
RANKS = list(CLAIMS)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AnnotationStore]:
    store = open_store(tmp_path_factory.mktemp("roles"))
    fill(store)
    yield store
    store.close()


@pytest.fixture
def service(filled: AnnotationStore, tmp_path: Path) -> DashboardService:
    return make_service(filled, tmp_path)


def methods() -> list[tuple[str, str]]:
    """Part and name of every public method that there is."""
    service = inspect.getsource(DashboardService.__init__)
    parts = dict(re.findall(r"self\.(\w+) = (\w+Service)\(", service))
    assert set(parts) == set(ROLE_OF)
    types = {part: getattr(page, type_name) for part, type_name in parts.items()}
    return [(part, name) for part, type_ in types.items() for name in dir(type_) if _is_public(type_, name)]


def _is_public(part: type, name: str) -> bool:
    return not name.startswith("_") and callable(getattr(part, name))


def call(service: DashboardService, part: str, name: str, claim: Claim) -> Any:
    """With arguments that mean nothing: the gate comes before any of them is looked at."""
    method = getattr(getattr(service, part), name)
    wanted = [one for one in inspect.signature(method).parameters.values() if one.default is one.empty]
    assert wanted[0].name == "claim", f"{part}.{name} does not ask who calls"
    return method(claim, *(None for _ in wanted[1:]))


def test_the_service_has_these_parts_and_nothing_else_to_call(service: DashboardService) -> None:
    public = {name: value for name, value in vars(service).items() if not name.startswith("_")}
    assert set(public) == {*ROLE_OF, "gate", "worker"}
    for name in set(ROLE_OF):
        shared = {one for one in vars(public[name]) if not one.startswith("_")}
        assert shared == {"store", "gate"}


@pytest.mark.parametrize(("part", "name"), methods())
def test_the_wrong_role_is_refused_and_the_right_one_is_not(
    service: DashboardService, filled: AnnotationStore, part: str, name: str
) -> None:
    before = filled.counts(), filled.audit(), filled.stored(include_removed=True), filled.imports()
    needed = RANKS.index(ROLE_OF[part])
    for rank, claim in enumerate(CLAIMS.values()):
        if rank < needed:
            with pytest.raises(NotAllowed, match=r"Only a|Choose a name"):
                call(service, part, name, claim)
            wrong = replace(claim, name="Ann", token="x" * 20)
            with pytest.raises(NotAllowed, match="no role"):
                call(service, part, name, wrong)
        else:
            try:
                call(service, part, name, claim)
            except NotAllowed as error:
                pytest.fail(f"{part}.{name} refuses {claim}: {error}")
            except (ValueError, TypeError, AttributeError):
                pass  # nothing was said that could be done
    after = filled.counts(), filled.audit(), filled.stored(include_removed=True), filled.imports()
    assert [one for one in after[1] if one not in before[1]] == []
    assert (replace(after[0], people=0), *after[1:]) == (replace(before[0], people=0), *before[1:])


@pytest.mark.parametrize(("part", "name"), methods())
def test_on_a_space_tokens_and_chosen_names_give_nothing(
    filled: AnnotationStore, tmp_path: Path, part: str, name: str
) -> None:
    space = {"system": "spaces", "space_id": "a/b", "oauth_client_secret": "s"}
    settings = make_settings(**space, admins={"boss"}, reviewers={"rev"})
    service = make_service(filled, tmp_path, settings=settings)
    if ROLE_OF[part] == "everybody":
        return
    pretended = Claim(None, "boss", ADMIN.token, "1")
    visitor = Claim("visitor", "boss", "", "1")
    for claim in (pretended, visitor, *([] if ROLE_OF[part] == "reviewer" else [Claim("rev", "", "", "1")])):
        with pytest.raises(NotAllowed):
            call(service, part, name, claim)


def test_everybody_sees_counts_and_what_is_safe_where(filled: AnnotationStore, tmp_path: Path) -> None:
    alone = make_service(filled, tmp_path).overview.totals(NOBODY)
    assert alone.sync is None
    assert (alone.counts.images, alone.counts.annotations, alone.annotators) == (4, 8, 4)
    state = SyncState(9, 6, 3, "The Hub cannot be reached.", None)
    assert make_service(filled, tmp_path, sync_state=lambda: state).overview.totals(ANNOTATOR).sync == state


def test_a_receipt_is_checked_for_anybody_and_tells_nothing_of_the_content(
    service: DashboardService, filled: AnnotationStore
) -> None:
    one = filled.stored()[0]
    typed = one.receipt.receipt_id.lower()
    check = service.overview.receipt(NOBODY, f" {typed[:5]}-{typed[5:]} ")
    assert check.startswith(f"Submission {one.number} is kept here.")
    assert one.annotation.annotator not in check
    assert "no submission" in service.overview.receipt(NOBODY, "0000000000")
    with pytest.raises(ValueError, match="ten characters"):
        service.overview.receipt(NOBODY, "  ")


def test_somebody_unnamed_is_limited_by_address_alone(service: DashboardService) -> None:
    for _ in range(NEIGHBOURS * LIMITS["read"].amount):  # all who are behind it
        service.overview.totals(NOBODY)
    with pytest.raises(NotAllowed, match="too often"):
        service.overview.totals(NOBODY)
    service.overview.totals(replace(NOBODY, address="10.0.0.99"))
    service.overview.totals(ANNOTATOR)


def test_new_names_without_end_from_one_address_are_stopped(
    service: DashboardService, filled: AnnotationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LIMITS, "read", RateLimitItemPerMinute(2))  # type: ignore[arg-type]
    before = filled.counts().people
    refused = 0
    for number in range(100):
        try:
            service.overview.totals(Claim(None, f"Somebody {number}", "", "10.0.0.5"))
        except NotAllowed:
            refused += 1
    assert refused > 70
    assert filled.counts().people - before < 30


def test_a_welcome_says_who_somebody_is_or_what_to_do(service: DashboardService) -> None:
    assert "Choose a name" in service.gate.welcome(NOBODY).problem
    assert service.gate.welcome(ANNOTATOR).roles == {"annotator"}
    assert service.gate.welcome(ADMIN).roles == {"annotator", "reviewer", "admin"}
    with pytest.raises(NotAllowed, match="no role"):
        service.gate.welcome(replace(ANNOTATOR, token="wrong token of nobody"))
