"""Diagnoses are validated at birth."""

import json

import numpy as np
import pytest

from gazevlm_core.geometry import PatchGrid
from gazevlm_core.records import Diagnosis, Sentence
from gazevlm_core.scanpath import Fixation, Scanpath

PATH = Scanpath((Fixation(0.1, 0.2), Fixation(0.3, 0.4)), "click")


def diagnosis(**change: object) -> Diagnosis:
    values: dict = {
        "answer": "Normal.",
        "finding_probabilities": {"edema": 0.25},
        "scanpath": PATH,
        "patch_probabilities": np.zeros((4, 6), dtype=np.float32),
        "fixation_probabilities": (0.5, 0.25),
        "grid": PatchGrid(2, 3),
        "model_id": "m",
    }
    return Diagnosis(**{**values, **change})


def test_an_untrained_model_has_neither_path_nor_distributions() -> None:
    assert diagnosis().gaze_trained
    assert not diagnosis(scanpath=None, patch_probabilities=None, fixation_probabilities=()).gaze_trained
    with pytest.raises(ValueError, match="or neither"):
        diagnosis(scanpath=None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patch_probabilities": np.zeros((4, 5))}, "do not fit 6 patches"),
        ({"patch_probabilities": np.zeros((1, 6))}, "do not fit 6 patches"),
        ({"fixation_probabilities": (0.5,)}, "one probability per fixation"),
        ({"evidence": {"edema": (0.5,)}}, "one share per glimpse"),
        ({"sentences": (Sentence("Edema.", (0.5,)),)}, "one share per glimpse"),
        ({"finding_probabilities": {"edema": 1.2}}, r"lie in \[0, 1\]"),
    ],
)
def test_diagnoses_with_wrong_parts_are_refused(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        diagnosis(**change)


def test_a_diagnosis_as_values_is_json_and_says_where_nothing_is_known() -> None:
    values = json.loads(json.dumps(diagnosis(ood_score=1.5, notes=("Strange.",)).to_dict()))
    assert values["scanpath"] == [
        {"x": 0.1, "y": 0.2, "patch_index": 0, "probability": 0.5, "duration_ms": None},
        {"x": 0.3, "y": 0.4, "patch_index": 0, "probability": 0.25, "duration_ms": None},
    ]
    assert values["findings"] == {"edema": 0.25}
    assert values["grid"] == [2, 3]
    assert (values["answer"], values["model"], values["adapter"]) == ("Normal.", "m", None)
    assert (values["strangeness"], values["notes"]) == (1.5, ["Strange."])
    untrained = diagnosis(scanpath=None, patch_probabilities=None, fixation_probabilities=())
    assert untrained.to_dict()["scanpath"] is None
