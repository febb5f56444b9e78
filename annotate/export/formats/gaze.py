"""`scanpaths.jsonl` and `studies.jsonl` beside `images/`: what `gazevlm_core.datasets.folder` and `gazevlm score` read.

So an export is a training set as it is. Rejected and removed submissions are left out of these two files; who annotated
an image again has several lines in the first, of which the folder adapter reads the first one.
"""

from collections.abc import Mapping, Sequence

from annotate.export.formats import Format, Sink
from annotate.export.lines import json_line
from annotate.store.model import SPLIT, VIEW, Stored, StoredImage
from annotate.votes import first_of_each, labels, usable
from gazevlm_core.datasets.folder import SCANPATHS, STUDIES
from gazevlm_core.datasets.scanpath_files import line_values
from gazevlm_core.sample import Reading, Sample


def sample_of(image: StoredImage, stored: Sequence[Stored]) -> Sample:
    """Return an image as a training set has it: readings, labels by majority (see `annotate.votes`), one report.

    A reading names its submission and the digest of its record, so that whatever is trained on it can name them, too.

    Args:
        image: of the submissions.
        stored: all submissions on it that may teach.
    """
    findings = labels(stored)
    reported = reported_by(stored, findings)
    return Sample(
        image.sha256,
        question=reported.annotation.question if reported else image.question,
        report=reported.annotation.report if reported else None,
        findings=findings,
        readings=tuple(map(reading_of, stored)),
        patient_id=image.patient_id,
        split=image.metadata.get(SPLIT, ""),
        view=image.metadata.get(VIEW, ""),
        digest=image.sha256,
        size_px=(image.width_px, image.height_px),
    )


def reading_of(one: Stored) -> Reading:
    """Return a submission as a reading."""
    annotation = one.annotation
    return Reading(
        annotation.annotator, annotation.scanpath, annotation.submission_id, one.receipt.digest, verdict=one.verdict
    )


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
        if not (kept := usable(stored)):
            return
        sample = sample_of(image, kept)
        for one, reading in zip(kept, sample.readings, strict=True):
            how = {"mode": one.annotation.client.mode, "kind": one.kind, "question": one.annotation.question,
                   "project": one.project}  # fmt: skip
            scanpaths.write(json_line({**line_values(sample.image_id, reading), **how}))
        study = {"image_id": sample.image_id, "question": sample.question, "findings": dict(sample.findings)}
        columns = {"patient_id": image.patient_id, "split": sample.split, "view": sample.view}
        known = {name: value for name, value in columns.items() if value}
        studies.write(json_line({**study, "report": sample.report, **known}))


FORMAT = Format(
    "training set",
    {
        SCANPATHS: "paths as `gazevlm score` and the folder adapter read them, with the question that was asked",
        STUDIES: "findings by majority of the votes, one report, the question, and the patient where known, per image",
    },
    lambda folder, title, licence: [GazeFiles(folder)],
    with_images=True,
)
