"""Projects of a store: each is a task list of its own, tells its submissions apart, and comes back by the log."""

from dataclasses import replace
from pathlib import Path

import pytest

from annotate.export.folder import export_store
from annotate.export.importer import import_folder
from annotate.store.imports import run_next_import
from annotate.store.lookup import listed_images
from annotate.store.model import MAIN_PROJECT, StoreError, Task
from annotate.store.project import MOST_PROJECTS, Project, slug_of
from annotate.store.store import AnnotationStore
from gazevlm_core.options import DEFAULT_QUESTION
from tests.annotate.conftest import OpenStore
from tests.annotate.store_maker import PATH, add_images, annotate, do_task, picture

TUBES = "Where does the tube end?"


def must(task: Task | None) -> Task:
    assert task is not None
    return task


def names_of(store: AnnotationStore) -> list[tuple[str, str]]:
    return [(one.slug, one.name) for one in store.projects()]


def test_a_short_name_is_for_links_and_stays(store: AnnotationStore) -> None:
    slugs = {"Chest, Tübes": "chest-tubes", "  --A  b--": "a-b", "胸部": "project", "x" * 99: "x" * 32}
    for name, slug in slugs.items():
        assert slug_of(name) == slug
    assert store.add_project("  Tübes\n 1 ", "boss") == Project(name="Tübes 1", slug="tubes-1")
    assert [store.add_project(name, "boss").slug for name in ("Tubes 1", "tubes: 1")] == ["tubes-1-2", "tubes-1-3"]
    store.set_project(replace(store.project("tubes-1"), name="Lines"), "boss")
    assert names_of(store)[:2] == [(MAIN_PROJECT, "Main"), ("tubes-1", "Lines")]
    before = store.projects(), store.audit()
    wrong = {"": "empty", "LINES": "already", "main": "already", "a\u200bb": "one line", "x" * 61: "longer"}
    for name, said in wrong.items():
        with pytest.raises(StoreError, match=said):
            store.add_project(name, "boss")
    with pytest.raises(StoreError, match="already"):
        store.set_project(replace(store.project("tubes-1"), name="Main"), "boss")
    for slug in ("", "Lines", "../x", "x" * 99, "none"):
        with pytest.raises(StoreError, match="no such project"):
            store.project(slug)
        with pytest.raises(StoreError):
            store.set_project(replace(Project(), slug=slug), "boss")
    assert (store.projects(), store.audit()) == before


def test_there_are_at_most_so_many(store: AnnotationStore) -> None:
    for number in range(MOST_PROJECTS - 1):
        store.add_project(f"project {number}", "boss")
    with pytest.raises(StoreError, match=f"at most {MOST_PROJECTS} projects"):
        store.add_project("one more", "boss")
    assert len(store.projects()) == MOST_PROJECTS


def test_a_task_is_of_its_project_alone(open_store: OpenStore) -> None:
    store = open_store(gold_share=0.4, repeat_share=0.2, secret="draws the same tasks each time")
    slugs = [MAIN_PROJECT, store.add_project("Tubes", "boss").slug, store.add_project("Hearts", "boss").slug]
    of, usual = dict[str, str](), {slug: set[str]() for slug in slugs}
    for seed in range(18):
        slug, gold = slugs[seed % 3], PATH if seed % 6 < 3 else None
        image = store.add_image(picture(seed), "image", gold=gold, by="boss", project=slug)
        of[image.sha256] = slug
        usual[slug] |= set() if gold else {image.sha256}
    who, got = store.pseudonym("Ada"), {slug: set[str]() for slug in slugs}
    for turn in range(60):
        slug = slugs[turn % 3]
        task = store.next_task(who, slug)
        if task is not None:
            assert of[task.image.sha256] == task.image.project == slug
            got[slug].add(task.image.sha256)
            do_task(store, who, task, f"s{turn}")
    assert all(got[slug] > usual[slug] for slug in slugs), "all of them, and gold ones"
    assert all(store.progress(who, slug).open_images == 0 for slug in slugs)
    assert all(of[one.image_sha256] == one.project for one in store.stored())
    kinds = {one.kind for one in store.stored()}
    assert kinds == {"usual", "gold", "repeat"}, "else the law was not tested"


def test_a_task_waits_in_each_project(store: AnnotationStore) -> None:
    tubes = store.add_project("Tubes", "boss").slug
    add_images(store, 4)
    for image in store.images()[:2]:
        store.set_task(image.sha256, "boss", project=tubes)
    who = store.pseudonym("Ada")
    first, other = must(store.next_task(who)), must(store.next_task(who, tubes))
    assert (must(store.next_task(who)).lease_id, must(store.next_task(who, tubes)).lease_id) == (
        first.lease_id, other.lease_id,
    )  # fmt: skip
    do_task(store, who, other, "s1")
    assert must(store.next_task(who)).lease_id == first.lease_id, "it is still there"
    with pytest.raises(StoreError, match="no such project"):
        store.next_task(who, "none")


def test_a_closed_project_gives_out_nothing_and_still_takes_what_was_begun(store: AnnotationStore) -> None:
    tubes = store.add_project("Tubes", "boss")
    store.add_image(picture(1), "a", by="boss", project=tubes.slug)
    store.add_image(picture(2), "b", by="boss", project=tubes.slug)
    who = store.pseudonym("Ada")
    task = must(store.next_task(who, tubes.slug))
    assert store.counts().open_images == 2
    store.set_project(replace(tubes, closed=True), "boss")
    assert store.counts().open_images == 0
    for name in ("Ada", "Bob"):
        with pytest.raises(StoreError, match=r"'Tubes' is closed: .*\.$"):
            store.next_task(store.pseudonym(name), tubes.slug)
    do_task(store, who, task, "s1")
    assert [(one.kind, one.project) for one in store.stored()] == [("usual", tubes.slug)]
    store.set_project(tubes, "boss")
    assert must(store.next_task(who, tubes.slug)).image.sha256 != task.image.sha256


def test_an_image_moves_with_its_place_and_its_question(store: AnnotationStore) -> None:
    tubes = store.add_project("Tubes", "boss")
    store.set_project(replace(tubes, question=TUBES), "boss")
    usual, other = (image.sha256 for image in add_images(store, 2))
    store.set_task(other, "boss", question="Is it rotated?")
    who = store.pseudonym("Ada")
    do_task(store, who, must(store.next_task(who)), "s1")
    for sha256 in (usual, other):
        store.set_task(sha256, "boss", project=tubes.slug)
    assert store.image(usual).question == TUBES
    assert store.image(other).question == "Is it rotated?", "what was asked of it alone goes with it"
    assert store.next_task(store.pseudonym("Bob")) is None
    assert must(store.next_task(store.pseudonym("Bob"), tubes.slug)).image.project == tubes.slug
    (kept,) = store.stored()
    assert kept.project == MAIN_PROJECT, "it was made there"
    assert listed_images(store, "open", 9, project=tubes.slug)[1] == 2
    assert listed_images(store, "open", 9) == ([], 0)
    with pytest.raises(StoreError, match="no such project"):
        store.set_task(usual, "boss", project="none")
    store.set_project(replace(store.project(tubes.slug), question="And now?"), "boss")
    assert [store.image(one).question for one in (usual, other)] == ["And now?", "Is it rotated?"]


def test_tasks_are_closed_in_one_project(store: AnnotationStore) -> None:
    tubes = store.add_project("Tubes", "boss").slug
    one, other = add_images(store, 2)
    store.set_task(other.sha256, "boss", project=tubes)
    for image in (one, other):
        store.submit(annotate(image.sha256, store.pseudonym("Ada"), image.sha256[:9]))
    assert store.close_done(1, "boss", tubes) == 1
    assert [store.image(image.sha256).open for image in (one, other)] == [True, False]


def test_an_import_goes_into_a_project_with_its_question(store: AnnotationStore, tmp_path: Path) -> None:
    tubes = store.add_project("Tubes", "boss")
    store.set_project(replace(tubes, question=TUBES), "boss")
    (known,) = add_images(store, 1)
    folder = tmp_path / "images"
    folder.mkdir()
    for seed in range(2):
        picture(seed).save(folder / f"{seed}.png")
    store.queue_import("folder", str(folder), "boss", project=tubes.slug)
    done = run_next_import(store)
    assert done is not None
    assert (done.project, done.added, done.known) == (tubes.slug, 1, 1)
    found = {image.sha256: (image.project, image.question) for image in store.images()}
    assert found.pop(known.sha256) == (MAIN_PROJECT, DEFAULT_QUESTION), "an image is in one project alone"
    assert list(found.values()) == [(tubes.slug, TUBES)]
    for project in ("none", ""):
        with pytest.raises(StoreError, match="no such project"):
            store.queue_import("folder", str(folder), "boss", project=project)
        with pytest.raises(StoreError, match="no such project"):
            store.add_image(picture(9), "image", by="boss", project=project)


def test_terms_are_agreed_to_once_for_each_licence(store: AnnotationStore) -> None:
    who, one, other = store.pseudonym("Ada"), Project(), Project(licence="CC0\n1.0")
    for terms in (one.terms, other.terms, one.terms):
        store.agree(who, terms, "radiologist")
    assert store.person(who).agreed.splitlines() == ["1 CC BY 4.0", "1 CC0 1.0"]
    assert [entry.action for entry in store.audit()] == ["agreed", "agreed"]


# ---- out and back ----------------------------------------------------------------------------------------------------
def filled(store: AnnotationStore) -> Project:
    """Two projects with an accepted submission each."""
    tubes = store.add_project("Tubes", "boss")
    tubes = replace(tubes, name="Tubes and lines", question=TUBES, closed=True, checklist=("edema",), sigma_px=20.0)
    one, other = add_images(store, 2)
    store.set_task(other.sha256, "boss", project=tubes.slug)
    for image in (one, other):
        store.submit(annotate(image.sha256, store.pseudonym("Ada"), image.sha256[:9]))
        store.review(image.sha256[:9], "accepted", "", "boss")
    store.set_project(replace(store.project(), instruction="Apex first."), "boss")
    store.set_project(tubes, "boss")
    return tubes


def test_projects_come_back_with_an_export(store: AnnotationStore, tmp_path: Path) -> None:
    tubes = filled(store)
    folder = export_store(store, tmp_path / "all", formats=["jsonl"]).folder
    copy = AnnotationStore.open(tmp_path / "copy")
    copy.set_project(replace(Project(), instruction="Of today."), "chief")
    import_folder(copy, folder)
    assert copy.project(tubes.slug) == tubes
    assert copy.project().instruction == "Of today.", "what was decided last holds"
    assert {(one.submission_id, one.project) for one in copy.stored()} == {
        (one.submission_id, one.project) for one in store.stored()
    }
    assert {one.project for one in copy.images()} == {MAIN_PROJECT, tubes.slug}
    assert {one.project for one in copy.stored()} == {MAIN_PROJECT, tubes.slug}
    copy.close()


def test_a_log_that_says_nonsense_of_a_project_changes_none(store: AnnotationStore, tmp_path: Path) -> None:
    copy = AnnotationStore.open(tmp_path / "copy")
    add = store.write_audit
    for details in ({"checklist": None}, {"name": 7}, {"slug": "../x"}, {"sigma_px": "wide"}, {"mode": "telepathy"}):
        add("boss", "project changed", "project main", **details)
    add("boss", "project changed", "project", instruction="Of an earlier program.", later="unknown")
    copy.ingest([(entry, b"") for entry in store.audit()])
    assert copy.projects() == [Project(instruction="Of an earlier program.")]
    assert len(copy.audit()) == 6
    copy.close()


def test_accepted_submissions_of_one_project_are_exported(store: AnnotationStore, tmp_path: Path) -> None:
    tubes = filled(store)
    one = export_store(store, tmp_path / "one", which="accepted", project=tubes.slug, formats=["jsonl"])
    both = export_store(store, tmp_path / "both", which="accepted", formats=["jsonl"])
    assert [done.counts["submissions"] for done in (one, both)] == [1, 2]
    assert f'"project":"{tubes.slug}"' in (one.folder / "records.jsonl").read_text()
    assert '"project":"main"' not in (one.folder / "records.jsonl").read_text()
    for which, project, said in (("accepted", "none", "no such project"), ("all", tubes.slug, "A full copy")):
        with pytest.raises(StoreError, match=said):
            export_store(store, tmp_path / "none", which=which, project=project)  # type: ignore[arg-type]
    assert not (tmp_path / "none").exists()
