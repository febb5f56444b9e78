"""How many parameters a Qwen2.5-VL with gaze heads has, part by part, from its configuration alone.

Free of torch: the parts are counted by hand here, and a test compares every one with the real model.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gazevlm_core.model.configuration_gazevlm import GazeVLMConfig

USUAL_POINTER = 128  # `GazeConfig.pointer_dim` where a configuration does not say


@dataclass(frozen=True)
class ModelSizes:
    """Dimensions of a model, as its config.json gives them.

    Args:
        layers: of the language model.
        width: D, of its hidden states.
        query_width: of all attention heads together.
        key_width: of all key (and of all value) heads together.
        mlp_width: of its feed-forward layers.
        vocabulary: rows of the embedding.
        tied: whether the output layer is the embedding.
        vision_layers, vision_width, vision_mlp_width: of the vision tower.
        patch_values: numbers in one patch: channels x frames x rows x columns.
        merged_patches: patches that become one token.
        heads: parameters of the gaze, dwell and finding heads.
        attention_heads: of the language model.
    """

    layers: int
    width: int
    query_width: int
    key_width: int
    mlp_width: int
    vocabulary: int
    tied: bool
    vision_layers: int
    vision_width: int
    vision_mlp_width: int
    patch_values: int
    merged_patches: int
    heads: int
    attention_heads: int

    @property
    def linears(self) -> tuple[tuple[int, int], ...]:
        """Inputs and outputs of q, k, v, o, gate, up and down of one layer: what is held in 4 bits and gets LoRA."""
        attention = ((self.width, self.query_width), *((self.width, self.key_width),) * 2)
        back = (self.query_width, self.width)
        return (*attention, back, *((self.width, self.mlp_width),) * 2, (self.mlp_width, self.width))

    @property
    def language_linears(self) -> int:
        """Weights of all `linears`, without biases."""
        return self.layers * sum(inputs * outputs for inputs, outputs in self.linears)

    @property
    def language_rest(self) -> int:
        """Biases of q, k and v, and norms."""
        return self.layers * (self.query_width + 2 * self.key_width + 2 * self.width) + self.width

    @property
    def embeddings(self) -> int:
        """Embedding and output layer; once where they are tied."""
        return self.vocabulary * self.width * (1 if self.tied else 2)

    @property
    def vision(self) -> int:
        """The tower with its merger."""
        width, mlp = self.vision_width, self.vision_mlp_width
        attention = width * 3 * width + 3 * width + width * width + width
        feed_forward = 3 * width * mlp + 2 * mlp + width
        merged = width * self.merged_patches
        merger = width + merged * merged + merged + merged * self.width + self.width
        return self.patch_values * width + self.vision_layers * (attention + feed_forward + 2 * width) + merger

    @property
    def backbone(self) -> int:
        """Everything but the heads."""
        return self.language_linears + self.language_rest + self.embeddings + self.vision

    def lora(self, rank: int) -> int:
        """Parameters of LoRA matrices of a rank on all `linears`."""
        return self.layers * rank * sum(inputs + outputs for inputs, outputs in self.linears)



def count_heads(
    width: int,
    *,
    pointer_dim: int = USUAL_POINTER,
    findings: int = 0,
    placed: int = 0,
    use_previous_patch: bool = True,
    index_patches: int = 0,
) -> int:
    """Parameters of `gazevlm_core.model.pointer.GazeHeads`.

    Args:
        width: of the hidden states.
        findings: of the finding head.
        placed: findings with a usual place.
        pointer_dim, use_previous_patch, index_patches: as in `GazeConfig`.
    """
    keys = (index_patches or width) * pointer_dim
    previous = width * pointer_dim + width if use_previous_patch else 0
    pointer = width * pointer_dim + keys + pointer_dim + previous
    return pointer + (2 * width + 1) + (width + 1) * (max(1, findings) + placed)


def _qwen(
    *, layers: int, width: int, heads: int, key_heads: int, mlp_width: int, vocabulary: int, tied: bool, vision_mlp: int
) -> ModelSizes:
    """A published Qwen2.5-VL; its vision towers differ in their feed-forward width alone."""
    return ModelSizes(
        layers=layers, width=width, query_width=width, key_width=width // heads * key_heads, mlp_width=mlp_width,
        vocabulary=vocabulary, tied=tied, vision_layers=32, vision_width=1280, vision_mlp_width=vision_mlp,
        patch_values=3 * 2 * 14 * 14, merged_patches=4, heads=count_heads(width),
        attention_heads=heads,
    )  # fmt: skip


# As in the config.json that is published with each.
KNOWN: Mapping[str, ModelSizes] = {
    "Qwen/Qwen2.5-VL-3B-Instruct": _qwen(
        layers=36, width=2048, heads=16, key_heads=2, mlp_width=11_008, vocabulary=151_936, tied=True, vision_mlp=3420
    ),
    "Qwen/Qwen2.5-VL-7B-Instruct": _qwen(
        layers=28, width=3584, heads=28, key_heads=4, mlp_width=18_944, vocabulary=152_064, tied=False, vision_mlp=3420
    ),
    "Qwen/Qwen2.5-VL-72B-Instruct": _qwen(
        layers=80, width=8192, heads=64, key_heads=8, mlp_width=29_568, vocabulary=152_064, tied=False, vision_mlp=3456
    ),
}


def sizes_of(config: "GazeVLMConfig | Mapping[str, Any]") -> ModelSizes:
    """The sizes of any checkpoint.

    Args:
        config: of the model, or the values of its config.json, with or without gaze parts.

    Raises:
        ValueError: values that are no Qwen2.5-VL's; one sentence that names what is missing.
    """
    values: Mapping[str, Any] = config if isinstance(config, Mapping) else config.to_dict()
    text, vision = values.get("text_config") or values, values.get("vision_config") or {}
    gaze = values.get("gaze") or {}
    try:
        width, heads = int(text["hidden_size"]), int(text["num_attention_heads"])
        head_width = int(text.get("head_dim") or width // heads)
        frames, side = int(vision.get("temporal_patch_size", 2)), int(vision.get("patch_size", 14))
        channels = int(vision.get("in_channels") or vision.get("in_chans") or 3)
        return ModelSizes(
            layers=int(text["num_hidden_layers"]),
            attention_heads=heads,
            width=width,
            query_width=heads * head_width,
            key_width=int(text["num_key_value_heads"]) * head_width,
            mlp_width=int(text["intermediate_size"]),
            vocabulary=int(text["vocab_size"]),
            tied=bool(values.get("tie_word_embeddings", False)),
            vision_layers=int(vision["depth"]),
            vision_width=int(vision["hidden_size"]),
            vision_mlp_width=int(vision["intermediate_size"]),
            patch_values=channels * frames * side * side,
            merged_patches=int(vision.get("spatial_merge_size", 2)) ** 2,
            heads=count_heads(
                width,
                pointer_dim=int(gaze.get("pointer_dim", USUAL_POINTER)),
                findings=len(gaze.get("finding_names", ())) - len(gaze.get("usual_places", ())),
                placed=len(gaze.get("usual_places", ())),
                use_previous_patch=bool(gaze.get("use_previous_patch", True)),
                index_patches=int(gaze.get("index_patches", 0)),
            ),
        )
    except KeyError as error:
        raise ValueError(f"config.json lacks {error.args[0]}; it must be that of a Qwen2.5-VL or of GazeVLM") from None
    except (TypeError, ZeroDivisionError) as error:
        raise ValueError(f"config.json is not a Qwen2.5-VL's: {error}") from None
