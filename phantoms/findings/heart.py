"""Findings of the heart and the mediastinum: changes of the patient's shape."""

import numpy as np

from phantoms.case import FindingSpec
from phantoms.finding import DEGREE, DrawnFinding, ShapeChange, Wording
from phantoms.projection import Field
from phantoms.scene import Scene, Shadow
from phantoms.thorax import DENSER_THAN_LUNG, mediastinal_chord


def _shape_change(scene: Scene, name: str) -> Field:
    """Attenuation that a change of the mediastinum's shape adds, against the same patient without that finding."""
    body = scene.body_without(name)
    before = np.minimum(mediastinal_chord(body, scene.beam, scene.raster), scene.thorax.cavity)
    after = np.minimum(scene.thorax.mediastinal, scene.thorax.cavity)
    return np.asarray((after - before) * DENSER_THAN_LUNG, dtype=np.float32)


def cardiomegaly(scene: Scene, spec: FindingSpec, rng: np.random.Generator) -> Shadow:
    """A heart wider than half the chest; see `_large_heart`."""
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
    """A wide upper mediastinum; see `_wide_mediastinum`."""
    body, y = scene.body, -26.0 * scene.body.scale
    left = float(body.mediastinum[1.0](y)) + 0.7 * body.shift_mm
    right = -float(body.mediastinum[-1.0](y)) + 0.7 * body.shift_mm
    middle = scene.project(0.5 * (left + right), y - 12.0, 0.0)
    foci = (scene.project(left, y, 0.0), scene.project(right, y, 0.0), middle)
    return Shadow(_shape_change(scene, spec.name), foci, embedded=True)


def _wide_mediastinum(spec: FindingSpec) -> ShapeChange:
    """The upper mediastinum, and with it the great vessels, spread apart."""
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
