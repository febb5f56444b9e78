"""The answer that the page opens with is that of the model that ships."""

from dataclasses import replace
from pathlib import Path

import pytest

from diagnose.opening import OPENING_FILE, answer_opening, read_opening, weights_digest, write_opening
from gazevlm_core.inference import GazeEngine
from gazevlm_core.options import MODELS_FOLDER, NANO
from gazevlm_core.records import Diagnosis

REFRESH = "write the record anew: python -m diagnose.opening"


@pytest.fixture(scope="module")
def engine() -> GazeEngine:
    return GazeEngine.load(NANO)


@pytest.fixture(scope="module")
def answered(engine: GazeEngine) -> Diagnosis:
    return answer_opening(engine)


def same(one: Diagnosis, other: Diagnosis) -> bool:
    """The same but for what another processor may round otherwise."""
    first, second = one.to_dict(), other.to_dict()
    told = {"answer", "scanpath", "findings", "glimpses", "evidence", "sentences", "strangeness"}
    if any(first[name] != second[name] for name in first.keys() - told) or one.answer != other.answer:
        return False
    places = [[(step["x"], step["y"]) for step in values["scanpath"] or ()] for values in (first, second)]
    near = all(
        other.finding_probabilities[name] == pytest.approx(value, abs=0.02)
        for name, value in one.finding_probabilities.items()
    )
    steps = [[one["step"] for one in values["glimpses"]] for values in (first, second)]
    texts = [[one["text"] for one in values["sentences"]] for values in (first, second)]
    if steps[0] != steps[1] or texts[0] != texts[1] or first["evidence"].keys() != second["evidence"].keys():
        return False
    return near and len(places[0]) == len(places[1]) and places[0] == [pytest.approx(at, abs=0.01) for at in places[1]]


def test_the_record_is_what_the_shipped_model_says(answered: Diagnosis) -> None:
    opening = read_opening()
    assert opening is not None, REFRESH
    assert opening.weights_sha256 == weights_digest(), REFRESH
    assert same(opening.diagnosis, answered), REFRESH


def test_a_record_is_read_as_it_was_written(engine: GazeEngine, answered: Diagnosis, tmp_path: Path) -> None:
    path = tmp_path / OPENING_FILE.name
    write_opening(engine, 1.5, answered, path)
    opening = read_opening(path)
    assert opening is not None
    assert opening.diagnosis.to_dict() == answered.to_dict()
    assert opening.seconds == 1.5
    assert read_opening(tmp_path / "nothing.json") is None


def test_a_record_of_other_weights_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    from diagnose import opening
    from diagnose.catalogue import Catalogue

    catalogue = Catalogue({NANO: GazeEngine.load(NANO)})
    assert opening.opening_of(catalogue.find("")) is not None, REFRESH
    elsewhere = replace(catalogue.find(""), source=f"/models/{NANO}")  # another folder of that name
    assert opening.opening_of(elsewhere) is None
    monkeypatch.setattr(opening, "weights_digest", lambda: "of something else")
    assert opening.opening_of(catalogue.find("")) is None
    assert (MODELS_FOLDER / NANO / opening.WEIGHTS_FILE).is_file()
