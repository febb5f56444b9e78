"""From habitus and findings to a patient's shape, and to the places a reader visits.

Findings that change the shape (a large heart, a wide mediastinum, a raised dome, a shifted mediastinum) act here, by
their `ShapeChange`, so that every shadow follows.
"""

import numpy as np

from phantoms.case import RANDOMISED, Case
from phantoms.findings import DRAWN_FINDINGS
from phantoms.projection import Beam
from phantoms.shape import Body, Dome, Heart, Table

LUNG_LEVELS = (0.0, 0.012, 0.04, 0.1, 0.2, 0.32, 0.45, 0.6, 0.75, 0.9, 1.0, 1.1)
HALF_WIDTHS = (46.0, 62.0, 78.0, 98.0, 116.0, 127.5, 134.5, 139.0, 142.0, 143.0, 143.0, 142.0)
MEDIAL_EDGES = (50.0, 34.0, 26.0, 19.0, 14.0, 10.0, 7.0, 5.0, 4.0, 4.0, 4.0, 4.0)
HALF_DEPTHS = (0.0, 22.0, 36.0, 50.0, 66.0, 78.0, 86.0, 91.0, 92.0, 90.0, 86.0, 80.0)
MEDIASTINUM_LEVELS = (-140.0, -95.0, -60.0, -30.0, 0.0, 35.0, 80.0, 130.0, 200.0)
MEDIASTINUM_RIGHT = (36.0, 31.0, 27.0, 29.0, 32.0, 34.0, 34.0, 34.0, 34.0)
MEDIASTINUM_LEFT = (36.0, 31.0, 26.0, 25.0, 29.0, 34.0, 35.0, 35.0, 34.0)


def build_body(case: Case) -> Body:
    """Return the shape of the patient, with the findings that change it."""
    habitus, rng = case.habitus, case.stream("body")
    changes = [DRAWN_FINDINGS[spec.name].shape(spec) for spec in case.findings]
    scale, width = habitus.scale, habitus.scale * habitus.width
    apex, height = -100.0 * scale, 274.0 * scale
    levels = tuple(apex + height * level for level in LUNG_LEVELS)
    widths = tuple(value * width for value in HALF_WIDTHS)
    raised_mm = {sign: sum(change.raised_mm.get(sign, 0.0) for change in changes) for sign in (-1.0, 1.0)}
    domes = _domes(case, rng, scale, width, raised_mm)
    ratio = max((habitus.heart_ratio, *(change.heart_ratio for change in changes)))
    heart = _heart(rng, ratio * 2 * widths[-2], domes, scale)
    widening = max((change.widening for change in changes), default=0.0)
    return Body(
        scale=scale,
        width=width,
        apex_mm=apex,
        lung_height_mm=height,
        half_width=Table.through(levels, widths),
        medial_edge=Table.through(levels, tuple(value * width for value in MEDIAL_EDGES)),
        half_depth=Table.through(levels, tuple(value * scale for value in HALF_DEPTHS)),
        domes=domes,
        mediastinum=_mediastinum(rng, scale, widening),
        shift_mm=sum((change.shift_mm for change in changes), 0.0),
        heart=heart,
        great_vessels=_great_vessels(habitus.unfolding, scale, widening),
        congestion=max((change.congestion for change in changes), default=0.0),
        mediastinal_edge=case.stream("mediastinum").uniform(0.6, 1.5) if case.domain == RANDOMISED else 0.625,
    )


def _domes(
    case: Case, rng: np.random.Generator, scale: float, width: float, raised_mm: dict[float, float]
) -> dict[float, Dome]:
    """Right dome a little above the left, each raised as findings have it."""
    base = 118.0 * scale + 15.0 * case.habitus.inspiration
    gap = float(np.clip(rng.normal(11.0, 5.0), -3.0, 24.0))
    if case.domain == RANDOMISED:
        gap = 11.0 + 2.0 * (gap - 11.0)
    bend = rng.uniform(0.0058, 0.0078) / scale
    domes = {}
    for sign in (-1.0, 1.0):
        top = base + (gap if sign > 0 else 0.0) - raised_mm[sign]
        x0 = sign * (66.0 * width + rng.normal(0, 4.0))
        side_bend = float(bend * rng.uniform(0.92, 1.1))
        domes[sign] = Dome(float(top), float(x0), side_bend, 0.0030 / scale, 28.0 * scale)
    return domes


def _heart(rng: np.random.Generator, breadth_mm: float, domes: dict[float, Dome], scale: float) -> Heart:
    """Return a heart of a given breadth resting on the diaphragm."""
    left_share = float(np.clip(rng.normal(0.655, 0.025), 0.6, 0.71))
    right, left = -(1 - left_share) * breadth_mm, left_share * breadth_mm
    size = (breadth_mm / (126.0 * scale)) ** 0.6 * scale
    floor = 0.5 * (domes[-1.0].top_mm + domes[1.0].top_mm)
    level = floor - 32.0 * size
    sag, waist, trunk = rng.uniform(6, 18), rng.uniform(0.68, 0.8), rng.normal(0, 2.0)
    outline = (
        (right, level - 2 * size),  # right atrium
        (0.9 * right, level - 36 * size),
        (-0.5 * 62 * scale, -2.0 * scale),  # superior vena cava
        (2.0, -14.0 * scale),
        ((38 + trunk) * scale, 4.0 * scale),  # pulmonary trunk
        ((46 + trunk) * scale, 22.0 * scale),
        ((waist - 0.25 * max(size / scale - 1.0, 0.0)) * left, level - 34 * size),  # left atrial appendage
        (0.93 * left, level - 6 * size),  # left ventricle
        (left, level + sag * size),
        (0.93 * left, level + 33 * size),  # apex
        (0.6 * left, level + 46 * size),
        (0.0, level + 46 * size),
        (0.7 * right, level + 40 * size),
        (0.95 * right, level + 22 * size),
    )
    return Heart((0.2 * left, level - 16 * size), outline, 63.0 * size, 20.0, (right, left), float(level))


def _great_vessels(unfolding: float, scale: float, widening: float) -> tuple[tuple[float, ...], ...]:
    """Aortic knob and ascending aorta."""
    knob = (12.0 + 6.0 * unfolding + 8.0 * widening) * scale
    knob_x = (15.0 + 5.0 * unfolding + 16.0 * widening) * scale
    ascending_x = -(12.0 + 6.0 * unfolding + 16.0 * widening) * scale
    return (
        (knob_x, (-26.0 - 5.0 * unfolding) * scale, -10.0, knob * 1.15, knob * 1.1, 40.0, 0.0),
        (ascending_x, 12.0 * scale, 18.0, 22.0 * scale, 46.0 * scale, 34.0, 0.0),
    )


def _mediastinum(rng: np.random.Generator, scale: float, widening: float) -> dict[float, Table]:
    """Return half widths over y; `widening` in [0, 1] spreads the upper part."""
    levels = tuple(level * scale for level in MEDIASTINUM_LEVELS)
    bulge = np.exp(-(((np.array(MEDIASTINUM_LEVELS) + 26.0) / 55.0) ** 2)) * (1.0 * (widening > 0) + 43.0 * widening)
    sides = {}
    for sign, base in ((-1.0, MEDIASTINUM_RIGHT), (1.0, MEDIASTINUM_LEFT)):
        values = np.array(base) * rng.uniform(0.92, 1.08) + bulge * rng.uniform(0.85, 1.15)
        sides[sign] = Table.through(levels, tuple(float(value) * scale for value in values))
    return sides


def landmarks(body: Body, beam: Beam) -> dict[str, tuple[float, float]]:
    """Return projected positions in mm of the places that a reader visits; names as in `Phantom`."""
    s = body.scale
    points: dict[str, tuple[float, float, float]] = {
        "trachea": (body.shift_mm * 0.5, -52 * s, 0),
        "carina": (body.shift_mm * 0.7, 0, -5),
        "aortic knob": (24 * s + body.shift_mm, -27 * s, -10),
        "heart": (0.35 * body.heart_edges[1] + body.shift_mm, body.heart_y_mm, 20),
        "right heart border": (body.heart_edges[0] + body.shift_mm, body.heart_y_mm, 10),
        "left heart border": (body.heart_edges[1] + body.shift_mm, body.heart_y_mm + 8 * s, 25),
        "upper spine": (0, -78 * s, -70),
        "lower spine": (0, 118 * s, -75),
        "gastric bubble": (62 * body.width, body.domes[1.0].top_mm + 27 * s, 20),
    }
    for sign, side in ((-1.0, "right"), (1.0, "left")):
        x, y = body.lung_point(sign, 0.06, 0.5)
        points[f"{side} apex"] = (x, y, 0)
        for zone, level in (("upper", 0.25), ("mid", 0.52), ("lower", 0.82)):
            x, y = body.lung_point(sign, level, 0.52)
            points[f"{side} {zone} lung"] = (x, y, 0)
        points[f"{side} hilum"] = (sign * 46 * s + body.shift_mm, (8 if sign > 0 else 20) * s, 0)
        points[f"{side} costophrenic angle"] = (*body.angle_of(sign), 0)
        points[f"{side} diaphragm"] = (body.domes[sign].x0_mm, body.domes[sign].top_mm, 0)
        points[f"{side} clavicle"] = (sign * 85 * body.width, -75 * s, 50)
        points[f"{side} lateral ribs"] = (sign * (float(body.half_width(body.level(0.5))) + 3), body.level(0.5), 0)
    places = {}
    for name, point in points.items():
        at = beam.project(np.array(point, dtype=np.float64))
        places[name] = (float(at[0]), float(at[1]))
    return places
