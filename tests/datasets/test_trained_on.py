"""What an adapter was trained on: it knows its patients and pictures again, and names nobody."""

import hashlib
import json
from pathlib import Path

import pytest
from PIL import Image

from gazevlm_core.datasets.folder import GazeFolder
from gazevlm_core.datasets.kermany import Kermany
from gazevlm_core.datasets.mimic_eye import MimicEye
from gazevlm_core.datasets.nih import NihChestXray14
from gazevlm_core.datasets.reflacx import Reflacx
from gazevlm_core.datasets.source import DataSource
from gazevlm_core.datasets.splits import SplitRule
from gazevlm_core.datasets.trained_on import (
    UNKNOWN,
    TrainedOn,
    patient_key,
    read_all_trained_on,
    rgb_digest,
    write_trained_on,
)
from gazevlm_core.options import NANO, resolve_source
from gazevlm_core.sample import Sample, pixel_digest

TOLD = TrainedOn.of("salt", [Sample("p1"), Sample("a", patient_id="0")], ["d1"], SplitRule(3, 0.3))


def test_patients_are_known_again_and_not_named(tmp_path: Path) -> None:
    text = json.dumps({"trained_on": TOLD.to_values()})
    assert '"p1"' not in text
    (tmp_path / "provenance.json").write_text(text)
    told = read_all_trained_on(tmp_path)[0]
    assert told == TOLD
    assert told is not None
    assert [told.has_patient(Sample(one)) for one in ("p1", "0", "p2", "1")] == [True, True, False, False]
    assert patient_key("other", "p1") not in told.patients[UNKNOWN]


def of(dataset: type[DataSource], patient: str = "1021") -> Sample:
    return Sample("a", patient_id=patient, dataset=dataset.name)


def test_an_id_is_a_patient_of_its_own_data_set_alone() -> None:
    learned = TrainedOn.of("salt", [of(NihChestXray14), of(Reflacx, "7"), of(GazeFolder, "8")], [], SplitRule())
    learned = TrainedOn.from_values(json.loads(json.dumps(learned.to_values())))
    assert learned.has_patient(of(NihChestXray14))
    assert not any(learned.has_patient(of(one)) for one in (GazeFolder, Kermany, Reflacx))
    assert learned.has_patient(of(MimicEye, "7")), "both have MIMIC's"
    assert not learned.has_patient(of(NihChestXray14, "7"))
    assert learned.has_patient(of(GazeFolder, "8")), "another export of the same people, perhaps"
    assert learned.has_patient(Sample("a", patient_id="8")), "nobody knows whose"


OLD_KEYS = [patient_key("salt", "1021")]
OLD = {"salt": "salt", "patients": OLD_KEYS, "pictures": ["d"], "seed": 0, "held_out_share": 0.2}


@pytest.mark.parametrize(
    ("beside", "nih", "other"),
    [
        ({}, True, True),
        ({"data": {"datasets": [{"name": "nih=there"}]}}, True, False),
        ({"data": {"datasets": [{"name": "nih=there"}, {"name": "folder=mine"}]}}, True, True),
        ({"data": {"datasets": [{"name": "egd-cxr=there"}]}}, False, False),
        ({"data": {"datasets": [{"name": "nih=there"}, {"name": "of a plugin"}]}}, True, True),
        ({"data": {"datasets": [{"name": "nih=there"}, 3, {}]}}, True, True),
        ({"data": {"datasets": 3}}, True, True),
        ({"data": 3}, True, True),
    ],
)
def test_whose_ids_earlier_versions_meant_is_read_from_the_data_beside(
    tmp_path: Path, beside: dict[str, object], nih: bool, other: bool
) -> None:
    (tmp_path / "provenance.json").write_text(json.dumps({"trained_on": OLD, **beside}))
    (learned,) = read_all_trained_on(tmp_path)
    assert learned is not None
    assert (learned.has_patient(of(NihChestXray14)), learned.has_patient(of(GazeFolder))) == (nih, other)
    write_trained_on(tmp_path, [learned])
    assert read_all_trained_on(tmp_path) == [learned], "rewritten as of today"
    assert isinstance(json.loads((tmp_path / "provenance.json").read_text())["trained_on"]["patients"], dict)


def test_the_embedded_models_of_earlier_versions_knew_nih_and_kermany(tmp_path: Path) -> None:
    """Also where one is the base of an adapter, whose own data its file names."""
    keys = [patient_key("gazevlm-nano", one) for one in ("1021", "person7")]
    values = {"trained_on": OLD, "trained_on_before": [{**OLD, "salt": "gazevlm-nano", "patients": keys}]}
    (tmp_path / "provenance.json").write_text(json.dumps({**values, "data": {"datasets": [{"name": "folder=mine"}]}}))
    own, before = read_all_trained_on(tmp_path)
    assert own is not None
    assert before is not None
    assert (own.has_patient(of(GazeFolder)), own.has_patient(of(NihChestXray14))) == (True, False)
    assert (before.has_patient(of(GazeFolder)), before.has_patient(of(NihChestXray14))) == (False, True)
    assert before.has_patient(of(Kermany, "person7"))


def test_few_of_the_first_thousand_ids_are_learned_by_the_shipped_model() -> None:
    """21 were, in whatever hospital they were counted."""
    (learned,) = read_all_trained_on(Path(resolve_source(NANO)))
    assert learned is not None
    numbered = [str(number) for number in range(1, 1001)]
    assert not any(learned.has_patient(of(GazeFolder, one)) for one in numbered)
    assert sum(learned.has_patient(of(NihChestXray14, one)) for one in numbered) == 21


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
    before = TrainedOn.of("other", [Sample("p2")], ["d2"], SplitRule())
    values = {"trained_on": TOLD.to_values(), "trained_on_before": [before.to_values(), None]}
    (tmp_path / "provenance.json").write_text(json.dumps(values))
    assert read_all_trained_on(tmp_path) == [TOLD, before, None]
    assert read_all_trained_on(tmp_path)[0] == TOLD


@pytest.mark.parametrize(
    "text", ["{", '{"trained_on_before": 3}', '{"trained_on": {}}', '{"trained_on": 3}',
             json.dumps({"trained_on": {**TOLD.to_values(), "patients": 3}}),
             json.dumps({"trained_on": {**TOLD.to_values(), "patients": {"": 3}}}),
             json.dumps({"trained_on": {**TOLD.to_values(), "patients": {"": [3]}}}),
             json.dumps({"trained_on": {**TOLD.to_values(), "patients": [3]}}),
             json.dumps({"trained_on": {**TOLD.to_values(), "held_out_share": 2}}),
             json.dumps({"trained_on": {**TOLD.to_values(), "pictures": [3]}}),
             json.dumps({"trained_on": {**TOLD.to_values(), "seed": float("inf")}}), "[" * 100_000]
)  # fmt: skip
def test_provenance_that_is_none_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "provenance.json").write_text(text)
    with pytest.raises(ValueError, match=r"provenance.json is not usable: ") as caught:
        read_all_trained_on(tmp_path)[0]
    assert "\n" not in str(caught.value)
