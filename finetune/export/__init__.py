"""Adapters elsewhere: merged into their base, as a file, on the Hub. What can be chosen is here, free of torch."""

from enum import StrEnum


class Storage(StrEnum):
    """How the weights of a merged model are written; AUTO is 16 bits, float16 where the base computes in float32 (its
    rounding is finer) and else the base's own."""

    AUTO = "auto"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    FLOAT32 = "float32"


WITH_GAZE = "gazevlm"  # a merged model with gaze; without, it is written as a plain one by its family's `model_type`
