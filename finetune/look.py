"""What a model as it is now says of many images, before any word: of the base once, of the adapter at every scoring.

The processes of a run share the images. Only what is asked for is computed: paths of images that somebody read, losses
of what is known, and where probabilities are wanted nothing but them.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from finetune.examples import AdaptCollator
from finetune.features import USUAL_PACE, FeatureStore, Pace, at_rest, encoded_cases
from gazevlm_core.geometry import PatchGrid
from gazevlm_core.inference import GazeEngine
from gazevlm_core.model.losses import count_supervision
from gazevlm_core.options import DEFAULT_QUESTION, DiagnoseOptions
from gazevlm_core.sample import Sample
from gazevlm_core.scanpath import Scanpath

COUNTED = ("gaze_loss", "text_loss", "finding_loss", "dwell_loss")  # in the order of LossCounts
Counted = dict[str, tuple[float, float]]  # name of a loss -> its sum over a batch, and over how many


@dataclass(frozen=True)
class Aims:
    """What gaze losses are of; those of two models compare where it is the same.

    Args:
        steps: K; fixations beyond it are not asked for.
        stops: whether the end of a path is a step of its own.
        sigma_patches: width of the targets.
    """

    steps: int
    stops: bool
    sigma_patches: float


@dataclass(frozen=True, eq=False)
class Said:
    """What a model says of one image.

    Args:
        finding_probabilities: by finding.
        scanpath: the path to show; None where nobody read the image, or the gaze is untrained.
        grid: merged.
    """

    finding_probabilities: dict[str, float]
    scanpath: Scanpath | None
    grid: PatchGrid

    @property
    def gaze_trained(self) -> bool:
        """Whether there is a path."""
        return self.scanpath is not None


@dataclass(frozen=True, eq=False)
class Looked:
    """What a model says of the images, before any word.

    Args:
        diagnoses: one per image.
        losses: name of a loss -> mean over what is known of the images, in nats; empty where nothing is.
        aims: what its gaze losses are of.
    """

    diagnoses: tuple[Said, ...]
    losses: dict[str, float]
    aims: Aims

    def probabilities(self) -> list[dict[str, float]]:
        """Finding -> probability, per image."""
        return [dict(diagnosis.finding_probabilities) for diagnosis in self.diagnoses]


def look_at(
    engine: GazeEngine, cases: Sequence[Sample], store: FeatureStore | None, pace: Pace = USUAL_PACE
) -> Looked:
    """Ask a model about images; nothing of its training is touched, not even the state of chance.

    Args:
        engine: the model as it is now.
        cases: the images.
        store: image tokens that stand for the vision tower; None runs it.
        pace: how many images at once, and who shares them.
    """

    def ask(some: list[Sample]) -> list[Said]:
        images = encoded_cases(some, engine, store)
        prefilled = engine.prefill(images, [DEFAULT_QUESTION] * len(some))
        read = [row for row, case in enumerate(some) if case.readings]
        paths = engine.paths(prefilled, images, DiagnoseOptions(), read)
        return [
            Said(findings, paths[row][0] if row in paths else None, images[row].grid)
            for row, findings in enumerate(engine.findings(prefilled))
        ]

    with _untouched(engine):
        said = [one for some in pace.chunks(cases, ask) for one in some]
        gaze = engine.gaze_config
        aims = Aims(gaze.num_gaze_tokens, gaze.stops, gaze.target_sigma_patches)
        return Looked(tuple(said), _losses(engine, cases, store, pace), aims)


def tell_findings(
    engine: GazeEngine, cases: Sequence[Sample], store: FeatureStore | None, pace: Pace = USUAL_PACE
) -> list[dict[str, float]]:
    """Finding -> probability, per image, and nothing else; arguments as in `look_at`."""

    def ask(some: list[Sample]) -> list[dict[str, float]]:
        return engine.findings(engine.prefill(encoded_cases(some, engine, store), [DEFAULT_QUESTION] * len(some)))

    with _untouched(engine):
        return [one for some in pace.chunks(cases, ask) for one in some]


@contextmanager
def _untouched(engine: GazeEngine) -> Iterator[None]:
    devices = [engine.model.device] if engine.model.device.type == "cuda" else []
    with at_rest(engine), torch.random.fork_rng(devices=devices):
        yield


@torch.no_grad()
def _losses(engine: GazeEngine, cases: Sequence[Sample], store: FeatureStore | None, pace: Pace) -> dict[str, float]:
    """Mean of each loss over all that is known, however many images are looked at at once; none of a part that was
    never trained, and none at all without trained gaze tokens."""
    gaze = engine.gaze_config
    if not (gaze.gaze_trained or gaze.findings_trained):
        return {}
    collate = AdaptCollator(engine.processor, gaze, store=store)
    trained = {  # the finding loss is that of the probabilities, see `held_out`: heads have other findings
        "gaze_loss": gaze.gaze_trained, "text_loss": True, "finding_loss": False, "dwell_loss": gaze.dwell_trained,
    }  # fmt: skip

    def ask(some: list[Sample]) -> Counted:
        batch = collate(some)
        losses = engine.model(**{name: value.to(engine.model.device) for name, value in batch.items()})
        found: Counted = {}
        for name, count in zip(COUNTED, count_supervision(batch, stops=gaze.stops), strict=True):
            if count is not None and count > 0 and trained[name]:
                found[name] = (float(count) * float(getattr(losses, name)), float(count))
        return found

    gaze_known = gaze.gaze_trained or gaze.dwell_trained
    known = [case for case in cases if case.report or (gaze_known and case.readings)]
    found = pace.chunks(known, ask)
    means = {}
    for name in COUNTED:
        parts = [one[name] for one in found if name in one]
        if parts:
            means[name] = sum(total for total, _ in parts) / sum(count for _, count in parts)
    return means
