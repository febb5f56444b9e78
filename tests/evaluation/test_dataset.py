"""`gazevlm evaluate --dataset`: any adapter, split by patient, findings and scanpaths beside their floors."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from cli.main import app
from evaluate.tables import report_text
from gazevlm_core.datasets.folder import GazeFolder
from gazevlm_core.datasets.nih import NihChestXray14
from gazevlm_core.datasets.splits import SplitRule, split_of
from gazevlm_core.datasets.trained_on import TrainedOn
from gazevlm_core.evaluation import dataset
from gazevlm_core.evaluation.dataset import evaluate_dataset, filed_readings
from gazevlm_core.evaluation.predict import predict
from gazevlm_core.evaluation.read_report import parse_report
from gazevlm_core.evaluation.report import HEAD, TEXT, DatasetReport
from gazevlm_core.inference import GazeEngine, what_is_known
from gazevlm_core.model.checkpoint import CheckpointError
from gazevlm_core.sample import DatasetError, Reading, Sample, pixel_digest
from gazevlm_core.scanpath import Fixation, Scanpath

IMAGES = 40


def make_folder(root: Path, *, readers: int = 2, findings: bool = True) -> Path:
    """IMAGES small images of as many patients, with readings that wander from left to right."""
    rng = np.random.default_rng(0)
    (root / "images").mkdir(parents=True)
    paths, studies = [], []
    for number in range(IMAGES):
        name, present = f"image{number:02}", int(number % 3 == 0)
        pixels = rng.integers(0, 255, (64 + number % 3 * 16, 80), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "images" / f"{name}.png")
        for reader in range(readers):
            x, y = np.sort(rng.random(5)), rng.random(5)
            paths.append({"image_id": name, "reader": f"r{reader}", "x": x.tolist(), "y": y.tolist()})
        known = {"cardiomegaly": present, "spiculated mass": 1 - present}
        studies.append({"image_id": name, "patient_id": f"p{number // 2}", "findings": known if findings else {}})
    (root / "scanpaths.jsonl").write_text("\n".join(map(json.dumps, paths)))
    (root / "studies.jsonl").write_text("\n".join(map(json.dumps, studies)))
    return root


@pytest.fixture(scope="module", autouse=True)
def few_resamples() -> Iterator[None]:
    """How wide intervals are is tested elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, "RESAMPLES", 40)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("data") / "set")


@pytest.fixture(scope="module")
def results(folder: Path, tiny_engine: GazeEngine) -> dict:
    return evaluated(folder, tiny_engine, split="train", batch_size=7).to_values()


def evaluated(folder: Path, engine: GazeEngine, **options: Any) -> DatasetReport:
    report = evaluate_dataset(lambda: GazeFolder(folder), engine, **options)
    assert report is not None
    return report


def test_a_split_holds_its_patients_and_thresholds_come_from_others(folder: Path, results: dict) -> None:
    patients = {f"p{number // 2}" for number in range(IMAGES)}
    chosen = {patient for patient in patients if split_of(patient) == "train"}
    others = {patient for patient in patients if split_of(patient) == "validation"}
    assert 0 < len(chosen) < len(patients)
    assert others
    assert (results["records"], results["patients"]) == (2 * len(chosen), len(chosen))
    assert results["validation_records"] == 2 * len(others)
    assert json.loads(json.dumps(results, allow_nan=False)) == results


def test_findings_that_the_model_does_not_know_are_asked_in_words_only(results: dict) -> None:
    assert set(results["scores"][HEAD]["findings"]) == {"cardiomegaly"}
    words = results["scores"][TEXT]["findings"]
    assert set(words) == {"cardiomegaly", "spiculated mass"}
    for values in words.values():
        assert values["auroc"]["floor"] == 0.5
        prevalence = values["positive"] / values["images"]
        assert values["auprc"]["floor"] == pytest.approx(prevalence)
        assert values["f1"]["floor"] == pytest.approx(2 * prevalence / (1 + prevalence))


def test_paths_stand_beside_floors_and_ceiling(results: dict) -> None:
    scanpath = results["scores"]["scanpath"]
    sequence = scanpath["metrics"]["sequence score"]
    assert {"own path shuffled", "own path reversed", "uniform random", "everything at the centre"} <= set(
        sequence["floors"]
    )
    assert sequence["ceiling_other_reader"]["value"] is not None
    assert sequence["order_gain"]["interval"] is not None


def test_steps_are_scored_where_training_readings_are_left(folder: Path, tiny_engine: GazeEngine) -> None:
    tested = evaluated(folder, tiny_engine, split="test")
    assert set(tested.scores.scanpath.steps) == {"nss", "bits", "histogram_nss", "histogram_bits"}
    floors = tested.scores.scanpath.metrics["DTW distance"].floors
    assert "most frequent place of each step, training set" in floors
    table = report_text(tested)
    for words in ("conditional NSS", "spiculated mass", "Macro AUROC", "own path shuffled", "resamples of patients"):
        assert words in table
    every = evaluated(folder, tiny_engine, split="all", limit=6)
    assert every.records == 6
    assert every.scores.scanpath.steps is None
    assert all(found.scores["f1"] is None for found in every.scores.answer_text.findings.values())
    assert report_text(every)


def test_floors_of_training_readings_are_in_the_steps_of_the_model(tmp_path: Path, tiny_checkpoint: Path) -> None:
    root = make_folder(tmp_path / "set", readers=0)
    stays = {"x": [0.2] * 3 + [0.8] * 3, "y": [0.2] * 3 + [0.8] * 3}
    lines = [{"image_id": f"image{number:02}", "reader": "r", **stays} for number in range(IMAGES)]
    (root / "scanpaths.jsonl").write_text("\n".join(map(json.dumps, lines)))
    engine = GazeEngine.load(str(tiny_checkpoint), device="cpu")
    engine.gaze_config.repeats = False  # consecutive fixations in one patch are one step to it
    paths = evaluated(root, engine, split="test").scores.scanpath
    floor = paths.metrics["sequence score"].floors["most frequent place of each step, training set"]
    assert floor.value == 1.0, "all readings are alike, those of training and those that are scored"


def test_how_far_the_path_is_believed_is_measured_on_any_data_set(folder: Path, tiny_engine: GazeEngine) -> None:
    report = evaluated(folder, tiny_engine, split="train", limit=5, faithfulness=4, batch_size=3)
    assert report.faithfulness is not None
    assert (report.records, report.faithfulness.images) == (5, 4)
    assert [effect.value for effect in report.faithfulness.effects if effect.useless is not None] == [0.0, 0.0]
    assert "a path without effect" in report_text(report)
    assert parse_report(json.dumps(report.to_values()).encode()) == report


def test_what_is_missing_takes_nothing_else_away(tmp_path: Path, tiny_engine: GazeEngine) -> None:
    bare = make_folder(tmp_path / "bare", readers=0, findings=False)
    scores = evaluated(bare, tiny_engine, split="all", limit=4).scores.to_values()
    assert scores == {HEAD: None, TEXT: None, "scanpath": "no readings"}
    (bare / "images" / "image01.png").write_bytes(b"no image")
    found = evaluated(bare, tiny_engine, split="all", limit=4)
    assert found.dropped["image that cannot be read"] == 1
    assert found.records == 3
    (why,) = found.unreadable
    assert why.startswith("image01: ")
    assert f"Cannot be read: {why}" in report_text(found)


def records_of(folder: Path, split: str) -> list[Sample]:
    return [record for record in GazeFolder(folder).samples() if split_of(record.patient_id) == split]


def test_what_the_adapter_was_trained_on_is_left_out_and_counted(folder: Path, tiny_engine: GazeEngine) -> None:
    first, second, *others = records_of(folder, "train")
    assert first.patient_id == second.patient_id
    picture = pixel_digest(others[0].load())
    trained = TrainedOn.of("salt", [first], [picture], SplitRule())
    found = evaluated(folder, tiny_engine, split="train", trained=[trained])
    assert found.records == len(others) - 1
    assert found.trained_on_left_out == 3
    assert found.dropped == {
        "picture that the model was trained on": 1, "record of a patient whom the model was trained on": 2,
    }  # fmt: skip
    assert "Left out, since the model was trained on their patients or pictures: 3 records" in report_text(found)


def test_nothing_left_is_an_error_and_nothing_known_is_said(folder: Path, tiny_engine: GazeEngine) -> None:
    tested = records_of(folder, "test")
    everybody = TrainedOn.of("salt", tested, [], SplitRule())
    said = f"trained on the patients or pictures of all {len(tested)} records of folder in split test; nothing is left"
    with pytest.raises(DatasetError, match=said):
        evaluate_dataset(lambda: GazeFolder(folder), tiny_engine, trained=[everybody])
    found = evaluated(folder, tiny_engine, trained=[None])
    assert found.trained_on_left_out is None
    assert "cannot be known, since its provenance does not tell" in report_text(found)


def test_nothing_left_for_two_reasons_names_both(tmp_path: Path, tiny_engine: GazeEngine) -> None:
    bare = make_folder(tmp_path / "bare", readers=0, findings=False)
    records = list(GazeFolder(bare).samples())
    broken = [one for one in records if one.patient_id == records[0].patient_id]
    for record in broken:
        record.image.write_bytes(b"no image")
    learned = [one for one in records if one not in broken]
    said = f"of {len(learned)} records, and the images of {len(broken)} cannot be read"
    with pytest.raises(DatasetError, match=said):
        evaluate_dataset(
            lambda: GazeFolder(bare), tiny_engine, split="all", trained=[TrainedOn.of("salt", learned, [], SplitRule())]
        )


def test_patients_of_another_data_set_who_have_the_same_ids_are_scored(folder: Path, tiny_engine: GazeEngine) -> None:
    """Hospitals count their patients alike: these were left out as learned from."""
    learned = [replace(record, dataset=NihChestXray14.name) for record in GazeFolder(folder).samples()]
    found = evaluated(folder, tiny_engine, split="test", trained=[TrainedOn.of("salt", learned, [], SplitRule())])
    assert found.records == len(records_of(folder, "test"))
    assert found.trained_on_left_out == 0


def test_the_split_is_that_of_the_training(folder: Path, tiny_engine: GazeEngine) -> None:
    rule = SplitRule(7, 0.6)
    trained = TrainedOn.of("salt", [], [], rule)
    found = evaluated(folder, tiny_engine, split="held-out", trained=[trained])
    patients = {record.patient_id for record in GazeFolder(folder).samples()}
    held_out = [one for one in patients if split_of(one, seed=7, shares=rule.shares) != "train"]
    assert found.patients == len(held_out) != len([one for one in patients if split_of(one) != "train"])


def test_a_split_of_the_data_is_honoured(tmp_path: Path, tiny_engine: GazeEngine) -> None:
    root = make_folder(tmp_path / "own")
    rows = [json.loads(line) for line in (root / "studies.jsonl").read_text().splitlines()]
    for number, row in enumerate(rows):
        row["split"] = "test" if number < 4 else "train"
    (root / "studies.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = evaluated(root, tiny_engine)
    assert (found.records, found.patients) == (4, 2)
    assert "the data's own split is used" in report_text(found)


def test_what_is_known_of_an_adapter_and_of_a_merged_model(tmp_path: Path, tiny_checkpoint: Path) -> None:
    told = TrainedOn.of("salt", [Sample("p")], ["d"], SplitRule())
    assert what_is_known(None, str(tiny_checkpoint)) == []
    assert what_is_known(tmp_path, str(tiny_checkpoint)) == [None]
    (tmp_path / "provenance.json").write_text(json.dumps({"trained_on": told.to_values()}))
    assert what_is_known(tmp_path, str(tiny_checkpoint)) == [told]
    assert what_is_known(None, str(tmp_path)) == [told]
    (tmp_path / "provenance.json").write_text("{")
    with pytest.raises(CheckpointError, match="is not usable"):
        what_is_known(tmp_path, str(tiny_checkpoint))


def test_one_model_gives_the_same_answers_in_any_batch(folder: Path, tiny_engine: GazeEngine) -> None:
    samples = list(GazeFolder(folder).samples())[:5]
    together = predict(tiny_engine, samples, batch_size=5).found
    alone = predict(tiny_engine, samples, batch_size=1).found
    for one, other in zip(together, alone, strict=True):
        assert one.sample.image_id == other.sample.image_id
        assert one.yes_margins == pytest.approx(other.yes_margins, abs=1e-3)
        assert one.finding_logits == pytest.approx(other.finding_logits, abs=1e-3)
        assert one.steps is not None
        assert other.steps is not None
        np.testing.assert_allclose(one.steps.scores["bits"], other.steps.scores["bits"], atol=1e-3)


def test_readings_are_filed_under_what_is_present() -> None:
    reading = Reading("r", Scanpath((Fixation(0.1, 0.2),), "click"))
    sample = Sample("i", findings={"b": 1.0, "a": 1.0, "c": 0.0}, readings=(reading,))
    (filed,) = filed_readings(sample, (1.0, 1.0))
    assert (filed.image_id, filed.reader, filed.finding) == ("i", "r", "a")
    (filed,) = filed_readings(replace(sample, findings={"c": 0.0}), (1.0, 1.0))
    assert filed.finding == "no finding"


def test_errors_say_what_to_do(folder: Path, tmp_path: Path, tiny_engine: GazeEngine) -> None:
    with pytest.raises(DatasetError, match="no split 'holdout'; choose one of: train, validation, test, held-out, all"):
        evaluate_dataset(lambda: GazeFolder(folder), tiny_engine, split="holdout")
    for arguments, message in (
        (["--dataset", "folder"], "give its folder as --root"),
        (["--dataset", "folder", "--root", str(tmp_path)], "holds neither images/ nor"),
        (["--dataset", "padchest", "--root", str(tmp_path)], "there is no data set 'padchest'; choose one of"),
        (["--root", str(folder)], "phantoms are drawn; leave out --root"),
        (["--split", "test"], "phantoms are drawn; leave out --split"),
        (["--dataset", "folder", "--root", str(folder), "--n", "5"], "folder is no phantom; leave out --n"),
    ):
        result = CliRunner().invoke(app, ["evaluate", *arguments])
        assert result.exit_code in (1, 2)
        assert message in result.stderr
        assert "Traceback" not in result.output


def test_the_command_prints_a_table_and_json(folder: Path, tiny_checkpoint: Path) -> None:
    arguments = ["evaluate", "--dataset", "folder", "--root", str(folder), "--model", str(tiny_checkpoint)]
    table = CliRunner().invoke(app, [*arguments, "--limit", "3"])
    assert table.exit_code == 0, table.output
    assert "Measured on the data set folder, split test." in table.stdout
    printed = CliRunner().invoke(app, [*arguments, "--limit", "3", "--json"])
    assert json.loads(printed.stdout)["dataset"] == "folder"
