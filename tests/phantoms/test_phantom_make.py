"""Phantoms: the same seed is the same patient, findings change what they say they change, prevalence is as promised."""

import hashlib
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from gazevlm_core.findings import FINDING_NAMES, HELD_OUT_FINDING_NAMES, SEVERE_FROM, SUBTLE_BELOW
from phantoms.findings import DRAWN_FINDINGS
from phantoms.make import SAME_GREY, FindingRequest, make_phantom, render_case, render_twins, sample_case
from phantoms.sampling import COUNT_SHARES
from phantoms.truth import Phantom

ALL_NAMES = FINDING_NAMES + HELD_OUT_FINDING_NAMES
SMALL_PX = 160
LANDMARKS = {
    *(f"{side} {place}" for side in ("right", "left") for place in ("apex", "upper lung", "mid lung", "lower lung")),
    *(f"{side} {place}" for side in ("right", "left") for place in ("hilum", "costophrenic angle", "diaphragm")),
    *(f"{side} {place}" for side in ("right", "left") for place in ("clavicle", "lateral ribs", "heart border")),
    *("trachea", "carina", "aortic knob", "heart", "upper spine", "lower spine", "gastric bubble"),
}


def forced(name: str, severity: float, seed: int = 4, size_px: int = SMALL_PX) -> Phantom:
    return make_phantom(seed, size_px=size_px, findings=[FindingRequest(name, severity)])


def digest(phantom: Phantom) -> str:
    return hashlib.sha256(phantom.image.tobytes()).hexdigest()


def test_same_seed_same_bytes_in_a_fresh_interpreter() -> None:
    code = (
        "import hashlib; from phantoms.make import make_phantom; "
        "print(hashlib.sha256(make_phantom(11, 'B', size_px=96).image.tobytes()).hexdigest())"
    )
    first = digest(make_phantom(11, "B", size_px=96))
    assert digest(make_phantom(11, "B", size_px=96)) == first
    fresh = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert fresh.stdout.strip() == first
    assert digest(make_phantom(12, "B", size_px=96)) != first


@pytest.mark.parametrize("seed", range(6))
def test_another_size_is_the_same_patient(seed: int) -> None:
    small, large = make_phantom(seed, size_px=128), make_phantom(seed, size_px=320)
    assert max(small.image.shape) == 128
    assert max(large.image.shape) == 320
    for name, place in small.landmarks.items():
        assert place == pytest.approx(large.landmarks[name], abs=1 / 128), name
    for a, b in zip(small.findings, large.findings, strict=True):
        assert (a.name, a.side, a.zone, a.severity, a.detail) == (b.name, b.side, b.zone, b.severity, b.detail)
        assert np.ravel(a.foci) == pytest.approx(np.ravel(b.foci), abs=1 / 128)


@pytest.mark.parametrize("name", ALL_NAMES)
def test_a_finding_changes_the_image_where_its_mask_is(name: str) -> None:
    case = sample_case(4, findings=[FindingRequest(name, 0.5)])  # above this the mediastinum shifts, too
    with_it, without_it = render_case(case, size_px=SMALL_PX), render_case(case.without(name), size_px=SMALL_PX)
    (finding,) = with_it.findings
    assert finding.mask.shape == with_it.image.shape
    assert finding.mask.dtype == bool
    change = np.abs(with_it.image.astype(float) - without_it.image)
    assert change[finding.mask].mean() > 8.0
    assert change[finding.mask].mean() > 4 * change[~finding.mask].mean()


@pytest.mark.parametrize("name", ALL_NAMES)
def test_a_twin_differs_where_its_finding_shows_and_nowhere_else(name: str) -> None:
    other = "edema" if name == "lung lesion" else "lung lesion"
    case = sample_case(4, findings=[FindingRequest(name, 0.5), FindingRequest(other, 0.6)])
    phantom, twins = render_twins(case, size_px=SMALL_PX)
    assert set(twins) == {name, other}
    assert (phantom.image == render_case(case, size_px=SMALL_PX).image).all()
    mask = next(finding.mask for finding in phantom.findings if finding.name == name)
    change = np.abs(phantom.image.astype(int) - twins[name])
    assert ((change == 0) | (change > SAME_GREY)).all()  # the same pixel, or one that shows the finding
    assert (change[mask] > 0).mean() > 0.8
    if name == "lung lesion":  # leaves the body's shape alone
        assert (change[~mask] > 0).mean() < 0.02


def test_stray_pixels_of_a_drawn_line_do_not_set_a_mask() -> None:
    (finding,) = make_phantom(3, findings=[FindingRequest("pneumothorax", 0.95)]).findings
    assert finding.mask.mean() > 0.05


@pytest.mark.parametrize("name", ALL_NAMES)
def test_contrast_grows_with_severity(name: str) -> None:
    totals = []
    for severity in (0.05, 0.3, 0.6, 0.95):
        total = 0.0
        for seed in (2, 3, 4):
            plain = make_phantom(seed, size_px=SMALL_PX, findings=[]).image.astype(float)
            phantom = forced(name, severity, seed)
            total += np.abs(phantom.image - plain)[phantom.findings[0].mask].sum()
        totals.append(total)
    assert totals == sorted(totals)
    assert totals[-1] > 3 * totals[0]


@pytest.mark.parametrize("domain", ["A", "B"])
def test_truth_lies_inside_the_image(domain: str) -> None:
    for seed in range(30):
        phantom = make_phantom(seed, domain, size_px=80, include_held_out=True)
        assert set(phantom.landmarks) == LANDMARKS
        assert all(0.0 <= value < 1.0 for place in phantom.landmarks.values() for value in place)
        for finding in phantom.findings:
            x0, y0, x1, y1 = finding.box
            assert 0.0 <= x0 < x1 <= 1.0
            assert 0.0 <= y0 < y1 <= 1.0
            assert 1 <= len(finding.foci) <= 3
            assert all(0.0 <= value < 1.0 for focus in finding.foci for value in focus)
            rows, cols = np.nonzero(finding.mask)
            height, width = finding.mask.shape
            assert (cols.min() / width, rows.min() / height) == (x0, y0)


@pytest.mark.parametrize("name", ["pneumothorax", "consolidation", "lung lesion", "pleural effusion", "fracture"])
def test_the_patients_left_is_on_the_right(name: str) -> None:
    for side, on_the_right in (("left", True), ("right", False)):
        phantom = make_phantom(5, size_px=SMALL_PX, findings=[FindingRequest(name, 0.7, side)])
        columns = np.nonzero(phantom.findings[0].mask)[1]
        assert bool(columns.mean() > phantom.image.shape[1] / 2) is on_the_right
    landmarks = phantom.landmarks
    assert landmarks["right hilum"][0] < landmarks["left hilum"][0]


def test_prevalence_of_domain_a() -> None:
    cases = [sample_case(seed) for seed in range(4000)]
    counts = Counter(spec.name for case in cases for spec in case.findings)
    assert set(counts) == set(FINDING_NAMES)  # nothing held out
    for name, count in counts.items():
        assert 0.10 <= count / len(cases) <= 0.18, name
    healthy = sum(not case.findings for case in cases) / len(cases)
    assert healthy == pytest.approx(COUNT_SHARES["A"][0], abs=0.025)
    severities = np.array([spec.severity for case in cases for spec in case.findings])
    assert (severities < SUBTLE_BELOW).mean() == pytest.approx(0.25, abs=0.025)
    assert (severities >= SEVERE_FROM).mean() == pytest.approx(0.30, abs=0.025)
    assert 0.0 < severities.min() < 0.05


def test_findings_go_together_as_they_do_in_patients() -> None:
    cases = [{spec.name for spec in sample_case(seed).findings} for seed in range(4000)]

    def share(name: str, given: str) -> float:
        having = [case for case in cases if given in case]
        return sum(name in case for case in having) / len(having)

    assert share("pleural effusion", "edema") > 1.5 * share("pleural effusion", "lung lesion")
    assert share("cardiomegaly", "edema") > 1.5 * share("cardiomegaly", "lung lesion")


def test_held_out_findings_only_on_request() -> None:
    drawn = [sample_case(seed, include_held_out=True) for seed in range(300)]
    assert set(HELD_OUT_FINDING_NAMES) <= {spec.name for case in drawn for spec in case.findings}
    for seed, case in enumerate(drawn):  # asking for them changes nothing else about the patient
        plain = sample_case(seed)
        assert tuple(spec for spec in case.findings if spec.name in FINDING_NAMES) == plain.findings
        assert case.habitus == plain.habitus


def test_domain_b_is_another_scanner_and_another_clinic() -> None:
    case_a, case_b = ([sample_case(seed, domain) for seed in range(1500)] for domain in ("A", "B"))
    healthy_a, healthy_b = (sum(not case.findings for case in cases) for cases in (case_a, case_b))
    assert healthy_b > 1.3 * healthy_a
    fat_a, fat_b = (np.mean([case.habitus.fat_mm for case in cases]) for cases in (case_a, case_b))
    assert fat_b > fat_a + 3
    pictures = {domain: [make_phantom(seed, domain, size_px=96, findings=[]) for seed in range(12)] for domain in "AB"}
    white = {domain: np.mean([(p.image > 240).mean() for p in found]) for domain, found in pictures.items()}
    assert white["B"] > 1.3 * white["A"]  # the steeper tone curve burns out the abdomen


@pytest.mark.parametrize("detail", DRAWN_FINDINGS["support devices"].kinds)
def test_every_device_can_be_asked_for(detail: str) -> None:
    request = FindingRequest("support devices", 0.8, detail=detail)
    (finding,) = make_phantom(1, size_px=SMALL_PX, findings=[request]).findings
    assert finding.detail == detail
    assert finding.mask.any()


def test_wrong_requests_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown finding 'scoliosis'"):
        FindingRequest("scoliosis")
    with pytest.raises(ValueError, match="severity must lie in"):
        FindingRequest("edema", 0.0)
    with pytest.raises(ValueError, match="can be requested once"):
        make_phantom(0, findings=[FindingRequest("edema"), FindingRequest("edema")])
    with pytest.raises(ValueError, match="unknown phantom domain 'C'"):
        make_phantom(0, "C")
    with pytest.raises(ValueError, match="seed must be >= 0"):
        make_phantom(-1)
    with pytest.raises(ValueError, match="at least 64 px"):
        make_phantom(0, size_px=32)
