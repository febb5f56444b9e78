"""What a model as it is now says of many images, before any word: of the base once, of the adapter at every scoring."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from finetune.cases import Case
from finetune.examples import AdaptCollator, held_out_item
from finetune.features import USUAL_PACE, FeatureStore, Pace, at_rest, encoded_cases
from finetune.floors import Aims
from gazevlm_core.inference import GazeEngine
from gazevlm_core.model.losses import count_supervision
from gazevlm_core.options import DEFAULT_QUESTION, DiagnoseOptions
from gazevlm_core.records import Diagnosis

COUNTED = ("gaze_loss", "text_loss", "finding_loss", "dwell_loss")  # in the order of LossCounts


@dataclass(frozen=True, eq=False)
class Looked:
    """What a model says of the images, before any word.

    Args:
        diagnoses: one per image, without an answer.
        losses: name of a loss -> mean over what is known of the images, in nats; empty where none was asked for.
        aims: what its gaze losses are of.
    """

    diagnoses: tuple[Diagnosis, ...]
    losses: dict[str, float]
    aims: Aims

    def probabilities(self) -> list[dict[str, float]]:
        """Finding -> probability, per image."""
        return [dict(diagnosis.finding_probabilities) for diagnosis in self.diagnoses]


def look_at(
    engine: GazeEngine, cases: Sequence[Case], store: FeatureStore | None, pace: Pace = USUAL_PACE
) -> Looked:
    """Ask a model about images; nothing of its training is touched, not even the state of chance.

    Args:
        engine: the model as it is now.
        cases: the images.
        store: image tokens that stand for the vision tower; None runs it.
        pace: how many images at once.
    """
    diagnoses: list[Diagnosis] = []
    with at_rest(engine), torch.random.fork_rng(devices=_devices(engine)):
        for some, images in encoded_cases(cases, engine, store, pace):
            gaze_pass = engine.look(images, [DEFAULT_QUESTION] * len(some))
            diagnoses += [
                engine.describe(gaze_pass, row, image, DiagnoseOptions()) for row, image in enumerate(images)
            ]
        gaze = engine.gaze_config
        aims = Aims(gaze.num_gaze_tokens, gaze.stops, gaze.target_sigma_patches)
        return Looked(tuple(diagnoses), _losses(engine, cases, store, pace), aims)


def _devices(engine: GazeEngine) -> list[torch.device]:
    return [engine.model.device] if engine.model.device.type == "cuda" else []


@torch.no_grad()
def _losses(engine: GazeEngine, cases: Sequence[Case], store: FeatureStore | None, pace: Pace) -> dict[str, float]:
    """Mean of each loss over all that is known, however many images are looked at at once; none of a part that was
    never trained, and none at all without trained gaze tokens."""
    gaze = engine.gaze_config
    if not (gaze.gaze_trained or gaze.findings_trained):
        return {}
    collate = AdaptCollator(engine.processor, gaze, store=store)
    trained = {  # the finding loss is that of the probabilities, see `held_out`: heads have other findings
        "gaze_loss": gaze.gaze_trained, "text_loss": True, "finding_loss": False, "dwell_loss": gaze.dwell_trained,
    }  # fmt: skip
    sums, counts = dict.fromkeys(COUNTED, 0.0), dict.fromkeys(COUNTED, 0.0)
    for some in pace.chunks(cases):
        batch = collate([held_out_item(case) for case in some])
        losses = engine.model(**{name: value.to(engine.model.device) for name, value in batch.items()})
        for name, count in zip(COUNTED, count_supervision(batch, stops=gaze.stops), strict=True):
            if count is not None and count > 0 and trained[name]:
                sums[name] += float(count) * float(getattr(losses, name))
                counts[name] += float(count)
    return {name: sums[name] / count for name, count in counts.items() if count}
