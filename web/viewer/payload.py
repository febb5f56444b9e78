"""The viewer's value: an image and scanpaths over it, as typed JSON with a schema."""

import json
from collections.abc import Sequence
from functools import cache
from typing import Annotated, Literal, Self, get_args

import numpy as np
from gradio.data_classes import FileData, GradioModel
from pydantic import Field, model_validator

from gazevlm_core.geometry import PatchGrid
from gazevlm_core.records import Glimpse
from gazevlm_core.scanpath import Fixation, Scanpath, fixations_at
from gazevlm_core.zones import unseen_words, zone_of

Role = Literal["model", "reader", "second model"]
ROLES: tuple[Role, ...] = get_args(Role)  # each has a style in `gazevlm_core.path_style`
PROBABILITY_DIGITS = 4
MOST_STEPS = 1000  # of a path that a page may ask for; models allow far fewer

Fraction = Annotated[float, Field(ge=0, lt=1)]
Edge = Annotated[float, Field(ge=0, le=1)]
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


class ViewerGlimpse(GradioModel):
    """A place of a path that the model saw closely: its step, from 0, and the window as fractions of the image."""

    step: Annotated[int, Field(ge=0)]
    left: Edge
    upper: Edge
    right: Edge
    lower: Edge


class ViewerPath(GradioModel):
    """One scanpath, in viewing order.

    `patch_probabilities` [steps][patches] are its heat maps, `glimpses` what was seen closely, where there are any;
    `unseen` says which regions were not looked at.
    """

    name: str
    role: Role
    fixations: Annotated[list[ViewerFixation], Field(min_length=1)]
    patch_probabilities: list[list[Probability]] | None = None
    glimpses: list[ViewerGlimpse] = Field(default_factory=list)
    unseen: str = ""


class ViewerSteering(GradioModel):
    """Whether the first path can be changed by hand, and which change of it this is.

    Args:
        most_steps: of a path; 0 where no change is taken.
        why: in a sentence, where it cannot be changed.
        turn: of the page's change that this value answers; 0 for the model's own path.
        failed: whether that change came to nothing; the path is the one before.
        kept: of a change that failed, the turn of the change whose path this is; 0 for the model's own path.
        remark: what became of the places of that change, in a sentence; "" where they are the path.
    """

    most_steps: Annotated[int, Field(ge=0)] = 0
    why: str = ""
    turn: Annotated[int, Field(ge=0)] = 0
    failed: bool = False
    kept: Annotated[int, Field(ge=0)] = 0
    remark: str = ""


class ViewerPayload(GradioModel):
    """What the viewer shows; `in_step` begins with the k-th fixations of all paths together, whatever their times, and
    viewers with the same `linked` show the same step, the same part of the image and the same grey values. Of a
    colored image, which is no radiograph, it names no regions of the chest that were not looked at. `beside` brings
    other paths beside the first one, which stays as it is on the screen where it can be changed by hand.

    Raises:
        ValueError: paths without an image, or heat maps or glimpses that do not fit the path and the grid.
    """

    image: FileData | None = None
    width_px: Annotated[int, Field(ge=1)] = 1
    height_px: Annotated[int, Field(ge=1)] = 1
    description: str = ""
    grid: ViewerGrid | None = None
    paths: list[ViewerPath] = Field(default_factory=list)
    autoplay: bool = False
    in_step: bool = False
    colored: bool = False
    linked: str = ""
    beside: bool = False
    steering: ViewerSteering | None = None

    @classmethod
    @cache
    def schema_text(cls) -> str:
        """Return JSON schema of a value; Gradio asks each viewer for it at every look at the page's configuration."""
        return json.dumps(cls.model_json_schema())

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.paths and self.image is None:
            raise ValueError("scanpaths need an image to lie on")
        for path in self.paths:
            if any(one.step >= len(path.fixations) for one in path.glimpses):
                raise ValueError(f"{path.name}: a glimpse belongs to a fixation of the path")
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
    glimpses: Sequence[Glimpse] = (),
) -> ViewerPath:
    """Return a scanpath as the viewer shows it.

    Args:
        scanpath: N fixations.
        name: what the path is called on the page.
        role: whose path it is.
        grid: gives the patch of each fixation.
        probabilities: N, of each fixation's patch.
        patch_probabilities: [>= N, patches], one heat map per fixation.
        glimpses: of the path.

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
    seen = [
        ViewerGlimpse(step=one.step, **{edge: min(at, 1.0) for edge, at in one.window._asdict().items()})  # rounding
        for one in glimpses
    ]
    return ViewerPath(
        name=name, role=role, fixations=fixations, patch_probabilities=heat, glimpses=seen,
        unseen=unseen_words(scanpath.fixations),
    )  # fmt: skip


def changed_path(data: object) -> tuple[int, tuple[Fixation, ...] | None]:
    """Read what the viewer's event `input` brings: which change of the path it is, and the path.

    Args:
        data: {"turn": number, "path": [[x, y, dwell in ms or null], ...] or null}, from a browser: anything.

    Returns:
        The turn, and the fixations; None for the model's own path.

    Raises:
        ValueError: what is wrong, in one sentence.
    """
    turn = data.get("turn") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(turn, int) or isinstance(turn, bool) or not 0 < turn < 2**31:
        raise ValueError("A change of the path came without its number; reload the page.")
    path = data.get("path")
    if path is None:
        return turn, None
    if not isinstance(path, list) or not 0 < len(path) <= MOST_STEPS:
        raise ValueError(f"A changed path must have 1 to {MOST_STEPS} places; reload the page.")
    return turn, tuple(map(_fixation, path))


def _fixation(place: object) -> Fixation:
    """Return one place of a changed path."""
    try:
        if not isinstance(place, list | tuple) or len(place) != 3:
            raise ValueError(place)
        return fixations_at([place])[0]
    except ValueError:
        raise ValueError("A place of the changed path is not on the image; move it, or reload the page.") from None
