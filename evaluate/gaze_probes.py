"""How far the words of a model lean on its gaze tokens.

    python -m evaluate.gaze_probes --model gazevlm-nano --n 200

The loss of true reports while a part of the prompt is hidden from them. Hidden tokens are masked for everything
that comes after them; positions stay as they are. The gaze tokens come after the image, so hiding them leaves the
image's states untouched. Beside it: as many image tokens, drawn at random, and all of them.
"""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from gazevlm_core.evaluation.report import Score
from gazevlm_core.metrics.intervals import RESAMPLES, bootstrap_counts, mean_estimate
from phantoms.dataset import PhantomCase, sample_of

if TYPE_CHECKING:
    import torch

    from gazevlm_core.inference import GazeEngine

NOTHING, GAZE, SOME_IMAGE, IMAGE = "nothing", "gaze tokens", "as many image tokens", "all image tokens"
HIDDEN = (NOTHING, GAZE, SOME_IMAGE, IMAGE)
BATCH = 8
FIRST_SEED = 900_000  # below those of training


def report_losses(engine: "GazeEngine", cases: Sequence[PhantomCase], seed: int = 0) -> dict[str, np.ndarray]:
    """Mean loss (nats per token) of each image's true report, float64 [N], for each of HIDDEN.

    Raises:
        ValueError: a model whose prompts hold no gaze tokens.
    """
    rng = np.random.default_rng(seed)
    found: dict[str, list[float]] = {name: [] for name in HIDDEN}
    for start in range(0, len(cases), BATCH):
        losses = _batch_losses(engine, cases[start : start + BATCH], rng)
        for name in HIDDEN:
            found[name] += losses[name]
    return {name: np.array(values) for name, values in found.items()}


def _batch_losses(
    engine: "GazeEngine", cases: Sequence[PhantomCase], rng: np.random.Generator
) -> Mapping[str, list[float]]:
    import torch

    from gazevlm_core.training.collator import GazeCollator

    model = engine.model
    collate = GazeCollator(engine.processor, model.config.gaze_config, use_gaze=False)
    batch = collate([sample_of(case) for case in cases])
    batch = {name: tensor.to(model.device) for name, tensor in batch.items() if name != "finding_labels"}
    ids, mask, labels = batch["input_ids"], batch["attention_mask"], batch.pop("labels")
    places = model.positions(ids, mask, batch["mm_token_type_ids"], batch["image_grid_thw"])
    is_gaze, is_image = ids == model.config.gaze_token_id, ids == model.config.image_token_id
    if not is_gaze.any():
        raise ValueError("this model's prompts hold no gaze tokens")
    hidden = {
        NOTHING: torch.zeros_like(is_gaze),
        GAZE: is_gaze,
        SOME_IMAGE: _some(is_image, int(is_gaze[0].sum()), rng),
        IMAGE: is_image,
    }
    losses = {}
    with torch.no_grad():
        for name, away in hidden.items():
            logits = model(**{**batch, "attention_mask": mask * ~away}, position_ids=places).logits
            losses[name] = _mean_losses(logits, labels)
    return losses


def _some(among: "torch.Tensor", number: int, rng: np.random.Generator) -> "torch.Tensor":
    """As many places of each row, drawn among those that are true; bool [B, L]."""
    import torch

    chosen = torch.zeros_like(among)
    for row, there in enumerate(among):
        places = there.nonzero()[:, 0].tolist()
        chosen[row, rng.choice(places, number, replace=False)] = True
    return chosen


def _mean_losses(logits: "torch.Tensor", labels: "torch.Tensor") -> list[float]:
    from torch.nn.functional import cross_entropy

    losses = cross_entropy(logits[:, :-1].transpose(1, 2).float(), labels[:, 1:], reduction="none")  # 0 where ignored
    words = (labels[:, 1:] != -100).sum(dim=1)
    means: list[float] = (losses.sum(dim=1) / words).tolist()
    return means


def word_reliance(engine: "GazeEngine", cases: Sequence[PhantomCase], seed: int = 0) -> dict[str, Any]:
    """Losses, and what hiding each part adds, with intervals by image, as JSON values."""
    losses = report_losses(engine, cases, seed)
    counts = bootstrap_counts(len(cases), RESAMPLES, seed)
    own = mean_estimate(losses[NOTHING], counts)
    added = {}
    for name in HIDDEN[1:]:
        added[name] = Score.of(mean_estimate(losses[name] - losses[NOTHING], counts)).to_values()
    return {"images": len(cases), "loss": Score.of(own).to_values(), "added_when_hidden": added}


def main(
    model: Annotated[str, typer.Option(help="Checkpoint.")] = "gazevlm-nano",
    n: Annotated[int, typer.Option(help="Phantoms.", min=2)] = 200,
) -> None:
    """Print the losses as JSON."""
    from gazevlm_core.inference import GazeEngine
    from gazevlm_core.quiet import quiet_libraries
    from phantoms.dataset import draw_case

    quiet_libraries()
    cases = [draw_case(FIRST_SEED + number) for number in range(n)]
    typer.echo(json.dumps({"model": model, **word_reliance(GazeEngine.load(model), cases)}, indent=1))


if __name__ == "__main__":
    typer.run(main)
