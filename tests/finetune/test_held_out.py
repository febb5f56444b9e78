"""Scores on the held-out images: figures by hand, and floors beside them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from finetune.held_out import (
    CHANCE_FLOOR,
    CONSTANT_FLOOR,
    ORDER,
    PREVALENCE_FLOOR,
    SHUFFLED_FLOOR,
    TYPICAL_FLOOR,
    UNIFORM_FLOOR,
    Floors,
    measures,
    selection_score,
)
from finetune.predict import Aims, Predictions
from finetune.records import BASE, Gain, Measure
from finetune.verdict import ADDED, LEAST_PATIENTS, judge
from gazevlm_core.evaluation.predict import in_steps
from gazevlm_core.geometry import PatchGrid
from gazevlm_core.metrics.registry import AUROC, SEQUENCE
from gazevlm_core.records import Diagnosis
from gazevlm_core.sample import Sample
from gazevlm_core.scanpath import Scanpath
from tests.finetune.case_maker import HERE, make_case, path_of

GRID = PatchGrid(2, 2)
STRIP = PatchGrid(1, 12)
NO_FLOORS = Floors((), 0)


def patches(*indices: int, grid: PatchGrid = GRID) -> Scanpath:
    return path_of([grid.center_of(index) for index in indices])


def said(path: Scanpath | None = None, grid: PatchGrid = GRID, **findings: float) -> Diagnosis:
    """What a model may say of one image."""
    steps = 0 if path is None else len(path)
    shares = None if path is None else np.full((steps, len(grid)), 1 / len(grid), dtype=np.float32)
    return Diagnosis("", findings, path, shares, (0.5,) * steps, grid, "tiny")


AIMS = Aims(12, True, 0.0)


def looked(*diagnoses: Diagnosis, aims: Aims = AIMS, **losses: float) -> Predictions:
    return Predictions(diagnoses, losses, aims)


def case(findings: Mapping[str, float] | None = None, *paths: Scanpath) -> Sample:
    return make_case("i", findings=findings, readings=[(f"r{n}", path) for n, path in enumerate(paths)])


def by_name(found: Sequence[Measure]) -> dict[str, Measure]:
    assert len({one.name for one in found}) == len(found)
    return {one.name: one for one in found}


# ---- paths ----------------------------------------------------------------------------------------------------------
READ = [case(None, patches(0, 1, 3)), case(None, patches(2, 0), patches(2)), case({"edema": 1.0})]


def test_sequence_scores_by_hand() -> None:
    ours = looked(said(patches(0, 1, 3)), said(patches(2, 0, 1)), said(patches(1)))  # 1; (2/3 + 1/3) / 2; unread
    theirs = looked(said(patches(3, 1, 0)), said(patches(1)), said(patches(1)))  # 1/3; 0; unread
    taught = [case(None, patches(0, 1), patches(2)), case(None, patches(0, 1))]  # the first path: 2/3; (1/2 + 0) / 2
    found = by_name(measures(READ, ours, theirs, Floors(taught, 0), [], 0))
    sequence = found[SEQUENCE]
    assert sequence.value == pytest.approx((1 + 1 / 2) / 2)
    assert sequence.base == pytest.approx((1 / 3 + 0) / 2)
    assert sequence.floors[CONSTANT_FLOOR] == pytest.approx((2 / 3 + 1 / 4) / 2)
    assert found[ORDER].value == pytest.approx((sequence.value or 0) - sequence.floors[SHUFFLED_FLOOR])
    assert found[ORDER].floors == {SHUFFLED_FLOOR: 0.0}
    assert CONSTANT_FLOOR not in by_name(measures(READ, ours, theirs, NO_FLOORS, [], 0))[SEQUENCE].floors


def test_the_gain_of_order_has_the_sign_of_the_order() -> None:
    way = tuple(range(12))
    cases = [case(None, patches(*way, grid=STRIP))]

    def gain(*indices: int) -> float:
        one = looked(said(patches(*indices, grid=STRIP), STRIP))
        found = by_name(measures(cases, one, one, NO_FLOORS, [], 0))[ORDER]
        assert found.value == found.base
        return float(found.value or 0)

    assert gain(*way) > 0.3
    assert gain(*way[::-1]) < -0.1
    assert gain(4, 4, 4) == 0.0
    assert gain(*way) == gain(*way)  # the shuffles are drawn from the seed


def test_a_base_without_a_path_has_no_score() -> None:
    found = by_name(measures(READ, looked(*[said(patches(0))] * 3), looked(*[said()] * 3), NO_FLOORS, [], 0))
    assert found[SEQUENCE].base is None
    assert found[ORDER].base is None
    assert found[SEQUENCE].value is not None
    assert measures(READ[:2], looked(*[said()] * 2), looked(*[said(patches(0))] * 2), NO_FLOORS, [], 0) == []
    assert measures(READ[2:], looked(said(patches(0))), looked(said(patches(0))), NO_FLOORS, [], 0) == []  # unread


def test_paths_without_repeats_are_held_against_readings_without_repeats() -> None:
    """As `gazevlm evaluate` does; a model that may not stay in a patch would lie below what stays there."""
    stays = path_of([GRID.center_of(patch) for patch in (0, 0, 0, 1, 1, 3)], [100.0] * 6)
    cases = [make_case(f"{n}", readings=[("owl", stays)]) for n in range(LEAST_PATIENTS)]
    perfect, never = [said(patches(0, 1, 3)) for _ in cases], [said() for _ in cases]
    for repeats, score, gaze, dwell in (
        (False, 1.0, np.log(4), (np.log(300 / 200) ** 2 + np.log(100 / 200) ** 2) / 6),
        (True, 0.5, (np.log(4) + 6 * np.log(5)) / 7, 0.0),
    ):
        ours = looked(*perfect, aims=replace(AIMS, repeats=repeats), gaze_loss=1.0, dwell_loss=1.0)
        found = by_name(measures(cases, ours, looked(*never), Floors(cases, 0), [], 0))
        assert found[SEQUENCE].value == pytest.approx(score)
        assert found[SEQUENCE].floors[CONSTANT_FLOOR] == pytest.approx(1.0)
        assert found["gaze loss"].floors == {UNIFORM_FLOOR: pytest.approx(gaze)}
        assert found["dwell loss"].floors == {TYPICAL_FLOOR: pytest.approx(dwell)}
    assert in_steps(cases[0], GRID, repeats=False).scanpaths[0].fixations[0].duration_ms == 300


# ---- findings -------------------------------------------------------------------------------------------------------
def test_auroc_by_hand() -> None:
    labels: list[dict[str, float]] = [
        {"edema": 1, "nodule": 1, "hernia": 1, "mass": 1, "new": 0}, {"edema": 0, "nodule": 0, "hernia": 0, "mass": 0},
        {"edema": 1, "nodule": 1, "one class": 1, "new": 1}, {"edema": 0, "one class": 1},
    ]  # fmt: skip
    ours = [(0.9, 0.8, 0.7, 0.6), (0.1, 0.2, 0.7, 0.5), (0.4, 0.9, 0.1, 0.8), (0.6, 0.1, 0.9, 0.1)]
    theirs = [(0.2, 0.1), (0.8, 0.9), (0.1, 0.2), (0.9, 0.5)]
    found = measures(
        [case(one) for one in labels],
        looked(*[said(None, edema=e, nodule=n, hernia=h, new=w, **{"one class": 0.5}) for e, n, h, w in ours]),
        looked(*[said(None, edema=e, nodule=n) for e, n in theirs]),
        NO_FLOORS, ["hernia", "new"], 0,
    )[:-1]  # but for the loss
    assert [one.name for one in found] == [
        AUROC, ADDED, f"{AUROC}: edema", f"{AUROC}: hernia", f"{AUROC}: new", f"{AUROC}: nodule"
    ]  # fmt: skip
    values = {one.name: (one.value, one.base) for one in found}
    assert values[f"{AUROC}: edema"] == (0.75, 0.0)
    assert values[f"{AUROC}: nodule"] == (1.0, 0.0)
    assert values[f"{AUROC}: hernia"] == (0.5, None)  # a tie; the base cannot tell, and chance is a floor
    assert values[f"{AUROC}: new"] == (1.0, None)
    assert values[AUROC] == (0.875, 0.0)
    assert values[ADDED] == (0.75, None)
    assert all(one.floors == {CHANCE_FLOOR: 0.5} and one.higher_is_better for one in found)


def test_a_finding_that_the_base_never_learned_has_no_base() -> None:
    cases = [case({"edema": 1.0}), case({"edema": 0.0})]
    ours = looked(said(None, edema=0.9), said(None, edema=0.1))
    found = by_name(measures(cases, ours, looked(said(), said()), NO_FLOORS, [], 0))
    assert [(found[name].value, found[name].base) for name in (AUROC, f"{AUROC}: edema")] == [(1.0, None)] * 2


def losses(found: Sequence[Measure]) -> dict[str, Measure]:
    return {name: one for name, one in by_name(found).items() if name.endswith("loss")}


def test_losses_are_lower_when_better() -> None:
    ours = looked(said(), gaze_loss=2.0, text_loss=1.0)
    found = measures([case()], ours, looked(said(), gaze_loss=3.0), NO_FLOORS, [], 0)
    assert found == [
        Measure("gaze loss", 2.0, 3.0, {}, False, "nats"), Measure("text loss", 1.0, None, {}, False, "nats")
    ]  # fmt: skip


@pytest.mark.parametrize("aims", [Aims(4, True, 0.0), Aims(12, False, 0.0), Aims(12, True, 1.0)])
def test_losses_of_other_aims_are_not_compared(aims: Aims) -> None:
    """Fixations beyond K, and how wide a target is, change a loss without a model being better or worse."""
    values = {"gaze_loss": 2.0, "text_loss": 1.0, "dwell_loss": 0.5}
    found = losses(measures([case()], looked(said(), **values, aims=aims), looked(said(), **values), NO_FLOORS, [], 0))
    assert {name: one.base for name, one in found.items()} == {
        "gaze loss": None, "text loss": 1.0, "dwell loss": None
    }  # fmt: skip


def test_losses_beside_their_floors_by_hand() -> None:
    timed = path_of(HERE, (100.0, 1000.0))
    train = [make_case("t", readings=[("owl", path_of(HERE, (10.0, 1000.0)))])]  # the middle of the logarithms is 100
    ours = looked(said(patches(0, 1)), gaze_loss=1.0, dwell_loss=0.2)
    found = losses(measures([case(None, timed)], ours, ours, Floors(train, 0), [], 0))
    assert found["gaze loss"].floors == {UNIFORM_FLOOR: pytest.approx((np.log(4) + 2 * np.log(5)) / 3)}
    assert found["dwell loss"].floors == {TYPICAL_FLOOR: pytest.approx((0 + np.log(10) - 0.5) / 2)}
    short = looked(said(patches(0, 1)), gaze_loss=1.0, aims=Aims(1, True, 0.0))
    found = losses(measures([case(None, timed)], short, short, Floors(train, 0), [], 0))
    assert found["gaze loss"].floors == {UNIFORM_FLOOR: pytest.approx(np.log(4))}


def test_the_finding_loss_is_of_findings_that_both_tell() -> None:
    cases = [case({"edema": 1.0, "new": 1.0}), case({"edema": 0.0, "new": 1.0, "other": 1.0})]
    train = [case({"edema": 1.0}), case({"edema": 0.0}), case({"edema": 0.0})]  # 2 of 5, with one more of each
    ours = looked(said(None, edema=0.9, new=0.1), said(None, edema=0.2, new=0.1))
    theirs = looked(said(None, edema=0.6), said(None, edema=0.0))
    found = losses(measures(cases, ours, theirs, Floors(train, 0), ["new"], 0))["finding loss"]
    assert found.value == pytest.approx(-(np.log(0.9) + np.log(0.8)) / 2)
    assert found.base == pytest.approx(-np.log(0.6) / 2, abs=1e-6)
    assert found.floors == {PREVALENCE_FLOOR: pytest.approx(-(np.log(0.4) + np.log(0.6)) / 2)}
    alone = losses(measures(cases, ours, looked(said(), said()), Floors(train, 0), ["new"], 0))["finding loss"]
    assert alone.value == pytest.approx(-(np.log(0.9) + np.log(0.8) + 2 * np.log(0.1)) / 4)
    assert alone.base is None
    assert alone.floors == {PREVALENCE_FLOOR: pytest.approx(-(np.log(0.4) + np.log(0.6) + 2 * np.log(0.5)) / 4)}


# ---- what a verdict goes by -----------------------------------------------------------------------------------------
def test_gains_are_over_patients_and_a_floor_is_called_one() -> None:
    """Two images of one patient are one patient; where the base shows nothing, the best floor stands in by its name."""
    cases = [
        make_case(f"{n}", patient=f"p{n // 2}", findings={"edema": float(n % 4 < 2)}, readings=[("owl", patches(0, 1))])
        for n in range(2 * LEAST_PATIENTS)
    ]  # fmt: skip
    ours = looked(*[said(patches(0, 1), edema=0.9 if n % 4 < 2 else 0.1) for n in range(len(cases))])
    theirs = looked(*[said(patches(1, 2), edema=0.5) for _ in cases])
    found = by_name(measures(cases, ours, theirs, NO_FLOORS, [], 0))
    for name in (SEQUENCE, AUROC):
        gain = found[name].gain
        assert gain is not None
        assert (gain.against, gain.patients) == (BASE, LEAST_PATIENTS)
        assert gain.value == pytest.approx((found[name].value or 0) - (found[name].base or 0))
    silent = by_name(measures(cases, ours, looked(*[said() for _ in cases]), Floors(cases[:2], 0), [], 0))
    path, finding = silent[SEQUENCE], silent[AUROC]
    assert (path.base, finding.base) == (None, None)
    assert path.gain is not None
    assert finding.gain is not None
    assert (path.gain.against, finding.gain.against) == (CONSTANT_FLOOR, CHANCE_FLOOR)
    assert path.gain.value == pytest.approx((path.value or 0) - path.floors[CONSTANT_FLOOR])
    few = by_name(measures(cases[:6], ours_of(ours, 6), ours_of(theirs, 6), NO_FLOORS, [], 0))
    assert few[SEQUENCE].gain is not None
    assert (few[SEQUENCE].gain.patients, few[SEQUENCE].gain.value) == (3, None)


def test_a_mean_auroc_and_its_gain_are_of_the_same_findings() -> None:
    """Else "AUROC 0.886 to 0.903, gain -0.064": a finding that few have moves the mean and is not judged."""
    rng = np.random.default_rng(0)
    cases, ours, theirs = [], [], []
    for n in range(3 * LEAST_PATIENTS):
        labels = {"edema": float(n % 2), "nodule": float(n % 3 == 0), "rare": float(n < 3), "always": 1.0}
        cases.append(make_case(f"{n}", findings=labels))
        ours.append(said(None, **{name: label / 3 + rng.random() / 2 for name, label in labels.items()}))
        theirs.append(said(None, **{name: rng.random() for name in labels}))
    found = by_name(measures(cases, looked(*ours), looked(*theirs), NO_FLOORS, ["nodule"], 0))
    for group, judged, left_out in ((AUROC, "edema", 1), (ADDED, "nodule", 0)):
        mean, gain, one = found[group], found[group].gain, found[f"{AUROC}: {judged}"]
        assert gain is not None
        assert (mean.value, mean.base) == (one.value, one.base)
        assert gain.value == pytest.approx((mean.value or 0) - (mean.base or 0))
        assert (gain.findings, gain.left_out) == (1, left_out)
    assert found[f"{AUROC}: rare"].value is not None, "it is told beside the others"
    why = judge(list(found.values()), len(cases)).why
    for group, of in ((AUROC, "(1 of 2 findings)"), (ADDED, "(1 finding)")):
        one = found[group]
        assert one.gain is not None
        assert f"{group} {of} {one.base:.3f} to {one.value:.3f}, gain {one.gain.value:+.3f}" in why
    silent = by_name(measures(cases, looked(*ours), looked(*[said() for _ in cases]), NO_FLOORS, [], 0))[AUROC]
    assert silent.gain is not None
    assert (silent.gain.against, silent.base, silent.gain.findings, silent.gain.left_out) == (CHANCE_FLOOR, None, 2, 1)
    assert silent.gain.value == pytest.approx((silent.value or 0) - 0.5)


def test_a_mean_auroc_beside_the_base_is_of_what_the_base_knows() -> None:
    """Whether or not there are enough patients for a gain."""
    cases = [case({"edema": float(n % 2), "new": float(n < 2)}) for n in range(4)]
    ours = looked(*[said(None, edema=0.2 + n / 9, new=0.5) for n in range(4)])
    found = by_name(measures(cases, ours, looked(*[said(None, edema=1 - n / 9) for n in range(4)]), NO_FLOORS, [], 0))
    assert (found[AUROC].value, found[AUROC].base) == (0.75, 0.25)
    assert found[AUROC].gain == Gain(BASE, 1)
    assert "AUROC 0.250 to 0.750: too few to tell" in judge(list(found.values()), 1).why


def ours_of(whole: Predictions, number: int) -> Predictions:
    return Predictions(whole.diagnoses[:number], whole.losses, whole.aims)


def test_early_stopping_goes_by_the_main_measures() -> None:
    beside = [Measure(ORDER, 1.0, 0.0), Measure(f"{AUROC}: edema", 1.0, 0.0), Measure(SEQUENCE, None, 0.4)]
    assert selection_score([*beside, Measure(AUROC, 0.6, 0.7), Measure(SEQUENCE, 0.4, None)]) == pytest.approx(0.5)
    assert selection_score(beside) is None
