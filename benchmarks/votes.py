"""Do the labels of an export say what a crowd said, and what is true? Simulated voters on phantoms of known truth.

    python -m benchmarks.votes --images 100 --voters 12

Every voter hands in the form of Teach, so that submissions, repeats, refusals and labels go the way of real ones.
"""

import json
import tempfile
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image

from annotate.blur import BlurSettings
from annotate.export.folder import export_store
from annotate.payload import Submission, checked
from annotate.store.model import StoredImage, StoreSettings
from annotate.store.store import AnnotationStore
from annotate.submission import annotation_of
from gazevlm_core.datasets.folder import STUDIES
from gazevlm_core.findings import FINDING_NAMES, NO_FINDING
from phantoms.make import make_phantom
from tests.annotate.submission_maker import make_click, make_submission

SIZE_PX = 64
SEEN_SUBTLE, SEEN_SEVERE = 0.35, 0.95  # chance that a voter ticks a finding that is there, by its severity
MOST_FALSE_ALARMS = 0.12  # chance that the least careful voter ticks a finding that is not there
REPEATS, REJECTED = 0.1, 0.05  # shares of the submissions: done again with other answers, and refused by a reviewer


@dataclass(frozen=True)
class Crowd:
    """What came of it, in pairs of an image and a finding.

    Args:
        pairs: images times findings.
        voters_right: where more than half of the voters said what is true.
        labels_right: of these, where the export's label is the truth.
        given_on_tie: where the voters were divided, and the export has a label all the same.
    """

    pairs: int
    voters_right: int
    labels_right: int
    given_on_tie: int

    @property
    def share(self) -> float:
        """Of the pairs where the voters are right, those where the label is."""
        return self.labels_right / self.voters_right


def crowd_figures(folder: Path, images: int, voters: int, seed: int = 0) -> Crowd:
    """Let a crowd vote, export, and compare.

    Args:
        folder: empty, for the store and the export.
        images: phantoms.
        voters: per image; all of them see every image.
    """
    rng = np.random.default_rng(seed)
    store = AnnotationStore.open(folder / "store", settings=StoreSettings(quota=voters))
    people = [store.pseudonym(f"voter {number}") for number in range(voters)]
    alarms = np.linspace(0.0, MOST_FALSE_ALARMS, voters)
    truth: dict[str, set[str]] = {}
    yes: dict[tuple[str, str], int] = {}
    counted: dict[str, int] = {}
    for number in range(images):
        phantom = make_phantom(number, size_px=SIZE_PX)
        image = store.add_image(Image.fromarray(phantom.image), f"phantom {number}", by=people[0])
        severities = {finding.name: finding.severity for finding in phantom.findings}
        truth[image.sha256] = set(severities)
        for who, alarm in zip(people, alarms.tolist(), strict=True):
            ticked = _ticked(severities, alarm, rng)
            if rng.random() < REJECTED:
                receipt = _hand_in(store, image, who, list(FINDING_NAMES), rng)
                store.review(receipt, "rejected", "ticked everything", people[0])
            _hand_in(store, image, who, ticked, rng)
            if rng.random() < REPEATS:
                _hand_in(store, image, who, _ticked({}, 0.5, rng), rng)
            counted[image.sha256] = counted.get(image.sha256, 0) + 1
            for name in ticked:
                yes[image.sha256, name] = yes.get((image.sha256, name), 0) + 1
    out = export_store(store, folder / "export", formats=["gaze"]).folder
    store.close()
    lines = [json.loads(line) for line in (out / STUDIES).read_text("utf-8").splitlines()]
    labels = {line["image_id"]: line["findings"] for line in lines}
    right = decided = good = 0
    for sha256, present in truth.items():
        for name in FINDING_NAMES:
            twice, label = 2 * yes.get((sha256, name), 0), labels[sha256].get(name)
            decided += twice == counted[sha256] and label is not None
            if twice != counted[sha256] and (twice > counted[sha256]) == (name in present):
                right += 1
                good += label == int(name in present)
    return Crowd(len(truth) * len(FINDING_NAMES), right, good, decided)


def _ticked(severities: dict[str, float], alarm: float, rng: np.random.Generator) -> list[str]:
    """What somebody ticks: severe findings more often than subtle ones, and some that are not there."""
    chances = [
        SEEN_SUBTLE + (SEEN_SEVERE - SEEN_SUBTLE) * severities[name] if name in severities else alarm
        for name in FINDING_NAMES
    ]
    drawn = rng.random(len(FINDING_NAMES))
    return [name for name, chance, draw in zip(FINDING_NAMES, chances, drawn, strict=True) if draw < chance]


def _hand_in(
    store: AnnotationStore, image: StoredImage, who: str, ticked: list[str], rng: np.random.Generator
) -> str:
    """Hand in the form, as the page sends it; the submission's id."""
    submission_id = str(uuid.UUID(bytes=rng.bytes(16), version=4))
    clicks = [make_click(x, y, 400.0 * step) for step, (x, y) in enumerate(rng.random((3, 2)).tolist())]
    values = make_submission(
        who, image.sha256, submission_id=submission_id, findings=ticked or [NO_FINDING], clicks=clicks, report=""
    )
    sent = checked(Submission, values)
    store.submit(annotation_of(sent, image, who, datetime.now(UTC), BlurSettings()))
    return sent.submission_id


def main(
    images: Annotated[int, typer.Option(help="Phantoms.", min=1)] = 100,
    voters: Annotated[int, typer.Option(help="Of each image.", min=1)] = 12,
    seed: Annotated[int, typer.Option(help="Of the voters.", min=0)] = 0,
) -> None:
    """Let a crowd vote and print how far the export's labels are right."""
    with tempfile.TemporaryDirectory() as folder:
        found = crowd_figures(Path(folder), images, voters, seed)
    typer.echo(f"{voters} voters on {images} phantoms, {found.pairs:,} pairs of an image and a finding")
    typer.echo(f"the voters' majority is right on {found.voters_right:,} ({found.voters_right / found.pairs:.1%})")
    typer.echo(f"of these the export's label is right on {found.labels_right:,} ({found.share:.2%})")
    typer.echo(f"labels where the voters were divided: {found.given_on_tie}")


if __name__ == "__main__":
    typer.run(main)
