"""Walks over the pointer: seeds, given beginnings, their medoid and their median."""

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from gazevlm_core.metrics import sequence
from gazevlm_core.metrics.sequence import (
    median_path,
    median_path_of,
    medoid_index,
    sequence_score,
    sequence_scores,
)
from gazevlm_core.model.path_sampling import choose_path, choose_paths, follow
from gazevlm_core.model.pointer import PointerField
from gazevlm_core.options import PathChoice
from tests.model.path_samples import sampled_paths


def random_field(steps: int = 6, patches: int = 20, scale: float = 2.0) -> PointerField:
    torch.manual_seed(3)
    return PointerField(
        scale * torch.randn(steps, 8), scale * torch.randn(patches + 1, 8), scale * torch.randn(patches + 1, 8)
    )


def test_the_same_seed_walks_the_same_way_and_another_does_not() -> None:
    field = random_field()
    assert sampled_paths(field, 16, seed=5) == sampled_paths(field, 16, seed=5)
    assert sampled_paths(field, 16, seed=5) != sampled_paths(field, 16, seed=6)


def test_walks_have_one_to_k_patches_inside_the_grid() -> None:
    field = random_field()
    walks = sampled_paths(field, 200, temperature=3.0)
    assert len(walks) == 200
    assert all(1 <= len(walk) <= 6 and set(walk) <= set(range(20)) for walk in walks)
    assert {len(walk) for walk in walks} != {6}  # some stop earlier


def test_sampled_first_patches_follow_the_softmax() -> None:
    field = random_field(patches=4, scale=0.7)
    expected = field.logits(0, torch.tensor([4])).softmax(dim=-1)[0, :-1].numpy()
    firsts = [walk[0] for walk in sampled_paths(field, 4000)]
    observed = np.bincount(firsts, minlength=4) / 4000
    assert np.abs(observed - expected).max() < 0.03  # four standard errors


def test_arg_max_takes_the_likeliest_choice_at_every_step() -> None:
    field = random_field()
    path = choose_path(field, PathChoice.ARGMAX)
    for step, patch in enumerate(path.patches):
        previous = path.patches[step - 1] if step else field.num_patches
        assert int(field.logits(step, torch.tensor([previous])).argmax()) == patch


def test_a_given_beginning_is_kept_and_continued() -> None:
    field = random_field()
    for choice in PathChoice:
        path = choose_path(field, choice, given=[7, 3], seed=1)
        assert path.patches[:2] == (7, 3)
    full = [1, 2, 3, 4, 5, 6]
    assert choose_path(field, given=full).patches == tuple(full)


def test_distributions_belong_to_the_path_shown() -> None:
    field = random_field()
    path = choose_path(field, PathChoice.SAMPLE, seed=2)
    assert path.probabilities.shape == (6, 20)
    for step, patch in enumerate(path.patches):
        assert path.chosen[step] == pytest.approx(float(path.probabilities[step, patch]))
        assert 0 < path.probabilities[step].sum() <= 1 + 1e-6
    assert not path.probabilities[len(path.patches) :].any()
    assert follow(field, path.patches).chosen == path.chosen


@pytest.mark.parametrize("choice", list(PathChoice))
def test_images_together_have_the_paths_that_each_has_alone(choice: PathChoice) -> None:
    """Also where their grids differ: an image draws the same numbers from its seed in any company."""
    fields = [random_field(patches=patches, scale=scale) for patches, scale in [(20, 2), (7, 1), (20, 0.5), (1, 1)]]
    together = choose_paths(fields, choice, seed=4)
    for field, path in zip(fields, together, strict=True):
        alone = choose_path(field, choice, seed=4)
        assert path.patches == alone.patches
        np.testing.assert_allclose(path.probabilities, alone.probabilities, atol=1e-6)
        assert path.stop_probability == pytest.approx(alone.stop_probability)
    begun = choose_paths(fields[:2], choice, seed=4, given=[[7, 3], [6, 3]])
    assert [path.patches[:2] for path in begun] == [(7, 3), (6, 3)]


def test_walks_draw_what_torch_would_draw() -> None:
    """A seed keeps its meaning: the walks are those of `torch.multinomial`, step by step."""
    field, generator = random_field(), torch.Generator().manual_seed(9)
    previous, walking = torch.full((32,), 20), torch.ones(32, dtype=torch.bool)
    walks: list[list[int]] = [[] for _ in range(32)]
    for step in range(field.num_steps):
        chances = (field.logits(step, previous) / 0.7).softmax(dim=-1)
        previous = torch.multinomial(chances, 1, generator=generator).squeeze(1).where(walking, previous)
        walking &= previous != 20
        for walk, patch, goes_on in zip(walks, previous.tolist(), walking.tolist(), strict=True):
            walk += [patch] if goes_on else []
    assert sampled_paths(field, 32, temperature=0.7, seed=9) == [tuple(walk) for walk in walks]


def test_a_pointer_of_no_numbers_says_so() -> None:
    broken = PointerField(torch.full((2, 4), float("nan")), torch.zeros(4, 4), torch.zeros(4, 4))
    with pytest.raises(ValueError, match="not finite; load the model with another --precision"):
        choose_path(broken)


def test_patches_that_do_not_fit_are_refused() -> None:
    field = random_field()
    with pytest.raises(ValueError, match="outside a grid"):
        sampled_paths(field, 2, given=[20])
    with pytest.raises(ValueError, match="longer than"):
        follow(field, [0] * 7)
    with pytest.raises(ValueError, match="at least one"):
        follow(field, [])
    with pytest.raises(ValueError, match="num_paths must be"):
        sampled_paths(field, 0)


def longest_common_subsequence(first: tuple[int, ...], second: tuple[int, ...]) -> int:
    if not first or not second:
        return 0
    if first[0] == second[0]:
        return 1 + longest_common_subsequence(first[1:], second[1:])
    return max(longest_common_subsequence(first[1:], second), longest_common_subsequence(first, second[1:]))


def test_sequence_scores_equal_the_recursive_definition() -> None:
    rng = np.random.default_rng(0)
    firsts = [tuple(rng.integers(0, 4, rng.integers(1, 8)).tolist()) for _ in range(100)]
    seconds = [tuple(rng.integers(0, 4, rng.integers(1, 8)).tolist()) for _ in range(100)]
    expected = [longest_common_subsequence(a, b) / max(len(a), len(b)) for a, b in zip(firsts, seconds, strict=True)]
    np.testing.assert_allclose(sequence_scores(firsts, seconds), expected)


def test_sequence_score_by_hand() -> None:
    assert sequence_score([1, 2, 3], [1, 2, 3]) == 1.0
    assert sequence_score([1, 2, 3], [3, 2, 1]) == pytest.approx(1 / 3)
    assert sequence_score([1, 2], [1, 9, 2, 9]) == 0.5
    with pytest.raises(ValueError, match="without fixations"):
        sequence_score([], [1])


def test_the_medoid_is_the_path_nearest_to_all() -> None:
    assert medoid_index([(1, 2, 3), (9, 9, 9), (1, 2, 4), (1, 2, 3, 4)]) == 3
    assert medoid_index([(5,)]) == 0
    assert medoid_index([(1,), (1,), (2,)]) == 0  # the earliest on a tie


def mean_score(path: Sequence[int], others: Sequence[Sequence[int]]) -> float:
    return float(np.mean(sequence_scores([path] * len(others), others)))


def test_the_median_holds_the_parts_that_most_agree_on() -> None:
    """Each path strays at another place of one tour, so that none of them is the tour."""
    tour = (3, 1, 4, 6, 5, 9)
    paths = [(*tour[:place], 20 + place, *tour[place + 1 :]) for place in range(6)]
    assert median_path_of(paths) == tour


def test_the_median_is_nearer_to_all_than_any_of_them_and_cannot_be_bettered_by_one_patch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sequence, "MEDIAN_SWEEPS", 99)
    rng = np.random.default_rng(4)
    better = 0
    for _ in range(20):
        lengths = rng.integers(1, 9, 12)
        strings = rng.integers(0, 6, (12, 8))
        paths = [row[:length].tolist() for row, length in zip(strings, lengths, strict=True)]
        found = median_path_of(paths)
        score, medoid = mean_score(found, paths), paths[medoid_index(paths)]
        assert score >= mean_score(medoid, paths) - 1e-9
        better += score > mean_score(medoid, paths) + 1e-9
        left_out = [[*found[:at], *found[at + 1 :]] for at in range(len(found))]
        replaced = [[*found[:at], patch, *found[at + 1 :]] for at in range(len(found)) for patch in range(6)]
        inserted = [[*found[:at], patch, *found[at:]] for at in range(len(found) + 1) for patch in range(6)]
        longest = max(map(len, paths))
        nearby = [path for path in left_out + replaced + inserted if 0 < len(path) <= longest]
        assert all(mean_score(path, paths) <= score + 1e-9 for path in nearby)
    assert better >= 15


def test_the_median_keeps_its_beginning_and_never_stays_where_no_path_stays() -> None:
    rng = np.random.default_rng(5)
    strings, lengths = rng.integers(0, 5, (16, 10)), rng.integers(6, 11, 16)
    strings[:, 1:] += (strings[:, 1:] == strings[:, :-1]) * 7  # no patch twice in a row
    strings[:, 2:] += (strings[:, 2:] == strings[:, 1:-1]) * 11
    found = median_path(strings, lengths, [40, 41, 2], longest=10, fixed=2)
    assert found[:2] == (40, 41)
    assert len(found) <= 10
    assert all(first != second for first, second in itertools.pairwise(found))
    assert median_path(np.array([[5, 5, 5]] * 3), np.full(3, 3), [5], longest=3) == (5, 5, 5)  # they do so


def test_the_consensus_is_nearer_to_the_walks_than_their_medoid() -> None:
    field = random_field(scale=1.0)
    walks = sampled_paths(field, 64, seed=3)
    consensus = choose_path(field, num_paths=64, temperature=1.0, seed=3).patches
    medoid = choose_path(field, PathChoice.MEDOID, num_paths=64, temperature=1.0, seed=3).patches
    assert mean_score(consensus, walks) > mean_score(medoid, walks)
    assert choose_path(field, num_paths=64, temperature=1.0, seed=3, given=[4, 2]).patches[:2] == (4, 2)
