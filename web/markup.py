"""What every tab shows as HTML: the notice, the status line, tables; and tables for terminals and Markdown.

Everything from outside is escaped.

Terms of art in notes and tables have a mark that explains them: see `web.glossary`.
"""

import base64
import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from io import BytesIO, StringIO
from typing import TYPE_CHECKING
from urllib.parse import quote

from web.glossary import mark

if TYPE_CHECKING:
    from PIL import Image

Cell = str | tuple[str, ...]
SHORT = 24  # characters
LONGEST_NAME = 60  # characters of a table's title in a file name

INTRODUCTION = (
    '<a class="gaze-skip" href="#tabs">Skip to the main part</a>'
    "<h1>GazeVLM</h1><p>Shows where it looks on a chest radiograph, in order, before it speaks.</p>"
)
UNTRAINED_DATA = "nothing: this model's gaze weights are untrained"


def notice(trained_on: str) -> str:
    """Return the line that is always on the screen: what this is not, and what the chosen model has seen.

    It is cut where there is no room, and whole when it is pressed.

    Args:
        trained_on: from the gaze configuration; "" where nothing.
    """
    seen = trained_on.strip().rstrip(".") or UNTRAINED_DATA
    return (
        '<div class="gaze-notice" role="note"><details><summary title="Show all of it"><b>Not a medical device.</b> A '
        f"research demo; do not use it for diagnosis or treatment. <b>Training data:</b> {escape(seen)}."
        "</summary></details></div>"
    )


def status(text: str) -> str:
    """Return the status line; screen readers announce changes."""
    return f'<div class="gaze-status" role="status" aria-live="polite">{escape(text)}</div>'


def note(text: str) -> str:
    """Return a remark, to stand below what it is about; its terms of art are explained."""
    return f'<p class="gaze-note">{escape(text)}{mark(text)}</p>'


def picture_uri(pixels: "Image.Image", longest_px: int) -> str:
    """Return an image as a data URI, reduced to `longest_px`."""
    small, encoded = pixels.copy(), BytesIO()
    small.thumbnail((longest_px, longest_px))
    small.save(encoded, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(encoded.getvalue()).decode()


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
    seen: set[str] = set()
    term = mark(shown.title, seen)
    heads = "".join(f'<th scope="col">{escape(head)}{mark(head, seen)}</th>' for head in shown.heads)
    rows = "".join(f"<tr>{_row(row, seen)}</tr>" for row in shown.rows)
    title = escape(shown.title)
    scrolled = (
        f'<div class="gaze-scroll" tabindex="0" role="region" aria-label="{title}"><table class="gaze-table gaze-wide">'
        f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>{''.join(map(note, shown.notes))}"
    )
    scrolled += _csv_link(shown)
    if shown.folded:
        return _titled(f'<details class="gaze-folded"><summary>{title}</summary>{scrolled}</details>', term)
    return f"{heading(shown.title, term)}{scrolled}"


def heading(title: str, term: str | None = None) -> str:
    """Return a heading, its terms of art explained beside it: inside of it their words would be part of its name.

    Args:
        title: for people.
        term: the mark for it, where that was made before.
    """
    return _titled(f'<h3 class="gaze-heading">{escape(title)}</h3>', mark(title) if term is None else term)


def _titled(shown: str, term: str) -> str:
    return f'<div class="gaze-titled">{shown}{term}</div>' if term else shown


def _csv_link(shown: Table) -> str:
    """Return a link that saves a table as CSV; what a spreadsheet would take for a formula is text there."""
    lines = StringIO()
    writer = csv.writer(lines)
    for row in (shown.heads, *shown.rows):
        cells = [cell if isinstance(cell, str) else " | ".join(cell) for cell in row]
        writer.writerow([f"'{cell}" if cell.startswith(("=", "@")) else cell for cell in cells])
    name = re.sub(r"[^A-Za-z0-9]+", "-", shown.title).strip("-")[:LONGEST_NAME] or "table"
    address = f"data:text/csv;charset=utf-8,{quote(lines.getvalue())}"
    label = escape(f"{shown.title} as CSV")
    return f'<a class="gaze-csv" download="{name}.csv" href="{address}" aria-label="{label}">CSV</a>'


def small_table(heads: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "") -> str:
    """Return a table of short texts, as wide as its column, with a caption above it."""
    seen: set[str] = set()
    above = f"<caption>{escape(caption)}{mark(caption, seen)}</caption>" if caption else ""
    head = "".join(f'<th scope="col">{escape(one)}{mark(one, seen)}</th>' for one in heads)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<table class="gaze-table">{above}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _row(cells: Sequence[Cell], seen: set[str]) -> str:
    """Return a row; the terms of its name are explained where they come first."""
    first, *others = ((cell,) if isinstance(cell, str) else cell for cell in cells)
    name, *remarks = map(escape, first)
    small = "".join(f"<small>{remark}</small>" for remark in remarks)
    return f'<th scope="row">{name}{mark(" ".join(first), seen)}{small}</th>' + "".join(map(_cell, others))


def _cell(lines: tuple[str, ...]) -> str:
    kind = ' class="gaze-short"' if max(map(len, lines)) <= SHORT else ""  # stays on one line
    return f"<td{kind}>{'<br>'.join(map(escape, lines))}</td>"


# ---- without a page -------------------------------------------------------------------------------------------------
def plain_text(shown: Table) -> str:
    """Return a table for a terminal: its columns beside each other, then the notes."""
    cells = [list(map(_flat, row)) for row in (shown.heads, *shown.rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join([*([shown.title] if shown.title else []), *lines, *shown.notes])


def markdown(shown: Table, level: int = 0) -> str:
    """Return a table as Markdown; indented labels keep their indent as a dash, because Markdown drops spaces.

    Args:
        level: of the heading; 0 leaves the title out.
    """

    def line(cells: Sequence[Cell]) -> str:
        flat = [f"– {cell.strip()}" if cell.startswith("  ") else cell for cell in map(_flat, cells)]  # noqa: RUF001
        return f"| {' | '.join(markdown_cell(cell).replace(' *', ' `*`') for cell in flat)} |"

    parts = [f"{'#' * level} {shown.title}"] if level else []
    parts.append("\n".join([line(shown.heads), f"|{'---|' * len(shown.heads)}", *map(line, shown.rows)]))
    return "\n\n".join([*parts, *(note.replace("* ", "`*` ", 1) for note in shown.notes)])


def markdown_cell(text: str) -> str:
    """Return words that stay within their cell of a table in Markdown, and on their line."""
    return " ".join(text.split()).replace("|", "\\|")


def _flat(cell: Cell) -> str:
    """Return a cell in one line, what stands below its first line in brackets."""
    if isinstance(cell, str):
        return cell
    first, *others = cell
    return f"{first} ({', '.join(others)})" if others else first
