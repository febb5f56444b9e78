"""Findings of heart, mediastinum, bones and hiatus."""

from dataclasses import replace

import numpy as np

from phantoms.anatomy import build_body
from phantoms.prevalence import FindingSpec
from phantoms.projection import Ellipsoid, Field
from phantoms.scene import Point, Scene, Shadow, ramp
from phantoms.skeleton import BONE_PROFILE, RIB_POINTS, rib_curve, rib_gauge
from phantoms.thorax import DENSER_THAN_LUNG, MU_SOFT, mediastinal_chord
from phantoms.tubes import splat_tubes

RIBS_OF_ZONE = {"upper": (3, 4, 5), "lateral": (5, 6, 7), "lower": (7, 8, 9)}


def _shape_change(scene: Scene, name: str) -> Field:
    """Attenuation that a change of the mediastinum's shape adds, against the same patient without that finding."""
    others = tuple(spec for spec in scene.case.findings if spec.name != name)
    body = build_body(replace(scene.case, findings=others))
    before = np.minimum(mediastinal_chord(body, scene.beam, scene.raster), scene.thorax.cavity)
    after = np.minimum(scene.thorax.mediastinal, scene.thorax.cavity)
    return np.asarray((after - before) * DENSER_THAN_LUNG, dtype=np.float32)


def cardiomegaly(scene: Scene, spec: FindingSpec, rng: np.random.Generator) -> Shadow:
    """A heart wider than half the chest; the shape itself is set in `anatomy`."""
    body = scene.body
    right, left = body.heart_edges
    foci = (
        scene.project(left + body.shift_mm - 4.0, body.heart_y_mm + 8.0, 20.0),
        scene.project(0.3 * left + body.shift_mm, body.heart_y_mm, 20.0),
        scene.project(right + body.shift_mm + 3.0, body.heart_y_mm, 10.0),
    )
    return Shadow(_shape_change(scene, spec.name), foci, embedded=True)


def enlarged_cardiomediastinum(scene: Scene, spec: FindingSpec, rng: np.random.Generator) -> Shadow:
    """A wide upper mediastinum; the shape itself is set in `anatomy`."""
    body, y = scene.body, -26.0 * scene.body.scale
    left = float(body.mediastinum[1.0](y)) + 0.7 * body.shift_mm
    right = -float(body.mediastinum[-1.0](y)) + 0.7 * body.shift_mm
    middle = scene.project(0.5 * (left + right), y - 12.0, 0.0)
    foci = (scene.project(left, y, 0.0), scene.project(right, y, 0.0), middle)
    return Shadow(_shape_change(scene, spec.name), foci, embedded=True)


def fracture(scene: Scene, spec: FindingSpec, rng: np.random.Generator) -> Shadow:
    """Broken ribs: a gap, a step between the fragments, callus and a swollen pleura at the site."""
    sign, s = spec.signs[0], scene.body.scale
    numbers = RIBS_OF_ZONE[spec.zone]
    count = 1 if spec.severity < 0.2 else 2 if spec.severity < 0.5 else 3
    first = int(rng.integers(0, len(numbers) - count + 1))
    turn = float(rng.uniform(0.40, 0.52) if spec.zone == "lateral" else rng.uniform(0.24, 0.44))
    delta, foci = scene.raster.zeros(), []
    for number in numbers[first : first + count]:
        curve = rib_curve(scene.case, scene.body, number, sign)
        at = int(np.clip(round((turn + rng.normal(0, 0.015)) * RIB_POINTS), 6, RIB_POINTS - 8))
        delta += _broken_rib(scene, spec.severity, curve, at, float(rng.choice([-1.0, 1.0])))
        site = scene.project(*curve[at])
        foci.append(site)
        swelling = scene.project(curve[at, 0] - sign * 7.0 * s, curve[at, 1] + 2.0 * s, curve[at, 2])
        window, chord = Ellipsoid(swelling, (9.0 * s, 15.0 * s), 0.5).chord(scene.raster)
        delta[window] += chord * np.float32(ramp(spec.severity, -0.06, 0.32, 0.8))
        along = curve[at + 1, :2] - curve[at - 1, :2]
        lump = (ramp(spec.severity, 5.0, 16.0) * s, ramp(spec.severity, 4.0, 9.5) * s)
        turned = float(np.arctan2(along[1], along[0]))
        _add_callus(delta, scene, site, lump, turned, ramp(spec.severity, -0.15, 0.66, 0.75))
    return Shadow(delta, tuple(foci[:3]))


def _broken_rib(scene: Scene, severity: float, curve: np.ndarray, at: int, direction: float) -> Field:
    """Change of attenuation when the outer fragment of a rib is displaced [H, W]."""
    bone = scene.case.habitus.bone
    tangent = curve[at + 1, :2] - curve[at - 1, :2]
    normal = np.array([-tangent[1], tangent[0], 0.0]) / (np.linalg.norm(tangent) + 1e-9)
    step = direction * ramp(severity, -1.0, 14.0) * scene.body.scale
    along = np.arange(RIB_POINTS)
    fading = np.exp(-np.maximum(along - at, 0) / 9.0) * (along >= at)  # the displacement heals out along the rib
    moved = curve + step * fading[:, None] * normal
    pairs = np.stack([curve, moved])
    half_width, mass = rib_gauge(scene.body, pairs, bone)
    mass = mass * np.array([[-1.0], [1.0]])
    gap = np.exp(-(((along - at + 0.5) / 1.3) ** 2)) * min(2.6 * severity, 1.0)
    mass[1] = mass[1] * (1.0 - gap)
    return splat_tubes(scene.raster, scene.beam, pairs, half_width, mass, BONE_PROFILE)


def _add_callus(out: Field, scene: Scene, site: Point, axes: Point, angle: float, strength: float) -> None:
    """A fuzzy spindle of new bone around a break, added in place."""
    window, chord = Ellipsoid(site, axes, 0.5, angle).chord(scene.raster)
    out[window] += np.float32(strength) * chord * chord


def hiatal_hernia(scene: Scene, spec: FindingSpec, rng: np.random.Generator) -> Shadow:
    """A round stomach behind the heart, with air above a fluid level."""
    s = scene.body.scale
    radius = ramp(spec.severity, 15.0, 46.0, 0.8) * s
    floor = 0.5 * (scene.body.domes[-1.0].top_mm + scene.body.domes[1.0].top_mm)
    centre = scene.project(rng.normal(6, 6) * s + scene.body.shift_mm, floor - 0.62 * radius, -45.0)
    sac = Ellipsoid(centre, (radius, radius * 0.9), radius * 0.8)
    window, chord = sac.chord(scene.raster)
    inner = Ellipsoid(centre, (radius - 2.5, radius * 0.9 - 2.5), (radius - 2.5) * 0.8)
    _, y = scene.raster.grids
    level = centre[1] - radius * rng.uniform(-0.12, 0.25)
    delta, air = scene.raster.zeros(), scene.raster.zeros()
    lung = np.clip(scene.thorax.lung[window] / 15.0, 0.25, 1.0)  # beside the spine it displaces lung
    delta[window] = chord * lung * np.float32(DENSER_THAN_LUNG * ramp(spec.severity, 0.25, 1.0, 0.6))
    inner_window, hollow = inner.chord(scene.raster)
    air[inner_window] = hollow * np.clip((level - y[inner_window]) / 1.5 + 0.5, 0.0, 1.0)
    delta -= air * np.float32(MU_SOFT * ramp(spec.severity, 0.25, 1.0, 0.6))
    return Shadow(delta, (centre, (centre[0], level), (centre[0] + 0.85 * radius, centre[1])))
