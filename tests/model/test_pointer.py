"""The pointer: its formula by hand, the plain form, and the stop."""

import torch

from gazevlm_core.model.config import GazeConfig
from gazevlm_core.model.pointer import GazeHeads

HIDDEN, POINTER, STEPS, PATCHES = 6, 4, 3, 5


def heads(**config: object) -> GazeHeads:
    torch.manual_seed(1)
    return GazeHeads(HIDDEN, GazeConfig(num_gaze_tokens=STEPS, pointer_dim=POINTER, finding_names=("a", "b"), **config))


def test_logits_follow_the_formula() -> None:
    module = heads()
    gaze, patches = torch.randn(STEPS, HIDDEN), torch.randn(PATCHES, HIDDEN)
    logits = module.fields(gaze, patches).logits(2, torch.tensor([4]))[0]
    joint = torch.cat([module.query.weight, module.previous.weight], dim=1)  # W_q over [h ; v_prev]
    query = joint @ torch.cat([gaze[2], patches[4]])
    keys = torch.cat([patches @ module.key.weight.T, module.stop_key[None]])
    torch.testing.assert_close(logits, keys @ query / POINTER**0.5)


def test_the_first_step_sees_the_start_vector_and_cannot_stop() -> None:
    module = heads()
    gaze, patches = torch.randn(STEPS, HIDDEN), torch.randn(PATCHES, HIDDEN)
    logits = module.fields(gaze, patches).logits(0, torch.tensor([PATCHES]))[0]
    query = module.query(gaze[0]) + module.previous(module.start)
    torch.testing.assert_close(logits[:-1], module.key(patches) @ query / POINTER**0.5)
    assert logits[-1] == float("-inf")


def test_the_plain_form_does_not_see_the_previous_patch() -> None:
    field = heads(use_previous_patch=False).fields(torch.randn(STEPS, HIDDEN), torch.randn(PATCHES, HIDDEN))
    rows = field.logits(1, torch.arange(PATCHES + 1))
    assert (rows == rows[0]).all()
    field = heads().fields(torch.randn(STEPS, HIDDEN), torch.randn(PATCHES, HIDDEN))
    rows = field.logits(1, torch.arange(PATCHES + 1))
    assert not torch.allclose(rows[0], rows[1])


def test_findings_come_from_the_mean_gaze_state() -> None:
    module, gaze = heads(), torch.randn(2, STEPS, HIDDEN)
    torch.testing.assert_close(module.finding_logits(gaze), module.finding(gaze.mean(dim=1)))
