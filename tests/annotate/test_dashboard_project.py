"""What an admin decides about all images, by the service of the tab."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from annotate.dashboard.gallery import gallery_html, ticked_images
from annotate.dashboard.imports import import_table
from annotate.dashboard.project import choices_of
from annotate.store.imports import run_next_import
from annotate.store.model import StoreError
from annotate.store.project import Project
from annotate.store.store import AnnotationStore
from tests.annotate.dashboard_maker import ADMIN, ANNOTATOR, NOBODY, REVIEWER, make_service
from tests.annotate.store_maker import add_images, annotate, picture
from web.identity import NotAllowed


def test_admins_alone_decide_and_only_what_the_page_knows(store: AnnotationStore, tmp_path: Path) -> None:
    service = make_service(store, tmp_path, findings=("edema", "wings")).project
    for claim in (NOBODY, ANNOTATOR, REVIEWER):
        with pytest.raises(NotAllowed):
            service.project(claim)
        with pytest.raises(NotAllowed):
            service.change(claim, Project())
    wanted = Project("Apex first.", least_clicks=2, checklist=("wings",))
    service.change(ADMIN, wanted)
    assert service.project(ADMIN) == store.project() == wanted
    with pytest.raises(StoreError, match="does not know 'horns'"):
        service.change(ADMIN, Project(checklist=("horns",)))


def test_projects_are_made_renamed_and_closed_by_admins(store: AnnotationStore, tmp_path: Path) -> None:
    service = make_service(store, tmp_path, findings=("edema",))
    tubes = service.project.add(ADMIN, " Tubes ")
    assert [one.slug for one in service.project.projects(ADMIN)] == ["main", "tubes"]
    service.project.change(ADMIN, replace(tubes, name="Lines", closed=True))
    store.set_project(replace(store.project(), checklist=("horns",)), "an earlier program")
    service.project.change(ADMIN, replace(store.project(), name="First"))
    assert choices_of(store.projects()) == [("First", "main"), ("Lines (closed)", "tubes")]
    with pytest.raises(StoreError, match="already"):
        service.project.add(ADMIN, "lines")
    with pytest.raises(StoreError, match="no such project"):
        service.project.change(ADMIN, Project(slug="none"))


def test_gallery_imports_and_exports_are_of_the_project_that_is_chosen(store: AnnotationStore, tmp_path: Path) -> None:
    service = make_service(store, tmp_path)
    tubes = service.project.add(ADMIN, "Tubes").slug
    images = add_images(store, 5)
    service.images.set_task(ADMIN, [one.sha256 for one in images[:2]], project=tubes)
    assert [service.images.page(ADMIN, "open", project=slug).total for slug in ("main", tubes)] == [3, 2]
    with pytest.raises(StoreError, match="no such project"):
        service.images.set_task(ADMIN, [images[2].sha256], project="")
    for image in images:
        store.submit(annotate(image.sha256, store.pseudonym("Ada"), image.sha256[:9]))
        store.review(image.sha256[:9], "accepted", "", "boss")
    assert service.images.close_done(ADMIN, 1, tubes) == 2
    done = service.exports.export(ADMIN, tmp_path / "out", which="accepted", project=tubes, formats=["csv"])
    assert done.counts["submissions"] == 2
    assert store.audit()[-1].details["project"] == tubes
    folder = tmp_path / "more"
    folder.mkdir()
    picture(77).save(folder / "a.png")
    service.worker.stop()  # done here instead
    service.imports.folder(ADMIN, str(folder), "Where?", None, tubes)
    run_next_import(store)
    assert import_table(service.imports.history(ADMIN)).rows[0][0] == ("1: more", "folder", "into tubes")
    assert [image.name for image in store.images() if image.project == tubes and image.open] == ["a.png"]


def test_a_task_is_asked_otherwise_and_tasks_that_are_done_are_closed(store: AnnotationStore, tmp_path: Path) -> None:
    service = make_service(store, tmp_path).images
    images = add_images(store, 3)
    who = store.pseudonym("Ada")
    store.submit(annotate(images[0].sha256, who, "s1"))
    for claim in (NOBODY, ANNOTATOR, REVIEWER):
        with pytest.raises(NotAllowed):
            service.set_task(claim, [images[0].sha256], question="Where?", quota=2)
        with pytest.raises(NotAllowed):
            service.set_open(claim, [images[0].sha256], False)
        with pytest.raises(NotAllowed):
            service.close_done(claim, 1)
    service.set_task(ADMIN, [images[0].sha256], question="Where is the tube?", quota=1.0)
    changed = store.image(images[0].sha256)
    assert (changed.question, changed.quota) == ("Where is the tube?", 1)
    assert store.counts().open_images == 2, "it has its one annotator"
    service.set_task(ADMIN, [images[0].sha256], quota=5)
    assert store.image(images[0].sha256).question == "Where is the tube?"
    assert store.audit()[-1].details == {"quota": 5}, "what stayed is no change"
    assert store.counts().open_images == 3
    before = store.audit()
    wrong: list[dict[str, Any]] = [{"question": ""}, {"quota": 0}, {"quota": 1.5}, {"priority": 2}, {"priority": -7}]
    for one in wrong:
        with pytest.raises(StoreError):
            service.set_task(ADMIN, [images[0].sha256], **one)
    with pytest.raises(StoreError, match="no such image"):
        service.set_task(ADMIN, [images[0].sha256, "0" * 64], question="Where?")
    with pytest.raises(StoreError, match="At most 24 images"):
        service.set_task(ADMIN, [images[0].sha256] * 25, question="Where?")
    assert store.audit() == before, "all of them, or none"
    assert service.close_done(ADMIN, 1) == 1
    assert [store.image(one.sha256).open for one in images] == [False, True, True]
    assert store.audit()[-1].action == "image closed"


def test_the_gallery_turns_its_pages_and_finds_images(store: AnnotationStore, tmp_path: Path) -> None:
    service = make_service(store, tmp_path).images
    images = add_images(store, 30)
    service.set_task(ADMIN, [images[29].sha256], priority=1)
    service.set_task(ADMIN, [images[0].sha256], priority=-1)
    first, second = service.page(ADMIN, "open"), service.page(ADMIN, "open", 24)
    assert (len(first.listed), len(second.listed), first.total) == (24, 6, 30)
    digests = [one.image.sha256 for one in (*first.listed, *second.listed)]
    assert (digests[0], digests[-1]) == (images[29].sha256, images[0].sha256), "as annotators get them"
    assert len(set(digests)) == 30
    assert all(uri.startswith("data:image/jpeg") for uri in first.thumbs)
    assert service.page(ADMIN, "open", 10_000).skip == 24, "the last page, behind it"
    for search, count in (("IMAGE 1", 11), (images[3].sha256[:8].upper(), 1), ("%", 0), ("image_1", 0)):
        assert service.page(ADMIN, "open", 0, search).total == count
    assert service.page(ADMIN, "gold").listed == []


def test_only_digests_are_taken_for_what_is_ticked() -> None:
    one, other = "a" * 64, "b" * 64
    assert ticked_images(f"{one} {other} {one}", "") == [one, other]
    assert ticked_images("", one) == [one], "the one that is shown"
    for ticked, shown in (("", ""), ("a", ""), (f"{one} ../x", one), ("x " * 2_000_000, one), ("", "A" * 64)):
        with pytest.raises(StoreError, match="Tick images first"):
            ticked_images(ticked, shown)


def test_a_card_shows_nothing_of_a_name_as_html(store: AnnotationStore, tmp_path: Path) -> None:
    service = make_service(store, tmp_path).images
    store.add_image(picture(1), '<img src=x onerror="alert(1)">', by="admin")
    page = service.page(ADMIN, "open")
    shown = gallery_html(page.listed, page.thumbs, page.skip, page.total, "")
    assert shown.count("<img") == 1
    assert 'onerror="' not in shown
    assert "1 to 1 of 1" in shown
