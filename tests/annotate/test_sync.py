"""Sync with a stubbed client of the Hub that fails, times out, loses answers and outlives the process."""

import errno
import inspect
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi

from annotate.store.store import AnnotationStore
from annotate.sync.repo import CARD, CARD_BODY, CARD_HEAD, NOTE, HubRepo, card_text, is_own_card, new_name, stamp_of
from annotate.sync.worker import HubSync
from gazevlm_core.scanpath import Fixation, Scanpath
from tests.annotate.filled_store import clicks, fill, open_store, picture
from tests.annotate.hub_stub import HubStub, Killed

GENEROUS_S = 120


@pytest.fixture
def store(tmp_path: Path) -> Iterator[AnnotationStore]:
    store = open_store(tmp_path / "data")
    fill(store)
    yield store
    store.close()


def start(store: AnnotationStore, tmp_path: Path, *plan: str, attempts: int = 4, data: str = "data") -> HubSync:
    """A process that begins: a new client and a new sync on what is on the disk."""
    client = HubStub(tmp_path / "hub", plan)
    sync = HubSync(store, HubRepo("o/n", client, attempts=attempts, first_wait_s=0.001), tmp_path / data, period_s=3600)
    sync.client = client  # for the test
    return sync


def records(tmp_path: Path) -> list[dict]:
    """Every line of every data shard of the repository."""
    return [json.loads(line) for path in sorted((tmp_path / "hub" / "data").glob("*.jsonl")) for line in path.open()]


def events(tmp_path: Path, kind: str) -> list[dict]:
    found = [json.loads(line) for path in sorted((tmp_path / "hub" / "events").glob("*.jsonl")) for line in path.open()]
    return [line[kind] for line in found if kind in line]


def visible(store: AnnotationStore) -> list[Any]:
    """Submissions that are to be published: all but the one that was removed before."""
    unseen = [one for one in store.stored(include_removed=True) if one.removed and not one.synced]
    return [one for one in store.stored(include_removed=True) if one not in unseen]


def assert_published_once(store: AnnotationStore, tmp_path: Path) -> None:
    """Each submission that is to be seen lies in one shard, once, as it is here."""
    published = {line["number"]: line for line in records(tmp_path)}
    assert Counter(line["number"] for line in records(tmp_path)) == Counter(dict.fromkeys(published, 1))
    assert sorted(published) == [one.number for one in visible(store)]
    for one in visible(store):
        assert published[one.number]["digest"] == one.receipt.digest
    audit = [line["number"] for line in events(tmp_path, "audit")]
    assert sorted(audit) == [entry.number for entry in store.audit()]
    assert {path.stem for path in (tmp_path / "hub" / "images").iterdir()} == {image.sha256 for image in store.images()}


def state_of(store: AnnotationStore) -> dict[str, Any]:
    """What a restore must give back."""
    return {
        "records": visible(store),
        "images": store.images(),
        "pngs": [store.png(image.sha256) for image in store.images()],
        "skips": store.skips(),
        "audit": store.audit(),
    }


def test_what_is_saved_and_what_is_synced_are_told_apart(store: AnnotationStore, tmp_path: Path) -> None:
    sync = start(store, tmp_path)
    before = sync.state()
    assert (before.saved, before.backlog, before.last_success_at) == (9, 8, None)
    assert sync.sync()
    after = sync.state()
    assert (after.saved, after.synced, after.backlog, after.last_error) == (9, 9, 0, "")
    assert after.last_success_at is not None
    assert_published_once(store, tmp_path)
    assert (tmp_path / "hub" / "README.md").is_file()
    commits = sync.client.commits
    assert sync.sync()
    assert sync.client.commits == commits  # nothing new, nothing sent


@pytest.mark.parametrize(
    "plan",
    [
        ("down",), ("timeout", "timeout"), ("busy", "down", "timeout"), ("lost",), ("lost", "lost"),
        ("ok", "lost", "down", "lost"), ("ok", "ok", "lost"), ("ok", "ok", "timeout", "lost", "busy"),
    ],
)  # fmt: skip
def test_retries_lose_nothing_and_double_nothing(store: AnnotationStore, tmp_path: Path, plan: tuple[str, ...]) -> None:
    sync = start(store, tmp_path, *plan)
    assert sync.sync()
    assert sync.client.plan == []
    assert sync.state().backlog == 0
    assert_published_once(store, tmp_path)


@pytest.mark.parametrize("plan", [("down",) * 4, ("ok", *("lost",) * 4), ("ok", "ok", *("lost",) * 4), ("forbidden",)])
def test_a_hub_that_stays_away_costs_nothing(store: AnnotationStore, tmp_path: Path, plan: tuple[str, ...]) -> None:
    sync = start(store, tmp_path, *plan)
    assert not sync.sync()
    state = sync.state()
    assert (state.saved, state.backlog, state.last_success_at) == (9, 8, None)
    assert state.last_error
    assert "hf_secret" not in state.last_error
    image = store.images()[0]
    store.submit(clicks(image, store.pseudonym("Ada"), 50))  # life goes on
    assert sync.sync()
    assert sync.state().last_error == ""
    assert sync.state().backlog == 0
    assert_published_once(store, tmp_path)


def test_a_full_disk_is_not_taken_for_a_lost_connection(store: AnnotationStore, tmp_path: Path) -> None:
    sync, tries = start(store, tmp_path), []

    def fill_up() -> None:
        tries.append(1)
        raise OSError(errno.ENOSPC, "No space left on device", "/home/somebody/file")

    sync.client.before_commit = fill_up
    assert not sync.sync()
    assert sync.state().last_error == "This machine could not do it (No space left on device); it is tried again later."
    assert len(tries) == 1
    sync.client.before_commit = lambda: None
    assert sync.sync()
    assert_published_once(store, tmp_path)


@pytest.mark.parametrize("survivor", ["note", "no note"])
@pytest.mark.parametrize("commits_before", [0, 1, 2])
def test_a_process_that_ends_between_commit_and_note(
    store: AnnotationStore, tmp_path: Path, survivor: str, commits_before: int
) -> None:
    first = start(store, tmp_path, *["ok"] * commits_before, "killed")
    with pytest.raises(Killed):
        first.sync()
    if survivor == "no note":
        (tmp_path / "data" / NOTE).unlink(missing_ok=True)
    store.submit(clicks(store.images()[0], store.pseudonym("Ada"), 50))
    second = start(store, tmp_path)
    assert second.sync()
    assert second.state().backlog == 0
    assert_published_once(store, tmp_path)


def test_reviews_after_the_sync_are_events(store: AnnotationStore, tmp_path: Path) -> None:
    sync = start(store, tmp_path)
    sync.sync()
    shards = {path.name: path.read_bytes() for path in (tmp_path / "hub" / "data").iterdir()}
    root, one = store.pseudonym("Root"), store.stored()[3]
    store.review(one.annotation.submission_id, "rejected", "too fast", root)
    assert (sync.state().backlog, sync.state().synced) == (1, 8)
    sync.sync()
    assert {path.name: path.read_bytes() for path in (tmp_path / "hub" / "data").iterdir()} == shards
    (line,) = events(tmp_path, "verdict")
    assert (line["submission_id"], line["verdict"], line["reason"]) == (
        one.annotation.submission_id, "rejected", "too fast",
    )  # fmt: skip
    assert events(tmp_path, "audit")[-1]["action"] == "rejected"


def test_a_review_during_the_commit_is_not_lost(store: AnnotationStore, tmp_path: Path) -> None:
    sync = start(store, tmp_path)
    one, root = store.stored()[0], store.pseudonym("Root")

    def judge() -> None:
        if sync.client.commits == 2:  # the submissions are on their way
            store.review(one.annotation.submission_id, "rejected", "late", root)

    sync.client.before_commit = judge
    assert sync.sync()
    assert sync.state().backlog == 0
    assert [line["verdict"] for line in events(tmp_path, "verdict")] == ["rejected"]
    assert_published_once(store, tmp_path)


# ---- restore --------------------------------------------------------------------------------------------------------
def busy_life(store: AnnotationStore, sync: HubSync) -> None:
    """Several syncs with things happening between them."""
    sync.sync()
    root, ids = store.pseudonym("Root"), [one.annotation.submission_id for one in store.stored()]
    store.review(ids[0], "rejected", "second thoughts", root)
    store.remove(ids[1], "by wish", root)
    store.set_gold(store.images()[0].sha256, store.stored()[0].annotation.scanpath, root)
    sync.sync()
    store.review(ids[0], "accepted", "third thoughts", root)
    store.submit(clicks(store.images()[1], store.pseudonym("Eve"), 60))
    store.review(ids[2], "accepted", "", root)
    sync.sync()


def test_an_empty_disk_gets_everything_back(store: AnnotationStore, tmp_path: Path, store_url: str) -> None:
    busy_life(store, start(store, tmp_path))
    other = open_store(tmp_path / "empty", store_url)
    sync = start(other, tmp_path, data="empty")
    restored = sync.restore()
    assert (restored["submissions"], restored["images"], restored["skips"]) == (9, 4, 1)
    assert state_of(other) == state_of(store)
    assert sync.state().backlog == 0
    again = sync.restore()
    assert (again["shards"], again["submissions"], again["audit"]) == (0, 0, 0)
    # and it goes on: nothing is sent twice, and what is new is sent
    commits = sync.client.commits
    assert sync.sync()
    assert sync.client.commits == commits
    receipt = other.submit(clicks(other.images()[0], other.pseudonym("Eve"), 70))
    assert receipt.number == 11
    assert sync.sync()
    assert Counter(line["number"] for line in records(tmp_path))[11] == 1
    other.close()


def test_what_is_known_of_people_comes_back_with_the_log(store: AnnotationStore, tmp_path: Path) -> None:
    sync, (ada, ben, cleo) = start(store, tmp_path), map(store.pseudonym, ("Ada", "Ben", "Cleo"))
    store.agree(ada, "1 CC0 1.0", "medical student")
    store.agree(ada, "1 CC BY 4.0", "radiologist")
    store.set_blocked(ben, True, "clicks anywhere", "boss")
    sync.sync()
    store.set_blocked(cleo, True, "by mistake", "boss")
    store.set_blocked(cleo, False, "by mistake", "boss")
    sync.sync()
    other = open_store(tmp_path / "empty")
    start(other, tmp_path, data="empty").restore()
    for who in (ada, ben, cleo):
        assert other.person(who) == replace(store.person(who), name=None)
    assert other.person(ben).blocked
    other.close()


def test_gold_that_went_with_its_submission_does_not_come_back(store: AnnotationStore, tmp_path: Path) -> None:
    sync, one = start(store, tmp_path), store.stored()[0]
    who, image = one.annotation.annotator, one.image_sha256
    store.set_gold(image, one.annotation.scanpath, "boss", gold_from=[who])
    sync.sync()
    store.withdraw(one.submission_id, who)
    sync.sync()
    assert events(tmp_path, "image")[-1]["gold"] is None
    other = open_store(tmp_path / "empty")
    start(other, tmp_path, data="empty").restore()
    assert (other.image(image).gold, other.image(image).gold_from) == (None, ())
    other.close()


def test_an_own_image_that_is_offered_later_comes_back_as_a_task(store: AnnotationStore, tmp_path: Path) -> None:
    sync = start(store, tmp_path)
    assert sync.sync()
    gold = Scanpath((Fixation(0.5, 0.5),), "eyetracker")
    store.add_image(picture(4), "case 4", question="What is it?", quota=3, gold=gold, by="admin")
    assert sync.sync()
    other = open_store(tmp_path / "empty")
    start(other, tmp_path, data="empty").restore()
    assert other.images() == store.images()
    assert [image.question for image in other.images() if image.name == "case 4"] == ["What is it?"]
    other.close()


def test_a_restore_that_is_cut_off_goes_on(store: AnnotationStore, tmp_path: Path) -> None:
    busy_life(store, start(store, tmp_path))
    other = open_store(tmp_path / "empty")
    sync = start(other, tmp_path, data="empty", attempts=1)
    for broken in range(1, 4):
        sync.client.broken_reads = broken
        assert not sync.sync()
        assert "cannot be reached" in sync.state().last_error
        sync.client.broken_reads = 0
    sync.restore()
    assert state_of(other) == state_of(store)
    other.close()


def test_a_lost_database_beside_a_kept_note_is_restored(store: AnnotationStore, tmp_path: Path) -> None:
    busy_life(store, start(store, tmp_path))
    other = open_store(tmp_path / "empty")
    (tmp_path / "empty" / NOTE).write_bytes((tmp_path / "data" / NOTE).read_bytes())
    sync = start(other, tmp_path, data="empty")
    sync.restore()
    assert state_of(other) == state_of(store)
    other.close()


def test_an_older_copy_of_the_database_catches_up(store: AnnotationStore, tmp_path: Path) -> None:
    sync = start(store, tmp_path)
    sync.sync()
    older = open_store(tmp_path / "older")
    start(older, tmp_path, data="older").restore()
    root, one = store.pseudonym("Root"), store.stored()[0]
    store.review(one.annotation.submission_id, "rejected", "later", root)
    sync.sync()
    again = start(older, tmp_path, data="older")
    restored = again.restore()
    assert restored["verdicts"] == 1
    assert older.find(one.annotation.submission_id).verdict == "rejected"
    assert again.state().backlog == 0
    older.close()


@pytest.mark.parametrize(
    ("folder", "line", "message"),
    [
        ("data/", "{", "no JSON"),
        ("data/", '{"number": 1}', "Field required"),
        ("events/", '{"delete": {}}', "an event is one of"),
        ("events/", '{"verdict": [], "image": {}}', "an event is one of"),
    ],
)
def test_a_foreign_shard_is_refused_and_nothing_is_lost(
    store: AnnotationStore, tmp_path: Path, folder: str, line: str, message: str
) -> None:
    path = tmp_path / "hub" / new_name(folder)
    path.parent.mkdir(parents=True)
    path.write_text(line + "\n")
    sync = start(store, tmp_path)
    assert not sync.sync()
    assert re.search(rf"line 1: .*{message}", sync.state().last_error)
    assert len(store.stored(include_removed=True)) == 9


def test_the_repository_opens_as_a_dataset(store: AnnotationStore, tmp_path: Path) -> None:
    import datasets

    sync = start(store, tmp_path)
    sync.sync()
    store.submit(clicks(store.images()[0], store.pseudonym("Eve"), 60, confidence=None))
    sync.sync()
    loaded = datasets.load_dataset(str(tmp_path / "hub"), split="train", cache_dir=str(tmp_path / "datasets"))
    assert sorted(loaded["number"]) == [one.number for one in visible(store)]


def test_records_of_both_versions_open_together_and_an_earlier_card_gives_way(
    store: AnnotationStore, tmp_path: Path
) -> None:
    import datasets

    image, who = store.images()[0], store.pseudonym("Eve")
    start(store, tmp_path).sync()  # findings_asked are not known of these
    card = tmp_path / "hub" / CARD
    card.write_text(f"---\n{CARD_HEAD}---\n{CARD_BODY}")
    (earlier,) = sorted((tmp_path / "hub" / "data").glob("*.jsonl"))
    lines = [json.loads(line) for line in earlier.read_text().splitlines()]
    for line in lines:  # as an earlier program wrote them
        del line["image_id"], line["project"], line["record"]["findings_asked"]
    earlier.write_text("".join(json.dumps(line) + "\n" for line in lines))
    asked = ("edema", "fracture")
    store.submit(clicks(image, who, 60, findings=("edema",), findings_asked=asked))
    start(store, tmp_path).sync()
    assert card.read_text() == card_text()
    loaded = datasets.load_dataset(str(tmp_path / "hub"), split="train", cache_dir=str(tmp_path / "datasets"))
    by_number = {row["number"]: row for row in loaded}
    for one in visible(store):
        row, path = by_number[one.number]["record"], one.annotation.scanpath
        assert row["findings_asked"] == (list(asked) if one.annotation.annotator == who else None)
        assert [(at["x"], at["y"]) for at in row["scanpath"]["fixations"]] == [(at.x, at.y) for at in path]
    assert [row["image_id"] for row in loaded].count(None) == len(lines)
    assert [row["project"] for row in loaded].count("main") == 1, "what an earlier line lacks is null"


def test_a_card_that_somebody_wrote_stays(store: AnnotationStore, tmp_path: Path) -> None:
    start(store, tmp_path).sync()
    card = tmp_path / "hub" / CARD
    card.write_text("ours")
    start(store, tmp_path).sync()
    assert card.read_text() == "ours"
    named = card_text()
    assert is_own_card(named)
    assert is_own_card(named.replace("  - name: project\n    dtype: string\n", "")), "one that names fewer columns"
    for before, after in (("tags:\n", "license: mit\ntags:\n"), ("dataset_info:", "license: mit\ndataset_info:")):
        assert not is_own_card(named.replace(before, after)), "somebody added to it"
    assert not is_own_card(named + "More.")


# ---- names, client, thread ------------------------------------------------------------------------------------------
def test_names_are_new_and_go_up_even_where_the_clock_went_back() -> None:
    late = "20990101T000000000000Z"
    names = {new_name("data/", late) for _ in range(1000)}
    assert len(names) == 1000
    assert {stamp_of(name) for name in names} == {late}
    assert stamp_of(new_name("data/")) > "2026"
    assert stamp_of("data/else.jsonl") == ""


@pytest.mark.parametrize("name", ["create_repo", "list_repo_files", "hf_hub_download", "create_commit"])
def test_the_real_client_takes_the_same_calls(name: str) -> None:
    ours, theirs = (inspect.signature(getattr(client, name)).parameters for client in (HubStub, HfApi))
    assert ours.keys() <= theirs.keys()
    needed = {key for key, one in theirs.items() if one.default is one.empty and one.kind is not one.VAR_KEYWORD}
    assert needed <= ours.keys()


def wait_for(what: Any) -> None:
    end = time.monotonic() + GENEROUS_S
    while not what():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_the_background_thread_syncs_and_stops(store: AnnotationStore, tmp_path: Path) -> None:
    sync = start(store, tmp_path)
    sync.start()
    wait_for(lambda: sync.state().last_success_at)
    store.submit(clicks(store.images()[0], store.pseudonym("Eve"), 60))
    sync.wake()
    wait_for(lambda: sync.state().backlog == 0)
    store.submit(clicks(store.images()[0], store.pseudonym("Eve"), 61))
    assert sync.stop(GENEROUS_S)  # a last sync
    assert sync.state().backlog == 0
    assert_published_once(store, tmp_path)
    assert not any(thread.name == "hub-sync" for thread in threading.enumerate())


PROCESS = """
import sys, time
from pathlib import Path
from annotate.sync.repo import HubRepo
from annotate.sync.worker import HubSync
from tests.annotate.filled_store import fill, open_store, clicks
from tests.annotate.hub_stub import HubStub
root = Path(sys.argv[1])
store = open_store(root / "data")
fill(store)
sync = HubSync(store, HubRepo("o/n", HubStub(root / "hub")), root / "data", period_s=3600)
sync.start()
sync.flush_at_exit(100)
while sync.state().last_success_at is None:
    time.sleep(0.05)
store.submit(clicks(store.images()[0], store.pseudonym("Eve"), 60))
print("ready", flush=True)
if sys.argv[2] == "wait":
    time.sleep(600)
"""


@pytest.mark.parametrize("how", ["wait", "end"])
def test_the_last_submissions_are_flushed_when_the_program_ends(tmp_path: Path, repository: Path, how: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PROCESS, str(tmp_path), how], cwd=repository, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(repository)},
    )  # fmt: skip
    try:
        assert process.stdout.readline() == "ready\n"
        if how == "wait":
            process.send_signal(signal.SIGTERM)
        assert process.wait(GENEROUS_S) == (-signal.SIGTERM if how == "wait" else 0)
    finally:
        process.kill()
        process.stdout.close()
    assert 10 in [line["number"] for line in records(tmp_path)]
    store = open_store(tmp_path / "data")
    assert store.counts().backlog == 0
    assert replace(store.stored()[-1], synced=False).number == 10
    store.close()
