"""Trains the embedded checkpoint from nothing on phantoms: `python -m phantoms.nano`.

First, variants are trained alike, on the same examples in the same order: ordered gaze with glimpses, the same without
glimpses, one without gaze supervision, the plain placeholder form, and one that sees the whole image as finely as
glimpses are. The one that ships goes on from the first of them for longer. Each is quantised to NF4. Everything is
resumable: the shards of phantoms and the training go on where they stopped, and what is finished is not done again.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from gazevlm_core.findings import FINDING_NAMES

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from gazevlm_core.model.configuration_gazevlm import GazeConfig
    from gazevlm_core.model.modeling_gazevlm import GazeVLM
    from gazevlm_core.model.processing_gazevlm import GazeVLMProcessor
    from gazevlm_core.sample import Sample
    from phantoms.dataset import PhantomCase

RUNS_FOLDER = Path("runs/nano")
SHARDS_FOLDER = Path(".cache/phantoms")
MODELS_FOLDER = Path("models")
REFERENCE_IMAGES = 3_000  # training images whose features are the reference of `ood_score`


class Variant(StrEnum):
    """What is trained: RELEASE goes on from ORDERED, the others begin from nothing."""

    ORDERED = "ordered"
    RELEASE = "release"
    NO_GLIMPSES = "no-glimpses"
    NO_GAZE = "no-gaze"
    PLAIN = "plain"
    FINE = "fine"


MODEL_NAMES: dict[Variant, str] = {
    Variant.RELEASE: "gazevlm-nano",
    Variant.ORDERED: "gazevlm-nano-short",
    Variant.NO_GLIMPSES: "gazevlm-nano-no-glimpses",
    Variant.NO_GAZE: "gazevlm-nano-no-gaze",
    Variant.PLAIN: "gazevlm-nano-plain",
    Variant.FINE: "gazevlm-nano-fine",
}


@dataclass(frozen=True)
class Recipe:
    """Hyper-parameters of the embedded checkpoint and its twins; the model card prints them.

    The release goes on from the ordered variant with a warm-up, an optimizer and examples of its own.
    """

    images: int = 4_000  # of each of `domains`
    domains: tuple[str, ...] = ("A", "R")
    sizes_px: tuple[int, ...] = (512,)  # twice as fine as the model's small image, for glimpses
    examples: int = 48_000  # shuffled once; their order does not depend on the number of steps
    steps: int = 1_300
    decay_steps: int = 300
    presence_share: float = 0.4  # of the examples ask whether one finding is there
    release_steps: int = 1_500
    release_decay_steps: int = 400
    release_presence_share: float = 0.5
    batch_size: int = 32
    learning_rate: float = 1e-3
    warmup_steps: int = 100
    weight_decay: float = 0.05
    finding_weight: float = 3.0  # of the mean over the findings, which is small beside the other losses
    local_weight: float = 3.0
    gaze_tokens: int = 24  # half of the radiologists' readings of SIIM are whole in so many steps
    glimpses: int = 6
    glimpse_shares: tuple[float, float, float] = (0.4, 0.3, 0.3)  # readers, own path, random
    seed: int = 7


@dataclass(frozen=True)
class Schedule:
    """How long one variant is trained, and on which questions."""

    steps: int
    decay_steps: int
    presence_share: float
    seed: int


def schedule_of(variant: Variant, recipe: Recipe) -> Schedule:
    """Schedule of a variant: the same for all but the release."""
    if variant is Variant.RELEASE:
        return Schedule(
            recipe.release_steps, recipe.release_decay_steps, recipe.release_presence_share, recipe.seed + 1
        )
    return Schedule(recipe.steps, recipe.decay_steps, recipe.presence_share, recipe.seed)


def gaze_config_of(variant: Variant, recipe: Recipe) -> "GazeConfig":
    """Gaze configuration of a variant, marked with what it was trained on."""
    from gazevlm_core.findings import QUESTIONS, presence_question
    from gazevlm_core.model.configuration_gazevlm import GazeConfig

    gaze = variant is not Variant.NO_GAZE
    return GazeConfig(
        num_gaze_tokens=recipe.gaze_tokens,
        repeats=False,
        use_offsets=gaze,
        num_glimpses=recipe.glimpses if variant in (Variant.ORDERED, Variant.RELEASE) else 0,
        local_weight=recipe.local_weight,
        finding_names=FINDING_NAMES,
        pointer_dim=96,
        use_previous_patch=variant is not Variant.PLAIN,
        gaze_trained=gaze,
        findings_trained=True,
        dwell_trained=gaze,
        finding_weight=recipe.finding_weight,
        trained_on="drawn phantom chest radiographs with simulated readers",
        known_questions=(*QUESTIONS, *map(presence_question, FINDING_NAMES)),
    )


def main(
    draw_only: Annotated[bool, typer.Option("--draw-only", help="Draw the phantoms and stop.")] = False,
    scale: Annotated[float, typer.Option(help="Multiplies images and steps, for a quick try.", min=0.01)] = 1.0,
    runs: Annotated[Path, typer.Option(help="Folder for training runs.")] = RUNS_FOLDER,
    shards: Annotated[Path, typer.Option(help="Folder for drawn phantoms.")] = SHARDS_FOLDER,
    models: Annotated[Path, typer.Option(help="Folder for the quantised checkpoints.")] = MODELS_FOLDER,
) -> None:
    """Draw, train all variants and quantise; what is finished is not done again."""
    from gazevlm_core.model.checkpoint import save_quantised
    from phantoms.dataset import SHARD_CASES, TRAINING_SEEDS, PhantomShards
    from phantoms.nano_parts import IMAGE_PIXELS, SMALLEST_IMAGE_PIXELS
    from phantoms.reference_features import held_out_cases, store_ood_reference

    full = Recipe()
    recipe = replace(
        full,
        images=max(1, round(full.images * scale / SHARD_CASES)) * SHARD_CASES,
        steps=max(1, round(full.steps * scale)),
        decay_steps=round(full.decay_steps * scale),
        release_steps=max(1, round(full.release_steps * scale)),
        release_decay_steps=round(full.release_decay_steps * scale),
    )
    bounds = (4 * SMALLEST_IMAGE_PIXELS, 4 * IMAGE_PIXELS)
    cases: list[PhantomCase] = []
    for number, domain in enumerate(recipe.domains):
        seeds = TRAINING_SEEDS[number * recipe.images : (number + 1) * recipe.images]
        pool = PhantomShards(
            shards / domain, seeds, domain=domain, sizes_px=recipe.sizes_px, model_pixels=bounds
        )
        pool.make()
        cases += [] if draw_only else pool.load()
    if draw_only:
        return
    for variant in Variant:
        final = train(variant, recipe, cases, runs)
        save_quantised(final, models / MODEL_NAMES[variant])
        typer.echo(f"{variant.value}: quantised to {models / MODEL_NAMES[variant]}")
    released = models / MODEL_NAMES[Variant.RELEASE]
    spread = cases[:: max(1, len(cases) // REFERENCE_IMAGES)]
    limit = store_ood_reference(released, spread, held_out_cases(recipe.sizes_px, recipe.domains))
    typer.echo(f"{released}: images are in distribution up to a distance of {limit:.2f}")


def train(variant: Variant, recipe: Recipe, cases: list["PhantomCase"], runs: Path) -> Path:
    """Train one variant unless it is finished.

    Args:
        variant: what is supervised.
        recipe: hyper-parameters.
        cases: in memory.
        runs: checkpoints go below RUNS/VARIANT.

    Returns:
        Folder of the full-precision result.
    """
    from transformers import set_seed
    from transformers.trainer_utils import get_last_checkpoint

    from gazevlm_core.options import GlimpseShares
    from gazevlm_core.training.collator import GazeCollator
    from gazevlm_core.training.trainer import GazeTrainer
    from phantoms.nano_parts import quick_products

    folder = runs / variant.value
    final = folder / "final"
    if final.exists():
        return final
    schedule = schedule_of(variant, recipe)
    set_seed(schedule.seed)
    model, processor = _begin(variant, recipe, cases, runs)
    config = model.config.gaze_config
    trainer = GazeTrainer(
        model=model,
        args=_arguments(recipe, schedule, folder),
        train_dataset=CaseExamples(cases, recipe.examples, schedule),
        data_collator=GazeCollator(
            processor, config, use_gaze=config.gaze_trained, shares=GlimpseShares(*recipe.glimpse_shares), model=model
        ),
    )
    folder.mkdir(parents=True, exist_ok=True)
    with quick_products():
        trainer.train(resume_from_checkpoint=get_last_checkpoint(str(folder)))
    partial = folder / "final.partial"
    model.save_pretrained(partial)
    processor.save_pretrained(partial)
    partial.rename(final)
    return final


def _begin(
    variant: Variant, recipe: Recipe, cases: list["PhantomCase"], runs: Path
) -> tuple["GazeVLM", "GazeVLMProcessor"]:
    """Fresh weights; for the release, those of the ordered variant."""
    from gazevlm_core.model.modeling_gazevlm import GazeVLM
    from gazevlm_core.model.processing_gazevlm import GazeVLMProcessor
    from phantoms.nano_parts import nano_model, nano_processor, quick_patch_embedding, train_tokenizer

    if variant is Variant.RELEASE:
        start = runs / Variant.ORDERED.value / "final"
        model, processor = GazeVLM.from_pretrained(start), GazeVLMProcessor.from_pretrained(start)
    else:
        processor = nano_processor(train_tokenizer(_texts(cases)), finer=2 if variant is Variant.FINE else 1)
        model = nano_model(processor, gaze_config_of(variant, recipe))
    quick_patch_embedding(model)
    return model, processor


def _arguments(recipe: Recipe, schedule: Schedule, folder: Path) -> "TrainingArguments":
    import torch
    from transformers import TrainingArguments

    return TrainingArguments(
        output_dir=str(folder),
        max_steps=schedule.steps,
        per_device_train_batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="warmup_stable_decay",  # so that a run can be made longer and resumed
        lr_scheduler_kwargs={"num_decay_steps": schedule.decay_steps, "min_lr_ratio": 0.01},
        warmup_steps=recipe.warmup_steps,
        weight_decay=recipe.weight_decay,
        adam_beta2=0.98,
        logging_steps=25,
        save_steps=50,
        save_total_limit=1,
        seed=schedule.seed,
        remove_unused_columns=False,
        label_names=["labels"],
        report_to="none",
        use_cpu=not torch.cuda.is_available(),
        disable_tqdm=True,
    )


class CaseExamples:
    """A map-style data set of `length` examples: the cases in turn, each time with another question."""

    def __init__(self, cases: list["PhantomCase"], length: int, schedule: Schedule) -> None:
        self.cases, self.length, self.schedule = cases, length, schedule

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> "Sample":
        from phantoms.dataset import training_sample

        rng = np.random.default_rng([self.schedule.seed, index])
        return training_sample(self.cases[index % len(self.cases)], rng, self.schedule.presence_share)


def _texts(cases: list["PhantomCase"]) -> list[str]:
    from gazevlm_core.findings import QUESTIONS, presence_question

    texts = [text for case in cases[:4000] for text in (*case.reports, *case.presence_answers.values())]
    return texts + [*QUESTIONS, *map(presence_question, FINDING_NAMES)] * 200


if __name__ == "__main__":
    typer.run(main)
