"""A diagnosis, and the truth of an example, as paths in the viewer."""

from diagnose.examples import EXAMPLES, example_reading
from gazevlm_core.records import Diagnosis
from gazevlm_core.scanpath import Scanpath
from gazevlm_core.zones import zone_of
from web.viewer.payload import Role, ViewerGrid, ViewerPath, viewer_path

NAMES: dict[Role, str] = {"model": "Model", "second model": "Second model", "reader": "Simulated reader"}


def viewer_grid(diagnosis: Diagnosis) -> ViewerGrid:
    """The grid that the model looked at."""
    return ViewerGrid(rows=diagnosis.grid.rows, cols=diagnosis.grid.cols)


def model_paths(diagnosis: Diagnosis, role: Role) -> list[ViewerPath]:
    """The model's path with its heat maps; nothing where its gaze weights are untrained."""
    if diagnosis.scanpath is None:
        return []
    return [
        viewer_path(
            diagnosis.scanpath,
            NAMES[role],
            role,
            grid=diagnosis.grid,
            probabilities=diagnosis.fixation_probabilities,
            patch_probabilities=diagnosis.patch_probabilities,
            zones=_zones(diagnosis.scanpath),
        )
    ]


def reader_path(example: int) -> ViewerPath:
    """How a simulated reader looks at an example, with the patches of no model."""
    reading = example_reading(example)
    return viewer_path(reading, NAMES["reader"], "reader", zones=_zones(reading))


def picture_description(example: int | None) -> str:
    """What is shown, for screen readers; an upload's name is nobody's business."""
    return "Uploaded image" if example is None else f"Drawn radiograph: {EXAMPLES[example].caption}"


def _zones(scanpath: Scanpath) -> list[str]:
    return [zone_of(fixation) for fixation in scanpath]
