"""Where an added finding lies: found from clicks where there is one place, and told there by a linear head."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from finetune.examples import ordered_cases
from finetune.prepare import fit_places
from finetune.usual_place import LEAST_IMAGES, PENALTY, SIDE, added_findings, find_place, fit_place
from gazevlm_core.findings import NO_FINDING
from gazevlm_core.geometry import PatchGrid
from gazevlm_core.inference import GazeEngine
from gazevlm_core.model.places import UsualPlace, pooled_tokens
from gazevlm_core.sample import Sample
from gazevlm_core.training.gaze_order import GazeOrder
from tests.finetune.case_maker import configure, make_case, path_of, picture


def searches(
    planted: tuple[float, float] | None, *, images: int = 20, seed: int = 0, share: float = 1.0
) -> list[Sample]:
    """Half of the images have a hernia; their readers click on it among clicks that are scattered."""
    rng = np.random.default_rng(seed)
    cases = []
    for number in range(images):
        points = [(float(x), float(y)) for x, y in rng.random((3, 2))]
        if planted and number % 2 and rng.random() < share:
            points.insert(1, planted)
        found = {"hernia": float(number % 2)}
        cases.append(make_case(f"i{number}", findings=found, readings=[("owl", path_of(points))]))
    return cases


@pytest.mark.parametrize("planted", [(0.5, 0.82), (0.03, 0.97), (0.71, 0.2)])
def test_a_planted_place_is_found_within_the_cell(planted: tuple[float, float]) -> None:
    place = find_place(searches(planted), "hernia")
    assert place is not None
    assert place.name == "hernia"
    assert abs(place.x - planted[0]) <= 1 / SIDE
    assert abs(place.y - planted[1]) <= 1 / SIDE


def test_a_place_that_every_reader_visits_anyway_is_none() -> None:
    """Everybody looks at the heart; only the hernia's own place counts."""
    cases = searches((0.3, 0.7), images=40)
    always = [
        make_case(c.image_id, findings=c.findings,
                  readings=[("owl", path_of([*((f.x, f.y) for f in c.readings[0].scanpath), (0.55, 0.5)]))])
        for c in cases
    ]  # fmt: skip
    place = find_place(always, "hernia")
    assert place is not None
    assert abs(place.x - 0.3) + abs(place.y - 0.7) < 2 / SIDE


@pytest.mark.parametrize("order", GazeOrder)
def test_a_control_knows_no_place_that_its_gaze_does_not_tell(order: GazeOrder) -> None:
    """The order of clicks says nothing of a place; clicks that are gone, or lie anywhere, do not say one either."""
    cases = ordered_cases(searches((0.5, 0.8), images=120), configure(gaze_order=order))
    found = find_place(cases, "hernia")
    assert (found is not None) == (order in (GazeOrder.ORIGINAL, GazeOrder.SHUFFLED))


@pytest.mark.parametrize("seed", range(5))
def test_scattered_clicks_have_no_place(seed: int) -> None:
    assert find_place(searches(None, images=120, seed=seed), "hernia") is None


def test_what_nobody_labelled_or_clicked_has_no_place() -> None:
    planted = searches((0.5, 0.8))
    assert find_place(planted, "edema") is None
    unread = [make_case(c.image_id, findings=c.findings) for c in planted]
    assert find_place(unread, "hernia") is None
    assert find_place(planted[: 2 * LEAST_IMAGES - 1], "hernia") is None
    assert find_place(planted[: 2 * LEAST_IMAGES], "hernia") is not None


@pytest.mark.parametrize("images", [14, 60])
def test_the_head_is_the_pipeline_of_scikit_learn(images: int) -> None:
    generator = torch.Generator().manual_seed(1)
    place, grid, width = UsualPlace("hernia", 0.4, 0.7, 0.06), PatchGrid(7, 9), 24
    cases, pooled = [], []
    for number in range(images):
        known = {"hernia": float(number % 3 == 0)} if number % 7 else {}
        cases.append(make_case(f"i{number}", findings=known))
        tokens = torch.randn(len(grid), width, generator=generator) * torch.arange(1, width + 1) + 3
        tokens[:, 5] = 2.0  # a feature that never changes
        if known.get("hernia"):
            tokens[:, 1] += 8.0
        pooled.append(pooled_tokens(tokens, grid, [place])[0])
    features = torch.stack(pooled).double().numpy()
    fitted = fit_place(place, cases, features)
    known = [number for number, case in enumerate(cases) if case.findings]
    labels = [cases[number].findings["hernia"] for number in known]
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=PENALTY, max_iter=1000))
    pipeline.fit(features[known], labels)
    ours = features @ fitted.weight.double().numpy() + fitted.bias
    np.testing.assert_allclose(ours, pipeline.decision_function(features), atol=1e-4)
    assert fitted.place == place
    assert fitted.weight.dtype == torch.float32


def labelled(**counts: tuple[int, int]) -> list[Sample]:
    """Images by finding: so many with it and without it."""
    return [
        make_case(f"{name}{number}", findings={name.replace("_", " "): float(number < present)})
        for name, (present, absent) in counts.items() for number in range(present + absent)
    ]  # fmt: skip


def test_added_findings_need_images_of_each_kind() -> None:
    few, enough = LEAST_IMAGES - 1, LEAST_IMAGES
    cases = labelled(enough_of_both=(enough, enough), rare=(few, 50), common=(50, few), always=(50, 0), known=(9, 9))
    new, left_out = added_findings(cases, ["known", "other"])
    assert (new, left_out) == (["enough of both"], ["always", "common", "rare"])


def test_no_finding_is_never_added() -> None:
    cases = [make_case(f"i{n}", findings={NO_FINDING: float(n % 2), "hernia": float(n % 2)}) for n in range(20)]
    assert added_findings(cases, []) == (["hernia"], [])


def test_fitting_sees_the_tower_at_rest_and_leaves_chance_alone(tmp_path: Path, tiny_checkpoint: Path) -> None:
    """In the middle of training, dropout would blur what the head is fitted on, and draw from the run's own numbers."""
    from peft import LoraConfig, get_peft_model

    engine = GazeEngine.load(str(tiny_checkpoint), device="cpu")
    vision = LoraConfig(r=2, lora_dropout=0.5, target_modules=r".*visual\.blocks\..*\.qkv", init_lora_weights=False)
    get_peft_model(engine.model, vision)
    cases = []
    for number, case in enumerate(searches((0.5, 0.8), images=8)):
        picture(number, 224, 224).save(tmp_path / f"{number}.png")
        readings = [("owl", case.readings[0].scanpath)]
        findings = {"hernia": float(number % 2)}
        cases.append(make_case(str(number), tmp_path / f"{number}.png", findings=findings, readings=readings))
    engine.model.eval()
    (quiet,) = fit_places(cases, ["hernia", "edema"], engine, None)
    assert not engine.model.training
    engine.model.train()
    state = torch.get_rng_state()
    (busy,) = fit_places(cases, ["hernia"], engine, None)
    assert engine.model.training
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(busy.weight, quiet.weight, atol=1e-5, rtol=1e-4)
