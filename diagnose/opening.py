"""The answer that the page opens with: that of the shipped model about a drawn example, made beforehand.

    python -m diagnose.opening    # writes it anew, once the shipped model has changed
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from diagnose.service import EXAMPLES, draw_example
from gazevlm_core.geometry import PatchGrid, Window
from gazevlm_core.options import DEFAULT_QUESTION, MODELS_FOLDER, NANO, DiagnoseOptions
from gazevlm_core.records import Diagnosis, Glimpse, Sentence
from gazevlm_core.scanpath import Fixation, Scanpath

if TYPE_CHECKING:
    from diagnose.catalogue import Choice
    from gazevlm_core.inference import GazeEngine

CAPTION = "pneumothorax, severe"
OPENING_FILE = MODELS_FOLDER / NANO / "opening.json"
WEIGHTS_FILE = "model.safetensors"
DIGITS = 4  # of the probabilities of patches


@dataclass(frozen=True, eq=False)
class Opening:
    """An answer that was made beforehand."""

    example: int  # number of the example
    diagnosis: Diagnosis
    seconds: float  # that it took
    weights_sha256: str  # of the model that gave it


def example_number() -> int:
    """Return the number of the example that the page opens with."""
    return next(number for number, tile in enumerate(EXAMPLES) if tile.caption == CAPTION)


def opening_of(choice: "Choice") -> Opening | None:
    """Return the answer to open with; None where something else than the shipped model is asked first, or where the
    record is of other weights than those that are here."""
    shipped = choice.adapter is None and choice.source == NANO  # another folder may have the same name
    opening = read_opening() if shipped else None
    return opening if opening is not None and opening.weights_sha256 == weights_digest() else None


@cache
def read_opening(path: Path = OPENING_FILE) -> Opening | None:
    """Return the record; None where there is none.

    Raises:
        KeyError, ValueError: it is not as `write_opening` writes it.
    """
    if not path.is_file():
        return None
    values = json.loads(path.read_text(encoding="utf-8"))
    diagnosis = _diagnosis(values["diagnosis"], values["patch_probabilities"])
    return Opening(values["example"], diagnosis, values["seconds"], values["weights_sha256"])


@cache
def weights_digest(folder: Path = MODELS_FOLDER / NANO) -> str:
    """Return SHA-256 of a model's weights, in hex."""
    return hashlib.sha256((folder / WEIGHTS_FILE).read_bytes()).hexdigest()


def answer_opening(engine: "GazeEngine") -> Diagnosis:
    """Return what the shipped model says about the example."""
    return engine.diagnose(draw_example(example_number()), DEFAULT_QUESTION, DiagnoseOptions())


def write_opening(engine: "GazeEngine", seconds: float, diagnosis: Diagnosis, path: Path = OPENING_FILE) -> None:
    """Write the record of an answer.

    Args:
        engine: that gave it.
        seconds: that it took.
        diagnosis: the answer.
        path: of the file.
    """
    heat = diagnosis.patch_probabilities
    values = {
        "example": example_number(),
        "seconds": round(seconds, 3),
        "weights_sha256": weights_digest(MODELS_FOLDER / engine.checkpoint.model_id),
        "diagnosis": diagnosis.to_dict(),
        "patch_probabilities": None if heat is None else np.round(heat.astype(float), DIGITS).tolist(),
    }
    path.write_text(json.dumps(values) + "\n", encoding="utf-8")


def _diagnosis(values: Mapping[str, Any], heat: list[list[float]] | None) -> Diagnosis:
    """Return the diagnosis behind `Diagnosis.to_dict`, with its heat maps."""
    path = values["scanpath"]
    fixations = () if path is None else tuple(Fixation(one["x"], one["y"], one["duration_ms"]) for one in path)
    return Diagnosis(
        answer=values["answer"],
        finding_probabilities=values["findings"],
        scanpath=None if path is None else Scanpath(fixations, "model"),
        patch_probabilities=None if heat is None else np.array(heat, dtype=np.float32),
        fixation_probabilities=tuple(one["probability"] for one in path or ()),
        grid=PatchGrid(*values["grid"]),
        model_id=values["model"],
        adapter_id=values["adapter"],
        notes=tuple(values["notes"]),
        ood_score=values["strangeness"],
        question=values["question"],
        glimpses=tuple(
            Glimpse(one["step"] - 1, Window(one["left"], one["upper"], one["right"], one["lower"]))
            for one in values["glimpses"]
        ),
        evidence={name: tuple(shares) for name, shares in values["evidence"].items()},
        sentences=tuple(Sentence(one["text"], tuple(one["shares"])) for one in values["sentences"]),
    )


def main() -> None:
    """Ask the shipped model, and write what it says."""
    import time

    from gazevlm_core.inference import GazeEngine

    engine = GazeEngine.load(NANO)
    answer_opening(engine)  # the first pass is slower than those that visitors wait for
    start = time.perf_counter()
    diagnosis = answer_opening(GazeEngine(engine.checkpoint))
    write_opening(engine, time.perf_counter() - start, diagnosis)


if __name__ == "__main__":
    main()
