"""Findings of the bones: broken ribs."""

import numpy as np

from phantoms.case import FindingSpec
from phantoms.finding import DrawnFinding, Wording
from phantoms.projection import Ellipsoid, Field
from phantoms.scene import Point, Scene, Shadow, ramp
from phantoms.skeleton import BONE_PROFILE, RIB_POINTS, rib_curve, rib_gauge
from phantoms.tubes import splat_tubes

RIBS_OF_ZONE = {"upper": (3, 4, 5), "lateral": (5, 6, 7), "lower": (7, 8, 9)}


def fracture(scene: Scene, spec: FindingSpec, rng: np.random.Generator) -> Shadow:
    """Draw broken ribs: a gap, a step between the fragments, callus and a swollen pleura at the site."""
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


FRACTURE = DrawnFinding(
    "fracture",
    fracture,
    Wording(
        ("rib fracture",),
        {"subtle": ("subtle", "faint"), "moderate": ("moderate",), "severe": ("severe", "displaced")},
        countable=True,
        zone_of_lung=False,
    ),
    zones=tuple(RIBS_OF_ZONE),
    odds={"A": 0.95, "B": 0.6},
    alarm=0.05,
    denied=4,
)


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
