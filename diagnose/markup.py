"""The page's own HTML: notice, status line and table of fixations. Everything from outside is escaped."""

from html import escape

from diagnose.record import fixation_records
from gazevlm_core.records import Diagnosis

UNTRAINED_DATA = "nothing: this model's gaze weights are untrained"
INTRODUCTION = (
    "<h1>GazeVLM</h1><p>Looks at a chest radiograph in order, then says what it sees. The numbered path appears first; "
    "the answer is conditioned on it.</p>"
)


def notice(trained_on: str) -> str:
    """The line that is always on the screen: what this is not, and what the model has seen.

    Args:
        trained_on: from the gaze configuration; "" where nothing.
    """
    seen = trained_on.strip().rstrip(".") or UNTRAINED_DATA
    return (
        '<div class="gaze-notice" role="note"><b>Not a medical device.</b> A research demo; do not use it for '
        f"diagnosis or treatment. <b>Training data:</b> {escape(seen)}.</div>"
    )


def status(text: str) -> str:
    """The status line; screen readers announce changes."""
    return f'<div class="gaze-status" role="status" aria-live="polite">{escape(text)}</div>'


def fixation_table(diagnosis: Diagnosis) -> str:
    """Order, position, patch, probability and dwell of each fixation; the reason where there is no path."""
    records = fixation_records(diagnosis)
    if records is None:
        return f'<p class="gaze-empty">{escape(" ".join(diagnosis.notes))}</p>'
    rows = "".join(
        f"<tr><td>{order}</td><td>{fixation['x']:.3f}</td><td>{fixation['y']:.3f}</td><td>{fixation['patch_index']}</td>"
        f"<td>{fixation['probability']:.2f}</td><td>{_dwell(fixation['duration_ms'])}</td></tr>"
        for order, fixation in enumerate(records, start=1)
    )
    heads = "".join(f'<th scope="col">{head}</th>' for head in ("#", "x", "y", "patch", "prob.", "dwell&nbsp;ms"))
    size = f"{diagnosis.grid.rows} &times; {diagnosis.grid.cols}"
    return (
        f'<table class="gaze-table"><caption>Scanpath on a grid of {size} patches; x and y are fractions of the image'
        f"</caption><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    )


def _dwell(duration_ms: float | None) -> str:
    return "&ndash;" if duration_ms is None else f"{duration_ms:.0f}"
