"""`scanpaths.jsonl` and `studies.jsonl` beside `images/`: what `gazevlm_core.datasets.folder` and `gazevlm score` read.

So an export is a training set as it is. Rejected and removed submissions are left out of these two files; who annotated
an image again has several lines in the first, of which the folder adapter reads the first one.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from annotate.export.formats import Format, Sink
from annotate.export.lines import json_line
from annotate.store.model import Stored, StoredImage
from annotate.votes import first_of_each, labels, usable
from gazevlm_core.datasets.folder import SCANPATHS, STUDIES
from gazevlm_core.datasets.scanpath_files import LONGEST_MS


def scanpath_values(one: Stored) -> dict[str, Any]:
    """Return a line of scanpaths.jsonl. Times are left out where none is known; durations also where they are longer
    than the reader takes.

    The submission's id and the digest of its record go along, so that whatever is trained on it can name it; so do the
    question that was asked, the mode, and how the annotator came to the image.
    """
    annotation = one.annotation
    path = annotation.scanpath
    values: dict[str, Any] = {
        "image_id": one.image_sha256,
        "reader": annotation.annotator,
        "source": path.source,
        "mode": annotation.client.mode,
        "kind": one.kind,
        "question": annotation.question,
        "x": [fixation.x for fixation in path],
        "y": [fixation.y for fixation in path],
        "submission_id": annotation.submission_id,
        "digest": one.receipt.digest,
    }
    durations = [fixation.duration_ms for fixation in path]
    if any(value is not None for value in durations) and sum(value or 0.0 for value in durations) <= LONGEST_MS:
        values["duration_ms"] = durations
    onsets = [fixation.onset_ms for fixation in path]
    if any(value is not None for value in onsets):
        values["onset_ms"] = onsets
    return values


def study_values(image: StoredImage, stored: Sequence[Stored]) -> dict[str, Any]:
    """Return a line of studies.jsonl: labels by majority, see `annotate.votes`, one report and its question.

    Args:
        image: of the submissions.
        stored: all submissions on it that may teach.
    """
    findings = labels(stored)
    reported = reported_by(stored, findings)
    return {
        "image_id": image.sha256,
        "question": reported.annotation.question if reported else image.question,
        "findings": findings,
        "report": reported.annotation.report if reported else None,
    }


def reported_by(stored: Sequence[Stored], findings: Mapping[str, int]) -> Stored | None:
    """Return the submission whose report stands for the image, None where nobody wrote one: an accepted one where there
    is one, of somebody who ticked what the labels say where there is one, and of these the first.

    Args:
        stored: submissions on the image.
        findings: its labels; words that say otherwise would teach the opposite.
    """
    written = [one for one in first_of_each(stored) if one.annotation.report.strip()]

    def rank(one: Stored) -> tuple[bool, int, int]:
        ticked = one.annotation.findings
        return one.verdict != "accepted", sum(label != (name in ticked) for name, label in findings.items()), one.number

    return min(written, key=rank) if written else None


class GazeFiles(Sink):
    """Both files."""

    names = (SCANPATHS, STUDIES)

    def add(self, image: StoredImage, png: bytes, stored: Sequence[Stored]) -> None:
        """See `Sink`."""
        scanpaths, studies = self.files
        if kept := usable(stored):
            scanpaths.writelines(json_line(scanpath_values(one)) for one in kept)
            studies.write(json_line(study_values(image, kept)))


FORMAT = Format(
    "training set",
    {
        SCANPATHS: "paths as `gazevlm score` and the folder adapter read them, with the question that was asked",
        STUDIES: "findings by majority of the votes, one report, and the question, per image",
    },
    lambda folder, title, licence: [GazeFiles(folder)],
    with_images=True,
)
