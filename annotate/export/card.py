"""The export's data card: README.md with the front matter of the Hub, counts, and what is and is not known."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from annotate.export.formats import IMAGES, Sink, formats
from annotate.export.formats.parquet import DATA, FLAT
from annotate.store.model import Stored, StoredImage
from annotate.votes import FIRST_VERSION_FINDINGS

CARD = "README.md"
TEMPLATE = str(Path(__file__).with_suffix(".md"))
NO_LICENCE = "unknown"
ABOUT_IMAGES = "the images as PNG, named by the digest of their pixels"
ABOUT_OTHERS = {
    "skips.jsonl": "a task that was not wanted per line, with the reason",
    "audit.jsonl": "who did what, per line",
    "people.jsonl": "the annotators' pseudonyms",
}


class Tally(Sink):
    """What an export holds; filled while it is written, as its other sinks are."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.totals, self.annotators = Counter[str](), set[str]()
        self.verdicts, self.kinds, self.modes = Counter[str](), Counter[str](), Counter[str]()

    def add(self, image: StoredImage, png: bytes, stored: Sequence[Stored]) -> None:
        """Count one image and its submissions."""
        self.totals["images"] += 1
        for one in stored:
            fixations = len(one.annotation.scanpath)
            self.totals += Counter(submissions=1, fixations=fixations, removed=int(one.removed))
            self.annotators.add(one.annotation.annotator)
            self.verdicts[one.verdict] += 1
            self.kinds[one.kind] += 1
            self.modes[one.annotation.client.mode] += 1

    def values(self) -> dict[str, Any]:
        """Return the counts as JSON values."""
        totals = {name: self.totals[name] for name in ("images", "submissions", "fixations", "removed")}
        others = {name: self.totals[name] for name in ("skips", "audit", "people")}
        groups = {"verdicts": self.verdicts, "kinds": self.kinds, "modes": self.modes}
        return {
            **totals, "annotators": len(self.annotators), **others,
            **{name: dict(sorted(counts.items())) for name, counts in groups.items()},
        }  # fmt: skip


def about_files() -> dict[str, str]:
    """Return what is in each file or folder of an export; formats that name files of `images/` come behind these."""
    first, *others = formats().values()
    others.sort(key=lambda one: one.with_images)
    about = {**first.files, IMAGES: ABOUT_IMAGES}
    for one in others:
        about |= one.files
    return about | ABOUT_OTHERS


def render_card(
    counts: Mapping[str, Any], *, which: str, names: bool, licence: str, title: str, files: Sequence[str]
) -> str:
    """Return the text of README.md.

    Args:
        counts: what the export holds, as from `Tally.values`.
        which: "all" or "accepted".
        names: whether people.jsonl holds names.
        licence: identifier that the Hub knows, such as "cc-by-4.0"; "" where none was given.
        title: of the data set.
        files: names of the files and folders in the export.
    """
    from huggingface_hub import DatasetCard, DatasetCardData

    parts: dict[str, Any] = {}
    if DATA in files:
        parts["configs"] = [
            {"config_name": name, "data_files": [{"split": "train", "path": f"{place}/*.parquet"}]}
            for name, place in (("default", DATA), ("flat", FLAT))
        ]
    data = DatasetCardData(
        license=licence or NO_LICENCE, pretty_name=title, tags=["scanpath", "gaze", "clicks", "annotations", "gazevlm"],
        size_categories=[_size_category(counts["images"])], **parts,
    )  # fmt: skip
    about = {name: text for name, text in about_files().items() if name in files}
    card = DatasetCard.from_template(
        data, TEMPLATE, counts=counts, which=which, names=names, licence=licence, title=title, files=about,
        first_version_findings=", ".join(FIRST_VERSION_FINDINGS),
    )  # fmt: skip
    return f"{card}\n"


def _size_category(images: int) -> str:
    limits = (("n<1K", 10**3), ("1K<n<10K", 10**4), ("10K<n<100K", 10**5), ("100K<n<1M", 10**6))
    return next((name for name, limit in limits if images < limit), "1M<n<10M")
