"""Trains the embedded checkpoint on phantoms: `python -m phantoms.nano`.

First, variants are trained alike, on the same examples in the same order: ordered gaze with glimpses, the same without
glimpses, one without gaze supervision, the plain placeholder form, and one that sees the whole image as finely as
glimpses are. The one that ships goes on from the first of them for longer, with public radiographs among the phantoms
where their folder is given (`--real`). Each is quantised to NF4. Everything is resumable: the shards of phantoms and
the training go on where they stopped, and what is finished is not done again.

All begin from nothing, or from an earlier checkpoint of this architecture (`--base`), which spares most of the steps.
One that has learned gaze is no beginning for the variants that show what gaze is worth, so those are left out then.

On a CPU one process with one thread for each core learns more than twice as fast as one process with all of them:

    OMP_NUM_THREADS=1 torchrun --standalone --nproc-per-node 2 -m phantoms.nano
"""

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, TypeVar

import numpy as np
import typer
from PIL import Image

from gazevlm_core.findings import FILM_FINDING_NAMES, FINDING_NAMES

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from gazevlm_core.model.configuration_gazevlm import GazeConfig
    from gazevlm_core.model.modeling_gazevlm import GazeVLM
    from gazevlm_core.model.processing_gazevlm import GazeVLMProcessor
    from gazevlm_core.sample import Sample
    from phantoms.dataset import PhantomCase, PhantomShards
    from phantoms.films import Films

T = TypeVar("T")
RECIPE_FILE = "recipe.json"
RUNS_FOLDER = Path("runs/nano")
SHARDS_FOLDER = Path(".cache/phantoms")
MODELS_FOLDER = Path("models")
PHANTOMS = "drawn phantom chest radiographs with simulated readers"
FILMS = ", and radiographs of adults (NIH ChestX-ray14) and children (Kermany) without gaze"
SAVE_STEPS = 50
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
    Variant.ORDERED: "gazevlm-nano-glimpses",
    Variant.NO_GLIMPSES: "gazevlm-nano-no-glimpses",
    Variant.NO_GAZE: "gazevlm-nano-no-gaze",
    Variant.PLAIN: "gazevlm-nano-plain",
    Variant.FINE: "gazevlm-nano-fine",
}
STEPS = ("steps", "decay_steps", "release_steps", "release_decay_steps")  # of a recipe
BASED = (Variant.ORDERED, Variant.RELEASE, Variant.NO_GLIMPSES, Variant.FINE)  # may begin from one that learned gaze


@dataclass(frozen=True)
class Recipe:
    """Hyper-parameters of the embedded checkpoint and its twins; those of a run lie in its folder, for the model card.

    The release goes on from the ordered variant as it was before its learning rate fell, with an optimizer and examples
    of its own.
    """

    images: int = 3_000  # of each of `domains`
    domains: tuple[str, ...] = ("A", "R")
    used_images: int = 0  # of the pool that an earlier training has seen; these are left out
    sizes_px: tuple[int, ...] = (512,)  # twice as fine as the model's small image, for glimpses
    examples: int = 48_000  # shuffled once; their order does not depend on the number of steps
    steps: int = 550  # 0 lets the release go on from `base` itself
    decay_steps: int = 150
    presence_share: float = 0.4  # of the examples ask whether one finding is there
    release_steps: int = 900
    release_decay_steps: int = 300
    release_warmup_steps: int = 30
    release_presence_share: float = 0.5
    question_weights: dict[str, float] = field(default_factory=dict)  # of findings that are asked for more often
    film_share: float = 0.5  # of the release's examples, each data set alike often; 0 where there are no films
    counterfactual_share: float = 0.3  # of the phantoms: seen small with a finding, glimpsed at without it, or reversed
    batch_size: int = 32  # of all processes together
    learning_rate: float = 7e-4
    matrices_learning_rate: float = 1.5e-3  # of Muon, for the layers' matrices
    warmup_steps: int = 50
    weight_decay: float = 0.05
    adam_beta2: float = 0.98
    text_weight: float = 1.0
    finding_weight: float = 3.0  # of the mean over the findings, which is small beside the other losses
    local_weight: float = 6.0
    patch_finding_weight: float = 3.0  # of every variant, also of those without glimpses
    gaze_tokens: int = 24  # half of the radiologists' readings of SIIM are whole in so many steps
    glimpses: int = 6
    glimpse_shares: tuple[float, ...] = (0.35, 0.25, 0.1, 0.3)  # see `GlimpseShares`
    base: str = ""  # checkpoint to begin from; "" for nothing, which takes several times as many steps
    start_share: float = 0.0  # of the weights that the release went on from, in those that ship; see `mix_weights`
    seed: int = 7

    def scaled(self, factor: float) -> "Recipe":
        """Return it with `factor` times as many images and steps: whole shards, and a step where there were any."""
        from phantoms.dataset import SHARD_CASES

        return replace(
            self,
            images=max(1, round(self.images * factor / SHARD_CASES)) * SHARD_CASES,
            steps=self.steps and max(1, round(self.steps * factor)),
            decay_steps=round(self.decay_steps * factor),
            release_steps=max(1, round(self.release_steps * factor)),
            release_decay_steps=round(self.release_decay_steps * factor),
        )


@dataclass(frozen=True)
class Schedule:
    """How long one variant is trained, on which questions, and what share of the weights it went on from stays."""

    steps: int
    decay_steps: int
    warmup_steps: int
    presence_share: float
    seed: int
    film_share: float = 0.0
    start_share: float = 0.0


def schedule_of(variant: Variant, recipe: Recipe) -> Schedule:
    """Return the schedule of a variant: the same for all but the release."""
    if variant is Variant.RELEASE:
        return Schedule(
            recipe.release_steps, recipe.release_decay_steps, recipe.release_warmup_steps,
            recipe.release_presence_share, recipe.seed + 1, recipe.film_share, recipe.start_share,
        )  # fmt: skip
    return Schedule(recipe.steps, recipe.decay_steps, recipe.warmup_steps, recipe.presence_share, recipe.seed)


def read_recipe(path: Path) -> Recipe:
    """Read the hyper-parameters of an earlier training.

    Raises:
        typer.BadParameter: a file that cannot be read, or that holds something else.
    """
    from pydantic import TypeAdapter

    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        unknown = sorted(set(values) - {one.name for one in fields(Recipe)})
        if unknown:
            raise typer.BadParameter(f"{path}: no recipe has {unknown[0]}")
        return TypeAdapter(Recipe).validate_python(values)
    except (OSError, ValueError, TypeError) as error:
        raise typer.BadParameter(f"{path} is no recipe: {error}") from None


def keep_recipe(recipe: Recipe, runs: Path) -> None:
    """Write the hyper-parameters of the trainings in a folder, unless those there began by others.

    Raises:
        typer.BadParameter: what is finished or begun there was trained by another recipe, and would be taken for this
            one's. Other numbers of steps are none: a training can be made longer.
    """
    path = runs / RECIPE_FILE
    if path.exists():
        kept = asdict(read_recipe(path))
        other = [name for name, one in asdict(recipe).items() if name not in STEPS and kept[name] != one]
        if other:
            raise typer.BadParameter(
                f"{runs} holds trainings by another recipe, with {other[0]} {kept[other[0]]!r} instead of "
                f"{getattr(recipe, other[0])!r}; delete it, or give another folder with --runs"
            )
    runs.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(recipe), indent=1) + "\n", encoding="utf-8")


def variants_of(recipe: Recipe) -> tuple[Variant, ...]:
    """Return what is trained: only the release where it goes on from its base itself."""
    if not recipe.steps:
        return (Variant.RELEASE,)
    return BASED if recipe.base else tuple(Variant)


def save_steps_of(recipe: Recipe) -> int:
    """Return after how many steps a training is saved: at least once before its learning rate falls."""
    return max(1, min(SAVE_STEPS, (recipe.steps or recipe.release_steps) - recipe.decay_steps))


def gaze_config_of(variant: Variant, recipe: Recipe) -> "GazeConfig":
    """Return the gaze configuration of a variant, marked with what it was trained on."""
    from gazevlm_core.findings import QUESTIONS, presence_question
    from gazevlm_core.model.configuration_gazevlm import GazeConfig

    gaze = variant is not Variant.NO_GAZE
    films = schedule_of(variant, recipe).film_share > 0
    names = (*FINDING_NAMES, *FILM_FINDING_NAMES) if films else FINDING_NAMES
    return GazeConfig(
        num_gaze_tokens=recipe.gaze_tokens,
        repeats=False,
        use_offsets=gaze,
        num_glimpses=recipe.glimpses if variant in (Variant.ORDERED, Variant.RELEASE) else 0,
        glimpse_states=True,
        local_weight=recipe.local_weight,
        patch_finding_weight=recipe.patch_finding_weight,
        finding_names=names,
        pointer_dim=96,
        use_previous_patch=variant is not Variant.PLAIN,
        gaze_trained=gaze,
        findings_trained=True,
        dwell_trained=gaze,
        text_weight=recipe.text_weight,
        finding_weight=recipe.finding_weight,
        trained_on=PHANTOMS + FILMS * films,
        known_questions=(*QUESTIONS, *map(presence_question, names)),
    )


def main(
    draw_only: Annotated[bool, typer.Option("--draw-only", help="Draw the phantoms and stop.")] = False,
    scale: Annotated[float, typer.Option(help="Multiplies images and steps, for a quick try.", min=0.01)] = 1.0,
    runs: Annotated[Path, typer.Option(help="Folder for training runs.")] = RUNS_FOLDER,
    shards: Annotated[Path, typer.Option(help="Folder for drawn phantoms.")] = SHARDS_FOLDER,
    models: Annotated[Path, typer.Option(help="Folder for the quantised checkpoints.")] = MODELS_FOLDER,
    base: Annotated[
        str, typer.Option(help="Checkpoint to begin from, a folder or a name such as gazevlm-nano; else from nothing.")
    ] = "",
    real: Annotated[
        Path | None, typer.Option(help="Folder that holds nih/ and kermany/, for the release to learn from, too.")
    ] = None,
    settings: Annotated[
        Path | None, typer.Option("--recipe", help="File of hyper-parameters, as a training writes it; else the usual.")
    ] = None,
) -> None:
    """Draw, train all variants and quantise; what is finished is not done again."""
    from gazevlm_core.model.checkpoint import CheckpointError, save_quantised
    from gazevlm_core.ranks import Ranks
    from phantoms.films import keep_provenance, known_of_base, load_films
    from phantoms.nano_parts import IMAGE_PIXELS, SMALLEST_IMAGE_PIXELS
    from phantoms.reference_features import store_ood_reference

    ranks, full = Ranks.of_this_run(), read_recipe(settings) if settings else Recipe()
    recipe = replace(full.scaled(scale), film_share=full.film_share if real else 0.0, base=base or full.base)
    if not (recipe.steps or recipe.base):
        raise typer.BadParameter("the recipe has 0 steps, so the release goes on from a base; name it with --base")
    if ranks.is_main:
        keep_recipe(recipe, runs)
    bounds = (4 * SMALLEST_IMAGE_PIXELS, 4 * IMAGE_PIXELS)
    pools = [pool_of(recipe, number, shards, bounds) for number in range(len(recipe.domains))]
    if ranks.is_main:
        for pool in pools:
            pool.make()
    ranks.wait()
    if draw_only:
        return
    try:
        before = known_of_base(recipe.base)
    except CheckpointError as error:
        raise typer.BadParameter(str(error)) from None
    cases = [case for pool in pools for case in pool.load()]
    films = load_films(real, bounds) if real else None
    for variant in variants_of(recipe):
        final = train(variant, recipe, cases, runs, films)
        if ranks.is_main:
            save_quantised(final, models / MODEL_NAMES[variant])
            for folder in (final, models / MODEL_NAMES[variant]):
                keep_provenance(folder, films if variant is Variant.RELEASE else None, before)
            typer.echo(f"{variant.value}: quantised to {models / MODEL_NAMES[variant]}")
    if not ranks.is_main:
        return
    released = models / MODEL_NAMES[Variant.RELEASE]
    limit = store_ood_reference(released, *reference_images(recipe, cases, films))
    typer.echo(f"{released}: images are in distribution up to a distance of {limit:.2f}")


def pool_of(recipe: Recipe, number: int, shards: Path, bounds: tuple[int, int]) -> "PhantomShards":
    """Return the phantoms of one of the domains, drawn or not; `bounds` are the fewest and most pixels of each."""
    from phantoms.dataset import TRAINING_SEEDS, PhantomShards

    first, domain = recipe.used_images + number * recipe.images, recipe.domains[number]
    return PhantomShards(
        shards / domain, TRAINING_SEEDS[first : first + recipe.images], domain=domain, sizes_px=recipe.sizes_px,
        model_pixels=bounds, twins=recipe.counterfactual_share > 0,
    )  # fmt: skip


def reference_images(
    recipe: Recipe, cases: Sequence["PhantomCase"], films: "Films | None"
) -> tuple[list["Image.Image"], list["Image.Image"]]:
    """Return images that the release learned from, and others of the same kinds; see `store_ood_reference`."""
    from phantoms.reference_features import held_out_images

    learned = [Image.fromarray(case.image) for case in spread(cases, REFERENCE_IMAGES)]
    others = held_out_images(recipe.sizes_px, recipe.domains)
    if films:
        learned += [film.load() for some in films.training for film in spread(some, REFERENCE_IMAGES // 4)]
        others += [film.load() for some in films.held_out for film in spread(some, len(others) // 4)]
    return learned, others


def spread(things: "Sequence[T]", most: int) -> "Sequence[T]":
    """Return at most so many things from everywhere in a sequence."""
    return things[:: -(-len(things) // most)]


def train(
    variant: Variant, recipe: Recipe, cases: list["PhantomCase"], runs: Path, films: "Films | None" = None
) -> Path:
    """Train one variant unless it is finished.

    Args:
        variant: what is supervised.
        recipe: hyper-parameters.
        cases: in memory.
        runs: checkpoints go below RUNS/VARIANT.
        films: that the release learns from as well.

    Returns:
        Folder of the full-precision result.
    """
    from transformers import set_seed
    from transformers.trainer_utils import get_last_checkpoint

    from gazevlm_core.options import GlimpseShares
    from gazevlm_core.training.collator import GazeCollator
    from gazevlm_core.training.trainer import GazeTrainer
    from phantoms.nano_parts import MuonAdamW, mix_weights, quick_products

    folder = runs / variant.value
    final = folder / "final"
    if final.exists():
        return final
    schedule = schedule_of(variant, recipe)
    set_seed(schedule.seed)
    model, processor = begin(variant, recipe, cases, runs)
    start = deepcopy(model) if schedule.start_share else model
    config = model.config.gaze_config
    optimizer = MuonAdamW(
        model, lr=recipe.learning_rate, muon_lr=recipe.matrices_learning_rate, weight_decay=recipe.weight_decay,
        beta2=recipe.adam_beta2,
    )  # fmt: skip
    trainer = GazeTrainer(
        model=model,
        args=_arguments(recipe, schedule, folder),
        train_dataset=CaseExamples(
            cases, recipe.examples, schedule, films.training if films else (),
            recipe.counterfactual_share if config.num_glimpses else 0.0, recipe.question_weights,
        ),
        data_collator=GazeCollator(
            processor, config, use_gaze=config.gaze_trained, shares=GlimpseShares(*recipe.glimpse_shares), model=model,
            located={("phantom", name) for name in FINDING_NAMES},
        ),
        optimizers=(optimizer, None),
    )
    folder.mkdir(parents=True, exist_ok=True)
    with quick_products():
        trainer.train(resume_from_checkpoint=get_last_checkpoint(str(folder)))
    if trainer.is_world_process_zero():
        mix_weights(model, start, schedule.start_share)
        partial = folder / "final.partial"
        model.save_pretrained(partial)
        processor.save_pretrained(partial)
        partial.rename(final)
    trainer.accelerator.wait_for_everyone()
    return final


def begin(
    variant: Variant, recipe: Recipe, cases: list["PhantomCase"], runs: Path
) -> tuple["GazeVLM", "GazeVLMProcessor"]:
    """Return fresh weights or those of the base; for the release, unless it goes on from the base itself, those of the
    ordered variant before its learning rate fell."""
    from gazevlm_core.model.checkpoint import load_checkpoint
    from gazevlm_core.model.modeling_gazevlm import GazeVLM
    from gazevlm_core.model.pointer import grown_heads
    from phantoms.nano_parts import (
        in_full_precision,
        nano_model,
        nano_processor,
        quick_vision,
        train_tokenizer,
    )

    gaze, finer = gaze_config_of(variant, recipe), 2 if variant is Variant.FINE else 1
    base = load_checkpoint(recipe.base, device="cpu") if recipe.base else None
    processor = nano_processor(base.processor.tokenizer if base else train_tokenizer(_texts(cases)), finer=finer)
    if variant is Variant.RELEASE and recipe.steps:
        before, every = recipe.steps - recipe.decay_steps, save_steps_of(recipe)
        begun = GazeVLM.from_pretrained(runs / Variant.ORDERED.value / f"checkpoint-{before // every * every}")
    else:
        begun = in_full_precision(base.model) if base else None
    if begun is None:
        model = nano_model(processor, gaze)
    else:
        model, known = begun, begun.config.gaze_config
        gaze = replace(gaze, trained_on=told_of_both(known.trained_on, gaze.trained_on))
        model.gaze_heads = grown_heads(model.gaze_heads, known, gaze)
        model.config.gaze_config = gaze
    quick_vision(model)
    return model, processor


def told_of_both(before: str, now: str) -> str:
    """Return in words what a model has seen that went on from another one: nothing is said twice, and nothing lost."""
    if before in now or now in before:
        return max(before, now, key=len)
    return f"{before}, then {now}"


def _arguments(recipe: Recipe, schedule: Schedule, folder: Path) -> "TrainingArguments":
    import torch
    from transformers import TrainingArguments

    from gazevlm_core.ranks import Ranks

    return TrainingArguments(
        output_dir=str(folder),
        max_steps=schedule.steps,
        per_device_train_batch_size=recipe.batch_size // Ranks.of_this_run().count,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="warmup_stable_decay",  # so that a run can be made longer and resumed
        lr_scheduler_kwargs={"num_decay_steps": schedule.decay_steps, "min_lr_ratio": 0.01},
        warmup_steps=schedule.warmup_steps,
        logging_steps=25,
        save_steps=save_steps_of(recipe),
        save_total_limit=recipe.decay_steps // save_steps_of(recipe) + 2,  # that before the decay among them
        seed=schedule.seed,
        remove_unused_columns=False,
        label_names=["labels"],
        report_to="none",
        use_cpu=not torch.cuda.is_available(),
        disable_tqdm=True,
    )


class CaseExamples:
    """A map-style data set of `length` examples: the cases in turn, each time with another question, in their share as
    counterfactuals, and in theirs films, of each of several data sets alike often."""

    def __init__(
        self, cases: list["PhantomCase"], length: int, schedule: Schedule, films: Sequence[Sequence["Sample"]] = (),
        counterfactual_share: float = 0.0, question_weights: Mapping[str, float] = MappingProxyType({}),
    ) -> None:  # fmt: skip
        self.cases, self.length, self.schedule, self.films = cases, length, schedule, films
        self.question_weights = question_weights
        self.counterfactual_share = counterfactual_share

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> "Sample":
        from phantoms.augmentation import augmented
        from phantoms.dataset import counterfactual_sample, training_sample
        from phantoms.films import film_sample

        rng = np.random.default_rng([self.schedule.seed, index])
        if self.films and rng.random() < self.schedule.film_share:
            some = self.films[int(rng.integers(len(self.films)))]
            return film_sample(some[int(rng.integers(len(some)))], rng, self.schedule.presence_share)
        case = self.cases[index % len(self.cases)]
        swapped = case.twin is not None and rng.random() < self.counterfactual_share
        drawn = counterfactual_sample if swapped else training_sample
        sample = drawn(case, rng, self.schedule.presence_share, question_weights=self.question_weights)
        return augmented(sample, rng)


def _texts(cases: list["PhantomCase"]) -> list[str]:
    from gazevlm_core.findings import QUESTIONS, presence_question

    texts = [text for case in cases[:4000] for text in (*case.reports, *case.presence_answers.values())]
    return texts + [*QUESTIONS, *map(presence_question, FINDING_NAMES)] * 200


if __name__ == "__main__":
    typer.run(main)
