"""Gaze tokens: their names, and how their ids are looked up. No token id is ever written as a number."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

GAZE_TOKEN = "<st>"  # placeholder whose hidden state points at the next fixation (arXiv 2603.06697)
IMAGE_TOKEN = "<|image_pad|>"
VIDEO_TOKEN = "<|video_pad|>"
VISION_START_TOKEN = "<|vision_start|>"
VISION_END_TOKEN = "<|vision_end|>"
TURN_START_TOKEN = "<|im_start|>"
TURN_END_TOKEN = "<|im_end|>"
END_OF_TEXT_TOKEN = "<|endoftext|>"
ASSISTANT_HEADER = f"{TURN_START_TOKEN}assistant\n"  # as the family's chat templates open an answer


def gaze_run(length: int) -> str:
    """The text of `length` gaze tokens, as it stands before the answer.

    Raises:
        ValueError: length below 1.
    """
    if length < 1:
        raise ValueError(f"a scanpath needs at least one gaze token, got {length}")
    return GAZE_TOKEN * length


def add_gaze_token(tokenizer: "PreTrainedTokenizerBase") -> int:
    """Make sure that the tokenizer holds `<st>` as one special token; its id."""
    if GAZE_TOKEN not in tokenizer.get_vocab():
        tokenizer.add_tokens([GAZE_TOKEN], special_tokens=True)
    return token_id(tokenizer, GAZE_TOKEN)


def token_id(tokenizer: "PreTrainedTokenizerBase", token: str) -> int:
    """Id of a token that must be one piece.

    Raises:
        ValueError: the tokenizer splits the text or does not know it.
    """
    ids: Sequence[int] = tokenizer.encode(token, add_special_tokens=False)
    if len(ids) != 1:
        raise ValueError(f"the tokenizer does not hold {token!r} as one token; is this a Qwen2.5-VL tokenizer?")
    return int(ids[0])
