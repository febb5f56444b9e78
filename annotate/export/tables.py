"""Tables for spreadsheets and gaze tools: `annotations.csv` and `fixations.csv`.

No cell begins a formula (OWASP, "CSV Injection"): text that starts with = + - @, a tab or a line end, also behind
blanks or in full width, gets an apostrophe in front.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

from annotate.export.lines import record_values
from annotate.export.sinks import open_text
from annotate.store.types import Stored, StoredImage
from annotate.votes import asked_of, findings_in_words

ANNOTATIONS, FIXATIONS = "annotations.csv", "fixations.csv"
FORMULA_STARTS = "=+-@\t\r\n＝＋－＠"  # noqa: RUF001 - spreadsheets take the wide forms for the usual ones
BLANKS = " \u00a0\u3000\ufeff\u200b"
ANNOTATION_HEADS = (
    "number", "receipt", "digest", "image_id", "image_name", "width_px", "height_px", "reader", "kind", "verdict",
    "reason", "removed", "mode", "question", "findings", "findings_asked", "report", "confidence", "fixations",
    "started_at", "submitted_at", "submission_id",
)  # fmt: skip
FIXATION_HEADS = ("image_id", "reader", "index", "x_px", "y_px", "onset_ms", "duration_ms", "submission_id")
PIXEL_DIGITS = 3


def plain_cell(text: str) -> str:
    """The text, so that no spreadsheet takes it for a formula."""
    bare = text.lstrip(BLANKS)
    return f"'{text}" if bare and bare[0] in FORMULA_STARTS else text


class AnnotationTable:
    """`annotations.csv`, a submission per row."""

    def __init__(self, folder: Path) -> None:
        self._stream = open_text(folder / ANNOTATIONS)
        self._rows = csv.writer(self._stream, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
        self._rows.writerow(ANNOTATION_HEADS)

    def add(self, image: StoredImage, png: bytes, stored: Sequence[Stored]) -> None:
        """See `Sink`."""
        for one in stored:
            line, annotation = record_values(one), one.annotation
            record = line["record"]
            cells = (
                one.number, line["receipt"], line["digest"], image.sha256, image.name, image.width_px, image.height_px,
                annotation.annotator, one.kind, one.verdict, one.reason, str(one.removed).lower(),
                annotation.client.mode, annotation.question, findings_in_words(annotation),
                "; ".join(asked_of(annotation) or ()), annotation.report,
                "" if annotation.confidence is None else annotation.confidence, len(annotation.scanpath),
                record["started_at"], record["submitted_at"], annotation.submission_id,
            )  # fmt: skip
            self._rows.writerow([plain_cell(cell) if isinstance(cell, str) else cell for cell in cells])

    def finish(self) -> None:
        """See `Sink`."""
        self._stream.close()


class FixationTable:
    """`fixations.csv`, a fixation per row, as gaze tools read it; unknown times are empty cells."""

    def __init__(self, folder: Path) -> None:
        self._stream = open_text(folder / FIXATIONS)
        self._rows = csv.writer(self._stream, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
        self._rows.writerow(FIXATION_HEADS)

    def add(self, image: StoredImage, png: bytes, stored: Sequence[Stored]) -> None:
        """See `Sink`."""
        for one in stored:
            annotation = one.annotation
            for index, fixation in enumerate(annotation.scanpath, start=1):
                self._rows.writerow(
                    (
                        image.sha256, plain_cell(annotation.annotator), index,
                        round(fixation.x * annotation.image_width_px, PIXEL_DIGITS),
                        round(fixation.y * annotation.image_height_px, PIXEL_DIGITS),
                        "" if fixation.onset_ms is None else fixation.onset_ms,
                        "" if fixation.duration_ms is None else fixation.duration_ms,
                        plain_cell(annotation.submission_id),
                    )
                )  # fmt: skip

    def finish(self) -> None:
        """See `Sink`."""
        self._stream.close()
