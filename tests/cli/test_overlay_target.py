"""Where overlays go, and that no two share a file and none replaces an image."""

import os
from pathlib import Path

import pytest

from cli.diagnose import OverlayTargetError, plan_overlays

TWO = [Path("x/a.png"), Path("y/b.jpg")]


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_one_image_takes_the_name() -> None:
    assert plan_overlays("out/o.PNG", TWO[:1]) == [Path("out/o.PNG")]


@pytest.mark.parametrize("folder", ["new", "new/", "v1.2/", "there.d"])
def test_folder_gets_one_file_per_image(folder: str) -> None:
    os.mkdir("there.d")
    assert plan_overlays(folder, TWO) == [Path(folder) / "a.png", Path(folder) / "b.png"]


def test_pattern_takes_the_stem() -> None:
    assert plan_overlays("o/{stem}-path.png", TWO) == [Path("o/a-path.png"), Path("o/b-path.png")]


def test_dicom_named_by_its_uid_keeps_its_last_number() -> None:
    images = [Path("1.2.840.10"), Path("1.2.840.11"), Path("c.dcm")]
    assert [path.name for path in plan_overlays("o", images)] == ["1.2.840.10.png", "1.2.840.11.png", "c.png"]


@pytest.mark.parametrize(
    ("out", "images", "reason"),
    [
        ("o.png", TWO, "one file for 2 images"),
        ("o.jpg", TWO[:1], r"must end in \.png"),
        ("{stem}.webp", TWO, r"must end in \.png"),
        ("o", [Path("x/a.png"), Path("y/a.jpg")], "both write"),
        ("x/a.png", TWO[:1], "replace an image"),
        ("./x", TWO, "replace an image"),
        ("x/../x/a.png", TWO[:1], "replace an image"),
    ],
)
def test_clashes_are_refused(out: str, images: list[Path], reason: str) -> None:
    with pytest.raises(OverlayTargetError, match=reason):
        plan_overlays(out, images)
