"""VinBig: votes of an image's readers, boxes in pixels of the DICOM image, what is dropped, errors."""

from pathlib import Path

import pytest

from gazevlm_core.datasets.source import DataSource
from gazevlm_core.datasets.vinbig import CLASSES, VinBig
from gazevlm_core.sample import Box, DatasetError
from tests.datasets.label_tables import write_dicom, write_table

VINBIG_HEADER = "image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max"


def mark(image: str, reader: str, class_id: int, box: str = "") -> str:
    """One row; a class that is a finding has a box unless another is given."""
    return f"{image},{CLASSES[class_id]},{class_id},{reader},{box or (',,,' if class_id == 14 else '20,10,60,20')}"


def write_vinbig(root: Path, *rows: str, images: str = "abcdef") -> None:
    write_table(root / "train.csv", VINBIG_HEADER, *rows)
    (root / "train").mkdir(exist_ok=True)
    for name in images:
        write_dicom(root / f"train/{name}.dicom", width=200, height=100)


def present(findings) -> set[str]:
    assert len(findings) == 14
    assert set(findings.values()) <= {0.0, 1.0}
    return {name for name, value in findings.items() if value}


THREE_READERS = (
    mark("a", "R8", 0), mark("a", "R9", 0, "50,50,150,300"), mark("a", "R10", 0), mark("a", "R10", 0, "0,0,20,20"),
    mark("a", "R8", 8), mark("a", "R10", 8),
    mark("a", "R9", 5), mark("a", "R9", 5, "0,0,20,20"),  # two boxes, one vote
    mark("b", "R1", 14), mark("b", "R2", 14), mark("b", "R3", 10),
)  # fmt: skip


def test_vinbig_takes_the_majority(tmp_path: Path) -> None:
    write_vinbig(tmp_path, *THREE_READERS)
    source: DataSource = VinBig(tmp_path)
    first, second = source.samples()
    assert present(first.findings) == {"aortic enlargement", "lung lesion"}
    assert present(second.findings) == set()
    assert not source.dropped
    assert len(first.boxes) == 8  # whatever the others say
    assert len(second.boxes) == 1


def test_vinbig_records(tmp_path: Path) -> None:
    write_vinbig(tmp_path, *THREE_READERS)
    first, second = VinBig(tmp_path).samples()
    assert (first.dataset, first.image_id, first.patient_id) == ("VinBigData", "a", "a")
    assert first.image == tmp_path / "train/a.dicom"
    by_reader = {(box.name, box.reader): box for box in first.boxes}
    assert by_reader["lung lesion", "R8"] == Box("lung lesion", 0.1, 0.1, pytest.approx(0.2), 0.1, "R8")
    assert by_reader["aortic enlargement", "R9"] == Box("aortic enlargement", 0.25, 0.5, 0.5, 0.5, "R9")  # clipped
    assert second.boxes[0].reader == "R3"


def test_vinbig_drops(tmp_path: Path) -> None:
    write_vinbig(
        tmp_path,
        mark("a", "R1", 3), mark("a", "R1", 14), mark("a", "R2", 3), mark("a", "R3", 3),  # two are left
        mark("b", "R1", 14, "1,1,2,2"), mark("b", "R2", 4, ",,,"),  # nobody is left
        mark("c", "R1", 12, "60,10,20,20"), mark("c", "R2", 12, "200,10,260,20"), mark("c", "R3", 12, "1,?,3,4"),
        mark("y", "R1", 14),
        mark("../a", "R1", 14), mark("/a", "R1", 14),
        mark("e", "R1", 14), mark("e", "R1", 14),  # said twice
        images="abce",
    )  # fmt: skip
    source = VinBig(tmp_path)
    records = list(source.samples())
    assert [(record.image_id, present(record.findings)) for record in records] == [
        ("a", {"cardiomegaly"}),
        ("c", {"pneumothorax"}),
        ("e", set()),
    ]
    assert [box.reader for box in records[0].boxes] == ["R2", "R3"]
    assert records[1].boxes == ()
    assert source.dropped == {
        "no finding and a finding": 1,
        "no finding with a box": 1,
        "finding without a box": 1,
        "image without a reader to believe": 1,
        "box of no area": 1,
        "box off the image": 1,
        "box not numeric": 1,
        "image missing": 1,
        "path outside the data set": 2,
    }
    assert list(source.samples()) == records
    assert source.dropped.total() == 10


def test_vinbig_errors(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"VinBigData: there is no train.csv in"):
        next(VinBig(tmp_path).samples())
    write_table(tmp_path / "train.csv", VINBIG_HEADER, mark("a", "R1", 14))
    with pytest.raises(DatasetError, match="VinBigData: there is no folder train in"):
        next(VinBig(tmp_path).samples())
    for row in ("a,No finding,15,R1,,,,", "a,No finding,3,R1,,,,", "a,No finding,,R1,,,,", "a,Mass,-1,R1,,,,"):
        write_vinbig(tmp_path, row)
        with pytest.raises(DatasetError, match=r"train.csv, a: class '.*' is none of 0 to 14 with its name"):
            next(VinBig(tmp_path).samples())
    write_table(tmp_path / "train.csv", VINBIG_HEADER.replace("rad_id", "reader"))
    with pytest.raises(DatasetError, match="lacks the column 'rad_id'"):
        next(VinBig(tmp_path).samples())


def test_vinbig_streams_and_reads_headers_where_there_are_boxes(tmp_path: Path) -> None:
    write_vinbig(tmp_path, mark("a", "R1", 3), mark("b", "R1", 3), mark("c", "R1", 14))
    (tmp_path / "train/b.dicom").write_bytes(b"no DICOM file")
    (tmp_path / "train/c.dicom").write_bytes(b"no DICOM file")
    source = VinBig(tmp_path)
    records = source.samples()
    assert next(records).image_id == "a"
    assert not source.dropped
    assert [record.image_id for record in records] == ["c"]
    assert source.dropped == {"DICOM header not readable": 1}


def test_vinbig_of_a_table_that_was_written_anew(tmp_path: Path) -> None:
    write_vinbig(tmp_path, "a,Aortic enlargement,0.0,R1,20,10,60,20", "b,No finding,14.0,R1,nan,nan,nan,nan")
    source = VinBig(tmp_path)
    assert [present(record.findings) for record in source.samples()] == [{"aortic enlargement"}, set()]
    assert not source.dropped
