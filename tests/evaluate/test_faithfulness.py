"""How far the path is believed: each measure is nothing for a model that ignores its path, and full for one that reads
it alone."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evaluate.counterfactuals import Case, avoiding_places, draw_counterfactual, places_on, seen, touched
from evaluate.faithfulness import ABOVE, LED_LESS, PATH_EFFECT, SMALL, SWAP, faithfulness_bars, score_trials, try_all
from evaluate.tables import faithfulness_tables
from gazevlm_core.evaluation.faithfulness import OWN, RANDOM, blurred, compared_windows, covered, measure_samples
from gazevlm_core.evaluation.report import Effect, Faithfulness
from gazevlm_core.evaluation.views import Answer, Places, View, Viewer, Words
from gazevlm_core.findings import presence_question
from gazevlm_core.geometry import PatchGrid
from gazevlm_core.inference import GazeEngine
from gazevlm_core.sample import Sample
from gazevlm_core.scanpath import Fixation
from phantoms.truth import PlacedFinding
from tests.fake_ranks import together
from tests.tiny_model import make_tiny_checkpoint
from web.markup import plain_text

GRID, SIDE_PX = PatchGrid(8, 8), 128
LEVELS = {"fracture": 150, "lung lesion": 250}  # grey level of each finding's square
PLACES = {"fracture": Fixation(0.31, 0.31), "lung lesion": Fixation(0.81, 0.69)}
HEALTHY = (Fixation(0.1, 0.9), Fixation(0.6, 0.1))
SURE = 4.0  # logit
P = 1 / (1 + np.exp(-SURE))


def case_of(seed: int, *names: str, severity: float = 0.2) -> Case:
    """A grey image with a square of 8 px for each finding."""
    findings, twins = {}, {}

    def drawn(there: Sequence[str]) -> Image.Image:
        pixels = np.full((SIDE_PX, SIDE_PX), 60 + seed % 7, np.uint8)
        for name in there:
            pixels[mask_of(name)] = LEVELS[name]
        return Image.fromarray(pixels).convert("RGB")

    for name in names:
        place = PLACES[name]
        foci = ((place.x, place.y),)
        findings[name] = PlacedFinding(name, "left", "mid", severity, (0, 0, 1, 1), foci, mask_of(name))
        twins[name] = drawn([other for other in names if other != name])
    return Case(seed, drawn(names), findings, twins, frozenset())


def mask_of(name: str) -> np.ndarray:
    mask = np.zeros((SIDE_PX, SIDE_PX), bool)
    x, y = (int(SIDE_PX * value) for value in (PLACES[name].x, PLACES[name].y))
    mask[y - 4 : y + 4, x - 4 : x + 4] = True
    return mask


class Fake:
    """Reads its glimpses perfectly and nothing else; `ignoring` reads the small image alone, `hasty` the first glimpse.

    Its own path goes to what is there, unless it is `lost`.
    """

    names, glimpses, patches = tuple(LEVELS), 3, 1.5

    def __init__(self, *, ignoring: bool = False, hasty: bool = False, lost: bool = False) -> None:
        self.ignoring, self.hasty, self.lost = ignoring, hasty, lost

    def grid(self, image: Image.Image) -> PatchGrid:
        return GRID

    def own_places(self, images: Sequence[Image.Image]) -> list[Places]:
        if self.lost:
            return [(*HEALTHY, HEALTHY[0])] * len(images)
        whole = np.ones((SIDE_PX, SIDE_PX), bool)
        return [(*(PLACES[name] for name in self._there(image, whole)), HEALTHY[0]) for image in images]

    def answer(self, views: Sequence[View], words: Words = "none") -> list[Answer]:
        return [self._answer(view) for view in views]

    def _answer(self, view: View) -> Answer:
        image = view.image if self.ignoring else view.fine or view.image
        found: list[str] = []
        for place in view.places[:1] if self.hasty else view.places:
            found += self._there(image, covered([GRID.window_at(place.x, place.y, self.patches)], (SIDE_PX, SIDE_PX)))
        if self.ignoring:
            found = self._there(image, np.ones((SIDE_PX, SIDE_PX), bool))
        logits = {name: SURE if name in found else -SURE for name in LEVELS}
        asked = next((name for name in LEVELS if presence_question(name) == view.question), "fracture")
        return Answer(logits, logits[asked], " ".join(f"There is {name}." for name in dict.fromkeys(found)))

    @staticmethod
    def _there(image: Image.Image, where: np.ndarray) -> list[str]:
        pixels = np.asarray(image.convert("L"))
        return [name for name, level in LEVELS.items() if ((pixels == level) & where).sum() > 8]


CASES = [
    *(case_of(seed, "fracture", "lung lesion") for seed in range(3)),
    *(case_of(seed, "fracture", severity=0.9) for seed in range(3, 6)),
    *(case_of(seed, "lung lesion", severity=0.5) for seed in range(6, 9)),
    *(case_of(seed) for seed in range(9, 12)),
]


def measured(viewer: Fake, cases: Sequence[Case] = CASES) -> dict[str, Effect]:
    report = score_trials(viewer, try_all(viewer, cases, batch_size=16), len(cases), 200, 0)
    return {effect.name: effect for effect in report.effects}


@pytest.fixture(scope="module")
def reading() -> dict[str, Effect]:
    return measured(Fake())


@pytest.fixture(scope="module")
def ignoring() -> dict[str, Effect]:
    return measured(Fake(ignoring=True))


def test_the_path_effect_is_full_for_a_model_that_reads_glimpses_alone(reading: dict[str, Effect]) -> None:
    for subset, findings in {"all findings": 12, "subtle": 6, "moderate": 3, "severe": 3, SMALL: 12}.items():
        effect = reading[PATH_EFFECT + subset]
        assert effect.value == pytest.approx(0.5)  # of an AUROC of 1, and all equal without the findings
        assert effect.cases == findings
        assert effect.beside[f"AUROC, {OWN}"].value == 1.0
        assert 0.0 <= effect.beside["own path less random paths"].value <= 0.5
        assert effect.beside[LED_LESS].value == pytest.approx(0.5)


def test_what_a_path_could_gain_is_told_beside_what_it_gains() -> None:
    effect = measured(Fake(lost=True))[PATH_EFFECT + SMALL]
    assert (effect.value, effect.beside[LED_LESS].value) == pytest.approx((0.0, 0.5)), "a better path is worth learning"


def test_a_glimpse_swap_takes_the_finding_away_and_brings_it_back(reading: dict[str, Effect]) -> None:
    effect = reading[f"{SWAP}findings that the path has seen"]
    assert effect.cases == 12
    assert effect.value == pytest.approx(2 * P - 1, abs=1e-6)
    assert effect.beside["median rise of P when only the glimpses show it"].value == pytest.approx(2 * P - 1, abs=1e-6)
    assert effect.beside["share of yes that becomes no"].value == 1.0
    assert effect.beside["share of no that becomes yes when only the glimpses show it"].value == 1.0
    for control in ("control: as many glimpses that leave it out, of another phantom",
                    "control: share of yes that becomes no"):  # fmt: skip
        assert effect.beside[control].value == 0.0


def test_steering_raises_what_is_looked_at(reading: dict[str, Effect]) -> None:
    effect = reading[ABOVE]
    assert (effect.cases, effect.value) == (3, 1.0)
    assert [score.value for score in effect.beside.values()] == [1.0, pytest.approx(2 * P - 1, abs=1e-6), 1.0]


def test_deletion_of_what_was_fixated_costs_more_than_of_random_places(reading: dict[str, Effect]) -> None:
    deletion, insertion = (one for one in reading.values() if one.measure == "deletion and insertion")
    assert deletion.beside[f"change of probabilities, {OWN}"].value == pytest.approx((2 * P - 1) * 0.5, abs=1e-6)
    assert deletion.value > 0.2
    assert insertion.beside[f"change of probabilities, {OWN}"].value == 0.0
    assert insertion.value < -0.2


def test_a_model_that_ignores_its_path_gets_nothing(ignoring: dict[str, Effect]) -> None:
    for effect in ignoring.values():
        if effect.useless is not None and effect.cases:
            assert effect.value == effect.useless, effect.name
            assert effect.interval in (None, [effect.useless] * 2), effect.name
    assert ignoring[f"{PATH_EFFECT}all findings"].interval == [0.0, 0.0]
    assert ignoring[f"{PATH_EFFECT}subtle"].interval is None, "fewer than five phantoms have such findings"
    swap = ignoring[f"{SWAP}findings that the path has seen"].beside
    assert swap["median fall of P without it in image and glimpses"].value > 0.9  # it does see the image
    assert all(score.value == 0.0 for name, score in swap.items() if "image and glimpses" not in name)
    assert ignoring[ABOVE].beside["it is more probable than when the other is looked at"].value == 0.0
    assert ignoring[ABOVE].beside["the report names it first"].value == 0.5


def test_order_matters_to_a_model_that_reads_its_first_glimpse_alone(reading: dict[str, Effect]) -> None:
    hasty = measured(Fake(hasty=True))
    for order in ("reversed", "shuffled"):
        name = f"glimpses {order}: change of probabilities"
        assert reading[name].value == 0.0
        assert hasty[name].value > 0.1
        assert hasty[name].beside["share of presence answers that flip"].value > 0.0


def test_swapped_glimpses_of_the_same_image_change_nothing() -> None:
    same = [Case(one.seed, one.image, one.findings, dict.fromkeys(one.findings, one.image), one.reshaped)
            for one in CASES]  # fmt: skip
    effect = measured(Fake(), same)[f"{SWAP}findings that the path has seen"]
    assert (effect.value, effect.beside["share of yes that becomes no"].value) == (0.0, 0.0)


# ---- places ---------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def drawn() -> list[Case]:
    return [draw_counterfactual((seed, "A", 160)) for seed in range(3_000_000, 3_000_008)]


def test_avoiding_places_touch_no_finding(drawn: list[Case]) -> None:
    viewer, full = Fake(), 0
    for case in drawn:
        mask = np.any([finding.mask for finding in case.findings.values()], axis=0) if case.findings else np.zeros(
            (case.image.height, case.image.width), bool
        )  # fmt: skip
        places = avoiding_places(viewer, case.image, mask, 6, np.random.default_rng(0))
        assert not any(touched(viewer, case.image, places, mask))
        assert len({GRID.index_of(place) for place in places}) == len(places)
        full += len(places) == 6
    assert full >= 5


def test_places_on_a_finding_leave_the_other_out_and_begin_where_a_reader_looks() -> None:
    first, second = (CASES[0].findings[name] for name in LEVELS)
    places = places_on(Fake(), CASES[0].image, first, second, 3)
    assert places[0] == PLACES["fracture"]
    assert len(set(places)) == 3
    assert not any(touched(Fake(), CASES[0].image, places, second.mask))
    assert all(touched(Fake(), CASES[0].image, places, first.mask))
    assert seen(Fake(), CASES[0].image, places, first.mask)
    assert not seen(Fake(), CASES[0].image, places, second.mask)


def test_a_path_that_cannot_avoid_the_findings_is_left_out_and_counted() -> None:
    everywhere = PlacedFinding("fracture", "both", "mid", 0.5, (0, 0, 1, 1), ((0.5, 0.5),), np.ones((128, 128), bool))
    covered_case = Case(99, CASES[0].image, {"fracture": everywhere}, {"fracture": CASES[9].image}, frozenset())
    cases = [*CASES, covered_case]
    report = score_trials(Fake(), try_all(Fake(), cases, batch_size=16), len(cases), 200, 0)
    assert report.left_out == {"path effect: phantoms where no path avoids every finding": 1}
    assert report.effects[0].cases == 12


def test_compared_places_cover_alike_and_blur_only_what_they_should() -> None:
    rng = np.random.default_rng(0)
    windows = compared_windows((Fixation(0.2, 0.2), Fixation(0.25, 0.2), Fixation(0.8, 0.7)), GRID, 1.5, rng)
    areas = {where: covered(some, (64, 64)).mean() for where, some in windows.items()}
    assert areas[RANDOM] == pytest.approx(areas[OWN], rel=0.3)
    assert areas["centre"] == pytest.approx(areas[OWN], rel=0.4)
    image = Image.fromarray(rng.integers(0, 255, (128, 128, 3), np.uint8))
    inside = covered(windows[OWN], (128, 128))
    for within, there in ((True, inside), (False, ~inside)):
        change = np.abs(np.asarray(blurred(image, windows[OWN], 12.0, inside=within)).astype(int) - image).mean(axis=2)
        assert change[there].mean() > 5 * change[~there].mean()


# ---- engines --------------------------------------------------------------------------------------------------------
def test_a_model_without_glimpses_gets_exact_zeros(tiny_engine: GazeEngine, drawn: list[Case]) -> None:
    viewer = Viewer(tiny_engine)
    report = score_trials(viewer, try_all(viewer, drawn, batch_size=3, seed=1), len(drawn), 200, 1)
    known = [effect for effect in report.effects if effect.useless is not None and effect.value is not None]
    assert {effect.measure for effect in known} >= {"path effect", "order"}
    assert all(effect.value == effect.useless for effect in known)
    assert report.glimpses == 0
    again = Faithfulness.model_validate(json.loads(json.dumps(report.to_values(), allow_nan=False)))
    assert again == report
    (table,) = faithfulness_tables({"tiny": report})
    assert "no glimpses" in plain_text(table)
    *_, bar = faithfulness_bars({"model": report})
    assert (bar.value, bar.met) == (0.0, None)  # its path effect is nothing; of so few phantoms that is no verdict


def test_a_model_with_glimpses_reads_them_at_the_places_that_are_given(tmp_path: Path, drawn: list[Case]) -> None:
    folder = make_tiny_checkpoint(tmp_path / "glimpsing", num_glimpses=3, num_gaze_tokens=6)
    viewer = Viewer(GazeEngine.load(str(folder), device="cpu"))
    assert (viewer.glimpses, viewer.patches) == (3, 1.5)
    image, other = drawn[0].image, drawn[1].image
    own = viewer.own_places([image])[0]
    assert 1 <= len(own) <= 3
    record = viewer.engine.diagnose(image)
    ((answer,), (same,), (moved,), (swapped,)) = (
        viewer.answer([view])
        for view in (View(image, own), View(image, own, image.copy()), View(image, HEALTHY), View(image, own, other))
    )
    given = 1 / (1 + np.exp(-np.array(list(answer.logits.values()))))
    assert given == pytest.approx(list(record.finding_probabilities.values()), abs=1e-5)  # its own path, as diagnosed
    assert same.logits == answer.logits
    assert moved.logits != answer.logits
    assert swapped.logits != answer.logits
    report = score_trials(viewer, try_all(viewer, drawn, batch_size=4), len(drawn), 200, 0)
    assert report.glimpses == 3
    order = next(effect for effect in report.effects if effect.measure == "order")
    assert order.value == pytest.approx(0.0, abs=1e-6), "what glimpses show is added up; the words alone may tell order"


def test_any_data_set_gives_deletion_insertion_and_order(tiny_engine: GazeEngine) -> None:
    samples = [Sample(str(number), case.image, patient_id=str(number // 2)) for number, case in enumerate(CASES[:4])]
    report = measure_samples(Viewer(tiny_engine), [*samples, Sample("gone")], batch_size=2)
    assert report.images == 4
    assert [effect.measure for effect in report.effects] == ["deletion and insertion"] * 2 + ["order"] * 2
    assert [effect.value for effect in report.effects[2:]] == [0.0, 0.0]
    assert report.effects[0].beside[f"change of probabilities, {OWN}"].value > 0.0


def test_several_processes_measure_what_one_does() -> None:
    samples = [Sample(str(number), case.image, patient_id=str(number // 2)) for number, case in enumerate(CASES)]
    alone = measure_samples(Fake(), samples, batch_size=2)
    assert together(2, lambda ranks: measure_samples(Fake(), samples, batch_size=2, ranks=ranks)) == [alone] * 2


def test_a_model_without_a_path_is_left_out(drawn: list[Case]) -> None:
    viewer = Fake()
    viewer.own_places = lambda images: [()] * len(images)
    report = score_trials(viewer, try_all(viewer, drawn, batch_size=4), len(drawn), 200, 0)
    assert (report.effects, sum(report.left_out.values())) == ([], len(drawn))
