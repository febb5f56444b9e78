"""What the tab makes of jobs and their logs: curves, tables, estimates, links, before and after."""

import json
import re
from dataclasses import asdict, fields
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from finetune.config import FinetuneConfig
from finetune.records import UNJUDGED, Gain, Measure
from finetune.tab.before_after import image_choices
from finetune.tab.charts import MOST_POINTS, comparison_chart, drawn_measures, loss_chart, measure_chart, thinned
from finetune.tab.compare import comparison_table, history_table, preselected
from finetune.tab.estimate import NO_RUN, images_seen, measure_times, time_sentence
from finetune.tab.runs import LOSSES, VERDICT_WORDS, Run, RunReader, kept_events, read_pairs, run_label
from finetune.tab.start import count_tables, counts_html
from finetune.tab.watch import link_html, measure_table, run_table, verdict_html
from finetune.verdict import judge
from gazevlm_core.evaluation.checkpoint_scores import PASSED_BY_NOISE
from gazevlm_core.model.outputs import GazeLosses
from tests.finetune.adapt_maker import (
    BASES,
    MEASURES,
    FakeJob,
    FakeJobs,
    as_values,
    held_out,
    make_events,
    make_run,
    verdict,
    write_pairs,
)
from web.formatting import duration
from web.markup import table
from web.training_data import DataCount

NOT_BETTER = VERDICT_WORDS["no difference seen"]

CONFIG = FinetuneConfig(annotations=("data",), batch_size=4, epochs=3, held_out_share=0.2)


# ---- logs -----------------------------------------------------------------------------------------------------------
def test_steps_that_a_crash_took_back_are_there_once() -> None:
    first = [*make_events(5, 8), held_out(5)]
    again = make_events(6, 8, begin=2, at_s=300.0, loss=30.0)
    run = Run(FakeJob("one"), kept_events([*first, *again]))  # type: ignore[arg-type]
    assert [step for step, _ in run.losses["loss"]] == list(range(1, 9))
    assert [value for _, value in run.losses["loss"]][:3] == [3.0, 1.5, 10.0]
    assert run.held_out == []  # of step 5, which was done anew


def test_a_log_is_read_once_and_an_ended_one_no_more() -> None:
    log = make_events(3)
    jobs = FakeJobs((FakeJob("one", state="running", ended_at_s=None), log))
    offsets: list[int] = []
    plain = jobs.events
    jobs.events = lambda job_id, offset: (offsets.append(offset), plain(job_id, offset))[1]  # type: ignore[method-assign]
    reader = RunReader(jobs)  # type: ignore[arg-type]
    assert len(reader.run(jobs.known["one"]).events) == 4
    log.append(held_out(3))
    for job in (jobs.known["one"], FakeJob("one"), FakeJob("one")):
        assert len(reader.run(job).events) == 5
    assert offsets == [0, 4, 5]
    reader.forget("one")
    reader.run(FakeJob("one"))
    assert offsets[-1] == 0


def test_lines_that_cannot_be_used_are_passed_over() -> None:
    odd = [{"event": "step", "step": "x"}, {"event": "held_out", "step": 1, "measures": [{"no": 1}]},
           {"event": "step", "step": 1, "loss": None}, {"event": "verdict"}]  # fmt: skip
    run = RunReader(FakeJobs((FakeJob("one"), odd))).run(FakeJob("one"))  # type: ignore[arg-type]
    assert (run.losses, run.held_out, run.verdict, run.images, run.device) == ({}, [], None, None, "")
    assert loss_chart(run) is None
    assert measure_table(run) is None


def test_the_adapter_itself_says_what_it_is_worth(tmp_path: Path) -> None:
    best = Measure("AUROC", 0.95, 0.9)
    said = {"measures": [as_values(best)], "verdict": {"outcome": "no difference seen", "why": "Too close."}}
    (tmp_path / "provenance.json").write_text(json.dumps(said))
    run = make_run(adapter=tmp_path)
    assert run.measures == (best,)
    assert run.verdict is not None
    assert (run.verdict.better, run.verdict.why) == (False, "Too close.")
    old = {"verdict": {"better": True, "why": "By the mean of mixed units."}}
    (tmp_path / "provenance.json").write_text(json.dumps(old))
    run = make_run(adapter=tmp_path)
    assert run.doubt == VERDICT_WORDS["unknown"]
    unknown = UNJUDGED.format(why=PASSED_BY_NOISE)
    judged = make_run(adapter=tmp_path, cause="It is better than its base on 3 held-out images.")
    assert run_table([judged], causes=True).rows[0][1] == (f"done: {run.doubt}", unknown)
    assert (run.verdict and run.verdict.better, run.verdict and run.verdict.why) == (False, unknown)
    (tmp_path / "provenance.json").write_text("no")
    again = make_run(adapter=tmp_path)
    assert again.measures == MEASURES
    assert again.verdict.better


# ---- charts ---------------------------------------------------------------------------------------------------------
def test_the_parts_of_the_loss_are_lines_of_their_own() -> None:
    figure = loss_chart(make_run(events=make_events(6, 10), steps=10))
    assert [trace.name for trace in figure.data] == [LOSSES[part] for part in ("loss", "gaze_loss", "text_loss")]
    assert list(figure.data[0].x) == [1, 2, 3, 4, 5, 6]
    assert list(figure.data[0].y) == [3.0 / step for step in range(1, 7)]
    assert figure.layout.xaxis.range[1] == 10.5


def test_every_part_that_a_training_logs_is_drawn_in_a_colour_of_its_own() -> None:
    parts = {field.name: 0.1 for field in fields(GazeLosses)}
    figure = loss_chart(make_run(events=[{"event": "step", "step": 1, "steps": 1, **parts}], steps=1))
    assert [trace.name for trace in figure.data] == list(LOSSES.values())
    assert len({trace.line.color for trace in figure.data}) == len(parts)


def test_a_measure_is_drawn_beside_its_base_and_floors() -> None:
    early = Measure("sequence score", 0.35, 0.30, {"centre": 0.2, "another image": 0.25})
    run = make_run(events=[*make_events(6), held_out(3, measures=(early,)), held_out(6)])
    lines = {trace.name: (list(trace.x), list(trace.y)) for trace in measure_chart(run, "sequence score").data}
    assert lines == {
        "base": ([0, 6], [0.30, 0.30]), "floor: centre": ([0, 6], [0.2, 0.2]),
        "floor: another image": ([0, 6], [0.25, 0.25]), "adapter": ([3, 6], [0.35, 0.41]),
    }  # fmt: skip
    assert list(drawn_measures(run)) == ["sequence score", "AUROC", "gaze loss"]
    assert drawn_measures(run)["gaze loss"] == "gaze loss (lower is better)"
    assert measure_chart(run, "unheard of") is None


def test_thinned_points_keep_the_end_and_the_mean() -> None:
    points = [(step, float(step)) for step in range(1, 1001)]
    few = thinned(points, 100)
    assert len(few) == 100
    assert few[-1][0] == 1000
    assert sum(value for _, value in few) / 100 == pytest.approx(500.5)
    assert thinned(points[:MOST_POINTS]) == points[:MOST_POINTS]


def test_runs_are_compared_in_one_chart() -> None:
    figure = comparison_chart([make_run("a", name="one <b>"), make_run("b", name="two"), make_run("c", events=[])])
    assert [trace.name for trace in figure.data] == ["one &lt;b&gt;", "two"]
    assert comparison_chart([make_run(events=[])] * 2) is None


# ---- tables ---------------------------------------------------------------------------------------------------------
def test_counts_say_what_is_left_out_and_why() -> None:
    count = DataCount(9, 12, {"A": 4, "B": 8}, {"effusion": 3}, {"rejected": 2, "agrees too little": 5})
    said = "Chosen: 12 scanpaths on 9 images by 2 people. Left out: 2 rejected, 5 agrees too little."
    assert said in counts_html(count)
    chosen, findings, left_out = count_tables(count)
    assert all(one.folded for one in (chosen, findings, left_out))
    assert chosen.rows == [["B", "8"], ["A", "4"]]
    assert findings.rows == [["effusion", "3"]]
    assert left_out.rows == [["agrees too little", "5"], ["rejected", "2"]]
    assert len(count_tables(DataCount())) == 1


def test_the_verdict_is_drawn_with_its_intervals() -> None:
    measures = [
        Measure("sequence score", 0.4, 0.3, gain=Gain("base", 24, 0.1, 0.05, 0.15)),
        Measure("AUROC", 0.8, 0.9, gain=Gain("base", 24, -0.1, -0.2, 0.05)),
        Measure("AUROC of added findings", 0.8, None, gain=Gain("chance", 4)),
    ]
    scores = {"sequence score": "better", "AUROC": "no difference seen", "AUROC of added findings": "too few to tell"}
    judged = {"outcome": "better", "why": "So.", "scores": scores}
    run = make_run()
    run.__dict__["_provenance"] = {"measures": list(map(as_values, measures)), "verdict": judged}
    html = verdict_html(run)
    drawn = re.findall(r'data-outcome="([^"]*)"><b>([^<]*)</b>.*?<i style="left: ([\d.]*)%; width: ([\d.]*)%">', html)
    assert [(outcome, name) for outcome, name, *_ in drawn] == [
        ("better", "sequence score"), ("no difference seen", "AUROC")
    ], "without an interval there is nothing to draw"  # fmt: skip
    reach = 1.1 * 0.2
    for (low, high), (_, _, left, width) in zip(((0.05, 0.15), (-0.2, 0.05)), drawn, strict=True):
        assert float(left) == pytest.approx(50 + 50 * low / reach, abs=0.05)
        assert float(width) == pytest.approx(50 * (high - low) / reach, abs=0.11)
    assert "+0.100 [+0.050, +0.150]: better" in html
    assert verdict_html(make_run(events=[])) == ""
    assert "the floor" not in html


def test_what_the_base_does_not_have_is_drawn_around_its_floor_and_decides_nothing() -> None:
    path = Measure("sequence score", 0.4, None, {"best path": 0.3}, gain=Gain("best path", 24, 0.1, 0.05, 0.15))
    findings = Measure("AUROC", 0.9, 0.8, gain=Gain("base", 24, 0.1, 0.05, 0.15, 4, 3))
    for measures, outcome in (([path], "not comparable"), ([path, findings], "better")):
        run, judged = make_run(), asdict(judge(measures, 24))
        run.__dict__["_provenance"] = {"measures": list(map(as_values, measures)), "verdict": judged}
        assert run.verdict is not None
        assert run.verdict.outcome == outcome
        assert run.doubt == (None if outcome == "better" else "nothing to compare with its base")
        assert preselected([run]) == ([run.job.job_id] if outcome == "better" else [])
        html = verdict_html(run)
        assert "+0.100 [+0.050, +0.150] over the floor: best path: above the floor" in html
        assert ("no change" in html) == (outcome == "better")
        assert html.index("<em>below</em><em>the floor</em>") > html.index("over the floor: best path")
    assert "+0.100 [+0.050, +0.150] (4 of 7 findings): better" in html


def test_why_something_failed_is_for_admins() -> None:
    run = make_run(state="failed", cause="Cannot write /srv/secret.", events=[])
    assert "secret" in table(run_table([run], causes=True))
    assert "secret" not in table(run_table([run], causes=False))


def test_an_adapter_that_is_no_better_is_marked_in_words() -> None:
    worse, better = make_run("a", better=False), make_run("b", name="good")
    assert history_table([worse, better], BASES).rows[0][1] == NOT_BETTER
    assert history_table([worse, better], BASES).rows[1][1] == "better"
    assert run_label(worse) == f"first: {NOT_BETTER}"
    assert run_label(better) == "good: done"
    assert NOT_BETTER in table(run_table([worse], causes=False))


def test_figures_stand_beside_base_change_and_floors() -> None:
    found = measure_table(make_run())
    assert list(found.heads) == [
        "held-out images", "adapter", "base", "change", "floor: centre", "floor: another image", "floor: chance"
    ]  # fmt: skip
    assert found.rows[0] == [("sequence score", "higher is better"), "0.410", "0.300", "+0.110", "0.200", "0.250", "-"]
    assert found.rows[2][:4] == [("gaze loss", "nats, lower is better"), "2.500", "3.100", "-0.600"]


def test_compared_runs_show_what_differs() -> None:
    other = CONFIG.model_copy(update={"dora": True, "batch_size": 8})
    runs = [make_run("a", config=CONFIG), make_run("b", name="two", better=False, config=other)]
    found = comparison_table(runs, BASES)
    rows = {row[0] if isinstance(row[0], str) else row[0][0]: list(row[1:]) for row in found.rows}
    assert rows["against its base"] == ["better", NOT_BETTER]
    assert rows["sequence score"] == ["0.410 (+0.110)"] * 2
    assert rows["dora"] == ["False", "True"]
    assert rows["batch size"] == ["4", "8"]
    assert rows["epochs"] == ["3.0", "3.0"]
    assert "rslora" not in rows


def test_where_a_base_lies_is_nobodys_business() -> None:
    here = CONFIG.model_copy(update={"base": BASES["org/large model"]})
    gone = CONFIG.model_copy(update={"base": "/srv/secret/gone"})
    runs = [make_run("a", config=here), make_run("b", config=gone)]
    for shown in (history_table(runs, BASES), comparison_table(runs, BASES)):
        text = table(shown)
        assert "org/large model" in text
        assert "gone" in text
        assert "/models" not in text
        assert "/srv" not in text
    assert "secret" not in link_html(runs[1], BASES)


# ---- estimates ------------------------------------------------------------------------------------------------------
def test_an_image_is_seen_once_an_epoch() -> None:
    assert images_seen(CONFIG, 100) == 80 * 3
    assert images_seen(CONFIG.model_copy(update={"max_steps": 7, "accumulation": 2}), 100) == 7 * 4 * 2


def test_time_is_measured_and_scaled() -> None:
    log = [{"event": "phase", "text": "…", "time_s": 95.0}, *make_events(11, at_s=100.0, step_s=2.0),
           {"event": "end", "outcome": "done", "cause": "", "time_s": 140.0}]  # fmt: skip
    run = make_run(events=log, config=CONFIG)
    times = measure_times(run)
    assert times.image_s == pytest.approx(2.0 / 4)  # 11 steps are 10 spans of 2 s, 4 images each
    assert times.around_s == pytest.approx(45.0 - 20.0)
    measured = "(240 times an image at 0.5 s, measured in 1 earlier run with this base)"
    assert time_sentence(CONFIG, 100, [run]) == f"Time: about {duration(240 * 0.5 + 25)} on cpu {measured}."
    slower = CONFIG.model_copy(update={"epochs": 30})
    assert time_sentence(slower, 100, [run]).startswith(f"Time: about {duration(2400 * 0.5 + 25)} on cpu (2,400 times")


def test_runs_with_another_base_or_device_say_nothing() -> None:
    log = make_events(11)
    others = [make_run(events=log, config=CONFIG.model_copy(update=change)) for change in (
        {"base": "other"}, {"device": "cuda"}, {"precision": "bf16"})]  # fmt: skip
    others += [make_run(events=make_events(1), config=CONFIG), make_run(events=[], config=CONFIG)]
    assert time_sentence(CONFIG, 100, others) == NO_RUN


def test_a_pause_is_no_training_time() -> None:
    first, second = make_events(5, 10, at_s=100.0), make_events(5, 10, begin=5, at_s=9000.0)
    times = measure_times(make_run(events=[*first, *second], config=CONFIG))
    assert times.image_s == pytest.approx(0.5)
    assert times.around_s is None


# ---- the link -------------------------------------------------------------------------------------------------------
def test_the_link_chooses_what_diagnose_calls_the_adapter() -> None:
    run = make_run(adapter=Path("/adapters/a & b"), config=CONFIG.model_copy(update={"base": "/models/large"}))
    html = link_html(run, BASES)
    address = html.partition('href="')[2].partition('"')[0]
    assert parse_qs(urlsplit(address).query) == {"model": ["org/large model + a & b"]}
    assert "adapt-warning" not in html


def test_the_link_warns_is_missing_or_says_what_to_do() -> None:
    place = Path("/adapters/a")
    assert NOT_BETTER in link_html(make_run(adapter=place, better=False), BASES)
    assert link_html(make_run(state="running", adapter=None), BASES) == ""
    assert link_html(make_run(adapter=None), BASES) == ""
    assert "not among the models of this page" in link_html(make_run(adapter=place), {"other": "<other>"})


# ---- before and after -----------------------------------------------------------------------------------------------
def test_pairs_are_read_and_stay_within_the_image(tmp_path: Path) -> None:
    assert read_pairs(tmp_path) == ()
    write_pairs(tmp_path)
    first, second = read_pairs(tmp_path)
    assert first.before == ((0.2, 0.2), (0.5, 0.5))
    assert first.after[1][0] < 1
    assert second.answer_after == "A target, number 1."
    assert second.image == tmp_path / "before_after" / "1.png"


@pytest.mark.parametrize("name", ["../0.png", "/etc/passwd", "0.png/../x", "0.svg", "0.png\n", ""])
def test_only_pictures_of_the_run_are_shown(tmp_path: Path, name: str) -> None:
    write_pairs(tmp_path)
    file = tmp_path / "before_after" / "before_after.json"
    values = json.loads(file.read_text())
    values["images"][0]["file"] = name
    file.write_text(json.dumps(values))
    with pytest.raises(ValueError, match="cannot be read"):
        read_pairs(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"images": [{}]}', '{"images": [{"file": "0.png"}]}', "\0"])
def test_a_broken_file_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "before_after").mkdir()
    (tmp_path / "before_after" / "before_after.json").write_text(text)
    with pytest.raises(ValueError, match=r"cannot be read .*\.$"):
        read_pairs(tmp_path)


def test_images_of_the_store_are_listed_by_their_place_and_not_by_a_digest() -> None:
    assert image_choices(["ab" * 32, "phantom 7"]) == [("1 of 2", "ab" * 32), ("2 of 2: phantom 7", "phantom 7")]


def test_an_untrained_gaze_has_no_path(tmp_path: Path) -> None:
    write_pairs(tmp_path, 1)
    file = tmp_path / "before_after" / "before_after.json"
    values = json.loads(file.read_text())
    values["images"][0] |= {"before": None, "taught": None}
    file.write_text(json.dumps(values))
    (pair,) = read_pairs(tmp_path)
    assert (pair.before, pair.target) == (None, ())


def test_the_verdict_of_the_log_counts_until_there_is_an_adapter() -> None:
    run = make_run(events=[*make_events(2), verdict(better=False, why="No.")])
    assert run.verdict is not None
    assert not run.verdict.better
    assert run.phase == ""
    assert make_run(events=[{"event": "phase", "text": "Scoring", "time_s": 1.0}]).phase == "Scoring"
