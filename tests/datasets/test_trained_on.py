"""What an adapter was trained on: it knows its patients and pictures again, and names nobody."""

import hashlib
import json
from pathlib import Path

import pytest
from PIL import Image

from gazevlm_core.datasets.splits import SplitRule
from gazevlm_core.datasets.trained_on import TrainedOn, patient_key, read_all_trained_on, rgb_digest
from gazevlm_core.sample import pixel_digest

TOLD = TrainedOn.of("salt", ["p1", "0"], ["d1"], SplitRule(3, 0.3))


def test_patients_are_known_again_and_not_named(tmp_path: Path) -> None:
    text = json.dumps({"trained_on": TOLD.to_values()})
    assert '"p1"' not in text
    (tmp_path / "provenance.json").write_text(text)
    told = read_all_trained_on(tmp_path)[0]
    assert told == TOLD
    assert told is not None
    assert [told.has_patient(one) for one in ("p1", "0", "p2", "")] == [True, True, False, False]
    assert patient_key("other", "p1") not in told.patients


def test_pictures_are_known_again_by_the_digests_of_earlier_versions_too() -> None:
    image, other = Image.new("RGB", (20, 16), (7, 7, 7)), Image.new("RGB", (20, 16), (7, 7, 8))
    assert rgb_digest(image) == hashlib.sha256(b"20x16\n" + b"\x07" * 960).hexdigest()
    for digest in (pixel_digest(image), rgb_digest(image)):
        learned = TrainedOn.of("salt", [], [digest], SplitRule())
        assert [learned.has_picture(one) for one in (image, other)] == [True, False]


def test_provenance_of_earlier_versions_does_not_tell(tmp_path: Path) -> None:
    assert read_all_trained_on(tmp_path)[0] is None
    (tmp_path / "provenance.json").write_text(json.dumps({"split": {"train": ["a"], "held_out": []}}))
    assert read_all_trained_on(tmp_path)[0] is None


def test_what_its_base_was_trained_on_is_told_too(tmp_path: Path) -> None:
    before = TrainedOn.of("other", ["p2"], ["d2"], SplitRule())
    values = {"trained_on": TOLD.to_values(), "trained_on_before": [before.to_values(), None]}
    (tmp_path / "provenance.json").write_text(json.dumps(values))
    assert read_all_trained_on(tmp_path) == [TOLD, before, None]
    assert read_all_trained_on(tmp_path)[0] == TOLD


@pytest.mark.parametrize(
    "text", ["{", '{"trained_on_before": 3}', '{"trained_on": {}}', '{"trained_on": 3}',
             json.dumps({"trained_on": {**TOLD.to_values(), "patients": 3}}),
             json.dumps({"trained_on": {**TOLD.to_values(), "held_out_share": 2}}),
             json.dumps({"trained_on": {**TOLD.to_values(), "pictures": [3]}}),
             json.dumps({"trained_on": {**TOLD.to_values(), "seed": float("inf")}}), "[" * 100_000]
)  # fmt: skip
def test_provenance_that_is_none_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "provenance.json").write_text(text)
    with pytest.raises(ValueError, match=r"provenance.json is not usable: ") as caught:
        read_all_trained_on(tmp_path)[0]
    assert "\n" not in str(caught.value)
