"""Training resumes where it stopped, and the recipe's variants differ in their supervision alone."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import TrainingArguments, set_seed

from gazevlm_core.findings import FINDING_NAMES, HELD_OUT_FINDING_NAMES
from gazevlm_core.model.checkpoint import describe_checkpoint, load_checkpoint
from gazevlm_core.model.modeling_gazevlm import GazeVLM
from gazevlm_core.options import NANO, Precision
from gazevlm_core.sample import Reading, Sample
from gazevlm_core.scanpath import Fixation, Scanpath
from gazevlm_core.training.collator import GazeCollator
from gazevlm_core.training.trainer import GazeTrainer
from phantoms.dataset import draw_cases
from phantoms.nano import (
    BASED,
    FILMS,
    MODEL_NAMES,
    PHANTOMS,
    CaseExamples,
    Recipe,
    Variant,
    begin,
    gaze_config_of,
    schedule_of,
)
from phantoms.nano_parts import (
    GroupedVisionAttention,
    WholeKernelConv3d,
    in_full_precision,
    mix_weights,
    nano_model,
    nano_processor,
    quick_vision,
    train_tokenizer,
)

BASE = "gazevlm-nano-base"  # what the release goes on from
PATH = Scanpath((Fixation(0.1, 0.2, 300.0), Fixation(0.7, 0.6, 200.0)), "simulated")
READ = (Reading("", PATH),)


def examples(count: int) -> list[Sample]:
    rng = np.random.default_rng(0)
    numbered = [(k, rng.integers(0, 256, (224, 224, 3), dtype=np.uint8)) for k in range(count)]
    return [Sample("x", Image.fromarray(p), "Why?", "Yes.", {"cardiomegaly": k % 2}, READ) for k, p in numbered]


def train(
    checkpoint: Path, processor, folder: Path, steps: int, *, resume: bool, samples: list[Sample] | None = None,
    log_every: int = 1,
) -> GazeTrainer:
    set_seed(3)
    model = GazeVLM.from_pretrained(checkpoint)
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=2,
        learning_rate=1e-3,
        lr_scheduler_type="constant",
        save_steps=2,
        logging_steps=log_every,
        seed=3,
        remove_unused_columns=False,
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = GazeTrainer(
        model=model,
        args=arguments,
        train_dataset=samples or examples(8),
        data_collator=GazeCollator(processor, model.config.gaze_config),
    )
    trainer.train(resume_from_checkpoint=resume)
    return trainer


@pytest.mark.slow
def test_a_resumed_run_ends_where_an_unbroken_one_ends(tiny_checkpoint: Path, tiny_processor, tmp_path: Path) -> None:
    """The base class would resume nothing of a Qwen2.5-VL, without a word."""
    unbroken = train(tiny_checkpoint, tiny_processor, tmp_path / "a", 4, resume=False)
    train(tiny_checkpoint, tiny_processor, tmp_path / "b", 2, resume=False)
    resumed = train(tiny_checkpoint, tiny_processor, tmp_path / "b", 4, resume=True)
    expected = unbroken.model.state_dict()
    for name, tensor in resumed.model.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], atol=1e-5, rtol=1e-4, msg=name)
    assert resumed.state.global_step == 4


@pytest.mark.slow
def test_the_log_holds_every_part_of_the_loss(tiny_checkpoint: Path, tiny_processor, tmp_path: Path) -> None:
    history = train(tiny_checkpoint, tiny_processor, tmp_path, 2, resume=False).state.log_history
    for entry in history[:2]:
        parts = entry["gaze_loss"] + entry["text_loss"] + entry["finding_loss"] + 0.1 * entry["dwell_loss"]
        assert entry["loss"] == pytest.approx(parts, rel=1e-3)


@pytest.mark.slow
def test_a_part_is_the_mean_over_steps_that_taught_it(tiny_checkpoint: Path, tiny_processor, tmp_path: Path) -> None:
    """A click path without labels and durations has no loss of words, findings and dwell; it is not nothing."""
    clicks = Scanpath((Fixation(0.1, 0.2), Fixation(0.7, 0.6)), "click")
    bare = [replace(one, report=None, findings={}, readings=(Reading("", clicks),)) for one in examples(8)]
    for entry in train(
        tiny_checkpoint, tiny_processor, tmp_path / "a", 2, resume=False, samples=bare
    ).state.log_history[:2]:
        assert entry["gaze_loss"] == pytest.approx(entry["loss"], rel=1e-3)
        assert not {"text_loss", "finding_loss", "dwell_loss"} & entry.keys()
    some = [*bare[:6], *examples(2)]  # a step in four has answers
    each, once = (
        train(tiny_checkpoint, tiny_processor, tmp_path / str(every), 4, resume=False, samples=some, log_every=every)
        for every in (1, 4)
    )
    (told,) = [one["text_loss"] for one in each.state.log_history if "text_loss" in one]
    assert once.state.log_history[0]["text_loss"] == pytest.approx(told, rel=1e-4)
    gazes = [one["gaze_loss"] for one in each.state.log_history if "gaze_loss" in one]
    assert once.state.log_history[0]["gaze_loss"] == pytest.approx(sum(gazes) / 4, rel=1e-4)


def test_variants_differ_in_their_supervision_alone() -> None:
    recipe = Recipe()
    twins = (Variant.ORDERED, Variant.NO_GLIMPSES, Variant.NO_GAZE, Variant.PLAIN, Variant.FINE)
    glimpsing, ordered, bare, plain, fine = (gaze_config_of(variant, recipe) for variant in twins)
    assert glimpsing.num_glimpses == recipe.glimpses
    assert replace(glimpsing, num_glimpses=0) == ordered == fine, "the last differs in the size of its images"
    assert (ordered.gaze_trained, bare.gaze_trained, plain.gaze_trained) == (True, False, True)
    assert (ordered.use_previous_patch, plain.use_previous_patch) == (True, False)
    assert replace(bare, gaze_trained=True, dwell_trained=True, use_offsets=True) == ordered
    assert replace(plain, use_previous_patch=True) == ordered
    assert not set(HELD_OUT_FINDING_NAMES) & set(FINDING_NAMES)
    assert len({schedule_of(variant, recipe) for variant in twins}) == 1
    assert len(set(MODEL_NAMES.values())) == len(Variant)


def test_the_release_asks_other_questions_of_the_same_images() -> None:
    recipe = Recipe()
    first, release = (schedule_of(variant, recipe) for variant in (Variant.ORDERED, Variant.RELEASE))
    cases = list(draw_cases([5], workers=1, sizes_px=(64,)))
    asked = [
        [example.question for example in map(CaseExamples(cases, 40, schedule).__getitem__, range(40))]
        for schedule in (first, first, release)
    ]
    assert asked[0] == asked[1] != asked[2]
    assert (release.steps, release.presence_share) == (recipe.release_steps, recipe.release_presence_share)


@pytest.mark.parametrize("variant", [Variant.ORDERED, Variant.NO_GLIMPSES])
def test_a_training_goes_on_from_an_earlier_checkpoint(variant: Variant, tmp_path: Path) -> None:
    model, processor = begin(variant, Recipe(base=BASE), [], tmp_path)
    base = load_checkpoint(BASE, device="cpu")
    assert processor.tokenizer.get_vocab() == base.processor.tokenizer.get_vocab()
    before = in_full_precision(base.model).state_dict()
    weights = model.state_dict()
    for name in before.keys() & weights.keys():
        torch.testing.assert_close(weights[name], before[name], msg=name)
    assert before.keys() - {"gaze_heads.finding_attention.weight"} <= weights.keys()
    assert all(one.requires_grad and one.dtype == torch.float32 for one in model.parameters())
    assert model.config.gaze_config == gaze_config_of(variant, Recipe())
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    assert load_checkpoint(str(tmp_path), device="cpu").precision is Precision.FP32, "training saves whole weights"


def test_a_release_is_mixed_with_what_it_went_on_from(tiny_processor) -> None:
    start = nano_model(tiny_processor, gaze_config_of(Variant.RELEASE, Recipe()))
    model = deepcopy(start)
    for one in model.parameters():
        one.data += 1.0
    mix_weights(model, start, 0.25)
    for one, before in zip(model.parameters(), start.parameters(), strict=True):
        torch.testing.assert_close(one, before + 0.75)


def test_what_the_base_has_seen_is_said_of_what_goes_on_from_it(tmp_path: Path) -> None:
    """The page said of a model that knew radiographs of patients that it saw phantoms alone."""
    model, _ = begin(Variant.ORDERED, Recipe(base=NANO), [], tmp_path)
    assert model.config.gaze_config.trained_on == PHANTOMS + FILMS == describe_checkpoint(NANO).gaze_config.trained_on


def test_what_shows_the_worth_of_gaze_does_not_begin_from_a_model_that_learned_it() -> None:
    assert set(Variant) - set(BASED) == {Variant.NO_GAZE, Variant.PLAIN}


def test_the_patch_embedding_as_a_product_is_the_convolution() -> None:
    convolution = torch.nn.Conv3d(3, 8, (2, 14, 14), stride=(2, 14, 14), bias=False)
    product = WholeKernelConv3d.sharing(convolution)
    pixels = torch.randn(5, 3, 2, 14, 14)
    torch.testing.assert_close(product(pixels), convolution(pixels), atol=1e-5, rtol=1e-4)
    assert product.weight is convolution.weight
    with pytest.raises(RuntimeError):
        product(torch.randn(5, 3, 2, 28, 14))


def test_a_quick_vision_tower_gives_the_same_tokens_and_gradients() -> None:
    model = nano_model(nano_processor(train_tokenizer(["a b"])), gaze_config_of(Variant.ORDERED, Recipe()))
    grids = torch.tensor([[1, 16, 16], [1, 6, 6], [1, 6, 6], [1, 8, 4]])
    pixels = torch.randn(int(grids.prod(dim=1).sum()), 3 * 2 * 14 * 14)
    weight = model.get_encoder("image").blocks[0].attn.qkv.weight
    found = []
    for _ in range(2):
        model.zero_grad()
        tokens = torch.cat(list(model.encode_images(pixels, grids)))
        tokens.square().sum().backward()
        found.append((tokens.detach(), weight.grad.clone()))
        quick_vision(model)
    assert isinstance(model.get_encoder("image").blocks[0].attn, GroupedVisionAttention)
    torch.testing.assert_close(found[0][0], found[1][0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found[0][1], found[1][1], atol=1e-2, rtol=1e-3)
