"""`gazevlm score`: files in both forms, floors that hold, and one clear error for each bad file."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from cli.main import app
from gazevlm_core.datasets.scanpath_files import read_scanpaths
from gazevlm_core.evaluation.comparison import MODE, OTHER_IMAGE, SAME_FINDING, TRAINED_MODE, Comparison
from gazevlm_core.evaluation.floors import CENTRE, REVERSED, SHUFFLED, UNIFORM
from gazevlm_core.geometry import PatchGrid
from gazevlm_core.metrics.registry import path_metrics
from gazevlm_core.sample import DatasetError

FINDINGS = ("edema", "fracture")


def study(readers: int, seed: int, images: int = 24, **extra: object) -> list[dict[str, object]]:
    """Readings that follow a habit of the image's finding with some noise; another seed is another reader."""
    rng = np.random.default_rng(seed)
    lines = []
    for image in range(images):
        habit = np.random.default_rng(100 + image % 2).uniform(0.1, 0.9, (6, 2))
        for reader in range(readers):
            xy = np.clip(habit + rng.normal(scale=0.03, size=habit.shape), 0, 0.999)
            lines.append(
                {
                    "image_id": f"image {image}", "reader": f"reader {seed}.{reader}", "finding": FINDINGS[image % 2],
                    "x": xy[:, 0].tolist(), "y": xy[:, 1].tolist(), "duration_ms": [250.0] * 6, **extra,
                }
            )  # fmt: skip
    return lines


def write(path: Path, lines: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def run(*arguments: object) -> dict:
    result = CliRunner().invoke(app, ["score", *map(str, arguments), "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return write(tmp_path / "truth.jsonl", study(2, 1)), write(tmp_path / "predicted.jsonl", study(1, 2))


def test_every_metric_has_floors_gain_and_ceiling(files: tuple[Path, Path]) -> None:
    results = run("--truth", files[0], "--predicted", files[1])
    assert (results["images"], results["pairs"]) == (24, 48)
    assert list(results["metrics"]) == list(path_metrics())
    for name, values in results["metrics"].items():
        assert list(values["floors"]) == [UNIFORM, CENTRE, MODE, SAME_FINDING, SHUFFLED, REVERSED], name
        sign = 1 if values["better"] == "higher" else -1
        low, high = values["interval"]
        assert low <= values["value"] <= high
        assert values["ceiling_other_reader"]["value"] == pytest.approx(values["value"], abs=0.08)
        if values["order"] == "sensitive":
            assert values["order_gain"]["value"] > 0
            for floor in (UNIFORM, CENTRE, SHUFFLED, REVERSED):
                assert sign * (values["value"] - values["floors"][floor]["value"]) > 0.02, (name, floor)
    assert results == run("--truth", files[0], "--predicted", files[1]), "the same seed gives the same figures"


def test_same_finding_is_as_good_as_the_image_where_only_the_finding_counts(files: tuple[Path, Path]) -> None:
    sequence = run("--truth", files[0], "--predicted", files[1])["metrics"]["sequence score"]
    assert sequence["floors"][SAME_FINDING]["value"] == pytest.approx(sequence["value"], abs=0.05)
    unknown = [{key: value for key, value in line.items() if key != "finding"} for line in study(2, 1)]
    truth = write(files[0].with_name("unknown.jsonl"), unknown)
    sequence = run("--truth", truth, "--predicted", files[1])["metrics"]["sequence score"]
    assert sequence["floors"][OTHER_IMAGE]["value"] < sequence["value"] - 0.08  # half of them


def test_an_image_does_not_vote_for_its_own_most_frequent_places(tmp_path: Path) -> None:
    lines = [{"image_id": str(k), "x": [k / 10 + 0.01] * 3, "y": [0.5] * 3} for k in range(10)]
    truth = write(tmp_path / "truth.jsonl", lines)
    sequence = run("--truth", truth, "--predicted", truth, "--cols", 10)["metrics"]["sequence score"]
    assert sequence["value"] == 1.0
    assert sequence["floors"][MODE]["value"] == 0.0
    assert sequence["ceiling_other_reader"]["value"] is None
    trained = run("--truth", truth, "--predicted", truth, "--cols", 10, "--training", truth)
    assert trained["metrics"]["sequence score"]["floors"][TRAINED_MODE]["value"] == pytest.approx(0.1)


def test_the_most_frequent_places_end_where_other_images_do(tmp_path: Path) -> None:
    corner = {"x": [0.01] * 3, "y": [0.01] * 3}
    alone = write(tmp_path / "alone.jsonl", [{"image_id": "a", **corner}])
    sequence = run("--truth", alone, "--predicted", alone)["metrics"]["sequence score"]
    assert sequence["floors"][MODE] == {"value": None, "interval": None}, "no other image, and no upper left corner"
    lines = [{"image_id": "a", **corner}, {"image_id": "b", "x": [0.99, 0.99, 0.99], "y": [0.99] * 3},
             {"image_id": "c", "x": [0.99], "y": [0.99]}, {"image_id": "d", "x": [0.01], "y": [0.01]}]  # fmt: skip
    short = write(tmp_path / "short.jsonl", lines[1:])
    compared = Comparison(*[read_scanpaths(short).readings] * 2, None, PatchGrid(8, 8), 0)
    _, modes, _, there = compared.part(MODE, 0)
    assert (modes.lengths.tolist(), there.tolist()) == ([1, 1, 1], [True] * 3), "readings are usually of one step"
    long = [lines[0], {**lines[1], "image_id": "e"}, lines[3]]
    compared = Comparison(*[read_scanpaths(write(short, long)).readings] * 2, None, PatchGrid(8, 8), 0)
    assert compared.part(MODE, 0)[1].lengths.tolist() == [3, 3, 3]
    compared = Comparison(*[read_scanpaths(write(short, lines[:2] + lines[3:])).readings[1:]] * 2, None,
                          PatchGrid(8, 8), 0)  # fmt: skip
    assert compared.part(MODE, 0)[1].lengths.tolist() == [1, 2], "from the other one alone; the usual length is 2"


def test_readings_without_a_path_are_counted_and_said(tmp_path: Path) -> None:
    truth, predicted = (write(tmp_path / str(seed), study(2, seed, images)) for seed, images in ((1, 8), (2, 6)))
    assert run("--truth", truth, "--predicted", predicted)["dropped"]["readings_without_predicted_path"] == 4
    said = CliRunner().invoke(app, ["score", "--truth", str(truth), "--predicted", str(predicted)])
    assert "Left out: 4 readings without predicted path." in said.stdout


def test_both_forms_and_units_of_a_file_are_the_same(tmp_path: Path) -> None:
    lines = study(1, 1, width_px=2000, height_px=1000)
    fractions = [{**line, "width_px": None, "height_px": None} for line in lines]
    pixels = [
        {**line, "x": [2000 * x for x in line["x"]], "y": [1000 * y for y in line["y"]]} for line in lines
    ]
    single = [
        {**line, "x": x, "y": y, "duration_ms": ms}
        for line in pixels
        for x, y, ms in zip(line["x"], line["y"], line["duration_ms"], strict=True)
    ]
    whole, split = (read_scanpaths(write(tmp_path / name, form)) for name, form in (("w", pixels), ("s", single)))
    assert whole.readings == split.readings
    plain = read_scanpaths(write(tmp_path / "f", fractions))
    for one, other in zip(plain.readings, whole.readings, strict=True):
        assert [f.x for f in one.scanpath] == pytest.approx([f.x for f in other.scanpath])
        assert (one.size, other.size) == ((1.0, 1.0), (2000.0, 1000.0))


def test_figures_do_not_depend_on_the_number_of_processes(files: tuple[Path, Path]) -> None:
    alone, together = (run("--truth", files[0], "--predicted", files[1], "--jobs", jobs) for jobs in (1, 2))
    assert alone == together


def test_what_lies_beside_the_image_is_dropped_and_counted(tmp_path: Path) -> None:
    lines = [
        {"image_id": "a", "x": [0.5, -0.1, 1.0], "y": [0.5, 0.5, 0.5]}, {"image_id": "b", "x": [2], "y": [0]},
        {"image_id": "c", "x": 0.5, "y": 0.5},
    ]  # fmt: skip
    found = read_scanpaths(write(tmp_path / "a.jsonl", lines))
    assert (found.off_image, found.empty, [len(reading.scanpath) for reading in found.readings]) == (3, 1, [1, 1])
    truth = write(tmp_path / "b.jsonl", lines[:1])
    dropped = run("--truth", truth, "--predicted", tmp_path / "a.jsonl")["dropped"]
    assert dropped == {
        "off_image_fixations": 5, "empty_paths": 1, "predicted_paths_without_truth": 1,
        "readings_without_predicted_path": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 1 is no JSON"), ("[1]", "needs image_id, x and y"), ('{"image_id": "a", "x": 1}', "needs image_id"),
        ('{"image_id": "", "x": 0, "y": 0}', "image_id must be a name"),
        ('{"image_id": "a", "x": [0.1], "y": [0.1, 0.2]}', "lists of one length"),
        ('{"image_id": "a", "x": [0.1], "y": ["b"]}', "'b' is no number"),
        ('{"image_id": "a", "x": true, "y": 0}', "True is no number"),
        ('{"image_id": "a", "x": 0.1, "y": 0.1, "duration_ms": -4}', "duration_ms must be a finite time"),
        ('{"image_id": "a", "x": 0.1, "y": 0.1, "duration_ms": 1e9}', "lasts more than 15 minutes"),
        ('{"image_id": "a", "x": 1, "y": 1, "width_px": 10}', "must both be positive numbers"),
        ('{"image_id": "a", "x": 1, "y": 1, "width_px": 0, "height_px": 4}', "must both be positive numbers"),
        ('{"image_id": "a", "x": 7, "y": 7}', "holds no scanpath on an image"), ("", "holds no scanpath"),
    ],
)  # fmt: skip
def test_a_bad_line_is_named(tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(line)
    with pytest.raises(DatasetError, match=words) as error:
        read_scanpaths(path)
    assert "bad.jsonl" in str(error.value)
    result = CliRunner().invoke(app, ["score", "--truth", str(path), "--predicted", str(path)])
    assert result.exit_code == 1
    assert result.stderr == f"gazevlm score: {error.value}\n"


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    first = write(tmp_path / "a", [{"image_id": "a", "x": 1, "y": 1, "width_px": 10, "height_px": 10}])
    second = write(tmp_path / "b", [{"image_id": "b", "x": 0.1, "y": 0.1}])
    third = write(tmp_path / "c", [{"image_id": "a", "x": 0.1, "y": 0.1}])
    missing = tmp_path / "missing"
    cases = ((second, "no image_id in common"), (third, "disagree on an image"), (missing, "cannot read"))
    for other, words in cases:
        result = CliRunner().invoke(app, ["score", "--truth", str(first), "--predicted", str(other)])
        assert result.exit_code == 1
        assert words in result.stderr


def test_the_table_shows_floors_below_each_score(files: tuple[Path, Path]) -> None:
    result = CliRunner().invoke(app, ["score", "--truth", str(files[0]), "--predicted", str(files[1])])
    lines = result.stdout.splitlines()
    assert "24 images, 48 pairs of paths, grid of 8 by 8 patches" in lines[1]
    start = next(row for row, line in enumerate(lines) if line.startswith("sequence score (sees the order; higher is"))
    beside = [line.strip() for line in lines[start + 1 : start + 9]]
    assert beside[0].startswith("gain of its order over shuffling")
    assert beside[1].startswith("ceiling: another reader")
    assert [line.split(":")[0] for line in beside[2:]] == ["floor"] * 6
