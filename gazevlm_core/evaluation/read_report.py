"""Read the report of an evaluation from a file, which may come from anybody."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json

from gazevlm_core.evaluation.report import DatasetReport, ExperimentReport, PathReport, PhantomReport, Report

MOST_BYTES = 4 * 2**20
MOST_SHOWN = 80  # characters of a place in a file
WANTED = (
    "Give results.json of `gazevlm experiment`, or what `gazevlm evaluate --json` or `gazevlm score --json` prints."
)


class ReportError(ValueError):
    """A file that is no report; the message says what to give instead."""


def read_report(path: Path) -> Report:
    """Return a report from a file, which is not read if it is too large.

    Raises:
        ReportError: no such file, more than MOST_BYTES, or as in `parse_report`.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ReportError(f"The file has more than {MOST_BYTES // 2**20} MB, which no report has. {WANTED}")
        data = path.read_bytes()
    except OSError:
        raise ReportError(f"The file cannot be read. {WANTED}") from None
    return parse_report(data)


def parse_report(data: bytes) -> Report:
    """Return a report from the bytes of its JSON.

    Raises:
        ReportError: no strict JSON in UTF-8 (NaN and Infinity are not), nested without end, or no report.
    """
    try:
        values = from_json(data.removeprefix(b"\xef\xbb\xbf"), allow_inf_nan=False)
    except ValueError as error:  # also: nested too deep
        raise ReportError(f"The file is no JSON: {error}. {WANTED}") from None
    kind = _kind(values)
    if kind is None:
        raise ReportError(f"The file is JSON, but no report. {WANTED}")
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = " > ".join(map(str, first["loc"]))[:MOST_SHOWN]
        raise ReportError(f"The report cannot be shown: {place}: {first['msg']}. {WANTED}") from None


def _kind(values: Any) -> type[Report] | None:  # noqa: ANN401 (JSON values)
    """Return which report it claims to be."""
    if not isinstance(values, dict):
        return None
    if "domains" in values:
        return ExperimentReport
    if "dataset" in values:
        return PhantomReport if values["dataset"] == "phantom" else DatasetReport
    return PathReport if "metrics" in values else None
