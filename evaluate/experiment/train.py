"""Training one cell from nothing, on phantoms that no other seed sees."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from evaluate.experiment.plan import BASE, Cell, Plan
from gazevlm_core.findings import FINDING_NAMES, QUESTIONS, presence_question
from gazevlm_core.training.gaze_order import GazeOrder, in_order
from phantoms.dataset import TRAINING_SEEDS, PhantomCase, PhantomShards, training_sample

if TYPE_CHECKING:
    from gazevlm_core.inference import GazeEngine
    from gazevlm_core.sample import Sample

FIRST_SEED = TRAINING_SEEDS.start + 500_000  # the embedded checkpoint was trained on those before
SEED_BLOCK = 10_000
SIZE_PX = 256


def training_cases(folder: Path, seed: int, images: int) -> list[PhantomCase]:
    """Phantoms of a run, drawn where they are missing; a smaller number is the beginning of a larger one."""
    from phantoms.dataset import SHARD_CASES
    from phantoms.nano_parts import IMAGE_PIXELS, SMALLEST_IMAGE_PIXELS

    first = FIRST_SEED + seed * SEED_BLOCK
    whole = -(-images // SHARD_CASES) * SHARD_CASES
    bounds = (SMALLEST_IMAGE_PIXELS, IMAGE_PIXELS)
    pool = PhantomShards(folder, range(first, first + whole), sizes_px=(SIZE_PX,), model_pixels=bounds)
    pool.make()
    return pool.load()[:images]


class OrderedExamples:
    """A map-style data set: the cases in turn, asked anew each time, with their gaze in the cell's order."""

    def __init__(self, cases: Sequence[PhantomCase], cell: Cell, plan: Plan) -> None:
        self.cases, self.cell, self.plan = cases, cell, plan

    def __len__(self) -> int:
        return self.plan.steps * self.plan.batch_size

    def __getitem__(self, index: int) -> "Sample":
        place = index % len(self.cases)
        rng = np.random.default_rng([self.cell.seed, index])
        sample = training_sample(self.cases[place], rng, self.plan.presence_share)
        return in_order(sample, self.cell.order, (self.cell.seed, place))


def train_cell(cell: Cell, plan: Plan, shards: Path, scratch: Path) -> "GazeEngine":
    """Train one cell.

    Args:
        cell: what is trained.
        plan: how.
        shards: folder for drawn phantoms.
        scratch: empty folder for the trainer.

    Returns:
        An engine around the trained weights, in full precision.
    """
    import torch
    from transformers import TrainingArguments, set_seed

    from gazevlm_core.inference import GazeEngine
    from gazevlm_core.model.checkpoint import Checkpoint
    from gazevlm_core.model.configuration_gazevlm import GazeConfig
    from gazevlm_core.options import Precision
    from gazevlm_core.training.collator import GazeCollator
    from gazevlm_core.training.trainer import GazeTrainer
    from phantoms.nano_parts import (
        nano_model,
        nano_processor,
        quick_patch_embedding,
        quick_products,
        train_tokenizer,
    )

    cases = training_cases(shards, cell.seed, cell.images)
    set_seed(cell.seed)
    gaze = cell.order is not GazeOrder.NONE
    usual = GazeConfig(
        num_gaze_tokens=12, finding_names=FINDING_NAMES, pointer_dim=96, gaze_trained=gaze, findings_trained=True,
        dwell_trained=gaze, finding_weight=3.0, trained_on=f"{cell.images} drawn phantoms, {cell.order.value} gaze",
        known_questions=(*QUESTIONS, *map(presence_question, FINDING_NAMES)),
    )  # fmt: skip
    config = usual if cell.variant == BASE else replace(usual, **plan.variants[cell.variant])
    processor = nano_processor(train_tokenizer(_texts(cases)))
    model = nano_model(processor, config)
    quick_patch_embedding(model)
    arguments = TrainingArguments(
        output_dir=str(scratch),
        max_steps=plan.steps,
        per_device_train_batch_size=plan.batch_size,
        learning_rate=plan.learning_rate,
        lr_scheduler_type="warmup_stable_decay",
        lr_scheduler_kwargs={"num_decay_steps": plan.decay_steps, "min_lr_ratio": 0.01},
        warmup_steps=plan.warmup_steps,
        weight_decay=0.05,
        adam_beta2=0.98,
        logging_steps=50,
        save_strategy="no",
        seed=cell.seed,
        remove_unused_columns=False,
        label_names=["labels"],
        report_to="none",
        use_cpu=not torch.cuda.is_available(),
        disable_tqdm=True,
    )
    data = OrderedExamples(cases, cell, plan)
    collator = GazeCollator(processor, config, use_gaze=gaze)
    with quick_products():
        GazeTrainer(model=model, args=arguments, train_dataset=data, data_collator=collator).train()
    return GazeEngine(Checkpoint(model.eval(), processor, cell.name, Precision.FP32))


def _texts(cases: Sequence[PhantomCase]) -> list[str]:
    """What the tokenizer is trained on: the reports of the training images, and every question."""
    texts = [text for case in cases for text in (*case.reports, *case.presence_answers.values())]
    return texts + [*QUESTIONS, *map(presence_question, FINDING_NAMES)] * 50
