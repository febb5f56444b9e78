"""Tables for spreadsheets and gaze tools: `annotations.csv` and `fixations.csv`.

No cell begins a formula (OWASP, "CSV Injection"): text that starts with = + - @, a tab or a line end, also behind
blanks or in full width, gets an apostrophe in front.
"""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

from annotate.export.formats import Format, Sink
from annotate.export.lines import flat_values
from annotate.store.model import Stored, StoredImage
from annotate.votes import findings_in_words
from gazevlm_core.geometry import pixel_of

ANNOTATIONS, FIXATIONS = "annotations.csv", "fixations.csv"
FORMULA_STARTS = "=+-@\t\r\n＝＋－＠"  # noqa: RUF001 - spreadsheets take the wide forms for the usual ones
BLANKS = " \u00a0\u3000\ufeff\u200b"
ANNOTATION_HEADS = (
    "number", "receipt", "digest", "image_id", "image_name", "patient_id", "width_px", "height_px", "reader", "kind",
    "verdict", "reason", "removed", "project", "mode", "question", "findings", "findings_asked", "report", "confidence",
    "fixations", "started_at", "submitted_at", "submission_id",
)  # fmt: skip
FIXATION_HEADS = ("image_id", "reader", "index", "x_px", "y_px", "onset_ms", "duration_ms", "submission_id")
PIXEL_DIGITS = 3


def plain_cell(text: str) -> str:
    """Return the text, so that no spreadsheet takes it for a formula."""
    bare = text.lstrip(BLANKS)
    return f"'{text}" if bare and bare[0] in FORMULA_STARTS else text


class Table(Sink):
    """A CSV file of some columns; what is unknown is an empty cell."""

    heads: ClassVar[tuple[str, ...]]

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._rows = csv.writer(self.files[0], quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
        self._rows.writerow(self.heads)

    def write(self, cells: Iterable[object]) -> None:
        """Write a row."""
        plain = (plain_cell(cell) if isinstance(cell, str) else cell for cell in cells)
        self._rows.writerow(["" if cell is None else cell for cell in plain])


class AnnotationTable(Table):
    """`annotations.csv`, a submission per row."""

    names, heads = (ANNOTATIONS,), ANNOTATION_HEADS

    def add(self, image: StoredImage, png: bytes, stored: Sequence[Stored]) -> None:
        """See `Sink`."""
        for one in stored:
            values = flat_values(image, one)
            values |= {
                "removed": str(one.removed).lower(), "findings": findings_in_words(one.annotation),
                "findings_asked": "; ".join(values["findings_asked"] or ()), "fixations": len(one.annotation.scanpath),
            }  # fmt: skip
            self.write(values[head] for head in self.heads)


class FixationTable(Table):
    """`fixations.csv`, a fixation per row, as gaze tools read it."""

    names, heads = (FIXATIONS,), FIXATION_HEADS

    def add(self, image: StoredImage, png: bytes, stored: Sequence[Stored]) -> None:
        """See `Sink`."""
        for one in stored:
            width, height = one.annotation.image_width_px, one.annotation.image_height_px
            for index, at in enumerate(one.annotation.scanpath, start=1):
                self.write(
                    (
                        image.sha256, one.annotation.annotator, index, pixel_of(at.x, width, PIXEL_DIGITS),
                        pixel_of(at.y, height, PIXEL_DIGITS), at.onset_ms, at.duration_ms, one.submission_id,
                    )
                )  # fmt: skip


FORMAT = Format(
    "CSV",
    {
        ANNOTATIONS: "a submission per row, for spreadsheets",
        FIXATIONS: "a fixation per row, for gaze tools: pixels of the upright image, times in ms, unknown ones empty",
    },
    lambda folder, title, licence: [AnnotationTable(folder), FixationTable(folder)],
)
