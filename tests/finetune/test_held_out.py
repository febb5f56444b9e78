"""Scores on the held-out images: figures by hand, floors beside them, and a look that leaves training alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from finetune.cases import Case, DataError
from finetune.features import FeatureStore, fill_features
from finetune.floors import Floors
from finetune.held_out import (
    ADDED,
    AUROC,
    CHANCE_FLOOR,
    CONSTANT_FLOOR,
    ORDER,
    SEQUENCE,
    SHUFFLED_FLOOR,
    Looked,
    judge,
    look_at,
    measures,
    selection_score,
)
from finetune.records import Measure
from gazevlm_core.geometry import PatchGrid
from gazevlm_core.inference import GazeEngine
from gazevlm_core.records import Diagnosis
from gazevlm_core.scanpath import Scanpath
from tests.finetune.case_maker import HERE, make_case, path_of, picture
from tests.tiny_model import make_tiny_checkpoint

GRID = PatchGrid(2, 2)
STRIP = PatchGrid(1, 12)
NO_FLOORS = Floors((), 0)


def patches(*indices: int, grid: PatchGrid = GRID) -> Scanpath:
    return path_of([grid.center_of(index) for index in indices])


def said(path: Scanpath | None = None, grid: PatchGrid = GRID, **findings: float) -> Diagnosis:
    """What a model may say of one image."""
    steps = 0 if path is None else len(path)
    shares = None if path is None else np.full((steps, len(grid)), 1 / len(grid), dtype=np.float32)
    return Diagnosis("", findings, path, shares, (0.5,) * steps, grid, "tiny")


def looked(*diagnoses: Diagnosis, **losses: float) -> Looked:
    return Looked(diagnoses, losses)


def case(findings: Mapping[str, float] | None = None, *paths: Scanpath) -> Case:
    return make_case("i", findings=findings, readings=[(f"r{n}", path) for n, path in enumerate(paths)])


def by_name(found: Sequence[Measure]) -> dict[str, Measure]:
    assert len({one.name for one in found}) == len(found)
    return {one.name: one for one in found}


# ---- paths ----------------------------------------------------------------------------------------------------------
READ = [case(None, patches(0, 1, 3)), case(None, patches(2, 0), patches(2)), case({"edema": 1.0})]


def test_sequence_scores_by_hand() -> None:
    ours = looked(said(patches(0, 1, 3)), said(patches(2, 0, 1)), said(patches(1)))  # 1; (2/3 + 1/3) / 2; unread
    theirs = looked(said(patches(3, 1, 0)), said(patches(1)), said(patches(1)))  # 1/3; 0; unread
    taught = [case(None, patches(0, 1), patches(2)), case(None, patches(0, 1))]  # the first path: 2/3; (1/2 + 0) / 2
    found = by_name(measures(READ, ours, theirs, Floors(taught, 0), [], 0))
    sequence = found[SEQUENCE]
    assert sequence.value == pytest.approx((1 + 1 / 2) / 2)
    assert sequence.base == pytest.approx((1 / 3 + 0) / 2)
    assert sequence.floors[CONSTANT_FLOOR] == pytest.approx((2 / 3 + 1 / 4) / 2)
    assert found[ORDER].value == pytest.approx((sequence.value or 0) - sequence.floors[SHUFFLED_FLOOR])
    assert found[ORDER].floors == {SHUFFLED_FLOOR: 0.0}
    assert CONSTANT_FLOOR not in by_name(measures(READ, ours, theirs, NO_FLOORS, [], 0))[SEQUENCE].floors


def test_the_gain_of_order_has_the_sign_of_the_order() -> None:
    way = tuple(range(12))
    cases = [case(None, patches(*way, grid=STRIP))]

    def gain(*indices: int) -> float:
        one = looked(said(patches(*indices, grid=STRIP), STRIP))
        found = by_name(measures(cases, one, one, NO_FLOORS, [], 0))[ORDER]
        assert found.value == found.base
        return float(found.value or 0)

    assert gain(*way) > 0.3
    assert gain(*way[::-1]) < -0.1
    assert gain(4, 4, 4) == 0.0
    assert gain(*way) == gain(*way)  # the shuffles are drawn from the seed


def test_a_base_without_a_path_has_no_score() -> None:
    found = by_name(measures(READ, looked(*[said(patches(0))] * 3), looked(*[said()] * 3), NO_FLOORS, [], 0))
    assert found[SEQUENCE].base is None
    assert found[ORDER].base is None
    assert found[SEQUENCE].value is not None
    assert measures(READ[:2], looked(*[said()] * 2), looked(*[said(patches(0))] * 2), NO_FLOORS, [], 0) == []
    assert measures(READ[2:], looked(said(patches(0))), looked(said(patches(0))), NO_FLOORS, [], 0) == []  # unread read it


# ---- findings -------------------------------------------------------------------------------------------------------
def test_auroc_by_hand() -> None:
    labels: list[dict[str, float]] = [
        {"edema": 1, "nodule": 1, "hernia": 1, "mass": 1, "new": 0}, {"edema": 0, "nodule": 0, "hernia": 0, "mass": 0},
        {"edema": 1, "nodule": 1, "one class": 1, "new": 1}, {"edema": 0, "one class": 1},
    ]  # fmt: skip
    ours = [(0.9, 0.8, 0.7, 0.6), (0.1, 0.2, 0.7, 0.5), (0.4, 0.9, 0.1, 0.8), (0.6, 0.1, 0.9, 0.1)]
    theirs = [(0.2, 0.1), (0.8, 0.9), (0.1, 0.2), (0.9, 0.5)]
    found = measures(
        [case(one) for one in labels],
        looked(*[said(None, edema=e, nodule=n, hernia=h, new=w, **{"one class": 0.5}) for e, n, h, w in ours]),
        looked(*[said(None, edema=e, nodule=n) for e, n in theirs]),
        NO_FLOORS, ["hernia", "new"], 0,
    )  # fmt: skip
    assert [one.name for one in found] == [
        AUROC, ADDED, f"{AUROC}: edema", f"{AUROC}: hernia", f"{AUROC}: new", f"{AUROC}: nodule"
    ]  # fmt: skip
    values = {one.name: (one.value, one.base) for one in found}
    assert values[f"{AUROC}: edema"] == (0.75, 0.0)
    assert values[f"{AUROC}: nodule"] == (1.0, 0.0)
    assert values[f"{AUROC}: hernia"] == (0.5, 0.5)  # a tie; the base cannot tell, which is chance
    assert values[f"{AUROC}: new"] == (1.0, 0.5)
    assert values[AUROC] == (0.875, 0.0)
    assert values[ADDED] == (0.75, 0.5)
    assert all(one.floors == {CHANCE_FLOOR: 0.5} and one.higher_is_better for one in found)


def test_a_finding_that_the_base_never_learned_has_no_base() -> None:
    cases = [case({"edema": 1.0}), case({"edema": 0.0})]
    ours = looked(said(None, edema=0.9), said(None, edema=0.1))
    found = by_name(measures(cases, ours, looked(said(), said()), NO_FLOORS, [], 0))
    assert [(one.value, one.base) for one in found.values()] == [(1.0, None), (1.0, None)]


def test_losses_are_lower_when_better() -> None:
    ours = looked(said(), gaze_loss=2.0, text_loss=1.0)
    found = measures([case()], ours, looked(said(), gaze_loss=3.0), NO_FLOORS, [], 0)
    assert found == [
        Measure("gaze loss", 2.0, 3.0, {}, False, "nats"), Measure("text loss", 1.0, None, {}, False, "nats")
    ]  # fmt: skip


# ---- verdict --------------------------------------------------------------------------------------------------------
def test_the_verdict_goes_by_the_mean_gain_of_the_main_measures() -> None:
    gains = [Measure(SEQUENCE, 0.5, 0.2), Measure(AUROC, 0.7, 0.8), Measure(ADDED, 0.9, 0.5)]
    verdict = judge(gains, 12)
    assert verdict.better
    assert verdict.why == (
        "It is better than its base on 12 held-out images: sequence score 0.200 to 0.500, AUROC 0.800 to 0.700, "
        "AUROC of added findings 0.500 to 0.900."
    )
    losses = judge([Measure(SEQUENCE, 0.5, 0.49), Measure(AUROC, 0.7, 0.72)], 3)
    assert not losses.better
    assert losses.why.startswith("It is no better than its base on 3 held-out images: ")
    assert not judge([Measure(SEQUENCE, 0.5, 0.5)], 3).better


def test_only_main_measures_count() -> None:
    beside = [
        Measure(ORDER, 1.0, 0.0), Measure(f"{AUROC}: edema", 1.0, 0.0), Measure("gaze loss", 9.0, 1.0, {}, False),
        Measure(SEQUENCE, None, 0.4),
    ]  # fmt: skip
    verdict = judge(beside, 4)
    assert not verdict.better
    assert verdict.why == "Nothing could be compared with the base on 4 held-out images."
    assert not judge([*beside, Measure(AUROC, 0.6, 0.7)], 4).better
    assert selection_score([*beside, Measure(AUROC, 0.6, 0.7), Measure(SEQUENCE, 0.4, None)]) == pytest.approx(0.5)
    assert selection_score(beside) is None


def test_a_base_that_shows_nothing_counts_as_the_best_floor() -> None:
    floors = {SHUFFLED_FLOOR: 0.1, CONSTANT_FLOOR: 0.3}
    assert judge([Measure(SEQUENCE, 0.31, None, floors)], 4).better
    worse = judge([Measure(SEQUENCE, 0.29, None, floors)], 4)
    assert not worse.better
    assert "0.300 to 0.290" in worse.why


# ---- looking --------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    folder = tmp_path_factory.mktemp("pictures")
    for number, size in enumerate([(224, 224), (330, 120), (224, 224)]):
        picture(number, *size).save(folder / f"{number}.png")
    return [
        make_case("0", folder / "0.png", findings={"cardiomegaly": 1.0}, report="Large left pleural effusion.",
                  readings=[("owl", path_of(HERE, (100.0, 200.0)))]),
        make_case("1", folder / "1.png", findings={"cardiomegaly": 0.0}, readings=[("owl", path_of(HERE))]),
        make_case("2", folder / "2.png"),
    ]  # fmt: skip


def same(first: Looked, second: Looked) -> None:
    for one, other in zip(first.diagnoses, second.diagnoses, strict=True):
        assert one.scanpath == other.scanpath
        assert one.finding_probabilities == pytest.approx(dict(other.finding_probabilities), abs=1e-5)
    assert first.losses == pytest.approx(second.losses, abs=1e-4)


@pytest.mark.parametrize("training", [True, False])
def test_a_look_leaves_training_and_chance_as_they_were(
    tiny_engine: GazeEngine, pictures: list[Case], training: bool
) -> None:
    model = tiny_engine.model
    try:
        model.train(training)
        state, numbers = torch.get_rng_state(), np.random.get_state()[1]
        first = look_at(tiny_engine, pictures, None)
        assert model.training is training
        assert all(module.training is training for module in model.modules())
        assert torch.equal(torch.get_rng_state(), state)
        assert (np.random.get_state()[1] == numbers).all()
        assert all(parameter.grad is None for parameter in model.parameters())
        torch.manual_seed(5)
        same(look_at(tiny_engine, pictures, None), first)
        with pytest.raises(DataError, match="image gone: There is no such file"):
            look_at(tiny_engine, [make_case("gone")], None)
        assert model.training is training
    finally:
        model.eval()


def test_a_look_asks_for_every_loss_that_is_known(
    tmp_path: Path, tiny_engine: GazeEngine, pictures: list[Case]
) -> None:
    store = FeatureStore(tmp_path, "base", (1, 2), torch.float32)
    fill_features(store, tiny_engine, pictures)
    found = look_at(tiny_engine, pictures, store)
    assert set(found.losses) == {"gaze_loss", "text_loss", "finding_loss", "dwell_loss"}
    assert len(found.diagnoses) == 3
    assert all(one.answer == "" and one.scanpath is not None for one in found.diagnoses)
    assert all(one.keys() == {"cardiomegaly", "pneumothorax"} for one in found.probabilities())
    same(look_at(tiny_engine, pictures, None), found)
    assert set(look_at(tiny_engine, pictures[1:2], store).losses) == {"gaze_loss", "finding_loss"}
    assert look_at(tiny_engine, pictures[2:], store).losses == {}


def test_an_untrained_base_shows_nothing(tmp_path: Path, pictures: list[Case]) -> None:
    bare = make_tiny_checkpoint(tmp_path, gaze_trained=False, findings_trained=False, dwell_trained=False)
    found = look_at(GazeEngine.load(str(bare), device="cpu"), pictures, None)
    assert all(one.scanpath is None for one in found.diagnoses)
    assert found.probabilities() == [{}, {}, {}]
    assert found.losses == {}
