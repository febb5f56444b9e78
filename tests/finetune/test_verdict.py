"""Is an adapter better than its base? What noise, a better adapter and too few patients are told, and how."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from finetune.records import (
    BASE,
    PROVENANCE_FILE,
    UNJUDGED,
    Gain,
    Measure,
    RecordError,
    Verdict,
    read_provenance,
    verdict_of,
)
from finetune.verdict import ADDED, CHOSEN, LEAST_OF_EACH, LEAST_PATIENTS, MAIN, Resampled, chosen_by_scores, judge
from gazevlm_core.evaluation.checkpoint_scores import FLOOR_FOR_BASE, PASSED_BY_NOISE, read_verdict
from gazevlm_core.metrics.intervals import patient_counts
from gazevlm_core.metrics.registry import AUROC, SEQUENCE

SETS, RESAMPLES = 200, 400
CHANCE, SHUFFLED = "chance", "its own path, shuffled"


def simulated(patients: int, better_by: float, rng: np.random.Generator) -> Verdict:
    """The verdict on made-up scores: base and adapter share what is hard about an image, and each has noise of its own.

    Args:
        patients: held out, with two images each.
        better_by: how much more the adapter knows; 0 for an adapter that is noise beside its base.
        rng: draws everything.
    """
    owners = np.repeat(np.arange(patients), 2)
    drawn = Resampled(owners, patient_counts(owners, RESAMPLES, seed=int(rng.integers(2**31))))
    hard = rng.normal(0, 0.1, len(owners))
    own, other = (hard + rng.normal(more, 0.1, len(owners)) for more in (better_by / 5, 0.0))
    labels = np.repeat((rng.random((patients, 2)) < 0.4).astype(float), 2, axis=0)
    ours, theirs = (labels * knows + rng.normal(0, 1, labels.shape) for knows in (1 + better_by, 1.0))
    added = np.repeat((rng.random((patients, 1)) < 0.5).astype(float), 2, axis=0)
    found = [
        Measure(SEQUENCE, 0.3, 0.3, gain=drawn.mean_gain(own, other, BASE)),
        Measure(AUROC, 0.7, 0.7, gain=drawn.auroc_gain(labels, ours, theirs, BASE)),
        Measure(ADDED, 0.5, None, gain=drawn.auroc_gain(
            added, added * better_by + rng.normal(0, 1, added.shape), None, CHANCE)),
    ]  # fmt: skip
    return judge(found, patients)


@pytest.mark.parametrize("patients", [LEAST_PATIENTS, 40])
def test_noise_is_called_better_in_one_of_twenty_held_out_sets_at_most(patients: int) -> None:
    """Without an interval, by the sign of a mean, it was half of them."""
    rng = np.random.default_rng(patients)
    outcomes = [simulated(patients, 0.0, rng).outcome for _ in range(SETS)]
    assert outcomes.count("better") <= 0.05 * SETS
    assert outcomes.count("no difference seen") >= 0.85 * SETS


def test_a_better_adapter_is_found_with_enough_patients_and_a_worse_one_too() -> None:
    rng = np.random.default_rng(1)
    assert [simulated(60, 1.0, rng).outcome for _ in range(20)].count("better") >= 19
    assert [simulated(60, -1.0, rng).outcome for _ in range(20)].count("worse") >= 19


@pytest.mark.parametrize("patients", [1, 3, LEAST_PATIENTS - 1])
def test_few_patients_give_no_verdict(patients: int) -> None:
    rng = np.random.default_rng(2)
    for better_by in (-9.0, 0.0, 9.0):
        verdict = simulated(patients, better_by, rng)
        assert verdict.outcome == "too few to tell"
        assert set(verdict.scores.values()) == {"too few to tell"}
        assert f"of which a verdict needs {LEAST_PATIENTS}" in verdict.why


def test_a_finding_that_few_have_gives_no_auroc_verdict() -> None:
    patients = np.arange(60)
    drawn = Resampled(patients, patient_counts(patients, RESAMPLES))
    labels = np.zeros((60, 2))
    labels[: LEAST_OF_EACH - 1, 0] = 1  # one too few; and nobody has the other
    gain = drawn.auroc_gain(labels, labels, 1 - labels, BASE)
    assert gain == Gain(BASE, 60)
    why = judge([Measure(AUROC, 1.0, 0.0, gain=gain)], 60).why
    assert f"since no finding is there in {LEAST_OF_EACH} patients and absent in {LEAST_OF_EACH}" in why
    labels[: LEAST_OF_EACH, 0] = 1
    assert drawn.auroc_gain(labels, labels, 1 - labels, BASE) == Gain(BASE, 60, 1.0, 1.0, 1.0)


def test_a_score_that_is_known_of_few_patients_says_of_how_many() -> None:
    few = Measure(SEQUENCE, 0.4, 0.3, gain=Gain(BASE, 12))
    assert "too few to tell, since it is known of 12 of them, and a verdict needs 20" in judge([few], 60).why
    assert "since" not in judge([few], 12).why, "it says so of all of them"


def gained(low: float, high: float, against: str = BASE) -> Gain:
    return Gain(against, 30, (low + high) / 2, low, high)


UP, DOWN, EVEN, FEW = gained(0.1, 0.3), gained(-0.3, -0.1), gained(-0.1, 0.3), Gain(BASE, 30)


@pytest.mark.parametrize(("gains", "outcome"), [
    ((UP,), "better"), ((UP, EVEN, FEW), "better"), ((EVEN,), "no difference seen"),
    ((EVEN, FEW), "no difference seen"), ((DOWN,), "worse"), ((UP, DOWN), "worse"),
    ((FEW,), "too few to tell"), ((gained(0.0, 0.2),), "no difference seen"),
])  # fmt: skip
def test_better_needs_a_gain_and_no_loss(gains: tuple[Gain, ...], outcome: str) -> None:
    found = [Measure(name, 0.5, 0.3, gain=gain) for name, gain in zip(MAIN, gains, strict=False)]
    assert judge(found, 30).outcome == outcome


def test_the_words_name_figures_intervals_and_floors() -> None:
    measures = [
        Measure(SEQUENCE, 0.31, None, {SHUFFLED: 0.21}, gain=gained(0.05, 0.15, SHUFFLED)),
        Measure(AUROC, 0.7, 0.8, gain=gained(-0.15, -0.05)),
        Measure("order gain", 1.0, 0.0), Measure(ADDED, None, None),
    ]  # fmt: skip
    verdict = judge(measures, 30)
    assert verdict.scores == {SEQUENCE: "above the floor", AUROC: "worse"}
    assert verdict.why == (
        "It is worse than its base (30 held-out patients): AUROC 0.800 to 0.700, gain -0.100 [-0.150, -0.050]: worse. "
        "The base has no sequence score: 0.310 beside 0.210 of the floor (its own path, shuffled), difference +0.100 "
        "[+0.050, +0.150]: above the floor."
    )
    mixed = judge([replace(measures[0], base=0.21, gain=UP), measures[1]], 30).why
    assert mixed.startswith("It is worse than its base in AUROC, though better in sequence score (30 held-out")
    low = Measure(SEQUENCE, 0.13, 0.09, {SHUFFLED: 0.12, "best path": 0.202}, gain=gained(0.03, 0.05))
    assert judge([low], 30).why.endswith(" Not above the best floor: sequence score 0.130, best path 0.202.")
    nothing = judge(measures[2:], 1)
    assert nothing == Verdict("not comparable", "Nothing could be compared with the base on 1 held-out patient.")


@pytest.mark.parametrize(("gain", "said"), [
    (gained(0.1, 0.3, SHUFFLED), "above the floor"), (gained(-0.3, -0.1, SHUFFLED), "below the floor"),
    (gained(-0.1, 0.3, SHUFFLED), "no different from the floor"), (Gain(SHUFFLED, 30), "too few to tell"),
])  # fmt: skip
def test_a_floor_is_not_the_base(gain: Gain, said: str) -> None:
    """What the base does not show says nothing of the base, whatever it is beside a floor."""
    path = Measure(SEQUENCE, 0.178, None, {SHUFFLED: 0.21}, gain=gain)
    alone = judge([path], 30)
    assert (alone.outcome, alone.scores, alone.better) == ("not comparable", {SEQUENCE: said}, False)
    assert alone.why.startswith("Its base has nothing to compare it with (30 held-out patients). The base has no seq")
    assert f": {said}" in alone.why
    assert "better than" not in alone.why
    assert "worse than" not in alone.why
    for of_base, outcome in ((UP, "better"), (EVEN, "no difference seen"), (DOWN, "worse"), (FEW, "too few to tell")):
        assert judge([path, Measure(AUROC, 0.9, 0.8, gain=of_base)], 30).outcome == outcome


def test_a_step_that_the_scores_chose_is_said_to_be_flattered() -> None:
    found = [Measure(SEQUENCE, 0.5, 0.3, gain=UP)]
    verdict = judge(found, 30)
    assert chosen_by_scores(verdict, found) == Verdict(verdict.outcome, verdict.why + CHOSEN, verdict.scores)
    assert chosen_by_scores(verdict, [Measure("text loss", 1.0, 2.0)]) == verdict, "nothing was chosen by that"


# ---- files ----------------------------------------------------------------------------------------------------------
def test_the_verdict_of_an_earlier_version_counts_as_unknown(tmp_path: Path) -> None:
    old = {"better": True, "why": "It is better than its base on 3 held-out images: AUROC 0.500 to 0.501."}
    (tmp_path / PROVENANCE_FILE).write_text(json.dumps({"verdict": old}))
    values = read_provenance(tmp_path)
    assert values is not None
    unknown = Verdict("unknown", UNJUDGED.format(why=PASSED_BY_NOISE))
    assert values["verdict"] == asdict(unknown)
    assert verdict_of(old) == unknown
    new = {"outcome": "worse", "why": "Because.", "scores": {AUROC: "worse"}}
    assert verdict_of(new) == Verdict("worse", "Because.", {AUROC: "worse"})
    assert verdict_of(None) is None


def test_a_verdict_that_took_a_floor_for_the_base_counts_as_unknown(tmp_path: Path) -> None:
    measure = Measure(SEQUENCE, 0.178, None, {SHUFFLED: 0.21}, gain=gained(-0.05, -0.01, SHUFFLED))
    old = Verdict("worse", "It is worse than its base.", {SEQUENCE: "worse"})
    path = tmp_path / PROVENANCE_FILE
    for verdict, believed in ((old, False), (judge([measure], 30), True)):
        path.write_text(json.dumps({"verdict": asdict(verdict), "measures": [asdict(measure)]}))
        unknown = Verdict("unknown", UNJUDGED.format(why=FLOOR_FOR_BASE))
        assert (read_provenance(tmp_path) or {})["verdict"] == asdict(verdict if believed else unknown)
        said = read_verdict(tmp_path)
        assert said == verdict.why if believed else FLOOR_FOR_BASE in (said or "")
    path.write_text(json.dumps({"verdict": asdict(old), "measures": [1]}))
    with pytest.raises(RecordError):
        read_provenance(tmp_path)
