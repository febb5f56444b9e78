"""SIIM pneumothorax: run lengths by hand and against painted masks, nested folders, what is dropped, errors."""

from pathlib import Path

import numpy as np
import pytest

from gazevlm_core.datasets import siim
from gazevlm_core.datasets.siim import SiimPneumothorax, decode_runs, edges_around
from gazevlm_core.datasets.source import DataSource
from gazevlm_core.sample import Box, DatasetError
from tests.datasets.label_tables import write_dicom, write_table

SIIM_HEADER = "ImageId, EncodedPixels"


def write_siim(root: Path, *rows: str) -> None:
    write_table(root / "train-rle.csv", SIIM_HEADER, *rows)
    for name in "abcdefghi":
        write_dicom(root / f"dicom-images-train/1.2.{name}/1.3.{name}/{name}.dcm")


def encode(mask: np.ndarray) -> str:
    """Run lengths of a mask as SIIM writes them; the decoder's counterpart."""
    column_major = np.concatenate([[0], mask.T.ravel().astype(int), [0]])
    starts, ends = np.flatnonzero(np.diff(column_major) == 1), np.flatnonzero(np.diff(column_major) == -1)
    offsets = starts - np.concatenate([[0], ends[:-1]])
    return " ".join(f"{offset} {end - start}" for offset, start, end in zip(offsets, starts, ends, strict=True))


def test_run_lengths_by_hand() -> None:
    # 4 x 4 pixels, column by column: skip 1, two set, skip 2, three set
    assert decode_runs("1 2 2 3", 16) == [(1, 3), (5, 8)]
    assert edges_around([(1, 3), (5, 8)], 4) == (0.0, 1.0, 2.0, 4.0)
    assert decode_runs("0 16", 16) == [(0, 16)]
    assert edges_around([(0, 16)], 4) == (0.0, 0.0, 4.0, 4.0)
    assert edges_around([(9, 10)], 4) == (2.0, 1.0, 3.0, 2.0)
    assert edges_around([(7, 9)], 4) == (1.0, 0.0, 3.0, 4.0)  # from one column's foot to the next one's top
    assert decode_runs("0 1 0 1", 16) == [(0, 1), (1, 2)]


@pytest.mark.parametrize(
    "text", ["", "1", "1 2 3", "1 -2", "-1 2", "1 0", "1 16", "a b", "1.5 2", "9" * 30 + " 1", "3 2 -2 4"]
)
def test_broken_run_lengths_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_runs(text, 16)


def test_run_lengths_give_back_random_masks() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        mask = rng.random((6, 9)) < rng.choice([0.05, 0.3, 0.8])
        mask[rng.integers(6), rng.integers(9)] = True
        runs = decode_runs(encode(mask), mask.size)
        painted = np.zeros(mask.size, dtype=bool)
        for start, end in runs:
            painted[start:end] = True
        assert (painted.reshape(9, 6).T == mask).all()
        rows, columns = np.nonzero(mask)
        left, top, right, bottom = edges_around(runs, 6)
        assert (left, right) == (columns.min(), columns.max() + 1)
        if all(start // 6 == (end - 1) // 6 for start, end in runs):
            assert (top, bottom) == (rows.min(), rows.max() + 1)
        else:
            assert (top, bottom) == (0, 6) == (rows.min(), rows.max() + 1)


def test_siim_records(tmp_path: Path) -> None:
    # column 256, rows 512 to 639, and the same rows of column 257; then a second mask in the upper left corner
    first_mask = f"{256 * 1024 + 512} 128 {1024 - 128} 128"
    write_siim(tmp_path, f"a, {first_mask}", "b, -1", "a, 0 512")
    source: DataSource = SiimPneumothorax(tmp_path)
    first, second = source.samples()
    assert (first.dataset, first.image_id, first.patient_id) == ("SIIM Pneumothorax", "a", "a")
    assert first.image == tmp_path / "dicom-images-train/1.2.a/1.3.a/a.dcm"
    assert first.findings == {"pneumothorax": 1.0}
    assert first.boxes == (
        Box("pneumothorax", 0.25, 0.5, 2 / 1024, 0.125),
        Box("pneumothorax", 0.0, 0.0, 1 / 1024, 0.5),
    )
    assert (second.findings, second.boxes) == ({"pneumothorax": 0.0}, ())
    assert not source.dropped


def test_siim_drops(tmp_path: Path) -> None:
    write_siim(
        tmp_path,
        "a, 5 9", "a, -1",
        "b, 5",
        "c,", "c, 5 9",
        "d, 1048575 2",
        "e, 1048575 1",  # the last pixel
        "z, -1",
        "../e, -1",
        "f,-1", "f, -1",  # said twice, and without the blank
    )  # fmt: skip
    source = SiimPneumothorax(tmp_path)
    records = list(source.samples())
    assert [record.image_id for record in records] == ["e", "f"]
    assert records[0].boxes == (Box("pneumothorax", 1023 / 1024, 1023 / 1024, 1 / 1024, 1 / 1024),)
    assert source.dropped == {
        "mask and no mask": 1,
        "mask not readable": 3,
        "image missing": 1,
        "path outside the data set": 1,
    }
    assert list(source.samples()) == records
    assert source.dropped.total() == 6


def test_siim_errors(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"SIIM Pneumothorax: there is no train-rle.csv in"):
        next(SiimPneumothorax(tmp_path).samples())
    write_table(tmp_path / "train-rle.csv", "ImageId,EncodedPixels", "a, -1")
    with pytest.raises(DatasetError, match="there is no folder dicom-images-train in"):
        next(SiimPneumothorax(tmp_path).samples())
    (tmp_path / "dicom-images-train").mkdir()
    write_table(tmp_path / "train-rle.csv", "ImageId,Mask", "a, -1")
    with pytest.raises(DatasetError, match=r"train-rle.csv lacks the column 'EncodedPixels'"):
        next(SiimPneumothorax(tmp_path).samples())


def test_siim_streams_and_lists_its_folders_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    walks: list[Path] = []
    index_files = siim.index_files
    monkeypatch.setattr(siim, "index_files", lambda folder, end: walks.append(folder) or index_files(folder, end))
    write_siim(tmp_path, "a, -1", "b, -1", "c, -1")
    source = SiimPneumothorax(tmp_path)
    assert walks == []
    records = source.samples()
    assert next(records).image_id == "a"
    (tmp_path / "dicom-images-train/1.2.b/1.3.b/b.dcm").unlink()
    assert [record.image_id for record in records] == ["c"]
    assert source.dropped == {"image missing": 1}
    assert len(list(source.samples())) == 2
    assert walks == [tmp_path / "dicom-images-train"]


@pytest.mark.parametrize("header", [SIIM_HEADER, "ImageId,EncodedPixels", "\ufeffImageId , EncodedPixels"])
def test_siim_with_and_without_the_blank(tmp_path: Path, header: str) -> None:
    write_siim(tmp_path)
    write_table(tmp_path / "train-rle.csv", header, "a,-1", "b, 0 16")
    assert [record.findings["pneumothorax"] for record in SiimPneumothorax(tmp_path).samples()] == [0.0, 1.0]


def test_siim_of_a_table_that_was_written_anew(tmp_path: Path) -> None:
    write_siim(tmp_path, "a, -1.0", "b,-1")
    assert [record.findings for record in SiimPneumothorax(tmp_path).samples()] == [{"pneumothorax": 0.0}] * 2
