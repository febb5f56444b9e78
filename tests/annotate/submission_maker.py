"""Submissions as a page sends them, for tests."""

from datetime import UTC, datetime
from typing import Any

from gazevlm_core.findings import FINDING_NAMES

ID = "0b5a1f5e-1111-4222-8333-444455556666"


def make_click(x: float = 0.25, y: float = 0.5, onset_ms: float | None = 500.0, **change: Any) -> dict[str, Any]:
    """One click of a mouse."""
    return {
        "x": x, "y": y, "onset_ms": onset_ms, "zoom": 1.5, "window_center": 127.5, "window_width": 255,
        "inverted": False, "pointer": "mouse", "edit": "", **change,
    }  # fmt: skip


def make_submission(person: str, sha256: str, /, **change: Any) -> dict[str, Any]:
    """Two clicks and a finding; `shown_at` is no server's, so that it is refused unless it is changed."""
    return {
        "submission_id": ID,
        "person": person,
        "sha256": sha256,
        "lease_id": None,
        "shown_at": datetime.now(UTC).isoformat(),
        "mode": "clicks",
        "clicks": [make_click(), make_click(0.7, 0.3, 1250.5)],
        "samples": [],
        "findings": ["pleural effusion"],
        "findings_asked": list(FINDING_NAMES),
        "report": "Blunted left angle.",
        "confidence": 4,
        "client": {
            "canvas_width_px": 600, "canvas_height_px": 600, "outside_clicks": 0, "zoom": 1.5, "device_pixel_ratio": 2,
        },
        **change,
    }
