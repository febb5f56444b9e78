"""The form follows the configuration, and says in one sentence what is wrong with a value."""

import math
import shlex
from typing import Any

import pytest
import typer
import yaml
from typer.testing import CliRunner

from finetune.command import finetune
from finetune.config import FinetuneConfig, setting_of
from finetune.tab.form import (
    FormError,
    TrainingForm,
    command_of,
    form_fields,
    is_suggested,
    read_settings,
    suggested_name,
)
from tests.finetune.adapt_maker import BASES, make_form
from web.training_data import DataChoice

FIELDS = form_fields()


def test_every_field_of_the_configuration_is_in_the_form_or_left_out_on_purpose() -> None:
    left_out = {name for name in FinetuneConfig.model_fields if not setting_of(name).on_page}
    assert left_out == {
        "annotations", "shares", "annotators", "base", "deepspeed", "fsdp_storage", "glimpse_shares"
    }  # fmt: skip
    assert set(FIELDS) == set(FinetuneConfig.model_fields) - left_out
    assert tuple(FIELDS)[:5] == ("epochs", "learning_rate", "lora_rank", "gaze_order", "seed")
    assert [field.in_sight for field in FIELDS.values()] == [1, 2, 3, 4, 5, *[0] * (len(FIELDS) - 5)]
    assert all(field.help for field in FIELDS.values())


def test_the_form_as_it_is_filled_in_gives_the_usual_configuration() -> None:
    form = make_form(settings={name: field.default for name, field in FIELDS.items()})
    assert form.config(BASES) == FinetuneConfig(annotations=("data",), base="gazevlm-nano")
    assert make_form().config(BASES) == form.config(BASES)


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("value", [{}, object(), "\0" * 200, [[]], [1], math.nan, math.inf, "a" * 10_000, -1])
def test_a_value_from_anybody_is_read_or_refused_in_one_sentence(name: str, value: Any) -> None:
    try:
        make_form(settings={name: value}).config(BASES)
        said = ""
    except FormError as error:
        said = str(error)
    assert not said or (said.startswith(FIELDS[name].label) and said.endswith(".") and "\n" not in said)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("epochs", 0, "Epochs should be greater than 0; change it."),
        ("epochs", None, "Epochs should be a valid number; change it."),
        ("lora_rank", 2.5, "LoRA rank should be a valid integer, got a number with a fractional part; change it."),
        ("learning_rate", 1, "Learning rate should be less than 1; change it."),
        ("gaze_order", "back", "Gaze order should be 'original', 'shuffled', 'random' or 'none'; change it."),
        ("dora", "maybe", "DoRA should be a valid boolean, unable to interpret input; change it."),
        ("gradient_checkpointing", True,
         "Gradient checkpointing should be a valid boolean, unable to interpret input; change it."),
        ("held_out_annotators", [1], "Held out annotators: choose one of the values that the form offers."),
        ("num_gaze_tokens", "many",
         "Gaze tokens should be a valid integer, unable to parse string as an integer; change it."),
        ("device", "tpu", r"Device string should match pattern '^(auto|cpu|cuda(:\d+)?)$'; change it."),
        ("num_gaze_tokens", "0", "Gaze tokens should be greater than or equal to 1; change it."),
    ],
)
def test_a_bad_value_is_told_by_its_label(name: str, value: Any, words: str) -> None:
    with pytest.raises(FormError) as error:
        make_form(settings={name: value}).config(BASES)
    assert str(error.value) == words


def test_values_that_do_not_go_together_are_told_too() -> None:
    frozen = {"freeze_language": True, "freeze_vision": "yes", "freeze_heads": True}
    with pytest.raises(FormError, match=r"^An adapter needs LoRA somewhere; .*free\.$"):
        make_form(settings=frozen).config(BASES)


def test_optional_fields_may_be_left_empty() -> None:
    read = read_settings({"num_gaze_tokens": "", "min_pixels": None, "max_pixels": " 1e6 "})
    assert read == {"min_pixels": None, "max_pixels": 1_000_000}, "what follows the base is left to it"
    for word, meaning in (("as usual", None), ("yes", True), ("no", False)):
        assert read_settings({"gradient_checkpointing": word}) == {"gradient_checkpointing": meaning}


@pytest.mark.parametrize("base", [None, "", "unknown", ["gazevlm-nano"], "gazevlm-nano "])
def test_a_base_is_one_of_the_loaded_models(base: object) -> None:
    with pytest.raises(FormError, match="Choose a base: gazevlm-nano, org/large model"):
        make_form(base=base).config(BASES)


@pytest.mark.parametrize("name", [None, "", " ", "a/b", "../a", ".hidden", "a\nb", "a" * 61, "ä", 7])
def test_a_name_is_one_that_a_folder_can_have(name: object) -> None:
    with pytest.raises(FormError, match="adapter's name has 1 to 60"):
        make_form(name=name).adapter_name()


@pytest.mark.parametrize("choice", [
    {"accepted_only": "yes"}, {"annotators": "A-1"}, {"annotators": [1]}, {"least_agreement": None},
    {"project": 1}, {"project": "x" * 10_000}, {"least_agreement": 2}, {"least_agreement": math.nan},
    {"least_agreement": True},
])  # fmt: skip
def test_a_choice_of_submissions_is_checked(choice: dict[str, Any]) -> None:
    with pytest.raises(FormError):
        make_form(**choice).choice()


@pytest.mark.parametrize("base", ["gazevlm-nano", "org/large model", "///", "x" * 200, ".."])
def test_a_suggestion_is_a_name_that_nothing_has(base: str) -> None:
    taken: list[str] = []
    for _ in range(3):
        taken.append(suggested_name(base, taken))
        assert TrainingForm(name=taken[-1]).adapter_name() == taken[-1]
        assert is_suggested(taken[-1])
    assert len(set(taken)) == 3
    assert not is_suggested("my-own")


def test_a_command_says_what_differs_from_the_usual_and_nothing_else() -> None:
    plain = FinetuneConfig(annotations=("data",), base="gazevlm-nano")
    assert command_of(plain, DataChoice(), "x") == (
        "gazevlm finetune --annotations annotations --base gazevlm-nano --out adapters/x"
    )
    changed = plain.model_copy(update={"freeze_vision": False, "max_pixels": 50_000, "learning_rate": 1e-5})
    words = shlex.split(command_of(changed, DataChoice(annotators=("A-1", "B 2")), "x"))
    assert words[8:] == [
        "--annotators", "A-1", "--annotators", "B 2", "--max-pixels", "50000", "--no-freeze-vision",
        "--learning-rate", "1e-05",
    ]  # fmt: skip


def test_who_is_held_out_is_among_the_chosen_on_the_page_and_apart_on_the_command_line() -> None:
    for annotators in (["A-1", "B 2"], ["A-1"]):
        form = make_form(annotators=annotators, settings={"held_out_annotators": ["B 2"]})
        assert form.choice().annotators == ("A-1", "B 2"), "else nobody would be scored against"
        words = shlex.split(command_of(form.config(BASES), form.choice(), "x"))
        assert words[8:] == ["--annotators", "A-1", "--held-out-annotators", "B 2"]
    assert make_form(settings={"held_out_annotators": ["B 2"]}).choice().annotators == ()
    with pytest.raises(FormError, match="Everybody who is chosen is held out"):
        make_form(annotators=["B 2"], settings={"held_out_annotators": ["B 2"]}).config(BASES)


def test_the_command_line_takes_the_command_and_means_the_same() -> None:
    app = typer.Typer()
    app.command()(finetune)
    settings = {
        "epochs": 2.5, "dora": True, "freeze_vision": "no", "gaze_order": "shuffled", "gradient_checkpointing": "no",
        "num_gaze_tokens": "6", "held_out_annotators": ["B 2"], "optimizer": "adamw", "learning_rate": 0.0002,
    }  # fmt: skip
    form = make_form(base="org/large model", annotators=["A-1", "C"], settings=settings)
    words = shlex.split(command_of(form.config(BASES), form.choice(), "x"))
    result = CliRunner().invoke(app, [*words[2:], "--print-config"])
    assert result.exit_code == 0, result.output
    changed = {"annotations": ["annotations"], "base": "large", "annotators": ["A-1", "C"]}
    wanted = form.config(BASES).to_values() | changed
    assert yaml.safe_load(result.output) == wanted
