"""Losses by hand, and masks that let nothing unknown through."""

import math

import torch

from gazevlm_core.model.losses import (
    IGNORED,
    STOP,
    answer_loss,
    dwell_loss,
    finding_loss,
    pointer_log_probabilities,
    pointer_loss,
    previous_patches,
    soft_targets,
)
from gazevlm_core.model.pointer import PointerField


def flat_field(batch: int, steps: int, patches: int) -> PointerField:
    """All logits zero: every allowed choice is equally likely."""
    zeros = torch.zeros(batch, patches + 1, 2)
    return PointerField(torch.zeros(batch, steps, 2), zeros, zeros)


def test_a_flat_pointer_costs_the_log_of_its_choices() -> None:
    mask = torch.tensor([[True, True, True, True], [True, True, False, False]])
    targets = torch.tensor([[[2, 0, STOP]], [[1, STOP, IGNORED]]])
    loss = pointer_loss(flat_field(2, 3, 4), targets, mask)
    # first image: 4 patches, then 4 + stop twice; second: 2 patches, then 2 + stop
    expected = (math.log(4) + 2 * math.log(5) + math.log(2) + math.log(3)) / 5
    assert math.isclose(float(loss), expected, rel_tol=1e-6)


def test_log_probabilities_are_normalised_over_existing_patches() -> None:
    torch.manual_seed(0)
    field = PointerField(torch.randn(2, 3, 8), torch.randn(2, 6, 8), torch.randn(2, 6, 8))
    mask = torch.tensor([[True] * 5, [True, True, False, False, False]])
    logs = pointer_log_probabilities(field, torch.full((2, 1, 3), 5), mask)
    torch.testing.assert_close(logs.exp().sum(dim=-1), torch.ones(2, 1, 3))
    assert (logs[1, :, :, 2:5] == float("-inf")).all()
    assert (logs[:, :, 0, -1] == float("-inf")).all()
    assert (logs[:, :, 1:, -1] > float("-inf")).all()


def test_batched_log_probabilities_equal_the_walked_logits() -> None:
    torch.manual_seed(0)
    field = PointerField(torch.randn(1, 3, 8), torch.randn(1, 6, 8), torch.randn(1, 6, 8))
    single = PointerField(field.step_queries[0], field.previous_queries[0], field.keys[0])
    logs = pointer_log_probabilities(field, torch.tensor([[[5, 2, 4]]]), torch.ones(1, 5, dtype=torch.bool))
    for step, previous in enumerate((5, 2, 4)):
        walked = single.logits(step, torch.tensor([previous])).log_softmax(dim=-1)[0]
        torch.testing.assert_close(logs[0, 0, step], walked)


def test_predecessors_are_the_targets_shifted() -> None:
    targets = torch.tensor([[[3, 1, STOP, IGNORED]]])
    assert previous_patches(targets, 9).tolist() == [[[9, 3, 1, 9]]]


def test_steps_behind_the_stop_change_nothing() -> None:
    torch.manual_seed(0)
    field = PointerField(torch.randn(1, 4, 8), torch.randn(1, 6, 8), torch.randn(1, 6, 8))
    changed = PointerField(field.step_queries.clone(), field.previous_queries, field.keys)
    changed.step_queries[:, 3] += 100
    targets, mask = torch.tensor([[[0, 1, STOP, IGNORED]]]), torch.ones(1, 5, dtype=torch.bool)
    assert pointer_loss(field, targets, mask) == pointer_loss(changed, targets, mask)


def test_nothing_supervised_costs_nothing() -> None:
    targets = torch.full((1, 1, 3), IGNORED)
    assert pointer_loss(flat_field(1, 3, 4), targets, torch.ones(1, 4, dtype=torch.bool)) == 0
    nothing = torch.zeros(0, dtype=torch.long)
    assert answer_loss(torch.zeros(0, 7), nothing, nothing) == 0
    assert finding_loss(torch.ones(2, 3), torch.full((2, 3), math.nan)) == 0
    assert dwell_loss(torch.ones(2), torch.full((2,), math.nan)) == 0


def test_unknown_findings_and_dwells_are_masked() -> None:
    logits = torch.tensor([[0.0, 50.0]])
    assert math.isclose(float(finding_loss(logits, torch.tensor([[1.0, math.nan]]))), math.log(2), rel_tol=1e-6)
    logs = torch.tensor([math.log(300.0), 77.0])
    assert math.isclose(float(dwell_loss(logs, torch.tensor([300.0, math.nan]))), 0.0, abs_tol=1e-9)
    assert math.isclose(float(dwell_loss(logs[:1], torch.tensor([300.0 * math.e**2]))), 1.5, rel_tol=1e-5)


def test_every_answer_weighs_the_same_however_long() -> None:
    logits = torch.zeros(4, 2)
    logits[0, 0] = math.log(3.0)  # P = 3/4 for class 0; the other three tokens cost log 2 each
    loss = answer_loss(logits, torch.tensor([1, 0, 1, 1]), torch.tensor([5, 2, 2, 2]))
    assert math.isclose(float(loss), (math.log(4.0) + math.log(2.0)) / 2, rel_tol=1e-6)


def test_soft_targets_share_the_loss_among_neighbours() -> None:
    """On a grid of 2 x 2 in a batch of up to 6 patches, by hand."""
    side, corner = (math.exp(-distance / (2 * 0.7**2)) for distance in (1, 2))
    total = 1 + 2 * side + corner
    targets, mask = torch.tensor([[[3, STOP]]]), torch.tensor([[True] * 4 + [False] * 2])
    soft = soft_targets(targets, torch.tensor([2]), mask, 0.7)
    near = torch.tensor([corner, side, side, 1.0]) / total
    torch.testing.assert_close(soft[0, 0, 0], torch.cat([near, torch.zeros(2)]))
    torch.manual_seed(0)
    field = PointerField(torch.randn(1, 2, 8), torch.randn(1, 7, 8), torch.randn(1, 7, 8))
    logs = pointer_log_probabilities(field, previous_patches(targets, 6), mask)[0, 0]
    expected = -((near * logs[0, :4]).sum() + logs[1, 6]) / 2
    torch.testing.assert_close(pointer_loss(field, targets, mask, soft), expected)
    hard = soft_targets(targets, torch.tensor([2]), mask, 0.01)
    torch.testing.assert_close(pointer_loss(field, targets, mask, hard), pointer_loss(field, targets, mask))


def test_soft_targets_of_images_with_other_grids_are_their_own() -> None:
    """Each image of a batch has the targets that it would have alone, wherever the rows of its grid end."""
    grids, width = [(2, 3), (3, 2), (1, 4)], 6
    mask = torch.tensor([[patch < rows * cols for patch in range(width)] for rows, cols in grids])
    targets = torch.tensor([[[1, 3, IGNORED]], [[1, 3, STOP]], [[1, 3, 0]]])
    soft = soft_targets(targets, torch.tensor([cols for _, cols in grids]), mask, 0.9)
    for image, (rows, cols) in enumerate(grids):
        for step, patch in enumerate(targets[image, 0].clamp(min=0).tolist()):
            apart = [(p // cols - patch // cols) ** 2 + (p % cols - patch % cols) ** 2 for p in range(rows * cols)]
            weights = torch.tensor([math.exp(-one / (2 * 0.9**2)) for one in apart])
            torch.testing.assert_close(soft[image, 0, step, : rows * cols], weights / weights.sum())
            assert not soft[image, 0, step, rows * cols :].any()


def test_where_paths_do_not_stop_the_stop_is_no_choice_and_no_target() -> None:
    field = flat_field(1, 3, 4)
    endless = PointerField(field.step_queries, field.previous_queries, field.keys, stops=False)
    targets, mask = torch.tensor([[[2, 0, STOP]]]), torch.ones(1, 4, dtype=torch.bool)
    assert math.isclose(float(pointer_loss(endless, targets, mask)), math.log(4), rel_tol=1e-6)
