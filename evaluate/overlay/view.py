"""A case and a model's look at it, as paths in the viewer and as a table."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from evaluate.overlay.cases import Case
from evaluate.reports.rows import GAIN_NOTE, remark
from gazevlm_core.metrics.compare import FLOORS, TURNS, Compared, compare_paths
from gazevlm_core.records import Diagnosis
from gazevlm_core.scanpath import Scanpath
from web.markup import Cell, Table
from web.viewer.payload import ViewerGrid, ViewerPath, ViewerPayload, viewer_path

UNTRAINED = "The gaze of {model} is untrained: no path is shown, and there is nothing to score. Choose another model."


@dataclass(frozen=True, eq=False)
class Seen:
    """What one visitor's page shows of an image.

    Args:
        case: the readings of the image.
        value: of a viewer that shows the image alone.
        model: name of the model that looked; "" before one did.
        look: what it said; None before.
    """

    case: Case
    value: ViewerPayload
    model: str = ""
    look: Diagnosis | None = None

    def looked(self, model: str, look: Diagnosis) -> "Seen":
        """With the look of a model."""
        return replace(self, model=model, look=look)

    def payload(self, reader: str) -> ViewerPayload:
        """Value of the viewer: the model's path, if there is one, and a reader's, in step."""
        paths, grid = [_reader_path(self.case, reader)], None
        if self.look is not None and self.look.scanpath is not None:
            grid = ViewerGrid(rows=self.look.grid.rows, cols=self.look.grid.cols)
            paths = [_model_path(self.model, self.look, self.look.scanpath), *paths]
        return self.value.model_copy(update={"paths": paths, "grid": grid, "in_step": True})

    def table(self, reader: str) -> Table | None:
        """Every score of the model's path against a reader's; None without a path of the model."""
        if self.look is None or self.look.scanpath is None:
            return None
        others = [path for name, path in self.case.readings.items() if name != reader]
        size = (float(self.case.size[0]), float(self.case.size[1]))
        compared = compare_paths(self.look.scanpath, self.case.readings[reader], others, size, self.look.grid)
        return _table(compared, self, reader, len(others))

    def status(self) -> str:
        """What is to be seen, and what comes next."""
        if self.look is None:
            return f"{self.case.caption}. Let a model look at it."
        if self.look.scanpath is None:
            return UNTRAINED.format(model=self.model)
        return f"{self.case.caption}. {self.model} looked at {len(self.look.scanpath)} places."


def _reader_path(case: Case, reader: str) -> ViewerPath:
    path = case.readings[reader]
    name = f"Simulated reader: {reader}" if case.drawn else f"Reader: {reader}"
    return viewer_path(path, name, "reader")


def _model_path(name: str, look: Diagnosis, path: Scanpath) -> ViewerPath:
    return viewer_path(
        path,
        f"Model: {name}",
        "model",
        grid=look.grid,
        probabilities=look.fixation_probabilities,
        patch_probabilities=look.patch_probabilities,
    )


def _table(compared: Sequence[Compared], seen: Seen, reader: str, others: int) -> Table:
    heads = ["score", "model", "order gain", *(f"floor: {floor}" for floor in FLOORS)]
    rows: list[list[Cell]] = [
        [
            (one.name, remark(one.order, "higher" if one.higher_is_better else "lower")), _number(one.value),
            _number(one.order_gain, signed=True), *(_number(one.floors[floor]) for floor in FLOORS),
            *([_number(one.ceiling)] if others else []),
        ]
        for one in compared
    ]  # fmt: skip
    if others:
        heads.append(f"ceiling: other readers ({others})")
    kind = "a drawn phantom with simulated readers, not a patient" if seen.case.drawn else "the uploaded image"
    notes = [
        f"Measured on one image, {kind}: it shows no more than itself. Patches are those of the model's grid. Shuffled "
        f"and random floors are means of {TURNS}; a dash: not defined for these paths.",
        GAIN_NOTE,
    ]
    return Table(f"{seen.model} against {reader}", heads, rows, notes)


def _number(value: float, *, signed: bool = False) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:+.3f}" if signed else f"{value:.3f}"
