"""How far a model's path is believed, on any images: deletion and insertion of what was fixated, and order.

Deletion and insertion after Petsiuk et al., "RISE", BMVC 2018, with blur in the place of grey pixels, against as many
random places and the centre. What needs drawn phantoms is in `evaluate.counterfactuals`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from gazevlm_core.datasets.trained_on import TrainedOn
from gazevlm_core.evaluation.report import Effect, Faithfulness, Score
from gazevlm_core.evaluation.views import Answer, Places, View, Viewer, answer_all
from gazevlm_core.findings import presence_question
from gazevlm_core.geometry import PatchGrid, Window
from gazevlm_core.metrics.intervals import RESAMPLES, Estimate, mean_estimate, patient_counts
from gazevlm_core.ranks import ALONE, Ranks, in_turns
from gazevlm_core.sample import DatasetError, Sample
from gazevlm_core.scanpath import Fixation

OWN, RANDOM, CENTRE = "own path", "random places", "centre"
WHERE = (OWN, RANDOM, CENTRE)
DELETION, INSERTION, REVERSED, SHUFFLED = "deletion", "insertion", "reversed", "shuffled"
ORDERS = (REVERSED, SHUFFLED)
DRAWS = 16  # of random places, of which the one with the most similar area is taken
AREA_CELLS = 64  # per side, on which areas are compared
BLUR = 0.5  # of a window's width
NAN = float("nan")
NO_PATH = "images, since the model has no finding head or no path of its own"
Generators = Sequence[np.random.Generator]


@dataclass(frozen=True)
class ImageTrial:
    """What became of one image; changes are means of |change of probability| over the findings, NaN where undefined.

    Args:
        deletion: where -> change when those places are blurred.
        insertion: where -> change when all else is blurred.
        order: order of the glimpses -> change.
        words: order of the glimpses -> whether the answer to one presence question flips.
    """

    deletion: Mapping[str, float]
    insertion: Mapping[str, float]
    order: Mapping[str, float]
    words: Mapping[str, float]


# ---- places ---------------------------------------------------------------------------------------------------------
def random_places(grid: PatchGrid, count: int, rng: np.random.Generator) -> Places:
    """Return the centres of `count` random patches, all of them where there are fewer."""
    patches = rng.permutation(len(grid))[:count]
    return tuple(Fixation(*grid.center_of(int(patch))) for patch in patches)


def windows_at(places: Places, grid: PatchGrid, patches: float) -> list[Window]:
    """Return the windows of glimpses."""
    return [grid.window_at(place.x, place.y, patches) for place in places]


def covered(windows: Iterable[Window], shape: tuple[int, int]) -> np.ndarray:
    """Return which pixels of an image lie in a window, wholly or in part, bool [H, W]."""
    mask = np.zeros(shape, dtype=bool)
    rows, cols = shape
    for left, upper, right, lower in windows:
        mask[int(upper * rows) : int(np.ceil(lower * rows)), int(left * cols) : int(np.ceil(right * cols))] = True
    return mask


def compared_windows(own: Places, grid: PatchGrid, patches: float, rng: np.random.Generator) -> dict[str, list[Window]]:
    """Return the windows of the path, of as many random places, and one in the centre, of about the same area."""
    shape = (AREA_CELLS, AREA_CELLS)
    windows = windows_at(own, grid, patches)
    area = covered(windows, shape).mean()
    draws = [windows_at(random_places(grid, len(own), rng), grid, patches) for _ in range(DRAWS)]
    edge = (1 - np.sqrt(area)) / 2
    return {
        OWN: windows,
        RANDOM: min(draws, key=lambda draw: abs(covered(draw, shape).mean() - area)),
        CENTRE: [Window(edge, edge, 1 - edge, 1 - edge)],
    }


def blurred(image: Image.Image, windows: Sequence[Window], sigma_px: float, *, inside: bool) -> Image.Image:
    """Return an image with its windows blurred, or all but its windows, with soft edges."""
    sharp = Image.new("L", image.size, 255 * inside)
    draw = ImageDraw.Draw(sharp)
    for left, upper, right, lower in windows:
        draw.rectangle((left * image.width, upper * image.height, right * image.width - 1, lower * image.height - 1),
                       fill=255 * (not inside))  # fmt: skip
    return Image.composite(
        image, image.filter(ImageFilter.GaussianBlur(sigma_px)), sharp.filter(ImageFilter.GaussianBlur(sigma_px / 8))
    )


# ---- one batch ------------------------------------------------------------------------------------------------------
def probabilities(answers: Sequence[Answer], names: Sequence[str]) -> np.ndarray:
    """Return the probabilities of the finding head, float64 [N, F]."""
    logits = np.array([[answer.logits[name] for name in names] for answer in answers], np.float64)
    return 1 / (1 + np.exp(-logits.reshape(len(answers), len(names))))


def try_images(
    viewer: Viewer, images: Sequence[Image.Image], own: Sequence[Places], batch_size: int, rngs: Generators
) -> list[ImageTrial]:
    """Measure deletion, insertion and order on some images.

    Args:
        viewer: with a finding head.
        images: upright.
        own: places of the model's own path of each, at least one.
        batch_size: views at once.
        rngs: of each image's random places and orders.
    """
    variants = {OWN: [View(image, places) for image, places in zip(images, own, strict=True)]}
    for image, places, rng in zip(images, own, rngs, strict=True):
        windows = compared_windows(places, viewer.grid(image), viewer.patches, rng)
        sigma_px = BLUR * (windows[OWN][0].right - windows[OWN][0].left) * image.width
        for where in WHERE:
            for measure, inside in ((DELETION, True), (INSERTION, False)):
                changed = blurred(image, windows[where], sigma_px, inside=inside)
                variants.setdefault(f"{measure} {where}", []).append(View(changed, places))
    for order, place in _reordered(own, rngs).items():
        variants[order] = [View(image, places) for image, places in zip(images, place, strict=True)]
    answers = answer_all(viewer, variants, batch_size)
    found = {name: probabilities(given, viewer.names) for name, given in answers.items()}
    change = {name: np.abs(values - found[OWN]).mean(axis=1) for name, values in found.items()}
    flips = _flipped(viewer, variants, found[OWN], batch_size)
    several = np.array([len(places) > 1 for places in own])
    return [
        ImageTrial(
            {where: float(change[f"{DELETION} {where}"][row]) for where in WHERE},
            {where: float(change[f"{INSERTION} {where}"][row]) for where in WHERE},
            {order: float(change[order][row]) if several[row] else NAN for order in ORDERS},
            {order: float(flips[order][row]) if several[row] else NAN for order in ORDERS},
        )
        for row in range(len(images))
    ]


def _reordered(own: Sequence[Places], rngs: Generators) -> dict[str, list[Places]]:
    shuffled = []
    for places, rng in zip(own, rngs, strict=True):
        order = rng.permutation(len(places))
        while len(order) > 1 and (np.diff(order) == 1).all():
            order = rng.permutation(len(places))
        shuffled.append(tuple(places[step] for step in order))
    return {REVERSED: [places[::-1] for places in own], SHUFFLED: shuffled}


def _flipped(
    viewer: Viewer, variants: Mapping[str, Sequence[View]], own: np.ndarray, batch_size: int
) -> dict[str, np.ndarray]:
    """Return whether the answer flips to whether the image's most probable finding is there, bool [N] by order."""
    questions = [presence_question(viewer.names[int(best)]) for best in own.argmax(axis=1)]
    views = {
        name: [View(view.image, view.places, view.fine, question)
               for view, question in zip(variants[name], questions, strict=True)]
        for name in (OWN, *ORDERS)
    }  # fmt: skip
    yes = answers_yes(answer_all(viewer, views, batch_size, "first"))
    return {order: yes[order] != yes[OWN] for order in ORDERS}


def answers_yes(answers: Mapping[str, Sequence[Answer]]) -> dict[str, np.ndarray]:
    """Return whether the first word is rather "Yes" than "No", bool [N] by variant."""
    return {name: np.array([answer.margin > 0 for answer in given], dtype=bool) for name, given in answers.items()}


# ---- all images -----------------------------------------------------------------------------------------------------
def effect_of(
    measure: str, name: str, estimate: Estimate, cases: int, beside: Mapping[str, Estimate], useless: float | None = 0.0
) -> Effect:
    """Return one line of the report; arguments as in `Effect`."""
    return Effect.of(estimate, measure=measure, name=name, cases=cases, useless=useless,
                     beside={words: Score.of(one) for words, one in beside.items()})  # fmt: skip


def image_effects(trials: Sequence[ImageTrial], counts: np.ndarray) -> list[Effect]:
    """Return deletion, insertion and order over all images.

    Args:
        trials: of N images.
        counts: [R, N] from `bootstrap_counts` or `patient_counts`.
    """
    effects = []
    names = {DELETION: "deletion: these places are blurred", INSERTION: "insertion: all but these places are blurred"}
    for measure, words in names.items():
        table = {where: np.array([getattr(trial, measure)[where] for trial in trials]) for where in WHERE}
        beside = {f"change of probabilities, {where}": mean_estimate(table[where], counts) for where in WHERE}
        beside["own path less centre"] = mean_estimate(table[OWN] - table[CENTRE], counts)
        less = mean_estimate(table[OWN] - table[RANDOM], counts)
        effects.append(effect_of("deletion and insertion", f"{words}, own path less random places", less, len(trials),
                              beside, useless=None))  # fmt: skip
    for order in ORDERS:
        changes, flips = (np.array([getattr(trial, part)[order] for trial in trials]) for part in ("order", "words"))
        effects.append(effect_of(
            "order", f"glimpses {order}: change of probabilities", mean_estimate(changes, counts),
            int((~np.isnan(changes)).sum()), {"share of presence answers that flip": mean_estimate(flips, counts)},
        ))  # fmt: skip
    return effects


def faithfulness_of(
    viewer: Viewer, images: int, effects: Sequence[Effect], left_out: Mapping[str, int]
) -> Faithfulness:
    """Return the report's part about one model, with what its measures left out."""
    return Faithfulness(images=images, glimpses=viewer.glimpses, effects=list(effects),
                        left_out={why: number for why, number in left_out.items() if number})  # fmt: skip


def can_be_measured(viewer: Viewer, own: Sequence[Places]) -> bool:
    """Return whether a model has a finding head, and a path of its own on every image."""
    return bool(viewer.names) and all(own)


def measure_samples(
    viewer: Viewer,
    samples: Iterable[Sample],
    *,
    batch_size: int,
    seed: int = 0,
    progress: Callable[[int], object] = lambda count: None,
    ranks: Ranks = ALONE,
    trained: Sequence[TrainedOn] = (),
) -> Faithfulness:
    """Return deletion, insertion and order on the images of a data set that can be read, with intervals over patients.

    Args:
        viewer, samples: the model, and what it is measured on.
        batch_size, progress, ranks, trained: as in `predict`.
        seed: of random places, orders and intervals.
    """
    own: list[list[tuple[str, ImageTrial | None]]] = []
    for batch in ranks.batches(samples, batch_size):
        loaded = [(sample, image) for sample in batch if (image := _usable(sample, trained)) is not None]
        images = [image for _, image in loaded]
        places = viewer.own_places(images) if images and viewer.names else []
        trials: list[ImageTrial | None] = [None] * len(images)
        if places and can_be_measured(viewer, places):
            rngs = [np.random.default_rng((seed, crc32(sample.image_id.encode()))) for sample, _ in loaded]
            trials = list(try_images(viewer, images, places, batch_size, rngs))
        own.append([(sample.patient_id, trial) for (sample, _), trial in zip(loaded, trials, strict=True)])
        progress(len(batch))
    found = [one for batch in in_turns(ranks.gather(own)) for one in batch]
    done = [trial for _, trial in found if trial is not None]
    if not done or len(done) < len(found):
        return faithfulness_of(viewer, len(found), [], {NO_PATH: len(found) - len(done)})
    counts = patient_counts(np.array([patient for patient, _ in found]), RESAMPLES, seed)
    return faithfulness_of(viewer, len(found), image_effects(done, counts), {})


def _usable(sample: Sample, trained: Sequence[TrainedOn]) -> Image.Image | None:
    """Return an image; None where it cannot be read or was trained on, which the predictions have counted."""
    try:
        image = sample.load()
    except DatasetError:
        return None
    return None if any(one.has_picture(image) for one in trained) else image
