"""Laws of the model: one pass, one cache, batches, patches in their places."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import DynamicCache

from gazevlm_core.geometry import PatchGrid
from gazevlm_core.inference import GazeEngine
from gazevlm_core.model.backbones import BACKBONES
from gazevlm_core.model.modeling_gazevlm import GazeVLM
from gazevlm_core.model.outputs import CACHE
from gazevlm_core.model.path_sampling import choose_path
from gazevlm_core.model.places import UsualPlace, pooled_tokens
from gazevlm_core.model.processing_gazevlm import encode_prompts, render_prompt
from gazevlm_core.sample import Reading, Sample
from gazevlm_core.scanpath import Fixation, Scanpath
from gazevlm_core.training.collator import GazeCollator
from tests.tiny_model import make_tiny_backbone, make_tiny_checkpoint

QUESTIONS = ("Is there pneumothorax?", "Describe the findings on this chest radiograph.", "Why?")


@pytest.fixture(scope="module", params=BACKBONES, ids=lambda backbone: backbone.family)
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> GazeEngine:
    """On a tiny random model of each family: what is a law of one is a law of all."""
    return GazeEngine.load(str(make_tiny_backbone(tmp_path_factory.mktemp("tiny"), request.param)), device="cpu")


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize(("row", "col"), [(0, 0), (0, 7), (3, 5), (7, 0), (7, 7)])
def test_a_changed_cell_changes_its_own_token_most(engine: GazeEngine, row: int, col: int) -> None:
    side = round(engine.model.config.token_pixels**0.5)
    plain = np.full((8 * side, 8 * side, 3), 90, dtype=np.uint8)
    painted = plain.copy()
    painted[side * row : side * (row + 1), side * col : side * (col + 1)] = noise(side, side)
    before, after = engine.encode_images([Image.fromarray(plain), Image.fromarray(painted)])
    assert before.grid == PatchGrid(8, 8)
    change = (after.tokens - before.tokens).norm(dim=-1)
    assert int(change.argmax()) == 8 * row + col


def test_the_grid_follows_the_aspect_ratio(engine: GazeEngine) -> None:
    images = [noise(300, 300), noise(600, 300), noise(200, 800), noise(2000, 60)]
    grids = [image.grid for image in engine.encode_images(images)]
    assert grids[0] == PatchGrid(8, 8)
    assert grids[1].cols > grids[1].rows
    assert grids[2].rows > grids[2].cols
    assert grids[3].rows == 1
    sizes = [len(image.tokens) for image in engine.encode_images(images)]
    assert sizes == [len(grid) for grid in grids]


def test_one_pass_equals_gaze_tokens_fed_one_at_a_time(engine: GazeEngine) -> None:
    model = engine.model
    (image,) = engine.encode_images([noise(300, 260)])
    whole = engine.prefill([image], [QUESTIONS[0]])
    assert whole.gaze_hidden is not None
    steps = whole.gaze_hidden.shape[1]
    ids, positions, mask = whole.input_ids, whole.position_ids, whole.attention_mask
    start = ids.shape[1] - steps
    encoded = encode_prompts(
        engine.processor, [render_prompt(engine.processor, QUESTIONS[0], steps)], [image.grid]
    )
    cut = model.prefill(
        ids[:, :start], mask[:, :start], encoded.mm_token_type_ids[:, :start], image.grid_thw[None], (image.tokens,)
    )
    assert cut.gaze_hidden is None
    states = []
    for step in range(steps):
        at = start + step
        with torch.no_grad():
            hidden = model.model(
                input_ids=ids[:, at : at + 1],
                position_ids=positions[:, :, at : at + 1],
                attention_mask=mask[:, : at + 1],
                use_cache=True,
                **{CACHE: cut.cache},
            ).last_hidden_state
        states.append(hidden)
    fed = torch.cat(states, dim=1)
    torch.testing.assert_close(fed, whole.gaze_hidden, atol=2e-5, rtol=1e-4)
    one_pass = choose_path(model.pointer_field(whole, 0), seed=3)
    stepwise = choose_path(model.gaze_heads.fields(fed[0], cut.patch_hidden[0]), seed=3)
    assert one_pass.patches == stepwise.patches


@pytest.mark.filterwarnings("error::FutureWarning")  # no deprecated name on the way
def test_text_after_the_pass_equals_a_plain_generate(engine: GazeEngine) -> None:
    model, processor, image = engine.model, engine.processor, noise(280, 224)
    (encoded_image,) = engine.encode_images([image])
    prefilled = engine.prefill([encoded_image], [QUESTIONS[1]])
    continued = model.continue_text(prefilled, max_new_tokens=24, do_sample=False)
    pixels = processor.image_processor(images=[image], return_tensors="pt")
    encoded = encode_prompts(processor, [render_prompt(processor, QUESTIONS[1], 12)], [encoded_image.grid])
    plain = model.generate(
        input_ids=encoded.input_ids,
        attention_mask=encoded.attention_mask,
        mm_token_type_ids=encoded.mm_token_type_ids,
        pixel_values=pixels["pixel_values"],
        image_grid_thw=pixels["image_grid_thw"],
        max_new_tokens=24,
        do_sample=False,
    )
    assert continued.tolist() == plain[:, encoded.input_ids.shape[1] :].tolist()


def test_a_batch_of_different_grids_equals_single_images(engine: GazeEngine) -> None:
    images = [noise(300, 300, 1), noise(500, 200, 2), noise(150, 400, 3)]
    batch = engine.diagnose_batch(images, QUESTIONS)
    for image, question, together in zip(images, QUESTIONS, batch, strict=True):
        alone = engine.diagnose(image, question)
        assert together.answer == alone.answer
        assert together.grid == alone.grid
        assert together.patch_probabilities is not None
        assert alone.patch_probabilities is not None
        np.testing.assert_allclose(together.patch_probabilities, alone.patch_probabilities, atol=1e-4)
        assert together.finding_probabilities == pytest.approx(dict(alone.finding_probabilities), abs=1e-4)


def test_users_do_not_share_rope_positions(engine: GazeEngine) -> None:
    """The backbone keeps `rope_deltas` between calls; another image's call must not move our words."""
    wide, tall = engine.encode_images([noise(800, 100, 4), noise(300, 300, 5)])
    alone = engine.model.continue_text(engine.prefill([wide], ["Why?"]), max_new_tokens=16, do_sample=False)
    mine = engine.prefill([wide], ["Why?"])
    engine.model.continue_text(engine.prefill([tall], [QUESTIONS[1]]), max_new_tokens=4, do_sample=False)
    assert engine.model.continue_text(mine, max_new_tokens=16, do_sample=False).tolist() == alone.tolist()


def test_training_gives_every_part_a_gradient(engine: GazeEngine) -> None:
    model = engine.model
    model.zero_grad(set_to_none=True)
    path = Scanpath((Fixation(0.1, 0.2, 300.0), Fixation(0.7, 0.6, 200.0)), "simulated")
    example = Sample("one", noise(300, 240), "Why?", "Because.", {"cardiomegaly": 1.0}, (Reading("", path),) * 2)
    batch = GazeCollator(engine.processor, model.config.gaze_config)([example, example])
    losses = model(**batch)
    losses.loss.backward()
    without = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert without == []
    weights = model.config.gaze_config
    total = (
        weights.gaze_weight * losses.gaze_loss
        + weights.text_weight * losses.text_loss
        + weights.finding_weight * losses.finding_loss
        + weights.dwell_weight * losses.dwell_loss
    )
    torch.testing.assert_close(losses.loss, total)


def test_prompts_of_a_batch_need_as_many_gaze_tokens(engine: GazeEngine) -> None:
    ids = torch.tensor([[engine.processor.gaze_token_id, 0], [0, 0]])
    with pytest.raises(ValueError, match="as many gaze tokens"):
        engine.model.gaze_states(torch.zeros(2, 2, 4), ids)


def test_the_cache_holds_every_position(engine: GazeEngine) -> None:
    (image,) = engine.encode_images([noise(224, 224)])
    prefilled = engine.prefill([image], ["Why?"])
    assert isinstance(prefilled.cache, DynamicCache)
    assert prefilled.cache.get_seq_length() == prefilled.input_ids.shape[1]


@pytest.mark.parametrize(
    "gaze", [{"pointer_keys": "visual"}, {"pointer_keys": "index", "index_patches": 66}, {"target_sigma_patches": 0.7},
             {"stops": False}],
)  # fmt: skip
def test_variants_of_the_pointer_learn_save_and_look(tmp_path: Path, gaze: dict[str, object]) -> None:
    engine = GazeEngine.load(str(make_tiny_checkpoint(tmp_path, **gaze)))
    model, path = engine.model, Scanpath(tuple(Fixation(0.1 + 0.2 * step, 0.5) for step in range(4)), "simulated")
    example = Sample("a", noise(300, 260), QUESTIONS[0], "No.", {"cardiomegaly": 1.0}, (Reading("", path),))
    wide = replace(example, image=noise(500, 200))
    batch = GazeCollator(engine.processor, engine.gaze_config)([example, wide])
    losses = model(**batch)
    losses.gaze_loss.backward()
    heads = model.gaze_heads
    trained = heads.index_keys if heads.by_index else heads.key
    assert trained.weight.grad.abs().sum() > 0
    vision = next(model.model.visual.parameters())
    assert vision.grad.abs().sum() > 0, "the vision tower learns where to look, whatever the keys are"
    with torch.no_grad():
        step = 0.02 / vision.grad.norm()
        before = float(losses.gaze_loss)
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter -= step * parameter.grad
        assert float(model(**batch).gaze_loss) < before
    shown = engine.diagnose(noise(300, 260), QUESTIONS[0]).scanpath
    assert shown is not None
    if gaze.get("stops") is False:
        assert len(shown) == engine.gaze_config.num_gaze_tokens


@pytest.mark.parametrize("backbone", BACKBONES, ids=lambda backbone: backbone.family)
def test_visual_keys_are_the_vision_tokens(tmp_path: Path, backbone: type[GazeVLM]) -> None:
    engine = GazeEngine.load(str(make_tiny_backbone(tmp_path, backbone, pointer_keys="visual")))
    (image,) = engine.encode_images([noise(300, 260)])
    prefilled = engine.prefill([image], [QUESTIONS[0]])
    assert torch.equal(prefilled.patch_hidden[0], image.tokens[:, : prefilled.patch_hidden[0].shape[1]])


@pytest.mark.parametrize("backbone", BACKBONES, ids=lambda backbone: backbone.family)
@pytest.mark.parametrize("keys", ["states", "visual"])
def test_image_tokens_in_the_place_of_pixels_give_the_same_losses(
    tmp_path: Path, keys: str, backbone: type[GazeVLM]
) -> None:
    engine = GazeEngine.load(str(make_tiny_backbone(tmp_path, backbone, pointer_keys=keys)))
    path = Scanpath((Fixation(0.1, 0.2, 300.0), Fixation(0.7, 0.6, 200.0)), "simulated")
    first = Sample("a", noise(300, 260, 1), QUESTIONS[0], "No.", {"cardiomegaly": 1.0}, (Reading("", path),) * 2)
    examples = [first, replace(first, image=noise(500, 200, 2), question="Why?", readings=first.readings[:1])]
    batch = GazeCollator(engine.processor, engine.gaze_config)(examples)
    found = []
    for with_tokens in (False, True):
        given = dict(batch)
        if with_tokens:
            images = engine.encode_images([example.image for example in examples])
            given.pop("pixel_values")
            given["image_tokens"] = torch.cat([image.tokens for image in images])
        losses = engine.model(**given)
        losses.loss.backward()
        grads = {name: p.grad.clone() for name, p in engine.model.named_parameters() if p.grad is not None}
        engine.model.zero_grad(set_to_none=True)
        found.append((losses, grads))
    (by_pixels, all_grads), (by_tokens, grads) = found
    for name in ("loss", "gaze_loss", "text_loss", "finding_loss", "dwell_loss"):
        assert float(by_tokens[name].detach()) == pytest.approx(float(by_pixels[name].detach()), abs=1e-5)
    assert {name for name in all_grads if ".visual." not in name} == set(grads)  # the tower alone is passed by
    for name, gradient in grads.items():
        torch.testing.assert_close(gradient, all_grads[name], atol=1e-5, rtol=1e-3)


def test_image_tokens_are_for_the_gaze_losses_alone(engine: GazeEngine) -> None:
    (image,) = engine.encode_images([noise(224, 224)])
    encoded = encode_prompts(
        engine.processor, [render_prompt(engine.processor, "Why?", 12)], [image.grid], ["So."]
    )
    given = {"input_ids": encoded.input_ids, "attention_mask": encoded.attention_mask, "image_tokens": image.tokens,
             "mm_token_type_ids": encoded.mm_token_type_ids, "image_grid_thw": image.grid_thw[None]}  # fmt: skip
    with pytest.raises(ValueError, match="gaze losses alone"):
        engine.model(**given, labels=encoded.labels)
    with pytest.raises(ValueError, match="gaze losses alone"):
        engine.model(**given)
    losses = engine.model(**given, finding_labels=torch.tensor([[1.0, 0.0]]))
    assert torch.isfinite(losses.finding_loss)


def test_visual_keys_need_image_tokens_or_pixels(tmp_path: Path) -> None:
    engine = GazeEngine.load(str(make_tiny_checkpoint(tmp_path, pointer_keys="visual")))
    (image,) = engine.encode_images([noise(224, 224)])
    encoded = encode_prompts(engine.processor, [render_prompt(engine.processor, "Why?", 12)], [image.grid])
    with pytest.raises(ValueError, match="pixel_values"):
        engine.model(
            input_ids=encoded.input_ids, attention_mask=encoded.attention_mask,
            mm_token_type_ids=encoded.mm_token_type_ids, image_grid_thw=image.grid_thw[None],
            finding_labels=torch.tensor([[1.0, 0.0]]),
        )  # fmt: skip


def test_a_pass_keeps_the_image_tokens_of_each_row(engine: GazeEngine) -> None:
    images = engine.encode_images([noise(300, 260, 1), noise(500, 200, 2)])
    prefilled = engine.prefill(images, QUESTIONS[:2])
    assert len(prefilled.image_tokens) == 2
    for kept, image in zip(prefilled.image_tokens, images, strict=True):
        assert torch.equal(kept, image.tokens[:, : kept.shape[1]])
    assert list(prefilled.grids) == [image.grid for image in images]


PLACES = (UsualPlace("nodule", 0.2, 0.3, 0.06), UsualPlace("hernia", 0.5, 0.8, 0.1))


def test_findings_of_the_head_come_first_then_those_of_places(tmp_path: Path) -> None:
    names = ("cardiomegaly", "pneumothorax", "nodule", "hernia")
    engine = GazeEngine.load(str(make_tiny_checkpoint(tmp_path, finding_names=names, usual_places=PLACES)))
    model, heads = engine.model, engine.model.gaze_heads
    images = engine.encode_images([noise(300, 260, 1), noise(500, 200, 2)])
    prefilled = engine.prefill(images, QUESTIONS[:2])
    assert prefilled.gaze_hidden is not None
    for row, image in enumerate(images):
        logits = model.finding_logits(prefilled)[row]
        assert logits.shape == (4,)
        assert logits.dtype == torch.float32
        with torch.no_grad():
            torch.testing.assert_close(logits[:2], heads.finding_logits(prefilled.gaze_hidden[row]))
            pooled = pooled_tokens(image.tokens, image.grid, PLACES)
            by_hand = [pooled[place] @ heads.placed.weight[place] + heads.placed.bias[place] for place in range(2)]
            torch.testing.assert_close(logits[2:], torch.stack(by_hand))
    shown = engine.describe(prefilled, images, {})[0].finding_probabilities
    assert tuple(shown) == names
    assert list(shown.values()) == pytest.approx(model.finding_logits(prefilled)[0].sigmoid().tolist(), abs=1e-4)


def test_a_place_is_told_without_gaze_tokens_and_the_head_is_not(tmp_path: Path) -> None:
    names = ("nodule", "hernia")
    placed = GazeEngine.load(str(make_tiny_checkpoint(tmp_path / "a", finding_names=names, usual_places=PLACES)))
    mixed = GazeEngine.load(
        str(make_tiny_checkpoint(tmp_path / "b", finding_names=("edema", *names), usual_places=PLACES))
    )
    (image,) = placed.encode_images([noise(300, 260)])
    assert placed.model.finding_logits(placed.prefill([image], ["Why?"], gaze=False)).shape == (1, 2)
    with pytest.raises(ValueError, match="no gaze tokens"):
        mixed.model.finding_logits(mixed.prefill([image], ["Why?"], gaze=False))


def test_a_model_without_findings_tells_none(tmp_path: Path) -> None:
    bare = GazeEngine.load(str(make_tiny_checkpoint(tmp_path, finding_names=())))
    (image,) = bare.encode_images([noise(300, 260)])
    prefilled = bare.prefill([image], ["Why?"])
    assert bare.model.finding_logits(prefilled).shape == (1, 0)
    assert bare.describe(prefilled, [image], {})[0].finding_probabilities == {}


def test_places_learn_nothing_from_the_losses(tmp_path: Path) -> None:
    """They are fitted; a batch's labels have a column for each finding of the head alone."""
    names = ("cardiomegaly", "nodule", "hernia")
    engine = GazeEngine.load(str(make_tiny_checkpoint(tmp_path, finding_names=names, usual_places=PLACES)))
    example = Sample("a", noise(224, 224), "Why?", None, {"cardiomegaly": 1.0, "hernia": 1.0}, ())
    batch = GazeCollator(engine.processor, engine.gaze_config)([example])
    assert batch["finding_labels"].tolist() == [[1.0]]
    engine.model(**batch).loss.backward()
    heads = engine.model.gaze_heads
    assert heads.finding.weight.grad is not None
    assert heads.placed.weight.grad is None
