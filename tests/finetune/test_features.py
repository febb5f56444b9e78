"""Kept image features: the same losses as from pixels, computed once, and never mistaken for others."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from finetune.config import FinetuneConfig
from finetune.examples import AdaptCollator
from finetune.features import Batching, FeatureStore, encoded_cases, fill_features
from finetune.predict import predict_cases
from finetune.prepare import decide_vision
from finetune.stopping import Stopped
from gazevlm_core.inference import GazeEngine
from gazevlm_core.model.backbones import BACKBONES
from gazevlm_core.options import GlimpseShares
from gazevlm_core.sample import Sample
from phantoms.make import make_phantom
from tests.finetune.case_maker import HERE, make_case, path_of, picture
from tests.tiny_model import make_tiny_backbone

SIZES = ((240, 224), (400, 150), (120, 330), (240, 224))


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    folder = tmp_path_factory.mktemp("pictures")
    made = []
    for number, size in enumerate(SIZES):
        picture(number, *size).save(folder / f"{number}.png")
        made.append(make_case(
            str(number), folder / f"{number}.png", findings={"cardiomegaly": number % 2, "pneumothorax": 1.0},
            report="Large left pleural effusion.", readings=[("owl", path_of(HERE, (200.0, 300.0)))],
        ))  # fmt: skip
    return made


def store_in(folder: Path, engine: GazeEngine) -> FeatureStore:
    size = engine.processor.image_processor.size
    return FeatureStore(folder, "base", (size["shortest_edge"], size["longest_edge"]), engine.model.dtype)


def test_losses_and_gradients_are_the_same_with_and_without(
    tmp_path: Path, tiny_engine: GazeEngine, cases: list[Sample]
) -> None:
    store = store_in(tmp_path, tiny_engine)
    assert fill_features(store, tiny_engine, cases) == len(cases)
    model, gaze, found = tiny_engine.model, tiny_engine.gaze_config, []
    for kept in (None, store):
        batch = AdaptCollator(tiny_engine.processor, gaze, store=kept)(cases)  # three grids in one batch
        assert ("pixel_values" in batch, "image_tokens" in batch) == (kept is None, kept is not None)
        losses = model(**batch)
        losses.loss.backward()
        grads = [p.grad.clone() for p in (model.gaze_heads.query.weight, model.get_input_embeddings().weight)]
        found.append((losses, grads))
        model.zero_grad(set_to_none=True)
    (pixels, by_pixels), (tokens, by_tokens) = found
    for name in ("loss", "gaze_loss", "text_loss", "finding_loss", "dwell_loss"):
        assert float(tokens[name].detach()) == pytest.approx(float(pixels[name].detach()), abs=1e-5)
    for first, second in zip(by_pixels, by_tokens, strict=True):
        torch.testing.assert_close(first, second, atol=1e-5, rtol=1e-4)


def test_glimpses_are_encoded_once_by_picture_and_place(
    tmp_path: Path, cases: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = GazeEngine.load(str(make_tiny_backbone(tmp_path / "base", BACKBONES[0], num_glimpses=2)))
    store = store_in(tmp_path / "kept", engine)
    fill_features(store, engine, cases)
    model, shares = engine.model, GlimpseShares(0.0, 0.0, 1.0)
    plain = AdaptCollator(engine.processor, engine.gaze_config, store=None, shares=shares, model=model)
    keeping = AdaptCollator(engine.processor, engine.gaze_config, store=store, shares=shares, model=model)
    encoded: list[int] = []
    encode = model.encode_glimpses
    monkeypatch.setattr(model, "encode_glimpses", lambda pixels: (encoded.append(len(pixels)), encode(pixels))[1])
    by_pixels, by_tokens = model(**plain(cases)), model(**keeping(cases))
    first = len(encoded)
    again = keeping(cases)
    assert len(encoded) == first == 1 + 2 * len(cases), "all at once, one by one, and never again"
    assert "glimpse_pixel_values" not in again
    for name in ("loss", "finding_loss", "local_loss", "text_loss"):
        assert float(by_tokens[name].detach()) == pytest.approx(float(by_pixels[name].detach()), abs=1e-4)


def test_a_batch_from_the_store_has_each_images_grid(
    tmp_path: Path, tiny_engine: GazeEngine, cases: list[Sample]
) -> None:
    store = store_in(tmp_path, tiny_engine)
    fill_features(store, tiny_engine, cases)
    kept = encoded_cases(cases, tiny_engine, store)
    computed = [*encoded_cases(cases[:3], tiny_engine, None), *encoded_cases(cases[3:], tiny_engine, None)]
    assert len({image.grid for image in kept}) == 3
    for one, other in zip(kept, computed, strict=True):
        assert one.grid == other.grid
        assert torch.equal(one.grid_thw, other.grid_thw)
        torch.testing.assert_close(one.tokens, other.tokens, atol=1e-5, rtol=1e-4)


def test_features_are_computed_once(
    tmp_path: Path, tiny_engine: GazeEngine, cases: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_in(tmp_path, tiny_engine)
    twice = [*cases, *cases]
    assert fill_features(store, tiny_engine, twice) == len(cases)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(before) == len(cases)
    monkeypatch.setattr(tiny_engine, "encode_images", lambda images: pytest.fail("computed again"))
    assert fill_features(store_in(tmp_path, tiny_engine), tiny_engine, twice) == 0
    encoded_cases(cases, tiny_engine, store)
    AdaptCollator(tiny_engine.processor, tiny_engine.gaze_config, store=store)([cases[0]])
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("images", [1, 3])
def test_no_more_images_at_once_than_asked_for(
    tmp_path: Path, tiny_engine: GazeEngine, cases: list[Sample], images: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody who trains on one image at a time has no memory for more of them before the first step."""
    seen: list[int] = []
    true = {name: getattr(GazeEngine, name) for name in ("encode_images", "prefill")}
    for name in true:
        monkeypatch.setattr(
            GazeEngine, name,
            lambda engine, some, *rest, name=name, **more:
            seen.append(len(some)) or true[name](engine, some, *rest, **more)
        )  # fmt: skip
    batching = Batching(images)
    for store in (None, store_in(tmp_path, tiny_engine)):
        if store is not None:
            fill_features(store, tiny_engine, cases, batching)
        found = predict_cases(tiny_engine, cases, store, batching)
        assert found.losses == pytest.approx(predict_cases(tiny_engine, cases, store, Batching(4)).losses, abs=1e-5)
        assert set(seen) == {images, len(cases) % images or images, 4}
        seen.clear()


def test_a_pass_ends_between_images_and_keeps_what_it_has(
    tmp_path: Path, tiny_engine: GazeEngine, cases: list[Sample]
) -> None:
    asked = iter([False, False, True])

    def check() -> None:
        if next(asked):
            raise Stopped

    store = store_in(tmp_path, tiny_engine)
    with pytest.raises(Stopped):
        fill_features(store, tiny_engine, cases, Batching(1, check))
    assert fill_features(store, tiny_engine, cases) == len(cases) - 2


@pytest.mark.parametrize("kept", [0, 3, 8, 200, -1])
def test_a_torn_file_is_computed_again(
    tmp_path: Path, tiny_engine: GazeEngine, cases: list[Sample], kept: int
) -> None:
    store = store_in(tmp_path, tiny_engine)
    fill_features(store, tiny_engine, cases[:2])
    path = store.path(cases[0].digest)
    whole = path.read_bytes()
    path.write_bytes(whole[:kept])
    assert store.read(cases[0].digest) is None
    with pytest.raises(KeyError, match="gone"):
        encoded_cases(cases[:1], tiny_engine, store)
    with pytest.raises(KeyError, match="gone"):
        AdaptCollator(tiny_engine.processor, tiny_engine.gaze_config, store=store)([cases[0]])
    assert fill_features(store, tiny_engine, cases[:2]) == 1
    same = path.read_bytes() == whole  # pytest would spell out where they differ, for minutes
    assert same


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FeatureStore(tmp_path, "base", (1, 2), torch.float32)
    tokens, grid = torch.ones(4, 3), torch.tensor([1, 4, 4])
    store.write("fine", tokens, grid)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="space"):
        store.write("other", tokens, grid)
    assert [path.name for path in tmp_path.iterdir()] == [store.path("fine").name]
    assert store.read("other") is None


def test_everything_that_decides_features_is_in_their_name(tmp_path: Path) -> None:
    stores = [
        FeatureStore(tmp_path, base, limits, dtype)
        for base in ("one", "two")
        for limits in ((100, 200), (100, 300), (50, 200))
        for dtype in (torch.float32, torch.bfloat16)
    ]
    paths = {store.path(digest) for store in stores for digest in ("a", "b")}
    assert len(paths) == 2 * len(stores)
    stores[0].write("a", torch.ones(4, 3), torch.tensor([1, 4, 4]))
    assert [store.read("a") is not None for store in stores] == [True, *[False] * (len(stores) - 1)]


@pytest.mark.gpu
def test_features_from_the_disk_serve_a_model_on_a_gpu(tmp_path: Path, cases: list[Sample]) -> None:
    from gazevlm_core.model.places import UsualPlace
    from tests.tiny_model import make_tiny_checkpoint

    names, places = ("cardiomegaly", "hernia"), (UsualPlace("hernia", 0.5, 0.8, 0.06),)
    folder = make_tiny_checkpoint(
        tmp_path / "base", finding_names=names, usual_places=places, pointer_keys="visual"
    )
    engine = GazeEngine.load(str(folder), device="cuda")
    store = store_in(tmp_path / "features", engine)
    fill_features(store, engine, cases)
    stored, anew = (predict_cases(engine, cases, one).probabilities() for one in (store, None))
    for kept, computed in zip(stored, anew, strict=True):
        assert kept == pytest.approx(computed, abs=1e-3)


def test_the_tower_learns_where_most_images_are_unlike_those_of_the_base(tmp_path: Path) -> None:
    engine = GazeEngine.load()  # only a shipped one knows what it has learned from
    drawn = [make_phantom(seed, size_px=224).image for seed in range(3)]
    noise = [np.random.default_rng(seed).integers(0, 255, (224, 224, 3), dtype=np.uint8) for seed in range(2)]
    cases = {}
    for number, pixels in enumerate([*drawn, *noise]):
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        cases[number] = make_case(str(number), tmp_path / f"{number}.png")
    told: list[str] = []

    def decide(*numbers: int, **values: bool) -> bool | None:
        config = FinetuneConfig(annotations=("data",), **values)
        return decide_vision(config, engine, [cases[number] for number in numbers], told.append).freeze_vision

    assert decide(0, 1, 2) is True
    assert decide(0, 1, 3, 4) is True, "half of them is not most"
    assert told == []
    assert decide(0, 3, 4) is False
    assert told == ["The vision tower learns, too: 2 of 3 training images are unlike those of the base"]
    assert decide(3, 4, freeze_vision=True) is True
    assert decide(0, 1, freeze_language=True) is False, "something has to learn"
