"""Store beside a checkpoint the features that its vision tower has of training images; see `model.ood_score`."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from gazevlm_core.model.checkpoint import load_checkpoint
from gazevlm_core.model.ood_score import fit_ood_reference, image_features
from phantoms.dataset import TRAINING_SEEDS, draw_cases

HELD_OUT_SEEDS = TRAINING_SEEDS[-600:]  # the recipe trains on the first ones
IMAGES_AT_ONCE = 32


def store_ood_reference(folder: Path, training: Sequence[Image.Image], held_out: Sequence[Image.Image]) -> float:
    """Write the reference features of a checkpoint as it is stored, quantised or not.

    Args:
        folder: of the checkpoint.
        training: images it was trained on, a few thousand.
        held_out: images of the same kinds that it was not trained on.

    Returns:
        The limit; see `OodReference`.
    """
    checkpoint = load_checkpoint(str(folder), device="cpu")

    @torch.no_grad()
    def features(images: Sequence[Image.Image]) -> Iterator[np.ndarray]:
        for first in range(0, len(images), IMAGES_AT_ONCE):
            some = [image.convert("RGB") for image in images[first : first + IMAGES_AT_ONCE]]
            pixels = checkpoint.processor.image_processor(images=some, return_tensors="pt")
            for tokens in checkpoint.model.encode_images(pixels["pixel_values"], pixels["image_grid_thw"]):
                yield image_features(tokens)

    reference = fit_ood_reference(np.stack(list(features(training))), np.stack(list(features(held_out))))
    reference.save(folder)
    return reference.limit


def held_out_images(sizes_px: tuple[int, ...], domains: Sequence[str]) -> list[Image.Image]:
    """Return phantoms drawn as those of the training, at sizes and of domains in turn, from seeds that it does not
    reach."""
    parts = [HELD_OUT_SEEDS[number :: len(domains)] for number in range(len(domains))]
    return [
        Image.fromarray(case.image)
        for domain, seeds in zip(domains, parts, strict=True)
        for case in draw_cases(seeds, domain, sizes_px=sizes_px)
    ]
