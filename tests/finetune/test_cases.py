"""The data of a run: read, checked, merged, and known by a fingerprint."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from finetune.cases import fingerprint, has_fingerprint, merged, parse_spec, path_lengths, read_cases, split_cases
from finetune.examples import draw_epochs
from finetune.prepare import training_notes
from finetune.stopping import Stopped
from gazevlm_core.datasets.trained_on import rgb_digest
from gazevlm_core.geometry import PatchGrid
from gazevlm_core.model.configuration_gazevlm import GazeConfig
from gazevlm_core.sample import DatasetError, Reading, Sample, pixel_digest
from gazevlm_core.scanpath import Scanpath
from tests.finetune.case_maker import (
    HERE,
    OTHER,
    Study,
    configure,
    make_case,
    names,
    one_sentence,
    path_of,
    picture,
    readers,
    write_folder,
)


# ---- reading --------------------------------------------------------------------------------------------------------
def test_a_folder_is_read_as_it_was_exported(folder: Path) -> None:
    cases = read_cases(configure(folder))
    assert names(cases) == [f"i{n:02}" for n in range(40)]
    record = cases[3]
    assert (record.patient_id, record.report, record.findings) == ("p01", "Some words.", {"edema": 1.0})
    assert {reading.reader: len(reading.scanpath) for reading in record.readings} == {"owl": 2, "fox": 3}
    assert all(reading.reading_id == f"i03-{reading.reader}" for reading in record.readings)
    assert all(len(reading.digest) == 64 for reading in record.readings)
    assert cases[3].load().size == (64, 64)
    assert len({case.digest for case in cases}) == 40


@pytest.mark.parametrize(
    ("spec", "parsed"),
    [
        ("data/one", ("folder", Path("data/one"), None)),
        ("folder=data/one", ("folder", Path("data/one"), None)),
        ("reflacx=root,images", ("reflacx", Path("root"), Path("images"))),
        ("run=3/data", ("folder", Path("run=3/data"), None)),
    ],
)
def test_a_data_set_is_told_by_name_or_folder(spec: str, parsed: tuple[str, Path, Path | None]) -> None:
    assert parse_spec(spec) == parsed


def test_only_the_chosen_annotators_are_read(folder: Path) -> None:
    cases = read_cases(configure(folder, annotators=["fox"]))
    assert readers(cases) == {"fox"}
    assert len(cases) == 40
    both = read_cases(configure(folder, annotators=["fox"], held_out_annotators=["owl"]))
    assert readers(both) == {"fox", "owl"}


def test_labels_and_words_of_others_are_not_learned(tmp_path: Path) -> None:
    """A finding and a report are of those who read the image."""
    known = {"findings": {"edema": 1.0}, "report": "Words."}
    studies = [
        Study("a", 1, readings={"fox": HERE, "owl": OTHER}, **known), Study("b", 2, readings={"owl": HERE}, **known),
        Study("c", 3, **known), Study("d", 4, readings={"elk": HERE}, **known),
    ]  # fmt: skip
    folder = write_folder(tmp_path / "set", studies)
    assert names(read_cases(configure(folder, annotators=["fox"]))) == ["a"]
    both = configure(folder, annotators=["fox"], held_out_annotators=["owl"])
    assert names(read_cases(both)) == ["a", "b"]
    unread = write_folder(tmp_path / "labels", [Study("e", 5, **known)])  # nobody's readings are left out there
    assert names(read_cases(configure(folder, unread, annotators=["fox"]))) == ["a", "e"]
    many_more = [Study(f"{who}{n}", 10 + n, readings={who: HERE}, **known) for n, who in enumerate(["owl", "fox"] * 9)]
    config = configure(write_folder(tmp_path / "more", many_more), held_out_annotators=["owl"])
    split = split_cases(read_cases(config), config)
    assert split.train
    assert all(name.startswith("fox") for name in names(split.train))


@pytest.mark.parametrize("field", ["annotators", "held_out_annotators"])
def test_annotators_that_there_are_not_are_named(folder: Path, tmp_path: Path, field: str) -> None:
    with pytest.raises(DatasetError, match="no scanpath is by foxx; there are those of fox, owl"):
        read_cases(configure(folder, **{field: ["foxx"]}))
    crowd = [Study(f"i{n}", n, readings={f"r{n:02}": HERE}) for n in range(20)]
    with pytest.raises(DatasetError, match=r"by foxx; there are those of r00, .*, r11 and 8 others"):
        read_cases(configure(write_folder(tmp_path / "crowd", crowd), **{field: ["r03", "foxx"]}))
    labels = write_folder(tmp_path / "labels", [Study("a", 1, findings={"edema": 1.0})])
    with pytest.raises(DatasetError, match="by foxx; the data have none at all"):
        read_cases(configure(labels, **{field: ["foxx"]}))


def test_images_of_which_nothing_is_known_are_passed_over(tmp_path: Path) -> None:
    studies = [Study("a", 1, readings={"owl": HERE}), Study("b", 2), Study("c", 3, findings={"edema": 0.0})]
    assert names(read_cases(configure(write_folder(tmp_path / "set", studies)))) == ["a", "c"]


@pytest.mark.parametrize("blank", ["", " \n"])
def test_a_report_without_words_is_none(tmp_path: Path, blank: str) -> None:
    """Else a model would learn to say nothing."""
    studies = [Study("a", 1, readings={"owl": HERE}, report=blank), Study("b", 2, report=blank)]
    (case,) = read_cases(configure(write_folder(tmp_path / "set", studies)))
    assert case.report is None
    assert draw_epochs([case], configure(), 1)[0].answer is None
    assert case.report is None


def test_reading_ends_between_images(folder: Path) -> None:
    asked: list[int] = []

    def check() -> None:
        asked.append(1)
        if len(asked) == 3:
            raise Stopped

    with pytest.raises(Stopped):
        read_cases(configure(folder), check)


def nothing(folder: Path) -> None:
    write_folder(folder, [])


def bare_images(folder: Path) -> None:
    write_folder(folder, [Study("a", 1), Study("b", 2)])


def only_words(folder: Path) -> None:
    write_folder(folder, [Study("a", 1, report="Words."), Study("b", 2, report="More words.")])


def torn_image(folder: Path) -> None:
    write_folder(folder, [Study("torn", 2, readings={"owl": HERE})])
    path = folder / "images" / "torn.png"
    path.write_bytes(path.read_bytes()[:500])


def no_image(folder: Path) -> None:
    write_folder(folder, [Study("page", 2, readings={"owl": HERE})])
    (folder / "images" / "page.png").write_text("<html>")


def broken_scanpaths(folder: Path) -> None:
    write_folder(folder, [Study("a", 1, readings={"owl": HERE})])
    (folder / "scanpaths.jsonl").write_text('{"image_id": "a", "x": ["left"], "y": [0.3]}\n')


def broken_studies(folder: Path) -> None:
    write_folder(folder, [Study("a", 1, readings={"owl": HERE})])
    (folder / "studies.jsonl").write_text('{"image_id": "a", "findings": {"edema": "perhaps"}}\n')


def both_ways(folder: Path) -> None:
    write_folder(folder, [Study("first", 7, findings={"edema": 1.0}), Study("second", 7, findings={"edema": 0.0})])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (nothing, ["no image there has"]),
        (bare_images, ["no image there has"]),
        (only_words, ["neither scanpaths nor findings"]),
        (torn_image, ["no image can be read", "torn"]),
        (no_image, ["no image can be read", "page"]),
        (broken_scanpaths, ["scanpaths.jsonl"]),
        (broken_studies, ["studies.jsonl", "a: findings"]),
        (both_ways, ["first", "second", "edema"]),
    ],
)
def test_data_that_teach_nothing_are_named_in_one_sentence(
    tmp_path: Path, make: Callable[[Path], None], said: list[str]
) -> None:
    make(tmp_path / "set")
    with pytest.raises(DatasetError) as caught:
        read_cases(configure(tmp_path / "set"))
    text = one_sentence(caught.value)
    assert all(word in text for word in said), text


def test_an_image_that_cannot_be_read_is_counted_and_named_and_ends_nothing(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "set", [Study(name, n, readings={"owl": HERE}) for n, name in enumerate("abcdef")])
    for name in "be":
        (folder / "images" / f"{name}.png").write_bytes(b"<html>")
    told: list[str] = []
    assert names(read_cases(configure(folder), tell=told.append)) == ["a", "c", "d", "f"]
    (said,) = told
    assert said.startswith("Left out, since they cannot be read: 2 images (folder, image b: ")
    assert "; folder, image e: " in said
    assert "\n" not in said


def test_what_a_data_set_leaves_out_is_told(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "set", [Study("a", 1, readings={"owl": HERE})])
    with (folder / "scanpaths.jsonl").open("a") as stream:
        stream.write('{"image_id": "gone", "x": [0.5], "y": [0.5]}\n')
    told: list[str] = []
    read_cases(configure(folder), tell=told.append)
    assert told == ["Left out of folder: scanpaths or study without an image 1"]


def test_a_column_with_one_odd_cell_is_told_and_where_it_is(tmp_path: Path) -> None:
    """A finding was left out of a training without a word."""
    folder = write_folder(tmp_path / "set", [Study(name, n, readings={"owl": HERE}) for n, name in enumerate("abc")])
    (folder / "labels.csv").write_text("file,age,edema,nodule\na,60,1,1\nb,61,0,0\nc,62,maybe,1\n")
    told, not_read = list[str](), list[Mapping[str, str]]()
    cases = read_cases(configure(folder), tell=told.append, not_read=not_read)
    assert [case.findings for case in cases] == [{"nodule": 1.0}, {"nodule": 0.0}, {"nodule": 1.0}]
    odd = "holds other values than 0 and 1, first in line 4"
    assert told == [f"Columns of folder that are no findings: age: no finding; edema: {odd}"]
    assert not_read == [{"age": "no finding", "edema": odd}]


def test_records_that_say_nothing_and_labels_on_a_tie_are_counted(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "set", [Study("a", 1, readings={"owl": HERE}), Study("b", 2), Study("c", 3)])
    told: list[str] = []
    read_cases(configure(folder), tell=told.append)
    assert told == ["Left out of folder, since nobody says anything of them: 2 records"]
    told.clear()
    merged([per_reading(image, who, {"edema": says, "mass": 1.0})
            for image in "ab" for who, says in (("owl", 1.0), ("fox", 0.0))], told.append)  # fmt: skip
    assert told == ["Labels left out, since as many readers say yes as no: edema 2"]


def test_readers_that_nobody_knows_cannot_be_chosen(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "set", [Study("a", 1, readings={"": HERE})])
    with pytest.raises(DatasetError, match="no scanpath is by fox; the data do not say who read, so no reader can be"):
        read_cases(configure(folder, annotators=["fox"]))
    both = write_folder(tmp_path / "both", [Study("a", 1, readings={"": HERE, "owl": OTHER})])
    with pytest.raises(DatasetError, match="there are those of owl, and others of which the data do not say who read"):
        read_cases(configure(both, annotators=["fox"]))


def test_a_folder_that_is_not_there_or_holds_no_data(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for place in ("empty", "gone"):
        with pytest.raises(DatasetError, match=place):
            read_cases(configure(tmp_path / place))
    folder = write_folder(tmp_path / "paths", [Study("a", 1, readings={"owl": HERE})])
    other = write_folder(tmp_path / "others", [Study("b", 2, readings={"fox": HERE})])
    with pytest.raises(DatasetError, match="paths: no image there has a scanpath by fox"):
        read_cases(configure(folder, other, annotators=["fox"]))


def test_labels_contradict_across_mixed_data_sets_too(tmp_path: Path) -> None:
    first = write_folder(tmp_path / "one", [Study("here", 7, findings={"edema": 1.0, "nodule": 0.0})])
    second = write_folder(tmp_path / "two", [Study("there", 7, findings={"nodule": 1.0, "hernia": 1.0})])
    with pytest.raises(DatasetError, match=r"here.*there.*nodule"):
        read_cases(configure(first, second))
    agreeing = write_folder(tmp_path / "three", [Study("there", 7, findings={"nodule": 0.0, "hernia": 1.0})])
    assert len(read_cases(configure(first, agreeing))) == 2


def per_reading(image: str, reader: str, findings: dict[str, float], report: str | None = None) -> Sample:
    """As REFLACX yields them: a record of an image from each of its readers."""
    return Sample(
        image, Path(f"{image}.png"), report=report, findings=findings, readings=(Reading(reader, path_of(HERE)),),
        patient_id=f"patient of {image}", dataset="readings",
    )


def test_readers_of_one_image_may_differ() -> None:
    first, other = merged([
        per_reading("a", "owl", {"edema": 1.0, "nodule": 1.0, "mass": 1.0}),
        per_reading("b", "owl", {"edema": 1.0}, "B."),
        per_reading("a", "fox", {"edema": 0.0, "nodule": 1.0, "mass": 0.0}, "A."),
        per_reading("a", "elk", {"mass": 0.0, "hernia": 1.0}, "Not A."),
    ])  # fmt: skip
    assert (first.image_id, other.image_id) == ("a", "b")
    assert [reading.reader for reading in first.readings] == ["owl", "fox", "elk"]
    assert first.findings == {"nodule": 1.0, "mass": 0.0, "hernia": 1.0}, "as many say edema as say none"
    assert (first.report, other.report, other.findings) == ("A.", "B.", {"edema": 1.0})


def test_a_data_set_of_readings_is_learned_from(tmp_path: Path) -> None:
    """REFLACX by its files: two readers of one image, who differ."""
    header = "id,split,eye_tracking_data_discarded,image,dicom_id,subject_id,image_size_x,image_size_y,Emphysema,Mass"
    rows = ["r1,train,False,files/p1/one.dcm,one,1,64,64,5,0", "r2,train,False,files/p1/one.dcm,one,1,64,64,0,0"]
    main, images = tmp_path / "main_data", tmp_path / "mimic" / "files" / "p1"
    images.mkdir(parents=True)
    picture(1).save(images / "one.jpg")
    for reading in ("r1", "r2"):
        (main / reading).mkdir(parents=True)
        (main / reading / "fixations.csv").write_text(
            "timestamp_start_fixation,timestamp_end_fixation,x_position,y_position\n0.1,0.4,20,30\n"
        )
    for phase in (1, 2, 3):
        lines = [header, *(rows if phase == 2 else [])]
        (main / f"metadata_phase_{phase}.csv").write_text("\n".join(lines) + "\n")
    (case,) = read_cases(configure(f"reflacx={tmp_path},{tmp_path / 'mimic'}"))
    assert [(reading.reader, reading.reading_id) for reading in case.readings] == [("", "r1"), ("", "r2")]
    assert case.findings == {"mass": 0.0}


ONE_SIDED = "Findings that are there in all training images that tell, or in none, to which they will lean"


def test_what_is_not_learned_is_said() -> None:
    cases = [make_case("a", findings={"edema": 1.0, "fox": 0.0, "cat": 1.0}, readings=[("owl", path_of(OTHER))])]
    gaze = GazeConfig(num_gaze_tokens=2, finding_names=("edema", "cat"))
    strange = ["Findings that the base does not know, added to its head: cat",
               "Findings of the data that the head does not learn: fox",
               f"{ONE_SIDED}: cat (all), edema (all)"]  # fmt: skip
    lengths = path_lengths(cases)
    *first, cut = training_notes(cases, configure(), gaze, ["cat"], lengths)
    assert first == strange
    assert cut.startswith("Scanpaths are cut: 1 of 3 fixations (33%) lie beyond the first 2 of their reading")
    assert training_notes(cases, configure(gaze_order="none"), gaze, ["cat"], lengths) == strange
    chosen = training_notes(cases, configure(gaze_order="none", patience=2), gaze, ["cat"], lengths)
    assert chosen == [*strange, "The step of the best held-out scores will be kept, which flatters them"]


def test_findings_of_which_the_data_know_one_side_alone_are_named() -> None:
    cases = [make_case(f"{n}", findings={"edema": 1.0, "mass": 0.0, "nodule": float(n)}) for n in range(2)]
    gaze = GazeConfig(finding_names=("edema", "fracture", "mass", "nodule"))
    (said,) = training_notes(cases, configure(), gaze, [], path_lengths(cases))
    assert said == f"{ONE_SIDED}: edema (all), mass (none)"
    for values in ({"finding_weight": 0}, {"retain": 1}):
        assert training_notes(cases, configure(**values), gaze, [], path_lengths(cases)) == []


def test_fixations_that_stay_in_a_patch_cut_nothing_from_a_model_without_repeats() -> None:
    stays = path_of([(0.1, 0.1)] * 30 + [(0.9, 0.9)])
    cases, strip = [make_case("a", readings=[("owl", stays)])], PatchGrid(1, 4)
    gaze = GazeConfig(num_gaze_tokens=1, repeats=False)
    (cut,) = training_notes(cases, configure(), gaze, [], path_lengths(cases, lambda case: strip))
    assert cut.startswith("Scanpaths are cut: 1 of 2 fixations (50%) lie beyond the first 1 of their reading")
    assert cut.endswith("would keep 95% of all; fixations next to each other in one patch count as one")
    two = replace(gaze, num_gaze_tokens=2)
    assert training_notes(cases, configure(), two, [], path_lengths(cases, lambda case: strip)) == []


def test_sides_of_one_image_are_kept_when_its_records_are_merged() -> None:
    first, second = (replace(per_reading("a", who, {}), split=side) for who, side in
                     (("owl", "train"), ("fox", "test+train")))  # fmt: skip
    (record,) = merged([first, second])
    assert record.split == "test+train"


# ---- fingerprint ----------------------------------------------------------------------------------------------------
BASIC = Study("a", 1, "p", {"edema": 1.0}, "Words.", {"owl": HERE})
BASIC_NOTED = "4c32697ed37394d36248a87dea3c6e3182a4c0abd8e39787b7b68893844211d3"  # by version 0.1


def printed(tmp_path: Path, name: str, studies: Sequence[Study]) -> str:
    return fingerprint(read_cases(configure(write_folder(tmp_path / name, studies))))


def test_the_fingerprint_is_of_the_contents_and_not_of_names(tmp_path: Path) -> None:
    other = Study("b", 2, "q", {"edema": 0.0})
    first = printed(tmp_path, "one", [BASIC, other])
    assert printed(tmp_path, "two", [replace(BASIC, name="c"), replace(other, name="d")]) == first
    lossless = tmp_path / "two" / "images" / "c.png"
    Image.open(lossless).save(lossless.with_suffix(".bmp"))
    os.remove(lossless)
    assert printed(tmp_path, "three", [BASIC, other]) == first
    assert len(first) == 64


@pytest.mark.parametrize(
    "change",
    [
        {"pixels": 3},
        {"size": (64, 60)},
        {"patient": "r"},
        {"findings": {"edema": 0.0}},
        {"findings": {"edema": 1.0, "nodule": 0.0}},
        {"findings": {}},
        {"report": "Words!"},
        {"report": None},
        {"readings": {"owl": ((0.2, 0.3), (0.7, 0.6000001))}},
        {"readings": {"owl": HERE[::-1]}},
        {"readings": {"fox": HERE}},
        {"readings": {"owl": HERE, "fox": HERE}},
    ],
)
def test_every_change_of_what_is_learned_changes_the_fingerprint(tmp_path: Path, change: dict[str, object]) -> None:
    before = printed(tmp_path, "one", [BASIC])
    assert printed(tmp_path, "two", [replace(BASIC, **change)]) != before


def test_one_pixel_and_one_duration_change_the_fingerprint(tmp_path: Path) -> None:
    plain, painted = picture(1), picture(1)
    painted.putpixel((5, 5), tuple((value + 1) % 256 for value in painted.getpixel((5, 5))))
    plain.save(tmp_path / "plain.png")
    painted.save(tmp_path / "painted.png")

    def of(image: str, path: Scanpath) -> str:
        return fingerprint([make_case("a", tmp_path / image, readings=[("owl", path)])])

    assert of("plain.png", path_of(HERE)) != of("painted.png", path_of(HERE))
    assert of("plain.png", path_of(HERE)) != of("plain.png", path_of(HERE, (100.0, 200.0)))
    assert of("plain.png", path_of(HERE, (100.0, 201.0))) != of("plain.png", path_of(HERE, (100.0, 200.0)))


def test_a_fingerprint_that_an_earlier_version_noted_is_known(tmp_path: Path) -> None:
    cases = read_cases(configure(write_folder(tmp_path / "one", [BASIC])))
    assert fingerprint(cases, lambda case: rgb_digest(case.load())) == BASIC_NOTED
    assert has_fingerprint(cases, BASIC_NOTED)
    assert has_fingerprint(cases, fingerprint(cases))
    assert not has_fingerprint(cases, "0" * 64)


# ---- exports of annotations -----------------------------------------------------------------------------------------
@pytest.fixture
def export(tmp_path: Path) -> Path:
    """Two images that are called by the digests of their pixels, as an export writes them."""
    studies = [Study(pixel_digest(picture(n)), n, None, {"edema": n}, None, {"owl": HERE}) for n in (0, 1)]
    write_folder(tmp_path, studies)
    paths = tmp_path / "scanpaths.jsonl"
    paths.write_text(paths.read_text().replace('"source"', '"kind": "usual", "source"'))
    return tmp_path


def test_an_export_is_not_decoded_to_learn_what_its_names_tell(export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[str] = []
    load = Sample.load
    monkeypatch.setattr(Sample, "load", lambda sample: decoded.append(sample.image_id) or load(sample))
    cases = read_cases(configure(export))
    assert not decoded
    assert [(case.digest, case.size_px) for case in cases] == [(case.image_id, (64, 64)) for case in cases]
    assert [pixel_digest(case.load()) for case in cases] == [case.digest for case in cases]


def test_pixels_that_are_not_those_of_their_name_are_told_when_they_are_used(export: Path) -> None:
    first, second = sorted((export / "images").iterdir())
    first.write_bytes(second.read_bytes())
    cases = read_cases(configure(export))
    with pytest.raises(DatasetError, match="its pixels are not those of digest"):
        cases[0].load()
    cases[1].load()
    first.write_bytes(b"no image")
    (kept,) = read_cases(configure(export))
    assert kept.image_id == second.stem
