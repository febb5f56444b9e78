"""Findings of the hiatus: stomach that has slipped into the chest."""

import numpy as np

from phantoms.case import FindingSpec
from phantoms.finding import SIZE, DrawnFinding, Wording
from phantoms.projection import Ellipsoid
from phantoms.scene import Scene, Shadow, ramp
from phantoms.thorax import DENSER_THAN_LUNG, MU_SOFT


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


HIATAL_HERNIA = DrawnFinding(
    "hiatal hernia",
    hiatal_hernia,
    Wording(("hiatal hernia",), SIZE, countable=True),
    zones=("retrocardiac",),
    midline=True,
)
