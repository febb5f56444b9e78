"""A base is known by its files, wherever they lie: resuming and merging take the same one, or refuse."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from finetune.base import folder_digest, load_base
from finetune.cases import read_cases, split_cases
from finetune.config import ConfigError
from finetune.export.files import ExportError
from finetune.export.merge import Storage, merge_adapter
from finetune.records import read_provenance, write_json
from gazevlm_core.datasets.splits import SplitRule
from gazevlm_core.datasets.trained_on import TrainedOn
from gazevlm_core.inference import what_is_known
from gazevlm_core.model.checkpoint import CheckpointError
from gazevlm_core.sample import Sample
from tests.finetune.hub_maker import commit_of, put, use_cache
from tests.finetune.run_maker import go, losses, quick, tensors

HUB_ID = "owner/tiny"
FIRST, SECOND = commit_of("first"), commit_of("second")


def changed(checkpoint: Path, copy: Path) -> Path:
    """A checkpoint with another number in its weights."""
    shutil.copytree(checkpoint, copy)
    weights = load_file(copy / "model.safetensors")
    name = next(name for name in weights if name.endswith("norm.weight"))
    save_file({**weights, name: weights[name] + 1}, copy / "model.safetensors", {"format": "pt"})
    return copy


@pytest.fixture
def moved_hub(tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with a repository of two commits."""
    cache = use_cache(tmp_path / "cache", monkeypatch)
    put(cache, HUB_ID, tiny_checkpoint, FIRST)
    put(cache, HUB_ID, changed(tiny_checkpoint, tmp_path / "changed"), SECOND)
    return cache


def test_a_base_on_the_hub_is_known_by_its_commit_and_its_files(
    moved_hub: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    config = quick("none", Path(HUB_ID))
    newest, older = load_base(config), load_base(config, FIRST)
    assert (newest.revision, older.revision) == (SECOND, FIRST)
    assert newest.fingerprint == folder_digest(tmp_path / "changed")
    assert older.fingerprint == folder_digest(tiny_checkpoint) != newest.fingerprint
    assert newest.model_id == older.model_id == HUB_ID
    folder = load_base(quick("none", tiny_checkpoint))
    assert (folder.revision, folder.fingerprint) == ("", older.fingerprint)
    models = [base.engine.model.state_dict() for base in (older, folder, newest)]
    assert all(torch.equal(tensor, models[1][name]) for name, tensor in models[0].items())
    assert not all(torch.equal(tensor, models[2][name]) for name, tensor in models[0].items())
    with pytest.raises(CheckpointError, match=commit_of("third")):
        load_base(config, commit_of("third"))


def test_a_merged_model_tells_whom_it_was_trained_on_from_the_hub_too(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = TrainedOn.of("salt", [Sample("p")], ["d"], SplitRule())
    merged = Path(shutil.copytree(tiny_checkpoint, tmp_path / "merged"))
    write_json(merged / "provenance.json", {"trained_on": told.to_values()})
    cache = use_cache(tmp_path / "cache", monkeypatch)
    put(cache, "owner/merged", merged, commit_of("merged"))
    put(cache, "owner/plain", tiny_checkpoint, commit_of("plain"))
    for source, found in (("owner/merged", (told,)), (str(merged), (told,)), ("owner/plain", ())):
        assert load_base(quick("none", Path(source))).trained_on == found, source
        assert what_is_known(None, source) == [*found], source
    (merged / "provenance.json").write_text("[", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"provenance\.json is not usable"):  # before the first step
        load_base(quick("none", merged))


def test_what_decides_a_digest(tiny_checkpoint: Path, tmp_path: Path) -> None:
    before, copy = folder_digest(tiny_checkpoint), Path(shutil.copytree(tiny_checkpoint, tmp_path / "copy"))
    for other in ("README.md", "consolidated.safetensors"):
        (copy / other).write_text("nothing that is loaded", encoding="utf-8")
    assert folder_digest(copy) == before
    config = copy / "processor_config.json"
    config.write_text(config.read_text(encoding="utf-8").replace("longest_edge", "longest__edge"), encoding="utf-8")
    assert folder_digest(copy) != before
    (copy / "model.safetensors").rename(copy / "model-00001-of-00001.safetensors")
    with pytest.raises(CheckpointError, match=r"holds no model\.safetensors"):
        folder_digest(copy)
    index = {"weight_map": {"a": "model-00001-of-00001.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"holds no model-00002-of-00002\.safetensors"):
        folder_digest(copy)


@pytest.mark.parametrize(
    ("least", "most", "limits"),
    [(None, None, (40000, 51984)), (784, None, (784, 51984)), (None, 784, (784, 784)), (60000, 90000, (60000, 90000))],
)
def test_pixel_limits_are_those_of_the_configuration_beside_the_base(
    least: int | None, most: int | None, limits: tuple[int, int], tiny_checkpoint: Path
) -> None:
    base = load_base(quick("none", tiny_checkpoint, min_pixels=least, max_pixels=most))
    assert base.pixel_limits == limits


def test_a_smallest_image_above_the_largest_of_the_base_is_refused(tiny_checkpoint: Path) -> None:
    said = r"min_pixels: 300000 is above the largest image of .*, 51984; give a higher max_pixels too"
    with pytest.raises(ConfigError, match=said):
        load_base(quick("none", tiny_checkpoint, min_pixels=300_000, max_pixels=None))


@pytest.mark.slow
def test_a_run_and_its_merging_keep_to_the_commit_that_it_was_begun_on(
    gaze_folder: Path, tiny_checkpoint: Path, uninterrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = use_cache(tmp_path / "cache", monkeypatch)
    first = put(cache, HUB_ID, tiny_checkpoint, FIRST)
    config, out, run = quick(gaze_folder, Path(HUB_ID)), tmp_path / "adapter", tmp_path / "run"
    assert go(config, out, run, stop_after=2).outcome == "stopped"
    put(cache, HUB_ID, changed(tiny_checkpoint, tmp_path / "changed"), SECOND)
    assert go(config, out, run).outcome == "done"
    assert losses(run) == losses(uninterrupted / "run")
    assert tensors(out) == tensors(uninterrupted / "adapter")
    provenance = read_provenance(out)
    assert provenance is not None
    assert provenance["base"] == {
        "source": HUB_ID, "model_id": HUB_ID, "revision": FIRST, "fingerprint": folder_digest(tiny_checkpoint)
    }  # fmt: skip
    assert json.loads((out / "adapter_config.json").read_text(encoding="utf-8"))["revision"] == FIRST
    weights = []
    for name, base in (("own", ""), ("named", HUB_ID), ("folder", str(first))):
        merge_adapter(out, tmp_path / name, base=base, storage=Storage.FLOAT32)
        weights.append((tmp_path / name / "model.safetensors").read_bytes())
    assert len(set(weights)) == 1
    with pytest.raises(ExportError, match="fingerprints differ"):
        merge_adapter(out, tmp_path / "other", base=str(tmp_path / "changed"))


@pytest.mark.slow
def test_a_base_that_was_written_anew_is_not_gone_on_with(
    gaze_folder: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    base = Path(shutil.copytree(tiny_checkpoint, tmp_path / "base"))
    config = quick(gaze_folder, base)
    assert go(config, tmp_path / "adapter", tmp_path / "run", stop_after=2).outcome == "stopped"
    shutil.rmtree(base)
    changed(tiny_checkpoint, base)
    ending = go(config, tmp_path / "adapter", tmp_path / "run")
    assert ending.outcome == "failed"
    assert "was begun with other files of the base" in ending.cause
    shutil.rmtree(base)
    shutil.copytree(tiny_checkpoint, base)
    assert go(config, tmp_path / "adapter", tmp_path / "run").outcome == "done"


@pytest.mark.slow
def test_a_run_on_a_merged_base_scores_nothing_that_the_base_has_learned(
    gaze_folder: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    merged = Path(shutil.copytree(tiny_checkpoint, tmp_path / "merged"))
    config = quick(gaze_folder, merged, held_out_share=0.6)
    split = split_cases(read_cases(config), config)
    first, *others = split.held_out
    assert others
    learned = TrainedOn.of("salt", [first], [], SplitRule())
    write_json(merged / "provenance.json", {"trained_on": learned.to_values()})
    assert go(config, tmp_path / "adapter", tmp_path / "run").outcome == "done"
    values = read_provenance(tmp_path / "adapter")
    assert values is not None
    assert values["split"]["held_out"] == [case.image_id for case in others if case.patient_id != first.patient_id]
    assert values["split"]["train"] == [case.image_id for case in split.train]
    assert go(config, tmp_path / "adapter", tmp_path / "run").outcome == "done", "it is the same run again"
