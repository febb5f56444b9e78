"""How far a model's path is believed, on drawn phantoms: paths that avoid findings, swapped glimpses, steering.

A phantom's findings, masks and twins without one finding are known exactly, which no data set of patients has.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from PIL import Image

from gazevlm_core.evaluation.faithfulness import (
    NAN,
    OWN,
    Generators,
    answers_yes,
    covered,
    probabilities,
    random_places,
    windows_at,
)
from gazevlm_core.evaluation.views import Answer, Places, View, Viewer, answer_all
from gazevlm_core.findings import presence_question
from gazevlm_core.report_parser import parse_report
from gazevlm_core.scanpath import Fixation
from phantoms.finding import ShapeChange
from phantoms.findings import DRAWN_FINDINGS
from phantoms.make import render_twins, sample_case
from phantoms.truth import PlacedFinding

AVOIDING, RANDOM = "paths that avoid every finding", "random paths"
LED = "own path, led to every finding"
PATHS = (OWN, AVOIDING, RANDOM, LED)
BOTH, GONE, ELSEWHERE = "image and glimpses", "glimpses without the finding", "other glimpses swapped"
BACK, NEITHER = "glimpses alone with the finding", "neither"
SWAPS = (BOTH, GONE, ELSEWHERE, BACK, NEITHER)
SMALL_SHARE = 1 / 64  # of the image: a patch of the embedded model's small image
SEEN_SHARE = 0.25  # of a finding's mask in one glimpse, or of a glimpse in the mask
LATTICE = 32  # places per side to choose from


@dataclass(frozen=True, eq=False)
class Case:
    """A phantom with its twins.

    Args:
        seed: of the phantom.
        image: of it.
        findings: what is there.
        twins: finding -> the same image without it.
        reshaped: findings that change the body's shape, and with it the image far from their masks.
    """

    seed: int
    image: Image.Image
    findings: Mapping[str, PlacedFinding]
    twins: Mapping[str, Image.Image]
    reshaped: frozenset[str]

    @property
    def small(self) -> frozenset[str]:
        """Findings small enough to need a glimpse: no larger than SMALL_SHARE, and the body keeps its shape."""
        return frozenset(name for name, one in self.findings.items()
                         if one.mask.mean() <= SMALL_SHARE and name not in self.reshaped)  # fmt: skip


@dataclass(frozen=True)
class Swap:
    """What became of one finding that the path has seen, by SWAPS; NaN where the control has no place left.

    Args:
        name, small, reshaped: of the finding.
        probability: of the finding.
        yes: 1.0 where the answer to its presence question is yes.
    """

    name: str
    small: bool
    reshaped: bool
    probability: Mapping[str, float]
    yes: Mapping[str, float]


@dataclass(frozen=True)
class Steered:
    """What looking at one of two findings does, over both ways round; NaN where reports name neither.

    Args:
        above: how often the one that is looked at is the more probable one.
        raised: how often it is more probable than where the other one is looked at.
        gain: by how much, in the mean.
        named: how often it is the first of the two that the report names.
    """

    above: float
    raised: float
    gain: float
    named: float


@dataclass(frozen=True)
class PhantomTrial:
    """What became of one phantom.

    Args:
        severities, small: of its findings.
        paths: by PATHS, finding -> logit; empty where no path avoids all findings.
        swaps: of the findings that the path has seen.
        unseen: how many it has not seen.
        steered: None where no two findings can be looked at apart.
    """

    severities: Mapping[str, float]
    small: frozenset[str]
    paths: Mapping[str, Mapping[str, float]]
    swaps: tuple[Swap, ...]
    unseen: int
    steered: Steered | None


# ---- drawing --------------------------------------------------------------------------------------------------------
def draw_counterfactual(job: tuple[int, str, int]) -> Case:
    """Draw a phantom with its twins, from seed, domain and longer side in px."""
    seed, domain, size_px = job
    case = sample_case(seed, domain)
    phantom, twins = render_twins(case, size_px=size_px)
    return Case(
        seed,
        Image.fromarray(phantom.image).convert("RGB"),
        {finding.name: finding for finding in phantom.findings},
        {name: Image.fromarray(image).convert("RGB") for name, image in twins.items()},
        frozenset(spec.name for spec in case.findings if DRAWN_FINDINGS[spec.name].shape(spec) != ShapeChange()),
    )


def draw_counterfactuals(seeds: Sequence[int], domain: str, size_px: int, workers: int) -> Iterator[Case]:
    """Draw phantoms with their twins, in worker processes."""
    with ProcessPoolExecutor(max_workers=workers) as pool:
        yield from pool.map(draw_counterfactual, [(seed, domain, size_px) for seed in seeds])


# ---- places ---------------------------------------------------------------------------------------------------------
def avoiding_places(
    viewer: Viewer, image: Image.Image, mask: np.ndarray, count: int, rng: np.random.Generator
) -> Places:
    """Return random places in `count` patches whose windows touch no pixel of a mask; fewer where there are fewer."""
    grid, found = viewer.grid(image), {}
    for spot in map(int, rng.permutation(LATTICE**2)):
        place = Fixation((spot % LATTICE + 0.5) / LATTICE, (spot // LATTICE + 0.5) / LATTICE)
        if grid.index_of(place) not in found and not touched(viewer, image, [place], mask)[0]:
            found[grid.index_of(place)] = place
        if len(found) == count:
            break
    return tuple(found.values())


def touched(viewer: Viewer, image: Image.Image, places: Sequence[Fixation], mask: np.ndarray) -> list[bool]:
    """Return whether the window of each place holds a pixel of a mask."""
    windows = windows_at(tuple(places), viewer.grid(image), viewer.patches)
    return [bool((covered([window], mask.shape) & mask).any()) for window in windows]


def seen(viewer: Viewer, image: Image.Image, places: Places, mask: np.ndarray) -> bool:
    """Return whether a glimpse holds SEEN_SHARE of a mask, or is filled so far by it."""
    for window in windows_at(places, viewer.grid(image), viewer.patches):
        there = covered([window], mask.shape)
        if (there & mask).sum() >= SEEN_SHARE * min(mask.sum(), there.sum()):
            return True
    return False


def places_on(viewer: Viewer, image: Image.Image, finding: PlacedFinding, other: PlacedFinding, count: int) -> Places:
    """Return places on a finding whose windows leave out the other: what a reader fixates, then the farthest ones."""
    height, width = finding.mask.shape
    rows, cols = np.nonzero(finding.mask[::4, ::4])
    spots = np.stack([(4 * cols + 2) / width, (4 * rows + 2) / height], axis=1).clip(0, 1 - 1e-6)
    pool = [Fixation(float(x), float(y)) for x, y in np.concatenate([np.reshape(finding.foci, (-1, 2)), spots])]
    free = [place for place, there in zip(pool, touched(viewer, image, pool, other.mask), strict=True) if not there]
    found = free[:1]
    at = np.array([(place.x, place.y) for place in free]).reshape(-1, 2)
    while len(found) < min(count, len(free)):
        away = np.min([((at - (place.x, place.y)) ** 2).sum(axis=1) for place in found], axis=0)
        if away.max() == 0:
            break
        found.append(free[int(away.argmax())])
    return tuple(found)


def led_places(places: Places, findings: Mapping[str, PlacedFinding]) -> Places:
    """Return as many places, the first ones where a reader fixates each finding: a path that knows where they are."""
    on = [Fixation(*map(float, finding.foci[0])) for finding in findings.values()]
    return (*on, *places)[: len(places)]


# ---- one batch ------------------------------------------------------------------------------------------------------
def try_phantoms(
    viewer: Viewer, cases: Sequence[Case], own: Sequence[Places], batch_size: int, rngs: Generators
) -> list[PhantomTrial]:
    """Measure path effect, glimpse swap and steering on some phantoms; arguments as in `try_images`."""
    paths = _path_effect(viewer, cases, own, batch_size, rngs)
    swaps = _glimpse_swaps(viewer, cases, own, batch_size)
    steered = _steering(viewer, cases, own, batch_size)
    return [
        PhantomTrial(
            {name: finding.severity for name, finding in case.findings.items()}, case.small,
            paths.get(row, {}), tuple(swaps[row]),
            sum(name in viewer.names for name in case.findings) - len(swaps[row]), steered.get(row),
        )
        for row, case in enumerate(cases)
    ]  # fmt: skip


def _path_effect(
    viewer: Viewer, cases: Sequence[Case], own: Sequence[Places], batch_size: int, rngs: Generators
) -> dict[int, dict[str, Mapping[str, float]]]:
    variants: dict[str, list[View]] = {name: [] for name in PATHS}
    rows = []
    for row, (case, places, rng) in enumerate(zip(cases, own, rngs, strict=True)):
        none = np.zeros((case.image.height, case.image.width), dtype=bool)
        mask = np.logical_or.reduce([none, *(finding.mask for finding in case.findings.values())])
        away = avoiding_places(viewer, case.image, mask, len(places), rng)
        anywhere = random_places(viewer.grid(case.image), len(places), rng)
        if len(away) == len(places):
            rows.append(row)
            led = led_places(places, case.findings)
            for name, chosen in zip(PATHS, (places, away, anywhere, led), strict=True):
                variants[name].append(View(case.image, chosen))
    answers = answer_all(viewer, variants, batch_size)
    return {row: {name: answers[name][at].logits for name in PATHS} for at, row in enumerate(rows)}


def _glimpse_swaps(viewer: Viewer, cases: Sequence[Case], own: Sequence[Places], batch_size: int) -> list[list[Swap]]:
    variants: dict[str, list[View]] = {name: [] for name in SWAPS}
    rows: list[tuple[int, str, bool]] = []
    for row, (case, places) in enumerate(zip(cases, own, strict=True)):
        for name, finding in case.findings.items():
            if name not in viewer.names or not seen(viewer, case.image, places, finding.mask):
                continue
            twin, elsewhere = case.twins[name], other_glimpses(viewer, case, name, places, cases)
            rows.append((row, name, elsewhere is not None))
            for variant, image, fine in (
                (BOTH, case.image, case.image), (GONE, case.image, twin), (ELSEWHERE, case.image, elsewhere),
                (BACK, twin, case.image), (NEITHER, twin, twin),
            ):  # fmt: skip
                variants[variant].append(View(image, places, fine))
    answers = answer_all(viewer, variants, batch_size)
    questions = {
        variant: [View(view.image, view.places, view.fine, presence_question(name))
                  for view, (_, name, _) in zip(views, rows, strict=True)]
        for variant, views in variants.items()
    }  # fmt: skip
    yes = answers_yes(answer_all(viewer, questions, batch_size, "first"))
    found: list[list[Swap]] = [[] for _ in cases]
    for at, (row, name, controlled) in enumerate(rows):
        there = [variant for variant in SWAPS if controlled or variant != ELSEWHERE]
        p = {variant: float(probabilities([answers[variant][at]], [name])[0, 0]) for variant in there}
        words = {variant: float(yes[variant][at]) for variant in there}
        nothing = {ELSEWHERE: NAN}
        found[row].append(
            Swap(name, name in cases[row].small, name in cases[row].reshaped, nothing | p, nothing | words)
        )
    return found


def other_glimpses(viewer: Viewer, case: Case, name: str, places: Places, others: Sequence[Case]) -> Image.Image | None:
    """Return the image with another phantom in glimpses that leave a finding out, as many as show it if there are.

    None where every glimpse touches the finding, or every other phantom has it.
    """
    touch = touched(viewer, case.image, places, case.findings[name].mask)
    away = [place for place, there in zip(places, touch, strict=True) if not there][: max(1, sum(touch))]
    other = next((one for one in others if one.seed != case.seed and name not in one.findings), None)
    if not away or other is None:
        return None
    windows = windows_at(tuple(away), viewer.grid(case.image), viewer.patches)
    mask = covered(windows, (case.image.height, case.image.width)) & ~case.findings[name].mask
    return Image.composite(other.image.resize(case.image.size), case.image, Image.fromarray(mask))


def _steering(viewer: Viewer, cases: Sequence[Case], own: Sequence[Places], batch_size: int) -> dict[int, Steered]:
    variants: dict[str, list[View]] = {"first": [], "second": []}
    rows: list[tuple[int, tuple[str, str]]] = []
    for row, (case, places) in enumerate(zip(cases, own, strict=True)):
        pair = _apart(viewer, case, max(1, len(places)))
        if pair is not None:
            rows.append((row, (pair[0][0], pair[1][0])))
            for variant, (_, chosen) in zip(variants, pair, strict=True):
                variants[variant].append(View(case.image, chosen))
    answers = answer_all(viewer, variants, batch_size, "report")
    return {row: _steered(pair, answers["first"][at], answers["second"][at]) for at, (row, pair) in enumerate(rows)}


def _apart(viewer: Viewer, case: Case, count: int) -> tuple[tuple[str, Places], tuple[str, Places]] | None:
    """Return two findings with places on each that leave the other out: those with most places, then the smallest."""
    best, found = (0, 0.0), None
    known = [name for name in case.findings if name in viewer.names]
    on = {
        (one, other): places_on(viewer, case.image, case.findings[one], case.findings[other], count)
        for one, other in permutations(known, 2)
    }
    for one, other in on:
        number = min(len(on[one, other]), len(on[other, one]))
        size = float(case.findings[one].mask.mean() + case.findings[other].mask.mean())
        if number and (number, -size) > best:
            best, found = (number, -size), ((one, on[one, other][:number]), (other, on[other, one][:number]))
    return found


def _steered(pair: tuple[str, str], first: Answer, second: Answer) -> Steered:
    (a_first, b_first), (a_second, b_second) = probabilities([first, second], pair).tolist()
    a_logit, b_logit = first.logits[pair[0]] - second.logits[pair[0]], second.logits[pair[1]] - first.logits[pair[1]]
    above = (_more(first.logits[pair[0]], first.logits[pair[1]]), _more(second.logits[pair[1]], second.logits[pair[0]]))
    named = [one for one in (_named_first(pair, first.report), _named_first(pair[::-1], second.report)) if one == one]
    return Steered(
        above=float(np.mean(above)),
        raised=float(np.mean([a_logit > 0, b_logit > 0])),
        gain=((a_first - a_second) + (b_second - b_first)) / 2,
        named=float(np.mean(named)) if named else NAN,
    )


def _more(one: float, other: float) -> float:
    return 0.5 if one == other else float(one > other)


def _named_first(pair: tuple[str, str], report: str) -> float:
    """Return 1.0 where a report asserts the first of two findings before the second, 0.0 the other way, else NaN."""
    order = [name for name in parse_report(report) if name in pair]
    return float(order[0] == pair[0]) if order else NAN


def count_left_out(trials: Sequence[PhantomTrial]) -> Counter[str]:
    """Return how many phantoms and findings a measure had to leave out, and why."""
    return Counter({
        "path effect: phantoms where no path avoids every finding": sum(not trial.paths for trial in trials),
        "glimpse swap: findings that the path has not seen": sum(trial.unseen for trial in trials),
    })  # fmt: skip
