"""Where `--overlay OUT` writes: one file, a folder, or a name with {stem}; never two images into one file."""

from collections.abc import Sequence
from pathlib import Path

from gazevlm_core.images import IMAGE_SUFFIXES

STEM = "{stem}"
SUFFIX = ".png"


class OverlayTargetError(ValueError):
    """An --overlay that does not fit the images; the message says what to give instead."""


def plan_overlays(out: str, images: Sequence[Path]) -> list[Path]:
    """The overlay file of each image.

    Args:
        out: OUT.png for one image; for any number, a folder (an existing one, or a name without an ending) that gets
            STEM.png for each image, or a name with {stem}.
        images: what is diagnosed.

    Raises:
        OverlayTargetError: another ending than .png, one name for several images, two images that would share a file,
            or an overlay that would replace one of the images.
    """
    if STEM in out:
        targets = [Path(out.replace(STEM, _stem(image))) for image in images]
    elif Path(out).is_dir() or out.endswith("/") or not Path(out).suffix:
        targets = [Path(out) / f"{_stem(image)}{SUFFIX}" for image in images]
    elif len(images) > 1:
        raise OverlayTargetError(
            f"--overlay {out} names one file for {len(images)} images; give a folder, or a name with {STEM}"
        )
    else:
        targets = [Path(out)] * len(images)
    _check(targets, images)
    return targets


def _stem(image: Path) -> str:
    """The name without an image's ending; a DICOM file named by its UID keeps all of it."""
    return image.stem if image.suffix.lower() in IMAGE_SUFFIXES else image.name


def _check(targets: Sequence[Path], images: Sequence[Path]) -> None:
    owners: dict[Path, Path] = {}
    inputs = {image.resolve() for image in images}
    for target, image in zip(targets, images, strict=True):
        if target.suffix.lower() != SUFFIX:
            raise OverlayTargetError(f"an overlay is a PNG file: --overlay must end in {SUFFIX}, got {target.name}")
        place = target.resolve()
        if place in inputs:
            raise OverlayTargetError(f"the overlay {target} would replace an image; give another name or folder")
        if place in owners:
            raise OverlayTargetError(
                f"{owners[place]} and {image} would both write {target}; diagnose them in separate runs"
            )
        owners[place] = image
