"""Every option of what is learned does what it says: two steps, and a look at what it should have changed."""

import json
from collections.abc import Sized
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft.tuners.lora import LoraLayer
from PIL import Image
from safetensors.torch import load_file

from gazevlm_core.inference import GazeEngine
from gazevlm_core.model.adapters import read_gaze_config
from gazevlm_core.options import DiagnoseOptions
from tests.finetune.case_maker import HERE, Study, picture, write_folder
from tests.finetune.run_maker import go, losses, quick, write_gaze_folder
from tests.finetune.two_steps import SAME, STEPS, Done, Run
from tests.tiny_model import make_tiny_checkpoint

pytestmark = pytest.mark.slow


def base_heads(checkpoint: Path) -> dict[str, torch.Tensor]:
    """Heads of the base."""
    weights = load_file(checkpoint / "model.safetensors")
    return {name.partition("gaze_heads.")[2]: one for name, one in weights.items() if "gaze_heads." in name}


def pairs(run: Path) -> list[dict[str, Any]]:
    """Return what base and adapter show of held-out images."""
    return json.loads((run / "before_after" / "before_after.json").read_text())["images"]


# ---- adapter ----
def test_dora(do: Run) -> None:
    done = do(dora=True)
    assert done.peft.use_dora
    assert any("lora_magnitude_vector" in name for name in done.weights)


def test_rslora(do: Run, plain: dict) -> None:
    done = do(rslora=True, lora_alpha=8, lora_rank=4)
    layer = next(one for one in done.training.adapted.modules() if isinstance(one, LoraLayer))
    assert layer.scaling["default"] == pytest.approx(8 / 4**0.5)
    assert done.loss() == pytest.approx(plain[1]["loss"], rel=SAME), "LoRA begins at nothing"
    assert done.loss(step=2) != plain[2]["loss"]


def test_rank_and_alpha(do: Run) -> None:
    done = do(lora_rank=3, lora_alpha=12)
    layer = next(one for one in done.training.adapted.modules() if isinstance(one, LoraLayer))
    assert layer.scaling["default"] == 4
    assert {one.shape[0] for name, one in done.weights.items() if "lora_A" in name} == {3}


def test_dropout(do: Run, plain: dict) -> None:
    done = do(lora_dropout=0.5)
    assert done.peft.lora_dropout == 0.5
    assert done.loss(step=2) != plain[2]["loss"]


@pytest.mark.parametrize("where", ["language", "vision", "both"])
def test_where_lora_is(do: Run, where: str, plain: dict) -> None:
    done = do(freeze_language=where == "vision", freeze_vision=where == "language")
    lora = {"visual" if ".visual." in name else "language" for name in done.weights if "lora_" in name}
    assert lora == {"language": {"language"}, "vision": {"visual"}, "both": {"visual", "language"}}[where]
    assert (done.run / "features").exists() == (where == "language"), "pixels are needed where the tower learns"
    assert done.loss() == pytest.approx(plain[1]["loss"], rel=SAME)
    moved = [one.abs().max() for name, one in done.weights.items() if "lora_B" in name and ".visual." in name]
    assert all(one > 0 for one in moved)


def test_frozen_heads(do: Run, usual: Done, tiny_checkpoint: Path) -> None:
    before = base_heads(tiny_checkpoint)
    done = do(freeze_heads=True)
    changed = {name for name, one in done.heads.items() if not torch.equal(one, before[name])}
    assert changed == {"finding.weight", "finding.bias"}
    assert {name for name, one in usual.heads.items() if not torch.equal(one, before[name])} > changed


def test_glimpses_are_added_to_a_base_without(do: Run) -> None:
    done = do(num_glimpses=2)
    assert read_gaze_config(done.adapter).num_glimpses == 2
    assert all(image["after"] for image in pairs(done.run))


def test_what_is_shown_afterwards_is_seen_by_the_trained_tower(do: Run, tiny_checkpoint: Path) -> None:
    done = do(freeze_vision=False, learning_rate=0.05, held_out_share=0.13)
    engine = GazeEngine.load(str(tiny_checkpoint), adapter=done.adapter)
    for image in pairs(done.run):
        picture = Image.open(done.run / "before_after" / image["file"])
        seen = engine.diagnose(picture, image["question"], DiagnoseOptions(max_new_tokens=2))
        path = [[fixation.x, fixation.y] for fixation in seen.scanpath]
        assert np.allclose(image["after"], path, atol=1e-4)


# ---- data ----
def test_gaze_orders(do: Run, plain: dict, tiny_checkpoint: Path) -> None:
    seen = {plain[1]["gaze_loss"], *(do(gaze_order=order).loss("gaze_loss") for order in ("shuffled", "random"))}
    assert len(seen) == 3, "the same images are taught other paths"
    none = do(gaze_order="none")
    assert "gaze_loss" not in losses(none.run)[1]
    assert "dwell_loss" not in losses(none.run)[1]
    before = base_heads(tiny_checkpoint)
    moved = {name.partition(".")[0] for name, one in none.heads.items() if not torch.equal(one, before[name])}
    assert moved == {"finding"}, "nobody taught the pointer anything"


@pytest.mark.parametrize("order", ["shuffled", "none"])
def test_a_control_without_gaze_fits_no_place(order: str, tiny_checkpoint: Path, tmp_path: Path) -> None:
    studies = [
        Study(f"i{n}", n, None, {"hernia": float(n % 2)}, readings={"owl": ((0.5, 0.8) if n % 2 else (0.1, 0.1),)})
        for n in range(40)
    ]
    config = quick(write_folder(tmp_path / "data", studies), tiny_checkpoint, **STEPS, gaze_order=order)
    assert go(config, tmp_path / "adapter", tmp_path / "run").outcome == "done"
    gaze = read_gaze_config(tmp_path / "adapter")
    assert "hernia" in gaze.finding_names
    assert [place.name for place in gaze.usual_places] == ([] if order == "none" else ["hernia"])


def test_target_width(do: Run, plain: dict) -> None:
    done = do(target_sigma_patches=1.0)
    assert done.loss("gaze_loss") != plain[1]["gaze_loss"]
    assert done.loss("text_loss") == pytest.approx(plain[1]["text_loss"], rel=SAME)


def test_number_of_gaze_tokens(do: Run) -> None:
    done = do(num_gaze_tokens=7)
    assert read_gaze_config(done.adapter).num_gaze_tokens == 7
    assert do(num_gaze_tokens=None).training.engine.gaze_config.num_gaze_tokens == 12, "the base's"


def test_pixel_limits(do: Run, usual: Done) -> None:
    small, large = (do(min_pixels=pixels, max_pixels=pixels) for pixels in (784, 12544))
    for done, patches in ((small, 1), (usual, 4), (large, 16)):
        assert {len(load_file(path)["tokens"]) for path in (done.run / "features").iterdir()} == {patches}


def test_length_groups(do: Run, usual: Done, plain: dict) -> None:
    done = do(group_by_length=True)
    assert [draw.case for draw in done.training.trainer.train_dataset.draws] != [
        draw.case for draw in usual.training.trainer.train_dataset.draws
    ]
    assert losses(done.run) != plain


def test_no_more_images_at_once_than_a_batch(do: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    true = {name: getattr(GazeEngine, name) for name in ("encode_images", "prefill")}
    for name, method in true.items():

        def counted(engine: GazeEngine, some: Sized, *rest: object, method: Any = method, **options: object) -> object:
            seen.append(len(some))
            return method(engine, some, *rest, **options)

        monkeypatch.setattr(GazeEngine, name, counted)
    do(batch_size=1)
    assert set(seen) == {1}


def test_shares(do: Run, gaze_folder: Path, tmp_path: Path) -> None:
    other = write_gaze_folder(tmp_path / "other", seed=5)
    both = (str(gaze_folder), str(other))
    for shares, wanted in {(1.0, 1e-9): {0}, (1e-9, 1.0): {1}}.items():
        done = do(annotations=both, shares=shares)
        draws = done.training.trainer.train_dataset.draws
        cases = done.training.prepared.split.train
        assert {cases[draw.case].part for draw in draws} == wanted


# ---- losses ----
@pytest.mark.parametrize("weights", [(0.0, 3.0, 0.0, 2.0), (3.0, 0.0, 0.5, 0.0)])
def test_weights_of_losses(do: Run, weights: tuple[float, ...], plain: dict) -> None:
    given = dict(zip(("gaze", "text", "finding", "dwell"), weights, strict=True))
    done = do(**{f"{part}_weight": weight for part, weight in given.items()})
    whole = sum(weight * plain[1][f"{part}_loss"] for part, weight in given.items())
    assert done.loss() == pytest.approx(whole, rel=1e-4)


def test_retain(do: Run) -> None:
    labels, base = do(retain=0.0), do(retain=1.0)
    assert labels.training.prepared.base_probabilities == ({},) * len(labels.training.prepared.split.train)
    targets = base.training.trainer.train_dataset[0].findings
    case = base.training.trainer.train_dataset.draws[0].case
    assert targets == dict(base.training.prepared.base_probabilities[case])
    assert labels.loss("finding_loss") != base.loss("finding_loss")


# ---- a base that knows nothing ----
@pytest.mark.parametrize(
    ("values", "with_it", "told"),
    [
        ({}, 1, ()),
        ({"add_findings": False}, 5, ()),
        ({"finding_weight": 0.0}, 5, ()),
        ({}, 5, ("edema",)),
    ],
    ids=["too rare", "not added", "no weight", "learned"],
)
def test_only_what_was_learned_is_told(
    values: dict[str, Any], with_it: int, told: tuple[str, ...], tmp_path: Path
) -> None:
    marks = {"gaze_trained": False, "findings_trained": False, "dwell_trained": False}
    base = make_tiny_checkpoint(tmp_path / "base", finding_names=(), trained_on="", **marks)
    studies = [Study(f"i{n}", n, None, {"edema": float(n < with_it)}, readings={"owl": HERE}) for n in range(12)]
    config = quick(write_folder(tmp_path / "data", studies), base, **{**STEPS, "held_out_share": 0.1, **values})
    ending = go(config, tmp_path / "adapter", tmp_path / "run")
    assert ending.outcome == "done", ending.cause
    gaze = read_gaze_config(tmp_path / "adapter")
    assert (gaze.finding_names, gaze.findings_trained) == (told, bool(told))
    assert gaze.gaze_trained
    said = GazeEngine.load(str(base), adapter=tmp_path / "adapter", device="cpu").diagnose(
        picture(0), options=DiagnoseOptions(max_new_tokens=1)
    )
    assert tuple(said.finding_probabilities) == told
    assert said.scanpath is not None
