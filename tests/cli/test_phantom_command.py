"""`gazevlm phantom`: images with complete ground truth, and nothing overwritten."""

import json
from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from cli.main import app
from cli.phantom import run_lengths
from gazevlm_core.images import iter_image_files
from phantoms.make import make_phantom
from phantoms.readers import HELD_OUT_READER, READERS


def gazevlm(*arguments: object):
    return CliRunner().invoke(app, ["phantom", *map(str, arguments)])


def decode(mask: dict[str, list[int]]) -> np.ndarray:
    """COCO's run lengths read by their definition: zeros first, down the columns."""
    height, width = mask["size"]
    flat = np.zeros(height * width, dtype=bool)
    ends = list(accumulate(mask["counts"]))
    for start, end in zip(ends[::2], ends[1::2], strict=False):
        flat[start:end] = True
    return flat.reshape(width, height).T


def test_images_and_truth_are_those_of_the_generator(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert gazevlm("--n", 2, "--seed", 7, "--out", out, "--size", 96, "--domain", "B").exit_code == 0
    index = json.loads((out / "index.json").read_text())
    assert [entry["seed"] for entry in index] == [7, 8]
    assert len(list(out.iterdir())) == 5
    for entry in index:
        truth = json.loads((out / entry["truth"]).read_text())
        phantom = make_phantom(entry["seed"], "B", size_px=96)
        assert (np.asarray(Image.open(out / entry["image"])) == phantom.image).all()
        assert [finding["name"] for finding in truth["findings"]] == [finding.name for finding in phantom.findings]
        assert entry["findings"] == [finding.name for finding in phantom.findings]
        for written, drawn in zip(truth["findings"], phantom.findings, strict=True):
            assert (decode(written["mask"]) == drawn.mask).all()
            assert written["box"] == pytest.approx(drawn.box)
            assert (written["severity"], written["side"]) == (drawn.severity, drawn.side)
        assert [reading["reader"] for reading in truth["readings"]] == [reader.name for reader in READERS]
        assert all(len(reading["fixations"]) >= 6 for reading in truth["readings"])
        assert truth["report"]
    assert [path.suffix for path in iter_image_files([out])] == [".png", ".png"]  # a folder to diagnose as it is


def test_held_out_reader_reads_only_on_request(tmp_path: Path) -> None:
    gazevlm("--n", 1, "--out", tmp_path / "out", "--size", 64, "--held-out")
    (truth,) = (tmp_path / "out").glob("phantom-*.json")
    assert json.loads(truth.read_text())["readings"][-1]["reader"] == HELD_OUT_READER.name


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    for place in (tmp_path, tmp_path / "mine.txt"):
        result = gazevlm("--n", 1, "--out", place)
        assert result.exit_code == 1
        assert len(result.stderr.splitlines()) == 1
        assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    result = gazevlm("--n", 1, "--out", tmp_path / "mine.txt" / "deeper")
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)


@pytest.mark.parametrize("wrong", [["--n", 0], ["--seed", -1], ["--domain", "C"], ["--size", 32]])
def test_wrong_use_is_exit_code_2(wrong: list[object], tmp_path: Path) -> None:
    assert gazevlm("--out", tmp_path / "out", *wrong).exit_code == 2
    assert not (tmp_path / "out").exists()


def test_run_lengths_by_hand() -> None:
    mask = np.array([[0, 1, 1], [0, 1, 0]], dtype=bool)  # columns: 00, 11, 10
    assert run_lengths(mask) == {"size": [2, 3], "counts": [2, 3, 1]}
    assert run_lengths(~mask) == {"size": [2, 3], "counts": [0, 2, 3, 1]}
    assert run_lengths(np.zeros((2, 2), dtype=bool)) == {"size": [2, 2], "counts": [4]}
    assert run_lengths(np.ones((2, 2), dtype=bool)) == {"size": [2, 2], "counts": [0, 4]}
