"""Ask a model about images that are seen at given places: all that the measures of faithfulness need of any model."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from PIL import Image

from gazevlm_core.evaluation.predict import first_answer_margins, written_reports
from gazevlm_core.findings import REPORT_QUESTION
from gazevlm_core.geometry import PatchGrid
from gazevlm_core.inference import EncodedImage, GazeEngine
from gazevlm_core.model.glimpses import choose_steps
from gazevlm_core.model.outputs import PrefillOutput
from gazevlm_core.model.path_sampling import ChosenPath, DecodedPath
from gazevlm_core.options import DiagnoseOptions
from gazevlm_core.scanpath import Fixation, Scanpath

Places = tuple[Fixation, ...]
Words = Literal["none", "first", "report"]
USUAL_PLACES = 6  # of the path of a model that takes no glimpses
USUAL_PATCHES = 1.5  # their width
KEPT_IMAGES = 256
NO_PATCH_PATH = ChosenPath((), np.zeros((0, 0), np.float32), (), 1.0)


@dataclass(frozen=True, eq=False)
class View:
    """One question about an image that is seen at some places.

    Args:
        image: shown as the small image.
        places: of the glimpses, in order.
        fine: image that the glimpses are cut from; None for `image` itself.
        question: asked about it.
    """

    image: Image.Image
    places: Places
    fine: Image.Image | None = None
    question: str = REPORT_QUESTION


@dataclass(frozen=True)
class Answer:
    """What a model says of a view.

    Args:
        logits: finding -> logit of the finding head.
        margin: log P("Yes") - log P("No") as the first word; NaN where it was not asked for.
        report: the words; "" where they were not asked for.
    """

    logits: Mapping[str, float]
    margin: float = float("nan")
    report: str = ""


class Viewer:
    """A model under test: its own places, and answers for any places.

    Images are encoded one by one, so that no batch decides about their digits.

    Attributes:
        names: findings of its head.
        glimpses: M, how many places it sees closely; 0 for none.
    """

    def __init__(self, engine: GazeEngine) -> None:
        self.engine, self.config = engine, engine.gaze_config
        self.names = tuple(self.config.finding_names) if self.config.findings_trained else ()
        self.glimpses = self.config.num_glimpses * self.config.gaze_trained
        self._encoded: OrderedDict[int, tuple[Image.Image, EncodedImage]] = OrderedDict()

    @property
    def patches(self) -> float:
        """Width of a glimpse in patches."""
        return self.config.glimpse_patches if self.glimpses else USUAL_PATCHES

    def grid(self, image: Image.Image) -> PatchGrid:
        """Return the merged grid of an image."""
        return self._encode(image).grid

    def own_places(self, images: Sequence[Image.Image]) -> list[Places]:
        """Return the places of the model's own path of each image; none where its gaze is untrained."""
        encoded = [self._encode(image) for image in images]
        prefilled = self.engine.prefill(encoded, [REPORT_QUESTION] * len(images))
        paths = self.engine.model.predict_paths(prefilled, DiagnoseOptions())
        return [self._places(paths[row], one.grid) if row in paths else () for row, one in enumerate(encoded)]

    def _places(self, path: DecodedPath, grid: PatchGrid) -> Places:
        fixations = path.scanpath.fixations
        steps = path.glimpsed if self.glimpses else choose_steps(fixations, grid, USUAL_PLACES)
        return tuple(fixations[step] for step in steps)

    @torch.no_grad()
    def answer(self, views: Sequence[View], words: Words = "none") -> list[Answer]:
        """Return the answers to some views, in one batch."""
        engine = self.engine
        prefilled = engine.prefill([self._encode(view.image) for view in views], [view.question for view in views])
        prefilled = self._glimpse(prefilled, views)
        logits: list[list[float]] = [[] for _ in views]
        if self.names and prefilled.gaze_hidden is not None:
            logits = engine.model.finding_logits(prefilled).tolist()
        margins, reports = [float("nan")] * len(views), [""] * len(views)
        if words == "first":
            margins = first_answer_margins(engine, prefilled).tolist()
        elif words == "report":
            reports = written_reports(engine, prefilled)
        return [
            Answer(dict(zip(self.names, row, strict=True)), margin, report)
            for row, margin, report in zip(logits, margins, reports, strict=True)
        ]

    def _glimpse(self, prefilled: PrefillOutput, views: Sequence[View]) -> PrefillOutput:
        """Show a pass the glimpses of some views, cut from their own images."""
        if not self.glimpses:
            return prefilled
        encoded = [self._encode(view.image) for view in views]
        sources = [self._fine(view.fine or view.image, one.grid) for view, one in zip(views, encoded, strict=True)]
        paths = {row: DecodedPath(Scanpath(view.places, "model"), NO_PATCH_PATH, tuple(range(len(view.places))))
                 for row, view in enumerate(views)}  # fmt: skip
        return self.engine.glimpse(prefilled, encoded, paths, sources)

    def _fine(self, image: Image.Image, grid: PatchGrid) -> Image.Image:
        known = self._encoded.get(id(image))
        fine = self.engine.fine(image, grid) if known is None else known[1].fine
        return image if fine is None else fine

    def _encode(self, image: Image.Image) -> EncodedImage:
        known = self._encoded.pop(id(image), None)  # kept with the image, so no other one gets its id
        known = known or (image, self.engine.encode_images([image])[0])
        self._encoded[id(image)] = known
        if len(self._encoded) > KEPT_IMAGES:
            self._encoded.popitem(last=False)
        return known[1]


def answer_all(
    viewer: Viewer, variants: Mapping[str, Sequence[View]], batch_size: int, words: Words = "none"
) -> dict[str, list[Answer]]:
    """Return the answers to several variants of the same cases, batch by batch.

    The k-th views of all variants are one case. Every variant's batches are made up alike, so that a model which does
    not read what varies answers the same to the last digit.
    """
    found: dict[str, list[Answer]] = {name: [] for name in variants}
    for first in range(0, max(map(len, variants.values()), default=0), batch_size):
        for name, views in variants.items():
            found[name] += viewer.answer(views[first : first + batch_size], words)
    return found
