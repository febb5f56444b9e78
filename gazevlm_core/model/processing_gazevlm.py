"""The processor: a Qwen-VL's image processor and tokenizer without the video part, plus the gaze tokens of a prompt.

The one renderer of prompts, for training and for inference alike. User turn: image, question. Assistant turn: `<st>` x
K, glimpses where the model has them, then the answer. The chat template is the checkpoint's own. No token id is written
as a number.
"""

from collections.abc import Sequence
from os import PathLike
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    BatchFeature,
    PretrainedConfig,
    PreTrainedTokenizerBase,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessorPil,
)
from transformers.image_transforms import to_pil_image
from transformers.image_utils import load_image, make_flat_list_of_images
from transformers.processing_utils import ProcessorMixin

from gazevlm_core.geometry import PatchGrid
from gazevlm_core.model.configuration_gazevlm import GazeConfig
from gazevlm_core.model.glimpses import fine_image

GAZE_TOKEN = "<st>"  # placeholder whose hidden state points at the next fixation (arXiv 2603.06697)
IMAGE_TOKEN = "<|image_pad|>"
VIDEO_TOKEN = "<|video_pad|>"
VISION_START_TOKEN = "<|vision_start|>"
VISION_END_TOKEN = "<|vision_end|>"
TURN_START_TOKEN = "<|im_start|>"
TURN_END_TOKEN = "<|im_end|>"
END_OF_TEXT_TOKEN = "<|endoftext|>"
ASSISTANT_HEADER = f"{TURN_START_TOKEN}assistant\n"  # as the family's chat templates open an answer
IGNORED_LABEL = -100
DEEP_MODES = ("I", "F")  # of Pillow's, of more than 8 bits, by their beginnings


class GazeVLMProcessor(Qwen2_5_VLProcessor):
    """Turns images into patches and text into tokens; knows `<st>`, and how many of them a prompt holds.

    The video processor of the base class needs torchvision and a GazeVLM never sees a video, so it is left out: this
    class has an image processor, a tokenizer and a chat template, saves and loads them, and reads the folder of a plain
    backbone.

    `num_gaze_tokens` and `gaze_config` are read from the model's configuration beside it and never stored a second
    time. An adapter may want others: `processor.num_gaze_tokens = model.config.gaze_config.num_prompt_tokens`, and for
    glimpses `processor.gaze_config = model.config.gaze_config`.

    Args:
        image_processor: resizes images and cuts them into patches.
        tokenizer: of a Qwen-VL; `<st>` is added if it is missing.
        chat_template: Jinja template; the tokenizer's own where None.

    Raises:
        ValueError: the tokenizer lacks the image token.
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
        if GAZE_TOKEN not in tokenizer.get_vocab():
            tokenizer.add_tokens([GAZE_TOKEN], special_tokens=True)
        self.gaze_token_id = token_id(tokenizer, GAZE_TOKEN)
        self.num_gaze_tokens: int | None = None
        self.gaze_config: GazeConfig | None = None
        ProcessorMixin.__init__(
            self, image_processor, tokenizer, chat_template=chat_template or tokenizer.chat_template
        )

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | PathLike, **kwargs: Any) -> "GazeVLMProcessor":
        """Load as the library does; gaze tokens and glimpses are those of the model that lies there, if one does.

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
            processor.gaze_config = GazeConfig.from_dict(values.get("gaze") or {})
            processor.num_gaze_tokens = processor.gaze_config.num_prompt_tokens
            processor.pixel_limits = processor.gaze_config.pixel_limits or processor.pixel_limits
        return processor

    @property
    def pixel_limits(self) -> tuple[int, int]:
        """Smallest and largest image in pixels after resizing."""
        size = self.image_processor.size
        return int(size["shortest_edge"]), int(size["longest_edge"])

    @pixel_limits.setter
    def pixel_limits(self, limits: tuple[int, int]) -> None:
        size = self.image_processor.size
        size["shortest_edge"], size["longest_edge"] = limits

    @property
    def model_input_names(self) -> list[str]:
        """Names of the tensors that a prompt becomes; the last two for a model with glimpses alone."""
        names = ["input_ids", "attention_mask", "mm_token_type_ids", "pixel_values", "image_grid_thw"]
        return [*names, "fine_images", "fine_sizes"] if self._glimpses else names

    @property
    def _glimpses(self) -> bool:
        return self.gaze_config is not None and self.gaze_config.num_prompt_glimpses > 0

    def grids(self, image_grid_thw: torch.Tensor) -> list[PatchGrid]:
        """Return the grid of image tokens of each image, from the image processor's int64 [B, 3]."""
        return [PatchGrid.from_grid_thw(thw, self.image_processor.merge_size) for thw in image_grid_thw.tolist()]

    def glimpse_pixels(self, glimpses: Sequence[Image.Image]) -> torch.Tensor:
        """Return patches of glimpses, which have their size already, as the vision tower takes them."""
        return self.image_processor(images=list(glimpses), do_resize=False, return_tensors="pt")["pixel_values"]

    def grid_of(self, width: int, height: int) -> PatchGrid:
        """Return the grid of image tokens of an image of a size in pixels, as `grids` would without the image."""
        from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

        token_px = self.image_processor.patch_size * self.image_processor.merge_size
        least, most = self.pixel_limits
        sides = smart_resize(height, width, token_px, min_pixels=least, max_pixels=most)
        return PatchGrid(*(side // token_px for side in sides))

    def count_image_tokens(self, width: int, height: int) -> int:
        """Return image tokens of an image of a size in pixels."""
        return len(self.grid_of(width, height))

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

        Returns:
            What the library's processor returns and, for a model with glimpses, what these are cut from: fine_images,
            uint8 [B, H, W, 3], padded, and fine_sizes, int64 [B, 2], height and width of each.

        Raises:
            ValueError: nobody said how many gaze tokens the model wants, nothing is left of a question, or an image has
                more than 8 bits, of which the library would show nearly all as white.
        """
        for image in [] if images is None else make_flat_list_of_images(images):
            if isinstance(image, Image.Image) and image.mode.startswith(DEEP_MODES):
                raise ValueError(f"an image of mode {image.mode} has more than 8 bits; give as_rgb(image), of "
                                 "gazevlm_core.images, or make 8 bits of it yourself")
        kwargs = {"padding": True, "padding_side": "left", **kwargs}
        if text is not None:
            text = [self._prompt_of(one) for one in ([text] if isinstance(text, str) else text)]
        found = super().__call__(images=images, text=text, **kwargs)
        if images is not None and self._glimpses:
            found.update(self._fine(images, found["image_grid_thw"]))
        return found

    def _fine(self, images: Any, image_grid_thw: Any) -> dict[str, torch.Tensor]:  # noqa: ANN401 (as the library's)
        """Return what glimpses of some images are cut from; see `fine_image`."""
        assert self.gaze_config is not None
        token_px = self.image_processor.patch_size * self.image_processor.merge_size
        fine = [
            np.asarray(fine_image(_pixels(image), grid, token_px, self.gaze_config))
            for image, grid in zip(
                make_flat_list_of_images(images), self.grids(torch.as_tensor(image_grid_thw)), strict=True
            )
        ]
        sizes = np.array([image.shape[:2] for image in fine])
        padded = np.zeros((len(fine), *sizes.max(axis=0), 3), dtype=np.uint8)
        for row, image in zip(padded, fine, strict=True):
            row[: image.shape[0], : image.shape[1]] = image
        return {"fine_images": torch.from_numpy(padded), "fine_sizes": torch.from_numpy(sizes)}

    def _prompt_of(self, text: str) -> str:
        """Return a question or a rendered conversation with the gaze tokens in it."""
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
        return before + header + GAZE_TOKEN * self.num_gaze_tokens + answer


def _pixels(image: Any) -> Image.Image:  # noqa: ANN401 (as the library's)
    """Whatever the library takes for an image, as RGB."""
    if not isinstance(image, Image.Image):
        image = load_image(image) if isinstance(image, str) else to_pil_image(image)
    return image.convert("RGB")


def clean_text(processor: GazeVLMProcessor, text: str) -> str:
    """Return text without any special token, so that no user can forge turns, images or gaze tokens."""
    specials = sorted(processor.tokenizer.get_added_vocab(), key=len, reverse=True)
    previous = None
    while previous != text:  # removing one may join the halves of another
        previous = text
        for special in specials:
            text = text.replace(special, "")
    return text.strip()


def render_prompt(processor: GazeVLMProcessor, question: str, num_gaze_tokens: int) -> str:
    """Return the prompt up to and with the gaze tokens; the image is one `<|image_pad|>`, expanded as the image is
    encoded.

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
    return text + GAZE_TOKEN * num_gaze_tokens


def encode_prompts(
    processor: GazeVLMProcessor,
    prompts: Sequence[str],
    grids: Sequence[PatchGrid],
    answers: Sequence[str] | None = None,
    glimpses: Sequence[int] | None = None,
    glimpse_tokens: int = 0,
) -> BatchFeature:
    """Return tokens of a batch, one image per row: padded on the left for generation, on the right with answers for
    training.

    Args:
        processor: its tokenizer is used.
        prompts: from `render_prompt`.
        grids: the merged grid of each row's image.
        answers: what the assistant should say; closed with the turn end.
        glimpses: how many each row has behind its prompt; None for none.
        glimpse_tokens: T, image tokens of each.

    Returns:
        int64 [B, L] each: input_ids; attention_mask, 0 at padding; mm_token_type_ids, 1 at image tokens, without which
        positions silently become one-dimensional; with answers, labels, -100 outside them.

    Raises:
        ValueError: a prompt that does not hold exactly one image.
    """
    tokenizer, side = processor.tokenizer, "left" if answers is None else "right"
    rows, label_rows = [], []
    for index, (prompt, grid) in enumerate(zip(prompts, grids, strict=True)):
        if prompt.count(IMAGE_TOKEN) != 1:
            raise ValueError(f"prompt {index} must hold exactly one image, got {prompt.count(IMAGE_TOKEN)}")
        text = prompt.replace(IMAGE_TOKEN, IMAGE_TOKEN * len(grid))
        if glimpses is not None:
            text += (VISION_START_TOKEN + IMAGE_TOKEN * glimpse_tokens + VISION_END_TOKEN) * glimpses[index]
        ids = tokenizer.encode(text, add_special_tokens=False)
        answer = []
        if answers is not None:
            answer = tokenizer.encode(clean_text(processor, answers[index]), add_special_tokens=False)
            answer.append(token_id(tokenizer, TURN_END_TOKEN))
        rows.append(torch.tensor(ids + answer))
        label_rows.append(torch.tensor([IGNORED_LABEL] * len(ids) + answer))

    def padded(tensors: list[torch.Tensor], fill: int) -> torch.Tensor:
        return pad_sequence(tensors, batch_first=True, padding_value=fill, padding_side=side)

    input_ids = padded(rows, tokenizer.pad_token_id)
    batch = {
        "input_ids": input_ids,
        "attention_mask": padded([torch.ones_like(row) for row in rows], 0),
        "mm_token_type_ids": (input_ids == processor.image_token_id).long(),
    }
    return BatchFeature(batch if answers is None else {**batch, "labels": padded(label_rows, IGNORED_LABEL)})


def token_id(tokenizer: PreTrainedTokenizerBase, token: str) -> int:
    """Return the id of a token that must be one piece.

    Raises:
        ValueError: the tokenizer splits the text or does not know it.
    """
    ids: Sequence[int] = tokenizer.encode(token, add_special_tokens=False)
    if len(ids) != 1:
        raise ValueError(f"the tokenizer does not hold {token!r} as one token; is this a Qwen-VL tokenizer?")
    return int(ids[0])
