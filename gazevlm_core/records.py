"""The answer of a model about one image; what an annotator did is in `annotation`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gazevlm_core.geometry import PatchGrid, Window
from gazevlm_core.scanpath import Scanpath

MOST_OOD_SCORE = 1.0  # above it an image is unlike those of the training


def is_strange(ood_score: float | None) -> bool:
    """Whether an image is known to be unlike those of the training."""
    return ood_score is not None and ood_score > MOST_OOD_SCORE


@dataclass(frozen=True)
class Glimpse:
    """A place of the path that the model saw closely.

    Args:
        step: of the path, from 0.
        window: that was cut from the image.
    """

    step: int
    window: Window


@dataclass(frozen=True)
class Sentence:
    """A sentence of an answer.

    Args:
        text: as it was written.
        shares: of each glimpse in the attention with which its tokens were chosen, mean of all layers and heads; what
            is missing to 1 went elsewhere. Attention, that is, and no proof.
    """

    text: str
    shares: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """What a model answered about one image, and its scanpath.

    Args:
        answer: the generated text.
        finding_probabilities: finding name -> probability in [0, 1]; empty when the finding head is untrained.
        scanpath: the path shown, or None when the gaze weights are untrained: then nothing may be drawn.
        patch_probabilities: float32 [K, rows * cols], row k is the distribution over patches of fixation k given the
            fixations before it on the path shown (it sums to 1 less the probability of stopping); None when untrained.
        fixation_probabilities: probability of each shown fixation's patch, one per fixation.
        grid: the merged patch grid.
        model_id: Hub id or folder name of the base model.
        adapter_id: name of the adapter, or None.
        notes: what the user must know with it.
        ood_score: how unlike the training images the image is, see MOST_OOD_SCORE; None where unknown.
        question: in the wording that the model was trained on.
        glimpses: places that were seen closely, in the order of looking; none where the model takes none.
        evidence: finding -> share of each glimpse in what its probability was pooled from; what is missing to 1 is the
            share of the whole image. Attention, that is, and no proof.
        sentences: of the answer, once it is complete; none where the model takes no glimpses.

    Raises:
        ValueError: shapes that do not fit the grid or the path, or probabilities outside [0, 1].
    """

    answer: str
    finding_probabilities: Mapping[str, float]
    scanpath: Scanpath | None
    patch_probabilities: np.ndarray | None
    fixation_probabilities: tuple[float, ...]
    grid: PatchGrid
    model_id: str
    adapter_id: str | None = None
    notes: tuple[str, ...] = field(default=())
    ood_score: float | None = None
    question: str = ""
    glimpses: tuple[Glimpse, ...] = ()
    evidence: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    sentences: tuple[Sentence, ...] = ()

    def __post_init__(self) -> None:
        if (self.scanpath is None) != (self.patch_probabilities is None):
            raise ValueError("a diagnosis has both a scanpath and its patch probabilities, or neither")
        if self.patch_probabilities is not None and self.scanpath is not None:
            shape = self.patch_probabilities.shape
            if len(shape) != 2 or shape[1] != len(self.grid) or shape[0] < len(self.scanpath):
                raise ValueError(f"patch probabilities of shape {shape} do not fit {len(self.grid)} patches")
            if len(self.fixation_probabilities) != len(self.scanpath):
                raise ValueError("one probability per fixation is needed")
        if any(not 0.0 <= value <= 1.0 for value in self.finding_probabilities.values()):
            raise ValueError("finding probabilities must lie in [0, 1]")
        shared = [*self.evidence.values(), *(sentence.shares for sentence in self.sentences)]
        if any(len(shares) != len(self.glimpses) for shares in shared):
            raise ValueError("evidence and sentences have one share per glimpse")

    @property
    def gaze_trained(self) -> bool:
        """Whether the path means something and may be drawn."""
        return self.scanpath is not None

    def to_dict(self) -> dict[str, Any]:
        """Return it as values that JSON takes, by the names that `gazevlm diagnose --json` prints.

        The scanpath is a list of fixations in viewing order, with x and y in [0, 1), patch index, probability and
        duration in ms, or None where the gaze weights are untrained.
        """
        path = None if self.scanpath is None else [
            {
                "x": fixation.x,
                "y": fixation.y,
                "patch_index": self.grid.index_of(fixation),
                "probability": float(probability),
                "duration_ms": fixation.duration_ms,
            }
            for fixation, probability in zip(self.scanpath, self.fixation_probabilities, strict=True)
        ]  # fmt: skip
        return {
            "question": self.question,
            "answer": self.answer,
            "findings": {name: float(value) for name, value in self.finding_probabilities.items()},
            "grid": [self.grid.rows, self.grid.cols],
            "scanpath": path,
            "glimpses": [{"step": one.step + 1, **one.window._asdict()} for one in self.glimpses],
            "evidence": {name: list(shares) for name, shares in self.evidence.items()},
            "sentences": [{"text": one.text, "shares": list(one.shares)} for one in self.sentences],
            "model": self.model_id,
            "adapter": self.adapter_id,
            "strangeness": self.ood_score,
            "notes": list(self.notes),
        }
