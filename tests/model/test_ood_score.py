"""How unlike the training images an image is: by hand, and for the checkpoint that ships."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gazevlm_core.images import load_image
from gazevlm_core.model.ood_score import (
    OOD_REFERENCE_FILE,
    OodReference,
    OodReferenceError,
    fit_ood_reference,
    read_ood_reference,
)
from phantoms.make import make_phantom

PLAIN = OodReference(np.zeros(4, np.float32), np.eye(4, dtype=np.float32), 2.0)


def test_ood_score_is_the_distance_over_the_limit() -> None:
    tokens = torch.tensor([[6.0, 0.0, 0.0, 0.0], [2.0, 0.0, 0.0, 0.0]])  # mean (4, 0, 0, 0): distance sqrt(16 / 4)
    assert PLAIN.ood_score(tokens) == pytest.approx(1.0)
    assert PLAIN.ood_score(tokens * 3) == pytest.approx(3.0)


def test_fit_puts_the_limit_where_held_out_images_end() -> None:
    rng = np.random.default_rng(0)
    spread = np.array([1.0, 5.0, 0.2])
    training, held_out = rng.normal(3, spread, (4000, 3)), rng.normal(3, spread, (4000, 3))
    fitted = fit_ood_reference(training.astype(np.float32), held_out.astype(np.float32), quantile=0.9)
    fresh = torch.tensor(rng.normal(3, spread, (4000, 1, 3)))
    above = np.mean([fitted.ood_score(tokens) > 1 for tokens in fresh])
    assert above == pytest.approx(0.1, abs=0.02)
    assert fitted.ood_score(torch.tensor([[3.0, 3.0, 6.0]])) > 3  # far in the narrow direction


def test_file_round_trip_and_what_is_refused(tmp_path: Path) -> None:
    PLAIN.save(tmp_path)
    again = read_ood_reference(tmp_path / OOD_REFERENCE_FILE)
    assert again.ood_score(torch.ones(2, 4)) == PLAIN.ood_score(torch.ones(2, 4))
    with pytest.raises(OodReferenceError, match="width 5"):
        again.ood_score(torch.ones(2, 5))
    with pytest.raises(OodReferenceError, match="too few"):
        fit_ood_reference(np.ones((4, 4)), np.ones((2, 4)))
    OodReference(PLAIN.mean, np.eye(3, dtype=np.float32), 1.0).save(tmp_path)
    with pytest.raises(OodReferenceError, match="wrong shape"):
        read_ood_reference(tmp_path / OOD_REFERENCE_FILE)
    (tmp_path / OOD_REFERENCE_FILE).write_bytes(b"\x80\x04pickle")
    with pytest.raises(OodReferenceError, match="cannot read"):
        read_ood_reference(tmp_path / OOD_REFERENCE_FILE)


@pytest.fixture(scope="module")
def engine(repository: Path):
    from gazevlm_core.inference import GazeEngine

    return GazeEngine.load("gazevlm-nano", device="cpu")


def scores_of(engine, images: list[Image.Image]) -> list[float]:
    return [engine.ood_score(encoded) for encoded in engine.encode_images(images)]


def test_phantoms_are_familiar_to_the_model_that_ships(engine) -> None:
    images = [
        Image.fromarray(make_phantom(77_000 + number, domain, size_px=300).image).convert("RGB")
        for domain in ("A", "B")
        for number in range(15)
    ]
    assert np.mean(np.array(scores_of(engine, images)) > 1) <= 1 / 30


def test_nearly_all_radiographs_are_and_were_not_before_it_saw_any(engine, real_radiographs: list[Path]) -> None:
    from gazevlm_core.inference import GazeEngine

    images = [load_image(path).image for path in real_radiographs]
    assert np.mean(np.array(scores_of(engine, images)) > 1) <= 2 / len(images)
    assert min(scores_of(GazeEngine.load("gazevlm-nano-base", device="cpu"), images)) > 1


def test_noise_and_a_blank_are_not(engine) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 300), np.uint8)).convert("RGB")
    assert min(scores_of(engine, [noise, Image.new("RGB", (300, 300), (90, 90, 90))])) > 1


def test_a_model_without_a_reference_says_nothing(tiny_checkpoint: Path) -> None:
    from gazevlm_core.inference import GazeEngine

    engine = GazeEngine.load(str(tiny_checkpoint), device="cpu")
    assert scores_of(engine, [Image.new("RGB", (224, 224))]) == [None]
    assert engine.diagnose(Image.new("RGB", (224, 224))).ood_score is None


def test_under_an_adapter_that_changed_the_vision_tower_nobody_can_tell(engine, tmp_path: Path) -> None:
    """The reference is of the base's features; those of the adapter lie elsewhere."""
    from gazevlm_core.inference import OOD_UNKNOWN_NOTE
    from gazevlm_core.options import DiagnoseOptions
    from tests.finetune.adapter_on_nano import make_nano_adapter

    image, options = Image.fromarray(make_phantom(77_000, size_px=300).image).convert("RGB"), DiagnoseOptions(walks=1)
    bare = next(engine.stream(image, options=options))
    assert bare.ood_score is not None
    try:
        for vision in (False, True):
            engine.use_adapter(make_nano_adapter(tmp_path / f"adapter-{vision}", vision=vision))
            adapted = next(engine.stream(image, options=options))
            assert adapted.ood_score == (None if vision else pytest.approx(bare.ood_score))
            assert (OOD_UNKNOWN_NOTE in adapted.notes) is vision
        sized = tmp_path / "adapter-False" / "gaze_config.json"
        sized.write_text(json.dumps({**json.loads(sized.read_text()), "pixel_limits": [20_000, 30_000]}))
        engine.use_adapter(tmp_path / "adapter-False")
        assert next(engine.stream(image, options=options)).ood_score is None, "images of another size"
    finally:
        engine.use_adapter(None)
    assert next(engine.stream(image, options=options)).ood_score == bare.ood_score
