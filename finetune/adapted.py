"""A base with what is trained on it: LoRA layers, the row of the gaze token, and heads with the added findings."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import torch
from peft import LoraConfig, PeftModel, get_peft_model

from finetune.config import FinetuneConfig
from finetune.examples import supervises_gaze, trainable_questions
from finetune.usual_place import Fitted
from gazevlm_core.images import is_colored
from gazevlm_core.model.configuration_gazevlm import MOST_FINDINGS, GazeConfig, GazeVLMConfig
from gazevlm_core.model.modeling_gazevlm import GazeVLM
from gazevlm_core.model.pointer import FINDING_ROWS, GazeHeads, grown_heads
from gazevlm_core.model.token_rows import keep_embedding_uncopied
from gazevlm_core.sample import DatasetError, Sample
from gazevlm_core.training.gaze_order import GazeOrder
from web.formatting import counted

PATHS_OF = {
    GazeOrder.ORIGINAL: "{paths}", GazeOrder.SHUFFLED: "{paths} in a random order",
    GazeOrder.RANDOM: "random places in the stead of {paths}",
}  # fmt: skip
COLOR_IMAGES = 24  # that are opened to see whether the data are in colour


def adapted_config(
    base: GazeConfig, config: FinetuneConfig, cases: Sequence[Sample], rows: Sequence[str], fitted: Sequence[Fitted]
) -> GazeConfig:
    """Return the gaze configuration of the adapter.

    Args:
        base: gaze configuration of the base.
        rows: added findings that get a row of the finding head.
        fitted: added findings with a usual place.

    Raises:
        DatasetError: more questions than a model can list.
    """
    head, placed = base.finding_names[: base.num_head_findings], base.finding_names[base.num_head_findings :]
    labelled = {name for case in cases for name in case.findings} if config.finding_weight > 0 else set()
    if not base.findings_trained:  # an untrained finding would be shown as if it were known
        head = tuple(name for name in head if name in labelled)
    timed = any((f.duration_ms or 0) > 0 for case in cases for path in case.scanpaths for f in path)
    data, trains_gaze = _data_words(config, cases), supervises_gaze(config.gaze_order, cases)
    gaze_trained = base.gaze_trained or (trains_gaze and config.gaze_weight > 0)
    num_glimpses = base.num_glimpses if config.num_glimpses is None else config.num_glimpses
    return replace(
        base,
        num_gaze_tokens=config.num_gaze_tokens or base.num_gaze_tokens,
        num_glimpses=num_glimpses if gaze_trained else 0,  # without a path there is no place to cut them at
        # what decides how a path is walked stays as a base learned it
        repeats=base.repeats and base.gaze_trained,
        use_offsets=base.use_offsets or not base.gaze_trained,
        glimpse_states=base.glimpse_states or not base.findings_trained,
        finding_names=(*head, *rows, *placed, *(one.place.name for one in fitted)),
        usual_places=(*base.usual_places, *(one.place for one in fitted)),
        gaze_trained=gaze_trained,
        findings_trained=base.findings_trained or bool(fitted) or not labelled.isdisjoint((*head, *rows)),
        dwell_trained=base.dwell_trained or (trains_gaze and timed and config.dwell_weight > 0),
        color_images=base.color_images or _are_colored(cases),
        known_questions=_known_questions(base, config, cases),
        trained_on=f"{base.trained_on}, then {data}" if base.trained_on else data,
        **config.options_for("gaze"),
    )


def _data_words(config: FinetuneConfig, cases: Sequence[Sample]) -> str:
    """Return what is learned from, in words: scanpaths where any are learned, and what became of their order."""
    images = counted(len(cases), "image")
    if not supervises_gaze(config.gaze_order, cases) or config.gaze_weight <= 0:
        return images
    readers = [reading.reader for case in cases for reading in case.readings]
    words = [PATHS_OF[config.gaze_order].format(paths=counted(len(readers), "scanpath"))]
    if all(readers):
        words.append(f"of {counted(len(set(readers)), 'annotator')}")
    return " ".join([*words, "on", images])


def _known_questions(base: GazeConfig, config: FinetuneConfig, cases: Sequence[Sample]) -> tuple[str, ...]:
    """Return the base's questions and those whose answers are learned; none where the base answers freely."""
    if not base.known_questions or config.freeze_language or config.text_weight <= 0:
        return base.known_questions
    known = tuple(dict.fromkeys((*base.known_questions, *(one for case in cases for one in trainable_questions(case)))))
    if len(known) > MOST_FINDINGS:
        raise DatasetError(
            f"base and data make {len(known)} questions, and a model that answers no others lists at most "
            f"{MOST_FINDINGS}; ask fewer in studies.jsonl, or take a base that answers freely"
        )
    return known


def _are_colored(cases: Sequence[Sample]) -> bool:
    """Return whether most of the first images that can be read are in colour."""
    colored = []
    for case in cases[:COLOR_IMAGES]:
        with suppress(DatasetError):
            colored.append(is_colored(case.load()))
    return 2 * sum(colored) > len(colored)


def adapt_model(model: GazeVLM, config: FinetuneConfig, gaze: GazeConfig, fitted: Sequence[Fitted]) -> PeftModel:
    """Put LoRA layers and new heads on a base, in place, and freeze everything else.

    Args:
        model: without an adapter.
        gaze: from `adapted_config`.
        fitted: heads of the findings with a usual place.
    """
    heads = _grown_heads(model, gaze, fitted)
    language, vision = not config.freeze_language, config.freeze_vision is False
    parts = [model.language_layers] * language + [model.vision_layers] * vision
    adapted = get_peft_model(
        model,
        LoraConfig(
            **config.options_for("lora"),
            target_modules="|".join(parts),
            trainable_token_indices={"embed_tokens": [gaze_token_of(model.config)]},
        ),
    )
    keep_embedding_uncopied(adapted)
    adapted.create_or_update_model_card = _no_card  # type: ignore[assignment,method-assign]
    model.gaze_heads = heads.to(model.device)
    model.config.gaze_config = gaze
    for name, parameter in heads.named_parameters():
        fixed = name.startswith("placed.") or (config.freeze_heads and name not in FINDING_ROWS)
        parameter.requires_grad_(not fixed)
    return adapted


def _no_card(_folder: str) -> None:
    """Write no card: PEFT's would take the place of `finetune.card`'s."""


def gaze_token_of(config: GazeVLMConfig) -> int:
    """Return the id of the gaze token; `load_checkpoint` adds one where it is missing."""
    if config.gaze_token_id is None:
        raise ValueError("the model's configuration names no gaze token; load it with load_checkpoint")
    return config.gaze_token_id


@torch.no_grad()
def _grown_heads(model: GazeVLM, gaze: GazeConfig, fitted: Sequence[Fitted]) -> GazeHeads:
    """Return `grown_heads` of the base's, with the findings that have a usual place."""
    old, before = model.gaze_heads, model.config.gaze_config
    heads = grown_heads(old, before, gaze)
    if gaze.usual_places:
        kept = len(before.usual_places)
        if kept:
            heads.placed.weight[:kept], heads.placed.bias[:kept] = old.placed.weight.cpu(), old.placed.bias.cpu()
        set_placed(heads, fitted, first=kept)
    return heads


@torch.no_grad()
def set_placed(heads: GazeHeads, fitted: Sequence[Fitted], *, first: int) -> None:
    """Write fitted heads into the rows from `first` on."""
    for row, one in enumerate(fitted, start=first):
        heads.placed.weight[row] = one.weight
        heads.placed.bias[row] = one.bias
