"""Inference: image and question in, first the scanpath, then the answer.

The engine holds one checkpoint and at most one adapter. Calls from several threads wait for each other.
"""

import threading
from collections import OrderedDict
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, overload

import torch
from PIL import Image

from gazevlm_core.generation import answers, sentence_shares, stream_text
from gazevlm_core.geometry import PatchGrid
from gazevlm_core.images import as_rgb, load_image
from gazevlm_core.images.base import check_ratio
from gazevlm_core.model.adapters import AttachedAdapter, adapter_stamp, attach_adapter
from gazevlm_core.model.checkpoint import (
    NANO,
    Checkpoint,
    CheckpointError,
    CheckpointFacts,
    describe_checkpoint,
    find_beside,
    load_checkpoint,
)
from gazevlm_core.model.configuration_gazevlm import GazeConfig
from gazevlm_core.model.glimpses import fine_image, windows_of
from gazevlm_core.model.outputs import EncodedImage, Glimpses, PrefillOutput
from gazevlm_core.model.path_sampling import DecodedPath
from gazevlm_core.model.processing_gazevlm import clean_text, render_prompt
from gazevlm_core.model.shared_prefix import Prefix, prefill_images, prefill_prompts
from gazevlm_core.options import DEFAULT_QUESTION, Attention, DiagnoseOptions, Precision
from gazevlm_core.records import Diagnosis, Glimpse, is_strange
from gazevlm_core.sample import pixel_digest
from gazevlm_core.scanpath import Place, fixations_at
from gazevlm_core.words import check_question, recognised

if TYPE_CHECKING:
    from gazevlm_core.datasets.trained_on import TrainedOn

ImageLike = Image.Image | str | Path
ImageList = list[Image.Image] | list[str] | list[Path] | list[ImageLike] | tuple[ImageLike, ...]
KEPT_IMAGES = 8
UNTRAINED_NOTE = "This model's gaze weights are untrained, so no scanpath is shown or followed."
OOD_NOTE = (
    "This image is unlike what the model was trained on ({trained_on}): {times:.1f} times the distance that such "
    "images stay within. Its path, probabilities and words mean nothing here."
)
OOD_UNKNOWN_NOTE = (
    "Whether this image is like those of the training is unknown: the adapter changed how the model sees images."
)


class GazeEngine:
    """One loaded model, ready for many images. The last images' vision tokens are kept for follow-up questions, and the
    last pass for further paths.

    Args:
        checkpoint: from `load_checkpoint`.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.model, self.processor = checkpoint.model, checkpoint.processor
        self._adapter: AttachedAdapter | None = None
        self._lock = threading.Lock()
        self._encoded: OrderedDict[object, EncodedImage] = OrderedDict()  # by adapter and digest, oldest first
        self._last: tuple[object, PrefillOutput] | None = None  # by those and the question
        self._own_limits = self.processor.pixel_limits

    @classmethod
    def load(
        cls,
        source: str = NANO,
        *,
        adapter: str | Path | None = None,
        precision: Precision | str = Precision.AUTO,
        device: str = "auto",
        attn: Attention = Attention.SDPA,
    ) -> "GazeEngine":
        """Load a model and, if given, an adapter; errors as in `load_checkpoint` and `attach_adapter`.

            engine = GazeEngine.load("Qwen/Qwen2.5-VL-3B-Instruct", adapter="my-adapter", precision="nf4")

        Args:
            source: a shipped checkpoint, a folder, or a Hub id.
            precision: how weights are held, see `Precision`.
            device: "auto", "cpu", "cuda" or "cuda:N".
            attn: how attention is computed, see `Attention`.
        """
        if precision not in list(Precision):
            raise CheckpointError(f"precision is one of {', '.join(Precision)}, not {precision}")
        engine = cls(load_checkpoint(str(source), precision=Precision(precision), device=device, attn=attn))
        if adapter is not None:
            engine.use_adapter(adapter)
        return engine

    def load_now(self) -> "GazeEngine":
        """Return this one, as `LazyEngine.load_now` does."""
        return self

    @property
    def facts(self) -> CheckpointFacts:
        """What its files say, without an adapter."""
        held, device = self.checkpoint.precision, self.model.device.type
        return CheckpointFacts(self.checkpoint.model_id, held, device, self.gaze_config)

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

    def use_adapter(self, folder: str | Path | None) -> None:
        """Swap the adapter; None is the bare model. The base is not loaded again; errors as in `attach_adapter`."""
        folder = None if folder is None else Path(folder)
        with self._lock:
            if self._stamp == (None if folder is None else adapter_stamp(folder)):
                return
            if self._adapter is not None:
                self._adapter.detach()
                self._adapter = None
            self.processor.pixel_limits = self._own_limits
            if folder is not None:
                self._adapter = attach_adapter(self.model, folder)
                # images are resized as the adapter was trained to see them
                self.processor.pixel_limits = self.gaze_config.pixel_limits or self._own_limits

    def recognise(self, question: str) -> str:
        """Return a question in the wording that the model was trained on; any question where it answers freely.

        Raises:
            UnknownQuestionError: the model was not trained on it; the message lists the questions that it knows.
            ValueError: it is empty or too long.
        """
        question = check_question(clean_text(self.processor, check_question(question)))
        return recognised(question, self.gaze_config.known_questions, self.adapter_id or self.checkpoint.model_id)

    @torch.no_grad()
    def encode_images(self, images: Sequence[Image.Image]) -> list[EncodedImage]:
        """Run the vision tower over upright images of any size.

        Raises:
            ImageError: an image is far too long for its width.
        """
        for image in images:
            check_ratio(*image.size)
        images = [as_rgb(image) for image in images]
        pixels = self.processor.image_processor(images=images, return_tensors="pt")
        grids = pixels["image_grid_thw"]
        device = self.model.device
        tokens = self.model.encode_images(pixels["pixel_values"].to(device), grids.to(device))
        merged = self.processor.grids(grids)
        fine = [self.fine(image, grid) for image, grid in zip(images, merged, strict=True)]
        return [EncodedImage(*one) for one in zip(tokens, grids, merged, fine, strict=True)]

    def fine(self, image: Image.Image, grid: PatchGrid) -> Image.Image | None:
        """Return what glimpses of an image are cut from; None for a model without glimpses."""
        if not self.gaze_config.num_prompt_glimpses:
            return None
        made = self.processor.image_processor
        return fine_image(as_rgb(image), grid, made.patch_size * made.merge_size, self.gaze_config)

    def _prefill_cached(
        self, image: Image.Image, question: str, options: DiagnoseOptions
    ) -> tuple[EncodedImage, PrefillOutput, dict[int, DecodedPath]]:
        """Encode and prefill one image, cached by its pixels; the last pass is kept for a further path."""
        # an adapter may change the vision tower
        image = as_rgb(image)
        key = (self._stamp, pixel_digest(image))
        encoded = self._encoded.pop(key, None) or self.encode_images([image])[0]
        self._encoded[key] = encoded
        if len(self._encoded) > KEPT_IMAGES:
            self._encoded.popitem(last=False)
        kept, self._last = self._last, None  # lost where an error leaves its cache as nobody knows
        if kept is None or kept[0] != (key, question) or not kept[1].rewind():
            kept = ((key, question), self.prefill([encoded], [question]))
        paths = self.model.predict_paths(kept[1], options)
        seen = self.glimpse(kept[1], [encoded], paths)
        self._last = kept
        return encoded, seen, paths

    def forget_images(self) -> None:
        """Forget the images that were seen, for whoever changes weights or configuration in place."""
        with self._lock:
            self._encoded.clear()
            self._last = None

    def ood_score(self, image: EncodedImage) -> float | None:
        """Return how far out of distribution an image is: above 1, unlike the training images; None where unknown.

        The reference is of the base's features: it does not apply where an adapter changed them.
        """
        reference = self.checkpoint.ood_reference
        if reference is None or not self._sees_as_base:
            return None
        return reference.ood_score(self.model.merged_tokens(image.tokens))

    @property
    def _sees_as_base(self) -> bool:
        return self._adapter is None or self._adapter.sees_as_base

    def prefix(self, images: Sequence[EncodedImage]) -> Prefix:
        """Run the backbone once over images alone, for several passes of questions about them."""
        return prefill_images(self.model, self.processor, render_prompt(self.processor, DEFAULT_QUESTION, 0), images)

    def prefill(
        self, images: Sequence[EncodedImage], questions: Sequence[str], *, gaze: bool | None = None,
        prefix: Prefix | None = None,
    ) -> PrefillOutput:  # fmt: skip
        """Run the backbone once over a batch of images and questions; what is there several times is computed once.

        Args:
            prefix: of these images, where it was computed before.
            gaze: whether the prompts hold gaze tokens; None takes them where the gaze weights or findings are trained.
        """
        config = self.gaze_config
        steps = config.num_prompt_tokens if gaze is None else config.num_gaze_tokens * gaze
        prompts = [render_prompt(self.processor, question, steps) for question in questions]
        return prefill_prompts(self.model, self.processor, prompts, images, prefix)

    def prefill_with_paths(
        self, images: Sequence[EncodedImage], questions: Sequence[str], options: DiagnoseOptions | None = None,
        rows: Sequence[int] | None = None, prefix: Prefix | None = None,
    ) -> tuple[PrefillOutput, dict[int, DecodedPath]]:  # fmt: skip
        """Run one pass with its paths and glimpses, which findings and words follow from; see `predict_paths`.

        Args:
            rows: that a path is wanted of, where findings and words do not need one.
            prefix: of these images, where it was computed before.
        """
        prefilled = self.prefill(images, questions, prefix=prefix)
        every = self.gaze_config.num_prompt_glimpses > 0
        paths = self.model.predict_paths(prefilled, options or DiagnoseOptions(), None if every else rows)
        return self.glimpse(prefilled, images, paths), paths

    def glimpse(
        self,
        prefilled: PrefillOutput,
        images: Sequence[EncodedImage],
        paths: Mapping[int, DecodedPath],
        sources: Sequence[Image.Image] | None = None,
    ) -> PrefillOutput:
        """Show the model its glimpses, behind the gaze tokens of a pass, which is used up; a model without glimpses
        gets its pass back.

        Args:
            prefilled, images: from `prefill`, and its images.
            paths: of every image, from `prefill_with_paths`.
            sources: that glimpses are cut from in the stead of the images' own `fine`, e.g. of a counterfactual.
        """
        if not self.gaze_config.num_prompt_glimpses or not paths:
            return prefilled
        fine = [image.fine for image in images] if sources is None else list(sources)
        known = [image for image in fine if image is not None]
        if len(known) < len(fine):
            raise ValueError("an image of a model with glimpses was encoded without its finer form")
        kept = [image.glimpses for image in images] if sources is None else None
        return self.model.see_glimpses(prefilled, paths, known, self.processor.glimpse_pixels, kept)

    def findings(self, prefilled: PrefillOutput) -> list[dict[str, float]]:
        """Return finding -> probability of every image of a pass with its glimpses; empty where they are untrained."""
        names = self.gaze_config.finding_names
        if prefilled.gaze_hidden is None or not self.gaze_config.findings_trained:
            return [{} for _ in prefilled.input_ids]
        rows = self.model.finding_logits(prefilled).sigmoid().tolist()
        return [dict(zip(names, row, strict=True)) for row in rows]

    def evidence(self, prefilled: PrefillOutput, count: int, row: int) -> dict[str, tuple[float, ...]]:
        """Return finding -> share of each glimpse of an image in what its probability was pooled from.

        Args:
            row: of the image in the pass.
        """
        config, gaze, glimpses = self.gaze_config, prefilled.gaze_hidden, prefilled.glimpses
        if not count or glimpses is None or gaze is None or not config.findings_trained:
            return {}
        with torch.no_grad():
            shares = self.model.gaze_heads.finding_shares(gaze[row], Glimpses(*(part[row] for part in glimpses)))
        tokens = config.glimpse_side**2
        own = shares[gaze.shape[1] :][: count * tokens].view(count, tokens, -1).sum(dim=1).T.tolist()
        names = config.finding_names[: config.num_head_findings]
        return {name: tuple(parts) for name, parts in zip(names, own, strict=True)}

    def describe(
        self, prefilled: PrefillOutput, images: Sequence[EncodedImage], paths: Mapping[int, DecodedPath]
    ) -> list[Diagnosis]:
        """Return paths, glimpses and findings of a pass, with empty answers.

        Args:
            prefilled: with its glimpses.
            paths: from `look`.
        """
        records = []
        for row, (image, findings) in enumerate(zip(images, self.findings(prefilled), strict=True)):
            ood_score, path = self.ood_score(image), paths.get(row)
            notes = (UNTRAINED_NOTE,) if path is None else path.notes
            if is_strange(ood_score):
                notes += (OOD_NOTE.format(trained_on=self.gaze_config.trained_on, times=ood_score),)
            if self.checkpoint.ood_reference is not None and not self._sees_as_base:
                notes += (OOD_UNKNOWN_NOTE,)
            glimpsed = path.glimpsed if path is not None and prefilled.glimpse_hidden is not None else ()
            windows = windows_of(path.glimpsed_places, image.grid, self.gaze_config) if path and glimpsed else []
            records.append(
                Diagnosis(
                    answer="",
                    finding_probabilities=findings,
                    scanpath=None if path is None else path.scanpath,
                    patch_probabilities=None if path is None else path.patch_path.probabilities,
                    fixation_probabilities=() if path is None else path.patch_path.chosen,
                    grid=image.grid,
                    model_id=self.checkpoint.model_id,
                    adapter_id=self.adapter_id,
                    notes=notes,
                    ood_score=ood_score,
                    glimpses=tuple(map(Glimpse, glimpsed, windows)),
                    evidence=self.evidence(prefilled, len(glimpsed), row),
                )
            )
        return records

    def stream(
        self, image: Image.Image, question: str = DEFAULT_QUESTION, options: DiagnoseOptions | None = None
    ) -> Generator[Diagnosis, None, None]:
        """Diagnose one image: first yields the path and findings with an empty answer, then growing answers.

        The last record is complete. Closing the iterator stops the generation, as a text that repeats itself does.

        Raises:
            ValueError: the question is empty, too long, or one that the model does not know.
        """
        options = options or DiagnoseOptions()
        with self._lock:
            question = self.recognise(question)
            encoded, seen, paths = self._prefill_cached(image, question, options)
            record = replace(self.describe(seen, [encoded], paths)[0], question=question)
            yield record
            notes = record.notes
            with closing(stream_text(self.model, self.processor, seen, options)) as said:
                for words in said:
                    record = replace(record, answer=words.text, notes=notes + words.notes)
                    yield record
            if record.glimpses:
                yield self._with_sentences([record], seen)[0]

    @overload
    def diagnose(
        self, image: ImageLike, question: str = ..., options: DiagnoseOptions | None = ..., *,
        look_at: Sequence[Place] = ..., begin_at: Sequence[Place] = ..., batch_size: int = ...,
    ) -> Diagnosis: ...  # fmt: skip

    @overload
    def diagnose(
        self, image: ImageList, question: str | Sequence[str] = ..., options: DiagnoseOptions | None = ..., *,
        look_at: Sequence[Place] = ..., begin_at: Sequence[Place] = ..., batch_size: int = ...,
    ) -> list[Diagnosis]: ...  # fmt: skip

    def diagnose(
        self,
        image: ImageLike | ImageList,
        question: str | Sequence[str] = DEFAULT_QUESTION,
        options: DiagnoseOptions | None = None,
        *,
        look_at: Sequence[Place] = (),
        begin_at: Sequence[Place] = (),
        batch_size: int = 8,
    ) -> Diagnosis | list[Diagnosis]:
        """Diagnose one image, or several, and wait for the answers.

        Args:
            image: upright pixels, or the path of a file that `load_image` reads; or a list of these.
            question: for all images, or one for each.
            look_at: places (x, y) or (x, y, duration_ms) that are the whole path, in the model's stead; as in the
                options.
            begin_at: places that the path begins with; as in the options.
            batch_size: images of a list per pass; more need more memory.

        Returns:
            One record for one image, a list for a list.

        Raises:
            ImageError: a file that is no image.
            ValueError: a different number of images and questions, or places that cannot be a path.
        """
        options = options or DiagnoseOptions()
        if look_at or begin_at:
            options = replace(options, look_at=fixations_at(look_at), begin_at=fixations_at(begin_at))
        if isinstance(image, Image.Image | str | Path):
            if not isinstance(question, str):
                raise ValueError("one image has one question; give a list of images for several")
            return self.diagnose_batch([opened(image)], [question], options)[0]
        questions = [question] * len(image) if isinstance(question, str) else list(question)
        if len(questions) != len(image):
            raise ValueError(f"{len(image)} images and {len(questions)} questions; give one for all, or one for each")
        found: list[Diagnosis] = []
        for first in range(0, len(image), batch_size):
            some = slice(first, first + batch_size)
            found += self.diagnose_batch([opened(one) for one in image[some]], questions[some], options)
        return found

    def diagnose_batch(
        self, images: Sequence[Image.Image], questions: Sequence[str], options: DiagnoseOptions | None = None
    ) -> list[Diagnosis]:
        """Diagnose several images in one pass; grids may differ.

        Raises:
            ValueError: no image, a different number of questions, or a question as in `stream`.
        """
        if not images or len(images) != len(questions):
            raise ValueError(f"one question per image is needed, got {len(images)} images, {len(questions)} questions")
        options = options or DiagnoseOptions()
        with self._lock:
            known = [self.recognise(question) for question in questions]
            if len(images) == 1:
                one, seen, paths = self._prefill_cached(images[0], known[0], options)
                encoded = [one]
            else:
                encoded = self.encode_images(images)
                seen, paths = self.prefill_with_paths(encoded, known, options)
            described = self.describe(seen, encoded, paths)
            said = answers(self.model, self.processor, seen, options)
            records = [
                replace(record, question=question, answer=words.text, notes=record.notes + words.notes)
                for record, question, words in zip(described, known, said, strict=True)
            ]
            return self._with_sentences(records, seen)

    def _with_sentences(self, records: Sequence[Diagnosis], seen: PrefillOutput) -> list[Diagnosis]:
        """Return the records of a pass with the sentences of their answers."""
        sentences = sentence_shares(self.model, self.processor, seen, [record.answer for record in records])
        return [replace(record, sentences=own) for record, own in zip(records, sentences, strict=True)]


def opened(image: ImageLike) -> Image.Image:
    """Return the RGB pixels of an image, which is read where it is a path.

    Raises:
        ImageError: a file that is no image.
    """
    return load_image(image).image if isinstance(image, str | Path) else as_rgb(image)


class LazyEngine:
    """A checkpoint of ours whose weights are read when they are first needed.

    Args:
        source: a shipped checkpoint or a folder.

    Raises:
        CheckpointError: it is none.
    """

    def __init__(self, source: str) -> None:
        self.facts = describe_checkpoint(source)
        self._source, self._lock = source, threading.Lock()
        self._engine: GazeEngine | None = None

    def load_now(self) -> GazeEngine:
        """Return the engine; errors as in `GazeEngine.load`, the first time."""
        with self._lock:
            if self._engine is None:
                self._engine = GazeEngine.load(self._source)
            return self._engine


def what_is_known(adapter: Path | None, model: str, revision: str = "") -> "list[TrainedOn | None]":
    """Return what an adapter was trained on, None where it does not tell; and what a model was, where that tells.

    Args:
        adapter: its folder.
        model, revision: as `source` and `revision` of `find_beside`.

    Raises:
        CheckpointError: there is no such model, or provenance that cannot be read.
    """
    from gazevlm_core.datasets.trained_on import PROVENANCE_FILE, read_all_trained_on  # late: it knows every data set

    beside = find_beside(model, PROVENANCE_FILE, revision)
    folders = [*([adapter] if adapter else []), *([beside.parent] if beside else [])]
    try:
        return [known for folder in folders for known in read_all_trained_on(folder)]
    except ValueError as error:
        raise CheckpointError(str(error)) from None
