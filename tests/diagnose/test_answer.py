"""Words and findings as HTML: what points at which fixation, what changed, and nothing from outside that is markup."""

import re
from dataclasses import replace

from diagnose.tab.answer import Side, answer, findings, paired_findings, silent_findings
from diagnose.tab.markup import chart_note
from gazevlm_core.evaluation.checkpoint_scores import CheckpointScores, FindingScore
from gazevlm_core.geometry import Window
from gazevlm_core.records import Glimpse, Sentence
from tests.diagnose.samples import ATTACK, FOUND

SEEN = replace(
    FOUND, answer="Large left effusion. No edema.", finding_probabilities={"edema": 0.2, "fracture": 0.9},
    glimpses=(Glimpse(0, Window(0, 0, 0.5, 0.5)), Glimpse(1, Window(0.5, 0.5, 1, 1))),
    evidence={"edema": (0.25, 0.5), "fracture": (0.0, 1.0)},
    sentences=(Sentence("Large left effusion.", (0.1, 0.3)), Sentence("No edema.", (0.2, 0.0625))),
)  # fmt: skip


def plain(html: str) -> str:
    return re.sub(r"<[^>]*>", "", html)


def test_each_sentence_has_the_shares_of_the_glimpses() -> None:
    html = answer(SEEN, "viewer-2")
    assert 'data-links="viewer-2"' in html
    assert re.findall('data-shares="([^"]*)">([^<]*)<', html) == [
        ("0.1000 0.3000", "Large left effusion."), ("0.2000 0.0625", "No edema."),
    ]  # fmt: skip
    assert plain(answer(replace(SEEN, sentences=()), "viewer")) == SEEN.answer, "while it is being written"
    assert "data-shares" not in answer(FOUND, "viewer"), "a model without glimpses"
    assert answer(replace(FOUND, answer=""), "viewer") == ""


def test_words_that_changed_are_marked() -> None:
    before = replace(FOUND, answer="Small right effusion. No edema. No fracture.")
    html = answer(SEEN, "viewer", before)
    assert "<del>Small right</del> <ins>Large</ins> <ins>left</ins> effusion." in html
    assert html.endswith("No edema.</span> <del>No fracture.</del></p></div>")
    assert "<ins>" not in answer(SEEN, "viewer", SEEN)


def test_findings_are_bars_the_most_probable_on_top() -> None:
    scores = CheckpointScores("ten phantoms", {"edema": FindingScore(0.987, 0.1)})
    html = findings(Side("", SEEN, "viewer", scores))
    assert re.findall('data-finding="([^"]*)"', html) == ["fracture", "edema"]
    assert re.findall("<b>([^<]*)</b>", html) == ["0.90", "0.20"]
    assert re.findall('data-shares="([^"]*)"', html) == ["0.0000 1.0000", "0.2500 0.5000"]
    told = "Reliability: very good. Of two images, one with it and one without, the first got the higher number in"
    assert f"{told} 98.7% of pairs (AUROC; 50% is guessing), on ten phantoms; 10% of them have it." in html
    assert re.findall("<small>([^<]*)</small>", html) == ["not scored", "very good"]
    assert "untrained" in findings(Side("", replace(FOUND, finding_probabilities={}), "viewer"))


def test_the_note_on_reliability_says_on_what_each_of_two_models_was_measured() -> None:
    first, second = (CheckpointScores(words, {"edema": FindingScore(0.9, 0.1)}) for words in ("200 films", "9 films"))

    def told(*scores: CheckpointScores | None) -> str:
        return plain(chart_note([Side(title, SEEN, "viewer", one) for title, one in zip("ab", scores, strict=False)]))

    assert told(first) == told(first, first) == (
        "Beside each bar: how far it can be trusted, measured on 200 films. Point at it for more."
    )
    assert "trusted, a measured on 200 films and b measured on 9 films." in told(first, second)
    assert "trusted, a not measured on enough images and b measured on 9 films." in told(None, second)
    assert told(None).startswith("Nobody measured this model on enough images, so how far its")
    assert told(None, None).startswith("Nobody measured these models on enough images, so how far their")


def test_bars_show_where_they_were_in_the_order_that_they_had() -> None:
    before = replace(SEEN, finding_probabilities={"edema": 0.75, "fracture": 0.9})
    after = replace(SEEN, finding_probabilities={"edema": 0.25, "fracture": 0.95})
    html = findings(Side("", after, "viewer", before=before))
    assert re.findall('data-finding="([^"]*)"', html) == ["fracture", "edema"]
    assert [plain(number) for number in re.findall("<b>(.*?)</b>", html)] == ["0.95", "0.25"]
    assert re.findall("<small class=.gaze-was.>([^<]*)</small>", html) == ["was 0.90", "was 0.75"]
    assert '<s style="left: 25.0%; width: 50.0%" class="gaze-less">' in html
    assert not re.search("<ins|was", findings(Side("", SEEN, "viewer", before=SEEN)))


def test_a_drawn_image_has_no_bar_of_a_finding_that_was_never_measured_on_drawn_ones() -> None:
    scores = CheckpointScores("ten", {"edema": FindingScore(0.9, 0.1), "fracture": FindingScore(0.9, 0.1)})
    told = {"pneumonia": 0.9, "fracture": 0.7, "edema": 0.2}
    silent = silent_findings(told, scores, "Describe the findings.")
    assert silent == {"pneumonia"}
    assert silent_findings(told, scores, "Is there Pneumonia?") == set(), "it was asked for"
    assert silent_findings(told, None, "Describe the findings.") == set(), "nothing was measured"
    assert silent_findings(["edema", "a", "b"], scores, "") == set(), "most were not: as all of them"
    seen = replace(SEEN, finding_probabilities=told, evidence={})
    side = Side("one", seen, "viewer", scores, silent=silent)
    for html in (findings(side), paired_findings([side, side])):
        bars, fold = html.split("<details")
        assert "pneumonia" not in bars
        assert bars.index("fracture") < bars.index("edema")
        assert "<summary>Not measured on images like this: pneumonia</summary>" in fold
        assert "<b>0.90</b>" in fold
        assert "<ins>" not in html
    one_sided = Side("two", seen, "viewer-2")
    assert "<details" not in paired_findings([side, one_sided]), "the other one tells it"


def test_two_models_have_pairs_of_bars_in_the_order_of_the_first() -> None:
    other = replace(SEEN, finding_probabilities={"edema": 0.95, "fracture": 0.8, "atelectasis": 0.4}, evidence={})
    html = paired_findings([Side("one", SEEN, "viewer"), Side("two", other, "viewer-2")])
    pairs = html.split('<li class="gaze-pair">')[1:]
    assert [plain(pair) for pair in pairs] == [
        "fracture0.90not scored0.80not scored", "edema0.20not scored0.95not scored",
        "atelectasisdoes not know it0.40not scored",
    ]  # fmt: skip
    assert re.findall('data-links="([^"]*)"', html) == ["viewer", "viewer-2"] * 3
    assert re.findall('data-shares="([^"]*)"', html) == ["0.0000 1.0000", "0.2500 0.5000"], "only of one with glimpses"
    assert "They are furthest apart on edema: 0.20 and 0.95." in html
    assert "the same" in paired_findings([Side("one", SEEN, "viewer")] * 2)


def test_nothing_from_outside_is_markup() -> None:
    hostile = replace(
        SEEN, answer=ATTACK, sentences=(Sentence(ATTACK, (0.1, 0.2)),), finding_probabilities={ATTACK: 0.5}, evidence={}
    )
    side = Side(ATTACK, hostile, "v")
    bars = findings(side) + paired_findings([side, side]) + paired_findings([side, Side("", SEEN, "w")])
    for html in (answer(hostile, "v"), answer(hostile, "v", SEEN), answer(SEEN, "v", hostile), bars):
        assert "<script" not in html
        assert "alert(1)" in html
