"""REFLACX, EGD-CXR, MIMIC-EYE and GazeSearch, on small copies with their exact headers, units and quirks."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from gazevlm_core.datasets.egd_cxr import EgdCxr
from gazevlm_core.datasets.gaze_search import GazeSearch
from gazevlm_core.datasets.mimic_eye import MimicEye
from gazevlm_core.datasets.reflacx import Reflacx, certain_findings
from gazevlm_core.datasets.source import DataSource
from gazevlm_core.sample import DatasetError

DICOM_ID = "a" * 8 + "-b" * 18  # 44 characters
OTHER_ID = "c" * 8 + "-d" * 18
JPEG_PATH = "physionet.org/files/mimic-cxr/2.0.0/files/p10/p100/s500/{}.dcm"
PHASE_1 = ("Airway wall thickening", "Pulmonary edema", "Quality issue")
PHASE_23 = ("Acute fracture", "Pulmonary edema", "Support devices")
METADATA = (
    "id", "split", "eye_tracking_data_discarded", "image", "dicom_id", "subject_id", "image_size_x", "image_size_y",
)  # fmt: skip
FIXATIONS = (
    "timestamp_start_fixation", "timestamp_end_fixation", "x_position", "y_position", "pupil_area_normalized",
    "angular_resolution_x_pixels_per_degree", "angular_resolution_y_pixels_per_degree", "window_width", "window_level",
    "xmin_shown_from_image", "ymin_shown_from_image", "xmax_shown_from_image", "ymax_shown_from_image",
    "xmin_in_screen_coordinates", "ymin_in_screen_coordinates", "xmax_in_screen_coordinates",
    "ymax_in_screen_coordinates",
)  # fmt: skip
EGD_FIXATIONS = (
    "SESSION_ID", "MEDIA_ID", "DICOM_ID", "CNT", "Time (in secs)", "TIMETICK(f=10000000)", "FPOGX", "FPOGY", "FPOGS",
    "FPOGD", "FPOGID", "FPOGV", "X_ORIGINAL", "Y_ORIGINAL",
)  # fmt: skip
MASTER = (
    "dicom_id", "path", "study_id", "patient_id", "stay_id", "gender", "image_top_pad", "image_bottom_pad",
    "image_left_pad", "image_right_pad", "edema__chx", "fracture__chx", "pneumonia__chx", "no_finding__chx",
    "support_devices__chx",
)  # fmt: skip


def table(path: Path, header: Sequence[str], *rows: Sequence[object]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([header, *rows])
    return path


def picture(path: Path, size: tuple[int, int] = (40, 50)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size).save(path)
    return path


def fixation(start_s: float, end_s: float, x_px: object, y_px: object) -> list[object]:
    return [start_s, end_s, x_px, y_px, 1.0, 50, 50, *[0] * 10]


def no_records(source: DataSource, words: str) -> None:
    with pytest.raises(DatasetError, match=words) as error:
        list(source.samples())
    assert str(error.value).startswith(source.name)
    assert "\n" not in str(error.value)


# ---- REFLACX --------------------------------------------------------------------------------------------------------
@pytest.fixture
def reflacx(tmp_path: Path) -> Reflacx:
    main = tmp_path / "reflacx" / "main_data"
    image, size = JPEG_PATH.format(DICOM_ID), (2000, 2500)
    own = (image, DICOM_ID, "100", *size)
    table(main / "metadata_phase_1.csv", [*METADATA, *PHASE_1], ["P101", "train", "False", *own, 0, 4, "True"])
    table(
        main / "metadata_phase_2.csv", [*METADATA, *PHASE_23], ["P201", "val", "False", *own, 5, 2, 0],
        ["P202", "val", "True", *own, 0, 0, 0],
        ["P203", "test", "False", JPEG_PATH.format("gone"), "gone", "101", *size, 0, 0, 0],
    )  # fmt: skip
    table(main / "metadata_phase_3.csv", [*METADATA, *PHASE_23], ["P301", "test", "False", *own, 0, 0, 0])
    table(
        main / "P101" / "fixations.csv", FIXATIONS, fixation(1.5, 1.9, 1000, 500), fixation(0.2, 0.5, 200, 250),
        fixation(2.0, 2.3, -5, 100), fixation(2.5, 2.6, 2000, 100), fixation(3.0, 3.1, "", ""),
    )  # fmt: skip
    header = ("word", "timestamp_start_word", "timestamp_end_word")
    words = [["large", 0, 1], ["effusion", 1, 2], [".", 2, 2]]
    table(main / "P101" / "timestamps_transcription.csv", header, *words)
    table(main / "P201" / "fixations.csv", FIXATIONS, fixation(0.2, 0.5, 200, 250))
    table(main / "P301" / "fixations.csv", FIXATIONS, fixation(0.2, 0.5, 9999, 250))
    picture(tmp_path / "jpg" / "files" / "p10" / "p100" / "s500" / f"{DICOM_ID}.jpg")
    return Reflacx(tmp_path / "reflacx", tmp_path / "jpg")


def test_reflacx(reflacx: Reflacx) -> None:
    first, second = reflacx.samples()
    assert (first.image_id, first.patient_id, first.split) == (DICOM_ID, "100", "train")
    readings = [*first.readings, *second.readings]
    assert [(reading.reader, reading.reading_id) for reading in readings] == [("", "P101"), ("", "P201")]
    path = first.readings[0].scanpath
    assert [(f.x, f.y) for f in path] == [(0.1, 0.1), (0.5, 0.2)], "in the order of time, not of the file"
    assert [f.duration_ms for f in path] == pytest.approx([300, 400])
    assert [f.onset_ms for f in path] == pytest.approx([200, 1500])
    assert first.findings == {"airway wall thickening": 0.0, "edema": 1.0, "lung opacity": 1.0}
    assert second.findings == {"fracture": 1.0, "support devices": 0.0}, "2 of 5 is neither there nor absent"
    assert first.report == "large effusion."
    assert second.report is None
    assert reflacx.dropped == {
        "fixation off the image": 3, "fixation without a position": 1, "image missing": 1,
        "eye tracking discarded by its authors": 1, "no fixation on the image": 1,
    }  # fmt: skip


PHASE_1_LABELS = (
    "Airway wall thickening", "Atelectasis", "Consolidation", "Emphysema", "Enlarged cardiac silhouette", "Fibrosis",
    "Fracture", "Groundglass opacity", "Mass", "Nodule", "Other", "Pleural effusion", "Pleural thickening",
    "Pneumothorax", "Pulmonary edema", "Quality issue", "Support devices", "Wide mediastinum",
)  # fmt: skip
PHASE_23_LABELS = (
    "Abnormal mediastinal contour", "Acute fracture", "Atelectasis", "Consolidation", "Enlarged cardiac silhouette",
    "Enlarged hilum", "Groundglass opacity", "Hiatal hernia", "High lung volume / emphysema",
    "Interstitial lung disease", "Lung nodule or mass", "Other", "Pleural abnormality", "Pneumothorax",
    "Pulmonary edema", "Support devices",
)  # fmt: skip


@pytest.mark.parametrize(
    ("labels", "said", "known"),
    [
        (PHASE_1_LABELS, {}, {"edema": 0.0, "cardiomegaly": 0.0, "lung lesion": 0.0, "lung opacity": 0.0}),
        (PHASE_1_LABELS, {"Nodule": 3}, {"lung lesion": 1.0, "lung opacity": 1.0, "nodule": 1.0, "mass": 0.0}),
        (PHASE_1_LABELS, {"Mass": 2}, {"lung lesion": None, "lung opacity": None, "mass": None, "nodule": 0.0}),
        (PHASE_1_LABELS, {"Fibrosis": 5}, {"lung opacity": 1.0, "lung lesion": 0.0, "fibrosis": 1.0}),
        (PHASE_23_LABELS, {"Pulmonary edema": 4}, {"edema": 1.0, "lung opacity": 1.0, "consolidation": 0.0}),
        (PHASE_23_LABELS, {"Enlarged cardiac silhouette": 3}, {"cardiomegaly": 1.0, "lung opacity": 0.0}),
        (PHASE_23_LABELS, {"Lung nodule or mass": 5}, {"lung lesion": 1.0, "lung opacity": 1.0}),
        (PHASE_23_LABELS, {"Acute fracture": 5, "Abnormal mediastinal contour": 1},
         {"fracture": 1.0, "enlarged cardiomediastinum": None}),
        (PHASE_23_LABELS, {"Other": "scoliosis|old granuloma"}, {"other": None, "edema": 0.0}),
        (PHASE_1_LABELS, {"Quality issue": "True"}, {"quality issue": None}),
    ],
)  # fmt: skip
def test_reflacx_labels_have_the_names_of_chexpert(labels: tuple[str, ...], said: dict, known: dict) -> None:
    usual = {"Other": "", "Support devices": "False", "Quality issue": "False"}
    row = {label: str(said.get(label, usual.get(label, 0))) for label in labels}
    found = certain_findings(row, (), "here")
    assert {name: found.get(name) for name in known} == known
    assert not set(found) & {"pulmonary edema", "enlarged cardiac silhouette", "lung nodule or mass", "acute fracture"}


@pytest.mark.parametrize("certainty", ["6", "-1", "2.5"])
def test_a_certainty_is_one_of_0_to_5(certainty: str) -> None:
    with pytest.raises(DatasetError, match=r"here: Mass is .* expected a certainty of 0 to 5"):
        certain_findings({"Mass": certainty}, (), "here")


def test_reflacx_from_the_raw_stream(reflacx: Reflacx) -> None:
    header = ("timestamp_sample", *FIXATIONS[2:])
    still = [[k / 1000, 500, 500, 1.0, 50, 50, *[0] * 10] for k in range(200)]
    lost = [[0.2 + k / 1000, "", "", "", 50, 50, *[0] * 10] for k in range(300)]
    other = [[0.5 + k / 1000, 1500, 2000, 1.0, 50, 50, *[0] * 10] for k in range(150)]
    for reading in ("P101", "P201", "P301"):
        table(reflacx.root / "gaze_data" / reading / "gaze.csv", header, *still, *lost, *other)
    source = Reflacx(reflacx.root, reflacx.images, raw=True)
    path = next(source.samples()).readings[0].scanpath
    assert [f.x for f in path] == pytest.approx([0.25, 0.75])
    assert [f.y for f in path] == pytest.approx([0.2, 0.8])
    assert [f.duration_ms for f in path] == pytest.approx([200, 150])
    assert (source.dropped["blinks"], source.dropped["samples lost"]) == (1, 300)


def test_reflacx_errors_name_file_and_column(reflacx: Reflacx) -> None:
    main = reflacx.root / "main_data"
    table(main / "P201" / "fixations.csv", FIXATIONS, fixation(0.5, 0.2, 200, 250))
    no_records(reflacx, "P201/fixations.csv, line 2: the fixation ends before it begins")
    table(main / "P201" / "fixations.csv", FIXATIONS[1:])
    no_records(reflacx, "fixations.csv lacks the column 'timestamp_start_fixation'")
    table(main / "P201" / "fixations.csv", FIXATIONS, [1, 2])
    no_records(reflacx, "line 2 has 2 values for 17 columns")
    table(main / "P201" / "fixations.csv", FIXATIONS, fixation(0.1, 0.2, "left", 250))
    no_records(reflacx, "x_position is 'left', not a number")
    (main / "P201" / "fixations.csv").unlink()
    no_records(reflacx, "there is no main_data/P201/fixations.csv in .*; give the folder that holds it")
    (main / "metadata_phase_1.csv").unlink()
    no_records(reflacx, "there is no main_data/metadata_phase_1.csv")


@pytest.mark.parametrize(("column", "value"), [(0, "../../etc"), (0, "a/b"), (0, "")])
def test_names_in_tables_never_lead_out_of_the_data_set(reflacx: Reflacx, column: int, value: str) -> None:
    row = ["P301", "test", "False", JPEG_PATH.format(DICOM_ID), DICOM_ID, "100", 2000, 2500, 0, 0, 0]
    row[column] = value
    table(reflacx.root / "main_data" / "metadata_phase_1.csv", [*METADATA, *PHASE_23], row)
    no_records(reflacx, "names no file of the data set")
    row[0], row[3] = "P301", "files/p10/../../../x.dcm"
    table(reflacx.root / "main_data" / "metadata_phase_1.csv", [*METADATA, *PHASE_23], row)
    no_records(reflacx, "is no image below files/")


# ---- EGD-CXR --------------------------------------------------------------------------------------------------------
def egd_row(dicom_id: str, x: object, y: object, start_s: object, duration_s: object, valid: int = 1) -> list[object]:
    return [1, 1, dicom_id, 1, 0.0, 1, x, y, start_s, duration_s, 1, valid, 0, 0]


def master_row(dicom_id: str, *labels: object) -> list[object]:
    # the image stands in columns 480 to 1440 of the screen, over its whole height
    return [dicom_id, JPEG_PATH.format(dicom_id), "500", "100", "", "F", 0, 0, 480, 480, *labels]


@pytest.fixture
def egd(tmp_path: Path) -> EgdCxr:
    root = tmp_path / "egd"
    table(root / "master_sheet.csv", MASTER, master_row(DICOM_ID, 1, 0, -1, 0, ""), master_row(OTHER_ID, *[""] * 5))
    table(
        root / "fixations.csv", EGD_FIXATIONS, egd_row(DICOM_ID, 0.5, 0.25, 1.5, 0.3),
        egd_row(DICOM_ID, 0.3125, 0.5, 0.5, 0.2), egd_row(DICOM_ID, 0.1, 0.5, 0.9, 0.2),
        egd_row(DICOM_ID, 0.5, -0.1, 0.9, 0.2),
        egd_row(DICOM_ID, 0.5, 0.5, -0.9, 0.2), egd_row(DICOM_ID, 0.5, 0.5, 0.9, 0.2, valid=0),
        egd_row(DICOM_ID, "", "", 0.9, 0.2), egd_row("short", 0.5, 0.5, 0.9, 0.2),
        egd_row("x" * 44, 0.5, 0.5, 0.9, 0.2), egd_row(OTHER_ID, 0.5, 0.5, 0.9, 0.2),
    )  # fmt: skip
    header = ("dicom_id", "bbox_name", "x1", "x2", "y1", "y2")
    boxes = (["left lung", 10, 30, 5, 45], ["nothing", 10, 10, 5, 45], ["all", -9, 99, -9, 99])
    table(root / "bounding_boxes.csv", header, *([DICOM_ID, *box] for box in boxes))
    phrases = [{"phrase": "Heart is large.", "begin_time": 0, "end_time": 1}, {"phrase": " No edema. "}]
    transcript = root / "audio_segmentation_transcripts" / DICOM_ID / "transcript.json"
    transcript.parent.mkdir(parents=True)
    transcript.write_text(json.dumps({"full_text": "", "time_stamped_text": phrases}))
    picture(tmp_path / "jpg" / "files" / "p10" / "p100" / "s500" / f"{DICOM_ID}.jpg")
    return EgdCxr(root, tmp_path / "jpg")


def test_egd_cxr(egd: EgdCxr) -> None:
    (record,) = egd.samples()
    path = record.readings[0].scanpath
    assert [(f.x, f.y) for f in path] == [(0.125, 0.5), (0.5, 0.25)]  # (0.3125 * 1920 - 480) / 960
    assert [f.onset_ms for f in path] == pytest.approx([500, 1500])
    assert [f.duration_ms for f in path] == pytest.approx([200, 300])
    assert record.findings == {"edema": 1.0, "fracture": 0.0}, "-1 and blank are unknown, no finding is none"
    assert record.report == "Heart is large. No edema."
    assert (record.patient_id, record.split) == ("100", "")
    lung, everything = record.boxes
    assert (lung.name, lung.x, lung.y, lung.width, lung.height) == pytest.approx(("left lung", 0.25, 0.1, 0.5, 0.8))
    assert (everything.x, everything.y, everything.width, everything.height) == (0.0, 0.0, 1.0, 1.0)
    assert egd.dropped == {
        "fixation off the image": 2, "fixation with a negative time": 1, "fixation marked invalid": 1,
        "fixation without a position": 1, "malformed DICOM_ID": 1, "image not in the master sheet": 1,
        "box of no area": 1, "image missing": 1,
    }  # fmt: skip


def test_egd_cxr_labels_are_read_as_those_of_chexpert(egd: EgdCxr) -> None:
    table(egd.root / "master_sheet.csv", MASTER, master_row(DICOM_ID, "", "", "", 1, ""))
    assert next(egd.samples()).findings["edema"] == 0.0, "no finding makes blank ones absent"
    table(egd.root / "master_sheet.csv", MASTER, master_row(DICOM_ID, 1, "", "", 1, ""))
    assert next(egd.samples()).findings == {}
    list(egd.samples())
    assert egd.dropped["no finding and a finding"] == 1
    table(egd.root / "master_sheet.csv", MASTER, *(master_row(DICOM_ID, label, *[""] * 4) for label in (1, 0)))
    no_records(egd, f"master_sheet.csv has two rows of {DICOM_ID} that differ in edema__chx; keep one")


def test_egd_cxr_errors(egd: EgdCxr) -> None:
    rows = [egd_row(DICOM_ID, 0.5, 0.5, 1, 1), egd_row(OTHER_ID, 0.5, 0.5, 1, 1), egd_row(DICOM_ID, 0.5, 0.5, 1, 1)]
    table(egd.root / "fixations.csv", EGD_FIXATIONS, *rows)
    no_records(egd, f"fixations.csv has the rows of {DICOM_ID} in two places; sort them")
    wide = master_row(DICOM_ID, *[""] * 5)
    wide[8] = wide[9] = 960
    table(egd.root / "master_sheet.csv", MASTER, wide)
    no_records(egd, "the paddings leave nothing of the screen")
    transcript = egd.root / "audio_segmentation_transcripts" / DICOM_ID / "transcript.json"
    table(egd.root / "master_sheet.csv", MASTER, master_row(DICOM_ID, *[""] * 5))
    for text in ('{"time_stamped_text": [{}]}', "[" * 100_000):
        transcript.write_text(text)
        no_records(egd, "transcript.json is no transcript")
    (egd.root / "fixations.csv").unlink()
    no_records(egd, "there is no fixations.csv")


# ---- MIMIC-EYE ------------------------------------------------------------------------------------------------------
@pytest.fixture
def mimic_eye(tmp_path: Path) -> MimicEye:
    root = tmp_path / "mimic-eye"
    patient = root / "patient_100"
    sheet = master_row(DICOM_ID, 1, 0, -1, 0, "")
    table(root / "spreadsheets" / "EyeGaze" / "master_sheet_with_updated_stayId.csv", ["", *MASTER], [0, *sheet])
    meta = [[0, DICOM_ID, "100", "500"], [1, "gone", "100", "501"]]
    table(root / "spreadsheets" / "cxr_meta.csv", ("", "dicom_id", "subject_id", "study_id"), *meta)
    own = (JPEG_PATH.format(DICOM_ID), DICOM_ID, "100", 2000, 2500)
    columns = ["", *METADATA, *PHASE_1, *PHASE_23[::2]]
    table(
        patient / "REFLACX" / "metadata.csv", columns, [0, "P101", "train", "False", *own, 0, 4, "True", "", ""],
        [1, "P102", "train", "True", *own, 0, 4, "", "", ""],
        [2, "P103", "val", "False", "x", "unknown", "100", 20, 20, *[""] * 5],
        [3, "P104", "val", "False", "x", "gone", "100", 2000, 2500, *[""] * 5],
    )  # fmt: skip
    for reading in ("P101", "P104"):
        folder = patient / "REFLACX" / "main_data" / reading
        table(folder / "fixations.csv", ["", *FIXATIONS], [0, *fixation(0.2, 0.5, 200, 250)])
    rows = [egd_row(DICOM_ID, 0.5, 0.25, 1.5, 0.3), egd_row("elsewhere", 0.5, 0.25, 1.5, 0.3)]
    table(patient / "EyeGaze" / "fixations.csv", ["", *EGD_FIXATIONS], *([k, *row] for k, row in enumerate(rows)))
    picture(patient / "CXR-JPG" / "s500" / f"{DICOM_ID}.jpg")
    (patient / "CXR-DICOM").mkdir()
    (patient / "CXR-DICOM" / "s500.txt").write_text("FINAL REPORT\nNormal.\n")
    (root / "patient_200").mkdir()
    return MimicEye(root)


def test_mimic_eye(mimic_eye: MimicEye) -> None:
    reflacx, eye_gaze = mimic_eye.samples()
    assert [record.readings[0].reader for record in (reflacx, eye_gaze)] == ["", "radiologist"]
    assert reflacx.readings[0].reading_id == "P101"
    assert [(f.x, f.y) for f in reflacx.readings[0].scanpath] == [(0.1, 0.1)]
    assert [(f.x, f.y) for f in eye_gaze.readings[0].scanpath] == [(0.5, 0.25)]
    assert reflacx.findings == {"airway wall thickening": 0.0, "edema": 1.0, "lung opacity": 1.0}
    assert eye_gaze.findings == {"edema": 1.0, "fracture": 0.0}
    for record in (reflacx, eye_gaze):
        assert (record.image_id, record.patient_id, record.report) == (DICOM_ID, "100", "FINAL REPORT\nNormal.")
    assert mimic_eye.dropped == {
        "eye tracking discarded by its authors": 1, "image not in cxr_meta.csv": 1, "image missing": 1,
        "image not in the master sheet": 1,
    }  # fmt: skip


def test_mimic_eye_errors(mimic_eye: MimicEye, tmp_path: Path) -> None:
    no_records(MimicEye(tmp_path), "there is no spreadsheets/cxr_meta.csv")
    (mimic_eye.root / "patient_100" / "REFLACX" / "main_data" / "P101" / "fixations.csv").unlink()
    no_records(mimic_eye, "there is no REFLACX/main_data/P101/fixations.csv")


def test_mimic_eye_text_of_another_encoding(mimic_eye: MimicEye) -> None:
    (mimic_eye.root / "patient_100" / "CXR-DICOM" / "s500.txt").write_bytes("Ödem".encode("latin-1"))
    no_records(mimic_eye, r"MIMIC-EYE: s500.txt, line 1 is no text in UTF-8 .*save it as UTF-8")


# ---- GazeSearch -----------------------------------------------------------------------------------------------------
def search(name: object, **values: object) -> dict[str, object]:
    usual = {
        "name": name, "subject": 1, "task": "Edema", "condition": "present", "bbox": [], "X": [112.0, 56.0],
        "Y": [56.0, 224.0], "T": [0.2, 0.3], "length": 2, "fixOnTarget": True, "correct": 1, "split": "train",
    }  # fmt: skip
    return {**usual, **values}


def gaze_search(tmp_path: Path, *entries: dict[str, object]) -> GazeSearch:
    (tmp_path / "search.json").write_text(json.dumps(entries))
    picture(tmp_path / "images" / "a.jpg")
    picture(tmp_path / "images" / "b.png")
    return GazeSearch(tmp_path / "search.json", tmp_path / "images")


def test_gaze_search(tmp_path: Path) -> None:
    source = gaze_search(
        tmp_path, search("a.jpg"), search("b", condition="absent", split="test"),
        search("a.jpg", subject=2, split="test"), search("gone"), search("../a.jpg"),
        search("a.jpg", task="Nodule", condition="absent", T=[0.2, -1]),
        search("b", task="Mass", X=[224.0], Y=[0.0], T=[1]),
    )  # fmt: skip
    edema, absent, nodule = source.samples()
    assert [(f.x, f.y, f.duration_ms) for f in edema.readings[0].scanpath] == [(0.5, 0.25, 200.0)]
    assert [reading.reader for reading in edema.readings] == ["1", "2"]
    assert edema.split == "test+train", "the published split leaks, and says so"
    assert [record.findings for record in (edema, absent, nodule)] == [{"edema": 1.0}, {"edema": 0.0}, {"nodule": 0.0}]
    assert (edema.image_id, edema.patient_id) == (nodule.image_id, nodule.patient_id)
    assert source.dropped["image missing"] == 2
    assert source.dropped["path outside the data set"] == 1
    assert source.dropped["no fixation on the image"] == 1


def test_gaze_search_of_numbers_and_gaps(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "12.jpg")
    source = gaze_search(
        tmp_path, search(12, split=None), search("12", subject=2.0, split=float("nan")), search("b", split=1.0)
    )
    gaps, number = source.samples()
    assert [reading.reader for reading in gaps.readings] == ["1", "2"]
    assert (gaps.image_id, gaps.split, number.split) == ("12", "", "1")


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([search("a.jpg", split=True)], "split: True is no name"), ([search("")], "name and task must be words"),
        ({}, "must be a list"), ([{"name": "a"}], "object 0 lacks 'subject'"), ([3], "object 0 lacks 'name'"),
        ([search("a.jpg", X=[1])], "X, Y and T must be lists of one length"),
        ([search("a.jpg", X=["a", "b"])], "must hold numbers"),
        ([search("a.jpg", task=4)], "name and task must be words"),
        ([search("a.jpg", condition=["present"])], "condition must be a word"),
    ],
)  # fmt: skip
def test_gaze_search_errors(tmp_path: Path, entries: object, words: str) -> None:
    source = gaze_search(tmp_path)
    source.root.write_text(json.dumps(entries))
    no_records(source, words)
    for text in ("{", "[" * 100_000):
        source.root.write_text(text)
        no_records(source, "is no JSON")
    source.root.unlink()
    no_records(source, "cannot read")
