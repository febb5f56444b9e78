"""How values are written on the page: moments, scores, what is not known."""

from datetime import UTC, datetime

UNKNOWN = "-"


def when(moment: datetime) -> str:
    """To the minute, in UTC."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def score(value: float | None) -> str:
    """Three digits, or a dash where it is not defined."""
    return UNKNOWN if value is None else f"{value:.3f}"


def brief(digest: str) -> str:
    """The beginning of a digest, by which people tell images apart."""
    return digest[:10]


def shown_name(name: str, longest: int = 40) -> str:
    """A name that may be long, for a list."""
    return name if len(name) <= longest else f"{name[: longest - 1]}…"
