"""How alike drawn and real radiographs look: statistics of both, and how well a linear classifier tells them apart.

python -m phantoms.film_statistics FOLDER_OF_FILMS R
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from gazevlm_core.images import load_image
from phantoms.make import make_phantom

SIDE_PX = 224
IMAGES = 300
FIRST_SEED = 1_700_000  # of training's seeds, but none that the recipe draws
DRAWN_PX = 320
PERCENTILES = (1, 5, 10, 25, 50, 75, 90, 95, 99)
FREQUENCIES = (1, 2, 3, 5, 8, 12, 18, 28, 42, 60, 85, 112)  # cycles per image side
WIDTHS_PX = (2.0, 6.0, 16.0)
Statistics = dict[str, NDArray[np.floating]]


def film_statistics(image: Image.Image) -> Statistics:
    """Return statistics of a grey image at SIDE_PX a side.

    Returns:
        "grey levels": percentiles; "power": log10 of the radial power spectrum in bands; "across" and "down": mean
        grey of 16 strips each; "local contrast": mean standard deviation within WIDTHS_PX; "edges": mean grey at the
        upper, lower, left and right edge, and the mean difference from the mirror image.
    """
    grey = np.asarray(image.convert("L").resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC), dtype=np.float32)
    strips = grey.reshape(16, SIDE_PX // 16, 16, SIDE_PX // 16)
    border = [grey[:6].mean(), grey[-6:].mean(), grey[:, :6].mean(), grey[:, -6:].mean()]
    return {
        "grey levels": np.percentile(grey, PERCENTILES),
        "power": _power(grey),
        "across": strips.mean(axis=(0, 1, 3)),
        "down": strips.mean(axis=(1, 2, 3)),
        "local contrast": np.array([_local_contrast(grey, width_px) for width_px in WIDTHS_PX]),
        "edges": np.array([*border, np.abs(grey - grey[:, ::-1]).mean()]),
    }


def separability(real: Sequence[Statistics], drawn: Sequence[Statistics]) -> dict[str, float]:
    """Return AUROC of a logistic regression that tells real from drawn, over five folds: 0.5 where it cannot.

    Returns:
        By name of a statistic, and "all" for all of them together.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    is_real = np.repeat([1, 0], [len(real), len(drawn)])
    values = {name: np.array([one[name] for one in (*real, *drawn)]) for name in real[0]}
    values["all"] = np.concatenate(list(values.values()), axis=1)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500))
    return {
        name: float(cross_val_score(model, value, is_real, cv=5, scoring="roc_auc").mean())
        for name, value in values.items()
    }


def _power(grey: NDArray[np.floating]) -> NDArray[np.floating]:
    window = np.hanning(SIDE_PX)
    spectrum = np.abs(np.fft.fftshift(np.fft.fft2((grey - grey.mean()) * np.outer(window, window)))) ** 2
    rows, cols = np.indices(grey.shape) - SIDE_PX // 2
    band = np.digitize(np.hypot(rows, cols), FREQUENCIES)
    return np.log10([spectrum[band == number].mean() + 1e-3 for number in range(1, len(FREQUENCIES))])


def _local_contrast(grey: NDArray[np.floating], width_px: float) -> float:
    away = (grey - ndimage.gaussian_filter(grey, width_px)) ** 2
    return float(np.sqrt(np.maximum(ndimage.gaussian_filter(away, width_px), 0.0)).mean())


def main() -> None:
    """Print means of both kinds and their separability."""
    if len(sys.argv) != 3:
        raise SystemExit("usage: python -m phantoms.film_statistics FOLDER_OF_FILMS A|B|R")
    paths = sorted(path for path in Path(sys.argv[1]).iterdir() if path.is_file())
    chosen = np.random.default_rng(0).permutation(len(paths))[:IMAGES]
    real = [film_statistics(load_image(paths[number]).image) for number in chosen]
    seeds = range(FIRST_SEED, FIRST_SEED + IMAGES)
    images = (make_phantom(seed, sys.argv[2], size_px=DRAWN_PX).image for seed in seeds)
    drawn = [film_statistics(Image.fromarray(image)) for image in images]
    apart = separability(real, drawn)
    for name in real[0]:
        typer.echo(f"{name}: distinguished with AUROC {apart[name]:.2f}")
        for kind, many in (("real", real), ("drawn", drawn)):
            means = np.mean([one[name] for one in many], axis=0)
            typer.echo(f"  {kind:6}" + " ".join(f"{value:6.1f}" for value in means))
    typer.echo(f"all together: {apart['all']:.2f}")


if __name__ == "__main__":
    main()
