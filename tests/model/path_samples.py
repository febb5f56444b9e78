"""Walks over the pointer's field of one image, as tuples of patches."""

from collections.abc import Sequence

from gazevlm_core.model.path_sampling import sample_paths
from gazevlm_core.model.pointer import PointerField, stack_fields


def sampled_paths(
    field: PointerField, num_paths: int, *, temperature: float = 1.0, seed: int = 0, given: Sequence[int] = ()
) -> list[tuple[int, ...]]:
    """Sample paths of 1 to K patches, each beginning with `given`."""
    (steps,), (lengths,) = sample_paths(stack_fields([field]), num_paths, temperature, seed, [given])
    return [tuple(row[:length]) for row, length in zip(steps.tolist(), lengths.tolist(), strict=True)]
