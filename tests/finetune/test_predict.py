"""A look at many images: it asks for all that is known, and leaves training and chance alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from finetune.features import Batching, FeatureStore, fill_features
from finetune.predict import Aims, Predictions, predict_cases, predict_findings
from gazevlm_core.inference import GazeEngine
from gazevlm_core.model import generation_gazevlm
from gazevlm_core.model.modeling_gazevlm import GazeVLM
from gazevlm_core.ranks import Ranks
from gazevlm_core.sample import DatasetError, Sample
from tests.fake_ranks import together
from tests.finetune.case_maker import HERE, make_case, path_of, picture
from tests.tiny_model import make_tiny_checkpoint


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    folder = tmp_path_factory.mktemp("pictures")
    for number, size in enumerate([(224, 224), (330, 120), (224, 224)]):
        picture(number, *size).save(folder / f"{number}.png")
    return [
        make_case("0", folder / "0.png", findings={"cardiomegaly": 1.0}, report="Large left pleural effusion.",
                  readings=[("owl", path_of(HERE, (100.0, 200.0)))]),
        make_case("1", folder / "1.png", findings={"cardiomegaly": 0.0}, readings=[("owl", path_of(HERE))]),
        make_case("2", folder / "2.png"),
    ]  # fmt: skip


def same(first: Predictions, second: Predictions) -> None:
    for one, other in zip(first.diagnoses, second.diagnoses, strict=True):
        assert (one.scanpath is None) == (other.scanpath is None)
        for here, there in zip(one.scanpath or (), other.scanpath or (), strict=True):
            assert (here.x, here.y) == (there.x, there.y)
            assert here.duration_ms == pytest.approx(there.duration_ms, rel=1e-4)  # pictures together round otherwise
        assert one.finding_probabilities == pytest.approx(dict(other.finding_probabilities), abs=1e-5)
    assert first.losses == pytest.approx(second.losses, abs=1e-4)


@pytest.mark.parametrize("training", [True, False])
def test_a_look_leaves_training_and_chance_as_they_were(
    tiny_engine: GazeEngine, pictures: list[Sample], training: bool
) -> None:
    model = tiny_engine.model
    try:
        model.train(training)
        state, numbers = torch.get_rng_state(), np.random.get_state()[1]
        first = predict_cases(tiny_engine, pictures, None)
        assert model.training is training
        assert all(module.training is training for module in model.modules())
        assert torch.equal(torch.get_rng_state(), state)
        assert (np.random.get_state()[1] == numbers).all()
        assert all(parameter.grad is None for parameter in model.parameters())
        torch.manual_seed(5)
        same(predict_cases(tiny_engine, pictures, None), first)
        with pytest.raises(DatasetError, match="gone: There is no such file"):
            predict_cases(tiny_engine, [make_case("gone")], None)
        assert model.training is training
    finally:
        model.eval()


def test_a_look_asks_for_every_loss_that_is_known(
    tmp_path: Path, tiny_engine: GazeEngine, pictures: list[Sample]
) -> None:
    store = FeatureStore(tmp_path, "base", (1, 2), torch.float32)
    fill_features(store, tiny_engine, pictures)
    found = predict_cases(tiny_engine, pictures, store)
    assert set(found.losses) == {"gaze_loss", "text_loss", "dwell_loss"}
    assert found.aims == Aims(12, True, 0.0)
    assert len(found.diagnoses) == 3
    assert [one.gaze_trained for one in found.diagnoses] == [True, True, False], "nobody read the third"
    assert all(one.keys() == {"cardiomegaly", "pneumothorax"} for one in found.probabilities())
    same(predict_cases(tiny_engine, pictures, None), found)
    assert set(predict_cases(tiny_engine, pictures[1:2], store).losses) == {"gaze_loss"}
    assert predict_cases(tiny_engine, pictures[2:], store).losses == {}


def test_words_are_scored_where_the_model_looks_and_not_where_a_reader_did(tmp_path: Path) -> None:
    """Nobody tells it in use; and a base without glimpses, which it is held against, would be told nothing."""
    picture(0, 448, 448).save(tmp_path / "0.png")
    engine = GazeEngine.load(str(make_tiny_checkpoint(tmp_path / "base", num_glimpses=3)), device="cpu")
    told = []
    for number in range(4):  # of which some would have been a reader's
        here, there = (
            make_case(f"{number}", tmp_path / "0.png", report="Effusion.", readings=[("owl", path_of([place]))])
            for place in ((0.1, 0.1), (0.9, 0.9))
        )
        told.append([predict_cases(engine, [case], None).losses["text_loss"] for case in (here, there)])
    assert [one for one, _ in told] == pytest.approx([other for _, other in told], rel=1e-6)


def test_an_untrained_base_shows_nothing(tmp_path: Path, pictures: list[Sample]) -> None:
    bare = make_tiny_checkpoint(tmp_path, gaze_trained=False, findings_trained=False, dwell_trained=False)
    found = predict_cases(GazeEngine.load(str(bare), device="cpu"), pictures, None)
    assert all(one.scanpath is None for one in found.diagnoses)
    assert found.probabilities() == [{}, {}, {}]
    assert found.losses == {}


def test_a_part_that_was_never_trained_has_no_loss(tmp_path: Path, pictures: list[Sample]) -> None:
    """An untrained pointer beside an adapter's would be no base to be better than."""
    half = make_tiny_checkpoint(tmp_path, gaze_trained=False, dwell_trained=False)
    assert set(predict_cases(GazeEngine.load(str(half), device="cpu"), pictures, None).losses) == {"text_loss"}


def test_where_probabilities_are_wanted_nothing_else_is_computed(
    tiny_engine: GazeEngine, pictures: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = predict_cases(tiny_engine, pictures, None).probabilities()
    passes: list[int] = []
    true_prefill = GazeEngine.prefill
    monkeypatch.setattr(GazeEngine, "prefill", lambda *args, **more: passes.append(1) or true_prefill(*args, **more))
    monkeypatch.setattr(generation_gazevlm, "choose_paths", lambda *_, **__: pytest.fail("a path was walked"))
    monkeypatch.setattr(GazeEngine, "describe", lambda *_: pytest.fail("a record was made"))
    monkeypatch.setattr(GazeVLM, "forward", lambda *_, **__: pytest.fail("losses were computed"))
    told = predict_findings(tiny_engine, pictures, None)
    assert len(passes) == 1
    for one, other in zip(told, expected, strict=True):
        assert one == pytest.approx(other, abs=1e-5)


def test_images_of_which_nothing_is_known_cost_no_pass_of_losses_and_no_walk(
    tiny_engine: GazeEngine, pictures: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    walked: list[int] = []
    true_choose = generation_gazevlm.choose_paths

    def choose(fields: Any, *args: Any, **how: Any) -> Any:
        walked.append(len(fields))
        return true_choose(fields, *args, **how)

    monkeypatch.setattr(generation_gazevlm, "choose_paths", choose)
    rows: list[int] = []
    true_forward = GazeVLM.forward

    def forward(model: GazeVLM, *args: Any, **how: Any) -> Any:
        rows.append(len(how["input_ids"]))
        return true_forward(model, *args, **how)

    monkeypatch.setattr(GazeVLM, "forward", forward)
    predict_cases(tiny_engine, pictures, None)
    assert (walked, rows) == ([2], [2]), "the third image has neither a reading nor words"


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_that_share_the_images_say_what_one_says(
    tmp_path: Path, tiny_engine: GazeEngine, pictures: list[Sample], processes: int
) -> None:
    """To the last digit, each having done its part of the work alone; threads stand for processes here."""
    store = FeatureStore(tmp_path, "base", (1, 2), torch.float32)
    fill_features(store, tiny_engine, pictures)
    alone = predict_cases(tiny_engine, pictures, store, Batching(1))
    told = predict_findings(tiny_engine, pictures, store, Batching(1))

    def look(ranks: Ranks) -> tuple[Predictions, list[dict[str, float]]]:
        batching = Batching(1, ranks=ranks)
        found = predict_findings(tiny_engine, pictures, store, batching)
        return predict_cases(tiny_engine, pictures, store, batching), found

    for looked, said in together(processes, look):
        assert looked.losses == alone.losses
        assert looked.probabilities() == alone.probabilities()
        assert [one.scanpath for one in looked.diagnoses] == [one.scanpath for one in alone.diagnoses]
        assert said == told
