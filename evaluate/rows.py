"""Rows of tables: a score with everything that belongs beside it, for a page, a terminal and Markdown alike.

`wide_table` writes a row's floors into one cell, for pages; `long_table` below each other, one column per model, for
terminals and cards.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from gazevlm_core.evaluation.report import GUESSING, Floor, Metric, Score
from gazevlm_core.metrics.registry import Order
from web.formatting import score as number
from web.markup import Cell, Table

MOST_DIGITS = 6  # that reports have
HEADS = ["score", "value [95% interval]", "floors", "order gain", "ceiling"]
SEES = {"sensitive": "sees the order", "weak": "hardly sees the order", "blind": "blind to order"}
GAIN_NOTE = (
    "Order gain: the score less that of the same fixations shuffled, with the sign turned for distances; positive "
    "where the order is worth something. Scores that hardly see the order, or not at all, say nothing about it."
)


@dataclass(frozen=True)
class Row:
    """One score with everything that belongs beside it.

    Args:
        label: what is scored.
        score: the score; None where it was not measured.
        floors: name -> what something that knows less would score.
        gain: of the order.
        ceilings: name -> what a reader would score.
        parts: name -> what the score is made of, for long tables.
        touching: floors whose interval touches the score's, beside those that say so themselves.
        remark: on the score, such as which way is better.
    """

    label: str
    score: Score | None
    floors: Mapping[str, Score] = field(default_factory=dict)
    gain: Score | None = None
    ceilings: Mapping[str, Score | None] = field(default_factory=dict)
    parts: Mapping[str, Score | None] = field(default_factory=dict)
    touching: frozenset[str] = frozenset()
    remark: str = ""


def text(score: Score | None, digits: int = 3) -> str:
    """Return e.g. "0.912 [0.900, 0.924]", "0.912 [-]" without an interval; a dash where nothing was measured.

    An end that is not 0 is not written as 0 where the interval leaves 0 out: it gets further digits.
    """
    if score is None or score.value is None:
        return "-"
    if score.interval is None:
        return f"{score.value:z.{digits}f} [-]"
    low, high = score.interval
    if low > 0 or high < 0:
        nearest = min(abs(low), abs(high))
        digits = next((more for more in range(digits, MOST_DIGITS) if round(nearest, more)), MOST_DIGITS)
    return f"{score.value:z.{digits}f} [{low:z.{digits}f}, {high:z.{digits}f}]"


def floor_text(name: str, floor: Score) -> str:
    """Return the score of a floor; chance is known exactly, and has no interval to show."""
    return number(floor.value) if name == GUESSING else text(floor)


def remark(order: Order, better: str) -> str:
    """Return e.g. "blind to order; higher is better"."""
    return f"{SEES[order]}; {better} is better"


def _star(name: str, floor: Score, row: Row) -> str:
    touches = name in row.touching or (isinstance(floor, Floor) and floor.interval_touches_the_models)
    return " *" if touches else ""


def _wide(row: Row) -> list[Cell]:
    """Return the cells of a row under HEADS."""
    floors = tuple(f"{floor_text(name, floor)} {name}{_star(name, floor, row)}" for name, floor in row.floors.items())
    ceilings = tuple(f"{text(score)} {name}" for name, score in row.ceilings.items())
    label: Cell = (row.label, row.remark) if row.remark else row.label
    return [label, text(row.score), floors or "-", text(row.gain), ceilings or "-"]


def _long(row: Row) -> Iterator[tuple[str, str]]:
    """Return label and text of a row and of what belongs beside it, indented."""
    yield f"{row.label} ({row.remark})" if row.remark else row.label, text(row.score)
    yield from ((f"  {name}", text(score)) for name, score in row.parts.items())
    if row.gain is not None:
        yield "  gain of its order over shuffling", text(row.gain)
    yield from ((f"  ceiling: {name}", text(score)) for name, score in row.ceilings.items())
    for name, floor in row.floors.items():
        yield f"  floor: {name}", floor_text(name, floor) + _star(name, floor, row)


def wide_table(title: str, rows: Sequence[Row], notes: Sequence[str] = (), *, folded: bool = False) -> Table:
    """Return a table with the floors of a score in one cell."""
    return Table(title, HEADS, [_wide(row) for row in rows], notes, folded=folded)


def long_table(title: str, columns: Mapping[str, Sequence[Row]], notes: Sequence[str] = ()) -> Table:
    """Return a table with everything below each other, and one column for each model.

    Args:
        columns: head -> rows; a row that a model lacks stays empty there.
    """
    texts = [{(row.label, label): cell for row in rows for label, cell in _long(row)} for rows in columns.values()]
    keys = dict.fromkeys(key for column in texts for key in column)
    return Table(title, ["score [95% interval]", *columns], [[label, *(column.get((of, label), "") for column in texts)]
                                                             for of, label in keys], notes)  # fmt: skip


def metric_summary(title: str, columns: Mapping[str, Mapping[str, Metric]], note: str = "") -> Table:
    """Return one line per score of paths: its value for each column; gain, floors and ceiling of the first one.

    Args:
        columns: head -> scores by name, such as those of each model.
    """
    first = next(iter(columns.values()))
    floors = list(dict.fromkeys(floor for metric in first.values() for floor in metric.floors))
    rows: list[Sequence[Cell]] = [
        [(name, remark(metric.order, metric.better)),
         *(number(_value(metrics.get(name))) for metrics in columns.values()), number(_value(metric.order_gain)),
         *(number(_value(metric.floors.get(floor))) for floor in floors), number(_value(metric.ceiling_other_reader))]
        for name, metric in first.items()
    ]  # fmt: skip
    heads = ["score of the paths", *columns, "order gain", *(f"floor: {floor}" for floor in floors),
             "ceiling: another reader"]  # fmt: skip
    return Table(title, heads, rows, [*([note] if note else []), GAIN_NOTE], folded=True)


def _value(score: Score | float | None) -> float | None:
    return score if score is None or isinstance(score, float) else score.value
