"""What can answer: models bare and with adapters, each with honest facts, and swapped without a trace."""

import json
import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from diagnose.catalogue import PRECISIONS, Catalogue
from diagnose.record import model_records
from gazevlm_core.evaluation.checkpoint_scores import PASSED_BY_NOISE, SCORES_FILE, UNJUDGED, read_verdict
from gazevlm_core.options import DiagnoseOptions, Precision
from gazevlm_core.words import UnknownQuestionError
from tests.adapter_maker import make_adapter

if TYPE_CHECKING:
    from gazevlm_core.inference import GazeEngine
    from gazevlm_core.records import Diagnosis

IMAGE = Image.new("RGB", (200, 150), (90, 90, 90))
SHORT = DiagnoseOptions(max_new_tokens=2)
SCORES = {"scored_on": "ten", "findings": {"edema": {"auroc": 0.9, "prevalence": 0.2}}}


@pytest.fixture
def engine(tiny_checkpoint: Path) -> "GazeEngine":
    from gazevlm_core.inference import GazeEngine

    return GazeEngine.load(str(tiny_checkpoint), device="cpu")


@pytest.fixture(scope="module")
def made_adapters(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapters")
    make_adapter(tiny_checkpoint, folder / "first", seed=1)
    make_adapter(tiny_checkpoint, folder / "second", seed=2, steps=5)
    (folder / "second" / SCORES_FILE).write_text(json.dumps(SCORES))
    return folder


@pytest.fixture
def adapters(made_adapters: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made_adapters, tmp_path / "adapters")


def ask(catalogue: Catalogue, name: str) -> "Diagnosis":
    *_, last = catalogue.ask(name, IMAGE, "What is there?", SHORT)
    return last


def test_every_model_is_offered_bare_and_with_its_adapters(
    engine: "GazeEngine", tiny_checkpoint: Path, adapters: Path
) -> None:
    catalogue = Catalogue({str(tiny_checkpoint): engine}, adapters=adapters)
    name = tiny_checkpoint.name
    assert list(catalogue.choices()) == [name, f"{name} + first", f"{name} + second"]
    assert catalogue.find("").name == name
    bare, first, second = (choice.facts() for choice in catalogue.choices().values())
    assert (bare["adapter"], bare["trained on"]) == ("none", "nothing (a test)")
    assert (bare["weights"], bare["device"], bare["gaze"]) == ("32 bits (float)", "CPU", "trained")
    assert (first["adapter"], first["trained on"]) == ("first", "a test")
    assert second["model"] == name
    assert set(PRECISIONS) == set(Precision) - {Precision.AUTO}
    scores = [choice.scores for choice in catalogue.choices().values()]
    assert scores[:2] == [None, None], "an adapter's scores are not those of its model"
    assert scores[2] is not None


def test_an_adapter_says_whether_it_beat_its_base_and_a_broken_one_is_not_offered(
    engine: "GazeEngine", tiny_checkpoint: Path, adapters: Path
) -> None:
    catalogue = Catalogue({str(tiny_checkpoint): engine}, adapters=adapters)
    name = f"{tiny_checkpoint.name} + first"
    why = "No difference from its base was seen (24 held-out patients): sequence score 0.400 to 0.300."
    provenance = adapters / "first" / "provenance.json"
    provenance.write_text(json.dumps({"verdict": {"outcome": "no difference seen", "why": why}}))
    assert catalogue.find(name).facts()["held-out scores"] == why
    provenance.write_text(json.dumps({"verdict": {"better": True, "why": "By the mean of mixed units."}}))
    assert catalogue.find(name).facts()["held-out scores"] == UNJUDGED.format(why=PASSED_BY_NOISE)
    assert "held-out scores" not in catalogue.find(f"{tiny_checkpoint.name} + second").facts()
    assert catalogue.find("").adapter is None, "no adapter is chosen by itself"
    provenance.write_text("{}")
    assert name not in catalogue.choices()


def test_each_choice_answers_as_itself_and_leaves_no_trace(
    engine: "GazeEngine", tiny_checkpoint: Path, adapters: Path
) -> None:
    catalogue = Catalogue({str(tiny_checkpoint): engine}, adapters=adapters)
    bare, first, second = catalogue.choices()
    before = ask(catalogue, bare)
    assert before.finding_probabilities.keys() == {"cardiomegaly", "pneumothorax"}
    assert ask(catalogue, first).adapter_id == "first"
    last = ask(catalogue, second)
    assert (last.adapter_id, list(last.finding_probabilities)) == ("second", ["edema"])
    assert last.patch_probabilities is not None
    assert len(last.patch_probabilities) == 5
    after = ask(catalogue, bare)
    assert after.adapter_id is None
    assert (after.answer, after.finding_probabilities) == (before.answer, before.finding_probabilities)


def test_vision_tokens_are_kept_for_each_adapter(
    engine: "GazeEngine", tiny_checkpoint: Path, adapters: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = []
    encode = engine.encode_images
    monkeypatch.setattr(engine, "encode_images", lambda images: encoded.append(1) or encode(images))
    catalogue = Catalogue({str(tiny_checkpoint): engine}, adapters=adapters)
    for _ in range(2):
        for name in catalogue.choices():
            ask(catalogue, name)
    assert len(encoded) == 3


def test_an_adapter_that_comes_later_is_offered_and_one_written_anew_is_loaded_again(
    engine: "GazeEngine", tiny_checkpoint: Path, adapters: Path
) -> None:
    later = adapters.parent / "later"
    (adapters / "first").rename(later)
    catalogue = Catalogue({str(tiny_checkpoint): engine}, adapters=adapters)
    name = f"{tiny_checkpoint.name} + first"
    assert name not in catalogue.choices()
    with pytest.raises(ValueError, match=f"no model called '.* . first'; choose one of: {tiny_checkpoint.name}, "):
        ask(catalogue, name)
    later.rename(adapters / "first")
    old = ask(catalogue, name)
    make_adapter(tiny_checkpoint, adapters / "first", seed=9)
    new = ask(catalogue, name)
    assert old.finding_probabilities != new.finding_probabilities


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the adapters that were read, each time that one was."""
    names: list[str] = []

    def read(folder: Path) -> str | None:
        names.append(folder.name)
        return read_verdict(folder)

    monkeypatch.setattr("diagnose.catalogue.read_verdict", read)
    return names


def test_an_adapter_is_read_again_only_when_anything_in_its_folder_changed(
    engine: "GazeEngine", tiny_checkpoint: Path, adapters: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diagnose.catalogue.STABLE_NS", -(10**18))  # so that new files are kept at once
    catalogue = Catalogue({str(tiny_checkpoint): engine}, adapters=adapters)
    name = f"{tiny_checkpoint.name} + first"
    first, config = adapters / "first", adapters / "first" / "gaze_config.json"

    def read_again() -> list[str]:
        reads.clear()
        found = [choice.name for _ in range(3) for choice in (catalogue.find(name), *catalogue.choices().values())]
        assert found.count(name) == 6
        return reads

    assert sorted(read_again()) == ["first", "second"]
    assert read_again() == []
    config.write_text(config.read_text() + " ")
    assert read_again() == ["first"]
    twin = shutil.copy2(config, adapters.parent / "twin")  # of the same size and time
    Path(twin).rename(config)
    assert read_again() == ["first"]
    (first / "provenance.json").write_text(json.dumps({"verdict": {"outcome": "better", "why": "Because."}}))
    assert read_again() == ["first"]
    assert catalogue.find(name).verdict == "Because."
    (first / "nowhere").symlink_to(first / "gone")
    (first / "more").mkdir()
    assert read_again() == ["first"]
    (first / "more" / "weights.bin").touch()
    assert name not in catalogue.choices()
    (first / "more" / "weights.bin").unlink()
    assert read_again() == ["first"]
    shutil.copytree(first, adapters / "third", symlinks=True)
    assert read_again() == ["third"]
    shutil.rmtree(adapters / "second")
    assert list(catalogue.choices()) == [tiny_checkpoint.name, name, f"{tiny_checkpoint.name} + third"]
    assert catalogue._index.keys() == {first, adapters / "third"}


def test_what_was_written_just_now_is_not_kept_since_it_may_be_written_again_within_one_tick(
    engine: "GazeEngine", tiny_checkpoint: Path, adapters: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue = Catalogue({str(tiny_checkpoint): engine}, adapters=adapters)
    monkeypatch.setattr("diagnose.catalogue.STABLE_NS", 10**18)
    for _ in range(3):
        catalogue.find(f"{tiny_checkpoint.name} + first")
    assert reads == ["first"] * 3, "of the adapters, that of the name alone is looked at"


def test_the_given_adapter_is_the_usual_choice(engine: "GazeEngine", tiny_checkpoint: Path, adapters: Path) -> None:
    catalogue = Catalogue({str(tiny_checkpoint): engine}, adapter=adapters / "second", adapters=adapters)
    name = tiny_checkpoint.name
    assert list(catalogue.choices()) == [f"{name} + second", name, f"{name} + first"]
    assert ask(catalogue, "").adapter_id == "second"
    assert ask(catalogue, name).adapter_id is None
    from gazevlm_core.model.adapters import AdapterError

    with pytest.raises(AdapterError, match="lacks"):
        Catalogue({str(tiny_checkpoint): engine}, adapter=adapters.parent)


def test_the_bare_model_is_the_usual_choice_while_the_given_adapter_is_gone(
    engine: "GazeEngine", tiny_checkpoint: Path, adapters: Path
) -> None:
    catalogue = Catalogue({str(tiny_checkpoint): engine}, adapter=adapters / "second", adapters=adapters)
    name, aside = tiny_checkpoint.name, adapters.parent / "aside"
    assert ask(catalogue, "").adapter_id == "second"
    (adapters / "second").rename(aside)
    assert list(catalogue.choices()) == [name, f"{name} + first"]
    assert ask(catalogue, "").adapter_id is None
    with pytest.raises(ValueError, match=f"no model called '{name} . second'; choose one of: {name}, "):
        ask(catalogue, f"{name} + second")
    aside.rename(adapters / "second")
    assert list(catalogue.choices()) == [f"{name} + second", name, f"{name} + first"]
    assert ask(catalogue, "").adapter_id == "second"


def test_the_given_adapter_is_not_another_of_its_name(
    engine: "GazeEngine", tiny_checkpoint: Path, adapters: Path, tmp_path: Path
) -> None:
    given = shutil.copytree(adapters / "second", tmp_path / "elsewhere" / "first")
    catalogue = Catalogue({str(tiny_checkpoint): engine}, adapter=given, adapters=adapters)
    assert catalogue.find("").adapter == given


def test_broken_and_foreign_adapters_are_not_offered_and_the_log_says_why_once(
    engine: "GazeEngine", tiny_checkpoint: Path, adapters: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (adapters / "first" / "gaze_config.json").write_text("{")
    (adapters / "notes").mkdir()
    config = adapters / "second" / "adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "base_model_name_or_path": "another/model"}))
    catalogue = Catalogue({str(tiny_checkpoint): engine}, adapters=adapters)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert list(catalogue.choices()) == [tiny_checkpoint.name]
    assert [record.getMessage().split(":")[1].strip() for record in caplog.records] == [
        "adapter 'first'", "adapter 'notes' lacks adapter_config.json; save it with gazevlm_core.model.adapters",
    ]  # fmt: skip


def test_models_need_names_of_their_own(engine: "GazeEngine", tiny_checkpoint: Path) -> None:
    with pytest.raises(ValueError, match="two models are called"):
        Catalogue({str(tiny_checkpoint): engine, "other": engine})
    with pytest.raises(ValueError, match="no model"):
        Catalogue({})


def test_names_from_outside_are_never_paths(engine: "GazeEngine", tiny_checkpoint: Path, adapters: Path) -> None:
    catalogue = Catalogue({str(tiny_checkpoint): engine}, adapters=adapters)
    for name in (str(tiny_checkpoint), "../adapters/first", f"{tiny_checkpoint.name} + ../first", "x" * 5000):
        with pytest.raises(ValueError, match="no model called") as error:
            catalogue.find(name)
        assert len(str(error.value)) < 400


def test_an_adapter_that_is_deleted_while_it_is_read_is_not_offered(
    engine: "GazeEngine", tiny_checkpoint: Path, adapters: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue = Catalogue({str(tiny_checkpoint): engine}, adapters=adapters)

    def read(folder: Path) -> None:
        if folder.name == "first":
            shutil.rmtree(folder)
            (folder / "provenance.json").read_text()

    monkeypatch.setattr("diagnose.catalogue.read_verdict", read)
    assert list(catalogue.choices()) == [tiny_checkpoint.name, f"{tiny_checkpoint.name} + second"]


def test_a_folder_of_adapters_that_cannot_be_read_costs_only_the_adapters(
    engine: "GazeEngine", tiny_checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("no folder")
    for folder, told in ((tmp_path / "nowhere", 0), (tmp_path / "file", 1)):
        catalogue = Catalogue({str(tiny_checkpoint): engine}, adapters=folder)
        assert [list(catalogue.choices()) for _ in range(2)] == [[tiny_checkpoint.name]] * 2
        assert len(caplog.records) == told


def test_an_adapter_that_is_deleted_before_its_turn_is_said_to_be(
    engine: "GazeEngine", tiny_checkpoint: Path, adapters: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue = Catalogue({str(tiny_checkpoint): engine}, adapters=adapters)
    first = catalogue.find(f"{tiny_checkpoint.name} + first")
    before = ask(catalogue, "")
    shutil.rmtree(adapters / "first")
    monkeypatch.setattr(catalogue, "find", lambda _: first)
    with pytest.raises(ValueError, match=r". first has just been deleted; choose another model.$"):
        ask(catalogue, first.name)
    monkeypatch.undo()
    assert ask(catalogue, "").finding_probabilities == before.finding_probabilities


def test_a_choice_is_stamped_by_its_adapters_files_and_says_what_it_knows(
    engine: "GazeEngine", tiny_checkpoint: Path, adapters: Path
) -> None:
    catalogue = Catalogue({str(tiny_checkpoint): engine}, adapters=adapters)
    name = f"{tiny_checkpoint.name} + first"
    before, config = catalogue.find(name).stamp, adapters / "first" / "gaze_config.json"
    assert catalogue.find("").stamp is None
    assert catalogue.find(name).stamp == before
    config.write_text(json.dumps({**json.loads(config.read_text()), "known_questions": ["Is there edema?"]}))
    assert catalogue.find(name).stamp != before
    known = {record["name"]: record["questions"] for record in model_records(catalogue.choices().values())}
    assert (known[name], known[tiny_checkpoint.name]) == (["Is there edema?"], [])
    with pytest.raises(UnknownQuestionError, match=f"^{name} was not taught this question".replace("+", r"\+")):
        catalogue.find(name).recognise("Why?")
    assert catalogue.find("").recognise("Why?") == "Why?"
