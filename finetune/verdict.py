"""Is an adapter better than its base? Paired intervals over held-out patients, and what they say in words.

Patients are drawn again with all their images (`gazevlm_core.metrics.intervals`), the same ones for both sides of a
comparison. Each of the scores has an interval so wide that all of them together err in one run of twenty at most
(Bonferroni). A score that the base does not have is held against a floor, which says nothing about the base. Fewer
patients than LEAST_PATIENTS give no verdict, nor does a finding that fewer than LEAST_OF_EACH of them have or lack:
percentile intervals of so few are too narrow.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from finetune.cases import patient_groups
from finetune.records import BesideFloor, Gain, Judgement, Measure, Verdict, findings_words
from gazevlm_core.metrics.intervals import Estimate, estimate_of, patient_counts, ratio_samples
from gazevlm_core.metrics.labels import CHANCE, macro_auroc
from gazevlm_core.metrics.registry import AUROC, SEQUENCE
from gazevlm_core.sample import Sample
from web.formatting import counted

ADDED = "AUROC of added findings"
MAIN = (SEQUENCE, AUROC, ADDED)  # what the verdict goes by
LEAST_PATIENTS, LEAST_OF_EACH = 20, 10
CONFIDENCE = 1 - 0.05 / len(MAIN)
HEADS: Mapping[Judgement, str] = {
    "better": "It is better than its base",
    "worse": "It is worse than its base",
    "no difference seen": "No difference from its base was seen",
    "too few to tell": "Too few to tell whether it is better than its base",
    "not comparable": "Its base has nothing to compare it with",
}
CHOSEN = " Its step was chosen by its scores on these images, which flatters it; other images tell how good it is."


@dataclass(frozen=True, eq=False)
class Resampled:
    """Patients of held-out images, drawn again and again.

    Args:
        patients: [N], the patient of each image.
        counts: float64 [R, N], how often each image is drawn.
    """

    patients: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, cases: Sequence[Sample], seed: int) -> "Resampled":
        """Return the patients of images, drawn by a seed."""
        patients = np.array(patient_groups(cases))
        return cls(patients, patient_counts(patients, seed=seed))

    def mean_gain(self, own: np.ndarray, other: np.ndarray, against: str) -> Gain:
        """Return the gain of a score that every image has; NaN, in both, for an image without.

        Args:
            own, other: float [N], per image.
            against: whose score `other` is.
        """
        known = ~np.isnan(own)
        patients = len(np.unique(self.patients[known]))
        if patients < LEAST_PATIENTS:
            return Gain(against, patients)
        gains = np.where(known, own - other, 0.0)
        samples = ratio_samples(gains, known.astype(np.float64), self.counts)
        return _gain(against, patients, estimate_of(float(gains[known].mean()), samples, CONFIDENCE))

    def auroc_gain(self, labels: np.ndarray, own: np.ndarray, other: np.ndarray | None, against: str) -> Gain:
        """Return the gain of the mean AUROC over the findings that enough patients have and lack.

        Args:
            labels: float [N, F] of 1, 0 and NaN.
            own: float [N, F], probabilities.
            other: of whom it is compared with; None for chance.
            against: whose probabilities `other` is.
        """
        patients, enough = len(np.unique(self.patients[~np.isnan(labels).all(axis=1)])), self.judged(labels)
        if patients < LEAST_PATIENTS or not enough:
            return Gain(against, patients)
        names = list(map(str, enough))
        ours = macro_auroc(labels[:, enough], own[:, enough], names, self.counts)
        before, samples = CHANCE, np.full(len(self.counts), CHANCE)
        if other is not None:
            theirs = macro_auroc(labels[:, enough], other[:, enough], names, self.counts)
            before, samples = theirs.macro.value, theirs.samples
        return _gain(
            against, patients, estimate_of(ours.macro.value - before, ours.samples - samples, CONFIDENCE)
        )

    def judged(self, labels: np.ndarray) -> list[int]:
        """Return the columns of labels [N, F] of findings that enough patients have and lack."""
        return [column for column in range(labels.shape[1]) if enough_of_each(self.patients, labels[:, column])]


def enough_of_each(patients: Sequence[str] | np.ndarray, labels: Sequence[float | None] | np.ndarray) -> bool:
    """Return whether enough patients have a finding, and lack it, for its AUROC to be judged.

    Args:
        patients, labels: of each image; other labels than 1 and 0 do not count.
    """
    people, known = np.asarray(patients), np.asarray(labels, np.float64)
    return min(len(np.unique(people[known == value])) for value in (0, 1)) >= LEAST_OF_EACH


def _gain(against: str, patients: int, estimate: Estimate) -> Gain:
    return Gain(against, patients, float(estimate.value), float(estimate.low), float(estimate.high))


def judge_gain(gain: Gain) -> Judgement | BesideFloor:
    """Return what one interval says, of the base or of a floor."""
    if gain.low is None or gain.high is None:
        return "too few to tell"
    if not gain.over_base:
        return "above the floor" if gain.low > 0 else (
            "below the floor" if gain.high < 0 else "no different from the floor"
        )  # fmt: skip
    return "better" if gain.low > 0 else "worse" if gain.high < 0 else "no difference seen"


def judge(found: Sequence[Measure], patients: int) -> Verdict:
    """Return whether an adapter is better than its base: by the intervals of the main measures that the base has.

    Args:
        found: from `held_out.measures`.
        patients: held-out patients behind them.
    """
    compared = [one for one in found if one.name in MAIN and one.value is not None and one.gain is not None]
    scores = {one.name: judge_gain(one.gain) for one in compared if one.gain is not None}
    who = counted(patients, "held-out patient")
    if not compared:
        return Verdict("not comparable", f"Nothing could be compared with the base on {who}.")
    of_base = [one for one in compared if one.gain is not None and one.gain.over_base]
    outcome = _overall([scores[one.name] for one in of_base]) if of_base else "not comparable"
    head = HEADS[outcome]
    if outcome == "worse" and "better" in scores.values():
        head += f" in {_named(scores, 'worse')}, though better in {_named(scores, 'better')}"
    needs = f", of which a verdict needs {LEAST_PATIENTS}" if patients < LEAST_PATIENTS else ""
    words = "; ".join(_score_words(one, scores[one.name], patients) for one in of_base)
    sentences = [f"{head} ({who}{needs})" + (f": {words}." if words else ".")]
    sentences += [_floor_words(one, scores[one.name], patients) for one in compared if one not in of_base]
    if unbeaten := "; ".join(filter(None, map(_unbeaten_floor, of_base))):
        sentences.append(f"Not above the best floor: {unbeaten}.")
    return Verdict(outcome, " ".join(sentences), scores)


def chosen_by_scores(verdict: Verdict, found: Sequence[Measure]) -> Verdict:
    """Return a verdict on the best of several steps, which says that the held-out images chose it.

    Args:
        found: as in `judge`; without a main measure no step is chosen.
    """
    if not any(one.name in MAIN and one.value is not None for one in found):
        return verdict
    return replace(verdict, why=verdict.why + CHOSEN)


def _overall(scores: Sequence[str]) -> Judgement:
    order: tuple[Judgement, ...] = ("worse", "better", "no difference seen")
    return next((one for one in order if one in scores), "too few to tell")


def _named(scores: Mapping[str, Judgement | BesideFloor], outcome: str) -> str:
    return " and ".join(name for name, one in scores.items() if one == outcome)


def _score_words(measure: Measure, outcome: str, patients: int) -> str:
    """Return, e.g., "sequence score 0.200 to 0.500, gain 0.300 [0.210, 0.390]: better"."""
    gain = measure.gain
    assert gain is not None  # see `judge`
    name = measure.name + findings_words(gain)
    words = f"{name} {measure.base:.3f} to {measure.value:.3f}{_difference('gain ', gain)}"
    return f"{words}: {outcome}{_lacking(gain, patients)}"


def _floor_words(measure: Measure, outcome: str, patients: int) -> str:
    """Return a sentence on a score that the base does not have, e.g. "The base has no sequence score: 0.310 beside
    0.210 of the floor (its own path, shuffled), difference +0.100 [+0.050, +0.150]: above the floor."."""
    gain = measure.gain
    assert gain is not None  # see `judge`
    floor = measure.floors.get(gain.against)
    beside = f"the floor ({gain.against})" if floor is None else f"{floor:.3f} of the floor ({gain.against})"
    words = f"{measure.value:.3f}{findings_words(gain)} beside {beside}{_difference('difference ', gain)}"
    return f"The base has no {measure.name}: {words}: {outcome}{_lacking(gain, patients)}."


def _difference(name: str, gain: Gain) -> str:
    return "" if gain.value is None else f", {name}{gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"


def _lacking(gain: Gain, patients: int) -> str:
    """Return why so many held-out patients do not suffice; "" where they do, or are too few anyway."""
    if gain.value is not None or patients < LEAST_PATIENTS:
        return ""
    if gain.patients < LEAST_PATIENTS:
        return f", since it is known of {gain.patients} of them, and a verdict needs {LEAST_PATIENTS}"
    return f", since no finding is there in {LEAST_OF_EACH} patients and absent in {LEAST_OF_EACH}"


def _unbeaten_floor(measure: Measure) -> str:
    """Return the best floor of a score where the score is no higher; "" where it is."""
    name = max(measure.floors, key=lambda floor: measure.floors[floor], default="")
    if not name or measure.value is None or measure.value > measure.floors[name]:
        return ""
    return f"{measure.name} {measure.value:.3f}, {name} {measure.floors[name]:.3f}"
