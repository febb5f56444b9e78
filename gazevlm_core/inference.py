"""Asking a model: image and question in, scanpath first, then the words.

The engine holds one checkpoint and at most one adapter. Calls from several threads wait for each other.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import StoppingCriteria, StoppingCriteriaList, TextIteratorStreamer

from gazevlm_core.geometry import PatchGrid
from gazevlm_core.images.base import check_ratio
from gazevlm_core.model.adapters import AttachedAdapter, adapter_stamp, attach_adapter
from gazevlm_core.model.checkpoint import NANO, Checkpoint, load_checkpoint
from gazevlm_core.model.config import GazeConfig
from gazevlm_core.model.gaze_model import GazePass
from gazevlm_core.model.walks import WalkedPath, choose_path
from gazevlm_core.options import DEFAULT_QUESTION, DiagnoseOptions, Precision
from gazevlm_core.prompt import encode_prompts, render_prompt
from gazevlm_core.records import Diagnosis
from gazevlm_core.scanpath import Fixation, Scanpath

TEXT_THREAD = "gazevlm-text"
KEPT_IMAGES = 8
UNTRAINED_NOTE = "This model's gaze weights are untrained, so no scanpath is shown."
STRANGE_NOTE = (
    "This image is unlike what the model was trained on ({trained_on}): {times:.1f} times the distance that such "
    "images stay within. Its path, probabilities and words mean nothing here."
)


@dataclass(frozen=True, eq=False)
class EncodedImage:
    """An image after the vision tower; reusable for any number of questions.

    Args:
        tokens: [P, D].
        grid_thw: int64 [3], before the merge.
        grid: merged.
    """

    tokens: torch.Tensor
    grid_thw: torch.Tensor
    grid: PatchGrid


class _Cancelled(StoppingCriteria):
    def __init__(self) -> None:
        self.event = threading.Event()

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **_: Any) -> torch.Tensor:
        return torch.full((len(input_ids),), self.event.is_set(), device=input_ids.device)


class GazeEngine:
    """One loaded model, ready for many images. The last images' vision tokens are kept for follow-up questions.

    Args:
        checkpoint: from `load_checkpoint`.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.model, self.processor = checkpoint.model, checkpoint.processor
        self._adapter: AttachedAdapter | None = None
        self._lock = threading.Lock()
        self._encoded: OrderedDict[object, EncodedImage] = OrderedDict()  # by adapter and digest, oldest first
        size = self.processor.image_processor.size
        self._own_limits = (int(size["shortest_edge"]), int(size["longest_edge"]))

    @classmethod
    def load(
        cls,
        source: str = NANO,
        *,
        adapter: Path | None = None,
        precision: Precision = Precision.AUTO,
        device: str = "auto",
    ) -> "GazeEngine":
        """Load a model and, if given, an adapter; errors as in `load_checkpoint` and `attach_adapter`."""
        engine = cls(load_checkpoint(source, precision=precision, device=device))
        if adapter is not None:
            engine.use_adapter(adapter)
        return engine

    @property
    def adapter_id(self) -> str | None:
        """Name of the attached adapter."""
        return self._adapter.name if self._adapter else None

    @property
    def gaze_config(self) -> GazeConfig:
        """Configuration of the gaze parts as they are now, with the adapter's where one is attached."""
        return self.model.config.gaze_config

    @property
    def _stamp(self) -> tuple[object, ...] | None:
        return self._adapter.stamp if self._adapter else None

    def use_adapter(self, folder: Path | None) -> None:
        """Swap the adapter; None is the bare model. The base is not loaded again; errors as in `attach_adapter`."""
        with self._lock:
            if self._stamp == (None if folder is None else adapter_stamp(folder)):
                return
            if self._adapter is not None:
                self._adapter.detach()
                self._adapter = None
            self._resize_as(None)
            if folder is not None:
                self._adapter = attach_adapter(self.model, folder)
                self._resize_as(self.gaze_config.pixel_limits)

    def _resize_as(self, limits: tuple[int, int] | None) -> None:
        """Resize images as an adapter was trained to see them; None is the checkpoint's own way."""
        least, most = limits or self._own_limits
        size = self.processor.image_processor.size
        size["shortest_edge"], size["longest_edge"] = least, most

    @torch.no_grad()
    def encode_images(self, images: Sequence[Image.Image]) -> list[EncodedImage]:
        """Run the vision tower over upright RGB images of any size.

        Raises:
            ImageError: an image is far too long for its width.
        """
        for image in images:
            check_ratio(*image.size)
        pixels = self.processor.image_processor(images=list(images), return_tensors="pt")
        grids = pixels["image_grid_thw"]
        device = self.model.device
        tokens = self.model.encode_images(pixels["pixel_values"].to(device), grids.to(device))
        merge = self.processor.image_processor.merge_size
        return [
            EncodedImage(rows, thw, PatchGrid.from_grid_thw(thw.tolist(), merge))
            for rows, thw in zip(tokens, grids, strict=True)
        ]

    def _encode_once(self, image: Image.Image) -> EncodedImage:
        """`encode_images` for one image, or what it gave when the same pixels were asked about before."""
        shape = f"{image.mode} {image.size}".encode()
        # an adapter may change the vision tower
        key = (self._stamp, hashlib.sha256(shape + image.tobytes()).digest())
        encoded = self._encoded.pop(key, None) or self.encode_images([image])[0]
        self._encoded[key] = encoded
        if len(self._encoded) > KEPT_IMAGES:
            self._encoded.popitem(last=False)
        return encoded

    def strangeness(self, image: EncodedImage) -> float | None:
        """How unlike the training images an image is: above 1, unlike them; None where the checkpoint cannot tell."""
        familiarity = self.checkpoint.familiarity
        return None if familiarity is None else familiarity.strangeness(image.tokens)

    def look(self, images: Sequence[EncodedImage], questions: Sequence[str], *, gaze: bool | None = None) -> GazePass:
        """One pass of the backbone over a batch of images and questions.

        Args:
            gaze: whether the prompts hold gaze tokens; None takes them where the gaze weights or findings are trained.
        """
        config = self.gaze_config
        used = (config.gaze_trained or config.findings_trained) if gaze is None else gaze
        steps = config.num_gaze_tokens if used else 0
        prompts = [render_prompt(self.processor, question, steps) for question in questions]
        encoded = encode_prompts(self.processor, prompts, [image.grid for image in images])
        device = self.model.device
        return self.model.look(
            encoded.input_ids.to(device),
            encoded.attention_mask.to(device),
            encoded.mm_token_type_ids.to(device),
            torch.stack([image.grid_thw for image in images]).to(device),
            tuple(image.tokens.to(device) for image in images),  # kept features lie on the CPU
        )

    def describe(self, gaze_pass: GazePass, row: int, image: EncodedImage, options: DiagnoseOptions) -> Diagnosis:
        """What one row of a pass says before any word: path and findings; the answer is still empty."""
        config, grid, strangeness = self.gaze_config, image.grid, self.strangeness(image)
        probabilities: dict[str, float] = {}
        if gaze_pass.gaze_hidden is not None and config.findings_trained:
            logits = self.model.finding_logits(gaze_pass, row)
            probabilities = dict(zip(config.finding_names, logits.sigmoid().tolist(), strict=True))
        notes: tuple[str, ...] = ()
        if strangeness is not None and strangeness > 1:
            notes = (STRANGE_NOTE.format(trained_on=config.trained_on, times=strangeness),)
        blank = Diagnosis(
            "", probabilities, None, None, (), grid, self.checkpoint.model_id, self.adapter_id, notes, strangeness
        )
        if gaze_pass.gaze_hidden is None or not config.gaze_trained:
            return replace(blank, notes=(UNTRAINED_NOTE, *notes))
        path = choose_path(
            self.model.pointer_field(gaze_pass, row),
            options.path,
            walks=options.walks,
            temperature=options.path_temperature,
            seed=options.path_seed,
            given=[grid.index_of(fixation) for fixation in options.given],
        )
        return replace(
            blank,
            scanpath=self._scanpath(gaze_pass, row, path, grid, options),
            patch_probabilities=path.probabilities,
            fixation_probabilities=path.chosen,
        )

    @torch.no_grad()
    def _scanpath(
        self, gaze_pass: GazePass, row: int, path: WalkedPath, grid: PatchGrid, options: DiagnoseOptions
    ) -> Scanpath:
        durations: list[float | None] = [None] * len(path.patches)
        if self.gaze_config.dwell_trained and gaze_pass.gaze_hidden is not None:
            states = gaze_pass.gaze_hidden[row, : len(path.patches)]
            fixated = gaze_pass.patch_hidden[row][list(path.patches)]
            durations = list(self.model.gaze_heads.log_durations(states, fixated).exp().tolist())
        fixations = []
        for step, (patch, duration_ms) in enumerate(zip(path.patches, durations, strict=True)):
            if step < len(options.given):
                fixations.append(options.given[step])
            else:
                x, y = grid.center_of(patch)
                fixations.append(Fixation(x, y, duration_ms))
        return Scanpath(tuple(fixations), "model")

    def stream(
        self, image: Image.Image, question: str = DEFAULT_QUESTION, options: DiagnoseOptions | None = None
    ) -> Generator[Diagnosis, None, None]:
        """Diagnose one image: first yields the path and findings with an empty answer, then growing answers.

        The last record is complete. Closing the iterator stops the generation.
        """
        options = options or DiagnoseOptions()
        with self._lock:
            encoded = self._encode_once(image)
            gaze_pass = self.look([encoded], [question])
            record = self.describe(gaze_pass, 0, encoded, options)
            yield record
            for answer in self._stream_text(gaze_pass, options):
                record = replace(record, answer=answer)
                yield record

    def _stream_text(self, gaze_pass: GazePass, options: DiagnoseOptions) -> Iterator[str]:
        streamer = TextIteratorStreamer(self.processor.tokenizer, skip_prompt=True, skip_special_tokens=True)
        cancelled = _Cancelled()
        failures: list[BaseException] = []

        def generate() -> None:
            try:
                self._generate(gaze_pass, options, streamer=streamer, cancelled=cancelled)
            except BaseException as error:  # carried to the caller's thread below
                failures.append(error)
                streamer.end()

        worker = threading.Thread(target=generate, name=TEXT_THREAD, daemon=True)
        worker.start()
        answer = ""
        try:
            for piece in streamer:
                answer += piece
                if piece:
                    yield answer.strip()
        finally:
            cancelled.event.set()
            worker.join()
        if failures:
            raise failures[0]

    def _generate(
        self,
        gaze_pass: GazePass,
        options: DiagnoseOptions,
        *,
        streamer: TextIteratorStreamer | None = None,
        cancelled: _Cancelled | None = None,
    ) -> torch.Tensor:
        sampling: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        if options.text_temperature > 0:
            sampling = {"do_sample": True, "temperature": options.text_temperature, "top_p": 1.0, "top_k": 0}
        with torch.random.fork_rng(devices=[self.model.device] if self.model.device.type == "cuda" else []):
            torch.manual_seed(options.text_seed)
            return self.model.continue_text(
                gaze_pass,
                max_new_tokens=options.max_new_tokens,
                streamer=streamer,
                stopping_criteria=StoppingCriteriaList([cancelled] if cancelled else []),
                repetition_penalty=1.0,
                **sampling,
            )

    def diagnose(
        self, image: Image.Image, question: str = DEFAULT_QUESTION, options: DiagnoseOptions | None = None
    ) -> Diagnosis:
        """Diagnose one image and wait for the whole answer."""
        return self.diagnose_batch([image], [question], options)[0]

    def diagnose_batch(
        self, images: Sequence[Image.Image], questions: Sequence[str], options: DiagnoseOptions | None = None
    ) -> list[Diagnosis]:
        """Diagnose several images in one pass; grids may differ.

        Raises:
            ValueError: no image, or a different number of questions.
        """
        if not images or len(images) != len(questions):
            raise ValueError(f"one question per image is needed, got {len(images)} images, {len(questions)} questions")
        options = options or DiagnoseOptions()
        with self._lock:
            encoded = self.encode_images(images)
            gaze_pass = self.look(encoded, questions)
            records = [self.describe(gaze_pass, row, image, options) for row, image in enumerate(encoded)]
            answers = self._generate(gaze_pass, options)
        texts = self.processor.tokenizer.batch_decode(answers, skip_special_tokens=True)
        return [replace(record, answer=text.strip()) for record, text in zip(records, texts, strict=True)]

