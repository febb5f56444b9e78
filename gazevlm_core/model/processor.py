"""The processor: Qwen2.5-VL's image processor and tokenizer without the video part, plus the gaze token."""

from transformers import PreTrainedTokenizerBase, Qwen2_5_VLProcessor, Qwen2VLImageProcessorPil
from transformers.processing_utils import ProcessorMixin

from gazevlm_core.tokens import IMAGE_TOKEN, add_gaze_token, token_id


class GazeVLMProcessor(Qwen2_5_VLProcessor):
    """Turns images into patches and text into tokens; knows `<st>`.

    The video processor of the base class needs torchvision and a GazeVLM never sees a video, so it is left out: this
    class has an image processor, a tokenizer and a chat template, saves and loads them, and reads a Qwen2.5-VL folder.

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
        ProcessorMixin.__init__(
            self, image_processor, tokenizer, chat_template=chat_template or tokenizer.chat_template
        )

    @property
    def model_input_names(self) -> list[str]:
        """Names of the tensors that a prompt becomes."""
        return ["input_ids", "attention_mask", "mm_token_type_ids", "pixel_values", "image_grid_thw"]
