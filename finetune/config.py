"""The settings of a fine-tuning run: one frozen value, from YAML, from flags or from the page. Free of torch.

A setting is one field of `FinetuneConfig`. Its flag, its place in the Adapt tab, its line in `--print-config`, its
record in provenance and card, and its checks follow from it; with `trainer`, `lora` or `gaze` its value gets there too.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, cast

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gazevlm_core.options import NANO, Attention, GlimpseShares, Precision
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


@dataclass(frozen=True)
class Setting:
    """What a field says beside its type, default, bounds and help.

    Args:
        group: of `--help` that begins with this field; "" where it belongs to the group before.
        label: in the Adapt tab; "" takes the field's name.
        in_sight: place among the fields of the tab that are in sight; 0 where it is folded away.
        on_page: False for what the tab chooses elsewhere or has no use for.
        free: whether a resumed run may have another value: where things lie and how they are computed, not what is
            learned.
        trainer: option of `transformers.TrainingArguments` that gets the value; files and flags may use this name too.
        lora: option of `peft.LoraConfig` that gets the value.
        gaze: field of the adapter's `GazeConfig` that gets the value.
    """

    group: str = ""
    label: str = ""
    in_sight: int = 0
    on_page: bool = True
    free: bool = False
    trainer: str = ""
    lora: str = ""
    gaze: str = ""


USUAL = Setting()
HIDDEN = Setting(on_page=False)


def setting(default: Any, text: str, known: Setting = USUAL, **bounds: Any) -> Any:  # noqa: ANN401 (of any type)
    """Declare a field: its default (... for none), its help, what else is known of it, and pydantic's bounds."""
    return Field(default, description=text, json_schema_extra={"setting": cast(Any, known)}, **bounds)


class FinetuneConfig(BaseModel):
    """Everything that decides an adapter, beside the data and the library versions.

    Raises:
        ConfigError: from `from_values` and `from_yaml`, with the first field that is wrong.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    annotations: tuple[str, ...] = setting(..., (
        "Data sets, mixed: a folder of exported annotations, or NAME=ROOT or NAME=ROOT,IMAGES with a NAME that "
        "`gazevlm dataset inspect` takes."), Setting(group="Data", on_page=False, free=True), min_length=1)
    shares: tuple[float, ...] = setting((), (
        "How often each data set is drawn, one positive number each; empty takes every image once an epoch."), HIDDEN)
    annotators: tuple[str, ...] = setting((), "Pseudonyms whose scanpaths are learned; empty for all.", HIDDEN)
    held_out_share: float = setting(0.2, (
        "Share of the patients (or images, where patients are unknown) that are held out to score."), gt=0, lt=1)
    held_out_annotators: tuple[str, ...] = setting((), (
        "Pseudonyms whose scanpaths are never learned; the held-out images are scored against theirs alone."))
    gaze_order: GazeOrder = setting(
        GazeOrder.ORIGINAL, "original, or a control: shuffled, random, none.", Setting(in_sight=4))
    add_findings: bool = setting(True, "Add findings that the annotations name and the base lacks to its head.")

    base: str = setting(
        NANO, "A shipped checkpoint, a folder, or a Hub id.", Setting(group="Base", on_page=False), min_length=1)
    precision: Precision = setting(Precision.AUTO, "How the base is held: nf4, int8, bf16, fp32, or auto.")
    device: str = setting("auto", "auto, cpu, cuda or cuda:N.", Setting(free=True), pattern=DEVICE_PATTERN)
    attn: Attention = setting(Attention.SDPA, (
        "How attention is computed: sdpa, flash_attention_2 (CUDA, with the package flash-attn), or eager."),
        Setting(free=True))
    num_gaze_tokens: int | None = setting(None, (
        "K, the longest path; empty keeps the base's, or takes 48 for a large one that shows none yet."),
        Setting(label="Gaze tokens"), ge=1, le=256)
    num_glimpses: int | None = setting(None, (
        "Places of the path that are shown closely, for words and findings to rest on; empty keeps the base's, or "
        "takes 6 for a large one that shows no path yet; 0 for none."), Setting(label="Glimpses"), ge=0, le=32)
    min_pixels: int | None = setting(None, (
        "Smallest image in pixels after resizing; empty keeps the base's, or max_pixels where that is less."), ge=784)
    max_pixels: int | None = setting(None, (
        "Largest image in pixels after resizing; empty keeps a small base's, or is 1,024 patches for a large one."),
        ge=784)

    lora_rank: int = setting(
        16, "Rank of the LoRA matrices.", Setting(group="Adapter", label="LoRA rank", in_sight=3, lora="r"),
        ge=1, le=512)
    lora_alpha: int = setting(
        32, "Scale of the LoRA matrices.", Setting(label="LoRA alpha", lora="lora_alpha"), ge=1)
    lora_dropout: float = setting(
        0.0, "Dropout before the LoRA matrices.", Setting(label="LoRA dropout", lora="lora_dropout"), ge=0, lt=1)
    dora: bool = setting(False, "Weight-decomposed LoRA.", Setting(label="DoRA", lora="use_dora"))
    rslora: bool = setting(
        False, "Rank-stabilised LoRA: alpha / sqrt(rank).", Setting(label="rsLoRA", lora="use_rslora"))
    freeze_language: bool = setting(False, "No LoRA in the language model.")
    freeze_vision: bool | None = setting(None, (
        "No LoRA in the vision tower; empty puts it there where most training images are unlike those of the base."))
    freeze_heads: bool = setting(False, "Leave the gaze and dwell heads as they are.")

    gaze_weight: float = setting(
        1.0, "Weight of the pointer's loss.", Setting(group="Losses", gaze="gaze_weight"), ge=0)
    text_weight: float = setting(1.0, "Weight of the answer's loss.", Setting(gaze="text_weight"), ge=0)
    finding_weight: float = setting(1.0, "Weight of the finding head's loss.", Setting(gaze="finding_weight"), ge=0)
    dwell_weight: float = setting(0.1, "Weight of the dwell head's loss.", Setting(gaze="dwell_weight"), ge=0)
    retain: float = setting(0.5, (
        "How far the base's own probabilities of the findings that it knows stand in for the labels: 0 takes the "
        "labels alone, 1 keeps to the base."), ge=0, le=1)
    target_sigma_patches: float = setting(0.0, (
        "Width of a Gaussian around the fixated patch that is the target; 0 for the patch alone."),
        Setting(gaze="target_sigma_patches"), ge=0, le=8)

    glimpse_shares: tuple[float, ...] = setting((0.4, 0.3, 0.3), (
        "For a base with glimpses, where they are cut in training: shares of the examples at a reader's path, at the "
        "model's own, and at random."), HIDDEN, min_length=3, max_length=3)

    epochs: float = setting(
        12.0, "Passes over the training images.",
        Setting(group="Optimisation", in_sight=1, trainer="num_train_epochs"), gt=0, le=10_000)
    max_steps: int = setting(0, "Stop after so many steps; 0 goes by epochs.", ge=0)
    batch_size: int = setting(
        8, "Images at once, per process; less for a large base.", Setting(trainer="per_device_train_batch_size"), ge=1)
    accumulation: int = setting(
        1, "Batches per optimizer step; more for a large base.", Setting(trainer="gradient_accumulation_steps"), ge=1)
    questions_per_image: int = setting(1, (
        "Questions about an image side by side in a batch, which then computes its tokens once for all of them; as "
        "many samples are learned. Best a divisor of batch_size."), ge=1, le=64)
    learning_rate: float = setting(
        1e-3, "Of LoRA matrices and new tokens; 2e-4 or 1e-4 for a large base.",
        Setting(in_sight=2, trainer="learning_rate"), gt=0, lt=1)
    heads_learning_rate: float = setting(3e-4, "Of the heads.", gt=0, lt=1)
    warmup_share: float = setting(0.1, "Share of the steps with a rising rate.", ge=0, lt=1)
    weight_decay: float = setting(0.1, "Of AdamW.", Setting(trainer="weight_decay"), ge=0)
    max_grad_norm: float = setting(
        1.0, "Gradients are clipped to this norm.",
        Setting(label="Largest gradient norm", trainer="max_grad_norm"), gt=0)
    optimizer: Optimizer = setting(Optimizer.AUTO, "auto, adamw or paged-adamw-8bit.")
    gradient_checkpointing: bool | None = setting(
        None, "Trade time for memory; empty does so on CUDA alone.", Setting(free=True))
    group_by_length: bool = setting(
        False, "Batches of images and answers of similar length, so that little is padded.")
    cache_features: bool = setting(
        True, "Compute what the frozen vision tower says of an image once, and keep it on disk.")
    workers: int = setting(
        0, "Processes that read and prepare batches while the model learns; 0 does so in between.",
        Setting(trainer="dataloader_num_workers", free=True), ge=0, le=64)

    check_room: bool = setting(
        True, "Refuse a run that, as computed, memory or disk cannot hold.", Setting(group="Run", free=True))
    seed: int = setting(0, "Of everything that is drawn.", Setting(in_sight=5, trainer="seed"), ge=0, le=2**31 - 1)
    evaluations: int = setting(4, "How often the held-out images are scored.", ge=1, le=1000)
    patience: int = setting(0, "Stop after so many scorings without a better one; 0 never stops early.", ge=0)
    checkpoints: int = setting(4, "How often the run can be resumed from.", Setting(free=True), ge=1, le=1000)
    report_to: ReportTo = setting(ReportTo.NONE, "none, tensorboard or trackio.", Setting(free=True))
    fsdp_storage: bool = setting(
        False, "Hold 4-bit weights in the dtype of the rest, as FSDP wants them.", HIDDEN)
    deepspeed: str = setting("", "JSON configuration of DeepSpeed; empty for none.", HIDDEN)

    @model_validator(mode="after")
    def _check_together(self) -> "FinetuneConfig":
        if "" in self.annotations:
            raise ValueError("annotations holds an empty name; give a folder")
        try:
            GlimpseShares(*self.glimpse_shares)
        except ValueError as error:
            raise ValueError(f"glimpse_shares: {error}") from None
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

    @property
    def chooses_step(self) -> bool:
        """Whether the step that is kept is chosen by its held-out scores, which flatters them."""
        return self.patience > 0 and self.evaluations > 1

    @classmethod
    def from_values(cls, values: object) -> "FinetuneConfig":
        """Read a parsed YAML or JSON object, which may come from anybody."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, first["loc"]))
            text = first["msg"].removeprefix("Value error, ")
            raise ConfigError(f"{place}: {text}" if place else text) from None

    @classmethod
    def from_yaml(cls, path: Path) -> "FinetuneConfig":
        """Read a file that `to_yaml` wrote, or a person."""
        return cls.from_values(read_yaml(path))

    def to_values(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return self.model_dump(mode="json")

    def to_yaml(self) -> str:
        """Return it as text, a line for each field and item; `from_yaml` gives the same configuration."""
        return yaml.safe_dump(self.to_values(), sort_keys=False, width=math.inf)

    def options_for(self, library: Literal["trainer", "lora", "gaze"]) -> dict[str, Any]:
        """Return option -> value of the settings that a library, or the model, gets as they are."""
        options = {name: getattr(setting_of(name), library) for name in type(self).model_fields}
        return {option: getattr(self, name) for name, option in options.items() if option}


def setting_of(name: str) -> Setting:
    """Return what a field of `FinetuneConfig` says of itself."""
    return cast(Any, FinetuneConfig.model_fields[name].json_schema_extra)["setting"]


FREE = frozenset(name for name in FinetuneConfig.model_fields if setting_of(name).free)


def differing(values: Mapping[str, Any], stored: Mapping[str, Any], besides: Collection[str] = ()) -> list[str]:
    """Return the fields that have another value in a stored configuration.

    Args:
        values: from `to_values`.
        stored: the same of an earlier run; a field that there was not yet had its default.
        besides: fields that may differ.
    """
    usual = FinetuneConfig(annotations=("-",)).to_values()
    return [name for name in values if name not in besides and values[name] != stored.get(name, usual[name])]


def read_yaml(path: Path) -> dict[str, Any]:
    """Read the values of a YAML file, by the configuration's names.

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
    own = {trainer: name for name in FinetuneConfig.model_fields if (trainer := setting_of(name).trainer)}
    return {own[name] if name in own else name: value for name, value in values.items()}
