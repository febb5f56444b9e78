"""Things on a radiograph that are no finding: side marker, leads, buttons, folds, the chin, old calcifications."""

import numpy as np

from phantoms.case import RANDOMISED, Case
from phantoms.projection import Beam, Ellipsoid, Field, Raster
from phantoms.scene import noise_field
from phantoms.shape import Body
from phantoms.tubes import splat_tubes

MARKER_ATTENUATION = 6.0  # lead
STROKES = {
    "L": (((0.0, 0.0), (0.0, 1.0)), ((0.0, 1.0), (0.62, 1.0))),
    "R": (
        ((0.0, 0.0), (0.0, 1.0)),
        ((0.0, 0.0), (0.42, 0.02)),
        ((0.42, 0.02), (0.6, 0.26)),
        ((0.6, 0.26), (0.42, 0.5)),
        ((0.42, 0.5), (0.0, 0.52)),
        ((0.25, 0.52), (0.64, 1.0)),
    ),
}


def side_marker(out: Field, case: Case, raster: Raster) -> None:
    """Set a lead letter near an upper corner of its side; written into the attenuation in place."""
    technique = case.technique
    height_px = technique.marker_size * max(raster.height_px, raster.width_px)
    if height_px == 0.0:
        return
    x, y = technique.marker_at
    left = (0.86 + 0.06 * x) if technique.marker == "L" else (0.04 + 0.06 * x)
    corner = np.array([left * raster.width_px, (0.05 + 0.12 * y) * raster.height_px])
    reach = 0.085 * height_px
    rows = slice(max(int(corner[1] - 3 * reach), 0), int(corner[1] + height_px + 3 * reach))
    cols = slice(max(int(corner[0] - 3 * reach), 0), int(corner[0] + height_px + 3 * reach))
    view = out[rows, cols]
    v, u = np.mgrid[rows.start : rows.start + view.shape[0], cols.start : cols.start + view.shape[1]] + 0.5
    away = np.full(view.shape, np.inf)
    for start, end in STROKES[technique.marker]:
        a, b = corner + height_px * np.array(start), corner + height_px * np.array(end)
        along = b - a
        t = np.clip(((u - a[0]) * along[0] + (v - a[1]) * along[1]) / (along @ along), 0.0, 1.0)
        away = np.minimum(away, np.hypot(u - a[0] - t * along[0], v - a[1] - t * along[1]))
    letter = np.clip(reach - away + 0.5, 0.0, 1.0).astype(np.float32)
    view[:] = np.maximum(view, letter * MARKER_ATTENUATION)


def clutter(case: Case, body: Body, beam: Beam, raster: Raster) -> Field:
    """Return attenuation of harmless extras [H, W]: monitoring leads on bedside views, buttons, calcified nodes."""
    rng, s, out = case.stream("clutter"), body.scale, raster.zeros()
    share = 0.2 if case.domain == RANDOMISED else 0.45 if case.technique.anteroposterior else 0.04
    if rng.random() < share:
        out += _monitoring_leads(rng, body, beam, raster)
    if rng.random() < 0.06:
        for y in np.arange(-60, 160, 52) * s + rng.normal(0, 6):
            at = beam.project(np.array([rng.normal(10, 3), y, 110.0]))
            window, chord = Ellipsoid((float(at[0]), float(at[1])), (4.2, 4.2), 1.0).chord(raster)
            out[window] += (chord > 0.2) * np.float32(0.22)
    if rng.random() < 0.22:  # old granuloma or node
        for _ in range(int(rng.integers(1, 4))):
            sign = float(rng.choice([-1.0, 1.0]))
            place = np.array([sign * rng.uniform(34, 56) * s + body.shift_mm, rng.uniform(-5, 40) * s, 0.0])
            at = beam.project(place)
            radius = rng.uniform(1.2, 2.4) * s
            window, chord = Ellipsoid((float(at[0]), float(at[1])), (radius, radius), radius).chord(raster)
            out[window] += chord * np.float32(0.07)
    return out


def _monitoring_leads(rng: np.random.Generator, body: Body, beam: Beam, raster: Raster) -> Field:
    """Electrodes on the skin with wires that leave the image: discs with a stud tell them from devices inside."""
    s, out, wires = body.scale, raster.zeros(), []
    for sign, y in ((-1.0, -52.0), (1.0, -52.0), (1.0, 128.0))[: int(rng.integers(2, 4))]:
        at = np.array([sign * rng.uniform(92, 132) * body.width, y * s + rng.normal(0, 10), 112.0])
        spot = beam.project(at)
        window, chord = Ellipsoid((float(spot[0]), float(spot[1])), (5.5, 5.5), 1.0).chord(raster)
        out[window] += (chord > 0.1) * np.float32(0.10)
        window, chord = Ellipsoid((float(spot[0]), float(spot[1])), (2.4, 2.4), 1.0).chord(raster)
        out[window] += (chord > 0.1) * np.float32(0.5)
        leave = np.array([sign * 190.0, y * s + rng.uniform(40, 130), 112.0])
        t = np.linspace(0, 1, 24)[:, None]
        wires.append(at + (leave - at) * t + np.array([0, rng.uniform(10, 36), 0]) * np.sin(np.pi * t))
    points = np.stack(wires)
    gauge = np.full(points.shape[:2], 0.7)
    return out + splat_tubes(raster, beam, points, gauge, gauge * 0.55)


def surroundings(case: Case, body: Body, beam: Beam, raster: Raster, unevenness: float) -> Field:
    """Return attenuation of what lies on and around the patient of domain R [H, W]: chin, folds, cables, snaps,
    bedding."""
    rng, s = case.stream("surroundings"), body.scale
    out = raster.zeros()
    if case.domain != RANDOMISED:
        return out
    x, y = raster.grids
    slopes = unevenness * rng.normal(0.0, 0.7, 2)
    out += np.float32(slopes[0] / 150.0) * x + np.float32(slopes[1] / 150.0) * y
    for scale_mm in (150.0, 60.0):
        out += np.float32(unevenness * rng.uniform(0.2, 1.0)) * noise_field(raster, rng, scale_mm)
    if rng.random() < 0.3:  # chin and jaw
        chin = Ellipsoid((rng.normal(0, 14) * s, body.apex_mm - rng.uniform(50, 105) * s), (58 * s, 50 * s), 45.0)
        window, chord = chin.chord(raster)
        out[window] += np.sqrt(chord / 90.0) * np.float32(rng.uniform(0.6, 2.2))
    for _ in range(int(rng.integers(0, 4)) if rng.random() < 0.45 else 0):  # folds of skin, cloth and sheets
        sign, tilt = rng.choice([-1.0, 1.0]), rng.uniform(-0.5, 0.5)
        at = sign * rng.uniform(50, 150) * body.width + tilt * (y - rng.uniform(-60, 120)) * np.float32(1.0)
        beyond = (x - at - np.float32(rng.normal(0, 0.0015)) * y * y) * np.float32(rng.choice([-1.0, 1.0]))
        level = np.clip((np.float32(rng.uniform(40, 110)) - np.abs(y - np.float32(rng.uniform(-80, 140)))) / 30.0, 0, 1)
        fold = np.exp(-np.maximum(beyond, 0.0) / np.float32(rng.uniform(4, 30))) * np.clip(beyond / 1.2 + 0.5, 0, 1)
        out += fold * level * np.float32(rng.uniform(0.03, 0.16))
    if case.habitus.breast > 0 and rng.random() < 0.3:  # nipples
        for sign in (-1.0, 1.0):
            at_mm = (sign * rng.uniform(75, 100) * body.width, rng.uniform(85, 115) * s)
            window, chord = Ellipsoid(at_mm, (5.0, 5.0), 5.0).chord(raster)
            out[window] += chord * np.float32(0.012)
    return out + _cables(rng, body, beam, raster)


def _cables(rng: np.random.Generator, body: Body, beam: Beam, raster: Raster) -> Field:
    """Wires on the skin that cross the field, and the snaps of a gown."""
    out, s = raster.zeros(), body.scale
    count = int(rng.integers(1, 5)) if rng.random() < 0.2 else 0
    if count:
        ends = rng.uniform((-240, -190, 100), (240, 260, 120), (2, count, 3)) * s
        bows = rng.normal(0, 45.0, (2, count, 3)) * np.array([1.0, 1.0, 0.0]) * s
        t = np.linspace(0, 1, 40)[None, :, None]
        wires = ends[0][:, None] * (1 - t) + ends[1][:, None] * t
        wires = wires + bows[0][:, None] * np.sin(np.pi * t) + bows[1][:, None] * np.sin(2 * np.pi * t)
        gauge = np.broadcast_to(rng.uniform(0.5, 1.2, (count, 1)), wires.shape[:2])
        out += splat_tubes(raster, beam, wires, gauge, gauge * rng.uniform(0.1, 0.9))
    if rng.random() < 0.12:
        for _ in range(int(rng.integers(2, 9))):
            at = (float(rng.uniform(-200, 200) * s), float(rng.uniform(-150, 200) * s))
            window, chord = Ellipsoid(at, (3.6, 3.6), 1.0).chord(raster)
            out[window] += (chord > 0.2) * np.float32(rng.uniform(0.2, 1.2))
    return out
