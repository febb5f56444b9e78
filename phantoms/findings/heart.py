"""Findings of heart and mediastinum, which change the patient's shape, and of the hiatus behind the heart."""

import numpy as np

from phantoms.case import FindingSpec
from phantoms.finding import DEGREE, SIZE, DrawnFinding, ShapeChange, Wording
from phantoms.projection import Ellipsoid, Field
from phantoms.scene import Scene, Shadow, ramp
from phantoms.thorax import DENSER_THAN_LUNG, MU_SOFT, mediastinal_chord


def _shape_change(scene: Scene, name: str) -> Field:
    """Return attenuation that a change of the mediastinum's shape adds, against the same patient without that
    finding."""
    body = scene.body_without(name)
    before = np.minimum(mediastinal_chord(body, scene.beam, scene.raster), scene.thorax.cavity)
    after = np.minimum(scene.thorax.mediastinal, scene.thorax.cavity)
    return np.asarray((after - before) * DENSER_THAN_LUNG, dtype=np.float32)


def cardiomegaly(scene: Scene, spec: FindingSpec, rng: np.random.Generator) -> Shadow:
    """Draw a heart wider than half the chest; see `_large_heart`."""
    body = scene.body
    right, left = body.heart_edges
    foci = (
        scene.project(left + body.shift_mm - 4.0, body.heart_y_mm + 8.0, 20.0),
        scene.project(0.3 * left + body.shift_mm, body.heart_y_mm, 20.0),
        scene.project(right + body.shift_mm + 3.0, body.heart_y_mm, 10.0),
    )
    return Shadow(_shape_change(scene, spec.name), foci, embedded=True)


def _large_heart(spec: FindingSpec) -> ShapeChange:
    """At once wider than half the chest, then wider with severity."""
    severity = spec.severity
    return ShapeChange(heart_ratio=0.50 + 0.04 * min(severity * 3, 1) + 0.2 * max(severity - 0.2, 0))


CARDIOMEGALY = DrawnFinding(
    "cardiomegaly",
    cardiomegaly,
    Wording(("cardiomegaly", "cardiac enlargement"), DEGREE, zone_spoken=False),
    zones=("central",),
    odds={"A": 0.85, "B": 1.3},
    affinities={
        "edema": 3.5,
        "pleural effusion": 2.2,
        "enlarged cardiomediastinum": 1.6,
        "support devices": 1.5,
    },
    midline=True,
    shape=_large_heart,
    of_heart=True,
)


def enlarged_cardiomediastinum(scene: Scene, spec: FindingSpec, rng: np.random.Generator) -> Shadow:
    """Draw a wide upper mediastinum; see `_wide_mediastinum`."""
    body, y = scene.body, -26.0 * scene.body.scale
    left = float(body.mediastinum[1.0](y)) + 0.7 * body.shift_mm
    right = -float(body.mediastinum[-1.0](y)) + 0.7 * body.shift_mm
    middle = scene.project(0.5 * (left + right), y - 12.0, 0.0)
    foci = (scene.project(left, y, 0.0), scene.project(right, y, 0.0), middle)
    return Shadow(_shape_change(scene, spec.name), foci, embedded=True)


def _wide_mediastinum(spec: FindingSpec) -> ShapeChange:
    """Return the upper mediastinum, and with it the great vessels, spread apart."""
    return ShapeChange(widening=spec.severity**0.7)


ENLARGED_CARDIOMEDIASTINUM = DrawnFinding(
    "enlarged cardiomediastinum",
    enlarged_cardiomediastinum,
    Wording(("mediastinal widening", "mediastinal enlargement"), DEGREE, zone_spoken=False),
    zones=("upper",),
    odds={"A": 0.9, "B": 0.6},
    midline=True,
    shape=_wide_mediastinum,
    of_heart=True,
)


def hiatal_hernia(scene: Scene, spec: FindingSpec, rng: np.random.Generator) -> Shadow:
    """Draw a round stomach behind the heart, with air above a fluid level."""
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


HIATAL_HERNIA = DrawnFinding(
    "hiatal hernia",
    hiatal_hernia,
    Wording(("hiatal hernia",), SIZE, countable=True),
    zones=("retrocardiac",),
    midline=True,
)
