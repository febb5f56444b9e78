"""`gazevlm diagnose`: records, overlays, errors per file, exit codes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from cli.diagnose import _readable
from cli.main import app
from diagnose.record import RECORD_SCHEMA
from gazevlm_core.overlay import DOT
from gazevlm_core.words import LENGTH_NOTE
from tests.adapter_maker import make_adapter
from tests.diagnose.talking_model import SPOKEN, make_talking_checkpoint
from tests.tiny_model import make_tiny_checkpoint

SVG = '<svg xmlns="http://www.w3.org/2000/svg"/>'


@pytest.fixture(scope="module")
def talking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_talking_checkpoint(tmp_path_factory.mktemp("talking"))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder with two images, one of them deeper, and a file that only claims to be one."""
    folder = tmp_path / "images"
    (folder / "deeper").mkdir(parents=True)
    Image.new("L", (180, 120), 80).save(folder / "a.png")
    Image.new("RGB", (90, 200), (140, 140, 140)).save(folder / "deeper" / "b.jpg")
    (folder / "drawing.png").write_text(SVG)
    (folder / "notes.txt").write_text("no image, and not taken for one")
    return folder


def gazevlm(*arguments: object):
    return CliRunner().invoke(app, ["diagnose", *map(str, arguments)])


def ask(talking: Path, *arguments: object):
    return gazevlm("--model", talking, "--device", "cpu", "--max-new-tokens", 5, *arguments)


def test_json_is_one_list_of_records(talking: Path, images: Path) -> None:
    result = ask(talking, images, "--json")
    records = json.loads(result.stdout)
    assert [record["image"] for record in records] == [str(images / "a.png"), str(images / "deeper" / "b.jpg")]
    for record in records:
        assert list(record) == list(RECORD_SCHEMA["properties"])
        assert set(record["answer"].split()) <= set(SPOKEN.split())
        assert record["findings"].keys() == {"cardiomegaly", "pneumothorax"}
        assert all(0 <= value <= 1 for value in record["findings"].values())
        assert record["model"] == talking.name
        assert record["adapter"] is None
        rows, cols = record["grid"]
        for fixation in record["scanpath"]:
            assert fixation["patch_index"] == int(fixation["y"] * rows) * cols + int(fixation["x"] * cols)
            assert 0 < fixation["probability"] <= 1
            assert fixation["duration_ms"] > 0


def test_each_record_is_printed_as_it_comes(talking: Path, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second image's failure, in the middle of the work, finds the first record printed already."""
    from cli import diagnose as command

    done: list[str] = []
    true = command.load_radiograph

    def load_radiograph(path: Path):
        done.append(sys.stdout.buffer.getvalue().decode())  # what reached the test's runner by now
        return true(path)

    monkeypatch.setattr(command, "load_radiograph", load_radiograph)
    result = ask(talking, images, "--jsonl")
    assert result.exit_code == 1, "the drawing is no image"
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [Path(record["image"]).name for record in records] == ["a.png", "b.jpg"]
    assert [list(record) for record in records] == [list(RECORD_SCHEMA["properties"])] * 2
    assert done[0] == ""
    assert json.loads(done[1])["image"] == records[0]["image"]
    assert ask(talking, images, "--jsonl", "--json").exit_code == 2


def test_bad_file_is_named_on_stderr_and_the_rest_goes_on(talking: Path, images: Path) -> None:
    missing, empty = images / "missing.png", images / "empty"
    empty.mkdir()
    result = ask(talking, missing, images, empty, "--json")
    assert result.exit_code == 1
    assert len(json.loads(result.stdout)) == 2
    assert sorted(line.split(": ")[0] for line in result.stderr.splitlines()) == sorted(
        map(str, (images / "drawing.png", missing, empty))
    )
    assert "This is an SVG drawing, although its name ends in .png; export it as PNG." in result.stderr


def test_a_colour_picture_is_declined_as_on_the_page(talking: Path, images: Path) -> None:
    sky_over_grass = Image.new("RGB", (90, 200), (86, 152, 20))
    sky_over_grass.paste((135, 206, 235), (0, 0, 90, 100))
    sky_over_grass.save(images / "a.png")
    (images / "drawing.png").unlink()
    result = ask(talking, images, "--json")
    assert result.exit_code == 1
    assert len(json.loads(result.stdout)) == 1
    (line,) = result.stderr.splitlines()
    assert line.endswith("a.png: This is a colour picture, not a radiograph; give a grey chest radiograph.")


def test_a_model_of_colour_pictures_takes_them(tmp_path: Path, images: Path) -> None:
    model = make_talking_checkpoint(tmp_path / "coloured", color_images=True)
    Image.linear_gradient("L").resize((90, 200)).convert("RGB").point([*range(256), *[0] * 512]).save(images / "a.png")
    result = ask(model, images / "a.png")
    assert (result.exit_code, result.stderr) == (0, "")


def test_all_well_is_exit_code_0_and_readable_text(talking: Path, images: Path) -> None:
    result = ask(talking, images / "a.png")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith(f"{images / 'a.png'}\n  ")
    assert "  findings: " in result.stdout
    assert "  looked at 1" in result.stdout


def test_adapter_answers_and_is_named(talking: Path, images: Path, tmp_path: Path) -> None:
    adapter = make_adapter(talking, tmp_path / "mine", steps=5)
    (record,) = json.loads(ask(talking, images / "a.png", "--json", "--adapter", adapter).stdout)
    assert record["adapter"] == "mine"
    assert record["findings"].keys() == {"edema"}
    assert len(record["scanpath"]) <= 5


def test_same_seed_same_path_and_choices_differ(talking: Path, images: Path) -> None:
    def path(*arguments: object) -> list[int]:
        (record,) = json.loads(ask(talking, images / "a.png", "--json", *arguments).stdout)
        return [fixation["patch_index"] for fixation in record["scanpath"]]

    assert path("--seed", 3) == path("--seed", 3)
    assert len({tuple(path("--path", "sample", "--seed", seed)) for seed in range(4)}) > 1
    assert path("--path", "argmax", "--seed", 1) == path("--path", "argmax", "--seed", 2)


@pytest.fixture(scope="module")
def glimpsing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    marks = {"num_glimpses": 2, "repeats": False, "num_gaze_tokens": 6}
    return make_talking_checkpoint(tmp_path_factory.mktemp("glimpsing"), **marks)


def test_a_given_path_is_taken_and_seen_closely(glimpsing: Path, images: Path) -> None:
    (record,) = json.loads(ask(glimpsing, images / "a.png", "--json", "--look-at", "0.1,0.2 0.7,0.66").stdout)
    assert [(fixation["x"], fixation["y"]) for fixation in record["scanpath"]] == [(0.1, 0.2), (0.7, 0.66)]
    assert [glimpse["step"] for glimpse in record["glimpses"]] == [1, 2]
    assert record["evidence"].keys() == {"cardiomegaly", "pneumothorax"}
    assert [len(sentence["shares"]) for sentence in record["sentences"]] == [2]
    assert record["notes"] == [LENGTH_NOTE]
    (begun,) = json.loads(ask(glimpsing, images / "a.png", "--json", "--begin-at", "0.1,0.2").stdout)
    assert (begun["scanpath"][0]["x"], len(begun["scanpath"]) > 1) == (0.1, True)
    assert "  seen closely: 1, 2\n" in ask(glimpsing, images / "a.png", "--look-at", "0.1,0.2 0.7,0.66").stdout
    timed = ask(glimpsing, images / "a.png", "--look-at", "0.1,0.2,900 0.7,0.66,100 0.9,0.1").stdout
    assert "  seen closely: 1, 3\n" in timed, "without a dwell first, then by it"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--look-at", "0.1,0.2 0.7"), r"--look-at: place 2 must be two numbers x and y"),
        (("--look-at", "0.1,0.2,4000000"), r"its dwell in ms, of at most 3600000; got"),
        (("--begin-at", "0.1,1.2"), r"--begin-at: place 1 must be two numbers"),
        (("--look-at", " "), "--look-at names no place"),
        (("--look-at", "0.1,0.2", "--begin-at", "0.1,0.2"), "not both"),
    ],
)
def test_places_that_cannot_be_read_end_the_command(images: Path, arguments: tuple[str, ...], words: str) -> None:
    result = gazevlm(images / "a.png", *arguments)
    assert result.exit_code == 2
    assert words in result.stderr


def test_more_places_than_steps_is_one_line_and_an_unfollowed_path_a_note(
    talking: Path, glimpsing: Path, images: Path
) -> None:
    places = " ".join(f"0.{one},0.{two}" for one, two in ((1, 1), (9, 1), (9, 9), (1, 9), (5, 5), (1, 5), (9, 5)))
    result = ask(glimpsing, images / "a.png", "--json", "--look-at", places)
    assert result.exit_code == 1
    assert "7 places are more than the 6 steps of this model's path; give at most 6" in result.stderr
    plain = ask(talking, images / "a.png", "--look-at", "0.1,0.2 0.7,0.66")
    assert "  looked at 2 places: (0.10, 0.20) > (0.70, 0.66)" in plain.stdout
    assert "  note: The answer and the probabilities do not follow the places" in plain.stdout


def test_a_question_that_was_never_taught_ends_the_command(images: Path, tmp_path: Path) -> None:
    model = make_tiny_checkpoint(tmp_path / "taught", known_questions=["Is there edema?"])
    result = ask(model, images / "a.png", "--json", "--question", "How old is the patient?")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        'gazevlm: taught was not taught this question, so it does not answer it. It knows "Is there ...?" of: edema.\n'
    )
    (record,) = json.loads(ask(model, images / "a.png", "--json", "--question", "is there an edema").stdout)
    assert record["question"] == "Is there edema?"


def test_words_against_probabilities_are_printed() -> None:
    said = {"finding": "consolidation", "affirmed": True, "probability": 0.01, "agrees": False}
    agreed = {"finding": "edema", "affirmed": False, "probability": None, "agrees": None}
    record = {
        "image": "a.png", "answer": "Consolidation.", "claims": [said, agreed], "findings": {"consolidation": 0.01},
        "scanpath": None, "glimpses": [], "evidence": {}, "notes": [], "model": "nano", "adapter": "mine",
        "seconds": 1.0,
    }  # fmt: skip
    lines = _readable(record, None).splitlines()  # type: ignore[arg-type]
    assert "  contradiction: consolidation (affirmed in words, probability 0.01)" in lines
    assert lines[-1] == "  nano + mine, 1.0 s", "not the model alone, which would say something else"


def test_overlay_of_one_image_has_its_size_and_its_path(talking: Path, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    (record,) = json.loads(ask(talking, images / "a.png", "--json", "--overlay", out).stdout)
    with Image.open(out) as drawn:
        assert drawn.size == (180, 120)
        for fixation in record["scanpath"]:
            assert drawn.getpixel((int(fixation["x"] * 180), int(fixation["y"] * 120))) == DOT


def test_overlays_of_a_folder(talking: Path, images: Path, tmp_path: Path) -> None:
    assert ask(talking, images, "--overlay", tmp_path / "drawn").exit_code == 1  # the SVG
    assert ask(talking, images, "--overlay", tmp_path / "with-{stem}.png").exit_code == 1
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == ["a.png", "b.png"]
    assert sorted(path.name for path in tmp_path.glob("with-*")) == ["with-a.png", "with-b.png"]


def test_overlay_that_cannot_be_written_fails_that_file(talking: Path, images: Path) -> None:
    result = ask(talking, images / "a.png", "--json", "--overlay", images / "notes.txt" / "out.png")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == []
    assert "overlay could not be written" in result.stderr


def test_untrained_gaze_says_so_and_draws_nothing(tmp_path: Path, images: Path) -> None:
    model = make_tiny_checkpoint(tmp_path / "untrained", gaze_trained=False)
    common = ("--model", model, "--device", "cpu", "--max-new-tokens", 3, images / "a.png")
    plain = gazevlm(*common)
    assert plain.exit_code == 0
    assert "untrained" in plain.stdout
    assert "looked at" not in plain.stdout
    drawn = gazevlm(*common, "--overlay", tmp_path / "out.png")
    assert drawn.exit_code == 1
    assert "untrained" in drawn.stderr
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--device", "toaster"],
        ["--question", "  "],
        ["--question", "x" * 501],
        ["--path", "shortest"],
        ["--max-new-tokens", "0"],
        ["--overlay", "one.png"],
        ["--overlay", "out.jpg"],
    ],
)
def test_wrong_use_is_exit_code_2_before_any_model_is_loaded(arguments: list[str], images: Path) -> None:
    result = gazevlm(images, "--model", "nowhere/at-all", *arguments)
    assert result.exit_code == 2
    assert result.stdout == ""


def test_no_image_is_wrong_use() -> None:
    assert gazevlm().exit_code == 2


@pytest.mark.parametrize("option", ["--model", "--adapter"])
def test_model_that_cannot_be_loaded_is_one_line(option: str, talking: Path, images: Path, tmp_path: Path) -> None:
    (tmp_path / "hollow").mkdir()
    result = ask(talking, images, "--json", option, tmp_path / "hollow")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("gazevlm: ")


@pytest.mark.slow
def test_stderr_of_the_real_command_holds_nothing_but_errors(
    talking: Path, images: Path, repository: Path, tmp_path: Path
) -> None:
    """No loading bars, no notes of libraries, no traceback; stdout is JSON alone."""
    arguments = ["diagnose", str(images), "--model", str(talking), "--json", "--max-new-tokens", "3"]
    adapter = make_adapter(talking, tmp_path / "mine")
    command = [sys.executable, "-m", "cli", *arguments, "--adapter", str(adapter), "--precision", "nf4"]
    result = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert len(json.loads(result.stdout)) == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"{images / 'drawing.png'}: This is an SVG")


@pytest.mark.slow
def test_real_radiographs(real_radiographs: list[Path], repository: Path, tmp_path: Path) -> None:
    """The twelve real images through the model that ships: a path and an answer for each."""
    if not (repository / "models" / "gazevlm-nano").is_dir():
        pytest.skip("models/gazevlm-nano has not been trained yet")
    result = gazevlm(*real_radiographs, "--json", "--overlay", tmp_path / "drawn")
    assert (result.exit_code, result.stderr) == (0, "")
    records = json.loads(result.stdout)
    assert [Path(record["image"]) for record in records] == real_radiographs
    for record, path in zip(records, real_radiographs, strict=True):
        assert record["answer"]
        assert len(record["scanpath"]) >= 2
        assert record["findings"]
        with Image.open(path) as image, Image.open(tmp_path / "drawn" / f"{path.stem}.png") as drawn:
            assert drawn.size == image.size
