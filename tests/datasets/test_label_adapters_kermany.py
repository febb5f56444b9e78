"""Kermany: a table, or the folders as they are published, by patient."""

from pathlib import Path

import pytest

from gazevlm_core.datasets.kermany import Kermany
from gazevlm_core.datasets.splits import Member, decide
from gazevlm_core.sample import DatasetError
from tests.datasets.label_tables import write_picture, write_table


def test_a_table(tmp_path: Path) -> None:
    write_table(
        tmp_path / "labels.csv", "file,patient_id,pneumonia,repo_split",
        "images/a.jpg,person1,1,train", "images/b.jpg,person1,1,test", "images/c.jpg,n2,0,test",
        "images/d.jpg,n3,,test", "images/gone.jpg,n4,0,test",
    )  # fmt: skip
    for name in "abcd":
        write_picture(tmp_path / f"images/{name}.jpg")
    source = Kermany(tmp_path)
    found = list(source.samples())
    assert [(one.patient_id, one.findings, one.split) for one in found] == [
        ("person1", {"pneumonia": 1.0}, ""), ("person1", {"pneumonia": 1.0}, ""), ("n2", {"pneumonia": 0.0}, ""),
    ]  # fmt: skip
    assert source.dropped == {"no label": 1, "image missing": 1}
    splits = decide(map(Member.of, found))
    assert splits.note == ""
    assert splits.groups == 2


def test_the_published_folders(tmp_path: Path) -> None:
    names = {
        "train/PNEUMONIA/person23_bacteria_99.jpeg": ("person23", 1.0),
        "test/PNEUMONIA/person23_virus_1.jpeg": ("person23", 1.0),
        "train/NORMAL/IM-0115-0001.jpeg": ("IM-0115", 0.0),
        "test/NORMAL/NORMAL2-IM-0588-0001-0002.jpeg": ("NORMAL2-IM-0588", 0.0),
    }
    for name in (*names, "train/NORMAL/other.jpeg", "train/elsewhere.jpeg"):
        write_picture(tmp_path / name)
    (tmp_path / "train/empty").mkdir()
    source = Kermany(tmp_path)
    found = {one.image_id: (one.patient_id, one.findings["pneumonia"]) for one in source.samples()}
    assert found == names
    assert source.dropped == {"no patient in the file's name": 1}
    with pytest.raises(DatasetError, match=r"holds neither labels\.csv nor folders NORMAL and PNEUMONIA"):
        list(Kermany(tmp_path / "train/empty").samples())
