"""What browsers may send, and what is refused in one sentence."""

import json
from typing import Any

import pytest

from annotate.payload import MOST_CLICKS, MOST_SAMPLES, Own, SkipTask, Submission, checked
from tests.annotate.submission_maker import make_click, make_submission

SHA = "a" * 64
NESTED: list[Any] = []
for _ in range(500):
    NESTED = [NESTED]


def test_a_good_submission_is_taken_as_it_is() -> None:
    sent = checked(Submission, make_submission("p", SHA))
    assert [(one.x, one.y, one.onset_ms) for one in sent.clicks] == [(0.25, 0.5, 500.0), (0.7, 0.3, 1250.5)]


BAD: dict[str, Any] = {
    "NaN place": {"clicks": [make_click(x=float("nan"))]},
    "infinite time": {"clicks": [make_click(onset_ms=float("inf"))]},
    "NaN from JSON": {"clicks": [json.loads('{"x": NaN}')]},
    "place beside the image": {"clicks": [make_click(x=1.0)]},
    "negative place": {"clicks": [make_click(y=-0.001)]},
    "text for a number": {"clicks": [make_click(x="0.5")]},
    "truth for a number": {"clicks": [make_click(x=True)]},
    "number for truth": {"clicks": [make_click(inverted=1)]},
    "a further part": {"clicks": [make_click(note="<b>")]},
    "a missing part": {"clicks": [{"x": 0.5}]},
    "a million clicks": {"clicks": [make_click()] * 1_000_000},
    "one click too many": {"clicks": [make_click()] * (MOST_CLICKS + 1)},
    "one sample too many": {"samples": [[0.0, 0.5, 0.5]] * (MOST_SAMPLES + 1)},
    "a sample of four": {"samples": [[0.0, 0.5, 0.5, 0.5]]},
    "a sample far away": {"samples": [[0.0, -1e9, 0.5]]},
    "nested": {"clicks": NESTED},
    "nested samples": {"samples": NESTED},
    "huge report": {"report": "x" * 5001},
    "no findings": {"findings": []},
    "many findings": {"findings": ["edema"] * 1000},
    "confidence 6": {"confidence": 6},
    "confidence 4.5": {"confidence": 4.5},
    "an unknown mode": {"mode": "telepathy"},
    "an unknown pointer": {"clicks": [make_click(pointer="eye")]},
    "a path for a digest": {"sha256": "../../etc/passwd"},
    "an upper-case digest": {"sha256": "A" * 64},
    "SQL for an id": {"submission_id": "'; DROP TABLE submissions; --"},
    "an id with a line end": {"submission_id": "0b5a1f5e-1111-4222-8333-444455556666\n"},
    "a negative canvas": {"client": {"canvas_width_px": -1}},
    "a zoom of 0": {"clicks": [make_click(zoom=0)]},
    "a further part on top": {"annotator": "somebody"},
}


@pytest.mark.parametrize("change", BAD.values(), ids=BAD.keys())
def test_bad_submissions_end_in_one_sentence(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^This was not understood") as caught:
        checked(Submission, make_submission("p", SHA, **change))
    text = str(caught.value)
    assert len(text) < 260
    assert "\n" not in text
    assert not any(sent in text for sent in ("passwd", "DROP", "<b>", "telepathy")), "nothing that was sent is repeated"


@pytest.mark.parametrize("values", [None, [], "text", 7, {"x": NESTED}, {"<script>": 1}])
def test_other_things_than_objects(values: object) -> None:
    for form in (Submission, Own, SkipTask):
        with pytest.raises(ValueError, match="not understood") as caught:
            checked(form, values)
        assert "<script>" not in str(caught.value)
