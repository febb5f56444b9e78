"""Findings, paths and losses of a model on many images, without generating text: of the base once, of the adapter at
every scoring.

The processes of a run share the images. Only what is needed is computed: paths of images that somebody read, losses of
what is known, and for probabilities nothing but them.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from finetune.examples import AdaptCollator
from finetune.features import DEFAULT_BATCHING, Batching, FeatureStore, at_rest, encoded_cases
from gazevlm_core.geometry import PatchGrid
from gazevlm_core.inference import GazeEngine
from gazevlm_core.model.losses import count_supervision
from gazevlm_core.options import DEFAULT_QUESTION, GlimpseShares
from gazevlm_core.sample import Sample
from gazevlm_core.scanpath import Fixation, Scanpath
from gazevlm_core.training import LOSS_NAMES

OWN_PLACES = GlimpseShares(readers=0.0, own=1.0, random=0.0)
Counted = dict[str, tuple[float, float]]  # name of a loss -> its sum over a batch, and over how many


@dataclass(frozen=True)
class Aims:
    """Targets of gaze losses; those of two models compare where they are the same.

    Args:
        steps: K; fixations beyond it are left out.
        stops: whether the end of a path is a step of its own.
        sigma_patches: width of the targets.
        repeats: whether consecutive fixations in one patch are steps of their own.
    """

    steps: int
    stops: bool
    sigma_patches: float
    repeats: bool = True


@dataclass(frozen=True, eq=False)
class Prediction:
    """Findings and path of one image.

    Args:
        finding_probabilities: by finding.
        scanpath: the path to show; None where nobody read the image, or the gaze is untrained.
        grid: merged.
        places: of its glimpses; none of a model without.
    """

    finding_probabilities: dict[str, float]
    scanpath: Scanpath | None
    grid: PatchGrid
    places: tuple[Fixation, ...] = ()

    @property
    def gaze_trained(self) -> bool:
        """Whether there is a path."""
        return self.scanpath is not None


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions of all images, and the mean losses.

    Args:
        diagnoses: one per image.
        losses: name of a loss -> mean over what is known of the images, in nats; empty where nothing is.
        aims: what its gaze losses are of.
    """

    diagnoses: tuple[Prediction, ...]
    losses: dict[str, float]
    aims: Aims

    def probabilities(self) -> list[dict[str, float]]:
        """Return finding -> probability, per image."""
        return [dict(diagnosis.finding_probabilities) for diagnosis in self.diagnoses]


def predict_cases(
    engine: GazeEngine, cases: Sequence[Sample], store: FeatureStore | None, batching: Batching = DEFAULT_BATCHING
) -> Predictions:
    """Predict findings and paths, and compute losses; training goes on afterwards as if nothing had happened.

    Args:
        engine: the model as it is now.
        store: image tokens that stand for the vision tower; None runs it.
        batching: how many images at once, and who shares them.
    """

    def predict(some: list[Sample]) -> list[Prediction]:
        images = encoded_cases(some, engine, store)
        read = [row for row, case in enumerate(some) if case.readings]
        prefilled, paths = engine.prefill_with_paths(images, [DEFAULT_QUESTION] * len(some), rows=read)
        return [
            Prediction(
                findings, paths[row].scanpath if row in read and row in paths else None, images[row].grid,
                tuple(paths[row].glimpsed_places) if row in paths else (),
            )
            for row, findings in enumerate(engine.findings(prefilled))
        ]  # fmt: skip

    with _untouched(engine):
        found = [one for some in batching.chunks(cases, predict) for one in some]
        gaze = engine.gaze_config
        aims = Aims(gaze.num_gaze_tokens, gaze.stops, gaze.target_sigma_patches, gaze.repeats)
        return Predictions(tuple(found), _losses(engine, cases, [one.places for one in found], store, batching), aims)


def predict_findings(
    engine: GazeEngine, cases: Sequence[Sample], store: FeatureStore | None, batching: Batching = DEFAULT_BATCHING
) -> list[dict[str, float]]:
    """Return finding -> probability, per image, and nothing else; arguments as in `predict_cases`."""

    def predict(some: list[Sample]) -> list[dict[str, float]]:
        images = encoded_cases(some, engine, store)
        prefilled, _ = engine.prefill_with_paths(images, [DEFAULT_QUESTION] * len(some), rows=())
        return engine.findings(prefilled)

    with _untouched(engine):
        return [one for some in batching.chunks(cases, predict) for one in some]


@contextmanager
def _untouched(engine: GazeEngine) -> Iterator[None]:
    devices = [engine.model.device] if engine.model.device.type == "cuda" else []
    with at_rest(engine), torch.random.fork_rng(devices=devices):
        yield


class SeenCollator(AdaptCollator):
    """Cuts glimpses where the model looked, whoever read the image: a reader's places would tell it something that
    nobody tells it in use.

    Args:
        args: as in `AdaptCollator`.
        places: of each sample, by its `id`.
        options: as in `AdaptCollator`.
    """

    def __init__(self, *args: Any, places: Mapping[int, Sequence[Fixation]], **options: Any) -> None:
        super().__init__(*args, shares=OWN_PLACES, **options)
        self._places = places

    def _own_places(self, samples: Sequence[Sample], *_: Any) -> list[list[Fixation]]:
        return [list(self._places[id(sample)]) for sample in samples]


@torch.no_grad()
def _losses(
    engine: GazeEngine, cases: Sequence[Sample], places: Sequence[Sequence[Fixation]], store: FeatureStore | None,
    batching: Batching,
) -> dict[str, float]:  # fmt: skip
    """Return the mean of each loss over all that is known, whatever the batch size; none of a part that was
    never trained, and none at all without trained gaze tokens.

    Args:
        places: of the glimpses of each image.
    """
    gaze = engine.gaze_config
    if not (gaze.gaze_trained or gaze.findings_trained):
        return {}
    by_case = {id(case): own for case, own in zip(cases, places, strict=True)}
    collate = SeenCollator(engine.processor, gaze, store=store, model=engine.model, places=by_case)
    trained = {  # what is shown of held-out images; the finding loss is that of the probabilities, see `held_out`
        "gaze_loss": gaze.gaze_trained, "text_loss": True, "dwell_loss": gaze.dwell_trained,
    }  # fmt: skip

    def predict(some: list[Sample]) -> Counted:
        batch = collate(some)
        losses = engine.model(**{name: value.to(engine.model.device) for name, value in batch.items()})
        found: Counted = {}
        for name, count in zip(LOSS_NAMES, count_supervision(batch, stops=gaze.stops), strict=True):
            if count is not None and count > 0 and trained.get(name):
                found[name] = (float(count) * float(getattr(losses, name)), float(count))
        return found

    gaze_known = gaze.gaze_trained or gaze.dwell_trained
    known = [case for case in cases if case.report or (gaze_known and case.readings)]
    found = batching.chunks(known, predict)
    means = {}
    for name in LOSS_NAMES:
        parts = [one[name] for one in found if name in one]
        if parts:
            means[name] = sum(total for total, _ in parts) / sum(count for _, count in parts)
    return means
