"""Qwen2.5-VL as a backbone. The embedded checkpoint is one."""

from functools import partial

from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
from transformers.conversion_mapping import get_checkpoint_conversion_mapping, register_checkpoint_conversion_mapping

from gazevlm_core.model.configuration_gazevlm import GazeConfig, GazeVLMConfig
from gazevlm_core.model.modeling_gazevlm import GazeVLM


class GazeQwen2_5_VLConfig(Qwen2_5_VLConfig, GazeVLMConfig):
    """Qwen2.5-VL's configuration with gaze parts."""

    model_type = "gazevlm"  # as checkpoints have it from when this was the only family
    sub_configs = {**Qwen2_5_VLConfig.sub_configs, "gaze": GazeConfig}  # noqa: RUF012 (as the base class declares it)


def _config(
    width: int, layers: int, heads: int, key_heads: int, mlp: int, rows: int = 152_064, *, tied: bool = False,
    tower: tuple[int, int, int, int] = (32, 1280, 3420, 16), text_layers: int | None = None,
    vision_layers: int | None = None,
) -> Qwen2_5_VLConfig:  # fmt: skip
    """Return a configuration as it is published; `tower` is depth, width, feed-forward width and heads of the vision
    tower. `text_layers` and `vision_layers` make it shallower."""
    depth, head = vision_layers or tower[0], width // heads
    sections = [head // 8, head * 3 // 16, head * 3 // 16]
    return Qwen2_5_VLConfig(
        text_config={
            "vocab_size": rows, "hidden_size": width, "intermediate_size": mlp,
            "num_hidden_layers": text_layers or layers, "num_attention_heads": heads, "num_key_value_heads": key_heads,
            "max_position_embeddings": 128_000, "rms_norm_eps": 1e-6,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0, "mrope_section": sections},
        },
        vision_config={
            "depth": depth, "hidden_size": tower[1], "intermediate_size": tower[2], "num_heads": tower[3],
            "out_hidden_size": width, "window_size": 112, "tokens_per_second": 2,
            "fullatt_block_indexes": [layer for layer in (7, 15, 23, 31) if layer < depth] or [depth - 1],
        },
        tie_word_embeddings=tied,
    )  # fmt: skip


class GazeQwen2_5_VL(GazeVLM, Qwen2_5_VLForConditionalGeneration):
    """Qwen2.5-VL with gaze."""

    config_class = GazeQwen2_5_VLConfig
    family = "Qwen2.5-VL"
    plain = Qwen2_5_VLForConditionalGeneration
    plain_processor = "Qwen2_5_VLProcessor"
    vision_name = "model.visual"
    # Anchored: a bare `gate_proj` would also hit the vision tower.
    language_layers = r".*language_model\..*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
    vision_layers = r".*visual\.blocks\..*\.(qkv|proj|gate_proj|up_proj|down_proj)"
    preprocessing = {"size": {"shortest_edge": 56 * 56, "longest_edge": 1280 * 28 * 28}}  # noqa: RUF012
    published = {  # noqa: RUF012
        "Qwen/Qwen2.5-VL-3B-Instruct": partial(_config, 2048, 36, 16, 2, 11_008, 151_936, tied=True),
        "Qwen/Qwen2.5-VL-7B-Instruct": partial(_config, 3584, 28, 28, 4, 18_944),
        "Qwen/Qwen2.5-VL-72B-Instruct": partial(_config, 8192, 80, 64, 8, 29_568, tower=(32, 1280, 3456, 16)),
    }
    tiny = partial(_config, 64, 2, 2, 1, 128, tied=True, tower=(2, 32, 64, 2))


# It is stored under other parameter names than it is built with; the library finds the renaming by class name.
register_checkpoint_conversion_mapping(
    GazeQwen2_5_VL.__name__,
    get_checkpoint_conversion_mapping(Qwen2_5_VLForConditionalGeneration.__name__),
    overwrite=True,  # read from two checkpoints' folders, this module runs twice
)
