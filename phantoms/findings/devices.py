"""Support devices: pacemaker, central venous catheter, endotracheal, nasogastric and chest tubes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from gazevlm_core.findings import Side
from phantoms.case import FindingSpec
from phantoms.finding import Draw, DrawnFinding, Wording
from phantoms.projection import Field
from phantoms.scene import Point, Scene, Shadow, ramp
from phantoms.tubes import shell_profile, splat_tubes

Path = NDArray[np.float64]


def smooth_path(points: list[tuple[float, float, float]], count: int = 60) -> Path:
    """Return a smooth curve [count, 3] through points in mm."""
    stops = np.array(points, dtype=np.float64)
    at = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(stops, axis=0), axis=1))])
    return np.asarray(PchipInterpolator(at, stops)(np.linspace(0.0, at[-1], count)))


def _tube(scene: Scene, path: Path, radius_mm: float, mass: float, hollow: bool = False) -> Field:
    """Return attenuation of a tube of constant gauge [H, W]; mass in mm."""
    gauge = np.full((1, len(path)), radius_mm)
    profile = shell_profile(0.72, 0.15)
    weight = np.full((1, len(path)), mass)
    if hollow:
        return splat_tubes(scene.raster, scene.beam, path[None], gauge, weight, profile)
    return splat_tubes(scene.raster, scene.beam, path[None], gauge, weight)


def _visible_foci(scene: Scene, path: Path, shares: tuple[float, ...]) -> tuple[Point, ...]:
    """Points at shares of a path's length."""
    return tuple(scene.project(*path[round(share * (len(path) - 1))]) for share in shares)


def pacemaker(scene: Scene, spec: FindingSpec, rng: np.random.Generator) -> Shadow:
    """Draw a generator below the clavicle and one or two leads through the superior vena cava into the heart."""
    body, sign, s = scene.body, spec.signs[0], scene.body.scale
    shift = body.shift_mm
    can = scene.project(sign * (104 + rng.normal(0, 5)) * body.width, (-34 + rng.normal(0, 5)) * s, 85.0)
    x, y = scene.raster.grids
    window = scene.raster.window(can, 34.0)
    turn = float(sign * rng.uniform(0.1, 0.5))
    dx, dy = x[window] - np.float32(can[0]), y[window] - np.float32(can[1])
    u, v = np.cos(turn) * dx + np.sin(turn) * dy, np.cos(turn) * dy - np.sin(turn) * dx
    size = ramp(spec.severity, 0.85, 1.05)
    at = (np.abs(u / (23.0 * size)) ** 3 + np.abs(v / (20.0 * size)) ** 3) ** (1 / 3)
    inside = np.clip((1.0 - at) * 12.0, 0.0, 1.0)
    delta = scene.raster.zeros()
    contrast = ramp(spec.severity, 0.12, 1.9, 1.3)
    delta[window] = np.float32(contrast) * inside * (0.75 + 0.25 * np.clip((at - 0.45) * 8, 0, 1) * (v < 0))
    apex = (0.72 * body.heart_edges[1] + shift, body.heart_y_mm + 22 * s, 45.0)
    atrium = (-22 * s + shift, body.heart_y_mm - 22 * s, 40.0)
    start = (sign * 90 * body.width, -42 * s, 80.0)
    vein = (sign * 40 * s, -62 * s, 40.0)
    cava = (-22 * s + shift, -18 * s, 15.0)
    lower = (-24 * s + shift, 48 * s, 20.0)
    paths = [smooth_path([start, vein, cava, lower, (4 * s + shift, body.heart_y_mm + 24 * s, 40.0), apex])]
    if rng.random() < 0.6:
        paths.append(smooth_path([start, (vein[0], vein[1] + 2, 40), (cava[0] + 2, cava[1], 15), lower, atrium]))
    for path in paths:
        delta += _tube(scene, path, 1.0, ramp(spec.severity, 0.12, 1.7, 0.8))
    return Shadow(delta, (can, _visible_foci(scene, paths[0], (1.0,))[0], _visible_foci(scene, paths[0], (0.45,))[0]))


def central_venous_catheter(scene: Scene, spec: FindingSpec, rng: np.random.Generator) -> Shadow:
    """Draw it from the neck or below the clavicle into the superior vena cava."""
    body, sign, s = scene.body, spec.signs[0], scene.body.scale
    tip = (-21 * s + body.shift_mm, rng.uniform(2, 40) * s, 10.0)
    cava = (-22 * s + body.shift_mm, -22 * s, 10.0)
    if rng.random() < 0.5:
        start = [(sign * 44 * s, -165 * s, 15.0), (sign * 34 * s, -110 * s, 15.0), (sign * 27 * s, -68 * s, 15.0)]
    else:
        start = [(sign * 128 * body.width, -52 * s, 50.0), (sign * 80 * s, -66 * s, 40.0)]
        start.append((sign * 34 * s, -60 * s, 25.0))
    path = smooth_path([*start, cava, tip])
    delta = _tube(scene, path, 1.3, ramp(spec.severity, 0.15, 2.8, 0.8))
    return Shadow(delta, _visible_foci(scene, path, (1.0, 0.5, 0.15)))


def endotracheal_tube(scene: Scene, spec: FindingSpec, rng: np.random.Generator) -> Shadow:
    """Draw it in the trachea, its tip above the carina, with an opaque stripe."""
    s, shift = scene.body.scale, scene.body.shift_mm
    tip_y = -rng.uniform(14, 52) * s
    stops = [(0, -200 * s, 8), (0.2 * shift, -130 * s, 5), (0.4 * shift + 1, -80 * s, 0)]
    path = smooth_path([*stops, (0.6 * shift + 1.5, tip_y, -3)])
    stripe = path + np.array([3.2, 0.0, 0.0])
    delta = _tube(scene, path, 5.0, ramp(spec.severity, 0.3, 5.0, 0.8), hollow=True)
    delta += _tube(scene, stripe, 0.9, ramp(spec.severity, 0.12, 2.2, 0.8))
    return Shadow(delta, _visible_foci(scene, path, (1.0, 0.7)))


def nasogastric_tube(scene: Scene, spec: FindingSpec, rng: np.random.Generator) -> Shadow:
    """Draw it down the oesophagus into the stomach."""
    s, shift, dome = scene.body.scale, scene.body.shift_mm, scene.body.domes[1.0]
    stops = [(4 * s, -200 * s, -10), (6, -110 * s, -15), (7 + 0.6 * shift, -40 * s, -25), (5 + shift, 30 * s, -30)]
    stops += [(10 + shift, 95 * s, -25), (22 * s + shift, dome.top_mm + 8 * s, -15)]
    stops += [(46 * s, dome.top_mm + 32 * s, 10), (rng.uniform(56, 80) * s, dome.top_mm + rng.uniform(34, 58) * s, 20)]
    path = smooth_path([(float(x), float(y), float(z)) for x, y, z in stops], 90)
    delta = _tube(scene, path, 2.0, ramp(spec.severity, 0.15, 3.6, 0.8), hollow=True)
    return Shadow(delta, _visible_foci(scene, path, (0.97, 0.6, 0.3)))


def chest_tube(scene: Scene, spec: FindingSpec, rng: np.random.Generator) -> Shadow:
    """Draw it through the side of the chest wall, up or down along the pleura."""
    body, sign, s = scene.body, spec.signs[0], scene.body.scale
    entry_y = body.level(rng.uniform(0.5, 0.68))
    wall = float(body.half_width(entry_y))
    upwards = rng.random() < 0.6
    end_level, across = (rng.uniform(0.1, 0.25), rng.uniform(0.35, 0.6)) if upwards else (rng.uniform(0.85, 0.95), 0.25)
    end_x, end_y = body.lung_point(sign, float(end_level), float(across))
    bend = (sign * (wall - 12), entry_y + (-22 if upwards else 12) * s, 20.0)
    stops = [(sign * (wall + 55), entry_y + 22 * s, 20.0), (sign * (wall + 4), entry_y, 20.0), bend]
    stops += [(0.5 * (bend[0] + end_x) + sign * 14, 0.5 * (bend[1] + end_y), 10.0), (end_x, end_y, 0.0)]
    path = smooth_path(stops)
    delta = _tube(scene, path, 4.0, ramp(spec.severity, 0.25, 4.4, 0.8), hollow=True)
    delta += _tube(scene, path + np.array([0.0, 2.2, 0.0]), 0.8, ramp(spec.severity, 0.12, 2.0, 0.8))
    return Shadow(delta, _visible_foci(scene, path, (1.0, 0.5, 0.2)))


# Kind -> how it is drawn, and its share.
DEVICES: dict[str, tuple[Draw, float]] = {
    "central venous catheter": (central_venous_catheter, 0.28),
    "pacemaker": (pacemaker, 0.24),
    "endotracheal tube": (endotracheal_tube, 0.17),
    "nasogastric tube": (nasogastric_tube, 0.16),
    "chest tube": (chest_tube, 0.15),
}


def support_device(scene: Scene, spec: FindingSpec, rng: np.random.Generator) -> Shadow:
    """Draw the device named by the spec's detail; a subtle one is thin and faint."""
    draw, _ = DEVICES[spec.detail]
    return draw(scene, spec, rng)


def _device_side(side: Side, kind: str, earlier: Sequence[FindingSpec], rng: np.random.Generator) -> Side:
    """Tubes down the middle have no side, and most pacemakers lie on the left."""
    if kind in ("endotracheal tube", "nasogastric tube"):
        return "midline"
    if kind == "chest tube":  # it drains what is there
        drained = [spec.side for spec in earlier if spec.name in ("pneumothorax", "pleural effusion")]
        return drained[0] if drained and drained[0] in ("left", "right") else side
    return "left" if kind == "pacemaker" and rng.random() < 0.6 else side


SUPPORT_DEVICES = DrawnFinding(
    "support devices",
    support_device,
    Wording(("support device",), {}, countable=True, zone_spoken=False, seen="in place"),
    zones=("central",),
    odds={"A": 0.95, "B": 1.6},
    kinds={kind: share for kind, (_, share) in DEVICES.items()},
    choose_side=_device_side,
    bedside=True,
    alarm=-0.2,  # a tube is expected
)
