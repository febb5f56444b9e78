"""The processor: Qwen2.5-VL's image processor and tokenizer without the video part, plus the gaze tokens of a prompt.

The one renderer of prompts, for training and for inference alike. User turn: image, question. Assistant turn: `<st>` x
K, then the answer. The chat template is the checkpoint's own.
"""

from collections.abc import Sequence
from os import PathLike
from typing import Any

from transformers import (
    BatchFeature,
    PretrainedConfig,
    PreTrainedTokenizerBase,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessorPil,
)
from transformers.processing_utils import ProcessorMixin

from gazevlm_core.model.configuration_gazevlm import GazeConfig
from gazevlm_core.tokens import ASSISTANT_HEADER, GAZE_TOKEN, IMAGE_TOKEN, add_gaze_token, gaze_run, token_id


class GazeVLMProcessor(Qwen2_5_VLProcessor):
    """Turns images into patches and text into tokens; knows `<st>`, and how many of them a prompt holds.

    The video processor of the base class needs torchvision and a GazeVLM never sees a video, so it is left out: this
    class has an image processor, a tokenizer and a chat template, saves and loads them, and reads a Qwen2.5-VL folder.

    `num_gaze_tokens` is read from the model's configuration beside it and never stored a second time. An adapter may
    want another number: `processor.num_gaze_tokens = model.config.gaze_config.num_prompt_tokens`.

    Args:
        image_processor: cuts the resized image into 14 px patches.
        tokenizer: a Qwen2.5-VL tokenizer; `<st>` is added if it is missing.
        chat_template: Jinja template; the tokenizer's own where None.

    Raises:
        ValueError: the tokenizer lacks Qwen2.5-VL's image token.
    """

    def __init__(
        self,
        image_processor: Qwen2VLImageProcessorPil | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        chat_template: str | None = None,
    ) -> None:
        if tokenizer is None or image_processor is None:
            raise ValueError("a processor needs an image processor and a tokenizer")
        self.image_token = IMAGE_TOKEN
        self.image_token_id = token_id(tokenizer, IMAGE_TOKEN)
        self.gaze_token_id = add_gaze_token(tokenizer)
        self.num_gaze_tokens: int | None = None
        ProcessorMixin.__init__(
            self, image_processor, tokenizer, chat_template=chat_template or tokenizer.chat_template
        )

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | PathLike, **kwargs: Any) -> "GazeVLMProcessor":
        """As the library's; the number of gaze tokens is that of the model that lies there, if one does.

        Raises:
            ValueError: that model's gaze configuration cannot be read.
        """
        processor = super().from_pretrained(pretrained_model_name_or_path, **kwargs)
        kwargs.pop("trust_remote_code", None)  # no code is read here, and the library would say so
        try:
            values, _ = PretrainedConfig.get_config_dict(pretrained_model_name_or_path, **kwargs)
        except OSError:  # none on the Hub; in a folder, an empty one
            values = {}
        if values:
            processor.num_gaze_tokens = GazeConfig.from_dict(values.get("gaze") or {}).num_prompt_tokens
        return processor

    @property
    def model_input_names(self) -> list[str]:
        """Names of the tensors that a prompt becomes."""
        return ["input_ids", "attention_mask", "mm_token_type_ids", "pixel_values", "image_grid_thw"]

    def __call__(
        self,
        images: Any = None,  # noqa: ANN401 (see the library)
        text: str | Sequence[str] | None = None,
        **kwargs: Any,
    ) -> BatchFeature:
        """Prompts and their images as tensors, padded on the left, as generation wants them.

            inputs = processor(images=[image], text=["Is there edema?"], return_tensors="pt")

        Args:
            images: one per prompt, whatever the library takes for an image.
            text: questions, or prompts of `apply_chat_template`, whose open assistant turn gets the gaze tokens.
            kwargs: as in the library, e.g. `return_tensors="pt"`.

        Raises:
            ValueError: nobody said how many gaze tokens the model wants, or nothing is left of a question.
        """
        kwargs = {"padding": True, "padding_side": "left", **kwargs}
        if text is not None:
            text = [self._prompt_of(one) for one in ([text] if isinstance(text, str) else text)]
        return super().__call__(images=images, text=text, **kwargs)

    def _prompt_of(self, text: str) -> str:
        """A question or a rendered conversation with the gaze tokens in it."""
        if self.num_gaze_tokens is None:
            raise ValueError(
                "the number of gaze tokens is unknown: load the processor from the model's folder, or set "
                "processor.num_gaze_tokens = model.config.gaze_config.num_prompt_tokens"
            )
        before, header, answer = text.rpartition(ASSISTANT_HEADER)
        if not header:
            return render_prompt(self, text, self.num_gaze_tokens)
        if GAZE_TOKEN in answer or not self.num_gaze_tokens:
            return text
        return before + header + gaze_run(self.num_gaze_tokens) + answer


def clean_text(processor: GazeVLMProcessor, text: str) -> str:
    """Text without any special token, so that no user can forge turns, images or gaze tokens."""
    specials = sorted(processor.tokenizer.get_added_vocab(), key=len, reverse=True)
    previous = None
    while previous != text:  # removing one may join the halves of another
        previous = text
        for special in specials:
            text = text.replace(special, "")
    return text.strip()


def render_prompt(processor: GazeVLMProcessor, question: str, num_gaze_tokens: int) -> str:
    """The prompt up to and with the gaze tokens; the image is one `<|image_pad|>`, expanded as the image is encoded.

    Args:
        processor: whose chat template is used.
        question: what the user asks; special tokens in it are dropped.
        num_gaze_tokens: K; 0 for a model without trained gaze, which then answers at once.

    Raises:
        ValueError: nothing is left of the question.
    """
    question = clean_text(processor, question)
    if not question:
        raise ValueError("the question is empty; ask something about the image")
    content = [{"type": "image"}, {"type": "text", "text": question}]
    text = processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    return text + (gaze_run(num_gaze_tokens) if num_gaze_tokens else "")
