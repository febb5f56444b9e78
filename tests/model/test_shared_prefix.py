"""Questions that share an image's tokens are answered and learned as if each were alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gazevlm_core.inference import GazeEngine
from gazevlm_core.model.backbones import BACKBONES
from gazevlm_core.model.losses import count_supervision
from gazevlm_core.model.modeling_gazevlm import GazeVLM
from gazevlm_core.options import Attention, DiagnoseOptions
from gazevlm_core.sample import Reading, Sample
from gazevlm_core.scanpath import Fixation, Scanpath
from gazevlm_core.training.collator import GazeCollator
from tests.tiny_model import make_tiny_backbone

QUESTIONS = ("Is there pneumothorax?", "Describe the findings on this chest radiograph.", "Why?")
GLIMPSED = {"num_glimpses": 3, "repeats": False, "use_offsets": True, "num_gaze_tokens": 6}
of_every_family = pytest.mark.parametrize("backbone", BACKBONES, ids=lambda backbone: backbone.family)
with_and_without_glimpses = pytest.mark.parametrize("gaze", [{}, GLIMPSED], ids=["plain", "glimpses"])


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


@with_and_without_glimpses
@of_every_family
def test_questions_behind_one_prefix_equal_separate_prompts(
    tmp_path: Path, backbone: type[GazeVLM], gaze: dict[str, object]
) -> None:
    engine = GazeEngine.load(str(make_tiny_backbone(tmp_path, backbone, **gaze)), device="cpu")
    square, wide = engine.encode_images([noise(300, 300, 1), noise(500, 200, 2)])
    images = [wide, square, wide, wide, square]
    questions = [QUESTIONS[0], QUESTIONS[1], QUESTIONS[1], QUESTIONS[2], QUESTIONS[2]]
    # Given places: those of a path lie where rounding may put them, which can turn a pixel of a glimpse by a level.
    options = DiagnoseOptions(look_at=(Fixation(0.2, 0.3), Fixation(0.7, 0.4))) if gaze else None
    shared, paths = engine.prefill_with_paths(images, questions, options)
    assert shared.cache.get_seq_length() == shared.input_ids.shape[1]
    exact, apart = {"max_new_tokens": 12, "min_new_tokens": 12, "do_sample": False}, []
    for row, (image, question) in enumerate(zip(images, questions, strict=True)):
        alone, own_paths = engine.prefill_with_paths([image], [question], options)
        assert paths[row].patch_path.patches == own_paths[0].patch_path.patches
        exists = shared.attention_mask[row].bool()
        assert shared.input_ids[row, exists].tolist() == alone.input_ids[0].tolist()
        torch.testing.assert_close(shared.position_ids[:, row, exists], alone.position_ids[:, 0])
        torch.testing.assert_close(shared.gaze_hidden[row], alone.gaze_hidden[0], atol=1e-5, rtol=0)
        torch.testing.assert_close(shared.patch_hidden[row], alone.patch_hidden[0], atol=1e-5, rtol=0)
        if gaze:
            hidden = shared.glimpses.hidden[row, shared.glimpses.mask[row]]
            torch.testing.assert_close(hidden, alone.glimpses.hidden[0], atol=1e-5, rtol=0)
        for ours, theirs in zip(shared.cache.layers, alone.cache.layers, strict=True):
            torch.testing.assert_close(ours.keys[row][:, exists], theirs.keys[0], atol=1e-5, rtol=0)
        assert engine.findings(shared)[row] == pytest.approx(engine.findings(alone)[0], abs=1e-5)
        apart.append(engine.model.continue_text(alone, **exact)[0].tolist())
    assert engine.model.continue_text(shared, **exact).tolist() == apart
    assert engine.prefill(images, questions, gaze=False).gaze_hidden is None


READ = Scanpath((Fixation(0.1, 0.2, 300.0), Fixation(0.7, 0.6, 200.0), Fixation(0.4, 0.9, 150.0)), "simulated")


def asked(image: Image.Image) -> list[Sample]:
    """Three samples of one image: a finding, a report that nobody wrote, and a report."""
    first = Sample("a", image, QUESTIONS[0], "No.", {"cardiomegaly": 1.0}, (Reading("", READ),) * 2)
    return [
        first,
        replace(first, question="Why?", report=None, findings={"pneumothorax": 0.0}, readings=first.readings[:1]),
        replace(first, question=QUESTIONS[1], report="Large left pleural effusion.", findings={}, readings=()),
    ]


def learned(model: GazeVLM, batch: dict) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
    """Losses and gradients."""
    model.zero_grad(set_to_none=True)
    losses = model(**batch)
    losses.loss.backward()
    grads = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return {name: float(value.detach()) for name, value in losses.items()}, grads


@pytest.mark.parametrize("attention", [Attention.SDPA, Attention.EAGER])
@pytest.mark.parametrize("with_tokens", [False, True], ids=["pixels", "tokens"])
@with_and_without_glimpses
@of_every_family
def test_rows_of_one_image_are_learned_as_separate_ones(
    tmp_path: Path, backbone: type[GazeVLM], gaze: dict[str, object], with_tokens: bool, attention: Attention
) -> None:
    engine = GazeEngine.load(str(make_tiny_backbone(tmp_path, backbone, **gaze)), device="cpu", attn=attention)
    square, wide = asked(noise(300, 260, 1)), asked(noise(500, 200, 2))
    alone = Sample("b", noise(200, 200, 3), "Why?", "Because.", {"cardiomegaly": 0.0}, ())
    samples = [*square, *wide[:2], alone]
    found, counts, tokens = [], [], 0
    for share, order in ((False, samples), (True, [samples[number] for number in (0, 3, 1, 5, 2, 4)])):
        collate = GazeCollator(engine.processor, engine.gaze_config, share_images=share)
        batch = collate(order)
        assert ("rows_per_image" in batch) is share
        if with_tokens:
            pixels = batch.pop("pixel_values")
            batch["image_tokens"] = torch.cat(engine.model.encode_images(pixels, batch["image_grid_thw"])).detach()
        counts.append([float(one) for one in count_supervision(batch, stops=engine.gaze_config.stops)])
        computed: list[int] = []
        hook = engine.model.get_decoder().register_forward_pre_hook(
            lambda _, __, given, seen=computed: seen.append(given["inputs_embeds"].shape[:2].numel()), with_kwargs=True
        )
        found.append(learned(engine.model, batch))
        hook.remove()
        assert tokens == 0 or attention is Attention.EAGER or computed[0] < tokens
        tokens = computed[0]
    (losses, grads), (shared_losses, shared_grads) = found
    assert counts[0] == counts[1]
    assert shared_losses == pytest.approx(losses, abs=1e-5)
    assert shared_grads.keys() == grads.keys()
    for name, gradient in grads.items():
        torch.testing.assert_close(shared_grads[name], gradient, atol=1e-5, rtol=1e-4)
