"""The data of a run: read, checked, and split so that nothing that is scored on was learned."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from finetune.cases import Case, DataError, fingerprint, merged, parse_spec, read_cases, rule_of, split_cases
from finetune.examples import draw_epochs, held_out_item
from finetune.prepare import left_unlearned
from finetune.stopping import Stopped
from gazevlm_core.datasets.record import Reading, StudyRecord
from gazevlm_core.datasets.splits import TEST, TRAIN, VALIDATION, Member, decide
from gazevlm_core.model.configuration_gazevlm import GazeConfig
from gazevlm_core.scanpath import Scanpath
from tests.finetune.case_maker import HERE, Study, configure, make_case, path_of, picture, write_folder

OTHER = ((0.9, 0.1), (0.4, 0.4), (0.1, 0.8))


def many(count: int = 40, per_patient: int = 2) -> list[Study]:
    """Images of several annotators, a few of each patient."""
    return [
        Study(
            f"i{n:02}", n, f"p{n // per_patient:02}", {"edema": float(n % 2)}, "Some words.",
            {"owl": HERE, "fox": OTHER},
        )
        for n in range(count)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("data") / "set", many())


def names(cases: Sequence[Case]) -> list[str]:
    return [case.record.image_id for case in cases]


def readers(cases: Sequence[Case]) -> set[str]:
    return {reading.reader for case in cases for reading in case.record.readings}


def one_sentence(error: DataError) -> str:
    text = str(error)
    assert text
    assert "\n" not in text
    return text


# ---- reading --------------------------------------------------------------------------------------------------------
def test_a_folder_is_read_as_it_was_exported(folder: Path) -> None:
    cases = read_cases(configure(folder))
    assert names(cases) == [f"i{n:02}" for n in range(40)]
    record = cases[3].record
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
    with pytest.raises(DataError, match="no scanpath is by foxx; there are those of fox, owl"):
        read_cases(configure(folder, **{field: ["foxx"]}))
    crowd = [Study(f"i{n}", n, readings={f"r{n:02}": HERE}) for n in range(20)]
    with pytest.raises(DataError, match=r"by foxx; there are those of r00, .*, r11 and 8 others"):
        read_cases(configure(write_folder(tmp_path / "crowd", crowd), **{field: ["r03", "foxx"]}))
    labels = write_folder(tmp_path / "labels", [Study("a", 1, findings={"edema": 1.0})])
    with pytest.raises(DataError, match="by foxx; the data have none at all"):
        read_cases(configure(labels, **{field: ["foxx"]}))


def test_images_of_which_nothing_is_known_are_passed_over(tmp_path: Path) -> None:
    studies = [Study("a", 1, readings={"owl": HERE}), Study("b", 2), Study("c", 3, findings={"edema": 0.0})]
    assert names(read_cases(configure(write_folder(tmp_path / "set", studies)))) == ["a", "c"]


@pytest.mark.parametrize("blank", ["", " \n"])
def test_a_report_without_words_is_none(tmp_path: Path, blank: str) -> None:
    """Else a model would learn to say nothing."""
    studies = [Study("a", 1, readings={"owl": HERE}, report=blank), Study("b", 2, report=blank)]
    (case,) = read_cases(configure(write_folder(tmp_path / "set", studies)))
    assert case.record.report is None
    assert draw_epochs([case], configure(), 1)[0].answer is None
    assert held_out_item(case).answer is None


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
    with pytest.raises(DataError) as caught:
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


def test_readers_that_nobody_knows_cannot_be_chosen(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "set", [Study("a", 1, readings={"": HERE})])
    with pytest.raises(DataError, match="no scanpath is by fox; the data do not say who read, so no reader can be"):
        read_cases(configure(folder, annotators=["fox"]))
    both = write_folder(tmp_path / "both", [Study("a", 1, readings={"": HERE, "owl": OTHER})])
    with pytest.raises(DataError, match="there are those of owl, and others of which the data do not say who read"):
        read_cases(configure(both, annotators=["fox"]))


def test_a_folder_that_is_not_there_or_holds_no_data(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for place in ("empty", "gone"):
        with pytest.raises(DataError, match=place):
            read_cases(configure(tmp_path / place))
    folder = write_folder(tmp_path / "paths", [Study("a", 1, readings={"owl": HERE})])
    other = write_folder(tmp_path / "others", [Study("b", 2, readings={"fox": HERE})])
    with pytest.raises(DataError, match="paths: no image there has a scanpath by fox"):
        read_cases(configure(folder, other, annotators=["fox"]))


def test_labels_contradict_across_mixed_data_sets_too(tmp_path: Path) -> None:
    first = write_folder(tmp_path / "one", [Study("here", 7, findings={"edema": 1.0, "nodule": 0.0})])
    second = write_folder(tmp_path / "two", [Study("there", 7, findings={"nodule": 1.0, "hernia": 1.0})])
    with pytest.raises(DataError, match=r"here.*there.*nodule"):
        read_cases(configure(first, second))
    agreeing = write_folder(tmp_path / "three", [Study("there", 7, findings={"nodule": 0.0, "hernia": 1.0})])
    assert len(read_cases(configure(first, agreeing))) == 2


def per_reading(image: str, reader: str, findings: dict[str, float], report: str | None = None) -> StudyRecord:
    """As REFLACX yields them: a record of an image from each of its readers."""
    return StudyRecord(
        "readings", image, f"patient of {image}", Path(f"{image}.png"), readings=(Reading(reader, path_of(HERE)),),
        findings=findings, report=report,
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
    assert [(reading.reader, reading.reading_id) for reading in case.record.readings] == [("", "r1"), ("", "r2")]
    assert case.record.findings == {"mass": 0.0}


def test_what_is_not_learned_is_said() -> None:
    cases = [make_case("a", findings={"edema": 1.0, "fox": 0.0, "cat": 1.0}, readings=[("owl", path_of(OTHER))])]
    gaze = GazeConfig(num_gaze_tokens=2, finding_names=("edema", "cat"))
    strange = ["Findings that the base does not know, added to its head: cat",
               "Findings of the data that the head does not learn: fox"]  # fmt: skip
    *first, cut = left_unlearned(cases, configure(), gaze, ["cat"])
    assert first == strange
    assert cut.startswith("Scanpaths are cut: 1 of 3 fixations (33%) lie beyond the first 2 of their reading")
    assert left_unlearned(cases, configure(gaze_order="none"), gaze, ["cat"]) == strange


# ---- splitting ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(12))
def test_no_patient_and_no_picture_is_on_both_sides(seed: int) -> None:
    cases = [
        # patients of three images in both data sets, and every fifth picture is one of another patient's
        replace(make_case(f"i{n}", patient=f"p{n % 30}", dataset=n // 30 % 2, readings=[("owl", path_of(HERE))]),
                digest=f"d{n if n % 5 else (n * 7) % 90}")
        for n in range(90)
    ]  # fmt: skip
    config = configure("one", "two", held_out_share=0.3, seed=seed)
    split = split_cases(cases, config)
    assert sorted([*names(split.train), *names(split.held_out)]) == sorted(names(cases))
    for known in (lambda case: case.record.patient_id, lambda case: case.digest):
        assert not {known(case) for case in split.train} & {known(case) for case in split.held_out}
    again = split_cases(cases, config)
    assert names(again.train) == names(split.train)
    assert names(split_cases(cases[::-1], config).held_out) == names(split.held_out)[::-1]


def test_equal_pictures_go_together_whatever_they_are_called(tmp_path: Path) -> None:
    first = write_folder(tmp_path / "one", [Study(f"a{n}", n, f"p{n}", readings={"owl": HERE}) for n in range(20)])
    second = write_folder(tmp_path / "two", [Study(f"z{n}", n, f"q{n}", readings={"fox": HERE}) for n in range(20)])
    cases = read_cases(configure(first, second))
    sides = set()
    for seed in range(6):
        split = split_cases(cases, configure(first, second, seed=seed, held_out_share=0.5))
        held_out = {name[1:] for name in names(split.held_out)}
        assert not held_out & {name[1:] for name in names(split.train)}
        assert len(split.held_out) == 2 * len(held_out)
        sides.add(frozenset(held_out))
    assert len(sides) == 6  # another seed gives another split


def test_others_coming_and_going_move_nobody(folder: Path) -> None:
    cases = read_cases(configure(folder))
    for seed in range(4):
        whole = split_cases(cases, configure(folder, seed=seed))
        part = split_cases(cases[::3], configure(folder, seed=seed))
        if part.train and part.held_out and set(names(part.held_out)) & set(names(whole.held_out)):
            assert set(names(part.held_out)) <= set(names(whole.held_out))


def test_the_share_is_about_what_was_asked_for() -> None:
    cases = [make_case(f"i{n}", findings={"edema": 1.0}) for n in range(1000)]
    for share in (0.1, 0.2, 0.5):
        held_out = split_cases(cases, configure(held_out_share=share)).held_out
        assert len(held_out) / 1000 == pytest.approx(share, abs=0.04)


@pytest.mark.parametrize("share", [0.001, 0.2, 0.999])
def test_two_patients_are_one_on_each_side(share: float) -> None:
    cases = [make_case(f"i{n}", patient=f"p{n % 2}", findings={"edema": 1.0}) for n in range(6)]
    for seed in range(10):
        split = split_cases(cases, configure(held_out_share=share, seed=seed))
        assert (len(split.train), len(split.held_out)) == (3, 3)


def test_one_patient_cannot_be_split() -> None:
    for cases in (
        [make_case(f"i{n}", patient="p", findings={"edema": 1.0}) for n in range(6)],
        [replace(make_case(f"i{n}", findings={"edema": 1.0}), digest="same") for n in range(6)],
    ):
        with pytest.raises(DataError, match="one patient") as caught:
            split_cases(cases, configure())
        one_sentence(caught.value)


def test_held_out_annotators_are_never_learned_and_alone_scored_against(folder: Path) -> None:
    config = configure(folder, held_out_annotators=["owl"])
    split = split_cases(read_cases(config), config)
    assert readers(split.train) == {"fox"}
    assert readers(split.held_out) == {"owl"}
    everybody = split_cases(read_cases(configure(folder)), configure(folder))
    assert readers(everybody.train) == readers(everybody.held_out) == {"owl", "fox"}
    assert names(everybody.held_out) == names(split.held_out)


def test_all_annotators_held_out_leave_nothing(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "set", [Study(f"a{n}", n, readings={"owl": HERE}) for n in range(8)])
    config = configure(folder, held_out_annotators=["owl"])
    with pytest.raises(DataError, match="hold out fewer"):
        split_cases(read_cases(config), config)


def with_split(cases: Sequence[Case], split: Callable[[int], str]) -> list[Case]:
    return [replace(case, record=replace(case.record, published_split=split(n))) for n, case in enumerate(cases)]


def test_a_split_of_the_data_is_honoured_and_told(folder: Path) -> None:
    plain = read_cases(configure(folder))
    told: list[str] = []
    split = split_cases(with_split(plain, lambda n: "test" if n < 4 else "Train"), configure(folder), told.append)
    assert {"i00", "i01", "i02", "i03"} <= set(names(split.held_out))
    assert told == [
        "Splitting by patient: the data's own split is used; it has no validation images, which are drawn from its "
        "training patients"
    ]
    told.clear()
    leaking = split_cases(with_split(plain, lambda n: "test" if n == 4 else "train"), configure(folder), told.append)
    assert names(leaking.train) == names(split_cases(plain, configure(folder)).train)
    assert "has 1 patient on several sides (p02), so it is not used" in told[0]
    with pytest.raises(DataError, match="has no training images"):
        split_cases(with_split(plain, lambda n: "test"), configure(folder))


def test_sides_of_one_image_are_kept_when_its_records_are_merged() -> None:
    first, second = (replace(per_reading("a", who, {}), published_split=side) for who, side in
                     (("owl", "train"), ("fox", "test+train")))  # fmt: skip
    (record,) = merged([first, second])
    assert record.published_split == "test+train"


def test_what_is_learned_from_is_never_what_evaluating_tests(folder: Path) -> None:
    """Whatever the seed and the share: the split of a run is that of `gazevlm evaluate`."""
    cases = read_cases(configure(folder))
    for seed, share in ((0, 0.2), (5, 0.2), (0, 0.5)):
        config = configure(folder, seed=seed, held_out_share=share)
        split = split_cases(cases, config)
        evaluated = decide((Member.of(case.record) for case in cases), rule_of(config))
        sides = {case.record.image_id: evaluated.of(case.record.patient_id) for case in cases}
        assert {sides[name] for name in names(split.train)} == {TRAIN}
        assert {sides[name] for name in names(split.held_out)} == {VALIDATION, TEST}


# ---- fingerprint ----------------------------------------------------------------------------------------------------
BASIC = Study("a", 1, "p", {"edema": 1.0}, "Words.", {"owl": HERE})


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
