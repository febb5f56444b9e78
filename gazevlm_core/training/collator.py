"""Turn samples into a batch of tensors."""

import zlib
from collections.abc import Container, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from gazevlm_core.geometry import PatchGrid, Window
from gazevlm_core.model.configuration_gazevlm import GazeConfig
from gazevlm_core.model.glimpses import choose_steps, crop_glimpse, fine_image, glimpse_counts, pad_windows, windows_of
from gazevlm_core.model.losses import IGNORED, STOP
from gazevlm_core.model.modeling_gazevlm import GazeVLM
from gazevlm_core.model.path_sampling import choose_paths, place_fixations
from gazevlm_core.model.processing_gazevlm import IGNORED_LABEL, GazeVLMProcessor, encode_prompts, render_prompt
from gazevlm_core.options import DEFAULT_QUESTION, GlimpseShares, PathChoice
from gazevlm_core.sample import Sample
from gazevlm_core.scanpath import Fixation, Scanpath

# A finding lies in a glimpse where it covers so much of it, or where so much of the finding is there; not where it
# covers hardly anything; between, nothing is said.
COVERS, HOLDS, HARDLY = 0.15, 0.25, 0.01
NAN = float("nan")


class PathTargets(NamedTuple):
    """What the pointer, dwell and offset heads should say of S readings of one image, all [S][K] (and [2]).

    Args:
        patches: STOP after the last fixation, then IGNORED.
        durations_ms: NaN where unknown.
        offsets: x and y in the patch, as fractions of it; NaN where there is no fixation.
    """

    patches: list[list[int]]
    durations_ms: list[list[float]]
    offsets: list[list[list[float]]]


def gaze_targets(
    scanpaths: Sequence[Scanpath], grid: PatchGrid, num_steps: int, *, repeats: bool = True
) -> PathTargets:
    """Return targets of several readings of one image.

    Args:
        scanpaths: S readings.
        grid: merged grid of the image.
        num_steps: K; fixations beyond it are cut.
        repeats: whether consecutive fixations in one patch stay apart; else they are one step.
    """
    unknown, found = NAN, PathTargets([], [], [])
    for path in scanpaths:
        fixations = list(path if repeats else grid.merge_repeats(path))[:num_steps]
        missing = num_steps - len(fixations)
        patches = [grid.index_of(fixation) for fixation in fixations]
        found.patches.append((patches + [STOP] * (missing > 0) + [IGNORED] * missing)[:num_steps])
        durations = [unknown if f.duration_ms is None else f.duration_ms for f in fixations]
        found.durations_ms.append(durations + [unknown] * missing)
        inside = [[f.x * grid.cols % 1.0, f.y * grid.rows % 1.0] for f in fixations]
        found.offsets.append(inside + [[unknown, unknown]] * missing)
    return found


class GlimpseCut(NamedTuple):
    """One glimpse of a sample."""

    sample: Sample
    window: Window
    image: Image.Image


class GazeCollator:
    """Makes batches for `GazeVLM.forward`; parts that no sample has are left out.

    Args:
        processor: of the model.
        config: gaze configuration; the findings of its head are the columns of the labels.
        use_gaze: False leaves the scanpaths out (the twin without gaze supervision).
        shares: where glimpses are cut, for a configuration with glimpses.
        model: that its own paths are asked of; None takes random places in their stead.
        share_images: whether samples with the same image (as an object) share its tokens; all is learned as without.
        located: data set and name of each finding that some sample shows the place of; None for all. Of others, where
            they are not would be taught, and never where they are.
    """

    def __init__(
        self,
        processor: GazeVLMProcessor,
        config: GazeConfig,
        *,
        use_gaze: bool = True,
        shares: GlimpseShares | None = None,
        model: GazeVLM | None = None,
        share_images: bool = True,
        located: Container[tuple[str, str]] | None = None,
    ) -> None:
        self.processor, self.config, self.use_gaze, self.share_images = processor, config, use_gaze, share_images
        self.shares, self.model, self.located = shares or GlimpseShares(), model, located

    def __call__(self, samples: Sequence[Sample]) -> dict[str, Any]:
        """Return a batch: tokens and labels [B, L], pixels, gaze_targets [B, S, K], finding_labels [B, F], glimpses."""
        groups: dict[int, list[Sample]] = {}
        for number, sample in enumerate(samples):
            groups.setdefault(id((sample.small or sample).image) if self.share_images else number, []).append(sample)
        small = [group[0].small or group[0] for group in groups.values()]
        vision = self.vision(small)
        if len(groups) < len(samples):
            samples = [sample for group in groups.values() for sample in group]
            vision["rows_per_image"] = torch.tensor([len(group) for group in groups.values()])
        grids = [
            grid for grid, group in zip(self.processor.grids(vision["image_grid_thw"]), groups.values(), strict=True)
            for _ in group
        ]  # fmt: skip
        if self.config.patch_finding_weight:
            vision["patch_contents"] = self.patch_contents(small, vision)
        if not self.config.num_glimpses:
            return {**vision, **self.supervise(samples, grids)}
        glimpses = self.glimpses(samples, grids, vision)
        counts = glimpse_counts(glimpses["glimpse_windows"])
        return {**vision, **glimpses, **self.supervise(samples, grids, counts)}

    def vision(self, samples: Sequence[Sample]) -> dict[str, torch.Tensor]:
        """Return the part of a batch that comes from pixels."""
        pixels = self.processor.image_processor(images=[sample.load() for sample in samples], return_tensors="pt")
        return {"pixel_values": pixels["pixel_values"], "image_grid_thw": pixels["image_grid_thw"]}

    def patch_contents(self, samples: Sequence[Sample], vision: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return whether each finding lies in each patch of the images in order, float [sum of P_b, F], NaN where that
        is unknown."""
        names, parts = self.config.finding_names[: self._num_findings], []
        for sample, grid in zip(samples, self.processor.grids(vision["image_grid_thw"]), strict=True):
            rows, cols = (list(pairwise(np.arange(count + 1) / count)) for count in (grid.rows, grid.cols))
            found = [self._contents_of(sample, name, rows, cols).ravel() for name in names]
            parts.append(torch.tensor(np.stack(found, axis=-1), dtype=torch.float32))
        return torch.cat(parts)

    def glimpses(
        self, samples: Sequence[Sample], grids: Sequence[PatchGrid], vision: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """Return the part of a batch about glimpses; which places a sample gets depends on its texts, the masks of the
        batch and, for its own path, the model, so that a training can be resumed."""
        config, places = self.config, list[list[Fixation]]()
        own: list[int] = []
        for row, (sample, grid) in enumerate(zip(samples, grids, strict=True)):
            words = f"{sample.image_id}|{sample.question}|{sample.report}"
            rng = np.random.default_rng(zlib.crc32(words.encode()))
            draw, path = rng.random(), random_places(grid, config.num_glimpses, rng)
            if draw < self.shares.readers and sample.readings:
                path = list(sample.scanpaths[int(rng.integers(len(sample.readings)))])
            elif draw < self.shares.readers + self.shares.own and self.model is not None and config.gaze_trained:
                own.append(row)
            elif draw >= 1.0 - self.shares.findings:
                path = places_of_findings(sample, samples, config.num_glimpses, rng) or path
            places.append([path[step] for step in choose_steps(path, grid, config.num_glimpses)])
        for row, found in zip(own, self._own_places([samples[row] for row in own], own, grids, vision), strict=True):
            places[row] = found
        for row, sample in enumerate(samples):
            if sample.small is not None:
                places[row] = places_of_difference(sample, sample.small, places[row])
        windows = [windows_of(found, grid, config) for found, grid in zip(places, grids, strict=True)]
        token_px = self.processor.image_processor.patch_size * self.processor.image_processor.merge_size
        names = config.finding_names[: self._num_findings]
        cuts, contents = list[GlimpseCut](), torch.full((len(samples), config.num_glimpses, len(names)), NAN)
        for row, (sample, grid, own_windows) in enumerate(zip(samples, grids, windows, strict=True)):
            fine = fine_image(sample.load(), grid, token_px, config)
            for place, window in enumerate(own_windows):
                cuts.append(GlimpseCut(sample, window, crop_glimpse(fine, window, config.glimpse_side * token_px)))
                rows, cols = [(window.upper, window.lower)], [(window.left, window.right)]
                contents[row, place] = torch.tensor(
                    [self._contents_of(sample, name, rows, cols).item() for name in names]
                )
        padded = pad_windows(windows)
        return {
            **self.glimpse_vision(cuts), "glimpse_windows": padded, "glimpse_contents": contents[:, : padded.shape[1]],
        }  # fmt: skip

    def glimpse_vision(self, cuts: Sequence[GlimpseCut]) -> dict[str, torch.Tensor]:
        """Return the part of a batch that comes from the pixels of glimpses."""
        return {"glimpse_pixel_values": self.processor.glimpse_pixels([one.image for one in cuts])}

    def _contents_of(
        self, sample: Sample, name: str, rows: Sequence[tuple[float, float]], cols: Sequence[tuple[float, float]]
    ) -> np.ndarray:
        """Return `contents_of` a sample; unknown for a finding whose place its data set never shows."""
        if self.located is not None and (sample.dataset, name) not in self.located:
            return np.full((len(rows), len(cols)), NAN)
        return contents_of(sample, name, rows, cols)

    @property
    def _num_findings(self) -> int:
        return self.config.num_head_findings

    @torch.no_grad()
    def _own_places(
        self, samples: Sequence[Sample], rows: Sequence[int], grids: Sequence[PatchGrid],
        vision: Mapping[str, torch.Tensor],
    ) -> list[list[Fixation]]:
        """Return places of a path that the model samples of each of some samples."""
        if not samples or self.model is None:
            return []
        model, config = self.model, self.config
        was_training, device = model.training, model.device
        model.eval()
        questions = [sample.question or DEFAULT_QUESTION for sample in samples]
        prompts = [render_prompt(self.processor, question, config.num_gaze_tokens) for question in questions]
        own_grids, thw = [grids[row] for row in rows], vision["image_grid_thw"]
        numbers = vision.get("rows_per_image", torch.ones(len(thw), dtype=torch.int64))
        images = torch.arange(len(thw)).repeat_interleave(numbers)[list(rows)]
        own_thw = thw[images].to(device)
        if "image_tokens" in vision:  # kept from a frozen tower
            kept = vision["image_tokens"].split([len(grid) for grid in self.processor.grids(thw)])
            tokens = tuple(kept[image].to(device) for image in images.tolist())
        else:
            pixels = vision["pixel_values"].split(thw.prod(dim=-1).tolist())
            tokens = model.encode_images(torch.cat([pixels[image] for image in images.tolist()]).to(device), own_thw)
        encoded = encode_prompts(self.processor, prompts, own_grids).to(device)
        prefilled = model.prefill(**encoded, image_grid_thw=own_thw, image_tokens=tokens)
        seed = zlib.crc32(samples[0].image_id.encode())
        paths = choose_paths(
            [model.pointer_field(prefilled, row) for row in range(len(samples))], PathChoice.SAMPLE, seed=seed,
            temperature=1.0,
        )
        model.train(was_training)
        found = []
        if prefilled.gaze_hidden is None:
            raise ValueError("a path needs gaze tokens in the prompt")
        for row, (path, grid) in enumerate(zip(paths, own_grids, strict=True)):
            states = (prefilled.gaze_hidden[row], prefilled.patch_hidden[row])
            fixations = place_fixations(model.gaze_heads, config, *states, path.patches, grid)
            found.append([fixations[step] for step in choose_steps(fixations, grid, config.num_glimpses)])
        return found

    def supervise(
        self, samples: Sequence[Sample], grids: Sequence[PatchGrid], glimpses: Sequence[int] | None = None
    ) -> dict[str, Any]:
        """Return the part of a batch that does not need pixels: tokens, labels and targets.

        Args:
            glimpses: how many each sample has; None for none.
        """
        steps = self.config.num_gaze_tokens
        encoded = encode_prompts(
            self.processor,
            [render_prompt(self.processor, sample.question or DEFAULT_QUESTION, steps) for sample in samples],
            grids,
            [sample.report or "" for sample in samples],
            glimpses,
            self.config.glimpse_side**2,
        )
        for row, sample in enumerate(samples):
            if sample.report is None:
                encoded["labels"][row] = IGNORED_LABEL
        unknown = NAN
        names = self.config.finding_names[: self.config.num_head_findings]  # a usual place is fitted, not trained
        batch: dict[str, Any] = {
            **encoded,
            "finding_labels": torch.tensor(
                [[sample.findings.get(name, unknown) for name in names] for sample in samples]
            ).view(len(samples), len(names)),
        }
        readers = max(len(sample.readings) for sample in samples)
        if self.use_gaze and readers:
            targets = torch.full((len(samples), readers, steps), IGNORED)
            durations = torch.full((len(samples), readers, steps), unknown)
            offsets = torch.full((len(samples), readers, steps, 2), unknown)
            for row, (sample, grid) in enumerate(zip(samples, grids, strict=True)):
                if sample.readings:
                    found = gaze_targets(sample.scanpaths, grid, steps, repeats=self.config.repeats)
                    targets[row, : len(found.patches)] = torch.tensor(found.patches)
                    durations[row, : len(found.patches)] = torch.tensor(found.durations_ms)
                    offsets[row, : len(found.patches)] = torch.tensor(found.offsets)
            batch |= {"gaze_targets": targets, "gaze_durations_ms": durations}
            if self.config.use_offsets:
                batch["gaze_offsets"] = offsets
        return batch


def random_places(grid: PatchGrid, count: int, rng: np.random.Generator) -> list[Fixation]:
    """Return places anywhere on an image, at most one in a patch."""
    patches = rng.permutation(len(grid))[:count]
    inside = rng.random((len(patches), 2)).clip(0, 1 - 1e-6)
    return [
        Fixation(float((patch % grid.cols + x) / grid.cols), float((patch // grid.cols + y) / grid.rows))
        for patch, (x, y) in zip(patches, inside, strict=True)
    ]


def places_of_findings(
    sample: Sample, others: Sequence[Sample], count: int, rng: np.random.Generator
) -> list[Fixation]:
    """Return places where masks say that findings lie: of the sample and, alike often, of others; none without masks.

    At places of others' findings a place alone says nothing of what is there.
    """
    own = [mask for mask in sample.masks.values() if mask.any()]
    foreign = [mask for other in others if other is not sample for mask in other.masks.values() if mask.any()]
    pools, places = [pool for pool in (own, foreign) if pool], list[Fixation]()
    for _ in range(count if pools else 0):
        pool = pools[int(rng.integers(len(pools)))]
        places.append(place_in(pool[int(rng.integers(len(pool)))], rng))
    return places


def places_of_difference(sample: Sample, other: Sample, places: Sequence[Fixation]) -> list[Fixation]:
    """Return places of which one to three, here and there, lie where a finding is that one of two samples lacks."""
    rng = np.random.default_rng(zlib.crc32(f"{sample.image_id}|{sample.report}|{places}".encode()))
    masks = {**sample.masks, **other.masks}
    lacking = [masks[name] for name in sample.masks.keys() ^ other.masks.keys() if masks[name].any()]
    found = list(places)
    for step in rng.permutation(len(found))[: int(rng.integers(1, 4))] if lacking else ():
        found[step] = place_in(lacking[0], rng)
    return found


def place_in(mask: np.ndarray, rng: np.random.Generator) -> Fixation:
    """Return a place anywhere in a mask that is not empty."""
    cells = np.argwhere(mask)
    y, x = (cells[int(rng.integers(len(cells)))] + rng.random(2)) / mask.shape
    return Fixation(float(x), float(y))


def contents_of(
    sample: Sample, name: str, rows: Sequence[tuple[float, float]], cols: Sequence[tuple[float, float]]
) -> np.ndarray:
    """Return whether a finding lies in each cell of a table: 1.0, 0.0, or NaN where that is unknown or open to
    question; float64 [R, C].

    Args:
        rows, cols: where each begins and ends, as fractions of the image.
    """
    there, mask = sample.findings.get(name, NAN), sample.masks.get(name)
    if there != 1.0 or mask is None or not mask.any():
        return np.full((len(rows), len(cols)), 0.0 if there == 0.0 else NAN)
    down = np.stack([_overlaps(*edges, len(mask)) for edges in rows])
    across = np.stack([_overlaps(*edges, mask.shape[1]) for edges in cols])
    inside = down @ mask @ across.T
    covered = inside / (255.0 * np.outer(down.sum(axis=1), across.sum(axis=1)))
    contents = np.where(covered < HARDLY, 0.0, NAN)
    contents[(covered >= COVERS) | (inside / mask.sum(dtype=np.float64) >= HOLDS)] = 1.0
    return contents


def _overlaps(first: float, last: float, cells: int) -> np.ndarray:
    """Return how much of each of so many equal cells of [0, 1] lies between two places."""
    edges = np.arange(cells + 1) / cells
    return np.clip(np.minimum(edges[1:], last) - np.maximum(edges[:-1], first), 0.0, None) * cells
