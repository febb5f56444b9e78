"""Adapters elsewhere: merged into their base, as a file, on the Hub. What can be chosen is here, free of torch."""

from enum import StrEnum


class Storage(StrEnum):
    """How the weights of a merged model are written; AUTO is 16 bits, float16 where the base computes in float32 (its
    rounding is finer) and else the base's own."""

    AUTO = "auto"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    FLOAT32 = "float32"


class Form(StrEnum):
    """What a merged model is: ours, or a plain Qwen2.5-VL, which any server of that family loads, without gaze."""

    GAZEVLM = "gazevlm"
    QWEN2_5_VL = "qwen2_5_vl"
