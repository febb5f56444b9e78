"""Is an image like those the model was trained on? A distance on the vision tower's features, stored with the weights.

The features of an image are the mean of its image tokens; their distance from those of training images is that of
Mahalanobis, with the covariance of Ledoit and Wolf (J. Multivariate Analysis 88, 2004), over the limit that held-out
images of the same kind stay below. It says that an image is unlike the training images, never that it is a patient's.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

FAMILIARITY_FILE = "familiarity.safetensors"


class FamiliarityError(ValueError):
    """A file of reference features that cannot be used."""


@dataclass(frozen=True, eq=False)
class Familiarity:
    """Where the features of training images lie.

    Args:
        mean: float32 [D].
        precision: float32 [D, D], inverse covariance.
        limit: distance that most held-out images of the same kind stay below.
    """

    mean: np.ndarray
    precision: np.ndarray
    limit: float

    def strangeness(self, tokens: torch.Tensor) -> float:
        """Distance of an image from the training images over the limit: above 1 it is unlike them.

        Args:
            tokens: [P, D], from the vision tower.

        Raises:
            FamiliarityError: tokens of another width.
        """
        return float(self._distances(image_features(tokens)[None])[0] / self.limit)

    def _distances(self, features: np.ndarray) -> np.ndarray:
        """Root mean square Mahalanobis distances [N] of [N, D]; about 1 for training images."""
        if features.shape[1] != len(self.mean):
            raise FamiliarityError(f"features of width {features.shape[1]} do not fit a reference of {len(self.mean)}")
        away = features.astype(np.float64) - self.mean
        squares = np.einsum("nd,de,ne->n", away, self.precision.astype(np.float64), away)
        return np.sqrt(np.maximum(squares, 0.0) / len(self.mean))

    def save(self, folder: Path) -> None:
        """Write FAMILIARITY_FILE beside a checkpoint's weights."""
        arrays = {"mean": self.mean, "precision": self.precision, "limit": np.array([self.limit], np.float32)}
        save_file(arrays, folder / FAMILIARITY_FILE)


def image_features(tokens: torch.Tensor) -> np.ndarray:
    """float32 [D] from the vision tower's tokens [P, D] of one image."""
    return tokens.float().mean(dim=0).cpu().numpy()


def fit_familiarity(training: np.ndarray, held_out: np.ndarray, quantile: float = 0.998) -> Familiarity:
    """Learn what training images look like.

    Args:
        training: [N, D] features of training images, N well above D.
        held_out: [M, D] features of other images of the same kind.
        quantile: share of the held-out images below the limit.

    Raises:
        FamiliarityError: too few training images for their width.
    """
    from sklearn.covariance import LedoitWolf

    if len(training) <= training.shape[1]:
        raise FamiliarityError(f"{len(training)} images are too few for features of width {training.shape[1]}")
    fitted = LedoitWolf().fit(training.astype(np.float64))
    reference = Familiarity(fitted.location_.astype(np.float32), fitted.precision_.astype(np.float32), 1.0)
    limit = float(np.quantile(reference._distances(held_out), quantile))
    return Familiarity(reference.mean, reference.precision, limit)


def read_familiarity(path: Path) -> Familiarity:
    """Read FAMILIARITY_FILE.

    Raises:
        FamiliarityError: not a file that `Familiarity.save` wrote.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            mean, precision, limit = (file.get_tensor(name) for name in ("mean", "precision", "limit"))
    except (OSError, SafetensorError) as error:
        raise FamiliarityError(f"cannot read {path.name}: {error}") from error
    if mean.ndim != 1 or precision.shape != (len(mean), len(mean)) or limit.shape != (1,) or not limit[0] > 0:
        raise FamiliarityError(f"{path.name} holds arrays of the wrong shape")
    return Familiarity(mean, precision, float(limit[0]))
