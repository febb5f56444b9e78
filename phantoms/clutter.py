"""Things on a radiograph that are no finding: side marker, monitoring leads, buttons, old calcifications."""

import numpy as np

from phantoms.case import Case
from phantoms.projection import Beam, Ellipsoid, Field, Raster
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
    height_px = 0.045 * max(raster.height_px, raster.width_px)
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
    """Attenuation of harmless extras [H, W]: monitoring leads on bedside views, buttons, calcified nodes."""
    rng, s, out = case.stream("clutter"), body.scale, raster.zeros()
    if rng.random() < (0.45 if case.technique.anteroposterior else 0.04):
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
