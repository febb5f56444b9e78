"""Reports on the page: every kind becomes tables and charts; whatever else comes is refused in one sentence."""

import csv
import json
import re
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from evaluate.charts import charts_of, dot_chart
from evaluate.overview import details, headline, lines_of, named_lines, side_by_side
from evaluate.rows import text
from evaluate.tab.page import shipped_reports
from evaluate.tables import facts_of, tables_of
from gazevlm_core.datasets.scanpath_files import FiledPath, ScanpathFile
from gazevlm_core.evaluation.comparison import score_files
from gazevlm_core.evaluation.read_report import MOST_BYTES, WANTED, ReportError, parse_report, read_report
from gazevlm_core.evaluation.report import Score
from gazevlm_core.scanpath import Fixation, Scanpath
from tests.evaluate.report_maker import (
    REPORTS,
    dataset_report,
    experiment_report,
    path_report,
    phantom_report,
    score,
)
from web.markup import Table, table

HOSTILE = "<img src=x onerror=alert(1)>"


def encoded(values: Any) -> bytes:
    return json.dumps(values).encode()


def cells(shown: Table) -> list[list[str]]:
    return [[cell if isinstance(cell, str) else "\n".join(cell) for cell in row] for row in shown.rows]


@pytest.mark.parametrize("name", REPORTS)
def test_every_kind_becomes_tables_and_charts(name: str) -> None:
    report = parse_report(encoded(REPORTS[name]()))
    tables = tables_of(report)
    assert all(len(row) == len(shown.heads) for shown in tables for row in shown.rows)
    assert all(table(shown) for shown in tables)
    charts = charts_of(report)
    assert charts
    for chart in charts.values():
        assert chart().data


def test_facts_say_what_the_numbers_were_measured_on() -> None:
    first = {name: facts_of(parse_report(encoded(make())))[0] for name, make in REPORTS.items()}
    assert first["experiment"] == first["evaluate"] == "Measured on drawn phantoms, not on patients."
    assert "egd-cxr" in first["dataset"]
    assert "does not say" in first["score"]


def test_floors_order_gain_and_ceiling_stand_beside_a_score() -> None:
    (shown,) = tables_of(parse_report(encoded(path_report())))
    assert cells(shown)[0] == [
        "sequence score\nsees the order; higher is better",
        "0.500 [0.480, 0.520]",
        "0.250 [0.230, 0.270] uniform random\n0.250 [0.230, 0.270] own path shuffled",
        "0.125 [0.105, 0.145]",
        "0.600 [0.580, 0.620] another reader",
    ]
    assert cells(shown)[1][0] == "Jaccard\nblind to order; lower is better"
    own, twin = tables_of(parse_report(encoded(phantom_report())))
    assert (own.folded, twin.folded) == (False, True)
    rows = {row[0]: row for row in cells(own)}
    assert rows["macro AUROC, finding head, all severities"][2] == "0.500 chance", "known exactly: no interval"
    assert rows["report, findings named, micro F1"][2].endswith("always normal *"), "touches"
    assert rows["scanpath, sequence score"][3:] == [
        "0.100 [0.080, 0.120]",
        "0.440 [0.420, 0.460] the same reader again\n0.400 [0.380, 0.420] another reader",
    ]


def test_untrained_gaze_is_said_and_not_scored() -> None:
    report = parse_report(encoded(phantom_report(trained=False)))
    assert "untrained" in " ".join(tables_of(report)[0].notes)
    assert not any("scanpath" in row[0] for row in cells(tables_of(report)[0]))
    assert not any("sequence" in name for name in charts_of(report))


def test_curves_have_one_line_per_order_and_a_chart_per_variant() -> None:
    report = parse_report(encoded(experiment_report()))
    charts = charts_of(report)
    ways = ("drawn as in training", "drawn otherwise")
    changes = [f"Change of macro AUROC, without glimpses, {drawn}" for drawn in ways]
    assert list(charts) == changes + [
        f"{score}, {variant}, {drawn}"
        for score in ("macro AUROC", "sequence score")
        for drawn in ways
        for variant in ("without glimpses", "with glimpses")
    ]
    change, _, auroc, _, _, _, sequence, *_ = (draw() for draw in charts.values())
    assert (list(change.data[0].x), list(change.data[0].y)) == ([0.03125], ["original - none, 100 images"])
    assert [(line.name, list(line.x)) for line in auroc.data] == [
        ("original gaze", [100, 1000]), ("no gaze", [100, 1000])
    ]  # fmt: skip
    assert auroc.data[0].error_y.array == pytest.approx([0.02, 0.02])
    assert [line.name for line in sequence.data] == ["original gaze"]


def test_an_experiment_is_answered_in_one_sentence_by_its_intervals() -> None:
    values = experiment_report()
    difference = values["domains"]["A"]["differences"][0]
    assert headline(parse_report(encoded(values))) == "Learning where people look helps telling findings apart."
    assert details(parse_report(encoded(values))) == [
        "Learning where people look, for telling findings apart: without glimpses AUROC 0.031 [0.011, 0.051].",
        "From 100 images, 2 seeds.",
    ]
    order = {**difference, "second": "shuffled", "images": 1000, "interval": [-0.1, 0.2]}
    values["domains"]["A"]["differences"] = [{**difference, "interval": [-0.1, -0.01]}, order]
    assert headline(parse_report(encoded(values))) == (
        "Learning in which order people look makes no visible difference to telling findings apart; learning where "
        "people look harms telling findings apart."
    )
    assert details(parse_report(encoded(values))) == [
        "Learning in which order people look, for telling findings apart: without glimpses AUROC 0.031 [-0.100, 0.200] "
        "(1,000 images, 2 seeds).",
        "Learning where people look, for telling findings apart: without glimpses AUROC 0.031 [-0.100, -0.010] (100 "
        "images, 2 seeds).",
    ], "each with its own number of images"
    bits = {**difference, "score": "bits per fixation", "second": "shuffled", "value": 0.5, "interval": [0.25, 0.75]}
    less, unclear = ({**bits, "variant": "with glimpses", "interval": ends} for ends in ([-0.7, -0.2], [-0.7, 0.2]))
    values["domains"]["A"]["differences"] = [bits, less]
    assert headline(parse_report(encoded(values))) == (
        "Learning in which order people look helps foretelling a reader's next patch without glimpses but harms it "
        "with glimpses."
    ), "every variant speaks for itself"
    values["domains"]["A"]["differences"] = [unclear]
    assert "look makes no visible difference to foretelling" in headline(parse_report(encoded(values)))
    values["domains"]["A"]["differences"] = [{**difference, "interval": None, "by_seed": [0.03]}]
    assert headline(parse_report(encoded(values))).endswith("look cannot be judged yet for telling findings apart.")
    lines = lines_of(parse_report(encoded(values)))
    assert list(lines) == ["gaze in its order, without glimpses", "no gaze, without glimpses"], "which one is drawn"
    values["domains"]["A"]["differences"] = []
    assert headline(parse_report(encoded(values))) == "Nothing was compared in this experiment yet."


def test_a_model_is_set_between_chance_and_another_reader() -> None:
    assert headline(parse_report(encoded(path_report()))) == (
        "The path goes 71% of the way from chance to another reader (sequence score 0.500 [0.480, 0.520]), above own "
        "path shuffled (0.250)."
    )
    values = path_report()
    values["metrics"]["sequence score"]["floors"]["own path shuffled"] = score(0.49)
    assert "not clearly above own path shuffled (0.490)" in headline(parse_report(encoded(values))), "they touch"
    values["metrics"]["sequence score"]["ceiling_other_reader"] = score(0.25)
    assert "The path has nowhere to go" in headline(parse_report(encoded(values))), "a reader is as good as chance"


def test_a_dot_lies_between_chance_and_another_reader_whichever_way_is_better() -> None:
    values = path_report()
    distance = {**values["metrics"]["Jaccard"], **score(0.3), "ceiling_other_reader": score(0.1),
                "floors": {"uniform random": score(0.5), "own path shuffled": score(0.4)}}  # fmt: skip
    values["metrics"] |= {"a distance": distance, "not told": {**distance, "ceiling_other_reader": score(0.6)}}
    (dots,) = lines_of(parse_report(encoded(values))).values()
    assert dots["sequence score"].at == pytest.approx((0.5 - 0.25) / (0.6 - 0.25))
    assert (dots["a distance"].at, dots["a distance"].ends) == (pytest.approx(0.5), pytest.approx((0.45, 0.55)))
    left_out = [name for name, dot in dots.items() if not dot.drawn]
    assert left_out == ["Jaccard", "not told"], "a reader is no better than chance there"
    figure = dot_chart({"these": dots})
    assert figure is not None
    floors, own = figure.data
    assert list(own.y) == ["sequence score", "a distance"]
    assert list(own.x) == pytest.approx([5 / 7, 0.5])
    assert list(floors.x) == pytest.approx([0.0, 0.25])
    assert "Jaccard, not told" in figure.layout.xaxis.title.text
    assert dot_chart({"these": {}}) is None
    told = dot_chart({"gaze in its order, without glimpses": dots, "no gaze, without glimpses": dots})
    assert told is not None
    assert [line.name for line in told.data] == ["knows less", "gaze in its order", "no gaze"]
    assert told.layout.xaxis.title.text.startswith("All without glimpses."), "once: a phone has no room for more"
    many = dot_chart({str(number): dots for number in range(8)})
    assert many is not None
    assert len({(line.marker.color, line.marker.symbol) for line in many.data}) == 1 + 8, "each is told from the others"


def test_the_sequence_score_of_phantoms_is_that_on_the_model_s_own_grid() -> None:
    values = phantom_report()
    paths = values["scores"]["model"]["scanpath"]
    paths["metrics"] = path_report()["metrics"]
    paths["sequence_score"]["floors"]["uniform random patches"] = {
        **score(0.125), "interval_touches_the_models": False
    }  # fmt: skip
    report = parse_report(encoded(values))
    dots = lines_of(report)["nano"]
    assert (dots["sequence score"].score.value, dots["sequence score on 8 by 8 patches"].score.value) == (0.375, 0.5)
    assert "(sequence score 0.375" in headline(report)
    tables = [shown for shown in tables_of(report) if shown.title == "Its paths by every score"]
    assert cells(tables[0])[0][0].startswith("sequence score on 8 by 8 patches")
    assert "sequence score on 8 by 8 patches and its floors (higher is better)" in charts_of(report)


@pytest.mark.parametrize(
    ("value", "ends", "shown"),
    [
        (-0.0034, [-0.0065, -0.0003], "-0.0034 [-0.0065, -0.0003]"),
        (0.0004, [0.00002, 0.2], "0.00040 [0.00002, 0.20000]"),
        (0.0004, [-0.0001, 0.2], "0.000 [0.000, 0.200]"),
        (0.5, [0.0006, 0.9], "0.500 [0.001, 0.900]"),
        (0.5, [0.0, 1.0], "0.500 [0.000, 1.000]"),
        (1.0, [1.0, 1.0], "1.000 [1.000, 1.000]"),
        (0.5, None, "0.500 [-]"),
        (None, None, "-"),
    ],
)
def test_an_end_is_written_as_0_only_where_the_interval_holds_0(
    value: float | None, ends: list[float] | None, shown: str
) -> None:
    assert text(Score(value=value, interval=ends)) == shown


def test_findings_that_few_have_are_named_and_prevalences_are_the_floor_of_all_labels() -> None:
    values = dataset_report()
    labels = values["scores"]["finding_head"]
    labels |= {"micro_auroc": {**score(0.75), "floor": 0.8125}, "too_few": ["hernia"], "one_class_only": ["fibrosis"]}
    notes = " ".join(tables_of(parse_report(encoded(values)))[0].notes)
    assert "Macro AUROC 0.750 [0.730, 0.770], chance 0.5;" in notes
    assert "all labels pooled 0.750 [0.730, 0.770], 0.812 by how often each finding is there" in notes
    assert "not in the mean where others are: hernia. Fewer than 5 patients" in notes
    assert "one class only: fibrosis" in notes
    old = " ".join(tables_of(parse_report(encoded(dataset_report())))[0].notes)
    assert "how often each finding is there. " not in old, "earlier versions took 0.5 for that floor"


def test_a_data_set_s_paths_say_what_was_left_out() -> None:
    values = dataset_report()
    values["scores"]["scanpath"]["dropped"] = {"readings_without_predicted_path": 3}
    (shown,) = (one for one in tables_of(parse_report(encoded(values))) if one.title == "Scanpaths")
    assert "Left out: 3 readings without predicted path." in shown.notes


def test_a_floor_is_not_beaten_where_there_is_no_interval() -> None:
    values = path_report()
    values["metrics"]["sequence score"]["interval"] = None
    assert "(sequence score 0.500 [-]), not clearly above own path shuffled" in headline(parse_report(encoded(values)))


def test_several_reports_stand_side_by_side() -> None:
    reports = {name: parse_report(encoded(REPORTS[name]())) for name in ("score", "dataset")}
    lines = named_lines(reports)
    assert list(lines) == ["score: these paths", "dataset: nano with adapter mine"]
    shown = side_by_side(lines)
    assert shown is not None
    rows = {row[0].partition("\n")[0]: row for row in cells(shown)}
    assert rows["sequence score"][1:] == ["0.250", "0.500 [0.480, 0.520]", "0.500 [0.480, 0.520]", "0.600"]
    assert rows["AUROC of the findings, finding head"][2:4] == ["-", "0.750 [0.730, 0.770]"]


def test_any_table_is_saved_as_csv() -> None:
    shown = Table("A <title>", ("name", "value, in all"), [[("=SUM(A1)", "a remark"), '-0.5 "x"'], [HOSTILE, "2"]])
    (address,) = re.findall('href="data:text/csv;charset=utf-8,([^"]*)"', table(shown))
    assert list(csv.reader(StringIO(unquote(address)))) == [
        ["name", "value, in all"], ["'=SUM(A1) | a remark", '-0.5 "x"'], [HOSTILE, "2"]
    ]  # fmt: skip
    assert 'download="A-title.csv"' in table(shown)


def test_what_score_writes_is_read() -> None:
    path = Scanpath(tuple(Fixation(0.1 * k, 0.2, 200.0) for k in range(1, 6)), "eyetracker")
    for images, own in ((3, "1.000 [-]"), (6, "1.000 [1.000, 1.000]")):
        readings = [FiledPath("r", path, image_id=str(image)) for image in range(images)]
        results = score_files(ScanpathFile(readings), ScanpathFile(readings))
        (shown,) = tables_of(parse_report(encoded(results.to_values())))
        assert len(shown.rows) == len(results.metrics)
        assert cells(shown)[0][1] == own, "three images give no interval, and six measured ones are not exact"


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "no JSON"),
        (b"\x89PNG", "no JSON"),
        (b"[" * 200_000, "no JSON"),
        (b'{"a":' * 100_000, "no JSON"),
        (b'{"metrics": NaN}', "no JSON"),
        (b'{"metrics": -Infinity}', "no JSON"),
        (b"1" * 10_000, "no JSON"),
        (b"{}", "no report"),
        (b"[]", "no report"),
        (b'"text"', "no report"),
        (b'{"dataset": []}', "dataset"),
        (b'{"domains": {}}', "cannot be shown"),
        (b'{"metrics": {}}', "cannot be shown"),
        (encoded({**path_report(), "images": "24"}), "images: Input should be a valid integer"),
        (encoded({**path_report(), "images": True}), "images"),
        (encoded({**path_report(), "images": 10**40}), "images"),
        (encoded({**path_report(), "grid": [8]}), "grid"),
        (encoded(path_report(sequence="x" * 1000)), "String should have at most"),
        (encoded(path_report()).replace(b"0.125", b"1e999"), "cannot be shown"),
        (encoded({**phantom_report(), "scores": {HOSTILE: {}}}), "cannot be shown"),
        (encoded({**path_report(), "dropped": {str(k): 0 for k in range(1000)}}), "dropped"),
    ],
)
def test_anything_else_gives_one_sentence_that_says_what_to_give(data: bytes, complaint: str) -> None:
    with pytest.raises(ReportError) as caught:
        parse_report(data)
    message = str(caught.value)
    assert complaint in message
    assert message.endswith(WANTED)
    assert len(message) < 600


def test_large_and_missing_files_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.json"
    with path.open("wb") as stream:
        stream.truncate(MOST_BYTES + 1)
    with pytest.raises(ReportError, match="more than 4 MB"):
        read_report(path)
    with pytest.raises(ReportError, match="cannot be read"):
        read_report(tmp_path / "missing.json")



def test_names_from_a_file_are_escaped() -> None:
    report = parse_report(encoded(path_report(sequence=HOSTILE)))
    html = "".join(map(table, tables_of(report)))
    assert "<img" not in html
    assert "&lt;img" in html
    drawn = charts_of(report)[f"{HOSTILE} and its floors (higher is better)"]().to_json()
    assert "<img" not in json.dumps(json.loads(drawn)["data"])


def test_shipped_reports_are_found_by_their_folder(tmp_path: Path) -> None:
    assert shipped_reports(tmp_path / "none") == {}
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "results.json").write_text("{}")
    (tmp_path / "unfinished").mkdir()
    assert list(shipped_reports(tmp_path)) == ["a", "b"]
