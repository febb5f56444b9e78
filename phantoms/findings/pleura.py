"""Findings of the pleural space: air above, fluid below."""

import numpy as np

from phantoms.case import RANDOMISED, FindingSpec
from phantoms.finding import SIZE, DrawnFinding, ShapeChange, Wording, push_mm
from phantoms.scene import Scene, Shadow, noise_field, ramp, smooth_step
from phantoms.shape import Table
from phantoms.thorax import DENSER_THAN_LUNG, MU_LUNG, cavity_chord
from phantoms.tubes import splat_tubes


def pneumothorax(scene: Scene, spec: FindingSpec, rng: np.random.Generator) -> Shadow:
    """Draw air between lung and chest wall: a thin pleural line, no vessels beyond it, the lung behind it denser."""
    body, sign, s = scene.body, spec.signs[0], scene.body.scale
    drop = ramp(spec.severity, -2.0, 70.0) * s
    widest = ramp(spec.severity, -2.0, 60.0) * s
    reach = ramp(spec.severity, 0.2, 0.95)  # how far down the side the air extends
    levels = tuple(body.level(f) for f in (-0.05, 0.0, 0.12, 0.3 * reach + 0.1, 0.75 * reach + 0.1, reach + 0.15, 1.3))
    gaps = tuple(widest * f * rng.uniform(0.94, 1.06) for f in (0.6, 0.75, 1.0, 0.95, 0.6, 0.0, 0.0))
    gap = Table.through(levels, gaps)
    collapsed = cavity_chord(body, scene.raster, gap, drop)
    full = np.maximum(scene.thorax.cavity, 1e-3)
    kept = np.minimum(collapsed / full, 1.0)  # share of the ray's lung that is still lung
    side = scene.on_side(sign) > 0.5
    lung = scene.thorax.lung * side
    air = lung * (1.0 - kept)
    stiffer = ramp(spec.severity, 0.0, 0.2)  # the same tissue in less room
    behind = np.where(collapsed > 0, lung * kept * np.float32(stiffer * DENSER_THAN_LUNG), 0.0)
    delta = behind - air * np.float32(MU_LUNG)
    line, foci = _pleural_line(scene, sign, gap, drop, reach)
    mass = np.full(line.shape[:2], ramp(spec.severity, 0.05, 0.55))
    edge = splat_tubes(
        scene.raster, scene.beam, line, np.full(line.shape[:2], 0.9), mass, gate=np.clip(lung / 20, 0, 1)
    )
    delta = np.asarray(delta + edge, dtype=np.float32)
    gate = np.where(side, np.clip(collapsed / 12.0, 0.0, 1.0), 1.0).astype(np.float32)
    return Shadow(delta, foci, gate=gate)


PNEUMOTHORAX = DrawnFinding(
    "pneumothorax",
    pneumothorax,
    Wording(("pneumothorax",), SIZE, countable=True, plurals={"pneumothorax": "pneumothoraces"}),
    zones=("apical",),
    odds={"A": 1.0, "B": 0.6},
    affinities={"fracture": 2.2, "support devices": 1.6, "edema": 0.15, "lung opacity": 0.6},
    hides_others=True,
    shape=lambda spec: ShapeChange(shift_mm=-push_mm(spec, 30.0, above=0.5)),
    alarm=0.25,  # air outside the lung
    denied=1,
)


def _pleural_line(
    scene: Scene, sign: float, gap: Table, drop: float, reach: float
) -> tuple[np.ndarray, tuple[tuple[float, float], ...]]:
    """Edge of the collapsed lung [1, n, 3] and three places along it and beyond it."""
    body = scene.body
    top = body.apex_mm + drop
    y = top + np.linspace(0.0, 1.0, 60) ** 2 * max(body.level(reach + 0.1) - top, 30.0)
    x = body.half_width(y - drop) - gap(y)
    inner = np.linspace(float(body.medial_edge(body.apex_mm)), float(x[0]), 8)[:-1]
    x, y = np.concatenate([np.maximum(inner, 20.0), x]), np.concatenate([np.full(7, top), y])
    line = np.stack([sign * x, y, 0 * x], axis=-1)[None]
    middle, upper = line[0, 36], line[0, 20]
    beyond = (sign * (abs(upper[0]) + float(body.half_width(upper[1]))) / 2, upper[1] - 0.3 * drop)
    return line, (scene.project(*upper), scene.project(*beyond, 0.0), scene.project(*middle))


def pleural_effusion(scene: Scene, spec: FindingSpec, rng: np.random.Generator) -> Shadow:
    """Draw fluid at the base: blunted angle, then a meniscus that climbs the chest wall."""
    body, s = scene.body, scene.body.scale
    x, y = scene.raster.grids
    share, foci = scene.raster.zeros(), []
    technique = scene.case.technique
    lying = scene.case.domain == RANDOMISED and technique.anteroposterior and rng.random() < 0.6
    spread = rng.uniform(1.5, 4.0) if lying else 1.0  # fluid spreads behind the lung of who lies
    for index, sign in enumerate(spec.signs):
        severity = spec.severity * (1.0 if index == 0 else float(rng.uniform(0.7, 1.0)))
        angle_x, angle_y = body.angle_of(sign)
        level = angle_y - ramp(severity, -8.0, 132.0, 1.15) * s
        climb = ramp(severity, 14.0, 52.0) * s
        wall = body.half_width(y)
        from_wall = np.maximum(wall - sign * x, 0.0)
        from_middle = np.maximum(sign * x, 0.0)
        surface = level - climb * np.exp(-from_wall / np.float32(26.0 * s)) + 0.12 * from_wall * (1 - severity)
        surface = surface - 0.35 * climb * np.exp(-from_middle / np.float32(22.0 * s))
        surface = surface + 1.2 * noise_field(scene.raster, rng, 30.0)
        depth = (y - surface) / np.float32(ramp(severity, 14.0, 46.0) * spread * s)
        share = share + smooth_step(depth) * scene.on_side(sign)
        foci.append(scene.project(angle_x * 0.96, min(angle_y, level + 10), 0.0))
        foci.append(scene.project(sign * (abs(angle_x) * 0.72), max(level - 2.0, body.level(0.35)), 0.0))
    share = np.asarray(np.minimum(share, 1.0), dtype=np.float32) * np.float32(ramp(spec.severity, 0.2, 0.97, 0.6))
    order = (0, 2, 1) if len(spec.signs) == 2 else (0, 1)
    return Shadow(scene.filled(share), tuple(foci[i] for i in order), gate=1.0 - np.clip(1.05 * share, 0, 1))


PLEURAL_EFFUSION = DrawnFinding(
    "pleural effusion",
    pleural_effusion,
    Wording(("pleural effusion", "effusion"), SIZE, countable=True),
    zones=("basal",),
    odds={"A": 0.75, "B": 1.3},
    share_both=0.3,
    shape=lambda spec: ShapeChange(shift_mm=-push_mm(spec, 18.0, above=0.5)),
    denied=2,
)
