"""Qwen3-VL as a backbone. Features from inside its vision tower are added in the first layers of its language model
(DeepStack, arXiv 2406.04334), so they are a part of what is kept of an image."""

from collections.abc import Sequence
from functools import partial

import torch
from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration
from transformers.models.qwen3_vl.modeling_qwen3_vl import BaseModelOutputWithDeepstackFeatures
from transformers.utils import ModelOutput

from gazevlm_core.model.configuration_gazevlm import GazeConfig, GazeVLMConfig
from gazevlm_core.model.modeling_gazevlm import GazeVLM


class GazeQwen3VLConfig(Qwen3VLConfig, GazeVLMConfig):
    """Qwen3-VL's configuration with gaze parts."""

    model_type = "gazevlm_qwen3_vl"
    sub_configs = {**Qwen3VLConfig.sub_configs, "gaze": GazeConfig}  # noqa: RUF012 (as the base class declares it)


def _config(
    width: int, layers: int, heads: int, mlp: int, tower: tuple[int, int, int, int], deep: Sequence[int],
    rows: int = 151_936, *, tied: bool, key_heads: int = 8, head: int = 128, text_layers: int | None = None,
    vision_layers: int | None = None,
) -> Qwen3VLConfig:  # fmt: skip
    """Return a configuration as it is published; `tower` is depth, width, feed-forward width and heads of the vision
    tower, `deep` its layers whose features are kept. `text_layers` and `vision_layers` make it shallower."""
    depth, sections = vision_layers or tower[0], [head * 3 // 16, head * 5 // 32, head * 5 // 32]
    return Qwen3VLConfig(
        text_config={
            "vocab_size": rows, "hidden_size": width, "intermediate_size": mlp,
            "num_hidden_layers": text_layers or layers, "num_attention_heads": heads, "num_key_value_heads": key_heads,
            "head_dim": head, "max_position_embeddings": 262_144,
            "rope_parameters": {
                "rope_type": "default", "rope_theta": 5_000_000.0, "mrope_section": sections, "mrope_interleaved": True,
            },
        },
        vision_config={
            "depth": depth, "hidden_size": tower[1], "intermediate_size": tower[2], "num_heads": tower[3],
            "out_hidden_size": width,
            "deepstack_visual_indexes": [layer for layer in deep if layer < depth] or [depth - 1],
        },
        tie_word_embeddings=tied,
    )  # fmt: skip


SMALL_TOWER, LARGE_TOWER = ((24, 1024, 4096, 16), (5, 11, 17)), ((27, 1152, 4304, 16), (8, 16, 24))


class GazeQwen3VL(GazeVLM, Qwen3VLForConditionalGeneration):
    """Qwen3-VL with gaze."""

    config_class = GazeQwen3VLConfig
    family = "Qwen3-VL"
    plain = Qwen3VLForConditionalGeneration
    plain_processor = "Qwen3VLProcessor"
    vision_name = "model.visual"
    language_layers = r".*language_model\..*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
    vision_layers = r".*visual\.blocks\..*\.(qkv|proj|linear_fc1|linear_fc2)"
    normed_heads = True
    preprocessing = {  # noqa: RUF012
        "size": {"shortest_edge": 256 * 256, "longest_edge": 4096 * 4096}, "patch_size": 16,
        "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
    }  # fmt: skip
    published = {  # noqa: RUF012
        "Qwen/Qwen3-VL-2B-Instruct": partial(_config, 2048, 28, 16, 6144, *SMALL_TOWER, tied=True),
        "Qwen/Qwen3-VL-4B-Instruct": partial(_config, 2560, 36, 32, 9728, *SMALL_TOWER, tied=True),
        "Qwen/Qwen3-VL-8B-Instruct": partial(_config, 4096, 36, 32, 12_288, *LARGE_TOWER, tied=False),
        "Qwen/Qwen3-VL-32B-Instruct": partial(_config, 5120, 64, 64, 25_600, *LARGE_TOWER, tied=False),
    }
    tiny = partial(_config, 64, 2, 2, 128, (2, 32, 64, 2), (0,), tied=True, key_heads=1, head=32)

    def encode_images(self, pixel_values: torch.Tensor, image_grid_thw: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return merged tokens, and behind them those of each inner layer: [P_b, (1 + layers) x D]."""
        found = self.model.get_image_features(pixel_values, image_grid_thw, return_dict=True)
        levels = (found.pooler_output, *found.deepstack_features)
        return tuple(torch.cat(levels_of_one, dim=-1) for levels_of_one in zip(*levels, strict=True))

    def image_features(self, image_tokens: Sequence[torch.Tensor]) -> ModelOutput:
        """Return the levels apart again."""
        width = self.config.text_config.hidden_size
        merged, *deep = zip(*(tokens.split(width, dim=-1) for tokens in image_tokens), strict=True)
        return BaseModelOutputWithDeepstackFeatures(pooler_output=merged, deepstack_features=deep)

    @property
    def image_token_width(self) -> int:
        """D for the merged token, and as much for each inner layer."""
        return self.config.text_config.hidden_size * (1 + len(self.config.vision_config.deepstack_visual_indexes))

