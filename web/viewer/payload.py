"""The viewer's value: an image and scanpaths over it, as typed JSON with a schema."""

from collections.abc import Sequence
from typing import Annotated, Literal, Self, get_args

import numpy as np
from gradio.data_classes import FileData, GradioModel
from pydantic import Field, model_validator

from gazevlm_core.geometry import PatchGrid
from gazevlm_core.scanpath import Scanpath
from gazevlm_core.zones import zone_of

Role = Literal["model", "reader", "second model"]
ROLES: tuple[Role, ...] = get_args(Role)  # each has a style in `gazevlm_core.path_style`
PROBABILITY_DIGITS = 4

Fraction = Annotated[float, Field(ge=0, lt=1)]
Probability = Annotated[float, Field(ge=0, le=1)]
Milliseconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class ViewerFixation(GradioModel):
    """One fixation; x and y are fractions of the upright image, and None is not known."""

    x: Fraction
    y: Fraction
    duration_ms: Milliseconds | None = None
    onset_ms: Milliseconds | None = None
    probability: Probability | None = None
    patch_index: Annotated[int, Field(ge=0)] | None = None
    zone: str | None = None


class ViewerGrid(GradioModel):
    """The merged patch grid."""

    rows: Annotated[int, Field(ge=1)]
    cols: Annotated[int, Field(ge=1)]


class ViewerPath(GradioModel):
    """One scanpath, in viewing order; `patch_probabilities` [steps][patches] are its heat maps, where there are any."""

    name: str
    role: Role
    fixations: Annotated[list[ViewerFixation], Field(min_length=1)]
    patch_probabilities: list[list[Probability]] | None = None


class ViewerPayload(GradioModel):
    """What the viewer shows; `in_step` begins with the k-th fixations of all paths together, whatever their times.

    Raises:
        ValueError: paths without an image, or heat maps that do not fit the path and the grid.
    """

    image: FileData | None = None
    width_px: Annotated[int, Field(ge=1)] = 1
    height_px: Annotated[int, Field(ge=1)] = 1
    description: str = ""
    message: str = ""
    grid: ViewerGrid | None = None
    paths: list[ViewerPath] = Field(default_factory=list)
    autoplay: bool = False
    in_step: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.paths and self.image is None:
            raise ValueError("scanpaths need an image to lie on")
        for path in self.paths:
            if path.patch_probabilities is None:
                continue
            patches = self.grid.rows * self.grid.cols if self.grid else 0
            rows = path.patch_probabilities
            if len(rows) != len(path.fixations) or any(len(row) != patches for row in rows):
                raise ValueError(f"{path.name}: one heat map of {patches} patches per fixation is needed")
        return self


def viewer_path(
    scanpath: Scanpath,
    name: str,
    role: Role,
    *,
    grid: PatchGrid | None = None,
    probabilities: Sequence[float] | None = None,
    patch_probabilities: np.ndarray | None = None,
) -> ViewerPath:
    """A scanpath as the viewer shows it.

    Args:
        scanpath: N fixations.
        name: what the path is called on the page.
        role: whose path it is.
        grid: gives the patch of each fixation.
        probabilities: N, of each fixation's patch.
        patch_probabilities: [>= N, patches], one heat map per fixation.

    Raises:
        ValueError: probabilities of another length than the path.
    """
    size = len(scanpath)
    if probabilities is not None and len(probabilities) != size:
        raise ValueError(f"{name}: {len(probabilities)} values for {size} fixations")
    fixations = [
        ViewerFixation(
            x=fixation.x,
            y=fixation.y,
            duration_ms=fixation.duration_ms,
            onset_ms=fixation.onset_ms,
            probability=None if probabilities is None else float(probabilities[step]),
            patch_index=None if grid is None else grid.index_of(fixation),
            zone=zone_of(fixation),
        )
        for step, fixation in enumerate(scanpath)
    ]
    heat = None
    if patch_probabilities is not None:
        heat = np.round(patch_probabilities[:size].astype(float), PROBABILITY_DIGITS).tolist()
    return ViewerPath(name=name, role=role, fixations=fixations, patch_probabilities=heat)
