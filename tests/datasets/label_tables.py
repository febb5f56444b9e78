"""Tables and tiny images of label data sets, written on the spot."""

from pathlib import Path

import numpy as np
from PIL import Image

from gazevlm_core.datasets.label_policies import CHEXPERT_LABELS
from tests.dicom_samples import dicom


def write_table(path: Path, header: str, *rows: str) -> Path:
    """A CSV file, as its publishers wrote it; gives its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    return path


def write_dicom(path: Path, width: int = 16, height: int = 16) -> Path:
    """A black DICOM image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(dicom(np.zeros((height, width), dtype=np.uint8)))
    return path


def write_picture(path: Path) -> Path:
    """A black PNG or JPEG of 16 x 16 px."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (16, 16)).save(path)
    return path


def chexpert_row(**values: str) -> dict[str, str]:
    """The 14 labels of the CheXpert labeller, blank where nothing is said; names with underscores for blanks."""
    assert set(values) <= {label.replace(" ", "_") for label in CHEXPERT_LABELS}
    return {label: values.get(label.replace(" ", "_"), "") for label in CHEXPERT_LABELS}
