"""Bones: ribs, clavicles, scapulae, humeri and spine, as attenuation beyond that of soft tissue."""

import numpy as np
from numpy.typing import NDArray

from phantoms.case import Case
from phantoms.projection import Beam, Ellipsoid, Field, Raster
from phantoms.shape import Body
from phantoms.thorax import MU_CORTEX, MU_MARROW, MU_SOFT
from phantoms.tubes import Profile, shell_profile, splat_tubes

RIB_DROPS = (54.0, 58.0, 72.0, 84.0, 94.0, 100.0, 103.0, 103.0, 100.0, 94.0, 84.0)  # from spine to front end
RIB_ENDS = (0.93, 0.86, 0.83, 0.81, 0.79, 0.77, 0.745, 0.71, 0.66, 0.58, 0.5)  # as a share of the half turn
VERTEBRA_STEP_MM = 23.5
CARINA_VERTEBRA = 5.0  # the carina lies at the lower edge of the fifth thoracic vertebra
RIB_POINTS = 48
RIB_INNER = 0.8
CORTEX_EXTRA, MARROW_EXTRA = MU_CORTEX - MU_SOFT, MU_MARROW - MU_SOFT
PROCESS_EXTRA = 0.007  # 1/mm, the spongy bone of vertebral processes beyond soft tissue
BONE_PROFILE: Profile = shell_profile(RIB_INNER, MARROW_EXTRA / CORTEX_EXTRA)


def vertebra_y(body: Body, number: float) -> float:
    """Return y of the middle of a thoracic vertebra, counted from 1; spacing grows downwards."""
    steps = number - CARINA_VERTEBRA
    return body.scale * (VERTEBRA_STEP_MM * steps + 0.35 * steps * abs(steps))


def rib_curve(case: Case, body: Body, number: int, sign: float) -> NDArray[np.float64]:
    """Return the centre line [RIB_POINTS, 3] of a rib (1 to 11), from the spine round to its front end."""
    rng = case.stream(f"rib {number}")  # both sides share a stream: ribs are nearly symmetric
    drop = RIB_DROPS[number - 1] * body.scale * (1.0 + 0.05 * rng.normal())
    drop *= 1.0 - 0.08 * case.habitus.inspiration
    head = vertebra_y(body, number) - 9.0 * body.scale + rng.normal(0, 1.0)
    turn = np.linspace(0.03 if number > 1 else 0.09, RIB_ENDS[number - 1], RIB_POINTS) * np.pi
    lateral_y = head + 0.5 * drop
    if number == 1:
        half_width, head = 72.0 * body.width, head + 12.0 * body.scale
    else:
        half_width = float(body.half_width(max(lateral_y, body.level(0.045)))) + 3.5
    half_depth = max(float(body.half_depth(lateral_y + 12.0)), 40.0 * body.scale) + 3.0
    rise = (6.0 if number > 1 else 2.0) * body.scale
    bow = rise * np.sin(np.minimum(turn / (0.5 * np.pi), 1.0) * np.pi)  # the neck rises from the spine
    x = sign * half_width * np.sign(np.sin(turn)) * np.abs(np.sin(turn)) ** 0.86
    y = head + drop * 0.5 * (1.0 - np.cos(turn)) - bow + sign * rng.normal(0, 0.8)
    z = -half_depth * np.cos(turn)
    return np.stack([x, y, z], axis=-1)


def rib_gauge(body: Body, curves: NDArray[np.float64], bone: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return projected half width and mass [B, n] of ribs: 13 mm high and 7 mm thick, seen on edge at the side."""
    tangent = np.gradient(curves[..., :2], axis=1)
    tangent /= np.linalg.norm(tangent, axis=-1, keepdims=True) + 1e-9
    high, thick = 6.6 * body.scale, 3.7 * body.scale
    half_width = np.hypot(high * tangent[..., 0], thick * tangent[..., 1])
    area = np.pi * high * thick
    mineral = CORTEX_EXTRA * (1 - RIB_INNER**2) + MARROW_EXTRA * RIB_INNER**2
    taper = np.linspace(1.22, 0.62, curves.shape[1])  # ribs thin out towards the front and end in cartilage
    taper = taper * np.clip(np.arange(curves.shape[1], 0, -1) / 5.0, 0.0, 1.0)
    taper = taper * np.clip((np.arange(curves.shape[1]) + 1) / 3.0, 0.0, 1.0)
    return half_width, np.broadcast_to(1.35 * area * mineral * bone * taper, half_width.shape)


def ribs(case: Case, body: Body, beam: Beam, raster: Raster) -> Field:
    """Return all ribs."""
    pairs = 10 if case.stream("rib count").random() < 0.4 else 11
    curves = np.stack([rib_curve(case, body, n, sign) for sign in (-1.0, 1.0) for n in range(1, pairs + 1)])
    half_width, mass = rib_gauge(body, curves, case.habitus.bone)
    mass = mass * np.where(np.arange(len(curves)) % pairs == 0, 0.6, 1.0)[:, None]  # the first rib is thin
    return splat_tubes(raster, beam, curves, half_width, mass, BONE_PROFILE)


def clavicle_curve(case: Case, body: Body, sign: float) -> NDArray[np.float64]:
    """Return the centre line [n, 3] of a clavicle, from the sternum outwards: an S seen from the front."""
    rng = case.stream("clavicles")
    s, w = body.scale, body.width
    rise = rng.uniform(6, 30) + (14.0 if case.technique.anteroposterior else 0.0) + sign * rng.normal(0, 2.5)
    t = np.linspace(0.0, 1.0, 24)
    x = sign * (14.0 + 142.0 * t) * w
    y = (-58.0 - rise * t - 7.0 * np.sin(2 * np.pi * t * 0.95)) * s
    z = 68.0 - 62.0 * t**1.3 + 8 * np.sin(np.pi * t)
    return np.stack([x, y, z], axis=-1)


def shoulder_girdle(case: Case, body: Body, beam: Beam, raster: Raster) -> Field:
    """Return clavicles, scapulae and humeri."""
    bone, s = case.habitus.bone, body.scale
    curves = np.stack([clavicle_curve(case, body, sign) for sign in (-1.0, 1.0)])
    along = np.linspace(0, 1, curves.shape[1])
    gauge = np.interp(along, [0, 0.06, 0.14, 0.4, 0.75, 0.95, 1], [5, 8.2, 6.6, 5.4, 5.8, 6.8, 4.5]) * s
    half_width = np.broadcast_to(gauge, curves.shape[:2])
    mineral = CORTEX_EXTRA * (1 - RIB_INNER**2) + MARROW_EXTRA * RIB_INNER**2
    out = splat_tubes(raster, beam, curves, half_width, np.pi * half_width**2 * mineral * bone * 1.15, BONE_PROFILE)
    return out + _scapulae(case, body, beam, raster)


def _scapulae(case: Case, body: Body, beam: Beam, raster: Raster) -> Field:
    """Blades with their borders and spines, and the humeri beside them."""
    rng, s, bone = case.stream("scapulae"), body.scale, case.habitus.bone
    inward = rng.uniform(0, 26) + (14.0 if case.technique.anteroposterior else 0.0)
    sides = [_scapula_curves(body, sign, inward) for sign in (-1.0, 1.0)]
    borders = np.concatenate([curves for curves, _, _ in sides])
    gauges = np.tile([1.8, 4.4, 4.2, 2.6], 2)[:, None] * s * np.ones((1, borders.shape[1]))
    weights = np.tile([0.3, 0.33, 0.3, 0.27], 2)[:, None] * CORTEX_EXTRA * bone
    out = splat_tubes(raster, beam, borders, gauges, np.pi * gauges**2 * weights, BONE_PROFILE)
    blades = np.concatenate([blade for _, blade, _ in sides])
    breadth = np.full(blades.shape[:2], 7.2 * s)
    out += splat_tubes(raster, beam, blades, breadth, breadth * 2 * 1.36 * CORTEX_EXTRA * bone)
    for sign in (-1.0, 1.0):
        head = beam.project(np.array([sign * 186 * body.width, -66 * s, -15]))
        window, chord = Ellipsoid((float(head[0]), float(head[1])), (23 * s, 24 * s), 22 * s).chord(raster)
        out[window] += np.sqrt(chord / 44.0) * np.float32(0.34 * bone)
    shafts = np.stack([shaft for _, _, shaft in sides])
    gauge = np.full(shafts.shape[:2], 11.0 * s)
    return out + splat_tubes(raster, beam, shafts, gauge, np.pi * gauge**2 * CORTEX_EXTRA * 0.36 * bone, BONE_PROFILE)


def _scapula_curves(
    body: Body, sign: float, inward: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Borders and spine [4, n, 3], strips of the blade [12, m, 3] and the humerus [n, 3] of one side."""
    s, w = body.scale, body.width
    top = np.array([sign * (128 * w - inward), -76 * s, -80])
    tip = np.array([sign * (140 * w - inward * 1.1), 48 * s, -88])
    glenoid = np.array([sign * 163 * w, -62 * s, -30])
    acromion = np.array([sign * 172 * w, -96 * s, -25])
    medial = _bowed(top, tip, np.array([-sign * 5.0, 0, 0]))
    lateral = _bowed(glenoid, tip, np.array([-sign * 9.0, 0, 0]))
    spine_of_scapula = _bowed(top, acromion, np.array([0, 4.0, -12.0]))
    upper = _bowed(top, glenoid, np.array([0, -5.0, 0]))
    rows = np.linspace(0.05, 0.95, 12)
    blade = np.stack([np.linspace(_at(medial, t), _at(lateral, t), 4) for t in rows])
    shaft = _bowed(np.array([sign * 190 * w, -58 * s, -15]), np.array([sign * 232 * w, 130 * s, -10]), np.zeros(3))
    return np.stack([medial, lateral, spine_of_scapula, upper]), blade, shaft


def _bowed(start: NDArray[np.float64], end: NDArray[np.float64], bow: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a curve [16, 3] between two points that bows out by `bow` in the middle."""
    t = np.linspace(0.0, 1.0, 16)[:, None]
    return start + (end - start) * t + bow * np.sin(np.pi * t)


def _at(curve: NDArray[np.float64], t: float) -> NDArray[np.float64]:
    """Return the point at a share t of a curve's points."""
    return curve[round(t * (len(curve) - 1))]


def spine(case: Case, body: Body, beam: Beam, raster: Raster) -> Field:
    """Return vertebral bodies between discs, pedicles, spinous and transverse processes."""
    out = raster.zeros()
    rng, s, bone = case.stream("spine"), body.scale, case.habitus.bone
    sway, phase = rng.normal(0, 2.6), rng.uniform(0, 2 * np.pi)
    processes, gauges = [], []
    for number in range(-1, 14):
        x, y, z = sway * np.sin(number / 4.0 + phase), vertebra_y(body, number), -58.0 - 9 * np.sin(number / 4)
        half_width = (14.0 + 0.62 * max(number, 1)) * s
        half_height = (0.41 * VERTEBRA_STEP_MM + 0.22 * number) * s
        at = beam.project(np.array([x, y, z]))
        _add_vertebra(out, raster, (float(at[0]), float(at[1])), half_width, half_height, bone)
        for sign in (-1.0, 1.0):
            pedicle = x + sign * half_width * 0.62
            top, wing = y - 0.45 * half_height, y - 0.5 * half_height
            processes.append([[pedicle, top, z - 15], [pedicle, top + 6.5 * s, z - 15]])
            near, far = x + sign * (half_width - 4 * s), x + sign * (half_width + 14 * s)
            processes.append([[near, wing, z - 20], [far, wing, z - 25]])
            gauges += [3.0 * s, 3.8 * s]
        processes.append([[x, y + 0.3 * half_height, z - 45], [x, y + 1.25 * half_height, z - 50]])
        gauges.append(2.4 * s)
    width = np.repeat(np.array(gauges)[:, None], 2, axis=1)
    return out + splat_tubes(raster, beam, np.array(processes), width, PROCESS_EXTRA * bone * np.pi * width**2)


def _add_vertebra(
    out: Field, raster: Raster, centre: tuple[float, float], half_width: float, half_height: float, bone: float
) -> None:
    """A waisted box with dense end plates, added in place."""
    window = raster.window(centre, 1.2 * half_width)
    x, y = raster.grids
    v = np.abs(y[window] - np.float32(centre[1])) / np.float32(half_height)
    waist = half_width * (0.9 + 0.1 * np.minimum(v, 1.0) ** 2)
    u = np.abs(x[window] - np.float32(centre[0])) / waist
    inside = np.sqrt(np.maximum(1.0 - u**4, 0.0)) * np.clip((1.0 - v) * 5.0, 0.0, 1.0)
    plates = np.exp(-(((v - 0.93) / 0.08) ** 2))
    out[window] += inside * np.float32(0.10 * bone) * (1.0 + 0.5 * plates)
