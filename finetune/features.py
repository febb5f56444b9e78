"""What a frozen vision tower makes of each image, computed once and kept on disk.

One safetensors file per picture, named by a digest of everything that decides it: pixels, checkpoint, pixel limits and
dtype. The files are memory-mapped when they are read, so that memory does not grow with the number of images.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from finetune.cases import go_on
from gazevlm_core.inference import EncodedImage, GazeEngine
from gazevlm_core.ranks import ALONE, Ranks
from gazevlm_core.sample import Sample
from phantoms.nano_parts import quick_vision

MOST_AT_ONCE = 16
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Batching:
    """How a pass over many images is batched, stopped and shared.

    Args:
        images: at once. A pass without gradients needs less memory than a training step on as many, so a run takes
            its batch size where that is smaller.
        check: called before each of these; may raise to end the pass, of which nothing is lost but itself. On several
            processes all of them call it at once, and raises on all of them or on none.
        ranks: the processes that share the images.
        advance: called with how many images were done, after each of these.
    """

    images: int = MOST_AT_ONCE
    check: Callable[[], None] = go_on
    ranks: Ranks = ALONE
    advance: Callable[[int], None] = lambda images: None

    def chunks(self, items: Sequence[T], work: Callable[[list[T]], R]) -> list[R]:
        """Return what `work` makes of the items, in their order and on every process; see `Ranks.share`."""
        some = [list(items[first : first + self.images]) for first in range(0, len(items), self.images)]

        def done(part: list[T]) -> R:
            result = work(part)
            self.advance(len(part) * self.ranks.count)  # the others do as many meanwhile
            return result

        return self.ranks.share(some, done, self.check)


DEFAULT_BATCHING = Batching()


@dataclass(frozen=True)
class FeatureStore:
    """Image tokens by picture.

    Args:
        folder: of the files; made if missing.
        base: fingerprint of the checkpoint whose vision tower it is.
        limits: the processor's (smallest, largest) number of pixels.
        dtype: of the tower's arithmetic.
    """

    folder: Path
    base: str
    limits: tuple[int, int]
    dtype: torch.dtype

    def path(self, digest: str) -> Path:
        """Return the file of a picture."""
        key = json.dumps([digest, self.base, self.limits, str(self.dtype)])
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()}.safetensors"

    def read(self, digest: str) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Return image tokens [P, D] and grid_thw int64 [3] of a picture; None where they are not kept, or cut off."""
        path = self.path(digest)
        if not path.is_file():
            return None
        try:
            with safe_open(path, "pt") as stored:
                return stored.get_tensor("tokens"), stored.get_tensor("grid_thw")
        except SafetensorError:
            return None  # cut off by a full disk; it is written again

    def tokens(self, case: Sample) -> tuple[torch.Tensor, torch.Tensor]:
        """Return as `read`, for a case whose features are kept.

        Raises:
            KeyError: they are not; see `fill_features`.
        """
        found = self.read(case.digest)
        if found is None:
            raise KeyError(f"{case.image_id}: its features are gone from {self.folder}")
        return found

    def write(self, digest: str, tokens: torch.Tensor, grid_thw: torch.Tensor) -> None:
        """Keep a picture's tokens; the processes of a run may do so at once. What a kill leaves is written over."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.path(digest)
        partial = path.with_suffix(f".{os.environ.get('RANK', '0')}.partial")
        try:
            save_file({"tokens": tokens.cpu().contiguous(), "grid_thw": grid_thw.cpu()}, partial)
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)


def fill_features(
    store: FeatureStore, engine: GazeEngine, cases: Sequence[Sample], batching: Batching = DEFAULT_BATCHING
) -> int:
    """Compute what is missing, each process some of it; how many pictures that were.

    One by one: computed together, a picture's last bits would depend on its company, and on which were there before.
    """
    pictures = list({case.digest: case for case in cases}.values())

    def fill(some: list[Sample]) -> int:
        (case,) = some
        if store.read(case.digest) is not None:
            return 0
        quick_vision(engine.model)
        (encoded,) = engine.encode_images([case.load()])
        store.write(case.digest, encoded.tokens, encoded.grid_thw)
        return 1

    return sum(replace(batching, images=1).chunks(pictures, fill))


@contextmanager
def at_rest(engine: GazeEngine) -> Iterator[None]:
    """Hold the model as it answers, without dropout, also in the middle of training, which goes on as before."""
    training = engine.model.training
    engine.model.eval()
    try:
        yield
    finally:
        engine.model.train(training)


def encoded_cases(cases: Sequence[Sample], engine: GazeEngine, store: FeatureStore | None) -> list[EncodedImage]:
    """Return some cases' images after the vision tower, from the store or computed."""
    if store is None:
        return engine.encode_images([case.load() for case in cases])
    found = []
    for case, (tokens, grid_thw) in zip(cases, map(store.tokens, cases), strict=True):
        (grid,) = engine.processor.grids(grid_thw[None])
        fine = engine.fine(case.load(), grid) if engine.gaze_config.num_glimpses else None
        found.append(EncodedImage(tokens, grid_thw, grid, fine))
    return found
