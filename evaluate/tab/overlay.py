"""A model's path beside a reader's on one image: drawn by number or uploaded, as paths in the viewer and as a table."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from evaluate.rows import GAIN_NOTE, remark
from gazevlm_core.datasets.identity import ImageNames, image_name, without_ending
from gazevlm_core.datasets.scanpath_files import FiledPath, read_scanpaths
from gazevlm_core.datasets.trained_on import TrainedOn
from gazevlm_core.evaluation.comparison import FLOOR_REPEATS_OF_ONE, ComparedScore, compare_paths
from gazevlm_core.evaluation.floors import PAIR_FLOORS
from gazevlm_core.findings import NO_FINDING
from gazevlm_core.images import load_radiograph
from gazevlm_core.metrics.paths import UNIT_SQUARE
from gazevlm_core.records import Diagnosis
from gazevlm_core.scanpath import Scanpath
from phantoms.case import DOMAIN_WORDS
from phantoms.dataset import TRAINING_SEEDS, draw_case
from phantoms.readers import READERS
from web.formatting import score
from web.markup import Cell, Table
from web.viewer.payload import ViewerGrid, ViewerPayload, viewer_path

LARGEST_NUMBER = TRAINING_SEEDS.start - 1  # no checkpoint of ours was trained on these
MOST_BYTES = 2 * 2**20
MOST_READINGS, MOST_FIXATIONS = 40, 150
LONGEST_MS = 120_000.0  # of a whole reading: a score repeats each fixation once per 100 ms
SIDES_DIFFER = 0.02  # of the aspect ratio: sizes are rounded
UNTRAINED = "The gaze of {model} is untrained: no path is shown, and there is nothing to score. Choose another model."
TRAINED_ON_IT = "It was trained on this very image: its scores here say nothing of other images."
PERHAPS_TRAINED_ON_IT = "What it was trained on is not known: this image may be among it."


class CaseError(ValueError):
    """A number or a file that gives no image with readings; the message says what to give."""


@dataclass(frozen=True, eq=False)
class Case:
    """Readings of an image, and where to get the image from: a page remembers many cases, and an image is large.

    Args:
        size: width and height of the image in px.
        caption: what it is, for the page; never used as a path.
        readings: name of the reader -> path; at least one.
        source: path of an upload, or number and domain of a phantom.
    """

    size: tuple[int, int]
    caption: str
    readings: Mapping[str, Scanpath]
    source: str | tuple[int, str]

    @property
    def drawn(self) -> bool:
        """Whether it is a phantom, with simulated readers."""
        return not isinstance(self.source, str)

    def image(self) -> Image.Image:
        """Return the image, upright RGB.

        Raises:
            ImageError: the upload is not there any more.
        """
        if isinstance(self.source, str):
            return load_radiograph(self.source).image
        return Image.fromarray(draw_case(*self.source).image).convert("RGB")


def drawn_case(number: float | None, domain: str) -> tuple[Case, Image.Image]:
    """Return a phantom with one reading by each simulated reader; the same number gives the same one.

    Raises:
        CaseError: no whole number in 0 to LARGEST_NUMBER, or no such domain.
    """
    if domain not in DOMAIN_WORDS:
        raise CaseError(f"There is no such kind of phantom; choose one of: {', '.join(DOMAIN_WORDS)}.")
    if number is None or not 0 <= number <= LARGEST_NUMBER or number != int(number):  # NaN lies nowhere
        raise CaseError(f"The phantom's number must be a whole number from 0 to {LARGEST_NUMBER}; change it.")
    case = draw_case(int(number), domain)
    findings = ", ".join(dict.fromkeys(finding.name for finding in case.findings)) or NO_FINDING
    readings = {reader.name: paths[0] for reader, paths in zip(READERS, case.readings, strict=True)}
    caption = f"Drawn patient {int(number)}, {DOMAIN_WORDS[domain]}: {findings}"
    image = Image.fromarray(case.image).convert("RGB")
    return Case(image.size, caption, readings, (int(number), domain)), image


def uploaded_case(image_path: str | None, readings_path: str | None) -> tuple[Case, Image.Image]:
    """Return an uploaded image with the readings of it in a file of scanpaths.

    Raises:
        ImageError: the image cannot be used, or is in colour.
        DatasetError: the file of scanpaths cannot be used.
        CaseError: one of them is missing, they do not belong together, or there is too much.
    """
    if image_path is None or readings_path is None:
        raise CaseError("Two files are needed: an image, and the paths of its readers as JSON lines; choose both.")
    image = load_radiograph(image_path).image
    if Path(readings_path).stat().st_size > MOST_BYTES:
        raise CaseError(f"The file of paths has more than {MOST_BYTES // 2**20} MB; keep the readings of this image.")
    found = read_scanpaths(Path(readings_path))
    name = os.path.basename(image_path)
    readings = [_checked(reading, image) for reading in _of_image(found.readings, name)]
    if len(readings) > MOST_READINGS:
        raise CaseError(f"The image has {len(readings)} readings; keep {MOST_READINGS} of them.")
    return Case(image.size, f"Uploaded image, {len(readings)} readings", _named(readings), image_path), image


def _of_image(readings: list[FiledPath], name: str) -> list[FiledPath]:
    """Those of the image of that name, or all where the file is about one image only."""
    ids = dict.fromkeys(reading.image_id for reading in readings)
    if len(ids) == 1:
        return readings
    image = ImageNames([image_name(name)])
    chosen = [reading for reading in readings if image.find(reading.image_id) is not None]
    if not chosen:
        raise CaseError(
            f"The file has paths of {len(ids)} images, and none of them is called {without_ending(name)[:60]!r}; "
            "name the image file as its image_id, or keep the paths of this image."
        )
    return chosen


def _checked(reading: FiledPath, image: Image.Image) -> FiledPath:
    """Return the reading, if it fits the image and can be scored while somebody waits."""
    width, height = reading.size
    if reading.size != UNIT_SQUARE and abs(width / height / (image.width / image.height) - 1) > SIDES_DIFFER:
        raise CaseError(
            f"The paths are for an image of {width:g} by {height:g} px, but this one has {image.width} by "
            f"{image.height}; give the image that was read."
        )
    if len(reading.scanpath) > MOST_FIXATIONS:
        raise CaseError(f"A path has {len(reading.scanpath)} fixations; at most {MOST_FIXATIONS} can be compared here.")
    if sum(fixation.duration_ms or 0.0 for fixation in reading.scanpath) > LONGEST_MS:
        raise CaseError(f"A path is longer than {LONGEST_MS / 1000:.0f} s; durations are in milliseconds.")
    return reading


def _named(readings: list[FiledPath]) -> dict[str, Scanpath]:
    """Return names that tell the readings apart."""
    named: dict[str, Scanpath] = {}
    for number, reading in enumerate(readings, start=1):
        name = reading.reader[:60] or f"reading {number}"
        named[name if name not in named else f"{name}, reading {number}"] = reading.scanpath
    return named


# ---- what is shown --------------------------------------------------------------------------------------------------
@dataclass(frozen=True, eq=False)
class OverlayState:
    """What one visitor's page shows of an image.

    Args:
        case: the readings of the image.
        value: of a viewer that shows the image alone.
        model: name of the model that was asked; "" before.
        diagnosis: what it said; None before.
        remark: whether it was trained on the image, in a sentence; "" where it was not.
    """

    case: Case
    value: ViewerPayload
    model: str = ""
    diagnosis: Diagnosis | None = None
    remark: str = ""

    def payload(self, reader: str) -> ViewerPayload:
        """Return the value of the viewer: the model's path, if there is one, and a reader's, in step."""
        name = f"Simulated reader: {reader}" if self.case.drawn else f"Reader: {reader}"
        paths, grid, said = [viewer_path(self.case.readings[reader], name, "reader")], None, self.diagnosis
        if said is not None and said.scanpath is not None:
            grid = ViewerGrid(rows=said.grid.rows, cols=said.grid.cols)
            paths.insert(0, viewer_path(
                said.scanpath, f"Model: {self.model}", "model", grid=said.grid,
                probabilities=said.fixation_probabilities, patch_probabilities=said.patch_probabilities,
            ))  # fmt: skip
        return self.value.model_copy(update={"paths": paths, "grid": grid, "in_step": True})

    def table(self, reader: str) -> Table | None:
        """Return every score of the model's path against a reader's; None without a path of the model."""
        if self.diagnosis is None or self.diagnosis.scanpath is None:
            return None
        others = [path for name, path in self.case.readings.items() if name != reader]
        size = (float(self.case.size[0]), float(self.case.size[1]))
        path, grid = self.diagnosis.scanpath, self.diagnosis.grid
        compared = compare_paths(path, [self.case.readings[reader]], others, size, grid)
        return _table(compared, self, reader, len(others))

    def status(self) -> str:
        """Return what is to be seen, and what comes next."""
        if self.diagnosis is None:
            return f"{self.case.caption}. Let a model look at it."
        if self.diagnosis.scanpath is None:
            return UNTRAINED.format(model=self.model)
        looked = f"{self.case.caption}. {self.model} looked at {len(self.diagnosis.scanpath)} places."
        return " ".join([looked, *self.remarks])

    @property
    def remarks(self) -> list[str]:
        """What has to be known of what a model said: whether it learnt from the image, and what it notes itself."""
        notes = () if self.diagnosis is None else self.diagnosis.notes
        return [one for one in (self.remark, *notes) if one]


def remark_on(learned: Sequence[TrainedOn | None], image: Image.Image) -> str:
    """Say whether a model was trained on an image, or that nobody knows; "" where it was not.

    Args:
        learned: of the model, see `web.models.Model`.
        image: upright RGB.
    """
    if any(one.has_picture(image) for one in learned if one is not None):
        return TRAINED_ON_IT
    return PERHAPS_TRAINED_ON_IT if None in learned else ""


def _table(compared: Sequence[ComparedScore], state: OverlayState, reader: str, others: int) -> Table:
    heads = ["score", "model", "order gain", *(f"floor: {floor}" for floor in PAIR_FLOORS)]
    rows: list[list[Cell]] = [
        [
            (one.name, remark(one.order, "higher" if one.higher_is_better else "lower")), _number(one.value),
            _number(one.order_gain, signed=True), *map(_number, one.floors.values()),
            *([_number(one.ceiling)] if others else []),
        ]
        for one in compared
    ]  # fmt: skip
    if others:
        heads.append(f"ceiling: other readers ({others})")
    kind = "a drawn phantom with simulated readers, not a patient" if state.case.drawn else "the uploaded image"
    notes = [
        *state.remarks,
        f"Measured on one image, {kind}: it shows no more than itself. Patches are those of the model's grid. Shuffled "
        f"and random floors are means of {FLOOR_REPEATS_OF_ONE}; a dash: not defined for these paths.",
        GAIN_NOTE,
    ]
    return Table(f"{state.model} against {reader}", heads, rows, notes)


def _number(value: float, *, signed: bool = False) -> str:
    return score(None if math.isnan(value) else value, signed=signed)
