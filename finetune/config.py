"""What a fine-tuning run is told: one frozen value, from YAML or from flags. Free of torch."""

import math
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gazevlm_core.options import NANO, Attention, Precision
from gazevlm_core.training.gaze_order import GazeOrder

LONGEST_NAME = 60
DEVICE_PATTERN = r"^(auto|cpu|cuda(:\d+)?)$"
NAME_PATTERN = rf"^[A-Za-z0-9][A-Za-z0-9._-]{{0,{LONGEST_NAME - 1}}}$"


class ConfigError(ValueError):
    """A configuration that cannot be used; one line that names the field and says what to do."""


class ReportTo(StrEnum):
    """Where curves are sent beside the run's own log."""

    NONE = "none"
    TENSORBOARD = "tensorboard"
    TRACKIO = "trackio"


class Optimizer(StrEnum):
    """AUTO takes paged 8-bit AdamW on CUDA, AdamW elsewhere (bitsandbytes' paged form is for CUDA alone)."""

    AUTO = "auto"
    ADAMW = "adamw"
    PAGED_ADAMW_8BIT = "paged-adamw-8bit"


class FinetuneConfig(BaseModel):
    """Everything that decides an adapter, beside the data and the library versions.

    Raises:
        ConfigError: from `from_values` and `from_yaml`, with the first field that is wrong.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    # ---- data
    annotations: Annotated[tuple[str, ...], Field(min_length=1, description=(
        "Data sets, mixed: a folder of exported annotations, or NAME=ROOT or NAME=ROOT,IMAGES with a NAME that "
        "`gazevlm dataset inspect` takes."))]  # fmt: skip
    shares: Annotated[tuple[float, ...], Field(description=(
        "How often each data set is drawn, one positive number each; empty takes every image once an epoch."))] = ()
    annotators: Annotated[tuple[str, ...], Field(description=(
        "Pseudonyms whose scanpaths are learned; empty for all."))] = ()
    held_out_share: Annotated[float, Field(gt=0, lt=1, description=(
        "Share of the patients (or images, where patients are unknown) that are held out to score."))] = 0.2
    held_out_annotators: Annotated[tuple[str, ...], Field(description=(
        "Pseudonyms whose scanpaths are never learned; the held-out images are scored against theirs alone."))] = ()
    gaze_order: Annotated[GazeOrder, Field(description="original, or a control: shuffled, random, none.")] = (
        GazeOrder.ORIGINAL)
    add_findings: Annotated[bool, Field(description=(
        "Add findings that the annotations name and the base lacks to its head."))] = True

    # ---- base
    base: Annotated[str, Field(min_length=1, description="A shipped checkpoint, a folder, or a Hub id.")] = NANO
    precision: Annotated[Precision, Field(description="How the base is held: nf4, int8, bf16, fp32, or auto.")] = (
        Precision.AUTO)
    device: Annotated[str, Field(pattern=DEVICE_PATTERN, description="auto, cpu, cuda or cuda:N.")] = "auto"
    attn: Annotated[Attention, Field(description=(
        "How attention is computed: sdpa, flash_attention_2 (CUDA, with the package flash-attn), or eager."))] = (
        Attention.SDPA)
    num_gaze_tokens: Annotated[int | None, Field(ge=1, le=256, description=(
        "K, the longest path; empty keeps the base's, or takes 48 for a large one that shows none yet."))] = None
    min_pixels: Annotated[int | None, Field(ge=784, description=(
        "Smallest image in pixels after resizing; empty keeps the base's, or max_pixels where that is less."))] = None
    max_pixels: Annotated[int | None, Field(ge=784, description=(
        "Largest image in pixels after resizing; empty keeps a small base's, or is 1,024 patches for a large one."
    ))] = None  # fmt: skip

    # ---- adapter
    lora_rank: Annotated[int, Field(ge=1, le=512, description="Rank of the LoRA matrices.")] = 16
    lora_alpha: Annotated[int, Field(ge=1, description="Scale of the LoRA matrices.")] = 32
    lora_dropout: Annotated[float, Field(ge=0, lt=1, description="Dropout before the LoRA matrices.")] = 0.0
    dora: Annotated[bool, Field(description="Weight-decomposed LoRA.")] = False
    rslora: Annotated[bool, Field(description="Rank-stabilised LoRA: alpha / sqrt(rank).")] = False
    freeze_language: Annotated[bool, Field(description="No LoRA in the language model.")] = False
    freeze_vision: Annotated[bool, Field(description="No LoRA in the vision tower.")] = True
    freeze_heads: Annotated[bool, Field(description="Leave the gaze and dwell heads as they are.")] = False

    # ---- losses
    gaze_weight: Annotated[float, Field(ge=0, description="Weight of the pointer's loss.")] = 1.0
    text_weight: Annotated[float, Field(ge=0, description="Weight of the answer's loss.")] = 1.0
    finding_weight: Annotated[float, Field(ge=0, description="Weight of the finding head's loss.")] = 1.0
    dwell_weight: Annotated[float, Field(ge=0, description="Weight of the dwell head's loss.")] = 0.1
    retain: Annotated[float, Field(ge=0, le=1, description=(
        "How far the base's own probabilities of the findings that it knows stand in for the labels: 0 takes the "
        "labels alone, 1 keeps to the base."))] = 0.5
    target_sigma_patches: Annotated[float, Field(ge=0, le=8, description=(
        "Width of a Gaussian around the fixated patch that is the target; 0 for the patch alone."))] = 0.0

    # ---- optimisation
    epochs: Annotated[float, Field(gt=0, le=10_000, description="Passes over the training images.")] = 12.0
    max_steps: Annotated[int, Field(ge=0, description="Stop after so many steps; 0 goes by epochs.")] = 0
    batch_size: Annotated[int, Field(ge=1, description="Images at once, per process; less for a large base.")] = 8
    accumulation: Annotated[int, Field(ge=1, description="Batches per optimizer step; more for a large base.")] = 1
    learning_rate: Annotated[float, Field(gt=0, lt=1, description=(
        "Of LoRA matrices and new tokens; 2e-4 or 1e-4 for a large base."))] = 1e-3
    heads_learning_rate: Annotated[float, Field(gt=0, lt=1, description="Of the heads.")] = 3e-4
    warmup_share: Annotated[float, Field(ge=0, lt=1, description="Share of the steps with a rising rate.")] = 0.1
    weight_decay: Annotated[float, Field(ge=0, description="Of AdamW.")] = 0.1
    max_grad_norm: Annotated[float, Field(gt=0, description="Gradients are clipped to this norm.")] = 1.0
    optimizer: Annotated[Optimizer, Field(description="auto, adamw or paged-adamw-8bit.")] = Optimizer.AUTO
    gradient_checkpointing: Annotated[bool | None, Field(description=(
        "Trade time for memory; empty does so on CUDA alone."))] = None
    group_by_length: Annotated[bool, Field(description=(
        "Batches of images and answers of similar length, so that little is padded."))] = False
    cache_features: Annotated[bool, Field(description=(
        "Compute what the frozen vision tower says of an image once, and keep it on disk."))] = True

    workers: Annotated[int, Field(ge=0, le=64, description=(
        "Processes that read and prepare batches while the model learns; 0 does so in between."))] = 0

    # ---- run
    check_room: Annotated[bool, Field(description=(
        "Refuse a run that, as computed, memory or disk cannot hold."))] = True
    seed: Annotated[int, Field(ge=0, le=2**31 - 1, description="Of everything that is drawn.")] = 0
    evaluations: Annotated[int, Field(ge=1, le=1000, description="How often the held-out images are scored.")] = 4
    patience: Annotated[int, Field(ge=0, description=(
        "Stop after so many scorings without a better one; 0 never stops early."))] = 0
    checkpoints: Annotated[int, Field(ge=1, le=1000, description="How often the run can be resumed from.")] = 4
    report_to: Annotated[ReportTo, Field(description="none, tensorboard or trackio.")] = ReportTo.NONE
    fsdp_storage: Annotated[bool, Field(description=(
        "Hold 4-bit weights in the dtype of the rest, as FSDP wants them."))] = False
    deepspeed: Annotated[str, Field(description="JSON configuration of DeepSpeed; empty for none.")] = ""

    @model_validator(mode="after")
    def _whole(self) -> "FinetuneConfig":
        if "" in self.annotations:
            raise ValueError("annotations holds an empty name; give a folder")
        if self.shares and (len(self.shares) != len(self.annotations) or min(self.shares) <= 0):
            raise ValueError("shares has one positive number per data set, or is empty")
        if None not in (self.min_pixels, self.max_pixels) and self.min_pixels > self.max_pixels:  # type: ignore[operator]
            raise ValueError("min_pixels must not be above max_pixels")
        both = sorted(set(self.annotators) & set(self.held_out_annotators))
        if both:
            raise ValueError(f"annotators and held_out_annotators both name {both[0]}; learn or hold out, not both")
        if self.freeze_language and self.freeze_vision:
            raise ValueError("an adapter needs LoRA somewhere; leave the language model or the vision tower free")
        if self.gaze_weight == self.text_weight == self.finding_weight == 0:
            raise ValueError("all losses weigh 0; raise gaze_weight, text_weight or finding_weight")
        return self

    @classmethod
    def from_values(cls, values: object) -> "FinetuneConfig":
        """From a parsed YAML or JSON object, which may come from anybody."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, first["loc"]))
            text = first["msg"].removeprefix("Value error, ")
            raise ConfigError(f"{place}: {text}" if place else text) from None

    @classmethod
    def from_yaml(cls, path: Path) -> "FinetuneConfig":
        """From a file that `to_yaml` wrote, or a person."""
        return cls.from_values(read_yaml(path))

    def to_values(self) -> dict[str, Any]:
        """As JSON values."""
        return self.model_dump(mode="json")

    def to_yaml(self) -> str:
        """As text, a line for each field and item; `from_yaml` gives the same configuration."""
        return yaml.safe_dump(self.to_values(), sort_keys=False, width=math.inf)


def read_yaml(path: Path) -> dict[str, Any]:
    """The values of a YAML file.

    Raises:
        ConfigError: no such file, no YAML, or no mapping.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold names and values, as `gazevlm finetune --print-config` prints them")
    return values
