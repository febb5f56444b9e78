"""Labels of other names, views apart, a plain baseline beside the model, and boxes that a path should find."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evaluate.tables import report_text
from gazevlm_core.datasets.folder import GazeFolder
from gazevlm_core.evaluation.dataset import evaluate_dataset
from gazevlm_core.evaluation.groups import BASELINE, EVERY, score_groups
from gazevlm_core.evaluation.matching import match_labels
from gazevlm_core.evaluation.plain_baseline import baseline_logits, cross_validated, thumbnail
from gazevlm_core.evaluation.pointing import ANY, CENTRE, EXCHANGED, MEAN, PEAK, SHARE, score_pointing
from gazevlm_core.evaluation.predict import Prediction
from gazevlm_core.findings import FINDING_NAMES
from gazevlm_core.geometry import PatchGrid
from gazevlm_core.inference import GazeEngine
from gazevlm_core.metrics.intervals import bootstrap_counts
from gazevlm_core.sample import Box, DatasetError, Sample
from gazevlm_core.scanpath import Fixation, Scanpath


def test_labels_mean_findings_by_name_and_synonym() -> None:
    labels = ["Effusion", "Infiltration", "Mass", "Nodule", "PleuralOther", "Support-Devices", "edema", "Pneumonia"]
    matched = match_labels(labels, FINDING_NAMES, "nano")
    assert matched.finding_of == {
        "Effusion": "pleural effusion", "Infiltration": "lung opacity", "Mass": "lung lesion", "Nodule": "lung lesion",
        "Support-Devices": "support devices", "edema": "edema",
    }  # fmt: skip
    assert matched.why_not["Pneumonia"] == "nano knows no such finding"
    assert match_labels(["pneumonia"], ["Pneumonia"]).finding_of == {"pneumonia": "Pneumonia"}


def test_where_a_finding_is_and_what_it_is_called_beside_another_word_does_not_matter() -> None:
    labels = ["Lung_Nodule", "Mass/Nodule", "Mass_or_Nodule", "Pulmonary oedema", "Lines and tubes"]
    means = ["lung lesion", "lung lesion", "lung lesion", "edema", "support devices"]
    assert match_labels(labels, FINDING_NAMES).finding_of == dict(zip(labels, means, strict=True))
    others = ["Pleural mass", "Pneumonia/Consolidation", "male", "lung"]
    assert set(match_labels(others, FINDING_NAMES).why_not) == set(others)


def test_labels_of_one_finding_are_joined() -> None:
    matched = match_labels(["Mass", "Nodule"], FINDING_NAMES)
    both = {"Mass": 0.0, "Nodule": 0.0}
    for values, joined in (({"Mass": 1.0}, 1.0), ({"Mass": 0.0}, None), (both, 0.0), ({}, None)):
        assert matched.sample(Sample("a", findings=values)).findings.get("lung lesion") == joined
    boxed = matched.sample(Sample("a", boxes=(Box("Mass", 0.1, 0.1, 0.1, 0.1),)))
    assert boxed.boxes[0].name == "lung lesion"
    own = match_labels(["Lung Opacity", "Infiltration"], FINDING_NAMES)
    assert own.finding_of == {"Lung Opacity": "lung opacity"}
    assert own.why_not == {"Infiltration": "means lung opacity, which has a label of its own"}


def bright_or_dark(size: int) -> tuple[np.ndarray, list[dict[str, float]]]:
    rng = np.random.default_rng(0)
    present = rng.random(size) < 0.5
    images = [Image.fromarray((rng.random((40, 50)) * 99 + 150 * one).astype(np.uint8)) for one in present]
    return np.stack(list(map(thumbnail, images))), [{"bright": float(one)} for one in present]


def test_the_baseline_learns_what_is_plain_and_never_from_the_same_patient() -> None:
    pixels, labels = bright_or_dark(60)
    truth = np.array([one["bright"] for one in labels])
    logits = baseline_logits(pixels[40:], pixels[:40], labels[:40], ["bright", "unknown"])
    assert set(logits) == {"bright"}
    assert ((logits["bright"] > 0) == truth[40:]).all()
    folded = cross_validated(pixels, labels, list(map(str, range(60))), ["bright"])
    assert ((folded["bright"] > 0) == truth).all()
    assert cross_validated(pixels, labels, ["one"] * 60, ["bright"]) == {}
    assert baseline_logits(pixels, pixels, [{"bright": 1.0}] * 60, ["bright"]) == {}


def test_views_stand_apart_and_differences_are_in_pairs() -> None:
    samples = [Sample(str(n), findings={"edema": float(n % 2)}, view="AP" if n < 8 else "PA") for n in range(16)]
    right, wrong = ([{"edema": sign * (n % 2)} for n in range(16)] for sign in (1.0, -1.0))
    groups = score_groups(samples, {"head": right, "words": [{}] * 16, BASELINE: wrong}, bootstrap_counts(16, 50))
    assert list(groups) == [EVERY, "AP", "PA"]
    assert (groups["AP"].images, groups[EVERY].images) == (8, 16)
    one = groups["PA"].findings["edema"]
    assert {name: score.value for name, score in one.auroc.items()} == {"head": 1.0, BASELINE: 0.0}
    assert one.above_baseline.value == groups[EVERY].above_baseline.value == 1.0
    assert groups[EVERY].frequent == []
    assert [groups[name].too_few for name in (EVERY, "AP")] == [[], ["edema"]], "four of AP have it"
    assert groups["AP"].mean["head"].interval is None
    assert groups[EVERY].mean["head"].interval == [1.0, 1.0]
    more = [replace(one, findings={**one.findings, "fracture": float(n == 0)}) for n, one in enumerate(samples)]
    logits = [{**one, "fracture": 0.0} for one in right]
    both = score_groups(more, {"head": logits}, bootstrap_counts(16, 50))[EVERY]
    assert both.too_few == ["fracture"]
    assert both.findings["fracture"].auroc["head"].value == 0.5
    assert both.mean["head"].value == 1.0, "without the one that a single patient has, as in its interval"


def pointed(name: str, *places: tuple[float, float], box: Box, heat: int) -> Prediction:
    path = Scanpath(tuple(Fixation(x, y) for x, y in places), "model")
    sample = Sample(name, findings={"edema": 1.0}, boxes=(box,))
    peaks = np.eye(16)[heat]
    return Prediction(sample, (8.0, 8.0), PatchGrid(4, 4), {}, {}, None, path, None, None, peaks)


def test_the_pointing_game_beside_its_floors() -> None:
    left, right = Box("edema", 0.0, 0.0, 0.3, 0.3), Box("edema", 0.7, 0.7, 0.3, 0.3)
    found = [
        pointed("a", (0.1, 0.1), (0.9, 0.1), box=left, heat=0),
        pointed("b", (0.9, 0.9), (0.8, 0.8), box=right, heat=15),
    ]
    result = score_pointing(found, bootstrap_counts(2, 20))
    assert (result.images, result.boxes) == (2, 2)
    assert [result.scores[name].value for name in (PEAK, ANY, SHARE)] == [1.0, 1.0, 0.75]
    assert [result.scores[name].floors[CENTRE].value for name in (PEAK, ANY, SHARE)] == [0.0, 0.0, 0.0]
    assert result.scores[PEAK].floors[EXCHANGED].value == 0.0
    (alone, *_) = found
    lonely = score_pointing([alone], bootstrap_counts(1, 20))
    for name in (PEAK, ANY, SHARE):
        assert lonely.scores[name].floors[MEAN].value is None, "there is no other image"
        assert lonely.scores[name].floors[EXCHANGED].value is None
    other_grid = replace(found[1], grid=PatchGrid(2, 8))
    mixed = score_pointing([alone, other_grid], bootstrap_counts(2, 20))
    assert mixed.scores[PEAK].floors[MEAN].value is None, "no map of another image with this grid"
    assert mixed.scores[ANY].floors[MEAN].value == 0.0
    absent = [replace(one, sample=replace(one.sample, findings={"edema": 0.0})) for one in found]
    assert score_pointing(absent, bootstrap_counts(2, 20)) is None


@pytest.fixture
def radiographs(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    rows = ["file,patient,view,age,Cardiac Enlargement,Fibrosis"]
    for number in range(24):
        pixels = rng.integers(0, 120, (48, 48), dtype=np.uint8) + np.uint8(100 * (number % 3 == 0))
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        rows.append(f"{number},p{number // 2},{'AP' if number % 2 else 'PA'},50,{int(number % 3 == 0)},0")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    return tmp_path


def test_a_folder_with_labels_is_scored_whole_beside_the_baseline(radiographs: Path, tiny_engine: GazeEngine) -> None:
    report = evaluate_dataset(lambda: GazeFolder(radiographs), tiny_engine)
    assert (report.split, report.records, report.patients) == ("all", 24, 12)
    assert report.labels["Cardiac Enlargement"] == "scored as cardiomegaly"
    assert report.labels["age"] == "not scored: no finding"
    assert "knows no such finding" in report.labels["Fibrosis"]
    assert list(report.groups) == [EVERY, "AP", "PA"]
    assert report.groups[EVERY].findings["cardiomegaly"].auroc[BASELINE].value > 0.9
    table = report_text(report)
    for words in ("AUROC, AP: 12 images", "above the baseline", "Cardiac Enlargement: scored as cardiomegaly"):
        assert words in table
    assert report.split_note == ""
    tested = evaluate_dataset(lambda: GazeFolder(radiographs), tiny_engine, split="held-out")
    assert 0 < tested.records < 24


def test_labels_none_of_which_can_be_scored_are_refused_before_anything_is_asked(
    radiographs: Path, tiny_engine: GazeEngine
) -> None:
    (radiographs / "labels.csv").write_text("file,Edema,Fibrosis\n0,yes,1\n1,no,0\n")
    said = r"neither a label that .* \(Fibrosis: .* knows no such finding; Edema: not .*than 0 and 1, first in line 2\)"
    with pytest.raises(DatasetError, match=said):
        evaluate_dataset(lambda: GazeFolder(radiographs), tiny_engine)
