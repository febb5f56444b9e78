"""What is drawn at each step: all of it from the seed, every image in turn, questions in balance."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from finetune.examples import (
    AdaptCollator,
    Draw,
    TrainingItems,
    draw_epochs,
    grouped,
    mixed_findings,
    supervises_gaze,
    token_count,
)
from gazevlm_core.findings import NO_FINDING
from gazevlm_core.model.losses import finding_loss
from gazevlm_core.model.processing_gazevlm import GazeVLMProcessor
from gazevlm_core.options import DEFAULT_QUESTION
from gazevlm_core.sample import Sample
from gazevlm_core.training.gaze_order import GazeOrder
from tests.finetune.case_maker import HERE, configure, make_case, path_of, picture

LONG = ((0.1, 0.1), (0.3, 0.5), (0.5, 0.2), (0.7, 0.9), (0.9, 0.4), (0.2, 0.8), (0.6, 0.6))
UNKNOWN: dict[str, float] = {}


def plain(count: int, dataset: int = 0) -> list[Sample]:
    return [make_case(f"d{dataset}-i{n}", readings=[("owl", path_of(HERE))], dataset=dataset) for n in range(count)]


def counted(draws: Sequence[Draw]) -> list[int]:
    return [draw.case for draw in draws]


# ---- draws ----------------------------------------------------------------------------------------------------------
def test_the_same_seed_draws_the_same() -> None:
    cases = [make_case(f"i{n}", findings={"edema": n % 2, "nodule": 1.0}, report="Words.") for n in range(30)]
    first = draw_epochs(cases, configure(seed=3), 100)
    assert draw_epochs(cases, configure(seed=3), 100) == first
    assert draw_epochs(cases, configure(seed=3), 40) == first[:40]  # a longer run begins as a shorter one
    assert draw_epochs(cases, configure(seed=4), 100) != first


def test_every_image_comes_once_an_epoch_in_a_new_order() -> None:
    cases = plain(23)
    draws = counted(draw_epochs(cases, configure("one", "two"), 23 * 4 + 5))
    epochs = [draws[first : first + 23] for first in range(0, len(draws), 23)]
    assert [len(epoch) for epoch in epochs] == [23, 23, 23, 23, 5]
    assert all(sorted(epoch) == list(range(23)) for epoch in epochs[:-1])
    assert len(set(epochs[-1])) == 5
    assert len({tuple(epoch) for epoch in epochs}) == 5


def test_shares_are_kept_whatever_the_sizes() -> None:
    cases = [*plain(5, 0), *plain(200, 1), *plain(40, 2)]
    config = configure("one", "two", "three", shares=[3, 1, 1])
    drawn = Counter(cases[draw.case].part for draw in draw_epochs(cases, config, 6000))
    assert [drawn[number] / 6000 for number in range(3)] == pytest.approx([0.6, 0.2, 0.2], abs=0.02)
    seen = Counter(counted(draw_epochs(cases, config, 6000)))
    assert all(abs(seen[index] - 720) < 150 for index in range(5))  # images of one data set alike often


def test_a_data_set_without_a_training_image_takes_no_share() -> None:
    cases = plain(10, 1)
    draws = draw_epochs(cases, configure("one", "two", shares=[9, 1]), 50)
    assert {cases[draw.case].part for draw in draws} == {1}


def test_questions_about_an_image_stand_side_by_side() -> None:
    cases = plain(10, 0)
    draws = draw_epochs(cases, configure(questions_per_image=4), 80)
    blocks = [draws[first : first + 4] for first in range(0, 80, 4)]
    assert all(len({draw.case for draw in block}) == 1 for block in blocks)
    assert Counter(block[0].case for block in blocks) == Counter(list(range(10)) * 2)
    assert draw_epochs(cases, configure(questions_per_image=1), 80) == draw_epochs(cases, configure(), 80)


def words(number: int) -> Sample:
    return make_case(f"i{number}", report="finding " * int(np.random.default_rng(number).integers(1, 60)))


def shape(number: int) -> Sample:
    side = (56, 112, 224, 448)[number * 7 % 4]
    return make_case(f"i{number}", findings={"edema": 1.0}, size_px=(side, 224))


@pytest.mark.parametrize("make", [words, shape])
@pytest.mark.parametrize("batch_size", [4, 8])
def test_grouping_keeps_the_draws_and_pads_less(
    batch_size: int, make: Callable[[int], Sample], tiny_processor: GazeVLMProcessor
) -> None:
    """Whether it is words or patches that differ; a batch is padded to its longest."""
    cases, number = [make(n) for n in range(97)], 97 * 3
    config = configure(batch_size=batch_size, group_by_length=True)
    usual = draw_epochs(cases, config, number)
    ordered = grouped(usual, cases, config, tiny_processor)
    assert Counter(ordered) == Counter(usual)
    assert ordered != usual
    assert grouped(usual, cases, config, tiny_processor) == ordered
    assert grouped(usual, cases, configure(batch_size=batch_size), tiny_processor) == usual

    def lengths(draws: Sequence[Draw]) -> list[int]:
        return [token_count(draw, cases[draw.case], tiny_processor) for draw in draws]

    def padding(draws: Sequence[Draw]) -> int:
        batches = [lengths(draws[first : first + batch_size]) for first in range(0, number, batch_size)]
        return sum(max(batch) * len(batch) - sum(batch) for batch in batches)

    assert padding(ordered) < 0.3 * padding(usual)
    begun = lengths(ordered[::batch_size])
    assert abs(np.corrcoef(begun, range(len(begun)))[0, 1]) < 0.5, "short ones do not all come first"


@pytest.mark.parametrize("size", [(240, 224), (400, 150), (120, 330)])
def test_tokens_are_counted_as_a_batch_has_them(
    size: tuple[int, int], tmp_path: Path, tiny_processor: GazeVLMProcessor, tiny_checkpoint: Path
) -> None:
    from gazevlm_core.model.configuration_gazevlm import GazeVLMConfig

    counts, lengths = [], []
    picture(0, *size).save(tmp_path / "i.png")
    case = make_case("i", tmp_path / "i.png", findings={"pneumothorax": 1.0})
    collate = AdaptCollator(tiny_processor, GazeVLMConfig.from_pretrained(tiny_checkpoint).gaze_config, store=None)
    for draw in (Draw(0, "Why?", None), Draw(0, "Is there pneumothorax?", "Yes, pneumothorax.")):
        counts.append(token_count(draw, case, tiny_processor))
        batch = collate([TrainingItems([case], [draw], configure(), [UNKNOWN])[0]])
        patches = int(batch["mm_token_type_ids"].sum())
        words = tiny_processor.tokenizer([draw.question, draw.answer or ""])["input_ids"]
        assert counts[-1] == patches + sum(map(len, words))
        lengths.append(batch["input_ids"].shape[1])
    assert counts[1] - counts[0] == lengths[1] - lengths[0]


def test_questions_after_presence_are_balanced() -> None:
    rare = {"edema": 1.0, **{f"finding {n}": 0.0 for n in range(9)}}
    draws = draw_epochs([make_case("i", findings=rare, report="A report.")], configure(), 4000)
    asked = Counter(draw.question for draw in draws)
    assert asked[DEFAULT_QUESTION] / 4000 == pytest.approx(0.5, abs=0.03)
    assert asked["Is there edema?"] / 4000 == pytest.approx(0.25, abs=0.03)
    assert {draw.answer for draw in draws if draw.question == "Is there edema?"} == {"Yes, edema."}
    assert {draw.answer for draw in draws if draw.question == "Is there finding 3?"} == {"No."}
    assert {draw.answer for draw in draws if draw.question == DEFAULT_QUESTION} == {"A report."}
    assert len(asked) == 11


@pytest.mark.parametrize(
    ("findings", "report", "questions", "answers"),
    [
        ({"edema": 1.0}, None, {"Is there edema?"}, {"Yes, edema."}),
        ({"edema": 0.0}, None, {"Is there edema?"}, {"No."}),
        ({}, "Words.", {DEFAULT_QUESTION}, {"Words."}),
        ({}, None, {DEFAULT_QUESTION}, {None}),
        ({NO_FINDING: 1.0}, None, {DEFAULT_QUESTION}, {None}),  # nobody asks "Is there no finding?"
        ({NO_FINDING: 1.0, "edema": 0.0}, None, {"Is there edema?"}, {"No."}),
    ],
)
def test_what_is_not_known_is_not_asked(
    findings: dict[str, float], report: str | None, questions: set[str], answers: set[str | None]
) -> None:
    draws = draw_epochs([make_case("i", findings=findings, report=report)], configure(), 50)
    assert ({draw.question for draw in draws}, {draw.answer for draw in draws}) == (questions, answers)


# ---- targets --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("retain", [0.0, 0.3, 1.0])
def test_mixed_targets_cost_what_labels_and_base_would_cost_together(retain: float) -> None:
    labels, of_base = {"a": 1.0, "b": 0.0, "c": 1.0}, {"a": 0.8, "b": 0.7, "c": 0.1}
    logits = torch.tensor([[0.3, -1.2, 2.0]], requires_grad=True)

    def gradient(*weighted: tuple[float, dict[str, float]]) -> torch.Tensor:
        loss = sum(weight * finding_loss(logits, torch.tensor([[one[name] for name in "abc"]]))
                   for weight, one in weighted)  # fmt: skip
        return torch.autograd.grad(loss, logits)[0]

    mixed = mixed_findings(labels, of_base, retain)
    torch.testing.assert_close(gradient((1.0, mixed)), gradient((1 - retain, labels), (retain, of_base)))


def test_what_one_side_alone_knows_is_kept() -> None:
    mixed = mixed_findings({"new": 1.0, "both": 1.0}, {"old": 0.25, "both": 0.5}, 0.5)
    assert mixed == {"new": 1.0, "old": 0.25, "both": 0.75}
    assert mixed_findings({"a": 1.0}, {}, 0.9) == {"a": 1.0}


def items_of(order: GazeOrder, seed: int = 0, draws: Sequence[int] = (0, 1, 0)) -> TrainingItems:
    cases = [
        make_case(f"i{n}", readings=[("owl", path_of(LONG, [100.0 + n] * 7)), ("fox", path_of(LONG[:5]))])
        for n in range(2)
    ]
    asked = [Draw(index, DEFAULT_QUESTION, None) for index in draws]
    return TrainingItems(cases, asked, configure(gaze_order=order, seed=seed), [UNKNOWN, UNKNOWN])


def test_gaze_orders() -> None:
    original, shuffled, random, none = (items_of(order) for order in GazeOrder)
    wanted = [path_of(LONG, [100.0] * 7).fixations, path_of(LONG[:5]).fixations]
    assert [path.fixations for path in original[0].scanpaths] == wanted
    for before, after in zip(original[0].scanpaths, shuffled[0].scanpaths, strict=True):
        assert sorted((f.x, f.y) for f in after) == sorted((f.x, f.y) for f in before)
        assert after.fixations != before.fixations
    for before, after in zip(original[0].scanpaths, random[0].scanpaths, strict=True):
        assert len(after) == len(before)
        assert not {(f.x, f.y) for f in after} & {(f.x, f.y) for f in before}
    assert none[0].scanpaths == ()
    for order, items in ((GazeOrder.SHUFFLED, shuffled), (GazeOrder.RANDOM, random)):
        assert items[0].scanpaths == items[2].scanpaths, "a path is changed once and stays so"
        assert items[0].scanpaths != items[1].scanpaths
        assert items[0].scanpaths != items_of(order, seed=1)[0].scanpaths


def test_items_carry_the_question_and_the_mix_of_labels() -> None:
    case = make_case("i", findings={"edema": 1.0}, report="Words.", readings=[("owl", path_of(HERE))])
    item = TrainingItems([case], [Draw(0, "Why?", "So.")], configure(retain=0.5), [{"edema": 0.5, "nodule": 0.1}])[0]
    assert (item.question, item.report, item.findings) == ("Why?", "So.", {"edema": 0.75, "nodule": 0.1})
    assert item.scanpaths == case.scanpaths == (path_of(HERE),)


def test_whether_gaze_is_taught() -> None:
    with_paths, without = plain(1), [make_case("i", findings={"edema": 1.0})]
    assert [supervises_gaze(order, with_paths) for order in GazeOrder] == [True, True, True, False]
    assert not supervises_gaze(GazeOrder.ORIGINAL, without)


def test_a_batch_has_the_controls_targets(
    tmp_path: Path, tiny_processor: GazeVLMProcessor, tiny_checkpoint: Path
) -> None:
    from gazevlm_core.model.configuration_gazevlm import GazeVLMConfig

    picture(0, 240, 224).save(tmp_path / "i.png")
    gaze = GazeVLMConfig.from_pretrained(tiny_checkpoint).gaze_config
    case = make_case("i", tmp_path / "i.png", findings={"pneumothorax": 1.0}, readings=[("owl", path_of(HERE))])
    draws = [Draw(0, "Why?", None), Draw(0, "Is there pneumothorax?", "Yes, pneumothorax.")]
    items = TrainingItems([case], draws, configure(), [UNKNOWN])
    batch = AdaptCollator(tiny_processor, gaze, store=None)([items[0], items[1]])
    assert batch["pixel_values"].shape[0] == batch["image_grid_thw"].prod(dim=-1).sum()
    assert batch["gaze_targets"].shape == (2, 1, gaze.num_gaze_tokens)
    assert torch.equal(batch["gaze_targets"][0], batch["gaze_targets"][1])
    labels = batch["finding_labels"]
    assert labels[:, 1].tolist() == [1.0, 1.0]
    assert labels[:, 0].isnan().all()
    assert (batch["labels"][0] == -100).all()
    assert (batch["labels"][1] != -100).any()
    untaught = AdaptCollator(tiny_processor, gaze, store=None, use_gaze=False)([items[0]])
    assert "gaze_targets" not in untaught
