"""The pointer: its formula by hand, the plain form, and the stop."""

import pytest
import torch

from gazevlm_core.model.configuration_gazevlm import GazeConfig, PointerKeys
from gazevlm_core.model.pointer import GazeHeads
from tests.model.path_samples import sampled_paths

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


def test_an_index_head_knows_patches_by_their_number_alone() -> None:
    module = heads(pointer_keys=PointerKeys.INDEX, index_patches=PATCHES, use_previous_patch=False)
    gaze = torch.randn(STEPS, HIDDEN)
    field, other = (module.fields(gaze, torch.randn(PATCHES, HIDDEN)) for _ in range(2))
    assert torch.equal(field.logits(1, torch.tensor([0])), other.logits(1, torch.tensor([0])))
    expected = module.index_keys.weight @ module.query(gaze[1]) / POINTER**0.5
    torch.testing.assert_close(field.logits(1, torch.tensor([0]))[0, :-1], expected)
    assert not torch.allclose(heads().fields(gaze, torch.ones(PATCHES, HIDDEN)).keys[:-1], field.keys[:-1])
    with pytest.raises(ValueError, match=r"6 patches is larger than the 5 indices"):
        module.fields(gaze, torch.randn(PATCHES + 1, HIDDEN))


def test_paths_that_do_not_stop_are_as_long_as_they_can_be() -> None:
    torch.manual_seed(0)
    for stops, lengths in ((False, {STEPS}), (True, {1, 2, STEPS})):
        field = heads(stops=stops).fields(torch.randn(STEPS, HIDDEN), torch.randn(PATCHES, HIDDEN))
        assert {len(path) for path in sampled_paths(field, 200)} == lengths


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"pointer_keys": "index"}, "index_patches is the number"),
        ({"index_patches": 4}, "index_patches is the number"),
        ({"target_sigma_patches": -1.0}, "must not be negative"),
        ({"pointer_keys": "pixels"}, "pixels"),
    ],
)
def test_settings_of_the_pointer_that_make_no_sense(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GazeConfig(**values)


def test_the_configuration_survives_json() -> None:
    config = GazeConfig(pointer_keys=PointerKeys.INDEX, index_patches=64, stops=False, target_sigma_patches=0.7)
    assert config.to_dict()["pointer_keys"] == "index"
    assert GazeConfig.from_dict(config.to_dict()) == config
