"""The Annotations tab's service on a small store, and people with and without roles, for tests."""

from pathlib import Path
from typing import Any

from annotate.dashboard.page import DashboardService
from annotate.store.store import AnnotationStore
from web.identity import Claim, Gate
from web.settings import Settings

ADMIN_TOKEN, REVIEWER_TOKEN = "admin-token-of-the-test", "reviewer-token-of-the-test"
NOBODY = Claim(None, "", "", "10.0.0.1")
ANNOTATOR = Claim(None, "Ann", "", "10.0.0.2")
REVIEWER = Claim(None, "Rita", REVIEWER_TOKEN, "10.0.0.3")
ADMIN = Claim(None, "Root", ADMIN_TOKEN, "10.0.0.4")


def make_settings(**change: Any) -> Settings:
    """As on a laptop, with both tokens."""
    return Settings(**{"admin_token": ADMIN_TOKEN, "reviewer_token": REVIEWER_TOKEN, **change})


def make_service(store: AnnotationStore, folder: Path, **parts: Any) -> DashboardService:
    """A service that syncs nowhere unless something else is said."""
    gate = Gate(parts.pop("settings", make_settings()), store.pseudonym)
    values = {"sync_state": lambda: None, "wake_sync": lambda: None, "folder": folder, **parts}
    return DashboardService(store, gate, **values)
