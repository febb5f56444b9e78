"""REFLACX: eye tracking of five radiologists while they dictated reports of MIMIC-CXR images.

Bigolin Lanfredi et al., "REFLACX, a dataset of reports and eye-tracking data for localization of abnormalities in chest
x-rays", Scientific Data 2022; https://physionet.org/content/reflacx-xray-localization/ (credentialed access). Read:

    main_data/metadata_phase_{1,2,3}.csv   main_data/<id>/{fixations,timestamps_transcription}.csv
    gaze_data/<id>/gaze.csv                (1000 Hz; only where raw=True)

Positions are image pixels, times seconds since the audio began. Labels are the greatest certainty of all ellipses that
were drawn for one, which the data set's own README gives as: 0 not selected, 1 unlikely (below 10%), 2 less likely
(about 25%), 3 possibly (about 50%), 4 suspicious for, or probably (about 75%), 5 consistent with (above 90%). A finding
counts as present from 3 on, as where its authors compare readers, and as absent at 0; 1 and 2 are unknown. Labels of
phase 1 are others than those of phases 2 and 3; `label_policies.SAME_AS` has those with a name of CheXpert's, PARTS
what makes up two more, and the others keep their names. "Other" (words) and "Quality issue" are no findings. Who read
is not known: an id is the phase, the trial and a number drawn by chance, so readings have an id and no reader. Images
are those of MIMIC-CXR-JPG, whose folder is given apart.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from gazevlm_core.datasets.detection import GazeStream, Thresholds, detect_by_velocity, to_scanpath
from gazevlm_core.datasets.files import Row, find_file, id_of, is_true, number, path_part, read_rows
from gazevlm_core.datasets.identity import id_text
from gazevlm_core.datasets.label_policies import finding_name
from gazevlm_core.datasets.source import IMAGE_MISSING, MIMIC, NO_FIXATION, DataSource, Drop, recorded_path
from gazevlm_core.sample import DatasetError, Reading, Sample
from gazevlm_core.scanpath import Fixation, Scanpath

TABLES = tuple(f"main_data/metadata_phase_{phase}.csv" for phase in (1, 2, 3))
METADATA = (
    "id", "split", "eye_tracking_data_discarded", "image", "dicom_id", "subject_id", "image_size_x", "image_size_y",
)  # fmt: skip
FIXATIONS = ("timestamp_start_fixation", "timestamp_end_fixation", "x_position", "y_position")
SAMPLES = (
    "timestamp_sample", "x_position", "y_position", "angular_resolution_x_pixels_per_degree",
    "angular_resolution_y_pixels_per_degree",
)  # fmt: skip
MOST_CERTAIN = 5
PRESENT_FROM = 3  # possibly
NO_FINDINGS = ("Other", "Quality issue")
DISCARDED = "eye tracking discarded by its authors"
NO_POSITION = "fixation without a position"
# Finding -> its kinds, by the names that they have in one phase or another. There where a kind is, absent where all
# are. Lung opacity: as the data set's authors match its labels with CheXpert's (see `label_policies.SAME_AS`), and as
# CheXpert's own hierarchy has it.
PARTS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "lung lesion": (("mass",), ("nodule",)),
    "lung opacity": (
        ("edema",), ("atelectasis",), ("consolidation",), ("groundglass opacity",), ("lung lesion",),
        ("interstitial lung disease", "fibrosis"),
    ),
}  # fmt: skip


class Reflacx(DataSource):
    """The readings of all phases, one sample each, since an image has other labels from each reader.

    Args:
        root: folder that holds main_data.
        images: folder of MIMIC-CXR-JPG that holds files/.
        raw: find fixations in the raw stream by I-VT instead of taking the published ones (EyeLink's parser).
    """

    name = "REFLACX"
    id_space = MIMIC
    images_apart = True

    def __init__(self, root: Path, images: Path, *, raw: bool = False) -> None:
        super().__init__(root, images)
        self.raw = raw

    def items(self) -> Iterator[tuple[Row, str]]:
        """Yield each row of the metadata, and where it stands."""
        for table in TABLES:
            for row in self.rows(table, METADATA):
                yield row, f"{table.rpartition('/')[2]}, {row['id']}"

    def sample(self, item: tuple[Row, str]) -> Sample:
        """Make a sample of a reading that was not discarded."""
        row, where = item
        if is_true(row["eye_tracking_data_discarded"]):
            raise Drop(DISCARDED)
        image = self.images / "files" / image_name(row["image"], where)
        if not image.is_file():
            raise Drop(IMAGE_MISSING)
        scanpath = self._scanpath(path_part(row, "id", where), image_size(row, where))
        if scanpath is None:
            raise Drop(NO_FIXATION)
        return Sample(
            row["dicom_id"],
            image,
            report=self._report(row["id"]),
            findings=certain_findings(row, METADATA, where),
            readings=(Reading("", scanpath, row["id"]),),
            patient_id=id_of(row, "subject_id", where),
            split=id_text(row["split"]),
        )

    def wanted(self) -> Iterator[str]:
        """Yield the images of the readings that are used, below the folder of MIMIC-CXR-JPG."""
        for row, where in self.items():
            if not is_true(row["eye_tracking_data_discarded"]):
                yield f"files/{image_name(row['image'], where)}"

    def _scanpath(self, reading: str, size: tuple[float, float]) -> Scanpath | None:
        if self.raw:
            stream = read_stream(find_file(self.root, f"gaze_data/{reading}/gaze.csv"), size)
            return to_scanpath(stream, detect_by_velocity(stream, Thresholds()), self.dropped)
        return read_fixations(self, find_file(self.root, f"main_data/{reading}/fixations.csv"), size)

    def _report(self, reading: str) -> str | None:
        path = self.root / "main_data" / reading / "timestamps_transcription.csv"
        words = " ".join(row["word"] for row in read_rows(path, ("word",))) if path.is_file() else ""
        return words.replace(" .", ".").replace(" ,", ",") or None


def read_fixations(source: DataSource, table: Path, size: tuple[float, float]) -> Scanpath | None:
    """Return published fixations in image pixels and seconds as a path; None where none lies on the image.

    Args:
        source: counts what is left out.
        table: fixations.csv of one reading.
        size: width and height of the image in pixels.
    """
    fixations = []
    for line, row in enumerate(read_rows(table, FIXATIONS), start=2):
        where = f"{table.parent.name}/{table.name}, line {line}"
        start_s, end_s, x_px, y_px = (number(row, column, where) for column in FIXATIONS)
        if x_px is None or y_px is None or start_s is None or end_s is None:
            source.dropped[NO_POSITION] += 1
        elif source.on_image(x_px / size[0], y_px / size[1]):
            if end_s < start_s or start_s < 0:
                raise DatasetError(f"{where}: the fixation ends before it begins")
            fixations.append(Fixation(x_px / size[0], y_px / size[1], 1000 * (end_s - start_s), 1000 * start_s))
    return recorded_path(fixations)


def read_stream(table: Path, size: tuple[float, float]) -> GazeStream:
    """Return raw samples in image pixels and seconds; blanks are a lost eye."""
    rows = []
    for line, row in enumerate(read_rows(table, SAMPLES), start=2):
        where = f"{table.parent.name}/{table.name}, line {line}"
        rows.append([np.nan if (value := number(row, column, where)) is None else value for column in SAMPLES])
    samples = np.array(rows, dtype=np.float64).reshape(-1, len(SAMPLES))
    positions = samples[:, 1:3]
    with np.errstate(divide="ignore", invalid="ignore"):
        degrees = positions / np.where(samples[:, 3:5] > 0, samples[:, 3:5], np.nan)
    return GazeStream(1000 * samples[:, 0], degrees, positions / np.array(size))


def image_size(row: Row, where: str) -> tuple[float, float]:
    """Return width and height in pixels, from a row of the metadata.

    Raises:
        DatasetError: a size that is not positive.
    """
    width, height = number(row, "image_size_x", where), number(row, "image_size_y", where)
    if not width or not height or width < 0 or height < 0:
        raise DatasetError(f"{where}: image_size_x and image_size_y must be positive")
    return width, height


def certain_findings(row: Row, others: tuple[str, ...], where: str) -> Mapping[str, float]:
    """Return findings of certainty 0 (absent) or PRESENT_FROM and more (present); see the head of this file.

    A column with True and False, such as "Support devices", is no certainty scale and taken as it stands.

    Raises:
        DatasetError: a certainty that is none of 0 to 5.
    """
    values: dict[str, list[float | None]] = {}
    for column, text in row.items():
        if column in (*others, *NO_FINDINGS) or not column or not text:
            continue
        value = float(is_true(text)) if text.lower() in ("true", "false") else None
        if value is None:
            certainty = number(row, column, where)
            if certainty is None:
                continue
            if certainty not in range(MOST_CERTAIN + 1):
                raise DatasetError(f"{where}: {column} is {text[:40]!r}, expected a certainty of 0 to {MOST_CERTAIN}")
            value = 1.0 if certainty >= PRESENT_FROM else 0.0 if certainty == 0 else None
        values.setdefault(finding_name(column), []).append(value)
    for name, kinds in PARTS.items():
        known = [[value for part in kind for value in values.get(part, [])] for kind in kinds]
        if name not in values and any(known):
            values[name] = [_together(kind) if kind else None for kind in known]
    together = {name: _together(readers) for name, readers in values.items()}
    return {name: value for name, value in together.items() if value is not None}


def _together(values: Sequence[float | None]) -> float | None:
    """There where one says so, absent where all do, else unknown."""
    if 1.0 in values:
        return 1.0
    return None if None in values else 0.0


def image_name(path: str, where: str) -> PurePosixPath:
    """Return the part of a MIMIC-CXR image path behind files/, as JPEG.

    Raises:
        DatasetError: a path that is none of an image, or leaves the folder.
    """
    parts = PurePosixPath(path).parts
    last = len(parts) - parts[::-1].index("files") if "files" in parts else 0  # PhysioNet's own paths hold it twice
    inner = parts[last:]
    if not inner or ".." in inner or PurePosixPath(*inner).is_absolute():
        raise DatasetError(f"{where}: {path[:80]!r} is no image below files/")
    return PurePosixPath(*inner).with_suffix(".jpg")
