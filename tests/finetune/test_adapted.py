"""A base made ready to learn: what may change, what is carried over, and that it still says what the base says."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from finetune.adapted import adapt_model, adapted_config
from finetune.cases import path_lengths
from finetune.config import ConfigError, FinetuneConfig
from finetune.examples import draw_epochs
from finetune.prepare import check_asking, check_begun, training_notes
from finetune.usual_place import Fitted
from gazevlm_core.inference import GazeEngine
from gazevlm_core.model.configuration_gazevlm import MOST_FINDINGS, GazeConfig
from gazevlm_core.model.places import UsualPlace
from gazevlm_core.model.pointer import RARE, GazeHeads, grown_heads
from gazevlm_core.options import DEFAULT_QUESTION
from gazevlm_core.sample import DatasetError, Sample
from tests.finetune.case_maker import HERE, configure, make_case, path_of, picture
from tests.tiny_model import make_tiny_checkpoint

OLD_PLACE = UsualPlace("nodule", 0.3, 0.3, 0.06)
NEW_PLACE = UsualPlace("hernia", 0.5, 0.8, 0.06)
CASES = [
    make_case("a", findings={"edema": 1.0}, readings=[("owl", path_of(HERE)), ("fox", path_of(HERE))]),
    make_case("b", findings={"edema": 0.0}, readings=[("owl", path_of(HERE))]),
]


@pytest.fixture(scope="module")
def placed_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base that has a usual place itself."""
    names = ("cardiomegaly", "pneumothorax", "nodule")
    return make_tiny_checkpoint(tmp_path_factory.mktemp("placed"), finding_names=names, usual_places=(OLD_PLACE,))


def hernia(width: int) -> Fitted:
    return Fitted(NEW_PLACE, torch.linspace(-1, 1, width), 0.25)


def adapt(checkpoint: Path, **values: Any) -> tuple[GazeEngine, Any, GazeConfig]:
    """An engine whose model was adapted, with an added row and an added place."""
    engine, config = GazeEngine.load(str(checkpoint), device="cpu"), configure(**values)
    fitted = [hernia(engine.model.config.text_config.hidden_size)]
    rows = [] if "edema" in engine.gaze_config.finding_names else ["edema"]
    gaze = adapted_config(engine.gaze_config, config, CASES, rows, fitted)
    return engine, adapt_model(engine.model, config, gaze, fitted), gaze


def trained(engine: GazeEngine) -> set[str]:
    return {name for name, parameter in engine.model.named_parameters() if parameter.requires_grad}


# ---- what may change ------------------------------------------------------------------------------------------------
def test_lora_the_gaze_token_and_the_heads_learn_and_nothing_else(placed_checkpoint: Path) -> None:
    engine, adapted, _ = adapt(placed_checkpoint)
    names = trained(engine)
    lora = {name for name in names if ".lora_A." in name or ".lora_B." in name}
    tokens = {name for name in names if "trainable_tokens_delta" in name}
    heads = {name for name in names if name.startswith("gaze_heads.")}
    assert names == lora | tokens | heads
    assert all("language_model" in name for name in lora)
    kinds = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    layers = engine.model.config.text_config.num_hidden_layers
    assert len(lora) == 2 * len(kinds) * layers
    assert heads == {f"gaze_heads.{name}" for name in (
        "query.weight", "key.weight", "previous.weight", "start", "stop_key", "dwell.weight", "dwell.bias",
        "finding.weight", "finding.bias",
    )}  # fmt: skip
    (token,) = {name for name in tokens if "embed_tokens" in name}
    assert engine.model.get_parameter(token).shape[0] == 1  # one row
    said = adapted.peft_config["default"].trainable_token_indices
    assert said == {"embed_tokens": [engine.model.config.gaze_token_id]}


def test_after_a_step_only_those_have_changed(placed_checkpoint: Path, tmp_path: Path) -> None:
    from finetune.examples import AdaptCollator

    engine, adapted, gaze = adapt(placed_checkpoint, lora_dropout=0)
    before = {name: parameter.detach().clone() for name, parameter in engine.model.named_parameters()}
    picture(0, 224, 224).save(tmp_path / "a.png")
    findings = {"edema": 1.0, "hernia": 1.0, "nodule": 0.0, "cardiomegaly": 0.0}
    case = make_case(
        "a", tmp_path / "a.png", findings=findings, report="Large effusion.",
        readings=[("owl", path_of(HERE, (200.0, 300.0)))],
    )  # fmt: skip
    batch = AdaptCollator(engine.processor, gaze, store=None)([case])
    optimizer = torch.optim.SGD([p for p in adapted.parameters() if p.requires_grad], lr=0.1)
    adapted(**batch).loss.backward()
    optimizer.step()
    changed = {name for name, p in engine.model.named_parameters() if not torch.equal(p, before[name])}
    assert changed <= trained(engine)
    assert {"gaze_heads.finding.weight", "gaze_heads.query.weight", "gaze_heads.dwell.weight"} <= changed
    assert any("lora_B" in name for name in changed)
    assert any("trainable_tokens_delta" in name for name in changed)


def test_frozen_heads_leave_the_finding_rows_free(placed_checkpoint: Path) -> None:
    engine, _, _ = adapt(placed_checkpoint, freeze_heads=True)
    heads = {name for name in trained(engine) if name.startswith("gaze_heads.")}
    assert heads == {"gaze_heads.finding.weight", "gaze_heads.finding.bias"}


@pytest.mark.parametrize(("values", "language", "vision"), [
    ({}, True, False), ({"freeze_vision": False}, True, True),
    ({"freeze_vision": False, "freeze_language": True}, False, True),
])  # fmt: skip
def test_lora_lies_where_nothing_is_frozen(
    tiny_checkpoint: Path, values: dict[str, bool], language: bool, vision: bool
) -> None:
    engine, _, _ = adapt(tiny_checkpoint, **values)
    lora = [name for name in trained(engine) if "lora_" in name]
    assert any("language_model" in name for name in lora) is language
    in_tower = [name for name in lora if "visual" in name]
    assert bool(in_tower) is vision
    if vision:
        assert {name.split(".lora_")[0].rsplit(".", 1)[1] for name in in_tower} == {
            "qkv", "proj", "gate_proj", "up_proj", "down_proj"
        }  # fmt: skip
        assert all("visual.blocks." in name for name in in_tower)


@pytest.mark.parametrize("values", [{}, {"dora": True}, {"rslora": True}])
def test_the_form_of_lora_reaches_peft(tiny_checkpoint: Path, values: dict[str, bool]) -> None:
    engine, adapted, _ = adapt(tiny_checkpoint, lora_rank=4, lora_alpha=6, lora_dropout=0.25, **values)
    said = adapted.peft_config["default"]
    assert (said.r, said.lora_alpha, said.lora_dropout) == (4, 6, 0.25)
    assert (said.use_dora, said.use_rslora) == (values.get("dora", False), values.get("rslora", False))
    layer = engine.model.model.language_model.layers[0].self_attn.q_proj
    assert layer.lora_A["default"].weight.shape[0] == 4
    assert layer.scaling["default"] == pytest.approx(3.0 if values.get("rslora") else 1.5)
    assert any("magnitude" in name for name in trained(engine)) is values.get("dora", False)


# ---- what is carried over -------------------------------------------------------------------------------------------
def test_the_heads_of_the_base_are_copied_and_new_rows_begin_at_nothing(placed_checkpoint: Path) -> None:
    bare = GazeEngine.load(str(placed_checkpoint), device="cpu").model.gaze_heads.state_dict()
    engine, _, gaze = adapt(placed_checkpoint)
    heads = engine.model.gaze_heads.state_dict()
    assert gaze.finding_names == ("cardiomegaly", "pneumothorax", "edema", "nodule", "hernia")
    assert gaze.usual_places == (OLD_PLACE, NEW_PLACE)
    for part in ("weight", "bias"):
        assert torch.equal(heads[f"finding.{part}"][:2], bare[f"finding.{part}"])
        assert not heads[f"finding.{part}"][2:].any()
        assert torch.equal(heads[f"placed.{part}"][:1], bare[f"placed.{part}"])
    fitted = hernia(heads["placed.weight"].shape[1])
    assert torch.equal(heads["placed.weight"][1], fitted.weight)
    assert float(heads["placed.bias"][1]) == fitted.bias
    others = {name for name in bare if not name.startswith(("finding.", "placed."))}
    assert all(torch.equal(heads[name], bare[name]) for name in others)
    assert {name for name in heads if not name.startswith(("finding.", "placed."))} == others


@pytest.mark.parametrize("values", [{}, {"dora": True}, {"freeze_vision": False, "rslora": True}])
def test_before_the_first_step_it_says_what_the_base_says(placed_checkpoint: Path, values: dict[str, bool]) -> None:
    bare = GazeEngine.load(str(placed_checkpoint), device="cpu")
    engine, adapted, gaze = adapt(placed_checkpoint, **values)
    adapted.eval()
    image = picture(3, 300, 240)
    said = []
    for one in (bare, engine):
        (encoded,) = one.encode_images([image])
        prefilled = one.prefill([encoded], [DEFAULT_QUESTION])
        logits = dict(zip(one.gaze_config.finding_names, one.model.finding_logits(prefilled)[0].tolist(), strict=True))
        said.append((logits, prefilled.gaze_hidden, one.model.pointer_field(prefilled, 0).keys))
    (before, states, keys), (after, adapted_states, adapted_keys) = said
    exact = {"atol": 0, "rtol": 0} if not values.get("dora") else {"atol": 1e-5, "rtol": 1e-5}  # DoRA divides by norms
    torch.testing.assert_close(adapted_states, states, **exact)
    torch.testing.assert_close(adapted_keys, keys, **exact)
    rounding = max(exact["atol"], 1e-6)  # the places are one product, whose height may change its last bit
    assert {name: after[name] for name in before} == pytest.approx(before, abs=rounding, rel=0)
    assert after["edema"] == 0.0
    assert after.keys() == {*before, "edema", "hernia"} == set(gaze.finding_names)


# ---- what the configuration says ------------------------------------------------------------------------------------
TIMED = [make_case("c", readings=[("owl", path_of(HERE, (100.0, None)))])]
UNTIMED = [make_case("e", readings=[("owl", path_of(HERE, (0.0, None)))])]  # what lasts no time teaches no dwell
BLIND = [make_case("d", findings={"edema": 1.0})]


@pytest.mark.parametrize(
    ("cases", "values", "marks"),
    [
        (CASES, {}, (True, True, False)),
        (TIMED, {}, (True, False, True)),
        (TIMED, {"dwell_weight": 0}, (True, False, False)),
        (TIMED, {"gaze_order": "none"}, (False, False, False)),
        (CASES, {"gaze_weight": 0}, (False, True, False)),
        (BLIND, {}, (False, True, False)),
        (CASES, {"finding_weight": 0}, (True, False, False)),
        (UNTIMED, {}, (True, False, False)),
    ],
)
def test_marks_say_what_was_taught(
    cases: list[Sample], values: dict[str, Any], marks: tuple[bool, bool, bool]
) -> None:
    bare = GazeConfig(pointer_dim=8)
    config: FinetuneConfig = configure(**values)
    gaze = adapted_config(bare, config, cases, ["edema"], [])
    assert (gaze.gaze_trained, gaze.findings_trained, gaze.dwell_trained) == marks
    assert not adapted_config(bare, config, cases, [], []).findings_trained, "no row, and so no finding that is told"
    known = GazeConfig(pointer_dim=8, gaze_trained=True, findings_trained=True, dwell_trained=True)
    again = adapted_config(known, config, cases, [], [])
    assert (again.gaze_trained, again.findings_trained, again.dwell_trained) == (True, True, True)


def test_findings_that_nobody_taught_are_not_told() -> None:
    bare = GazeConfig(finding_names=("cardiomegaly", "edema", "nodule"), usual_places=(OLD_PLACE,))
    assert adapted_config(bare, configure(), CASES, ["mass"], []).finding_names == ("edema", "mass", "nodule")
    known = replace(bare, findings_trained=True)
    names = ("cardiomegaly", "edema", "mass", "nodule")
    assert adapted_config(known, configure(), CASES, ["mass"], []).finding_names == names
    unweighed = adapted_config(bare, configure(finding_weight=0), CASES, [], [hernia(4)])
    assert (unweighed.finding_names, unweighed.findings_trained) == (("nodule", "hernia"), True)


def test_an_added_finding_begins_as_one_that_hardly_any_place_shows() -> None:
    before = GazeConfig(pointer_dim=8, num_glimpses=2, finding_names=("edema",))
    heads = GazeHeads(8, before)
    torch.nn.init.normal_(heads.local.bias)
    grown = grown_heads(heads, before, replace(before, finding_names=("edema", "mass")))
    assert grown.local.bias[0] == heads.local.bias[0]
    assert grown.local.bias[1] == RARE


def test_a_row_keeps_its_finding_where_others_go(tmp_path: Path) -> None:
    names = ("cardiomegaly", "edema")
    folder = make_tiny_checkpoint(tmp_path, finding_names=names, findings_trained=False)
    before = GazeEngine.load(str(folder), device="cpu").model.gaze_heads.finding.weight.detach()
    engine, _, gaze = adapt(folder)
    assert gaze.finding_names[:1] == ("edema",)
    assert torch.equal(engine.model.gaze_heads.finding.weight[0], before[1])


def test_the_configuration_is_the_bases_with_what_the_run_says() -> None:
    base = GazeConfig(num_gaze_tokens=12, pointer_dim=8, trained_on="phantoms", use_previous_patch=False)
    config = configure(gaze_weight=2, text_weight=0.5, finding_weight=3, dwell_weight=0, target_sigma_patches=0.7)
    gaze = adapted_config(base, config, CASES, [], [])
    assert (gaze.gaze_weight, gaze.text_weight, gaze.finding_weight, gaze.dwell_weight) == (2, 0.5, 3, 0)
    assert (gaze.num_gaze_tokens, gaze.pointer_dim, gaze.target_sigma_patches) == (12, 8, 0.7)
    assert not gaze.use_previous_patch
    assert gaze.trained_on == "phantoms, then 3 scanpaths of 2 annotators on 2 images"
    assert adapted_config(base, configure(num_gaze_tokens=5), CASES, [], []).num_gaze_tokens == 5
    assert adapted_config(GazeConfig(), configure(), TIMED, [], []).trained_on == "1 scanpath of 1 annotator on 1 image"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"gaze_order": "none"}, "2 images"),
        ({"gaze_weight": 0}, "2 images"),
        ({"gaze_order": "shuffled"}, "3 scanpaths in a random order of 2 annotators on 2 images"),
        ({"gaze_order": "random"}, "random places in the stead of 3 scanpaths of 2 annotators on 2 images"),
    ],
)
def test_an_adapter_names_the_scanpaths_that_it_learned_and_no_others(values: dict[str, Any], words: str) -> None:
    assert adapted_config(GazeConfig(), configure(**values), CASES, [], []).trained_on == words


def test_nobody_is_counted_where_it_is_not_known_who_looked() -> None:
    read = [make_case("a", readings=[("", path_of(HERE)), ("", path_of(HERE))])]
    assert adapted_config(GazeConfig(), configure(), read, [], []).trained_on == "2 scanpaths on 1 image"


def test_glimpses_at_the_models_own_path_are_gone_on_with_as_they_were_begun(tmp_path: Path) -> None:
    """Worker processes cannot ask the model; their number may change where that changes nothing."""
    gaze, plain = GazeConfig(num_glimpses=2, gaze_trained=True), GazeConfig()

    def begin(name: str, workers: int) -> Path:
        run = tmp_path / name
        run.mkdir()
        config = configure(workers=workers)
        check_begun(run, config, CASES, writes=True)
        check_asking(run, config, gaze, writes=True)
        return run

    for name, before, now in (("without", 0, 4), ("with", 4, 0)):
        run = begin(name, before)
        check_asking(run, configure(workers=before + 1 if before else 0), gaze, writes=True)
        check_asking(run, configure(workers=now), plain, writes=True)
        check_asking(run, configure(workers=now, glimpse_shares=(0.5, 0, 0.5)), gaze, writes=True)
        with pytest.raises(ConfigError, match="would cut glimpses at other places from here on"):
            check_asking(run, configure(workers=now), gaze, writes=True)


@pytest.mark.parametrize("values", [{"gaze_order": "none"}, {"gaze_weight": 0}])
def test_without_a_path_to_cut_them_at_no_glimpse_is_trained(values: dict[str, Any]) -> None:
    """They would be seen in training and never afterwards."""
    base, config = GazeConfig(pointer_dim=8), configure(num_glimpses=4, **values)
    gaze = adapted_config(base, config, CASES, [], [])
    assert gaze.num_glimpses == 0
    assert "No glimpses: without scanpaths" in " ".join(training_notes(CASES, config, gaze, [], path_lengths(CASES)))
    assert adapted_config(replace(base, gaze_trained=True), config, CASES, [], []).num_glimpses == 4


def test_it_is_said_where_glimpses_at_the_models_own_path_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    gaze = GazeConfig(pointer_dim=8, gaze_trained=True, num_glimpses=4)

    def said(**values: Any) -> bool:
        notes = training_notes(CASES, configure(**values), gaze, [], path_lengths(CASES))
        return "30% of the examples" in " ".join(notes)

    assert not said()
    assert said(workers=2)
    assert not said(workers=2, glimpse_shares=(0.5, 0.0, 0.5))
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert said()


def test_data_in_colour_make_an_adapter_for_colour_pictures() -> None:
    colored = [make_case(name, picture(seed)) for seed, name in enumerate("abc")]
    grey = [replace(case, image=case.image.convert("L")) for case in colored]
    assert adapted_config(GazeConfig(), configure(), colored, [], []).color_images
    assert not adapted_config(GazeConfig(), configure(), grey, [], []).color_images
    assert not adapted_config(GazeConfig(), configure(), CASES, [], []).color_images, "that cannot be read"
    assert adapted_config(GazeConfig(color_images=True), configure(), grey, [], []).color_images, "as its base"


def test_a_base_that_shows_no_path_yet_learns_merged_steps_offsets_and_glimpses_where_they_are_asked_for() -> None:
    untrained, trained = GazeConfig(pointer_dim=8), GazeConfig(pointer_dim=8, gaze_trained=True)
    fresh = adapted_config(untrained, configure(num_glimpses=4), CASES, [], [])
    assert (fresh.num_glimpses, fresh.repeats, fresh.use_offsets) == (4, False, True)
    kept = adapted_config(trained, configure(), CASES, [], [])
    assert (kept.num_glimpses, kept.repeats, kept.use_offsets) == (0, True, False), "as the base walks"


def test_an_adapter_knows_the_questions_that_it_was_taught_besides_those_of_its_base() -> None:
    case = make_case("a", findings={"hernia": 1.0, "edema": 0.0, "no finding": 0.0}, report="Hernia.")
    base = GazeConfig(known_questions=("Is there edema?",))

    def known(base: GazeConfig, **values: Any) -> tuple[str, ...]:
        return adapted_config(base, configure(**values), [case], [], []).known_questions

    assert known(base) == ("Is there edema?", DEFAULT_QUESTION, "Is there hernia?")
    assert known(GazeConfig()) == (), "a base that answers freely goes on doing so"
    assert known(base, text_weight=0) == base.known_questions
    assert known(base, freeze_language=True, freeze_vision=False) == base.known_questions
    drawn = {draw.question for draw in draw_epochs([case], configure(), 40)}
    assert drawn <= {*known(base)}
    case = replace(case, question="What is behind the heart?")
    assert known(base) == ("Is there edema?", "What is behind the heart?", "Is there hernia?")
    drawn = {draw.question for draw in draw_epochs([case], configure(), 40)}
    assert "What is behind the heart?" in drawn
    assert drawn <= {*known(base)}


def test_more_questions_than_a_model_can_list_are_one_sentence() -> None:
    case = make_case("a", report="Hernia.")
    many = [replace(case, question=f"Is it number {n}?") for n in range(MOST_FINDINGS)]
    base = GazeConfig(known_questions=(DEFAULT_QUESTION,))
    assert len(adapted_config(base, configure(), many[1:], [], []).known_questions) == MOST_FINDINGS
    with pytest.raises(DatasetError, match=r"513 questions.* at most 512"):
        adapted_config(base, configure(), many, [], [])
    assert adapted_config(GazeConfig(), configure(), many, [], []).known_questions == ()
