"""`scanpaths.jsonl` and `studies.jsonl` beside `images/`: what `gazevlm_core.datasets.folder` and `gazevlm score` read.

So an export is a training set as it is. Rejected and removed submissions are left out of these two files.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from annotate.export.lines import json_line
from annotate.export.sinks import open_text
from annotate.store.types import Stored, StoredImage
from gazevlm_core.datasets.folder import SCANPATHS, STUDIES
from gazevlm_core.datasets.scanpath_files import LONGEST_MS


def usable(stored: Iterable[Stored]) -> list[Stored]:
    """Submissions that may teach a model: neither rejected nor removed."""
    return [one for one in stored if one.verdict != "rejected" and not one.removed]


def scanpath_values(one: Stored) -> dict[str, Any]:
    """A line of scanpaths.jsonl. Durations are left out where they are unknown, or longer than the reader takes.

    The submission's id and the digest of its record go along, so that whatever is trained on it can name it.
    """
    annotation = one.annotation
    values: dict[str, Any] = {
        "image_id": one.image_sha256,
        "reader": annotation.annotator,
        "source": annotation.scanpath.source,
        "x": [fixation.x for fixation in annotation.scanpath],
        "y": [fixation.y for fixation in annotation.scanpath],
        "submission_id": annotation.submission_id,
        "digest": one.receipt.digest,
    }
    durations = [fixation.duration_ms for fixation in annotation.scanpath]
    if any(value is not None for value in durations) and sum(value or 0.0 for value in durations) <= LONGEST_MS:
        values["duration_ms"] = durations
    return values


def votes(stored: Sequence[Stored]) -> tuple[int, Counter[str]]:
    """Annotators of an image who ticked any finding, and how many of them ticked each; their last word counts."""
    last = {one.annotation.annotator: one.annotation.findings for one in stored}
    ticked = [findings for findings in last.values() if findings]
    return len(ticked), Counter(name for findings in ticked for name in findings)


def findings_of(voters: int, ticks: dict[str, int], vocabulary: Iterable[str]) -> dict[str, int]:
    """Findings by majority: 1 where more than half of the voters ticked it, 0 where fewer; left out on a tie.

    Without a voter nothing is known: an empty list may mean that nobody looked for findings.
    """
    if not voters:
        return {}
    twice = {name: 2 * ticks.get(name, 0) for name in vocabulary}
    return {name: int(count > voters) for name, count in twice.items() if count != voters}


def report_of(stored: Sequence[Stored]) -> str | None:
    """The report that stands for the image: the first accepted one that is not empty, else the first; None without."""
    written = [one for one in stored if one.annotation.report.strip()]
    accepted = [one for one in written if one.verdict == "accepted"]
    return (accepted or written)[0].annotation.report if written else None


class GazeFiles:
    """Studies are written at the end: which findings there are is not known before."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._scanpaths = open_text(folder / SCANPATHS)
        self._studies: IO[str] = TemporaryFile("w+", encoding="utf-8", dir=folder)
        self._vocabulary: set[str] = set()

    def add(self, image: StoredImage, png: bytes, stored: Sequence[Stored]) -> None:
        """See `Sink`."""
        kept = usable(stored)
        if not kept:
            return
        for one in kept:
            self._scanpaths.write(json_line(scanpath_values(one)))
        voters, ticks = votes(kept)
        self._vocabulary |= ticks.keys()
        line = {"image_id": image.sha256, "voters": voters, "ticks": dict(ticks), "report": report_of(kept)}
        self._studies.write(json_line(line))

    def finish(self) -> None:
        """See `Sink`."""
        self._scanpaths.close()
        vocabulary = sorted(self._vocabulary)
        self._studies.seek(0)
        with open_text(self._folder / STUDIES) as stream:
            for line in self._studies:
                values = json.loads(line)
                findings = findings_of(values.pop("voters"), values.pop("ticks"), vocabulary)
                stream.write(json_line({**values, "findings": findings}))
        self._studies.close()
