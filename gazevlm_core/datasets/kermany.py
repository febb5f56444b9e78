"""Kermany: 5,856 radiographs of children of one to five years, with pneumonia (bacterial or viral) or normal.

Kermany, Zhang, Goldbaum, "Labeled Optical Coherence Tomography (OCT) and Chest X-Ray Images for Classification",
Mendeley Data rscbjbr9sj, and Cell 172, 2018; https://data.mendeley.com/datasets/rscbjbr9sj; CC BY 4.0. Read here:

    labels.csv   file, patient_id, pneumonia (1 or 0), and the images below the same folder

or, as it is published, folders NORMAL and PNEUMONIA, anywhere below the root: a file's name has its patient in it
("person23_bacteria_99.jpeg", "IM-0115-0001.jpeg", "NORMAL2-IM-0588-0001.jpeg"). The published folders train and test
share patients, so they are not used as a split.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from gazevlm_core.datasets.files import Row, id_of, read_rows
from gazevlm_core.datasets.source import DataSource, Drop, find_image
from gazevlm_core.images import iter_image_files
from gazevlm_core.sample import DatasetError, Sample

TABLE, COLUMNS = "labels.csv", ("file", "patient_id", "pneumonia")
FINDING = "pneumonia"
FOLDERS = {"NORMAL": "0", "PNEUMONIA": "1"}
NO_LABEL, NO_PATIENT = "no label", "no patient in the file's name"
_PATIENT = re.compile(r"(person\d+)_|((?:NORMAL2-)?IM-\d+)-")


class Kermany(DataSource):
    """One sample per image; `dropped` counts those without a label, or whose name tells no patient.

    Pneumonia, of whatever kind, is 1.0 or 0.0; nothing else is known of an image.

    Args:
        root: folder of the table, or of the published folders.
    """

    name = "Kermany"
    credit = (
        "Kermany D, Zhang K, Goldbaum M. Labeled Optical Coherence Tomography (OCT) and Chest X-Ray Images for "
        "Classification. Mendeley Data rscbjbr9sj, https://data.mendeley.com/datasets/rscbjbr9sj (CC BY 4.0). Cite "
        "also: Kermany DS, Goldbaum M, Cai W, et al. Identifying Medical Diagnoses and Treatable Diseases by "
        "Image-Based Deep Learning. Cell 172, 2018, 1122-1131."
    )

    def items(self) -> Iterator[Row]:
        """Yield the rows of the table, or one for each published file.

        Raises:
            DatasetError: neither of them.
        """
        if (self.root / TABLE).is_file():
            yield from read_rows(self.root / TABLE, COLUMNS)
            return
        for path in self._published():
            match = _PATIENT.match(path.name)
            patient = next(filter(None, match.groups())) if match else ""
            file = path.relative_to(self.root).as_posix()
            yield {"file": file, "patient_id": patient, "pneumonia": FOLDERS[path.parent.name]}

    def sample(self, item: Row) -> Sample:
        """Make a sample of an image with a label."""
        if item["pneumonia"] not in ("0", "1"):
            raise Drop(NO_LABEL)
        if not item["patient_id"]:
            raise Drop(NO_PATIENT)
        return Sample(
            item["file"],
            find_image(item["file"], self.root),
            findings={FINDING: float(item["pneumonia"])},
            patient_id=id_of(item, "patient_id", f"{TABLE}, {item['file'][:64]}"),
        )

    def wanted(self) -> Iterator[str]:
        """Yield the images of the table, or those that are there."""
        return (row["file"] for row in self.items())

    def _published(self) -> Iterator[Path]:
        found = False
        for path in iter_image_files([self.root]):
            if path.parent.name in FOLDERS:
                found = True
                yield path
        if not found:
            raise DatasetError(f"{self.root} holds neither {TABLE} nor folders {' and '.join(FOLDERS)} with images")
