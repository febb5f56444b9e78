"""Radiographs among the phantoms of the release: who is learned from, in which words, and what is kept of it."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from gazevlm_core.datasets.kermany import Kermany
from gazevlm_core.datasets.nih import LABELS
from gazevlm_core.datasets.splits import TRAIN, SplitRule, split_of
from gazevlm_core.datasets.trained_on import TrainedOn, read_all_trained_on
from gazevlm_core.findings import FILM_FINDING_NAMES, FINDING_NAMES
from gazevlm_core.model import checkpoint
from gazevlm_core.model.checkpoint import CheckpointError
from gazevlm_core.options import resolve_source
from gazevlm_core.report_parser import parse_claims
from gazevlm_core.sample import Sample, pixel_digest
from phantoms import nano, reference_features
from phantoms.dataset import PhantomShards, draw_case
from phantoms.films import CREDITS, Films, film_sample, keep_provenance, known_of_base, load_films
from phantoms.nano import (
    BASED,
    FILMS,
    MODEL_NAMES,
    PHANTOMS,
    CaseExamples,
    Recipe,
    Schedule,
    Variant,
    gaze_config_of,
    keep_recipe,
    main,
    read_recipe,
    told_of_both,
    variants_of,
)
from phantoms.report import report_of_labels
from tests.datasets.label_tables import write_table

PATIENTS = 24
PIXELS = (50_176, 50_176)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two data sets of noise, one image a patient; every third has pneumonia, every second an infiltration."""
    root, rng = tmp_path_factory.mktemp("radiographs"), np.random.default_rng(0)
    for name in ("nih", "kermany"):
        (root / name / "images").mkdir(parents=True)
        for number in range(PATIENTS):
            pixels = rng.integers(0, 255, (64, 64), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"images/{number}.png")
    rows = [
        f"images/{n}.png,{n}.png,{n},PA," + ",".join(
            str(int((label == "Pneumonia" and n % 3 == 0) or (label == "Infiltration" and n % 2 == 0)))
            for label in LABELS
        )
        for n in range(PATIENTS)
    ]  # fmt: skip
    write_table(root / "nih/labels.csv", "file,source_name,patient_id,view," + ",".join(LABELS), *rows)
    rows = [f"images/{n}.png,child{n},{int(n % 3 == 0)}" for n in range(PATIENTS)]
    write_table(root / "kermany/labels.csv", "file,patient_id,pneumonia", *rows)
    return root


@pytest.fixture(scope="module")
def films(folder: Path) -> Films:
    return load_films(folder, PIXELS)


def test_films_are_split_by_patient_as_evaluation_splits_them(films: Films) -> None:
    for learned, others in zip(films.training, films.held_out, strict=True):
        assert len(learned) + len(others) == PATIENTS
        assert {split_of(film.patient_id) for film in learned} == {TRAIN}
        assert others
        assert TRAIN not in {split_of(film.patient_id) for film in others}


def test_labels_are_known_by_the_models_names(films: Films) -> None:
    adults, children = films.training
    for film in adults:
        number = int(film.patient_id)
        assert film.findings["lung opacity"] == float(number % 2 == 0)  # infiltration
        assert film.findings["pneumonia"] == float(number % 3 == 0)
        assert film.findings["lung lesion"] == 0.0  # neither mass nor nodule
        assert "emphysema" not in film.findings
        assert "support devices" not in film.findings
    assert all(set(film.findings) == {"pneumonia"} for film in children)
    assert all(film.readings == () for film in (*adults, *children))


def test_who_was_learned_from_is_remembered(films: Films, folder: Path, tmp_path: Path) -> None:
    keep_provenance(tmp_path, films)
    (known,) = read_all_trained_on(tmp_path)
    assert known is not None
    assert all(known.has_patient(film) for some in films.training for film in some)
    assert not any(known.has_patient(film) for some in films.held_out for film in some)
    assert not any(known.has_patient(replace(film, dataset="folder")) for some in films.training for film in some)
    for sample in Kermany(folder / "kermany").samples():
        assert known.has_picture(sample.load()) == (split_of(sample.patient_id) == TRAIN)
    assert "CC BY 4.0" in (tmp_path / "provenance.json").read_text()
    assert "child1" not in (tmp_path / "provenance.json").read_text()


def test_whom_the_base_learned_from_stays_known(films: Films, tmp_path: Path) -> None:
    """A release that went on from one with radiographs was scored on its patients, none left out."""
    base, model = tmp_path / "base", tmp_path / "model"
    base.mkdir()
    model.mkdir()
    stranger = TrainedOn.of("salt", [Sample("1", dataset="folder")], ["d"], SplitRule(3))
    values = {"trained_on": stranger.to_values(), "trained_on_before": [films.learned.to_values(), None]}
    values["data"] = {"datasets": [{"name": "folder=mine", "credit": ""}, {"name": "siim=there", "credit": "Thanks."}]}
    (base / "provenance.json").write_text(json.dumps(values))
    (base / "config.json").write_text("{}")
    before = known_of_base(str(base))
    assert before.credits == {"siim=there": "Thanks."}
    keep_provenance(model, None, before)
    assert read_all_trained_on(model) == [stranger, films.learned, None]
    keep_provenance(model, films, before)
    assert read_all_trained_on(model) == [films.learned, stranger, None], "each is said once"
    assert json.loads((model / "provenance.json").read_text())["credits"] == {**CREDITS, "siim=there": "Thanks."}
    again = known_of_base(str(model))  # as where a release took the place of its base, and the training is run again
    keep_provenance(model, films, again)
    assert read_all_trained_on(model) == [films.learned, stranger, None]
    assert again.credits == {**CREDITS, **before.credits}
    keep_provenance(model, None, known_of_base("gazevlm-nano-base"))  # which saw no patient
    assert list(model.iterdir()) == [], "what an earlier model learned from is not told of this one"
    with pytest.raises(CheckpointError, match="there is no model nowhere"):
        known_of_base("nowhere")


def test_a_recipe_writes_whom_its_base_learned_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without radiographs of its own there was no provenance at all."""
    monkeypatch.setattr(PhantomShards, "make", lambda self: None)
    monkeypatch.setattr(PhantomShards, "load", lambda self: [])
    monkeypatch.setattr(nano, "train", lambda variant, recipe, cases, runs, films: runs)
    monkeypatch.setattr(checkpoint, "save_quantised", lambda source, target: target.mkdir(parents=True))
    monkeypatch.setattr(nano, "reference_images", lambda recipe, cases, films: ([], []))
    monkeypatch.setattr(reference_features, "store_ood_reference", lambda folder, learned, others: 1.0)
    main(base="gazevlm-nano", runs=tmp_path / "runs", models=tmp_path / "models", shards=tmp_path / "shards")
    for variant in BASED:
        known = read_all_trained_on(tmp_path / "models" / MODEL_NAMES[variant])
        assert known == read_all_trained_on(Path(resolve_source("gazevlm-nano"))) != [None]
    assert read_all_trained_on(tmp_path / "runs") == known, "of the full-precision weights, too"


def test_nothing_that_was_seen_is_lost_or_said_twice() -> None:
    assert told_of_both(PHANTOMS, PHANTOMS) == PHANTOMS
    assert told_of_both(PHANTOMS + FILMS, PHANTOMS) == told_of_both(PHANTOMS, PHANTOMS + FILMS) == PHANTOMS + FILMS
    assert told_of_both("", PHANTOMS) == PHANTOMS
    assert told_of_both("40 scanpaths", PHANTOMS) == f"40 scanpaths, then {PHANTOMS}"


def test_a_film_is_asked_what_is_known_of_it_alone(films: Films) -> None:
    rng = np.random.default_rng(1)
    for film in (*films.training[0][:6], *films.training[1][:6]):
        pixels = set[str]()
        for _ in range(12):
            sample = film_sample(film, rng, presence_share=0.5)
            said = parse_claims(sample.report or "", sample.question)
            assert said
            assert all(film.findings[name] == float(there) for name, there in said.items())
            loaded = sample.load()
            assert loaded.size == film.load().size
            pixels.add(pixel_digest(loaded))
        assert len(pixels) == 12  # another turn, place and tone each time


def test_a_report_of_labels_names_all_that_is_there() -> None:
    labels = {"edema": 1.0, "pneumonia": 1.0, "pleural effusion": 0.0}
    for seed in range(20):
        said = parse_claims(report_of_labels(labels, np.random.default_rng(seed)))
        assert {name for name, there in said.items() if there} == {"edema", "pneumonia"}
    with pytest.raises(ValueError, match="at least one label"):
        report_of_labels({}, np.random.default_rng(0))


def test_the_release_sees_films_in_their_share_and_the_twins_none(films: Films) -> None:
    cases = [draw_case(1, sizes_px=(64,))]
    mixed = CaseExamples(cases, 400, Schedule(1, 0, 0, 0.5, seed=3, film_share=0.4), films.training)
    seen = [mixed[index].dataset for index in range(400)]
    assert 0.3 < 1 - seen.count("phantom") / 400 < 0.5
    assert min(seen.count(name) for name in set(seen)) > 50  # either data set, however large
    assert seen == [mixed[index].dataset for index in range(400)]  # so that a training can be resumed
    known = {variant: gaze_config_of(variant, Recipe()).finding_names for variant in Variant}
    assert known.pop(Variant.RELEASE) == (*FINDING_NAMES, *FILM_FINDING_NAMES)
    assert set(known.values()) == {FINDING_NAMES}
    assert gaze_config_of(Variant.RELEASE, Recipe(film_share=0.0)).finding_names == FINDING_NAMES


def test_a_recipe_is_read_as_a_training_writes_it(tmp_path: Path) -> None:
    recipe = Recipe(steps=0, base="models/gazevlm-nano", glimpse_shares=(1.0, 0.0, 0.0, 0.0))
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(asdict(recipe)))
    assert read_recipe(path) == recipe
    assert variants_of(recipe) == (Variant.RELEASE,)
    for words, about in (('{"step": 3}', "no recipe has step"), ('{"steps": "many"}', "steps"), ("[", "no recipe")):
        path.write_text(words)
        with pytest.raises(typer.BadParameter, match=about):
            read_recipe(path)


def test_what_was_trained_by_another_recipe_is_not_taken_for_this_ones(tmp_path: Path) -> None:
    """A release that learned from films would have been shipped as one of phantoms alone."""
    with_films = Recipe()
    keep_recipe(with_films, tmp_path / "runs")
    keep_recipe(replace(with_films, steps=9, release_steps=9), tmp_path / "runs")
    assert read_recipe(tmp_path / "runs" / "recipe.json").steps == 9, "it can be made longer"
    with pytest.raises(typer.BadParameter, match=r"film_share 0\.5 instead of 0\.0; delete it"):
        keep_recipe(replace(with_films, film_share=0.0), tmp_path / "runs")
    assert read_recipe(tmp_path / "runs" / "recipe.json").film_share == 0.5


def test_a_release_without_steps_before_it_needs_a_base(tmp_path: Path) -> None:
    """It would have been trained from nothing, as if it had gone on from something."""
    (tmp_path / "recipe.json").write_text(json.dumps({"steps": 0}))
    app = typer.Typer()
    app.command()(main)
    done = CliRunner().invoke(app, ["--recipe", str(tmp_path / "recipe.json"), "--runs", str(tmp_path / "runs")])
    assert done.exit_code == 2
    assert "name it with --base" in " ".join(done.output.replace("│", " ").split())
    assert not (tmp_path / "runs").exists()
