"""The export's data card: README.md with the front matter of the Hub, counts, and what is and is not known."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from annotate.export.coco import COCO
from annotate.export.parquet import DATA, FLAT
from annotate.export.sinks import IMAGE_LINES, IMAGES, RECORDS
from annotate.export.tables import ANNOTATIONS, FIXATIONS
from annotate.store.types import Stored, StoredImage
from annotate.votes import ASKED_BEFORE
from gazevlm_core.datasets.folder import SCANPATHS, STUDIES

CARD = "README.md"
NO_LICENCE = "unknown"
ABOUT = {
    RECORDS: "a submission per line: number, image, receipt, digest, kind, verdict, reason, removed, revision, and the "
    "record",
    IMAGE_LINES: "an image per line: its id, name, size, question, gold path and whose it is, quota",
    IMAGES: "the images as PNG, named by the digest of their pixels",
    DATA: "the same as parquet, the configuration `default` of `load_dataset`: a row per image with its submissions",
    FLAT: "the configuration `flat` of `load_dataset`: a row per submission, nothing nested, without the pictures",
    ANNOTATIONS: "a submission per row, for spreadsheets",
    FIXATIONS: "a fixation per row, for gaze tools: pixels of the upright image, times in ms, unknown ones empty",
    COCO: "paths as COCO keypoints, a shorter one filled with unlabelled points; findings of whole images",
    SCANPATHS: "paths as `gazevlm score` and the folder adapter read them, with the question that was asked",
    STUDIES: "findings by majority of the votes, one report, and the question, per image",
    "skips.jsonl": "a task that was not wanted per line, with the reason",
    "audit.jsonl": "who did what, per line",
    "people.jsonl": "the annotators' pseudonyms",
}


@dataclass
class Tally:
    """What an export holds; filled while it is written."""

    images: int = 0
    submissions: int = 0
    fixations: int = 0
    removed: int = 0
    skips: int = 0
    audit: int = 0
    people: int = 0
    annotators: set[str] = field(default_factory=set)
    verdicts: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)

    def add(self, image: StoredImage, png: bytes, stored: Sequence[Stored]) -> None:
        """Count one image and its submissions."""
        self.images += 1
        for one in stored:
            self.submissions += 1
            self.fixations += len(one.annotation.scanpath)
            self.removed += one.removed
            self.annotators.add(one.annotation.annotator)
            self.verdicts[one.verdict] += 1
            self.kinds[one.kind] += 1
            self.modes[one.annotation.client.mode] += 1

    def finish(self) -> None:
        """Nothing is left to write."""

    def values(self) -> dict[str, Any]:
        """As JSON values."""
        parts: dict[str, Mapping[str, int]] = {"verdicts": self.verdicts, "kinds": self.kinds, "modes": self.modes}
        return {
            "images": self.images,
            "submissions": self.submissions,
            "fixations": self.fixations,
            "removed": self.removed,
            "annotators": len(self.annotators),
            "skips": self.skips,
            "audit": self.audit,
            "people": self.people,
            **{name: dict(sorted(counts.items())) for name, counts in parts.items()},
        }


def render_card(tally: Tally, *, which: str, names: bool, licence: str, title: str, files: Sequence[str]) -> str:
    """The text of README.md.

    Args:
        tally: what the export holds.
        which: "all" or "accepted".
        names: whether people.jsonl holds names.
        licence: identifier that the Hub knows, such as "cc-by-4.0"; "" where the caller told none.
        title: of the data set.
        files: names of the files and folders in the export.
    """
    from huggingface_hub import DatasetCardData

    names_of = {"default": DATA, "flat": FLAT}
    configs = [
        {"config_name": name, "data_files": [{"split": "train", "path": f"{place}/*.parquet"}]}
        for name, place in names_of.items()
    ]
    parts: dict[str, Any] = {"configs": configs} if DATA in files else {}
    front = DatasetCardData(
        license=licence or NO_LICENCE,
        pretty_name=title,
        tags=["scanpath", "gaze", "clicks", "annotations", "gazevlm"],
        size_categories=[_size_category(tally.images)],
        **parts,
    )
    lines = [
        "---",
        front.to_yaml().strip(),
        "---",
        f"# {title}",
        "",
        "Where people looked in images, in which order: scanpaths made by clicking, by revealing discs of a blurred "
        "image, or by moving a sharp window, with findings, a report and a confidence. Made with the Teach tab of "
        "GazeVLM. For research only: not a medical device.",
        "",
        f"**Licence:** {licence}" if licence else "**Licence:** none was told. Ask whoever published this before use.",
        "",
        *_counts(tally, which),
        "",
        "## Files",
        "",
        *(f"- `{name}`: {ABOUT[name]}" for name in ABOUT if name in files),
        "- `export.json`: counts and the SHA-256 of every file",
        "",
        "An image is `image_id` in all of them: the SHA-256 of its pixels. COCO's own ids are numbers within "
        "`coco.json`, whose images name theirs as `image_id`, too. An annotator's pseudonym is `reader`, within a "
        "record `annotator`.",
        "",
        *(_loading() if DATA in files else ()),
        *_knowledge(names=names),
        "",
        *_receipts(),
    ]
    return "\n".join(lines) + "\n"


def _loading() -> list[str]:
    return [
        "```python",
        "from datasets import load_dataset",
        "",
        'images = load_dataset("FOLDER", split="train")  # a row per image, with the picture',
        'paths = load_dataset("FOLDER", "flat", split="train")  # a row per submission; the same image_id',
        "```",
        "",
    ]


def _counts(tally: Tally, which: str) -> list[str]:
    parts = {"verdict": tally.verdicts, "kind": tally.kinds, "mode": tally.modes}
    chosen = "Everything in the store" if which == "all" else "Accepted submissions only"
    return [
        "## Counts",
        "",
        f"{chosen}: {tally.images} images, {tally.submissions} submissions with {tally.fixations} fixations by "
        f"{len(tally.annotators)} annotators; {tally.removed} of the submissions were taken out and are marked so.",
        "",
        *(f"- by {name}: " + _listed(counts) for name, counts in parts.items() if counts),
    ]


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


def _knowledge(*, names: bool) -> list[str]:
    who = "Names are in people.jsonl: do not publish this folder." if names else "Names are not in this export."
    return [
        "## What is known, and what is not",
        "",
        "- Positions are fractions of the upright image, origin upper left (x to the right, y down), unless a column "
        "says pixels.",
        "- This is no eye tracking. A click is a deliberate act, slower than a fixation and fewer; how long somebody "
        "looked is known in the mode *moving window* alone, and missing elsewhere.",
        "- Onsets are the annotator's own clock since the image was shown; an inserted click has none.",
        f"- Annotators are pseudonyms. {who} Their training and their screens are not known.",
        "- Whoever handed in the form has voted on every finding that it asked for (`findings_asked`): yes where it "
        "was ticked, else no. Each annotator has one vote on an image, that of their first submission that is neither "
        "rejected nor removed; repeats do not change it.",
        "- In `studies.jsonl` and `coco.json` a finding is 1 where more voted yes than no, 0 where fewer. It is left "
        "out, which means unknown, on a tie and where nobody was asked.",
        "- Records of schema version 2 do not tell what was asked. The form of their time asked for at least "
        f"{', '.join(ASKED_BEFORE)}; these count as asked. For other findings, and where nothing is known of the form, "
        "somebody who did not tick one may have meant no or not have been asked: its label is told only where it is "
        "the same either way.",
        "- Names of images, reports and reasons are as people typed them. The pixels carry no metadata; whether "
        "something is written into the picture was not checked.",
        "- Gold paths and repeats (`kind`) are told here. Whoever annotates these images afterwards may know them.",
        "- In CSV files, text that a spreadsheet could take for a formula (beginning with = + - @, a tab or a line "
        "end) has an apostrophe in front, as OWASP advises; the JSON lines hold it as it was typed.",
    ]


def _receipts() -> list[str]:
    return [
        "## Receipts",
        "",
        "Every submission has a receipt: ten characters, the beginning of the SHA-256 of its record (canonical JSON: "
        "sorted keys, no spaces, UTF-8). To see whether this data set contains yours, and unchanged:",
        "",
        "```bash",
        "gazevlm annotations verify RECEIPT --export FOLDER",
        "```",
    ]


def _size_category(images: int) -> str:
    limits = (("n<1K", 10**3), ("1K<n<10K", 10**4), ("10K<n<100K", 10**5), ("100K<n<1M", 10**6))
    return next((name for name, limit in limits if images < limit), "1M<n<10M")
