"""Rows of tables: a score, its floors, the gain of its order and its ceiling, as texts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from evaluate.reports.schema import Floor, MeanMetric, Metric, Score
from evaluate.table import cell
from gazevlm_core.metrics.registry import Order
from web.markup import Cell, Table

HEADS = ["score", "value [95% interval]", "floors", "order gain", "ceiling"]
TOUCHES = "* the floor's interval touches the score's: no difference can be claimed."
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
        touching: floors whose interval touches the score's, beside those that say so themselves.
    """

    label: str
    score: Score | None
    floors: Mapping[str, Score] = field(default_factory=dict)
    gain: Score | None = None
    ceilings: Mapping[str, Score | None] = field(default_factory=dict)
    touching: set[str] = field(default_factory=set)


def text(score: Score | None) -> str:
    """E.g. "0.912 [0.900, 0.924]"; a dash where nothing was measured."""
    if score is not None and score.value is not None and score.interval == [score.value, score.value]:
        return number(score.value)  # known exactly
    return "-" if score is None else cell(score.model_dump(include={"value", "interval"}))


def number(value: float | None) -> str:
    """E.g. "0.912"; a dash where nothing was measured."""
    return "-" if value is None else f"{value:.3f}"


def remark(order: Order, better: str) -> str:
    """E.g. "blind to order; higher is better"."""
    return f"{SEES[order]}; {better} is better"


def rendered(row: Row) -> list[Cell]:
    """Cells under HEADS."""
    floors = tuple(_floor(name, floor, name in row.touching) for name, floor in row.floors.items())
    ceilings = tuple(f"{text(score)} {name}" for name, score in row.ceilings.items())
    return [row.label, text(row.score), floors or "-", text(row.gain), ceilings or "-"]


def metric_table(title: str, metrics: Mapping[str, Metric]) -> Table:
    """Scores of paths, with what each sees of the order."""
    rows: list[Sequence[Cell]] = []
    for name, metric in metrics.items():
        row = Row(
            name, metric, metric.floors, metric.order_gain, {"another reader": metric.ceiling_other_reader}
        )
        _, *others = rendered(row)
        rows.append([(name, remark(metric.order, metric.better)), *others])
    return Table(title, HEADS, rows, [GAIN_NOTE])


def mean_metric_table(title: str, metrics: Mapping[str, MeanMetric], note: str) -> Table:
    """The same of means over runs, which have no interval of their own."""
    rows: list[Sequence[Cell]] = [
        [
            (name, remark(metric.order, metric.better)), number(metric.value),
            tuple(f"{number(value)} {floor}" for floor, value in metric.floors.items()) or "-",
            number(metric.order_gain), f"{number(metric.ceiling_other_reader)} another reader",
        ]
        for name, metric in metrics.items()
    ]  # fmt: skip
    heads = ["score", "value", "floors", "order gain", "ceiling"]
    return Table(title, heads, rows, [note, GAIN_NOTE], folded=True)


def _floor(name: str, floor: Score, touches: bool) -> str:
    touches = touches or (isinstance(floor, Floor) and floor.interval_touches_the_models)
    return f"{text(floor)} {name}{' *' if touches else ''}"
