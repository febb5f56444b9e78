"""Terms of art are explained behind the texts that use them, once in a table, and the same way in scripts."""

import re
from html import unescape
from pathlib import Path

import pytest

from diagnose.tab.form import answer_settings
from evaluate.rows import HEADS
from gazevlm_core.metrics.registry import path_metrics
from web.glossary import PATTERN, TERMS, mark, terms_in
from web.markup import Table, note, table

# Words that nobody has heard of who has not read the papers.
UNHEARD = re.compile(r"\b(medoid|walks?|arg-?max|domain [AB]|Bayes)\b", re.IGNORECASE)


def test_the_longest_term_counts_and_each_once() -> None:
    assert terms_in("Macro AUROC, AUROC and floors; the floor") == ["macro AUROC", "AUROC", "floor"]
    assert terms_in("flooring, basement") == []
    assert terms_in("patches and glimpses") == ["patch", "glimpse"]
    seen = {"floor"}
    assert terms_in("a floor and an order gain", seen) == ["order gain"]
    assert seen == {"floor", "order gain"}


def test_a_mark_says_what_its_text_means() -> None:
    assert mark("nothing of the kind") == ""
    term = "Krippendorff's alpha"
    (title,) = re.findall('title="([^"]*)"', mark(f"By {term}."))
    assert unescape(title) == f"{term}: {TERMS[term]}"
    assert note("The order gain.").count("gaze-term") == 1


def test_a_table_explains_each_term_where_it_comes_first() -> None:
    shown = table(Table("Scores", ["score", "floor: a"], [["ScanMatch", "1"], ["ScanMatch with durations", "floor"]]))
    assert re.findall('gaze-term" title="([^:]*):', shown) == ["floor", "ScanMatch"]
    for folded, tag in ((True, "summary"), (False, "h3")):
        shown = table(Table("Floors", ["floor"], [["b"]], folded=folded))
        assert "<button" not in re.findall(f"<{tag}.*?</{tag}>", shown)[0], "it would be part of the name"
        assert re.findall('gaze-term" title="([^:]*):', shown) == ["floor"], "once"
    assert "gaze-titled" not in table(Table("Names", ["a"], [["b"]]))


@pytest.mark.parametrize("name", [*path_metrics(), *HEADS[1:]])
def test_every_score_of_the_tables_is_explained(name: str) -> None:
    assert terms_in(name), name


def test_scripts_find_the_same_terms() -> None:
    assert not re.search(r"\(\?|\\[AZ]", PATTERN), "nothing that JavaScript reads otherwise"


def test_explanations_and_settings_use_no_such_words_themselves(repository: Path) -> None:
    for term, words in TERMS.items():
        assert not UNHEARD.search(words), term
        assert words.endswith((".", "guessing, 1 no mistake.")), term
    for setting in answer_settings():
        assert not UNHEARD.search(str(setting.label)), setting.label
