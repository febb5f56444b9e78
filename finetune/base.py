"""The base of a run: loaded as the configuration says, on this process's device, and known by its contents."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from finetune.config import FinetuneConfig
from gazevlm_core.inference import GazeEngine
from gazevlm_core.model.checkpoint import load_checkpoint, resolve_source

IDENTIFYING = ("*.safetensors", "config.json", "gaze_config.json", "preprocessor_config.json", "tokenizer.json")


@dataclass(frozen=True, eq=False)
class Base:
    """What is adapted.

    Args:
        engine: holds the model, which training changes in place.
        source: as in the configuration.
        revision: commit of the Hub; "" for a folder.
        fingerprint: SHA-256 of the folder's files, or of the Hub's commit.
    """

    engine: GazeEngine
    source: str
    revision: str
    fingerprint: str

    @property
    def model_id(self) -> str:
        """Hub id or folder name."""
        return self.engine.checkpoint.model_id

    @property
    def pixel_limits(self) -> tuple[int, int]:
        """Smallest and largest image in pixels after resizing."""
        size = self.engine.processor.image_processor.size
        return int(size["shortest_edge"]), int(size["longest_edge"])


def load_base(config: FinetuneConfig) -> Base:
    """Load the base, with the pixel limits of the configuration.

    Raises:
        CheckpointError: it cannot be loaded.
    """
    checkpoint = load_checkpoint(
        config.base, precision=config.precision, device=own_device(config.device), shardable=config.fsdp_storage
    )
    size = checkpoint.processor.image_processor.size
    size["shortest_edge"] = config.min_pixels or size["shortest_edge"]
    size["longest_edge"] = config.max_pixels or size["longest_edge"]
    size["shortest_edge"] = min(size["shortest_edge"], size["longest_edge"])
    revision = str(getattr(checkpoint.model.config, "_commit_hash", None) or "")
    folder = Path(resolve_source(config.base))
    if folder.is_dir():
        return Base(GazeEngine(checkpoint), config.base, "", folder_digest(folder))
    known = hashlib.sha256(f"{config.base}@{revision}".encode()).hexdigest()
    return Base(GazeEngine(checkpoint), config.base, revision, known)


def own_device(device: str) -> str:
    """The device of this process: of several on one machine, each has its own GPU."""
    rank = os.environ.get("LOCAL_RANK")
    if device in ("auto", "cuda") and rank is not None:
        import torch

        if torch.cuda.is_available():
            return f"cuda:{rank}"
    return device


def folder_digest(folder: Path) -> str:
    """SHA-256 of the files that decide what a checkpoint says."""
    digest = hashlib.sha256()
    for path in sorted({path for pattern in IDENTIFYING for path in folder.glob(pattern)}):
        with path.open("rb") as stream:
            digest.update(f"{path.name} {hashlib.file_digest(stream, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()
