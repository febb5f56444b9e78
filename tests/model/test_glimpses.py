"""Glimpses: their places, tokens and positions, and that answer and findings rest on them; on every family."""

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gazevlm_core.evaluation.predict import first_answer_logits, in_steps
from gazevlm_core.geometry import PatchGrid
from gazevlm_core.inference import GazeEngine
from gazevlm_core.model.backbones import BACKBONES
from gazevlm_core.model.configuration_gazevlm import GazeConfig
from gazevlm_core.model.glimpses import choose_steps, crop_glimpse, fine_image, glimpse_states
from gazevlm_core.model.modeling_gazevlm import GazeVLM
from gazevlm_core.model.outputs import Glimpses
from gazevlm_core.model.pointer import RARE, GazeHeads
from gazevlm_core.options import DiagnoseOptions, GlimpseShares
from gazevlm_core.sample import Reading, Sample
from gazevlm_core.scanpath import Fixation, Scanpath
from gazevlm_core.training.collator import GazeCollator
from tests.tiny_model import make_tiny_backbone

QUESTION = "Is there pneumothorax?"
GLIMPSED = {"num_glimpses": 3, "repeats": False, "use_offsets": True, "num_gaze_tokens": 6}
READERS = GlimpseShares(1.0, 0.0, 0.0)
of_every_family = pytest.mark.parametrize("backbone", BACKBONES, ids=lambda backbone: backbone.family)


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def looking(*points: tuple[float, float], **options: object) -> DiagnoseOptions:
    return DiagnoseOptions(look_at=tuple(Fixation(*point) for point in points), max_new_tokens=8, **options)


@pytest.fixture(scope="module", params=BACKBONES, ids=lambda backbone: backbone.family)
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> GazeEngine:
    return GazeEngine.load(str(make_tiny_backbone(tmp_path_factory.mktemp("glimpsed"), request.param, **GLIMPSED)))


# ---- places ---------------------------------------------------------------------------------------------------------
def test_places_are_distinct_weigh_most_and_keep_the_order_of_looking() -> None:
    grid = PatchGrid(2, 2)
    path = [Fixation(x, y, dwell) for x, y, dwell in (
        (0.1, 0.1, 100), (0.9, 0.1, 300), (0.9, 0.9, 50), (0.2, 0.2, 250), (0.1, 0.9, 200),
    )]  # fmt: skip
    assert choose_steps(path, grid, 4) == [3, 1, 2, 4], "a patch at its longest fixation, in the order of first visits"
    assert choose_steps(path, grid, 2) == [3, 1], "350 and 300 ms"
    untimed = [Fixation(one.x, one.y) for one in path]
    assert choose_steps(untimed, grid, 2) == [0, 1], "two visits, then the first of those with one"
    assert choose_steps(untimed, grid, 2, [0.1, 0.2, 0.9, 0.1, 0.8]) == [2, 4]


def test_a_window_lies_in_the_image_and_has_its_size() -> None:
    grid = PatchGrid(4, 8)
    for x, y in ((0.0, 0.0), (0.999, 0.999), (0.5, 0.5), (0.02, 0.7)):
        window = grid.window_at(x, y, 1.5)
        assert 0 <= window.left < window.right <= 1 + 1e-12
        assert 0 <= window.upper < window.lower <= 1 + 1e-12
        assert window.right - window.left == pytest.approx(1.5 / 8)
        assert window.lower - window.upper == pytest.approx(1.5 / 4)
    assert grid.window_at(0.5, 0.5, 1.5) == pytest.approx((0.40625, 0.3125, 0.59375, 0.6875))
    assert PatchGrid(1, 1).window_at(0.3, 0.3, 1.5) == pytest.approx((0, 0, 1, 1))


def test_a_glimpse_shows_what_the_small_image_cannot() -> None:
    stripes = np.zeros((448, 448, 3), dtype=np.uint8)
    stripes[:, ::2] = 255  # gone at half the size
    config, grid = GazeConfig(num_glimpses=1), PatchGrid(8, 8)
    fine = fine_image(Image.fromarray(stripes), grid, 28, config)
    assert fine.size == (448, 448), "twice as fine as the small image of 224 px"
    glimpse = np.asarray(crop_glimpse(fine, grid.window_at(0.5, 0.5, 1.5), 84)).astype(float)
    small = np.asarray(Image.fromarray(stripes).resize((224, 224), Image.Resampling.BICUBIC)).astype(float)
    assert glimpse.std() > 100
    assert small[4:-4, 4:-4].std() < 5
    assert fine_image(Image.fromarray(stripes).resize((2000, 1000)), PatchGrid(6, 11), 28, config).size == (616, 336)
    assert fine_image(Image.fromarray(stripes).resize((300, 300)), grid, 28, config).size == (300, 300), "not enlarged"


# ---- the pass -------------------------------------------------------------------------------------------------------
def test_training_and_inference_see_the_same(engine: GazeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    model, config = engine.model, engine.gaze_config
    images = [noise(500, 460), noise(300, 420, 1), noise(400, 400, 2)]
    paths = [((0.1, 0.2), (0.6, 0.7), (0.9, 0.1)), ((0.4, 0.4),), ((0.2, 0.9), (0.8, 0.3))]
    readings = [Scanpath(tuple(Fixation(*point) for point in path), "click") for path in paths]
    encoded = engine.encode_images(images)
    prefilled = engine.prefill(encoded, [QUESTION] * 3)
    walked = {
        row: engine.model.predict_paths(prefilled, looking(*path), [row])[row] for row, path in enumerate(paths)
    }
    assert [walked[row].glimpsed for row in range(3)] == [(0, 1, 2), (0,), (0, 1)]
    seen = engine.glimpse(prefilled, encoded, walked)
    samples = [
        Sample(str(row), image, QUESTION, "No", {"cardiomegaly": 1.0, "pneumothorax": 0.0}, (Reading("", reading),))
        for row, (image, reading) in enumerate(zip(images, readings, strict=True))
    ]
    batch = GazeCollator(engine.processor, config, shares=READERS)(samples)
    captured, heads = list[tuple[torch.Tensor, Glimpses]](), model.gaze_heads
    compute = heads.finding_logits
    with monkeypatch.context() as patched, torch.no_grad():
        patched.setattr(heads, "finding_logits", lambda *given: captured.append(given) or compute(*given))
        losses = model(**batch)
    ((gaze_hidden, glimpses),) = captured
    torch.testing.assert_close(gaze_hidden, seen.gaze_hidden, atol=1e-4, rtol=1e-3)
    for row, count in enumerate((3, 1, 2)):
        for trained, inferred in zip(glimpses, seen.glimpses, strict=True):
            torch.testing.assert_close(trained[row, : 9 * count], inferred[row, : 9 * count], atol=1e-4, rtol=1e-3)
    logits = model.finding_logits(seen)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.tensor([[1.0, 0.0]] * 3))
    torch.testing.assert_close(losses.finding_loss, expected, atol=1e-4, rtol=1e-3)
    spoken = first_answer_logits(engine, seen)[0].log_softmax(dim=-1)
    first = int((batch["labels"][0] != -100).nonzero()[0])
    only = torch.full_like(batch["labels"], -100)
    only[0, first] = batch["labels"][0, first]
    with torch.no_grad():
        said = model(**{**batch, "labels": only}).text_loss
    torch.testing.assert_close(said, -spoken[only[0, first]], atol=1e-3, rtol=1e-3)


def test_a_batch_of_other_numbers_of_glimpses_answers_as_each_alone(engine: GazeEngine) -> None:
    images, path = [noise(500, 460), noise(300, 420, 1)], ((0.1, 0.2), (0.6, 0.7))
    encoded = engine.encode_images(images)
    both = engine.prefill(encoded, [QUESTION] * 2)
    predict = engine.model.predict_paths
    paths = predict(both, looking(*path), [0]) | predict(both, looking(path[0]), [1])
    together = engine.glimpse(both, encoded, paths)
    for row, options in enumerate((looking(*path), looking(path[0]))):
        alone, _ = engine.prefill_with_paths([encoded[row]], [QUESTION], options)
        torch.testing.assert_close(
            engine.model.finding_logits(alone)[0], engine.model.finding_logits(together)[row], atol=1e-4, rtol=1e-3
        )
    single = [engine.diagnose(image, QUESTION, looking(*path)) for image in images]
    batched = engine.diagnose(images, QUESTION, looking(*path))
    assert [one.answer for one in single] == [one.answer for one in batched]


def test_answer_and_findings_rest_on_where_the_model_looked(engine: GazeEngine) -> None:
    image = noise(500, 500)
    here = engine.diagnose(image, QUESTION, looking((0.1, 0.1), (0.2, 0.3)))
    there = engine.diagnose(image, QUESTION, looking((0.9, 0.9), (0.8, 0.6)))
    same = engine.diagnose(image, QUESTION, looking((0.1, 0.1), (0.2, 0.3)))
    assert here.finding_probabilities != there.finding_probabilities
    assert here.finding_probabilities == same.finding_probabilities
    assert [one.window for one in here.glimpses] == [
        here.grid.window_at(0.1, 0.1, 1.5), here.grid.window_at(0.2, 0.3, 1.5)
    ]  # fmt: skip
    assert [(fixation.x, fixation.y) for fixation in here.scanpath] == [(0.1, 0.1), (0.2, 0.3)]
    assert set(here.evidence) == {"cardiomegaly", "pneumothorax"}
    for shares in here.evidence.values():
        assert len(shares) == 2
        assert 0 < sum(shares) < 1, "the rest is the share of the whole image"


def test_glimpses_of_the_same_pixels_change_nothing_and_of_others_do(engine: GazeEngine) -> None:
    image, other = noise(500, 500), noise(500, 500, 9)
    encoded = engine.encode_images([image, other])

    def logits(source: int) -> torch.Tensor:
        prefilled = engine.prefill(encoded[:1], [QUESTION])
        paths = engine.model.predict_paths(prefilled, looking((0.3, 0.3)))
        return engine.model.finding_logits(engine.glimpse(prefilled, encoded[:1], paths, [encoded[source].fine]))

    own, _ = engine.prefill_with_paths(encoded[:1], [QUESTION], looking((0.3, 0.3)))
    assert torch.equal(logits(0), engine.model.finding_logits(own))
    assert not torch.allclose(logits(1), logits(0), atol=1e-5)


def test_findings_are_not_read_before_the_glimpses(engine: GazeEngine) -> None:
    prefilled = engine.prefill(engine.encode_images([noise(300, 300)]), [QUESTION])
    with pytest.raises(ValueError, match="no glimpses yet"):
        engine.model.finding_logits(prefilled)


def test_a_beginning_is_kept_and_glimpsed(engine: GazeEngine) -> None:
    first = Fixation(0.11, 0.93)
    found = engine.diagnose(noise(400, 400), QUESTION, DiagnoseOptions(begin_at=(first,), max_new_tokens=4))
    assert found.scanpath.fixations[0] == first
    assert found.glimpses[0].step == 0
    patches = [found.grid.index_of(fixation) for fixation in found.scanpath]
    assert all(one != other for one, other in pairwise(patches)), "no step repeats its patch"
    with pytest.raises(ValueError, match="not both"):
        DiagnoseOptions(begin_at=(first,), look_at=(first,))


def test_tokens_of_a_glimpse_lie_at_their_place_among_the_patches(engine: GazeEngine) -> None:
    (image,) = engine.encode_images([noise(448, 448)])
    middle = Fixation(*image.grid.center_of(image.grid.cols + 2))  # row 1, column 2
    seen, _ = engine.prefill_with_paths([image], [QUESTION], DiagnoseOptions(look_at=(middle,)))
    is_image = seen.input_ids[0] == engine.model.config.image_token_id
    whole, glimpse = seen.position_ids[:, 0, is_image].split([len(image.grid), 9], dim=1)
    own = whole[:, image.grid.cols + 2]
    assert torch.equal(glimpse[1:, 4], own[1:]), "the middle token has the rope position of the patch's own"
    assert (glimpse[1].view(3, 3)[:, 0] - own[1]).tolist() == [-0.5, 0.0, 0.5], "half a patch each"
    assert (glimpse[0] > whole[0, 0]).all(), "and comes later"
    text = seen.position_ids[:, 0, -1]
    assert text[0] == text[1] == text[2] > glimpse[0].max()


def test_positions_may_be_those_of_any_further_image(tmp_path: Path) -> None:
    engine = GazeEngine.load(
        str(make_tiny_backbone(tmp_path, BACKBONES[0], **GLIMPSED, glimpse_positions="sequential"))
    )
    (image,) = engine.encode_images([noise(300, 300)])
    given = DiagnoseOptions(look_at=(Fixation(0.3, 0.3), Fixation(0.9, 0.9)))
    seen, _ = engine.prefill_with_paths([image], [QUESTION], given)
    thw = torch.tensor([image.grid_thw.tolist(), [1, 6, 6], [1, 6, 6]])
    is_image = (seen.input_ids == engine.model.config.image_token_id).long()
    assert torch.equal(seen.position_ids, engine.model.positions(seen.input_ids, seen.attention_mask, is_image, thw))


# ---- training -------------------------------------------------------------------------------------------------------
@of_every_family
def test_all_losses_reach_heads_and_tower_and_the_own_path_is_followed(
    backbone: type[GazeVLM], tmp_path: Path
) -> None:
    engine = GazeEngine.load(str(make_tiny_backbone(tmp_path, backbone, **GLIMPSED)))
    mask = np.full((64, 64), 255, dtype=np.uint8)
    sample = Sample(
        "a", noise(400, 400), QUESTION, "Yes.", {"cardiomegaly": 1.0, "pneumothorax": 0.0},
        (Reading("", Scanpath((Fixation(0.2, 0.2, 100.0), Fixation(0.7, 0.4, 250.0)), "click")),),
        masks={"cardiomegaly": mask},
    )  # fmt: skip
    own = GazeCollator(
        engine.processor, engine.gaze_config, shares=GlimpseShares(0.0, 1.0, 0.0), model=engine.model.train()
    )
    batch = own([sample, replace(sample, image_id="b", image=noise(200, 500))])
    assert engine.model.training, "asked for its path, it goes on as it was"
    losses = engine.model(**batch)
    for name in ("gaze", "text", "finding", "dwell", "offset", "local"):
        assert getattr(losses, f"{name}_loss").isfinite(), name
        assert getattr(losses, f"{name}_loss") > 0, name
    losses.local_loss.backward(retain_graph=True)
    assert next(iter(engine.model.get_encoder("image").parameters())).grad.abs().sum() > 0
    engine.model.zero_grad()
    losses.loss.backward()
    missing = [name for name, one in engine.model.gaze_heads.named_parameters() if one.grad is None]
    assert missing == []


@of_every_family
@pytest.mark.parametrize("glimpses", [0, 2])
def test_what_patches_show_is_learned_with_glimpses_and_without(
    backbone: type[GazeVLM], glimpses: int, tmp_path: Path
) -> None:
    given = {**GLIMPSED, "num_glimpses": glimpses, "patch_finding_weight": 2.0}
    engine = GazeEngine.load(str(make_tiny_backbone(tmp_path, backbone, **given)))
    mask = np.zeros((64, 64), dtype=np.uint8)
    mask[:20, :20] = 255
    sample = Sample("a", noise(400, 300), QUESTION, "Yes.", {"cardiomegaly": 1.0}, masks={"cardiomegaly": mask})
    collate = GazeCollator(engine.processor, engine.gaze_config, model=engine.model)
    losses = engine.model(**collate([sample]))
    dull = engine.model(**{name: value for name, value in collate([sample]).items() if name != "patch_contents"})
    assert dull.patch_finding_loss is None
    assert losses.loss.item() == pytest.approx(dull.loss.item() + 2.0 * losses.patch_finding_loss.item(), rel=1e-5)
    engine.model.zero_grad()
    losses.patch_finding_loss.backward()
    assert next(iter(engine.model.get_encoder("image").parameters())).grad.abs().sum() > 0
    assert engine.model.gaze_heads.local.weight.grad[0].abs().sum() > 0
    assert engine.model.gaze_heads.local.weight.grad[1].abs().sum() == 0, "of the other finding nothing is known"
    twice = engine.model(**collate([sample, replace(sample, question="Is there cardiomegaly?")]))
    assert twice.patch_finding_loss.item() == pytest.approx(losses.patch_finding_loss.item(), rel=1e-5)


def test_a_fresh_model_expects_a_glimpse_to_show_hardly_anything(engine: GazeEngine) -> None:
    assert engine.model.gaze_heads.local.bias.tolist() == [RARE] * 2


def test_a_finding_that_is_rare_in_glimpses_does_not_keep_them_out_of_its_probability() -> None:
    """With that prior among the shares, the gaze states decided alone, whatever was seen."""
    heads = GazeHeads(4, GazeConfig(num_glimpses=1, finding_names=("a",), pointer_dim=2))
    assert heads.local.bias.tolist() == [RARE]
    heads.local.weight.data = torch.tensor([[3.0, 0.0, 0.0, 0.0]])
    gaze, tokens = torch.randn(1, 3, 4), torch.zeros(1, 9, 4)
    bare = Glimpses(torch.zeros(1, 9, 4), torch.ones(1, 9, dtype=torch.bool), tokens)
    shown = bare._replace(tokens=tokens.clone())
    shown.tokens[0, 4, 0] = 1.0
    assert heads.finding_logits(gaze, bare).item() == pytest.approx(
        (heads.finding_attention(gaze).softmax(dim=1) * heads.finding(gaze)).sum().item()
    ), "glimpses that show nothing add nothing"
    share = math.e**3 / (9 + math.e**3)  # beside eight other tokens and the gaze states
    gain = heads.finding_logits(gaze, shown) - heads.finding_logits(gaze, bare)
    assert gain.item() == pytest.approx(3 * share, rel=1e-5)
    assert heads.finding_shares(gaze, shown)[0, 3 + 4].item() == pytest.approx(share, rel=1e-5)


def test_states_of_rows_are_padded_apart() -> None:
    hidden = torch.arange(12.0).view(2, 3, 2)
    tokens = torch.arange(3.0).view(3, 1, 1)
    states, mask, seen = glimpse_states(hidden, torch.tensor([[True, False, True], [False, True, False]]), tokens)
    assert seen.tolist() == [[[0], [1]], [[2], [0]]]
    assert states.tolist() == [[[0, 1], [4, 5]], [[8, 9], [0, 0]]]
    assert mask.tolist() == [[True, True], [True, False]]


def test_a_finding_that_a_glimpse_shows_counts_for_it_and_for_no_other() -> None:
    heads = GazeHeads(4, GazeConfig(num_glimpses=1, finding_names=("a", "b"), pointer_dim=2))
    for weights in (heads.finding.weight, heads.finding_attention.weight, heads.local.weight):
        weights.data.zero_()
    heads.local.weight.data[0, 0] = 10.0  # the first number of a token shows "a"
    gaze, tokens = torch.zeros(1, 3, 4), torch.zeros(1, 9, 4)
    bare = Glimpses(torch.zeros(1, 9, 4), torch.ones(1, 9, dtype=torch.bool), tokens)
    shown = bare._replace(tokens=tokens.clone())
    shown.tokens[0, 4, 0] = 1.0
    before, after = heads.finding_logits(gaze, bare)[0].detach(), heads.finding_logits(gaze, shown)[0].detach()
    assert after[0] > before[0] + 3
    assert after[1] == pytest.approx(float(before[1]), abs=1e-6)
    shares = heads.finding_shares(gaze, shown)[0]
    assert int(shares[:, 0].argmax()) == 3 + 4
    assert shares.sum(dim=0).tolist() == pytest.approx([1, 1])


def test_a_state_that_compares_a_glimpse_with_the_small_image_can_speak_against_a_finding() -> None:
    config = GazeConfig(num_glimpses=1, finding_names=("a", "b"), pointer_dim=2)
    plain, heads = GazeHeads(4, config), GazeHeads(4, replace(config, glimpse_states=True))
    heads.load_state_dict(plain.state_dict(), strict=False)
    gaze, mask = torch.randn(1, 3, 4), torch.ones(1, 9, dtype=torch.bool)
    seen = Glimpses(torch.randn(1, 9, 4), mask, torch.randn(1, 9, 4))
    torch.testing.assert_close(heads.finding_logits(gaze, seen), plain.finding_logits(gaze, seen))  # begins as without
    heads.glimpse_finding.weight.data[0, 0] = heads.glimpse_attention.weight.data[0, 0] = 8.0
    heads.local.weight.data.zero_()
    refuted = seen._replace(hidden=torch.zeros(1, 9, 4))
    refuted.hidden[0, 4, 0] = -1.0
    heads.glimpse_attention.weight.data[0, 0] = -8.0  # it counts, and speaks against
    before = heads.finding_logits(gaze, seen._replace(hidden=torch.zeros(1, 9, 4)))[0]
    after = heads.finding_logits(gaze, refuted)[0]
    assert after[0] < before[0] - 7
    assert after[1] == before[1]
    assert heads.finding_shares(gaze, refuted)[0, 3 + 4, 0] > 0.9, "the share says that it counted"


def test_fixations_at_the_edge_that_are_one_step_stay_inside_the_image() -> None:
    last = math.nextafter(1.0, 0.0)  # the mean of two of them is rounded to 1, which is no place in the image
    edge = Scanpath((Fixation(last, last, 383.6), Fixation(last, last, 451.2)), "click")
    (one,) = PatchGrid(2, 2).merge_repeats(edge)
    assert (one.x, one.y) == (last, last)


def test_readings_are_scored_in_the_steps_of_the_model() -> None:
    read = Scanpath((Fixation(0.1, 0.1), Fixation(0.2, 0.2), Fixation(0.9, 0.9)), "click")
    sample = Sample("a", readings=(Reading("", read),))
    (merged,) = in_steps(sample, PatchGrid(2, 2), repeats=False).scanpaths
    assert len(merged) == 2
    assert in_steps(sample, PatchGrid(2, 2), repeats=True) is sample
    assert in_steps(sample, PatchGrid(8, 8), repeats=False).scanpaths == (read,), "apart on a finer grid"
