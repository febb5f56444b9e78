"""Links hold everything that decides an answer, and nothing unchecked comes out of one."""

from urllib.parse import parse_qsl

import pytest

from diagnose.service import EXAMPLES
from diagnose.tab.form import Asking, from_query, to_query
from gazevlm_core.options import DiagnoseOptions, PathChoice

ASKED = Asking("Is there <b>edema</b> & more?", 3, "a/b + c", "sample", 8, 1.5, 42, 0.7, 7, "b & c", 0.25)


@pytest.mark.parametrize("asking", [ASKED, Asking("What?"), Asking("Was ist das? é", example=0)])
def test_a_link_gives_back_what_was_asked(asking: Asking) -> None:
    assert from_query(dict(parse_qsl(to_query(asking))), "unused") == asking


def test_an_empty_link_is_the_default() -> None:
    assert from_query({"__theme": "dark"}, "What?") == Asking("What?")
    assert Asking("What?").options() == DiagnoseOptions()


def test_options_are_those_of_the_engine() -> None:
    assert ASKED.options() == DiagnoseOptions(
        path=PathChoice.SAMPLE, walks=8, path_temperature=1.5, path_seed=42, text_temperature=0.7, text_seed=7
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("example", str(len(EXAMPLES))), ("example", "-1"), ("example", "1e9"), ("example", "../x"), ("question", " "),
        ("question", "x" * 501), ("path", "shortest"), ("walks", "0"), ("walks", "100000"), ("walks", "2.5"),
        ("path_temperature", "nan"), ("path_temperature", "-1"), ("text_temperature", "inf"), ("path_seed", "-3"),
        ("second_temperature", "hot"), ("second_temperature", "3"), ("text_seed", str(2**40)),
        ("model", "x" * 201), ("second_model", "x" * 201),
    ],
)  # fmt: skip
def test_a_value_out_of_range_is_one_sentence(key: str, value: str) -> None:
    with pytest.raises(ValueError, match=r"^The .*[.]$") as error:
        from_query({key: value}, "What?")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "values",
    [
        {"model": None}, {"second_model": 3}, {"walks": True}, {"path_seed": None}, {"path_temperature": "1"},
        {"walks": 4.0}, {"text_temperature": None},
    ],
)  # fmt: skip
def test_values_of_the_wrong_kind_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must be a"):
        Asking("What?", **values)


def test_a_comparison_differs_in_model_or_temperature_alone() -> None:
    assert Asking("What?", model="a").second() is None
    assert ASKED.second() == Asking(ASKED.question, 3, "b & c", "sample", 8, 0.25, 42, 0.7, 7)
    hotter = Asking("What?", model="a", second_temperature=2.0).second()
    assert hotter == Asking("What?", model="a", path_temperature=2.0)
    assert Asking("What?", second_model="b").second() == Asking("What?", model="b")
