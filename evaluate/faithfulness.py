"""`gazevlm evaluate --faithfulness`: all five measures on drawn phantoms, with paired intervals over phantoms."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from evaluate.counterfactuals import (
    AVOIDING,
    BACK,
    BOTH,
    ELSEWHERE,
    GONE,
    LED,
    NEITHER,
    PATHS,
    RANDOM,
    Case,
    PhantomTrial,
    Swap,
    count_left_out,
    try_phantoms,
)
from gazevlm_core.evaluation.faithfulness import (
    NO_PATH,
    OWN,
    ImageTrial,
    can_be_measured,
    effect_of,
    faithfulness_of,
    image_effects,
    try_images,
)
from gazevlm_core.evaluation.graded import against
from gazevlm_core.evaluation.report import Bar, Effect, Faithfulness, Role
from gazevlm_core.evaluation.views import Viewer
from gazevlm_core.findings import grade_of
from gazevlm_core.metrics.intervals import (
    Estimate,
    bootstrap_counts,
    estimate_of,
    mean_estimate,
    median_estimate,
    ratio_estimate,
)
from gazevlm_core.metrics.labels import macro_auroc

Trials = list[tuple[PhantomTrial, ImageTrial]]
SMALL = "small findings"
PATH_EFFECT = "AUROC, own path less paths that avoid every finding: "
LED_LESS = "own path led to every finding, less paths that avoid every finding"
SWAP = "median fall of P when its glimpses are those of the twin: "
ABOVE = "steering: the finding looked at is the more probable one"
PATH_BAR, SWAP_BAR, STEERING_BAR = 0.10, 0.3, 0.8


def try_all(
    viewer: Viewer, cases: Sequence[Case], *, batch_size: int, seed: int = 0,
    progress: Callable[[int], object] = lambda count: None,
) -> Trials:  # fmt: skip
    """Return what became of each phantom, in their order; nothing where the model cannot be measured."""
    found: Trials = []
    for first in range(0, len(cases), batch_size):
        batch = cases[first : first + batch_size]
        images = [case.image for case in batch]
        own = viewer.own_places(images) if viewer.names else []
        if own and can_be_measured(viewer, own):
            rngs = [np.random.default_rng((seed, case.seed)) for case in batch]
            phantoms = try_phantoms(viewer, batch, own, batch_size, rngs)
            found += zip(phantoms, try_images(viewer, images, own, batch_size, rngs), strict=True)
        progress(len(batch))
    return found


def score_trials(viewer: Viewer, trials: Trials, images: int, resamples: int, seed: int) -> Faithfulness:
    """Return the report's part about one model, from the trials of all phantoms."""
    if len(trials) < images:
        return faithfulness_of(viewer, images, [], {NO_PATH: images - len(trials)})
    counts = bootstrap_counts(images, resamples, seed)
    phantoms = [phantom for phantom, _ in trials]
    effects = [
        *path_effects(phantoms, viewer.names, counts),
        *swap_effects(phantoms, counts),
        *steering_effects(phantoms, counts),
        *image_effects([image for _, image in trials], counts),
    ]
    return faithfulness_of(viewer, images, effects, count_left_out(phantoms))


# ---- path effect ----------------------------------------------------------------------------------------------------
def path_effects(trials: Sequence[PhantomTrial], names: Sequence[str], counts: np.ndarray) -> list[Effect]:
    """Return differences of AUROC by the severity of the findings, and for small ones; others are left out each time.

    Args:
        trials: of N phantoms.
        counts: [R, N] from `bootstrap_counts`.
    """
    rows = np.array([bool(trial.paths) for trial in trials])
    tried = [trial for trial in trials if trial.paths]
    effects = []
    for subset in ("all findings", "subtle", "moderate", "severe", SMALL):
        labels = np.array([[_label(trial, name, subset) for name in names] for trial in tried]).reshape(-1, len(names))
        scores = {
            path: macro_auroc(labels, _logits(tried, path, names), names, counts[:, rows])
            for path in PATHS
        }
        less = {
            (first, second): estimate_of(
                scores[first].macro.value - scores[second].macro.value, scores[first].samples - scores[second].samples
            )
            for first, second in ((OWN, AVOIDING), (OWN, RANDOM), (LED, AVOIDING))
        }
        beside = {"own path less random paths": less[OWN, RANDOM], LED_LESS: less[LED, AVOIDING]}
        beside |= {f"AUROC, {path}": score.macro for path, score in scores.items()}
        positive = int(np.nansum(labels))
        effects.append(effect_of("path effect", PATH_EFFECT + subset, less[OWN, AVOIDING], positive, beside))
    return effects


def _label(trial: PhantomTrial, name: str, subset: str) -> float:
    """Return 1.0 for a finding of a subset, NaN for one outside it, 0.0 for one that is not there."""
    if name not in trial.severities:
        return 0.0
    inside = subset in ("all findings", grade_of(trial.severities[name])) or (subset == SMALL and name in trial.small)
    return 1.0 if inside else float("nan")


def _logits(trials: Sequence[PhantomTrial], path: str, names: Sequence[str]) -> np.ndarray:
    return np.array([[trial.paths[path][name] for name in names] for trial in trials]).reshape(-1, len(names))


# ---- glimpse swap ---------------------------------------------------------------------------------------------------
def swap_effects(trials: Sequence[PhantomTrial], counts: np.ndarray) -> list[Effect]:
    """Return median changes of the probability of findings that the path has seen, and of the words; as above."""
    kinds: dict[str, Callable[[Swap], bool]] = {
        "findings that the path has seen": lambda swap: True,
        "of these, called present (P >= 0.5)": lambda swap: swap.probability[BOTH] >= 0.5,
        SMALL: lambda swap: swap.small,
        "findings that change the body's shape": lambda swap: swap.reshaped,
    }
    effects = []
    for words, chosen in kinds.items():
        swaps = [(number, swap) for number, trial in enumerate(trials) for swap in trial.swaps if chosen(swap)]
        phantoms = np.array([number for number, _ in swaps], dtype=np.int64)

        def table(part: str, variant: str, swaps: Sequence[tuple[int, Swap]] = swaps) -> np.ndarray:
            return np.array([getattr(swap, part)[variant] for _, swap in swaps], np.float64)

        def median(values: np.ndarray, phantoms: np.ndarray = phantoms) -> Estimate:
            known = ~np.isnan(values)
            return median_estimate(values[known], phantoms[known], counts)

        p = {variant: table("probability", variant) for variant in (BOTH, GONE, ELSEWHERE, BACK, NEITHER)}
        yes = {variant: table("yes", variant) for variant in p}
        beside = {
            "control: as many glimpses that leave it out, of another phantom": median(p[BOTH] - p[ELSEWHERE]),
            "median rise of P when only the glimpses show it": median(p[BACK] - p[NEITHER]),
            "median fall of P without it in image and glimpses": median(p[BOTH] - p[NEITHER]),
            "share of yes that becomes no": _turned(yes[BOTH], 1 - yes[GONE], phantoms, counts),
            "control: share of yes that becomes no": _turned(yes[BOTH], 1 - yes[ELSEWHERE], phantoms, counts),
            "share of no that becomes yes when only the glimpses show it":
                _turned(1 - yes[NEITHER], yes[BACK], phantoms, counts),
        }  # fmt: skip
        effects.append(effect_of("glimpse swap", SWAP + words, median(p[BOTH] - p[GONE]), len(swaps), beside))
    return effects


def _turned(before: np.ndarray, after: np.ndarray, phantoms: np.ndarray, counts: np.ndarray) -> Estimate:
    """Return how often what was 1 before is 1 after: a share of findings, whose phantoms are drawn again."""
    known = ~np.isnan(after)
    size = counts.shape[1]
    turned = np.bincount(phantoms[known], (before * after)[known], size)
    there = np.bincount(phantoms[known], before[known], size)
    with np.errstate(invalid="ignore"):
        return ratio_estimate(turned, there, counts)


# ---- steering -------------------------------------------------------------------------------------------------------
def steering_effects(trials: Sequence[PhantomTrial], counts: np.ndarray) -> list[Effect]:
    """Return what looking at one of two findings does; phantoms without such a pair are left out."""
    known = [trial.steered for trial in trials]

    def mean(part: str) -> Estimate:
        return mean_estimate(np.array([getattr(one, part) if one else np.nan for one in known]), counts)

    beside = {
        "it is more probable than when the other is looked at": mean("raised"),
        "by how much, in the mean": mean("gain"),
        "the report names it first": mean("named"),
    }
    cases = sum(one is not None for one in known)
    return [effect_of("steering", ABOVE, mean("above"), cases, beside, useless=0.5)]


# ---- bars -----------------------------------------------------------------------------------------------------------
def faithfulness_bars(measured: Mapping[Role, Faithfulness]) -> list[Bar]:
    """Return what the embedded checkpoint is held to; a twin without glimpses proves the measure."""
    found = {role: {effect.name: effect for effect in one.effects} for role, one in measured.items()}
    own = found["model"]
    bars = [
        against(f"path effect, {SMALL}", own.get(PATH_EFFECT + SMALL), ">=", PATH_BAR),
        against("fall of P by a glimpse swap", own.get(f"{SWAP}findings that the path has seen"), ">=", SWAP_BAR),
        against("steering raises a finding above the other", own.get(ABOVE), ">=", STEERING_BAR),
    ]
    blind = {role: found[role].get(f"{PATH_EFFECT}all findings") for role, one in measured.items() if not one.glimpses}
    return bars + [against(f"path effect without glimpses ({role})", effect, "<=", 0.0)
                   for role, effect in blind.items() if effect is not None]  # fmt: skip
