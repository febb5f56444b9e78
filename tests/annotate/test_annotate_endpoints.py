"""The endpoints as anybody can call them: without a page, without a name, with whatever they like."""

import json
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from annotate.store.database import PoolTimeout, translate_errors
from annotate.store.model import StoreError, StoreSettings
from annotate.store.project import Project
from annotate.store.store import AnnotationStore
from tests.annotate.submission_maker import ID, make_click, make_submission

Call = Callable[..., Any]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
    (tmp_path / "gradio").mkdir()
    return tmp_path


@pytest.fixture
def store(folder: Path) -> Iterator[AnnotationStore]:
    store = AnnotationStore.open(folder / "store", settings=StoreSettings(gold_share=0, repeat_share=0))
    store.add_image(Image.fromarray(np.eye(64, dtype=np.uint8) * 255), "secret diagnosis", by="test")
    yield store
    store.close()


@pytest.fixture
def call(folder: Path, store: AnnotationStore) -> Iterator[Call]:
    """Calls a function of the server: (name, values, person) -> its answer."""
    from fastapi.testclient import TestClient
    from gradio.routes import App

    from annotate.tab.page import AnnotationCanvas, annotate_tab
    from annotate.tab.service import AnnotationService
    from tests.annotate.annotate_page import Stubs, ask, local_gate
    from web.page import build_page

    page = build_page([annotate_tab(AnnotationService(store, Stubs(), ask, local_gate(store)))])
    number = next(number for number, block in page.blocks.items() if isinstance(block, AnnotationCanvas))

    with TestClient(App.create_app(page), raise_server_exceptions=False) as client:

        def call(name: str, values: object, person: str | None = "Ann") -> Any:
            body = {"data": values, "component_id": number, "fn_name": name, "session_hash": "s"}
            client.cookies.clear()
            if person is not None:
                client.cookies.set("gazevlm_name", person)
            answer = client.post(
                "/gradio_api/component_server/", content=json.dumps(body), headers={"content-type": "application/json"}
            )
            assert answer.status_code == 200, answer.text
            assert "Traceback" not in answer.text
            return answer.json()

        call.client = client  # type: ignore[attr-defined]
        for person in ("Ann", "Somebody else"):
            terms = call("teach_begin", {}, person)["ok"]["terms"]
            assert call("teach_agree", {"terms": terms, "experience": "radiologist"}, person)["ok"]
        yield call


def upload(call: Call, data: bytes, name: str = "a.png", person: str = "Ann") -> Path:
    """Where the server puts an upload of somebody's."""
    client = call.client  # type: ignore[attr-defined]
    client.cookies.clear()
    client.cookies.set("gazevlm_name", person)
    answer = client.post("/gradio_api/upload", files={"files": (name, data)})
    assert answer.status_code == 200, answer.text
    return Path(answer.json()[0])


def png(grey: int) -> bytes:
    written = BytesIO()
    Image.new("L", (64, 64), grey).save(written, "PNG")
    return written.getvalue()


FUNCTIONS = (
    "begin", "agree", "practise", "practised", "history", "withdraw", "next", "own", "reopen", "submit", "skip", "look",
    "compare",
)  # fmt: skip
NESTED: list[Any] = []
for _ in range(200):
    NESTED = [NESTED]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_whatever_is_sent_there_is_one_sentence(call: Call, store: AnnotationStore, name: str) -> None:
    for values in (None, 7, "text", [], [{}], {"x": 1}, {"sha256": {}}, {"path": ["a"]}, NESTED, {"clicks": NESTED}):
        answer = call(f"teach_{name}", values)
        assert list(answer) == ["error"], values
        assert "\n" not in answer["error"]
        assert len(answer["error"]) < 300
    assert store.stored() == []


def test_without_a_name_nothing_but_the_greeting(call: Call, store: AnnotationStore) -> None:
    welcome = call("teach_begin", {}, None)["ok"]
    assert welcome["person"] is None
    assert "Choose a name" in welcome["problem"]
    (image,) = store.images()
    sent: dict[str, object] = {
        "teach_agree": {"terms": welcome["terms"], "experience": "radiologist"},
        "teach_practise": {},
        "teach_practised": {"places": [[0.5, 0.5]], "findings": ["edema"]},
        "teach_history": {},
        "teach_withdraw": {"submission_id": make_submission("p", "")["submission_id"]},
        "teach_next": {},
        "teach_own": {"path": "/etc/passwd", "question": "What?"},
        "teach_reopen": {"sha256": image.sha256, "shown_at": "now"},
        "teach_submit": make_submission("p", image.sha256),
        "teach_skip": {"lease_id": "x", "reason": "y"},
        "teach_look": {"sha256": image.sha256, "model": "stub"},
        "teach_compare": {"submission_id": make_submission("p", "")["submission_id"], "model": "stub"},
    }
    for name, values in sent.items():
        for person in (None, "%00", "x" * 5000):
            assert "hoose a" in call(name, values, person)["error"]


def test_a_task_tells_nothing_that_leads(call: Call) -> None:
    opened = call("teach_next", {})["ok"]
    assert set(opened) == {"image", "lease_id", "shown_at", "picture", "blurred"}
    assert "secret diagnosis" not in json.dumps(opened)
    look = call("teach_look", {"sha256": opened["image"]["sha256"], "model": "stub"})["ok"]
    assert look == {"grid": {"rows": 8, "cols": 8}}


def test_from_the_task_to_the_receipt(call: Call, store: AnnotationStore) -> None:
    person = call("teach_begin", {})["ok"]["person"]["pseudonym"]
    opened = call("teach_next", {})["ok"]
    values = make_submission(
        person, opened["image"]["sha256"], lease_id=opened["lease_id"], shown_at=opened["shown_at"]
    )
    receipt = call("teach_submit", values)["ok"]
    assert call("teach_submit", values)["ok"] == receipt
    (stored,) = store.stored()
    assert (stored.receipt.receipt_id, stored.receipt.digest) == (receipt["receipt_id"], receipt["digest"])
    assert call("teach_next", {})["ok"] is False
    found = call("teach_compare", {"submission_id": values["submission_id"], "model": "stub"})["ok"]
    assert [path["name"] for path in found["paths"]] == ["Model: stub", "You"]
    scores = found["scores"][0]
    assert len(scores["floors"]) == len(scores["rows"][0]["floors"]) == 4
    seen = {"name": "pleural effusion", "you": True, "others": 0, "truth": None, "model": None, "shares": []}
    assert (found["findings"], found["readers"], found["truth"]) == ([seen], 0, None)
    assert found["sentence"].endswith((".",))


def test_terms_come_before_the_first_image(call: Call, store: AnnotationStore) -> None:
    welcome = call("teach_begin", {}, "Newcomer")["ok"]
    assert (welcome["agreed"], welcome["licence"]) == (False, "CC BY 4.0")
    assert "agree" in call("teach_next", {}, "Newcomer")["error"]
    assert "agree" in call("teach_own", {"path": "/x", "question": "What?"}, "Newcomer")["error"]
    assert "ok" in call("teach_practise", {}, "Newcomer"), "practice is free"
    agreed = {"terms": welcome["terms"], "experience": "medical student"}
    assert "Experience" in call("teach_agree", {**agreed, "experience": "wizard"}, "Newcomer")["error"]
    assert "changed" in call("teach_agree", {**agreed, "terms": "other"}, "Newcomer")["error"]
    assert call("teach_agree", agreed, "Newcomer")["ok"]
    assert call("teach_begin", {}, "Newcomer")["ok"]["agreed"]
    assert "ok" in call("teach_next", {}, "Newcomer")
    store.set_project(Project(licence="CC0 1.0"), "root")
    assert not call("teach_begin", {}, "Newcomer")["ok"]["agreed"], "another licence is asked for anew"


def test_the_practice_image_leaves_nothing_behind(call: Call, store: AnnotationStore) -> None:
    opened = call("teach_practise", {})["ok"]
    assert opened["lease_id"] is None
    found = call("teach_practised", {"places": [[0.3, 0.7]], "findings": ["pleural effusion"]})["ok"]
    (drawn,) = found["truth"]
    assert drawn["name"] == "pleural effusion"
    middle = [(drawn["box"][0] + drawn["box"][2]) / 2, (drawn["box"][1] + drawn["box"][3]) / 2]
    for places, findings, said in (
        ([middle], ["pleural effusion"], "looked at the pleural effusion and ticked"),
        ([middle], ["no finding"], "did not tick"),
        ([[0.5, 0.02]], ["pleural effusion"], "where you did not look"),
        ([[0.5, 0.02]], ["no finding"], "There is a pleural effusion"),
    ):
        told = call("teach_practised", {"places": places, "findings": findings})["ok"]
        assert said in told["sentence"]
    rested = [[20.0 * k, *(middle if k < 20 else (0.9, 0.9))] for k in range(40)]
    told = call("teach_practised", {"places": [], "samples": rested, "findings": ["pleural effusion"]})["ok"]
    assert "looked at the pleural effusion and ticked" in told["sentence"]
    assert len(told["paths"][0]["fixations"]) == 2, "where the disc rested, as in a submission"
    assert "rested nowhere" in call(
        "teach_practised", {"places": [], "samples": rested[:2], "findings": ["edema"]}
    )["error"]
    assert "error" in call("teach_practised", {"places": [], "findings": ["edema"]})
    assert (len(store.images()), store.stored()) == (1, [])


def test_ones_own_history_and_what_is_withdrawn_from_it(call: Call, store: AnnotationStore) -> None:
    person = call("teach_begin", {})["ok"]["person"]["pseudonym"]
    opened = call("teach_next", {})["ok"]
    values = make_submission(person, opened["image"]["sha256"], shown_at=opened["shown_at"])
    call("teach_submit", values)
    store.review(values["submission_id"], "rejected", "look again at the apex", "boss")
    (done,) = call("teach_history", {})["ok"]
    assert (done["state"], done["reason"], done["fixations"]) == ("rejected", "look again at the apex", 2)
    store.review(values["submission_id"], "accepted", "well seen", "boss")
    (done,) = call("teach_history", {})["ok"]
    assert (done["state"], done["reason"]) == ("accepted", "well seen")
    assert done["picture"].startswith("data:image/jpeg")
    assert call("teach_history", {}, "Somebody else")["ok"] == []
    for why in ("not a radiograph", "twice the same"):
        store.remove(values["submission_id"], why, "boss")
        (done,) = call("teach_history", {})["ok"]
        assert (done["state"], done["reason"]) == ("removed by a reviewer", why)
        store.restore(values["submission_id"], "by mistake", "boss")
        (done,) = call("teach_history", {})["ok"]
        assert (done["state"], done["reason"]) == ("accepted", "well seen"), "as it was judged"
    store.remove(values["submission_id"], "not a radiograph", "boss")
    withdrawn = {"submission_id": values["submission_id"]}
    assert "no such submission" in call("teach_withdraw", withdrawn, "Somebody else")["error"]
    assert call("teach_withdraw", withdrawn)["ok"]
    assert store.stored() == []
    (done,) = call("teach_history", {})["ok"]
    assert (done["state"], done["removed"], done["reason"]) == ("withdrawn", True, "")
    with pytest.raises(StoreError, match="withdrew"):
        store.restore(values["submission_id"], "we want it", "boss")


def test_the_project_decides_mode_blur_clicks_and_form(call: Call, store: AnnotationStore) -> None:
    person = call("teach_begin", {})["ok"]["person"]["pseudonym"]
    before = call("teach_next", {})["ok"]
    store.set_project(
        Project(instruction="Apex first.", mode="bubble", sigma_px=20, radius_px=50, least_clicks=3,
                checklist=("edema", "fracture")),
        "root",
    )  # fmt: skip
    welcome = call("teach_begin", {})["ok"]
    assert (welcome["modes"], welcome["instruction"], welcome["least_clicks"]) == (["bubble"], "Apex first.", 3)
    assert welcome["findings"] == ["edema", "fracture", "no finding"]
    after = call("teach_next", {})["ok"]
    assert after["blurred"]["radius_px"] == pytest.approx(before["blurred"]["radius_px"] * 50 / 32)
    values = make_submission(person, after["image"]["sha256"], mode="bubble", shown_at=after["shown_at"])
    assert "At least 3 clicks" in call("teach_submit", values)["error"]
    values["clicks"] = [make_click(), make_click(0.7, 0.3, 1250.5), make_click(0.7, 0.4, 2250.5)]
    begun = {**values, "shown_at": before["shown_at"]}  # opened before the blur was changed
    assert "ok" in call("teach_submit", begun)
    other = {**values, "submission_id": ID.replace("0b", "0c")}
    assert "ok" in call("teach_submit", other)
    first, second = (one.annotation.client for one in store.stored())
    assert second.radius_px == pytest.approx((first.radius_px or 0) * 50 / 32), "each as it was shown"


def test_each_project_has_its_own_images_settings_and_terms(call: Call, store: AnnotationStore) -> None:
    alone = call("teach_begin", {})["ok"]
    assert [(one["slug"], one["waiting"]) for one in alone["projects"]] == [("main", 1)]
    tubes = store.add_project("Tubes", "root")
    decided = Project(
        "Follow it to its tip.", "CC0 1.0", "bubble", 20, 50, 3, ("edema",), "Where?", tubes.name, tubes.slug
    )
    store.set_project(decided, "root")
    store.add_image(Image.fromarray(np.eye(32, dtype=np.uint8) * 255), "tube", by="test", project=tubes.slug)
    here = {"project": tubes.slug}
    welcome = call("teach_begin", here)["ok"]
    shown = [welcome[name] for name in ("project", "modes", "least_clicks", "question", "agreed", "refused")]
    assert shown == ["tubes", ["bubble"], 3, "Where?", False, ""]
    assert welcome["projects"][1] == {
        "slug": "tubes", "name": "Tubes", "instruction": "Follow it to its tip.", "waiting": 1,
    }  # fmt: skip
    assert call("teach_begin", {"project": "main"})["ok"]["agreed"], "there it was"
    assert "agree" in call("teach_next", here)["error"]
    agreed = {"terms": welcome["terms"], "experience": "radiologist"}
    assert "changed" in call("teach_agree", agreed)["error"], "those are of the other project"
    assert call("teach_agree", {**agreed, **here})["ok"]
    assert call("teach_begin", {})["ok"]["agreed"], "the other terms still hold"
    opened = call("teach_next", here)["ok"]
    assert (opened["image"]["width_px"], call("teach_next", {})["ok"]["image"]["width_px"]) == (32, 64)
    assert opened["blurred"]["radius_px"] == pytest.approx(50 * 32 / 600)
    values = make_submission(
        welcome["person"]["pseudonym"], opened["image"]["sha256"], mode="bubble", shown_at=opened["shown_at"]
    )
    assert "At least 3 clicks" in call("teach_submit", values)["error"]
    store.set_task(opened["image"]["sha256"], "root", project="main")
    values["clicks"] = [make_click(), make_click(0.7, 0.3, 1250.5), make_click(0.7, 0.4, 2250.5)]
    assert "ok" in call("teach_submit", values)
    assert [one.project for one in store.stored()] == ["tubes"], "in which it was shown, wherever the image is now"


def test_a_project_that_is_closed_or_none_is_refused_by_each_endpoint(call: Call, store: AnnotationStore) -> None:
    tubes = store.add_project("Tubes", "root")
    store.add_image(Image.fromarray(np.eye(32, dtype=np.uint8) * 255), "tube", by="test", project=tubes.slug)
    here = {"project": tubes.slug}
    begun = call("teach_next", here)["ok"]
    store.set_project(Project(name=tubes.name, slug=tubes.slug, closed=True), "root")
    own = {"path": "/x", "question": "What?"}
    agree = {"terms": tubes.terms, "experience": "radiologist"}
    for name, sent in (("teach_next", {}), ("teach_own", own), ("teach_agree", agree), ("teach_practise", {})):
        assert call(name, {**sent, **here})["error"].startswith("The project 'Tubes' is closed: ")
        assert "no such project" in call(name, {**sent, "project": "none"})["error"]
        for wrong in ("../x", "T", "x" * 99, 7, ""):
            assert "not understood (project)" in call(name, {**sent, "project": wrong})["error"]
    welcome = call("teach_begin", here)["ok"]
    assert welcome["refused"].startswith("The project 'Tubes' is closed: ")
    assert (welcome["project"], welcome["progress"]["open_images"]) == ("tubes", 0)
    assert [one["slug"] for one in welcome["projects"]] == ["main"]
    for slug in ("none", "<b>"):
        welcome = call("teach_begin", {"project": slug})["ok"]
        assert (welcome["project"], "no such project" in welcome["refused"]) == ("main", True)
    assert call("teach_begin", {}, None)["ok"]["projects"][0]["waiting"] is None, "nobody is known"
    sha256, person = begun["image"]["sha256"], welcome["person"]["pseudonym"]
    assert "ok" in call("teach_reopen", {"sha256": sha256, "shown_at": begun["shown_at"]}), "what was begun goes on"
    values = make_submission(person, sha256, shown_at=begun["shown_at"], lease_id=begun["lease_id"])
    assert "ok" in call("teach_submit", values)
    store.set_project(Project(closed=True), "root")
    assert "'Main' is closed" in call("teach_next", {})["error"], "none is open"
    assert "'Main' is closed" in call("teach_begin", {})["ok"]["refused"]


def test_nothing_is_taken_from_who_is_blocked(call: Call, store: AnnotationStore) -> None:
    person = call("teach_begin", {})["ok"]["person"]["pseudonym"]
    opened = call("teach_next", {})["ok"]
    store.set_blocked(person, True, "clicks anywhere", "boss")
    values = make_submission(person, opened["image"]["sha256"], shown_at=opened["shown_at"])
    for name, sent in (("teach_next", {}), ("teach_own", {"path": "/x", "question": "?"}), ("teach_submit", values)):
        assert "stopped taking" in call(name, sent)["error"]
    store.set_blocked(person, False, "they explained", "boss")
    assert "ok" in call("teach_submit", values)


def test_what_cannot_be_done_now_may_be_asked_again(
    call: Call, store: AnnotationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    (image,) = store.images()
    person = call("teach_begin", {})["ok"]["person"]["pseudonym"]
    values = make_submission(person, image.sha256, shown_at=call("teach_next", {})["ok"]["shown_at"])
    assert call("teach_submit", values, "Somebody else")["later"]
    assert call("teach_submit", values, None)["later"]
    with monkeypatch.context() as broken:

        def busy(*_: object) -> None:
            with translate_errors():
                raise PoolTimeout

        broken.setattr(store, "submit", busy)
        answer = call("teach_submit", values)
    assert answer == {"error": "The store is busy; nothing was stored; try again in a moment.", "later": True}
    assert "later" not in call("teach_submit", {**values, "findings": ["nothing that is listed"]})
    assert "ok" in call("teach_submit", values)
    for _ in range(60):
        last = call("teach_submit", values)
    assert last["later"], "too often"


def test_far_too_many_clicks(call: Call, store: AnnotationStore) -> None:
    values = make_submission("p", "a" * 64)
    values["clicks"] *= 50_000
    assert "not understood" in call("teach_submit", values)["error"]
    assert store.stored() == []


def test_files_outside_the_uploads_are_not_opened(call: Call, folder: Path, store: AnnotationStore) -> None:
    outside, uploads = folder / "outside.png", folder / "gradio"
    Image.new("L", (64, 64)).save(outside)
    (uploads / "link.png").symlink_to(outside)
    link, above, none = uploads / "link.png", uploads / ".." / "outside.png", uploads / "none.png"
    for path in (outside, "/etc/passwd", above, link, uploads, none, "\0"):
        answer = call("teach_own", {"path": str(path), "question": "What?"})
        assert answer == {"error": "The upload is not there any more: choose the file again."}
    assert outside.exists()
    assert len(store.images()) == 1
    inside = upload(call, png(9))
    opened = call("teach_own", {"path": str(inside), "question": "What?"})["ok"]
    assert opened["image"]["question"] == "What?"
    assert not inside.exists(), "the upload itself is not kept"
    assert Path(opened["picture"]["path"]).exists()
    broken = upload(call, b"\x89PNG but no image", "b.png")
    answer = call("teach_own", {"path": str(broken), "question": "What?"})
    assert list(answer) == ["error"]
    assert not broken.exists()


def test_nobody_opens_or_deletes_a_file_that_somebody_else_uploaded_or_the_page_shows(
    call: Call, folder: Path, store: AnnotationStore
) -> None:
    thumbnail = folder / "gradio" / "thumbnail" / "image.png"  # in the same folder, as all that pages show
    thumbnail.parent.mkdir()
    thumbnail.write_bytes(png(1))
    shown = Path(call("teach_next", {})["ok"]["picture"]["path"])
    of_ann = upload(call, png(2))
    for path in (thumbnail, shown, of_ann):
        answer = call("teach_own", {"path": str(path), "question": "What?"}, "Somebody else")
        assert answer == {"error": "The upload is not there any more: choose the file again."}
        assert path.exists()
    assert len(store.images()) == 1
    same = upload(call, png(2), person="Somebody else")
    assert "ok" in call("teach_own", {"path": str(same), "question": "What?"}, "Somebody else")
    assert (same.exists(), of_ann.exists()) == (False, True)
    assert "ok" in call("teach_own", {"path": str(of_ann), "question": "What?"})
    assert not of_ann.exists()


def test_an_error_that_nobody_foresaw_is_a_sentence_too(
    call: Call, store: AnnotationStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object) -> None:
        raise KeyError("x" * 5000)

    monkeypatch.setattr(store, "next_task", fails)
    for _ in range(3):
        answer = call("teach_next", {})
        assert "nobody foresaw" in answer["error"]
    assert sum("in fails" in record.getMessage() for record in caplog.records) == 1
    assert "x" * 300 not in caplog.text
