"""Questions that share an image's tokens are answered and learned as if each were alone."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gazevlm_core.inference import GazeEngine
from gazevlm_core.model.backbones import BACKBONES
from gazevlm_core.model.modeling_gazevlm import GazeVLM
from gazevlm_core.options import DiagnoseOptions
from gazevlm_core.scanpath import Fixation
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
    shared, paths = engine.look(images, questions, options)
    assert shared.cache.get_seq_length() == shared.input_ids.shape[1]
    exact, apart = {"max_new_tokens": 12, "min_new_tokens": 12, "do_sample": False}, []
    for row, (image, question) in enumerate(zip(images, questions, strict=True)):
        alone, own_paths = engine.look([image], [question], options)
        assert paths[row].walked.patches == own_paths[0].walked.patches
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
