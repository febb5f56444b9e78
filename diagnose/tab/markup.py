"""What the Diagnose tab shows of a diagnosis as HTML and as charts. Everything from outside is escaped."""

from collections.abc import Mapping, Sequence
from html import escape

import plotly.graph_objects as go

from diagnose.service import EXAMPLES, example_phantom
from gazevlm_core.evaluation.checkpoint_scores import CheckpointScores
from gazevlm_core.path_style import MODEL, Color, is_light, order_colors
from gazevlm_core.records import Diagnosis
from gazevlm_core.report_parser import Claim, claims_of
from gazevlm_core.scanpath import Scanpath
from gazevlm_core.zones import zone_dwells
from phantoms.report import write_report
from web.formatting import whole_ms
from web.markup import note, small_table
from web.plot_style import GRID, OWN, PLAIN, TEXT

CLAIMS_NOTE = "Named in the answer, with the probability that the model's finding head gives:"
EVIDENCE_NOTE = (
    "How much each fixation that was seen closely counted for the probability of a finding, and its part of the "
    "attention while a sentence was written: attention, and no proof"
)
ROW_PX, MARGIN_PX, TIMELINE_PX = 24, 70, 110
CHART = {**PLAIN, "bargap": 0.35, "showlegend": False}


def badges(facts: Mapping[str, str]) -> str:
    """Return what answers as a row of short facts, e.g. {"model": "gazevlm-nano"}."""
    items = "".join(f"<li><span>{escape(name)}</span> {escape(fact)}</li>" for name, fact in facts.items())
    return f'<ul class="gaze-badges" aria-label="What answers">{items}</ul>'


def title(text: str) -> str:
    """Return the title of a result beside another one."""
    return f'<div class="gaze-title" role="heading" aria-level="2">{escape(text)}</div>'


def fixation_table(diagnosis: Diagnosis) -> str:
    """Return order, position, patch, probability and dwell of each fixation; "" where there is no path."""
    records = diagnosis.to_dict()["scanpath"]
    if records is None:
        return ""
    rows = [
        (str(order), f"{one['x']:.3f}", f"{one['y']:.3f}", str(one["patch_index"]), f"{one['probability']:.2f}",
         whole_ms(one["duration_ms"]))
        for order, one in enumerate(records, start=1)
    ]  # fmt: skip
    size = f"{diagnosis.grid.rows} \N{MULTIPLICATION SIGN} {diagnosis.grid.cols}"
    caption = f"Scanpath on a grid of {size} patches; x and y are fractions of the image"
    return small_table(("#", "x", "y", "patch", "prob.", "dwell\N{NO-BREAK SPACE}ms"), rows, caption)


def zone_table(diagnosis: Diagnosis) -> str:
    """Return fixations and dwell in each third of the image; "" where there is no path."""
    if diagnosis.scanpath is None:
        return ""
    rows = [
        (zone.zone, str(zone.fixations), whole_ms(zone.dwell_ms), f"{zone.share:.0%}")
        for zone in zone_dwells(diagnosis.scanpath.fixations)
    ]
    heads = ("zone", "fixations", "dwell\N{NO-BREAK SPACE}ms", "share")
    return small_table(heads, rows, "Thirds of the image, with the patient\N{RIGHT SINGLE QUOTATION MARK}s sides")


def evidence(diagnosis: Diagnosis) -> str:
    """Return the share of each glimpse in every finding and in each sentence of the answer; "" without glimpses."""
    if not diagnosis.glimpses:
        return ""
    ordered = sorted(diagnosis.evidence, key=lambda name: -diagnosis.finding_probabilities[name])
    rows = [(name, *_shares(diagnosis.evidence[name])) for name in ordered]
    rows += [(f"\N{LEFT DOUBLE QUOTATION MARK}{one.text}\N{RIGHT DOUBLE QUOTATION MARK}", *_shares(one.shares))
             for one in diagnosis.sentences]  # fmt: skip
    heads = ("", *(f"fixation {glimpse.step + 1}" for glimpse in diagnosis.glimpses), "elsewhere")
    return small_table(heads, rows, EVIDENCE_NOTE) if rows else ""


def _shares(shares: Sequence[float]) -> list[str]:
    return [f"{share:.0%}" for share in (*shares, max(0.0, 1 - sum(shares)))]


def truth(example: int) -> str:
    """Return what was drawn into an example: each finding with side, zone and severity, and a perfect report."""
    phantom = example_phantom(example)
    rows = [
        (found.detail or found.name, found.side, found.zone, f"{found.grade} ({found.severity:.2f})")
        for found in phantom.findings
    ]
    table = small_table(("finding", "side", "zone", "severity"), rows) if rows else ""
    caption = f"<p><b>Drawn:</b> {escape(EXAMPLES[example].caption)}.</p>"
    return f"{caption}{table}<p><b>A perfect report:</b> {escape(write_report(phantom, 0))}</p>"


def warning(diagnosis: Diagnosis) -> str:
    """Return the notes that must be known before the answer is read; "" where there are none."""
    return alert(diagnosis.notes)


def alert(sentences: Sequence[str]) -> str:
    """Return sentences in a warning box; "" where there are none."""
    words = "".join(f"<p>{escape(one)}</p>" for one in sentences)
    return f'<div class="gaze-warning" role="alert">{words}</div>' if words else ""


def claims(diagnosis: Diagnosis) -> str:
    """Findings that the answer affirms or denies, each with its probability, and which of them contradict each other;
    nothing where the answer names none."""
    items = "".join(map(_claim, claims_of(diagnosis)))
    if not items:
        return ""
    listed = f'<ul aria-label="Findings that the answer names">{items}</ul>'
    return f'<div class="gaze-claims">{note(CLAIMS_NOTE)}{listed}</div>'


def _claim(claim: Claim) -> str:
    """E.g. "no edema: 0.91, contradicts the words"."""
    words = f"{'' if claim.affirmed else 'no '}{claim.finding}: "
    words += "unknown" if claim.probability is None else f"{claim.probability:.2f}"
    if claim.agrees is not False:
        return f"<li>{escape(words)}</li>"
    return f'<li class="gaze-clash">{escape(words)}, contradicts the words</li>'


def chart_note(scores: CheckpointScores | None) -> str:
    """Return how to read the chart of the findings."""
    words = "This model was not scored, so how far its probabilities can be trusted is unknown."
    if scores is not None:
        words = (
            f"In brackets: AUROC on {scores.scored_on}; 0.50 is chance. The line: how often the finding is there, "
            "which is what a guess without looking would say."
        )
    return note(words)


def findings_chart(probabilities: Mapping[str, float], scores: CheckpointScores | None = None) -> go.Figure:
    """Plot horizontal bars, the most probable finding on top.

    Args:
        probabilities: finding name -> probability in [0, 1]; empty gives a chart that says so.
        scores: AUROC in brackets, and a line where a guess from prevalence alone would be; None shows neither.
    """
    ordered = sorted(probabilities.items(), key=lambda item: item[1])
    values = [value for _, value in ordered]
    known = scores.findings if scores else {}
    labels = [f"{name} ({known[name].auroc:.2f})" if name in known else name for name, _ in ordered]
    figure = go.Figure(
        go.Bar(
            x=values, y=labels, orientation="h", marker={"color": OWN}, text=[f"{value:.2f}" for value in values],
            textposition="outside", cliponaxis=False, hovertemplate="%{y}: %{x:.3f}<extra></extra>",
        )
    )  # fmt: skip
    named = zip(labels, ordered, strict=True)
    scored = [(label, known[name].prevalence) for label, (name, _) in named if name in known]
    if scored:
        figure.add_scatter(
            x=[prevalence for _, prevalence in scored], y=[label for label, _ in scored], mode="markers",
            marker={"symbol": "line-ns", "size": 14, "line": {"width": 2, "color": TEXT}},
            hovertemplate="%{y}: on %{x:.1%} of the scored images<extra></extra>",
        )  # fmt: skip
    figure.update_layout(
        **{**CHART, "margin": {"l": 8, "r": 8, "t": 34, "b": 30}},
        height=MARGIN_PX + ROW_PX * max(len(ordered), 2),
        xaxis={"range": [0, 1.12], "tickvals": [0, 0.5, 1], "tickangle": 0, "gridcolor": GRID, "zeroline": False,
               "fixedrange": True, "tickformat": ".2~f"},
        yaxis={"automargin": True, "fixedrange": True},
    )
    if not ordered:
        figure.update_layout(xaxis={"visible": False}, yaxis={"visible": False})
        figure.add_annotation(text="This model's finding head is untrained.", showarrow=False, x=0.5, y=0.5,
                              xref="paper", yref="paper")
    return figure


def dwell_timeline(scanpath: Scanpath, palette: Sequence[Color] = MODEL.colors) -> go.Figure | None:
    """Plot one bar cut into the fixations, each as long as its dwell; None where a dwell is unknown.

    Args:
        scanpath: N fixations.
        palette: colours of the path in the viewer.
    """
    durations = [fixation.duration_ms for fixation in scanpath]
    known = [duration for duration in durations if duration is not None]
    if len(known) < len(durations):
        return None
    figure = go.Figure()
    start = 0.0
    for step, (duration, color) in enumerate(zip(known, order_colors(len(known), palette), strict=True), start=1):
        figure.add_bar(
            x=[duration], base=[start], y=["dwell"], orientation="h", text=str(step), textposition="inside",
            insidetextanchor="middle", textangle=0, textfont={"color": "black" if is_light(color) else "white"},
            marker={"color": f"rgb{color}", "line": {"width": 1, "color": "rgba(0, 0, 0, 0.5)"}},
            hovertemplate=f"fixation {step}: {duration:.0f} ms, from {start:.0f} ms<extra></extra>",
        )  # fmt: skip
        start += duration
    figure.update_layout(
        **{**CHART, "margin": {"l": 8, "r": 8, "t": 30, "b": 34}},
        barmode="overlay", height=TIMELINE_PX,
        xaxis={"range": [0, start], "ticksuffix": " ms", "gridcolor": GRID, "zeroline": False, "fixedrange": True,
               "nticks": 6, "tickangle": 0},
        yaxis={"visible": False, "fixedrange": True},
    )
    return figure
