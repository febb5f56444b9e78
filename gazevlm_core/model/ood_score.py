"""Out-of-distribution score of an image: a distance on the vision tower's features from a stored reference.

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

OOD_REFERENCE_FILE = "familiarity.safetensors"  # the name is part of the digest by which adapters know their base


class OodReferenceError(ValueError):
    """A file of reference features that cannot be used."""


@dataclass(frozen=True, eq=False)
class OodReference:
    """Mean and covariance of the features of training images.

    Args:
        mean: float32 [D].
        precision: float32 [D, D], inverse covariance.
        limit: distance that most held-out images of the same kind stay below.
    """

    mean: np.ndarray
    precision: np.ndarray
    limit: float

    def ood_score(self, tokens: torch.Tensor) -> float:
        """Return the distance of an image from the training images over the limit: above 1 it is unlike them.

        Args:
            tokens: [P, D], from the vision tower.

        Raises:
            OodReferenceError: tokens of another width.
        """
        return float(self._distances(image_features(tokens)[None])[0] / self.limit)

    def _distances(self, features: np.ndarray) -> np.ndarray:
        """Root mean square Mahalanobis distances [N] of [N, D]; about 1 for training images."""
        if features.shape[1] != len(self.mean):
            raise OodReferenceError(f"features of width {features.shape[1]} do not fit a reference of {len(self.mean)}")
        away = features.astype(np.float64) - self.mean
        squares = np.einsum("nd,de,ne->n", away, self.precision.astype(np.float64), away)
        return np.sqrt(np.maximum(squares, 0.0) / len(self.mean))

    def save(self, folder: Path) -> None:
        """Write OOD_REFERENCE_FILE beside a checkpoint's weights."""
        arrays = {"mean": self.mean, "precision": self.precision, "limit": np.array([self.limit], np.float32)}
        save_file(arrays, folder / OOD_REFERENCE_FILE)


def image_features(tokens: torch.Tensor) -> np.ndarray:
    """Return features, float32 [D], from the vision tower's tokens [P, D] of one image."""
    return tokens.float().mean(dim=0).cpu().numpy()


def fit_ood_reference(training: np.ndarray, held_out: np.ndarray, quantile: float = 0.998) -> OodReference:
    """Fit a reference.

    Args:
        training: [N, D] features of training images, N well above D.
        held_out: [M, D] features of other images of the same kind.
        quantile: share of the held-out images below the limit.

    Raises:
        OodReferenceError: too few training images for their width.
    """
    from sklearn.covariance import LedoitWolf

    if len(training) <= training.shape[1]:
        raise OodReferenceError(f"{len(training)} images are too few for features of width {training.shape[1]}")
    fitted = LedoitWolf().fit(training.astype(np.float64))
    reference = OodReference(fitted.location_.astype(np.float32), fitted.precision_.astype(np.float32), 1.0)
    limit = float(np.quantile(reference._distances(held_out), quantile))
    return OodReference(reference.mean, reference.precision, limit)


def read_ood_reference(path: Path) -> OodReference:
    """Read OOD_REFERENCE_FILE.

    Raises:
        OodReferenceError: not a file that `OodReference.save` wrote.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            mean, precision, limit = (file.get_tensor(name) for name in ("mean", "precision", "limit"))
    except (OSError, SafetensorError) as error:
        raise OodReferenceError(f"cannot read {path.name}: {error}") from error
    if mean.ndim != 1 or precision.shape != (len(mean), len(mean)) or limit.shape != (1,) or not limit[0] > 0:
        raise OodReferenceError(f"{path.name} holds arrays of the wrong shape")
    return OodReference(mean, precision, float(limit[0]))
