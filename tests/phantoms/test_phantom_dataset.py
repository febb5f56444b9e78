"""Phantoms as a data set: shards round-trip, examples are honest, cached images are what the processor would make."""

import numpy as np
import pytest
from PIL import Image

from gazevlm_core.findings import FINDING_NAMES, QUESTIONS
from gazevlm_core.model.processing_gazevlm import GazeVLMProcessor
from phantoms import dataset as data
from phantoms.nano_parts import IMAGE_PIXELS, SMALLEST_IMAGE_PIXELS

BOUNDS = (SMALLEST_IMAGE_PIXELS, IMAGE_PIXELS)


@pytest.fixture(scope="module")
def case() -> data.PhantomCase:
    return data.draw_case(3, sizes_px=(256,), model_pixels=BOUNDS, readings_per_reader=2)


def test_shards_give_back_what_was_drawn(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "SHARD_CASES", 2)
    shards = data.PhantomShards(tmp_path, range(50, 54), sizes_px=(256,), model_pixels=BOUNDS)
    shards.make(workers=1)
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(stamps) == 2
    shards.make(workers=1)  # nothing is drawn again
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == stamps
    loaded = shards.load()
    for seed, again in zip(range(50, 54), loaded, strict=True):
        drawn = data.draw_case(seed, sizes_px=(256,), model_pixels=BOUNDS)
        assert again.image.tolist() == drawn.image.tolist()
        assert (again.findings, again.reports, again.presence_answers) == (
            drawn.findings,
            drawn.reports,
            drawn.presence_answers,
        )
        assert again.readings == drawn.readings


def test_a_cached_image_is_what_the_processor_would_make(tiny_processor: GazeVLMProcessor, case) -> None:
    full = Image.fromarray(data.make_phantom(3, size_px=256).image).convert("RGB")
    cached = Image.fromarray(case.image).convert("RGB")
    a = tiny_processor.image_processor(images=[full], return_tensors="pt")
    b = tiny_processor.image_processor(images=[cached], return_tensors="pt")
    assert a["image_grid_thw"].tolist() == b["image_grid_thw"].tolist()
    np.testing.assert_allclose(a["pixel_values"].numpy(), b["pixel_values"].numpy(), atol=0.02)  # one grey level


def test_examples_ask_for_reports_and_for_present_and_absent_findings(case) -> None:
    examples = [data.training_sample(case, np.random.default_rng(seed)) for seed in range(200)]
    reports = [example for example in examples if example.question in QUESTIONS]
    assert 90 <= len(reports) <= 150
    assert {example.report for example in reports} <= set(case.reports)
    answers = [example.report or "" for example in examples if example.question not in QUESTIONS]
    assert {answer.split(",")[0].split(".")[0] for answer in answers} <= {"Yes", "No"}
    for example in examples:
        assert dict(example.findings) == {name: float(name in case.finding_names) for name in FINDING_NAMES}
        assert len(example.scanpaths) == sum(len(reader) for reader in case.readings)
