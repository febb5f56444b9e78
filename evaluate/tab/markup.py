"""The Evaluate tab's own HTML. Everything from outside is escaped."""

import math
from collections.abc import Sequence
from html import escape

from evaluate.tab.compare import FLOORS, MetricRow
from evaluate.tab.reports import Report, ReportTable

SEES = {"sensitive": "yes", "weak": "hardly", "blind": "no"}


def status(text: str) -> str:
    """The status line; screen readers announce changes."""
    return f'<div class="gaze-status" role="status" aria-live="polite">{escape(text)}</div>'


def title(shown: Report) -> str:
    """What a report is about, and what a reader must know of its numbers."""
    return f'<h3 class="gaze-report">{escape(shown.title)}</h3><p class="gaze-note">{escape(shown.note)}</p>'


def tables(shown: Report) -> str:
    """All tables of a report."""
    return "".join(_table(table) for table in shown.tables)


def pair_scores(rows: Sequence[MetricRow], model: str, reader: str) -> str:
    """The table of metrics of one pair of paths."""
    heads = ("metric", "better", "sees order", "score", "order gain", *(f"floor: {name}" for name in FLOORS),
             "other readers")  # fmt: skip
    cells = [
        (row.name, row.better, SEES[row.order], *map(_number, (row.score, row.order_gain, *row.floors, row.others)))
        for row in rows
    ]
    caption = f"{model} against {reader}; one image says little, floors are means of random draws"
    return _table(ReportTable(caption, heads, tuple(cells)))


def _table(table: ReportTable) -> str:
    heads = "".join(f'<th scope="col">{escape(head)}</th>' for head in table.heads)
    rows = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>{"".join(f"<td>{escape(value)}</td>" for value in row[1:])}</tr>'
        for row in table.rows
    )
    return (
        f'<div class="gaze-scroll" tabindex="0" role="region" aria-label="{escape(table.caption)}">'
        f'<table class="gaze-table"><caption>{escape(table.caption)}</caption><thead><tr>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"
