"""The viewer's value: a scanpath becomes typed JSON, and what does not fit is refused."""

import json

import numpy as np
import pytest
from gradio.data_classes import FileData
from PIL import Image
from pydantic import ValidationError

from gazevlm_core.geometry import PatchGrid, Window
from gazevlm_core.path_style import STYLE
from gazevlm_core.records import Glimpse
from gazevlm_core.scanpath import Fixation, Scanpath
from web.viewer.component import ScanpathViewer, page_head
from web.viewer.payload import (
    MOST_STEPS,
    ROLES,
    ViewerFixation,
    ViewerGlimpse,
    ViewerGrid,
    ViewerPayload,
    changed_path,
    viewer_path,
)

GRID = PatchGrid(2, 4)
PATH = Scanpath((Fixation(0.125, 0.25, 210.0, 0.0), Fixation(0.875, 0.75)), "model")
FILE = FileData(path="image.png")


def test_path_keeps_what_is_known_and_invents_nothing() -> None:
    heat = np.array([[0.1] * 8, [0.123456] * 8, [9.0] * 8])
    path = viewer_path(PATH, "Model", "model", grid=GRID, probabilities=[0.5, 0.25], patch_probabilities=heat[:2])
    assert path.fixations[0] == ViewerFixation(
        x=0.125, y=0.25, duration_ms=210.0, onset_ms=0.0, probability=0.5, patch_index=0, zone="right upper"
    )
    assert path.fixations[1] == ViewerFixation(x=0.875, y=0.75, probability=0.25, patch_index=7, zone="left lower")
    assert path.patch_probabilities == [[0.1] * 8, [0.1235] * 8]
    bare = viewer_path(PATH, "Reader", "reader")
    assert bare.fixations[1] == ViewerFixation(x=0.875, y=0.75, zone="left lower")
    assert bare.patch_probabilities is None


def test_lists_of_other_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="Model: 1 values for 2 fixations"):
        viewer_path(PATH, "Model", "model", probabilities=[0.5])


@pytest.mark.parametrize("place", [{"x": 1.0, "y": 0.5}, {"x": -0.1, "y": 0.5}, {"x": float("nan"), "y": 0.5}])
def test_places_outside_the_image_are_refused(place: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        ViewerFixation(**place)


def test_paths_need_an_image_and_heat_maps_need_a_grid() -> None:
    path = viewer_path(PATH, "Model", "model", patch_probabilities=np.full((2, 8), 0.1))
    with pytest.raises(ValidationError, match="need an image"):
        ViewerPayload(paths=[path], grid=ViewerGrid(rows=2, cols=4))
    with pytest.raises(ValidationError, match="heat map of 0 patches"):
        ViewerPayload(image=FILE, paths=[path])
    with pytest.raises(ValidationError, match="heat map of 6 patches"):
        ViewerPayload(image=FILE, paths=[path], grid=ViewerGrid(rows=2, cols=3))
    assert ViewerPayload(image=FILE, paths=[path], grid=ViewerGrid(rows=2, cols=4)).paths == [path]


def test_glimpses_belong_to_fixations_and_what_was_not_seen_is_told() -> None:
    window = Window(0.75, 0.5, 1.0000000000000002, 1.0)  # as rounding leaves it
    path = viewer_path(PATH, "Model", "model", glimpses=[Glimpse(1, window)])
    assert path.glimpses == [ViewerGlimpse(step=1, left=0.75, upper=0.5, right=1.0, lower=1.0)]
    assert path.unseen.endswith("were not looked at.")
    with pytest.raises(ValidationError, match="belongs to a fixation"):
        ViewerPayload(image=FILE, paths=[viewer_path(PATH, "Model", "model", glimpses=[Glimpse(2, window)])])


def test_a_changed_path_is_read() -> None:
    assert changed_path({"turn": 3, "path": [[0.25, 0.5, None], [0, 0.99, 210]]}) == (
        3, (Fixation(0.25, 0.5), Fixation(0.0, 0.99, 210.0)),
    )  # fmt: skip
    assert changed_path({"turn": 1, "path": None}) == (1, None)
    assert changed_path({"turn": 1}) == (1, None)


@pytest.mark.parametrize("data", [
    None, [], {}, {"turn": 0, "path": None}, {"turn": True}, {"turn": "1"}, {"turn": 2**31},
    {"turn": 1, "path": []}, {"turn": 1, "path": "0.1,0.2"}, {"turn": 1, "path": [[0.1, 0.2, None]] * (MOST_STEPS + 1)},
    {"turn": 1, "path": [[0.1, 0.2]]}, {"turn": 1, "path": [[1.0, 0.2, None]]},
    {"turn": 1, "path": [[-0.1, 0.2, None]]},
    {"turn": 1, "path": [[float("nan"), 0.2, None]]}, {"turn": 1, "path": [[0.1, 0.2, -1]]},
    {"turn": 1, "path": [[0.1, 0.2, 1e9]]}, {"turn": 1, "path": [["x", 0.2, None]]}, {"turn": 1, "path": [None]},
    {"turn": 1, "path": [[0.1, {}, None]]}, {"turn": 1, "path": [[0.1, 0.2, float("inf")]]},
    {"turn": 1, "path": [[10**400, 0.2, None]]}, {"turn": 1, "path": [[0.1, 0.2, 10**400]]},
])  # fmt: skip
def test_a_changed_path_that_is_none_is_refused_in_a_sentence(data: object) -> None:
    with pytest.raises(ValueError, match=r"(reload the page|move it)[^.]*\.$"):
        changed_path(data)


def test_image_is_stored_without_loss_and_grey_where_it_is_grey() -> None:
    viewer = ScanpathViewer(render=False)
    rng = np.random.default_rng(0)
    grey = Image.fromarray(rng.integers(0, 256, (40, 60), np.uint8))
    color = Image.fromarray(rng.integers(0, 256, (40, 60, 3), np.uint8))
    for image, mode in ((grey, "L"), (grey.convert("RGB"), "L"), (color, "RGB")):
        shown = viewer.show(image)
        assert shown.image is not None
        with Image.open(shown.image.path) as stored:
            assert stored.mode == mode
            assert (np.asarray(stored.convert("RGB")) == np.asarray(image.convert("RGB"))).all()
        assert (shown.width_px, shown.height_px) == (60, 40)
        assert shown.colored == (mode == "RGB"), "no regions of a chest are named there"


def test_every_role_has_colours_in_order_of_lightness() -> None:
    assert set(STYLE.roles) == set(ROLES)
    for colors in [role.colors for role in STYLE.roles.values()] + [STYLE.heat]:
        lightness = [0.2126 * red + 0.7152 * green + 0.0722 * blue for red, green, blue in colors]
        assert lightness == sorted(lightness)


def test_the_page_draws_by_the_style_of_the_overlays() -> None:
    sent = page_head().split("GazeViewer.style = ")[-1].removesuffix(";</script>")
    style = json.loads(sent)
    assert style["roles"]["reader"]["colors"] == [list(color) for color in STYLE.roles["reader"].colors]
    assert style["halo"] == list(STYLE.halo)
    assert style["screen"]["line"] == STYLE.screen.line
    assert "overlay" not in style


def test_schema_names_the_parts() -> None:
    schema = ScanpathViewer(render=False).api_info()
    assert {"image", "width_px", "height_px", "grid", "paths", "autoplay"} <= set(schema["properties"])
    assert schema["$defs"]["ViewerFixation"]["required"] == ["x", "y"]
