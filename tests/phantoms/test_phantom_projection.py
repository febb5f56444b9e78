"""Hand-computed line integrals: slab, sphere, tubes along and across the beam, magnification, noise and blur."""

import math

import numpy as np
import pytest

from phantoms.detector import Detector, display, display_window, low_pass, process, transmit
from phantoms.projection import Beam, Ellipsoid, Raster
from phantoms.scene import noise_field
from phantoms.shape import Table, monotone_cubic
from phantoms.thorax import MU_SOFT
from phantoms.tubes import splat_tubes

RASTER = Raster(100, 100, -50.0, -50.0, 1.0)
FAR = Beam(1e9, 130.0, False, 0.0)  # so far away that the beam is parallel


def test_beer_lambert_of_a_slab() -> None:
    slab = np.full((2, 2), MU_SOFT * 100.0, dtype=np.float32)  # 10 cm of soft tissue
    assert transmit(slab) == pytest.approx(math.exp(-1.85), rel=1e-5)


def test_chord_of_a_sphere() -> None:
    window, chord = Ellipsoid((0.5, 0.5), (20.0, 20.0), 20.0).chord(RASTER)
    whole = RASTER.zeros()
    whole[window] = chord
    assert whole[50, 50] == pytest.approx(40.0)
    assert whole[50, 62] == pytest.approx(2 * math.sqrt(400 - 144))  # 12 mm beside the centre: 32 mm
    assert whole.sum() == pytest.approx(4 / 3 * math.pi * 20**3, rel=0.01)  # volume, at 1 mm^2 per pixel
    assert whole[50, 71] == 0.0


def test_chord_of_a_turned_ellipsoid() -> None:
    window, chord = Ellipsoid((0.5, 0.5), (30.0, 10.0), 5.0, math.pi / 4).chord(RASTER)
    whole = RASTER.zeros()
    whole[window] = chord
    assert whole[60, 60] > 0 == whole[60, 40]  # long axis down and to the right
    assert whole[60, 60] == pytest.approx(10 * math.sqrt(1 - 200 / 900))


def test_tube_across_the_beam_has_its_diameter() -> None:
    points = np.array([[[-40.0, 0.5, 0.0], [40.0, 0.5, 0.0]]])
    radius = np.full((1, 2), 6.0)
    shadow = splat_tubes(RASTER, FAR, points, radius, 0.02 * np.pi * radius**2)
    assert shadow[49:52, 50].mean() == pytest.approx(0.02 * 12.0, rel=0.03)
    assert shadow.sum() == pytest.approx(0.02 * np.pi * 36 * 80, rel=1e-4)  # all its mass arrives
    assert shadow[60, 50] == 0.0


def test_tube_seen_obliquely_grows_denser() -> None:
    radius = np.full((1, 2), 4.0)
    across = splat_tubes(RASTER, FAR, np.array([[[-30.0, 0.5, 0.0], [30.0, 0.5, 0.0]]]), radius, radius)
    oblique = splat_tubes(RASTER, FAR, np.array([[[-30.0, 0.5, -30.0], [30.0, 0.5, 30.0]]]), radius, radius)
    assert oblique[50, 50] / across[50, 50] == pytest.approx(math.sqrt(2), rel=0.02)


def test_a_gate_ends_a_tube() -> None:
    gate = RASTER.zeros()
    gate[:, :50] = 1.0
    radius = np.full((1, 2), 3.0)
    shadow = splat_tubes(RASTER, FAR, np.array([[[-40.0, 0.5, 0.0], [40.0, 0.5, 0.0]]]), radius, radius, gate=gate)
    assert shadow[50, 30] > 0
    assert shadow[:, 53:].sum() == 0
    assert splat_tubes(RASTER, FAR, np.zeros((1, 2, 3)), radius, radius, gate=RASTER.zeros()).sum() == 0


def test_the_heart_is_larger_on_an_anteroposterior_view() -> None:
    heart_z_mm = 30.0
    bedside, standing = Beam(1000.0, 130.0, True, 0.0), Beam(1800.0, 130.0, False, 0.0)
    assert bedside.magnification(heart_z_mm) == pytest.approx(870 / 840)
    assert standing.magnification(heart_z_mm) == pytest.approx(1670 / 1700)
    assert bedside.project(np.array([50.0, 0.0, heart_z_mm]))[0] == pytest.approx(50 * 870 / 840)


def test_rotation_moves_front_against_back() -> None:
    beam = Beam(1e9, 130.0, False, math.radians(5))
    front, back = beam.project(np.array([[0.0, 0.0, 60.0], [0.0, 0.0, -60.0]]))
    assert front[0] == pytest.approx(60 * math.sin(math.radians(5)), abs=1e-3)
    assert back[0] == pytest.approx(-front[0], abs=1e-3)


def test_grids_and_positions_agree_under_tilt() -> None:
    raster = Raster(40, 60, -30.0, -20.0, 1.3, 0.07)
    x, y = raster.grids
    px = raster.to_px(np.stack([x, y], axis=-1))
    assert px[..., 0] == pytest.approx(np.broadcast_to(np.arange(60) + 0.5, (40, 60)), abs=1e-3)
    assert px[..., 1] == pytest.approx(np.broadcast_to((np.arange(40) + 0.5)[:, None], (40, 60)), abs=1e-3)


def test_noise_is_fixed_in_space() -> None:
    coarse, fine = Raster(50, 50, -50, -50, 2.0), Raster(150, 150, -50, -50, 2.0 / 3)
    a = noise_field(coarse, np.random.default_rng(3), 12.0)
    b = noise_field(fine, np.random.default_rng(3), 12.0)
    assert a == pytest.approx(b[1::3, 1::3], abs=1e-3)  # every third fine pixel has a coarse pixel's centre
    assert 0.6 < noise_field(Raster(300, 300, -150, -150, 1.0), np.random.default_rng(5), 6.0).std() < 1.4


def test_low_pass_keeps_the_mean_and_flattens() -> None:
    field = np.random.default_rng(0).normal(5.0, 1.0, (97, 61)).astype(np.float32)
    smooth = low_pass(field, 12.0)
    assert smooth.shape == field.shape
    assert smooth.mean() == pytest.approx(5.0, abs=0.05)
    assert smooth.std() < 0.1


def test_denser_is_brighter() -> None:
    detector = Detector(1e5, 0.2, 28.0, 0.3, 0.0, 0.0, 3.0, 0.5, (0.0, 100.0))
    signal = np.tile(np.linspace(1.0, 0.01, 100, dtype=np.float32), (100, 1))
    shown = process(signal, RASTER, detector)
    image = display(shown, display_window(shown, detector, np.ones((100, 100), dtype=bool)), detector)
    assert image.dtype == np.uint8
    assert (image[0, 0], image[0, -1]) == (0, 255)
    assert np.all(np.diff(image[0].astype(int)) >= 0)


def test_monotone_cubic_passes_its_knots_without_overshoot() -> None:
    knots, values = np.array([0.0, 1.0, 2.0, 5.0, 6.0]), np.array([0.0, 0.0, 3.0, 3.0, 1.0])
    assert monotone_cubic(knots, values, knots) == pytest.approx(values)
    dense = monotone_cubic(knots, values, np.linspace(0, 6, 500))
    assert (dense.min(), dense.max()) == (pytest.approx(0.0), pytest.approx(3.0))
    table = Table.through(tuple(knots), tuple(values))
    assert table(2.0) == pytest.approx(3.0, abs=1e-2)
    assert table(-4.0) == pytest.approx(0.0)
    assert table(9.0) == pytest.approx(1.0)
