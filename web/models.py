"""What a tab needs of the models that the page has loaded; it does not know where they come from."""

from collections.abc import Callable, Generator, Hashable, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Protocol

from PIL import Image

from gazevlm_core.options import DEFAULT_QUESTION, DiagnoseOptions
from gazevlm_core.records import Diagnosis

if TYPE_CHECKING:
    from gazevlm_core.datasets.trained_on import TrainedOn

PLUS = " + "  # between a model and its adapter, in the names of what answers
# Name of what answers ("" is the usual one), image, question, how to answer; the first record comes before any word.
Ask = Callable[[str, Image.Image, str, DiagnoseOptions], Generator[Diagnosis, None, None]]


class GazeFacts(Protocol):
    """What is known of a model's gaze."""

    @property
    def gaze_trained(self) -> bool:
        """Whether its paths mean something."""

    @property
    def trained_on(self) -> str:
        """In words; "" where it saw nothing of ours."""


class Model(Protocol):
    """Something that predicts a path."""

    @property
    def gaze(self) -> GazeFacts:
        """What is known of its gaze."""

    @property
    def stamp(self) -> Hashable:
        """Of its weights: another one once an adapter of that name was trained anew. Predictions are kept by it."""

    @property
    def learned(self) -> "Sequence[TrainedOn | None]":
        """Whom and what it was trained on; None for a part of it that does not tell."""


class Models(Protocol):
    """All models, by the names that `Ask` takes."""

    def choices(self) -> Mapping[str, Model]:
        """Return what there is now, never nothing; the first is chosen unless another is asked for."""


def predict_path(ask: Ask, name: str, image: Image.Image) -> Diagnosis:
    """Return a model's path with the settings that a page begins with; no word is written.

    Raises:
        ValueError: no such model, or the image's shape is beyond it.
    """
    with closing(ask(name, image, DEFAULT_QUESTION, DiagnoseOptions())) as records:
        return next(records)
