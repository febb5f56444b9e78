"""Domain R: as varied as films are, with a truth that moves with the image, and nothing that tells who is ill."""

from dataclasses import replace

import numpy as np
import pytest

from gazevlm_core.findings import FINDING_NAMES
from phantoms.case import DOMAINS, RANDOMISED
from phantoms.dataset import draw_case
from phantoms.film import archived, random_tone
from phantoms.findings import DRAWN_FINDINGS
from phantoms.make import FindingRequest, make_phantom, render_case, render_twins, sample_case
from phantoms.randomised import Tissues, sample_tissues

SMALL_PX = 160


def test_the_domains_of_evaluation_stay_what_they_are() -> None:
    assert RANDOMISED not in DOMAINS
    for domain in DOMAINS:
        case = sample_case(5, domain)
        assert sample_tissues(case) == Tissues()
        assert (case.technique.margins, case.technique.square, case.technique.marker_size) == (None, False, 0.045)


def test_the_same_seed_is_the_same_film_and_the_same_patient_at_every_size() -> None:
    for seed in range(5):
        small, large = (make_phantom(seed, RANDOMISED, size_px=size) for size in (128, 320))
        assert (max(small.image.shape), max(large.image.shape)) == (128, 320)
        assert np.array_equal(small.image, make_phantom(seed, RANDOMISED, size_px=128).image)
        for name, place in small.landmarks.items():
            assert place == pytest.approx(large.landmarks[name], abs=1 / 128), name
        assert [finding.severity for finding in small.findings] == [finding.severity for finding in large.findings]


def test_truth_lies_inside_the_film() -> None:
    for seed in range(40):
        phantom = make_phantom(seed, RANDOMISED, size_px=80, include_held_out=True)
        assert phantom.image.dtype == np.uint8
        for finding in phantom.findings:
            rows, cols = np.nonzero(finding.mask)
            height, width = finding.mask.shape
            assert finding.mask.shape == phantom.image.shape
            assert finding.box == (
                cols.min() / width,
                rows.min() / height,
                (cols.max() + 1) / width,
                (rows.max() + 1) / height,
            )
            assert all(0.0 <= value < 1.0 for focus in finding.foci for value in focus)


@pytest.mark.parametrize("name", DRAWN_FINDINGS)
def test_a_finding_changes_the_film_where_its_mask_is(name: str) -> None:
    """Crop, tilt, turn and stretch differ by seed."""
    inside, outside = 0.0, 0.0
    for seed in range(8):
        case = sample_case(seed, RANDOMISED, findings=[FindingRequest(name, 0.6)])
        phantom, twins = render_twins(case, size_px=SMALL_PX)
        mask, change = phantom.findings[0].mask, np.abs(phantom.image.astype(float) - twins[name])
        inside, outside = inside + change[mask].mean(), outside + change[~mask].mean()
    assert inside / 8 > 5.0
    assert inside > 3 * outside


def test_a_lesion_lies_where_its_focus_is() -> None:
    for seed in range(12):
        case = sample_case(seed, RANDOMISED, findings=[FindingRequest("lung lesion", 0.9, "right")])
        (lesion,) = render_case(case, size_px=256).findings
        x0, y0, x1, y1 = lesion.box
        x, y = lesion.foci[0]
        assert x0 <= x <= x1
        assert y0 <= y <= y1


def test_a_stretched_film_is_the_same_in_fractions_of_its_sides() -> None:
    for seed in range(6):
        case = sample_case(seed, RANDOMISED, findings=[FindingRequest("consolidation", 0.8)])
        plain, square = (
            render_case(replace(case, technique=replace(case.technique, square=stretched)), size_px=192)
            for stretched in (False, True)
        )
        assert square.image.shape == (192, 192)
        assert square.landmarks == plain.landmarks
        assert square.findings[0].foci == plain.findings[0].foci
        assert square.findings[0].box == pytest.approx(plain.findings[0].box, abs=1.5 / 128)
        assert square.findings[0].mask.mean() == pytest.approx(plain.findings[0].mask.mean(), rel=0.05)


def test_neither_view_nor_habitus_tells_who_is_ill() -> None:
    cases = [sample_case(seed, RANDOMISED) for seed in range(3000)]
    ill = np.array([any(DRAWN_FINDINGS[spec.name].bedside for spec in case.findings) for case in cases])
    bedside = np.array([case.technique.anteroposterior for case in cases])
    assert bedside[ill].mean() == pytest.approx(bedside[~ill].mean(), abs=0.05)
    assert {spec.name for case in cases for spec in case.findings} == set(FINDING_NAMES)


def test_no_heart_without_disease_is_large() -> None:
    ratios = [sample_case(seed, RANDOMISED, findings=[]).habitus.heart_ratio for seed in range(500)]
    assert max(ratios) < 0.49


def test_grey_levels_are_wider_spread_than_of_one_scanner() -> None:
    """How bright heart and abdomen are, over phantoms without findings."""

    def spread(domain: str) -> float:
        images = [make_phantom(seed, domain, size_px=96, findings=[]).image for seed in range(24)]
        return float(np.std([np.percentile(image[24:72, 20:76], 95) for image in images]))

    assert spread(RANDOMISED) > 1.5 * spread("A")


def test_the_tone_keeps_the_order_of_grey_levels() -> None:
    image = make_phantom(2, size_px=96).image
    for seed in range(50):
        levels = random_tone(image, np.random.default_rng(seed))
        assert levels.shape == (256,)
        assert levels.min() >= 0.0
        assert levels.max() <= 255.0
        assert (np.diff(levels) >= 0).all()


def test_an_archive_moves_nothing() -> None:
    """A bright spot stays where it is, whatever happens to the film around it."""
    found = []
    for seed in range(60):
        film = np.full((120, 90), 90.0, dtype=np.float32)
        film[50:60, 30:40] = 200.0
        out = archived(film, (180, 180), np.random.default_rng(seed)).astype(float)
        window = out[40:120, 30:110] if out[100, 150] < out[82, 70] else 255 - out[40:120, 30:110]
        rows, cols = np.nonzero(window > 0.5 * (window.max() + np.median(window)))
        found.append((rows.mean() + 40.5, cols.mean() + 30.5))
    assert np.median(found, axis=0) == pytest.approx((82.5, 70.0), abs=0.7)
    assert np.mean(np.hypot(*(np.array(found) - (82.5, 70.0)).T) < 2.0) > 0.8  # beside it, a label may stand


def test_cases_are_drawn_for_training() -> None:
    case = draw_case(4, RANDOMISED, sizes_px=(128,), model_pixels=(200 * 200, 228 * 228))
    assert case.domain == RANDOMISED
    assert len(case.readings) == 6
