"""How values are written for people: moments, scores, sizes, durations, names, what is not known."""

from datetime import UTC, datetime

UNKNOWN = "-"
MINUTE_S = 60
LONGEST_NAME = 40  # characters, in a list


def when(moment: datetime | float | None) -> str:
    """Return a moment, a datetime or unix time in seconds, to the minute in UTC; a dash where it is not known."""
    if moment is None:
        return UNKNOWN
    at = moment.astimezone(UTC) if isinstance(moment, datetime) else datetime.fromtimestamp(moment, UTC)
    return f"{at:%Y-%m-%d %H:%M} UTC"


def duration(seconds: float) -> str:
    """Return a length of time to two digits or so: "45 s", "4 min", "2 h 10 min"."""
    if seconds < 1.5 * MINUTE_S:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / MINUTE_S)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def score(value: float | None, *, signed: bool = False) -> str:
    """Return three digits, or a dash where it is not known or not defined."""
    if value is None:
        return UNKNOWN
    return f"{value:+z.3f}" if signed else f"{value:z.3f}"  # z: no minus before 0.000


def whole_ms(milliseconds: float | None) -> str:
    """Return whole milliseconds without their unit, or a dash where they are not known."""
    return UNKNOWN if milliseconds is None else f"{milliseconds:.0f}"


def size(count: float) -> str:
    """Return bytes in words."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def counted(count: int, one: str, more: str = "") -> str:
    """Return a number with its noun."""
    return f"{count:,} {one if count == 1 else more or one + 's'}"


def short_digest(digest: str) -> str:
    """Return the beginning of a digest, by which people tell images apart."""
    return digest[:10]


def short_name(name: str) -> str:
    """Return a name that may be long, for a list."""
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
