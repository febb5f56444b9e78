"""Trains the embedded checkpoint from nothing on phantoms: `python -m gazevlm_core.training.nano`.

Stages: draw the phantoms; a trunk that learns findings and words; from the trunk, trained alike, the variant that ships
(ordered gaze), a twin without gaze supervision and the plain placeholder form; each quantised to NF4. Everything is
resumable: shards, the training itself and the stages go on where they stopped.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from gazevlm_core.phantom.truth import FINDING_NAMES

if TYPE_CHECKING:
    from gazevlm_core.datasets.example import Example
    from gazevlm_core.datasets.phantom import PhantomCase
    from gazevlm_core.model.config import GazeConfig
    from gazevlm_core.model.gaze_model import GazeVLM

RUNS_FOLDER = Path("runs/nano")
SHARDS_FOLDER = Path(".cache/phantoms")
MODELS_FOLDER = Path("models")


class Stage(StrEnum):
    """The trunk, and the three variants that go on from it."""

    TRUNK = "trunk"
    ORDERED = "ordered"
    NO_GAZE = "no-gaze"
    PLAIN = "plain"


VARIANTS: dict[Stage, str] = {
    Stage.ORDERED: "gazevlm-nano",
    Stage.NO_GAZE: "gazevlm-nano-no-gaze",
    Stage.PLAIN: "gazevlm-nano-plain",
}


@dataclass(frozen=True)
class Recipe:
    """Hyper-parameters of the embedded checkpoint; the model card prints them."""

    images: int = 14_000
    sizes_px: tuple[int, ...] = (512, 256, 256, 256, 256)
    trunk_steps: int = 1_400
    variant_steps: int = 1_200
    batch_size: int = 32
    learning_rate: float = 1e-3
    warmup_steps: int = 100
    weight_decay: float = 0.05
    seed: int = 7


def gaze_config_of(stage: Stage) -> "GazeConfig":
    """Gaze configuration of a stage, marked with what it was trained on."""
    from gazevlm_core.model.config import GazeConfig

    gaze = stage in (Stage.ORDERED, Stage.PLAIN)
    return GazeConfig(
        num_gaze_tokens=12,
        finding_names=FINDING_NAMES,
        pointer_dim=96,
        use_previous_patch=stage is not Stage.PLAIN,
        gaze_trained=gaze,
        findings_trained=True,
        dwell_trained=gaze,
        trained_on="drawn phantom chest radiographs with simulated readers",
    )


def main(
    draw_only: Annotated[bool, typer.Option("--draw-only", help="Draw the phantoms and stop.")] = False,
    scale: Annotated[float, typer.Option(help="Multiplies images and steps, for a quick try.", min=0.01)] = 1.0,
    runs: Annotated[Path, typer.Option(help="Folder for training runs.")] = RUNS_FOLDER,
    shards: Annotated[Path, typer.Option(help="Folder for drawn phantoms.")] = SHARDS_FOLDER,
    models: Annotated[Path, typer.Option(help="Folder for the quantised checkpoints.")] = MODELS_FOLDER,
) -> None:
    """Draw, train all stages and quantise; what is finished is not done again."""
    from gazevlm_core.datasets.phantom import SHARD_CASES, TRAINING_SEEDS, PhantomShards
    from gazevlm_core.model.checkpoint import save_quantised
    from gazevlm_core.training.nano_parts import IMAGE_PIXELS, SMALLEST_IMAGE_PIXELS

    whole = Recipe()
    recipe = replace(
        whole,
        images=max(1, round(whole.images * scale / SHARD_CASES)) * SHARD_CASES,
        trunk_steps=max(1, round(whole.trunk_steps * scale)),
        variant_steps=max(1, round(whole.variant_steps * scale)),
    )
    seeds = TRAINING_SEEDS[: recipe.images]
    bounds = (SMALLEST_IMAGE_PIXELS, IMAGE_PIXELS)
    pool = PhantomShards(shards, seeds, sizes_px=recipe.sizes_px, model_pixels=bounds)
    pool.make()
    if draw_only:
        return
    cases = pool.load()
    for stage in Stage:
        final = train(stage, recipe, cases, runs)
        if stage in VARIANTS:
            save_quantised(final, models / VARIANTS[stage])
            typer.echo(f"{stage.value}: quantised to {models / VARIANTS[stage]}")


def train(stage: Stage, recipe: Recipe, cases: list["PhantomCase"], runs: Path) -> Path:
    """Train one stage unless it is finished.

    Args:
        stage: the variants need the finished trunk.
        recipe: hyper-parameters.
        cases: in memory.
        runs: checkpoints go below RUNS/STAGE.

    Returns:
        Folder of the full-precision result.
    """
    import torch
    from transformers import set_seed
    from transformers.trainer_utils import get_last_checkpoint

    from gazevlm_core.training.collator import GazeCollator
    from gazevlm_core.training.nano_parts import nano_model, nano_processor, train_tokenizer
    from gazevlm_core.training.trainer import GazeTrainer

    folder = runs / stage.value
    final = folder / "final"
    if final.exists():
        return final
    torch.set_float32_matmul_precision("medium")  # bf16 products with fp32 sums where the CPU has them, else fp32
    set_seed(recipe.seed)
    processor, config = nano_processor(train_tokenizer(_texts(cases))), gaze_config_of(stage)
    model = nano_model(processor, config)
    if stage is not Stage.TRUNK:
        _take_trunk(model, runs / Stage.TRUNK.value / "final")
    model.set_attn_implementation("eager")  # at these sizes faster to train on a CPU than the fused kernel
    steps = recipe.trunk_steps if stage is Stage.TRUNK else recipe.variant_steps
    first = 0 if stage is Stage.TRUNK else recipe.trunk_steps * recipe.batch_size
    trainer = GazeTrainer(
        model=model,
        args=_arguments(stage, recipe, steps, folder),
        train_dataset=CaseExamples(cases, first, steps * recipe.batch_size, recipe.seed),
        data_collator=GazeCollator(processor, config, use_gaze=config.gaze_trained),
    )
    folder.mkdir(parents=True, exist_ok=True)
    trainer.train(resume_from_checkpoint=get_last_checkpoint(str(folder)))
    model.set_attn_implementation("sdpa")
    partial = folder / "final.partial"
    model.save_pretrained(partial)
    processor.save_pretrained(partial)
    partial.rename(final)
    return final


def _arguments(stage: Stage, recipe: Recipe, steps: int, folder: Path) -> Any:
    import torch
    from transformers import TrainingArguments

    return TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="constant_with_warmup" if stage is Stage.TRUNK else "cosine",
        warmup_steps=recipe.warmup_steps,
        weight_decay=recipe.weight_decay,
        adam_beta2=0.98,
        logging_steps=25,
        save_steps=200,
        save_total_limit=1,
        seed=recipe.seed,
        remove_unused_columns=False,
        label_names=["labels"],
        report_to="none",
        use_cpu=not torch.cuda.is_available(),
        disable_tqdm=True,
    )


def _take_trunk(model: "GazeVLM", folder: Path) -> None:
    """Start from the trunk; what a variant adds (its pointer) stays fresh."""
    from gazevlm_core.model.gaze_model import GazeVLM

    trunk = GazeVLM.from_pretrained(folder).state_dict()
    known = {name: tensor for name, tensor in trunk.items() if not name.startswith("gaze_heads.")}
    known |= {name: tensor for name, tensor in trunk.items() if name.startswith("gaze_heads.finding.")}
    missing, unexpected = model.load_state_dict(known, strict=False)
    if unexpected or any(not name.startswith("gaze_heads.") for name in missing):
        raise ValueError(f"the trunk in {folder} does not fit; remove it to train anew")


class CaseExamples:
    """A map-style data set of `length` examples from number `first` on: the cases in turn, each time asked anew."""

    def __init__(self, cases: list["PhantomCase"], first: int, length: int, seed: int) -> None:
        self.cases, self.first, self.length, self.seed = cases, first, length, seed

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> "Example":
        from gazevlm_core.datasets.phantom import example_of

        number = self.first + index
        return example_of(self.cases[number % len(self.cases)], np.random.default_rng([self.seed, number]))


def _texts(cases: list["PhantomCase"]) -> list[str]:
    from gazevlm_core.phantom.report import QUESTIONS, presence_question

    texts = [text for case in cases[:4000] for text in (*case.reports, *case.presence_answers.values())]
    return texts + [*QUESTIONS, *map(presence_question, FINDING_NAMES)] * 200


if __name__ == "__main__":
    typer.run(main)
