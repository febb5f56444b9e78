"""A survey as tables: agreement beside floors, annotators compared by pseudonym, images by agreement."""

from annotate.dashboard.quality.part import Quality
from annotate.dashboard.words import UNKNOWN, brief, score, shown_name
from annotate.quality.agreement import ImageAgreement
from annotate.quality.annotators import AnnotatorQuality
from annotate.quality.scores import AGREEMENT_SCORES, FLOORS, SEQUENCE, Level
from web.markup import Cell, Table

MOST_IMAGES = 200
ORDER = {"sensitive": "sees the order", "blind": "does not see the order"}
LEVEL_HEADS = ("score", "annotators", *(f"floor: {floor}" for floor in FLOORS))
FLOOR_NOTE = (
    "A floor is what paths reach that know less: the same fixations shuffled, a path on another image, uniform places, "
    "the image's centre. A score no higher than its floors shows no agreement. Shuffling cannot change a score that "
    "does not see the order."
)


def level_row(name: str, level: Level) -> list[Cell]:
    """A score with its floors."""
    return [(name, ORDER[level.order]), score(level.value), *(score(level.floors[floor]) for floor in FLOORS)]


def agreement_table(quality: Quality) -> Table:
    """Mean agreement of the store."""
    levels, images = quality.survey.levels, sum(image.pairs > 0 for image in quality.survey.images)
    rows = [level_row(name, levels[name]) for name in AGREEMENT_SCORES] if images else []
    counted = f"Mean over {images:,} images with at least two annotators, all pairs of their first paths."
    return Table("Agreement beside floors", LEVEL_HEADS, rows, [counted, FLOOR_NOTE])


def annotator_table(quality: Quality) -> Table:
    """One row per annotator."""
    heads = (
        "annotator", "submissions", "accepted", "rejected", "median time", "median fixations", "agreement with others",
        "gold score", "best gold floor", "self-consistency", "flagged", "outliers",
    )  # fmt: skip
    notes = [
        "All three scores are the sequence score, which sees the order. Gold: with the known paths of gold images. "
        "Self-consistency: of a repeat with the first time. A dash: nothing to compare with.",
    ]
    return Table("Annotators compared", heads, [_annotator(one) for one in quality.survey.annotators], notes)


def _annotator(one: AnnotatorQuality) -> list[Cell]:
    best = max((floor for floor in one.gold_floors.values() if floor is not None), default=None)
    flags = tuple(f"{name}: {count}" for name, count in one.flags.items()) or (UNKNOWN,)
    return [
        one.annotator, f"{one.submissions:,}", str(one.accepted), str(one.rejected), f"{one.median_s:.1f} s",
        f"{one.median_fixations:g}", score(one.agreement), score(one.gold_score), score(best),
        score(one.self_consistency), flags, str(one.outliers),
    ]  # fmt: skip


def image_table(quality: Quality) -> Table:
    """Images by agreement, the lowest first."""
    images = quality.images()
    heads = ("image", "annotators", *AGREEMENT_SCORES, "best floor of the sequence score")
    rows = [_image(quality, image) for image in images[:MOST_IMAGES]]
    notes = ["To see one, choose it in the list below."]
    if len(images) > MOST_IMAGES:
        notes.append(f"The lowest {MOST_IMAGES} of {len(images):,}.")
    return Table("Images by agreement, the lowest first", heads, rows, notes)


def _image(quality: Quality, image: ImageAgreement) -> list[Cell]:
    levels = image.levels
    name = shown_name(quality.names.get(image.image_sha256, ""))
    return [
        (name, brief(image.image_sha256)), str(image.annotators), *(score(levels[one].value) for one in levels),
        score(levels[SEQUENCE].best_floor),
    ]  # fmt: skip
