"""`gazevlm annotations`: every command, its exit status, and one line per error."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from annotate.command import annotations
from annotate.store.store import AnnotationStore
from tests.annotate.filled_store import fill, open_store


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("store")
    store = open_store(folder)
    fill(store)
    store.close()
    return folder


@pytest.fixture(scope="module")
def exported(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out") / "export"
    result = run("export", folder, "--data", data, "--formats", "jsonl,csv")
    assert result.exit_code == 0, result.output
    assert "9 submissions on 4 images" in result.stdout
    return folder


@pytest.fixture(autouse=True)
def no_database_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)


def run(*words: object) -> Result:
    return CliRunner().invoke(annotations, [str(word) for word in words])


def receipt_of(exported: Path, number: int = 1) -> dict:
    lines = [json.loads(line) for line in (exported / "records.jsonl").read_text("utf-8").splitlines()]
    return next(line for line in lines if line["number"] == number)


def test_export_import_export(exported: Path, tmp_path: Path) -> None:
    result = run("import", exported, "--data", tmp_path / "other")
    assert result.exit_code == 0, result.output
    assert "9 new, 0 known submissions" in result.stdout
    again = run("export", tmp_path / "again", "--data", tmp_path / "other", "--formats", "jsonl,csv")
    assert again.exit_code == 0
    assert (tmp_path / "again" / "export.json").read_bytes() == (exported / "export.json").read_bytes()


def test_a_bad_line_refuses_the_import(exported: Path, tmp_path: Path) -> None:
    import shutil

    spoilt = Path(shutil.copytree(exported, tmp_path / "spoilt"))
    lines = (spoilt / "records.jsonl").read_text("utf-8").splitlines(keepends=True)
    (spoilt / "records.jsonl").write_text("".join(["{\n", *lines[1:]]), "utf-8")
    refused = run("import", spoilt, "--data", tmp_path / "other")
    assert refused.exit_code == 1
    assert "records.jsonl, line 1: it is no JSON" in refused.stderr
    assert "--skip-bad" in refused.stderr
    taken = run("import", spoilt, "--data", tmp_path / "other", "--skip-bad")
    assert taken.exit_code == 0
    assert "8 new, 0 known submissions" in taken.stdout
    assert "1 bad lines were left out" in taken.stdout


def test_verify(exported: Path, tmp_path: Path) -> None:
    line = receipt_of(exported)
    found = run("verify", line["receipt"], line["digest"], "--export", exported)
    assert (found.exit_code, "is in this export: submission 1" in found.stdout) == (0, True)
    assert run("verify", line["receipt"].lower(), "--export", exported).exit_code == 0
    missing = run("verify", "0000000000", "--export", exported)
    assert (missing.exit_code, "is not in this export" in missing.stderr) == (1, True)
    assert run("verify", line["receipt"], "0" * 64, "--export", exported).exit_code == 1
    whole = run("verify", "--export", exported)
    assert (whole.exit_code, "9 records, each as its receipt says" in whole.stdout) == (0, True)
    assert run("verify", "--export", tmp_path).exit_code == 2


def test_verify_fails_on_a_changed_export(exported: Path, tmp_path: Path) -> None:
    import shutil

    spoilt = Path(shutil.copytree(exported, tmp_path / "spoilt"))
    (spoilt / "records.jsonl").write_text((spoilt / "records.jsonl").read_text("utf-8").replace("nodule", "edema!"))
    result = run("verify", "--export", spoilt)
    assert result.exit_code == 1
    assert "its digest is another one" in result.stderr
    assert "Traceback" not in result.output


def test_add(tmp_path: Path) -> None:
    images, data = tmp_path / "images", tmp_path / "data"
    images.mkdir()
    for shade in (10, 200):
        Image.new("L", (70, 80), shade).save(images / f"{shade}.png")
    (images / "notes.png").write_text("no image", encoding="utf-8")
    done = run("add", "folder", images, "--data", data, "--quota", "2", "--question", "Which side?")
    assert (done.exit_code, done.stdout) == (0, "2 new images, 0 known, 1 refused\n"), done.output
    assert done.stderr.count("\n") == 1
    assert run("add", "folder", images, "--data", data).stdout == "0 new images, 2 known, 1 refused\n"
    store = AnnotationStore.open(data)
    assert {(image.quota, image.question) for image in store.images()} == {(2, "Which side?")}
    store.close()
    for kind, where in (("folder", tmp_path / "none"), ("zip", images)):
        refused = run("add", kind, where, "--data", data)
        assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)


def test_projects(tmp_path: Path) -> None:
    data, folder = tmp_path / "data", tmp_path / "images"
    folder.mkdir()
    Image.new("L", (40, 40), 9).save(folder / "a.png")
    made = run("projects", "--data", data, "--add", "Tubes and lines")
    assert made.exit_code == 0, made.output
    into = ("--data", data, "--project", "tubes-and-lines")
    assert "1 new images" in run("add", "folder", folder, *into).stdout
    closed = run("projects", "--data", data, "--close", "tubes-and-lines")
    assert [line.split() for line in closed.stdout.splitlines()[-2:]] == [
        ["main", "Main", "0", "open"], ["tubes-and-lines", "Tubes", "and", "lines", "1", "closed"],
    ]  # fmt: skip
    assert "open" in run("projects", "--data", data, "--reopen", "tubes-and-lines").stdout.splitlines()[-1]
    out = run("export", tmp_path / "out", *into, "--which", "accepted", "--formats", "csv")
    assert "0 submissions on 0 images" in out.stdout
    for words in (("projects", "--close", "none"), ("projects", "--add", "main"),
                  ("add", "folder", folder, "--project", "x"), ("export", tmp_path / "no", *into[2:])):  # fmt: skip
        wrong = run(*words, "--data", data)
        assert (wrong.exit_code, len(wrong.stderr.splitlines())) == (1, 1), wrong.output


def test_stats(data: Path) -> None:
    result = run("stats", "--data", data, "--json")
    assert result.exit_code == 0, result.output
    values = json.loads(result.stdout)
    assert values["counts"]["annotations"] == 8
    assert values["counts"]["removed"] == 1
    assert set(values["agreement"]) == {"sequence score", "ScanMatch", "Jaccard"}
    assert sum(one["submissions"] for one in values["annotators"]) == 8
    assert values["agreement"]["sequence score"]["order"] == "sensitive"
    gold = [one["gold_score"] for one in values["annotators"] if one["gold_images"]]
    assert len(gold) == 1
    table = run("stats", "--data", data).stdout
    assert "floor: shuffled" in table
    assert "self-consistency" in table
    assert "Ada" not in table


def test_errors_are_one_line(tmp_path: Path, exported: Path, data: Path) -> None:
    nowhere = run("export", tmp_path / "out", "--data", tmp_path / "none")
    assert nowhere.exit_code == 1
    assert nowhere.stderr.count("\n") == 1
    assert "there is no store at" in nowhere.stderr
    assert not (tmp_path / "none").exists()
    in_use = run("export", exported, "--data", data)
    assert (in_use.exit_code, "in use" in in_use.stderr) == (1, True)
    assert run("import", tmp_path, "--data", tmp_path / "new").exit_code == 1
