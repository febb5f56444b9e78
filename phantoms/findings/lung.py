"""Findings of the lung: opacity, consolidation, edema, lesion, atelectasis."""

import numpy as np

from phantoms.case import FindingSpec
from phantoms.finding import DEGREE, EXTENT, SIZE, DrawnFinding, ShapeChange, Wording, push_mm
from phantoms.projection import Ellipsoid, Field
from phantoms.scene import Point, Scene, Shadow, noise_field, ramp, smooth_step
from phantoms.thorax import DENSER_THAN_LUNG, MU_SOFT
from phantoms.tubes import splat_tubes

BAND_POINTS = 13
ZONE_LEVELS = {"upper": 0.27, "mid": 0.54, "lower": 0.82, "basal": 0.93}


def zone_point(scene: Scene, rng: np.random.Generator, sign: float, zone: str, across: Point, spread: float) -> Point:
    """Return a random place in a zone of one lung."""
    level = ZONE_LEVELS[zone] + rng.uniform(-spread, spread)
    x, y = scene.body.lung_point(sign, level, float(rng.uniform(*across)))
    return scene.project(x, y, 0.0)


def lung_opacity(scene: Scene, spec: FindingSpec, rng: np.random.Generator) -> Shadow:
    """Draw hazy, patchy ground glass: vessels stay visible through it, borders fade."""
    share, foci = scene.raster.zeros(), []
    s = scene.body.scale
    for sign in spec.signs:
        centre = zone_point(scene, rng, sign, spec.zone, (0.35, 0.75), 0.05)
        radii = (ramp(spec.severity, 26, 46) * s, ramp(spec.severity, 28, 52) * s)
        region = scene.blob(rng, centre, radii, 0.16, 0.9) * scene.on_side(sign)
        patches = 0.8 * noise_field(scene.raster, rng, 13.0) + 0.5 * noise_field(scene.raster, rng, 4.5)
        share += region * smooth_step(0.6 + 0.2 * patches)
        foci.append(centre)
        foci.append((centre[0] + 0.45 * radii[0] * sign, centre[1] + 0.5 * radii[1] * float(rng.choice([-1.0, 1.0]))))
    share *= ramp(spec.severity, 0.0, 0.5)
    return Shadow(scene.filled(share), tuple(foci[:3]))


LUNG_OPACITY = DrawnFinding(
    "lung opacity",
    lung_opacity,
    Wording(("opacity",), EXTENT, countable=True, plurals={"opacity": "opacities"}),
    zones=("upper", "mid", "lower"),
    odds={"A": 1.15, "B": 0.8},
    share_both=0.35,
    hides_others=True,
)


def consolidation(scene: Scene, spec: FindingSpec, rng: np.random.Generator) -> Shadow:
    """Draw dense lobar filling up to a fissure, with air bronchograms; vessels drown in it."""
    sign, s = spec.signs[0], scene.body.scale
    centre = zone_point(scene, rng, sign, spec.zone, (0.34, 0.62), 0.03)
    radii = (ramp(spec.severity, 22, 50) * s, ramp(spec.severity, 20, 42) * s)
    region = scene.blob(rng, centre, radii, 0.16, 0.6) * scene.on_side(sign)
    _, y = scene.raster.grids
    x = scene.raster.grids[0]
    slope = np.float32(rng.normal(0, 0.12))
    fissure = np.float32(centre[1]) + slope * (x - np.float32(centre[0]))
    if spec.zone == "upper":  # sharp lower border
        region = region * np.clip((fissure + 0.55 * radii[1] - y) / 11.0 + 0.5, 0, 1)
    elif spec.zone == "mid":  # sharp upper border
        region = region * np.clip((y - fissure + 0.5 * radii[1]) / 11.0 + 0.5, 0, 1)
    region = np.asarray(region, dtype=np.float32)
    mottled = 1.0 - 0.18 * smooth_step(0.5 + 0.5 * noise_field(scene.raster, rng, 6.0))
    share = region * mottled * ramp(spec.severity, 0.0, 0.92)
    delta = scene.filled(np.minimum(share, 0.95)) - _bronchogram(scene, rng, sign, centre, radii, region, spec.severity)
    other = (centre[0] + 0.6 * sign * radii[0], centre[1] + 0.3 * radii[1])
    hilar = (centre[0] - 0.6 * sign * radii[0], centre[1] - 0.25 * radii[1])
    return Shadow(delta, (centre, other, hilar), gate=1.0 - np.clip(1.1 * share, 0.0, 0.95))


CONSOLIDATION = DrawnFinding(
    "consolidation",
    consolidation,
    Wording(("consolidation",), EXTENT),
    zones=("upper", "mid", "lower"),
    odds={"A": 0.9, "B": 1.4},
    affinities={"pleural effusion": 1.6, "lung opacity": 0.7},
    hides_others=True,
    denied=3,
)


def _bronchogram(
    scene: Scene, rng: np.random.Generator, sign: float, centre: Point, radii: Point, region: Field, severity: float
) -> Field:
    """Air in the bronchi, seen as dark branches against the filled lung, as attenuation taken away [H, W]."""
    start = np.array(scene.project(sign * 42.0 * scene.body.scale, 22.0 * scene.body.scale, 0.0))
    curves, goal = [], np.array(centre)
    for _ in range(6):
        end = goal + rng.uniform(-0.75, 0.75, 2) * np.array(radii)
        fork = start + (goal - start) * rng.uniform(0.35, 0.7) + rng.normal(0, 4.0, 2)
        t = np.linspace(0, 1, 8)[:, None]
        path = (1 - t) ** 2 * start + 2 * t * (1 - t) * fork + t**2 * end
        curves.append(np.concatenate([path, np.zeros((8, 1))], axis=1))
    radius = np.tile(np.linspace(2.6, 1.2, 8) * scene.body.scale, (6, 1))
    mass = MU_SOFT * np.pi * radius**2 * min(1.6 * severity, 1.2)
    return splat_tubes(scene.raster, scene.beam, np.stack(curves), radius, mass, gate=region)


def edema(scene: Scene, spec: FindingSpec, rng: np.random.Generator) -> Shadow:
    """Draw perihilar haze on both sides, cuffed bronchi, septal lines at the bases, swollen vessels."""
    s, level = scene.body.scale, spec.severity
    share, foci, cuffs = scene.raster.zeros(), [], scene.raster.zeros()
    for sign in (-1.0, 1.0):
        hilum = scene.project(sign * 56 * s + scene.body.shift_mm, 24 * s, 0)
        wing = scene.blob(rng, hilum, (ramp(level, 38, 66) * s, ramp(level, 52, 92) * s), 0.14, 1.3)
        share += wing * scene.on_side(sign)
        foci.append((hilum[0] + 8 * sign * s, hilum[1]))
        for _ in range(5):
            at = (hilum[0] + sign * rng.uniform(-6, 26) * s, hilum[1] + rng.uniform(-34, 34) * s)
            _ring(cuffs, scene, at, rng.uniform(3.2, 5.2) * s)
    clouds = smooth_step(0.66 + 0.1 * noise_field(scene.raster, rng, 11.0) + 0.08 * noise_field(scene.raster, rng, 3.5))
    delta = scene.filled(np.minimum(share, 1.0) * clouds * np.float32(ramp(level, -0.02, 0.48)))
    inside = np.clip(scene.thorax.lung / 30.0, 0.0, 1.0)
    delta += cuffs * inside * np.float32(ramp(level, 0.02, 0.16))
    delta += _septal_lines(scene, rng, inside) * np.float32(ramp(level, 0.15, 1.0))
    base = scene.project(*scene.body.lung_point(float(rng.choice([-1.0, 1.0])), 0.86, 0.85), 0.0)
    return Shadow(delta, (foci[0], foci[1], base), gate=1.0 - 0.35 * np.minimum(share, 1.0) * np.float32(level))


EDEMA = DrawnFinding(
    "edema",
    edema,
    Wording(("pulmonary edema", "edema"), DEGREE),
    zones=("perihilar",),
    odds={"A": 0.85, "B": 0.9},
    affinities={
        "pleural effusion": 3.0,
        "support devices": 1.8,
        "lung opacity": 0.15,
        "lung lesion": 0.5,
        "consolidation": 0.5,
    },
    share_both=1.0,
    shape=lambda spec: ShapeChange(congestion=spec.severity),
    bedside=True,
)


def _ring(out: Field, scene: Scene, centre: Point, radius_mm: float) -> None:
    """The wall of a bronchus seen on end, added in place."""
    window = scene.raster.window(centre, 2 * radius_mm)
    x, y = scene.raster.grids
    away = np.hypot(x[window] - np.float32(centre[0]), y[window] - np.float32(centre[1]))
    out[window] += np.exp(-(((away - radius_mm) / 1.3) ** 2))


def _septal_lines(scene: Scene, rng: np.random.Generator, inside: Field) -> Field:
    """Short horizontal lines that reach the chest wall at the bases, as attenuation [H, W]."""
    curves = []
    for sign in (-1.0, 1.0):
        for _ in range(11):
            level = rng.uniform(0.62, 1.0)
            x, y = scene.body.lung_point(sign, level, 0.97)
            length = rng.uniform(9, 17) * scene.body.scale
            curves.append([[x, y, 0], [x - sign * 0.5 * length, y + rng.normal(0, 0.8), 0], [x - sign * length, y, 0]])
    points = np.array(curves)
    width = np.full(points.shape[:2], 0.8)
    return splat_tubes(scene.raster, scene.beam, points, width, width * 18 * DENSER_THAN_LUNG, gate=inside)


def lung_lesion(scene: Scene, spec: FindingSpec, rng: np.random.Generator) -> Shadow:
    """Draw a round nodule or mass, lobulated; a subtle one is small and faint."""
    sign = spec.signs[0]
    centre = zone_point(scene, rng, sign, spec.zone, (0.25, 0.78), 0.09)
    radius = ramp(spec.severity, 3.0, 26.0, 1.2) * scene.body.scale
    squeeze, solid = rng.uniform(0.85, 1.0), ramp(spec.severity, 0.4, 1.0)
    nodule = Ellipsoid(centre, (radius * 1.15, radius * 1.15 * squeeze), radius, float(rng.uniform(0, np.pi)))
    window = scene.raster.window(centre, radius * 1.6)
    wobble = noise_field(scene.raster, rng, max(0.5 * radius, 3.0))[window] * np.float32(0.07)
    at = np.sqrt(nodule.radius_squared(scene.raster, window)) + wobble
    chord = 2 * radius * np.sqrt(np.maximum(1.0 - at * at, 0.0))
    room = np.clip(scene.thorax.lung[window] / 25.0, 0.0, 1.0)
    delta = scene.raster.zeros()
    delta[window] = np.float32(solid * 1.25 * DENSER_THAN_LUNG) * chord * room
    edge = float(rng.uniform(0, 2 * np.pi))
    rim = (centre[0] + radius * float(np.cos(edge)), centre[1] + radius * float(np.sin(edge)))
    return Shadow(delta, (centre, rim) if spec.severity >= 0.45 else (centre,))


LUNG_LESION = DrawnFinding(
    "lung lesion",
    lung_lesion,
    Wording(("nodule", "lung lesion"), SIZE, countable=True),
    zones=("upper", "mid", "lower"),
    odds={"A": 1.05, "B": 0.7},
    hides_others=True,
    alarm=0.1,
)


def atelectasis(scene: Scene, spec: FindingSpec, rng: np.random.Generator) -> Shadow:
    """Draw plate-like bands and a denser base (the raised dome and the shift are in `_volume_loss`)."""
    s, curves, foci = scene.body.scale, [], []
    share = scene.raster.zeros()
    for sign in spec.signs:
        tilt = sign * rng.normal(0.0, 0.2)
        bands = 1 + int(spec.severity > 0.25) + int(spec.severity > 0.5)
        for band in range(bands):
            zone = spec.zone if band == 0 else "lower"
            x, y = scene.body.lung_point(sign, ZONE_LEVELS[zone] - 0.07 * band, float(rng.uniform(0.42, 0.62)))
            length, slope = ramp(spec.severity, 30, 76) * rng.uniform(0.85, 1.15) * s, tilt + rng.normal(0.0, 0.05)
            t = np.linspace(-0.5, 0.5, BAND_POINTS)
            bow = rng.uniform(-7, 7) * (1 - 4 * t * t)
            curves.append(np.stack([x + length * t, y + slope * length * t + bow, 0 * t], axis=-1))
            if band == 0 or len(spec.signs) == 1:
                foci.append(scene.project(x, y, 0.0))
        dome = scene.body.domes[sign]
        base = scene.project(dome.x0_mm, dome.top_mm - 4.0, 0.0)
        share += scene.blob(rng, base, (46 * s, ramp(spec.severity, 12, 26) * s), 0.1, 1.2) * scene.on_side(sign)
    points = np.stack(curves)
    fade = np.sin(np.linspace(0.02, 0.98, BAND_POINTS) * np.pi) ** 0.7
    gauge = np.tile(ramp(spec.severity, 1.5, 5.0) * s * (0.45 + 0.55 * fade), (len(points), 1))
    depth_mm = ramp(spec.severity, 4, 62) * fade  # the plate runs along the beam
    inside = np.clip(scene.thorax.lung / 40.0, 0.0, 1.0)
    delta = splat_tubes(scene.raster, scene.beam, points, gauge, 2 * gauge * depth_mm * DENSER_THAN_LUNG, gate=inside)
    delta += scene.filled(share * np.float32(ramp(spec.severity, -0.02, 0.32)))
    end = points[0][1 if spec.signs[0] > 0 else -2]
    return Shadow(delta, (*foci[:2], scene.project(end[0], end[1], 0.0)))


def _volume_loss(spec: FindingSpec) -> ShapeChange:
    """Return how the dome rises on its side and the mediastinum is drawn towards it."""
    raised_mm = 30.0 * max(spec.severity - 0.12, 0.0)
    return ShapeChange(shift_mm=push_mm(spec, 10.0, above=0.4), raised_mm=dict.fromkeys(spec.signs, raised_mm))


ATELECTASIS = DrawnFinding(
    "atelectasis",
    atelectasis,
    Wording(("atelectasis", "volume loss"), DEGREE),
    zones=("basal", "lower", "mid"),
    odds={"A": 0.95, "B": 0.7},
    affinities={"pleural effusion": 2.0},
    share_both=0.2,
    hides_others=True,
    shape=_volume_loss,
)
