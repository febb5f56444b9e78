"""What the words lean on: hidden tokens change the loss exactly as far as the words can see them."""

import numpy as np
import pytest
import torch

from evaluate.gaze_probes import GAZE, HIDDEN, IMAGE, NOTHING, SOME_IMAGE, report_losses, word_reliance
from gazevlm_core.inference import GazeEngine
from phantoms.dataset import PhantomCase, draw_case

SEEDS = (900_000, 900_001, 900_002)


@pytest.fixture(scope="module")
def cases() -> list[PhantomCase]:
    return [draw_case(seed, sizes_px=(128,)) for seed in SEEDS]


def test_each_hidden_part_changes_the_loss_and_nothing_hidden_is_the_models_own(
    tiny_engine: GazeEngine, cases: list[PhantomCase]
) -> None:
    losses = report_losses(tiny_engine, cases)
    assert list(losses) == list(HIDDEN)
    for name in (GAZE, SOME_IMAGE, IMAGE):
        assert not np.allclose(losses[name], losses[NOTHING], atol=1e-6), name
    values = word_reliance(tiny_engine, cases)
    assert values["loss"]["value"] == pytest.approx(losses[NOTHING].mean(), abs=1e-4)
    assert values["added_when_hidden"][GAZE]["value"] == pytest.approx(
        (losses[GAZE] - losses[NOTHING]).mean(), abs=1e-4
    )


def test_words_that_cannot_see_the_gaze_tokens_lose_nothing(
    tiny_engine: GazeEngine, cases: list[PhantomCase], monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = tiny_engine.model.model.language_model.layers
    for layer in layers:  # no attention reaches a word
        monkeypatch.setattr(layer.self_attn.o_proj, "forward", torch.zeros_like)
    losses = report_losses(tiny_engine, cases)
    for name in HIDDEN[1:]:
        assert losses[name] == pytest.approx(losses[NOTHING])
