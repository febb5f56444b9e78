"""A plain baseline beside a model: 32 x 32 grey pixels, principal components, logistic regression.

It knows the labels of the data set's own training patients, as a model that is scored zero-shot does not; a model that
does not beat it has not shown that it sees more than the overall look of an image, such as the habit of a department.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from PIL import Image

from gazevlm_core.sample import DatasetError, Sample

SIDE_PX = 32
COMPONENTS, REGULARISATION = 50, 0.1  # chosen once on NIH ChestX-ray14: 0.82 pneumonia, 0.75 edema, 0.70 effusion
IMAGES_PER_COMPONENT = 10  # fewer components where there are few images
FOLDS = 5
MOST_TRAINING_IMAGES = 6_000  # bounds time


def thumbnail(image: Image.Image) -> np.ndarray:
    """Return the grey values of an image, stretched to a small square: uint8 [SIDE_PX * SIDE_PX]."""
    return np.asarray(image.convert("L").resize((SIDE_PX, SIDE_PX), Image.Resampling.BILINEAR)).ravel()


def thumbnails(samples: Iterable[Sample]) -> tuple[np.ndarray, list[Mapping[str, float]]]:
    """Return the thumbnails [N, SIDE_PX * SIDE_PX] and findings of the images that can be read."""
    pixels, findings = [np.zeros((0, SIDE_PX * SIDE_PX), np.uint8)], []
    for sample in samples:
        try:
            pixels.append(thumbnail(sample.load())[None])
        except DatasetError:
            continue
        findings.append(sample.findings)
    return np.concatenate(pixels), findings


def baseline_logits(
    pixels: np.ndarray, training: np.ndarray, training_labels: Sequence[Mapping[str, float]], names: Sequence[str]
) -> dict[str, np.ndarray]:
    """Return the logits [N] by finding, of those that have both classes in training.

    Args:
        pixels: [N, D] from `thumbnail`.
        training: [M, D], of other patients.
        training_labels: M findings.
    """
    from sklearn.decomposition import PCA  # late: takes seconds
    from sklearn.linear_model import LogisticRegression

    truth = {name: np.array([one.get(name, np.nan) for one in training_labels]) for name in names}
    both = [name for name in names if {0.0, 1.0} <= set(truth[name][~np.isnan(truth[name])])]
    if not both or min(training.shape) < 2:
        return {}
    size = min(COMPONENTS, max(1, len(training) // IMAGES_PER_COMPONENT))
    components = PCA(size, whiten=True, random_state=0).fit(training / 255.0)
    seen, unseen = components.transform(training / 255.0), components.transform(pixels / 255.0)
    found = {}
    for name in both:
        known = np.isin(truth[name], (0.0, 1.0))
        model = LogisticRegression(C=REGULARISATION, max_iter=2000).fit(seen[known], truth[name][known])
        found[name] = model.decision_function(unseen)
    return found


def cross_validated(
    pixels: np.ndarray, labels: Sequence[Mapping[str, float]], patients: Sequence[str], names: Sequence[str]
) -> dict[str, np.ndarray]:
    """Return the logits [N] of each image from images of other patients, FOLDS times; NaN where a fold gives none.



    Args:
        pixels: [N, D] from `thumbnail`.
        labels, patients: N.
    """
    from sklearn.model_selection import GroupKFold

    found = {name: np.full(len(pixels), np.nan) for name in names}
    folds = min(FOLDS, len(set(patients)))
    if folds < 2:
        return {}
    for seen, unseen in GroupKFold(folds).split(pixels, groups=np.asarray(patients)):
        logits = baseline_logits(pixels[unseen], pixels[seen], [labels[row] for row in seen], names)
        for name, values in logits.items():
            found[name][unseen] = values
    return {name: values for name, values in found.items() if not np.isnan(values).any()}
