"""What the adapters of labels share: paths, DICOM sizes, boxes, and the labels of the CheXpert labeller."""

from pathlib import Path

import pytest

from gazevlm_core.datasets.label_policies import CHEXPERT_LABELS, chexpert_findings, finding_name
from gazevlm_core.datasets.siim import SiimPneumothorax
from gazevlm_core.datasets.source import Drop, clip_box, dicom_size_px, find_image, index_files, leaves_root
from gazevlm_core.sample import Box, DatasetError
from tests.datasets.label_tables import chexpert_row, write_dicom, write_picture


@pytest.mark.parametrize(
    ("value", "leaves"),
    [
        ("a.png", False), ("a/b.png", False), ("a..b.png", False), ("", False),
        ("../a.png", True), ("a/../../b", True), ("/etc/passwd", True), ("\\share", True), ("a\\..\\b", True),
        ("C:\\a.png", True), ("..", True),
    ],
)  # fmt: skip
def test_paths_that_leave_the_folder(value: str, leaves: bool) -> None:
    assert leaves_root(value) is leaves


def test_an_image_is_found_in_the_first_folder_that_has_it(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    write_picture(second / "x.png")
    assert find_image("x.png", first, second) == second / "x.png"
    write_picture(first / "x.png")
    assert find_image("x.png", first, second) == first / "x.png"
    for name in ("y.png", "n" * 5000):  # the second is a name that no file can have
        with pytest.raises(Drop, match="image missing"):
            find_image(name, first)
    with pytest.raises(Drop, match="path outside the data set"):
        find_image("../b/x.png", first)


def test_index_of_nested_files_takes_the_first_of_a_name(tmp_path: Path) -> None:
    for name in ("b/x.dcm", "a/y/x.dcm", "a/z.dcm", "a/z.txt"):
        write_picture(tmp_path / name.replace(".dcm", ".png").replace(".txt", ".jpg"))
    found = index_files(tmp_path, ".png")
    assert found == {"x": tmp_path / "a/y/x.png", "z": tmp_path / "a/z.png"}


def test_size_comes_from_a_dicom_header(tmp_path: Path) -> None:
    assert dicom_size_px(write_dicom(tmp_path / "a.dcm", 30, 20)) == (30, 20)
    for path in (write_picture(tmp_path / "a.png"), tmp_path / "none.dcm"):
        with pytest.raises(Drop, match="DICOM header not readable"):
            dicom_size_px(path)


def test_boxes_are_clipped_and_bad_ones_counted(tmp_path: Path) -> None:
    assert clip_box("mass", (10, 20, 60, 40), (100, 200)) == Box("mass", 0.1, 0.1, 0.5, 0.1)
    assert clip_box("mass", (-10, 100, 50, 300), (100, 200), "R1") == Box("mass", 0.0, 0.5, 0.5, 0.5, "R1")
    source = SiimPneumothorax(tmp_path)
    edges = [(10, 20, 10, 40), (60, 20, 10, 40), (100, 20, 110, 40), (10, 20, 60, 40), None]
    assert len(source.boxes([("mass", one, "") for one in edges], (100, 200))) == 1
    assert source.edges(["1", "2", "inf", "3"]) is None
    assert source.edges(["1", "two", "3", "4"]) is None
    assert source.edges(["1", "", "3", "4"]) is None
    assert source.edges(["1", " 2.5", "3", "4"]) == (1.0, 2.5, 3.0, 4.0)
    assert source.dropped == {"box of no area": 2, "box off the image": 1, "box not numeric": 3}


def test_names_are_words_in_lower_case() -> None:
    assert finding_name("Pleural Effusion") == "pleural effusion"
    assert finding_name("Pleural_Thickening") == "pleural thickening"
    assert finding_name("Effusion", {"Effusion": "pleural effusion"}) == "pleural effusion"


def test_uncertain_and_blank_labels_are_unknown() -> None:
    row = chexpert_row(Edema="1.0", Fracture="0", Pneumonia="-1.0", Support_Devices="1")
    assert chexpert_findings(row, "here") == {"edema": 1.0, "fracture": 0.0, "support devices": 1.0}


def test_no_finding_makes_all_absent_but_devices() -> None:
    found = chexpert_findings(chexpert_row(No_Finding="1.0", Edema="0.0"), "here")
    assert found == {finding_name(label): 0.0 for label in CHEXPERT_LABELS[1:-1]}
    with_device = chexpert_findings(chexpert_row(No_Finding="1.0", Support_Devices="1.0"), "here")
    assert with_device == {**found, "support devices": 1.0}
    assert chexpert_findings(chexpert_row(No_Finding="1.0", Edema="-1.0"), "here") is None
    assert chexpert_findings(chexpert_row(No_Finding="1.0", Edema="1.0"), "here") is None
    assert chexpert_findings(chexpert_row(No_Finding="0.0"), "here") == {}


def test_a_wrong_label_is_refused() -> None:
    with pytest.raises(DatasetError, match="here: Edema is '2', expected 1, 0, -1 or blank"):
        chexpert_findings(chexpert_row(Edema="2"), "here")
    with pytest.raises(DatasetError, match="Edema is 'yes', not a number"):
        chexpert_findings(chexpert_row(Edema="yes"), "here")
