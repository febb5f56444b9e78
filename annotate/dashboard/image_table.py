"""Patients and metadata of images, by a table: a fold below the imports."""

from collections.abc import Callable
from pathlib import Path

import gradio as gr

from annotate.store.image_table import MOST_BYTES, MOST_ROWS, Described
from web.formatting import counted
from web.identity import Claim
from web.markup import Table, note, status, table
from web.page import Values
from web.sign_in import Entry

MOST_ROWS_SHOWN = 500
WHAT = (
    "A CSV file in UTF-8 with a column of images (image_id, or file with as many folders as it takes) and one of "
    "patients; every other column is kept as a metadatum of its name. Images of one patient never lie on both sides of "
    f"a split. Up to {MOST_BYTES >> 20} MB and {MOST_ROWS:,} rows; rows that cannot be taken are named below, others "
    "are taken. Annotators see none of it, and what is exported for publishing holds a code for each patient."
)
Describe = Callable[[Claim, Path | None, bool], Described]


class ImageTableView:
    """A file, a tick and a button, and what came of it."""

    def __init__(self, describe: Describe, entry: Entry) -> None:
        self._describe = describe
        with gr.Accordion("Patients and metadata, by a table", open=False, elem_id="dashboard-table"):
            gr.HTML(note(WHAT))
            with gr.Row(elem_classes="dashboard-line"):
                self.upload = gr.File(
                    label="Table", file_types=[".csv", ".tsv", ".txt"], height=110, elem_id="dashboard-table-file"
                )
                self.replace = gr.Checkbox(
                    label="Replace what is known already", min_width=220, elem_id="dashboard-table-replace"
                )
                self.go = gr.Button("Take the table", min_width=130, scale=0, elem_id="dashboard-table-go")
            self.status = gr.HTML(status(""), elem_id="dashboard-table-status")
            self.refused = gr.HTML(elem_id="dashboard-table-refused")
        outputs = [self.status, self.refused, self.upload]
        entry.on(self.go.click, self._take, [self.upload, self.replace], outputs)

    def _take(self, claim: Claim, upload: str | None, replace_known: bool) -> Values:
        path = Path(upload) if upload else None
        done = self._describe(claim, path, bool(replace_known))
        if path is not None:
            path.unlink(missing_ok=True)
        return {self.status: status(sentence(done)), self.refused: tables(done), self.upload: None}


def sentence(done: Described) -> str:
    """Return what came of a table, in one sentence."""
    rows = counted(done.changed, "row is new", "rows are new")
    return f"{rows}, {done.same:,} were known, {len(done.refused):,} are refused."


def tables(done: Described) -> str:
    """Return what each column was taken for, and the rows that were refused, as HTML."""
    columns = [[name, role or "left out"] for name, role in done.columns.items()]
    shown = table(Table("Columns of the table", ("column", "taken for"), columns, folded=True))
    if not done.refused:
        return shown
    rows = [[str(one.line), one.image or "-", one.why] for one in done.refused[:MOST_ROWS_SHOWN]]
    more = len(done.refused) - len(rows)
    notes = [f"{more:,} more are refused; mend these first."] if more else []
    return table(Table("Refused rows", ("line", "image", "why"), rows, notes)) + shown
