"""HTML that every tab shows: the notice, the status line, tables. Everything from outside is escaped."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

Cell = str | tuple[str, ...]
SHORT = 24  # characters

INTRODUCTION = (
    "<h1>GazeVLM</h1><p>Shows where it looks on a chest radiograph, in order, before it speaks. Path, findings and "
    "words are read from the same gaze states; another path would not change the words.</p>"
)
UNTRAINED_DATA = "nothing: this model's gaze weights are untrained"


def notice(trained_on: str) -> str:
    """The line that is always on the screen: what this is not, and what the chosen model has seen.

    Args:
        trained_on: from the gaze configuration; "" where nothing.
    """
    seen = trained_on.strip().rstrip(".") or UNTRAINED_DATA
    return (
        '<div class="gaze-notice" role="note"><b>Not a medical device.</b> A research demo; do not use it for '
        f"diagnosis or treatment. <b>Training data:</b> {escape(seen)}.</div>"
    )


def status(text: str) -> str:
    """Return the status line; screen readers announce changes."""
    return f'<div class="gaze-status" role="status" aria-live="polite">{escape(text)}</div>'


def note(text: str) -> str:
    """Return a remark, to stand below what it is about."""
    return f'<p class="gaze-note">{escape(text)}</p>'


@dataclass(frozen=True)
class Table:
    """A table of texts.

    Args:
        rows: cells; several lines in one cell are a tuple, in the first cell a name and remarks on it.
    """

    title: str  # above it
    heads: Sequence[str]  # one per column; the first column names the row
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str] = ()  # below it
    folded: bool = False  # shown when asked for


def table(shown: Table) -> str:
    """Return a table as HTML; on narrow windows it scrolls sideways, with the mouse, a finger or the keys."""
    heads = "".join(f'<th scope="col">{escape(head)}</th>' for head in shown.heads)
    rows = "".join(f"<tr>{_row(row)}</tr>" for row in shown.rows)
    title = escape(shown.title)
    scrolled = (
        f'<div class="gaze-scroll" tabindex="0" role="region" aria-label="{title}"><table class="gaze-table gaze-wide">'
        f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>{''.join(map(note, shown.notes))}"
    )
    if shown.folded:
        return f'<details class="gaze-folded"><summary>{title}</summary>{scrolled}</details>'
    return f'<h3 class="gaze-heading">{title}</h3>{scrolled}'


def small_table(heads: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "") -> str:
    """Return a table of short texts, as wide as its column, with a caption above it."""
    head = "".join(f'<th scope="col">{escape(one)}</th>' for one in heads)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    above = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f'<table class="gaze-table">{above}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _row(cells: Sequence[Cell]) -> str:
    first, *others = ((cell,) if isinstance(cell, str) else cell for cell in cells)
    name, *remarks = map(escape, first)
    small = "".join(f"<small>{remark}</small>" for remark in remarks)
    return f'<th scope="row">{name}{small}</th>' + "".join(map(_cell, others))


def _cell(lines: tuple[str, ...]) -> str:
    kind = ' class="gaze-short"' if max(map(len, lines)) <= SHORT else ""  # stays on one line
    return f"<td{kind}>{'<br>'.join(map(escape, lines))}</td>"
