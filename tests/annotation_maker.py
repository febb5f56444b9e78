"""Annotations for tests."""

from datetime import UTC, datetime, timedelta
from typing import Any

from gazevlm_core.annotation import Annotation, Click, Client
from gazevlm_core.scanpath import Fixation, Scanpath

START = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
CLICK = Click(zoom=0.9, window_center=127.5, window_width=255.0, inverted=False, pointer="mouse")


def make_annotation(**change: Any) -> Annotation:
    """Two clicks on one image, with some parts changed."""
    path = Scanpath((Fixation(0.1, 0.2, onset_ms=500.0), Fixation(0.3, 0.4, onset_ms=1250.0)), "click")
    values: dict[str, Any] = {
        "submission_id": "s1",
        "image_id": "i1",
        "image_sha256": "0" * 64,
        "image_width_px": 640,
        "image_height_px": 480,
        "question": "Where do you look?",
        "findings": ("pneumothorax",),
        "report": "",
        "scanpath": path,
        "annotator": "reader-1",
        "started_at": START,
        "submitted_at": START + timedelta(seconds=9),
        "client": Client(600, 450, 1.0, 2.0, "clicks"),
        "confidence": 4,
        "clicks": (CLICK, CLICK),
    }
    return Annotation(**{**values, **change})
