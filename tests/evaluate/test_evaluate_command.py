"""`gazevlm evaluate` from end to end on a random model, its twins, its JSON, its table and its card."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

from evaluate import phantoms
from evaluate.card import TWIN_CARDS, own_reports, render_model_card, write_model_card, write_twin_card
from evaluate.command import evaluate, twin_sources
from evaluate.phantoms import evaluate_phantoms
from evaluate.tables import TWINS, report_text
from gazevlm_core.evaluation import predict as prediction
from gazevlm_core.evaluation.checkpoint_scores import read_scores, scores_of, write_scores
from gazevlm_core.evaluation.floors import on_grid
from gazevlm_core.evaluation.predict import first_answer_logits, predict, presence_margins
from gazevlm_core.evaluation.read_report import parse_report
from gazevlm_core.evaluation.report import DatasetReport, PhantomReport
from gazevlm_core.findings import FINDING_NAMES, presence_question
from gazevlm_core.inference import GazeEngine
from gazevlm_core.metrics.registry import path_metrics
from gazevlm_core.sample import Sample
from phantoms.calibration import CalibrationRow
from tests.evaluate.report_maker import dataset_report
from tests.tiny_model import make_tiny_checkpoint

pytestmark = pytest.mark.slow

COUNT = 12


@pytest.fixture(scope="module", autouse=True)
def few() -> Iterator[None]:
    """Constant floors need no good constants here, and an untrained model never ends its reports by itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(phantoms, "OTHER_PHANTOMS", 4)
        patch.setattr(prediction, "REPORT_TOKENS", 8)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model with a twin without gaze."""
    root = tmp_path_factory.mktemp("evaluated")
    make_tiny_checkpoint(root / "small-no-gaze", gaze_trained=False, dwell_trained=False)
    return make_tiny_checkpoint(root / "small")


@pytest.fixture(scope="module")
def report(folder: Path) -> PhantomReport:
    twins = twin_sources(str(folder))
    report = evaluate_phantoms(
        COUNT, 3, "A", str(folder), twins=twins, reference=folder, batch_size=5, workers=1, faithfulness=6
    )
    assert report is not None
    return report


@pytest.fixture(scope="module")
def results(report: PhantomReport) -> dict:
    return report.to_values()


def leaves(values: object) -> list[object]:
    if isinstance(values, dict):
        return [leaf for value in values.values() for leaf in leaves(value)]
    return [leaf for value in values for leaf in leaves(value)] if isinstance(values, list) else [values]


def test_json_has_every_part_and_no_nan(results: dict) -> None:
    assert parse_report(json.dumps(results, allow_nan=False).encode()).to_values() == results
    assert (results["n"], results["seed"], results["model"]) == (COUNT, 3, "small")
    assert results["phantom_seeds"][1] - results["phantom_seeds"][0] == COUNT - 1
    assert results["resamples"] >= 1000
    assert set(results["scores"]) == {"model", "no-gaze"}
    for model in results["scores"].values():
        assert set(model) == {"finding_head", "answer_text", "report", "scanpath"}
        for source in ("finding_head", "answer_text"):
            for subset in ("all_severities", "moderate_or_worse"):
                part = model[source][subset]
                names = FINDING_NAMES if source == "answer_text" else ("cardiomegaly", "pneumothorax")
                assert sorted([*part["per_finding"], *part["skipped"]]) == sorted(names)
                assert part["floors"]["chance"]["value"] == 0.5
    assert results["scores"]["no-gaze"]["scanpath"] == "untrained"
    assert {type(leaf) for leaf in leaves(results)} <= {str, int, float, bool, type(None)}


def test_intervals_hold_their_values(results: dict) -> None:
    path = results["scores"]["model"]["scanpath"]["sequence_score"]
    for estimate in (path, path["share_of_ceiling"], path["order_gain"], *path["floors"].values()):
        if estimate["value"] is not None:
            assert estimate["interval"][0] <= estimate["value"] <= estimate["interval"][1]


def test_every_bar_is_listed(results: dict) -> None:
    assert all(set(bar) == {"bar", "value", "interval", "met"} for bar in results["bars"])
    assert len(results["bars"]) == 18 + 4  # the last four: how far the path is believed
    assert len({bar["bar"] for bar in results["bars"]}) == 18 + 4
    missed = {bar["bar"] for bar in results["bars"] if bar["met"] is False}
    assert "micro F1 of findings named, moderate or worse >= 0.8" in missed  # the model is random


def test_the_reference_is_the_same_model_here(results: dict) -> None:
    assert {loss["value"] for loss in results["quantisation"].values()} == {0.0}
    assert results["quantisation"]["sequence_score_loss"]["interval"] == [0.0, 0.0]
    assert results["quantisation"]["head_auroc_loss"]["interval"] is None, "of a dozen images few have any finding"


def test_how_far_the_path_is_believed_is_in_the_report_and_nothing_without_glimpses(report: PhantomReport) -> None:
    assert set(report.faithfulness) == {"model", "no-gaze"}
    assert report.faithfulness["no-gaze"].effects == []  # it has no path
    own = report.faithfulness["model"]
    assert (own.images, own.glimpses) == (6, 0)
    assert {effect.measure for effect in own.effects} == {
        "path effect", "glimpse swap", "steering", "deletion and insertion", "order"
    }  # fmt: skip
    for effect in own.effects:
        assert effect.value in (None, effect.useless) or effect.useless is None, effect.name
    assert "a path without effect" in report_text(report)


def test_same_seed_same_scores(folder: Path, results: dict) -> None:
    again = evaluate_phantoms(COUNT, 3, "A", str(folder), batch_size=12, workers=1).to_values()
    found, before = (leaves(one["scores"]["model"]["scanpath"]) for one in (again, results))
    assert found == pytest.approx(before, abs=1e-4)  # other batches, and so another rounding
    assert again["quantisation"] is None
    assert again["faithfulness"] == {}
    assert again["bars"][-1]["met"] is None  # nothing to compare with


def test_every_metric_of_the_registry_is_scored_as_on_any_data_set(report: PhantomReport) -> None:
    assert list(report.scores["model"].scanpath.metrics) == list(path_metrics())


def test_tables_show_every_model_and_bar(report: PhantomReport) -> None:
    text = report_text(report)
    assert "without gaze supervision" in text
    assert "untrained" in text
    assert all(bar.bar in text for bar in report.bars)
    assert all(name in text for name in path_metrics())
    assert "MISSED" in text


def test_card(report: PhantomReport, tmp_path: Path) -> None:
    rows = [CalibrationRow("fixation duration (ms) p50", 280.0, 275.0)]
    recipe = {"images": 14_000, "sizes_px": (512, 256), "base": f"models/{report.model}"}
    card = write_model_card(report, rows, recipe, tmp_path).read_text("utf-8")
    assert card == render_model_card(report, rows, recipe)
    assert f"| base | {report.model} as it was before |" in card
    assert "| base | plain |" in render_model_card(report, rows, {"base": "plain"})
    assert card.startswith("---\nlicense: apache-2.0\nlibrary_name: transformers\n")
    assert "not for medical use" in card
    assert "No image of a patient was used" in card
    assert "| fixation duration (ms) p50 | 280 | 275 |" in card
    assert "| sizes px | 512, 256 |" in card
    assert "## How far the path is believed" in card
    assert "glimpse swap" in card or "its glimpses are those of the twin" in card
    assert card.count("| MISSED |") == sum(bar.met is False for bar in report.bars)
    for line in card.split("## Scores")[1].splitlines():
        if line.startswith("|"):
            assert line.count("|") in (3, 4, 5, 11)


def test_a_card_says_what_was_learned_and_measured_on_radiographs(report: PhantomReport, tmp_path: Path) -> None:
    (tmp_path / "provenance.json").write_text(json.dumps({"credits": {"nih": "Wang et al., CVPR 2017"}}))
    films = DatasetReport.model_validate(dataset_report() | {"dataset": "NIH ChestX-ray14", "split": "held-out"})
    card = write_model_card(report, [], {}, tmp_path, [films]).read_text("utf-8")
    assert "No image of a patient" not in card
    assert "- Wang et al., CVPR 2017" in card
    assert "## Scores on NIH ChestX-ray14, split held-out" in card
    part = card.split("## Scores on NIH")[1].split("\n## ")[0]
    assert "### Findings, finding head" in part, "head and words are told apart"
    assert "### Scanpaths" in part
    assert "`gazevlm evaluate --dataset nih --root FOLDER --split held-out`" in card


def test_a_card_takes_reports_of_its_own_checkpoint_alone(report: PhantomReport, tmp_path: Path) -> None:
    def written(name: str, one: PhantomReport | DatasetReport, **changed: object) -> Path:
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps({**one.to_values(), **changed}))
        return path

    films = DatasetReport.model_validate(dataset_report() | {"model": report.model, "adapter": None})
    own, first = written("own", report), written("first", films)
    second = written("second", films, split="held-out")
    found, measured = own_reports(own, [first, second], report.model)
    assert found == report
    assert [one.split for one in measured] == ["test", "held-out"]
    card = render_model_card(report, [], {}, measured)
    assert card.count("## Scores on egd-cxr, split ") == 2
    for results, others, why in (
        (written("adapted", report, adapter="mine"), [], f"scores of {report.model} with adapter mine, not of"),
        (written("other", report, model="another"), [], "scores of another, not of"),
        (own, [written("films of an adapter", films, adapter="mine")], "with adapter mine, not of"),
        (own, [first, written("films of another", films, model="another")], "scores of another, not of"),
        (own, [first, first], "two reports for"),
        (own, [own], "--films takes the JSON"),
        (first, [], "not the scores of"),
    ):
        with pytest.raises(typer.BadParameter, match=re.escape(why)):
            own_reports(results, others, report.model)


def test_scores_beside_the_weights_are_those_of_the_evaluation(report: PhantomReport, tmp_path: Path) -> None:
    write_scores(tmp_path, scores_of(report))
    scores = read_scores(tmp_path)
    assert scores is not None
    per_finding = report.scores["model"].finding_head.all_severities.per_finding
    assert scores.findings.keys() == per_finding.keys()
    for name, score in scores.findings.items():
        assert score.auroc == pytest.approx(per_finding[name].value, abs=1e-4)
        assert score.prevalence == pytest.approx(report.images_with[name].any / report.n, abs=1e-4)
    assert str(report.n) in scores.scored_on


@pytest.mark.parametrize("twin", TWINS)
def test_twins_have_cards_that_lead_to_their_scores(twin: str, tmp_path: Path) -> None:
    card = write_twin_card(twin, tmp_path, "gazevlm-nano").read_text("utf-8")
    assert TWIN_CARDS[twin] in card
    assert "../gazevlm-nano/README.md" in card
    assert "not for medical use" in card


def test_yes_and_no_are_read_where_the_last_gaze_token_predicts(tiny_engine: GazeEngine) -> None:
    from PIL import Image

    images = tiny_engine.encode_images([Image.new("RGB", (224, 224), "grey"), Image.new("RGB", (300, 200), "white")])
    question = presence_question("pneumothorax")
    prefilled = tiny_engine.prefill(images, [question] * 2)
    with torch.no_grad():
        expected = tiny_engine.model.lm_head(prefilled.gaze_hidden[:, -1])
    torch.testing.assert_close(first_answer_logits(tiny_engine, prefilled), expected, atol=1e-4, rtol=1e-4)
    yes, no = (tiny_engine.processor.tokenizer.encode(word)[0] for word in ("Yes", "No"))
    margins = presence_margins(tiny_engine, images)[:, FINDING_NAMES.index("pneumothorax")]
    torch.testing.assert_close(torch.tensor(margins), expected[:, yes] - expected[:, no], atol=1e-4, rtol=1e-4)


def test_questions_and_report_share_one_pass_over_the_images(
    tiny_engine: GazeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    passes, prefill = [], tiny_engine.model.prefill
    monkeypatch.setattr(tiny_engine.model, "prefill", lambda **given: passes.append(1) or prefill(**given))
    sizes = ((224, 224), (300, 200))
    samples = [Sample(str(size), Image.new("RGB", size, "grey"), "", None, {}, ()) for size in sizes]
    shared = predict(tiny_engine, samples, questions=FINDING_NAMES, reports=True).found
    assert len(passes) == 1
    apart = predict(tiny_engine, samples, questions=(), reports=True).found
    for ours, theirs in zip(shared, apart, strict=True):
        assert len(ours.yes_margins) == len(FINDING_NAMES)
        assert ours.finding_logits == pytest.approx(theirs.finding_logits, abs=1e-4)
        assert ours.report == theirs.report
        assert on_grid(ours.scanpath, ours.grid) == on_grid(theirs.scanpath, theirs.grid)


def app() -> typer.Typer:
    application = typer.Typer()
    application.command()(evaluate)
    return application


def test_a_seed_of_training_is_refused_before_anything_is_loaded() -> None:
    result = CliRunner().invoke(app(), ["--seed", "-1", "--n", "10", "--model", "nowhere"])
    assert result.exit_code == 2
    assert "training has seen" in result.output


def test_a_missing_model_is_one_sentence(tmp_path: Path) -> None:
    result = CliRunner().invoke(app(), ["--n", "2", "--model", str(tmp_path / "nothing")])
    assert result.exit_code == 1
    assert "nothing" in result.output
    assert "Traceback" not in result.output


def test_the_command_prints_json_alone_on_stdout(folder: Path) -> None:
    arguments = ["--n", "3", "--seed", "1", "--model", str(folder), "--no-twins", "--json", "--workers", "1"]
    result = CliRunner().invoke(app(), arguments)
    assert result.exit_code == 0, result.output
    assert set(json.loads(result.stdout)["scores"]) == {"model"}


def test_twins_lie_beside_the_model(folder: Path, tmp_path: Path) -> None:
    assert twin_sources(str(folder)) == {"no-gaze": str(folder.parent / "small-no-gaze")}
    assert twin_sources(str(tmp_path)) == {}
    assert twin_sources("Qwen/Qwen2.5-VL-3B-Instruct") == {}
