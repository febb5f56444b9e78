"""The chart of annotators: how long they take against how far they agree with others, above the best floor or not."""

from html import escape
from math import sqrt
from typing import Any

import plotly.graph_objects as go

from annotate.quality.annotators import AnnotatorQuality
from annotate.quality.scores import SEQUENCE
from annotate.quality.survey import Survey
from web.plot_style import AXIS, FLOOR, OWN, PLAIN, TEXT

HEIGHT_PX = 340
FLAGGED = "#d9822b"
LARGEST_PX, SMALLEST_PX = 26, 9


def annotator_chart(found: Survey) -> go.Figure | None:
    """A dot per annotator whose paths were compared with others'; None where nobody's were."""
    known = [one for one in found.annotators if one.agreement is not None]
    if not known:
        return None
    figure, most = go.Figure(), max(one.submissions for one in known)
    floor = found.levels[SEQUENCE].best_floor
    groups = (("no flags", OWN, False), ("some submissions flagged", FLAGGED, True))
    for words, color, flagged in groups:
        group = [one for one in known if bool(one.flags) == flagged]
        if group:
            figure.add_scatter(**_dots(group, words, color, most, floor))
    if floor is not None:
        label = {"text": f"best floor {floor:.2f}", "yanchor": "bottom", "font": {"color": TEXT}}
        figure.add_hline(y=floor, line={"color": FLOOR, "dash": "dash"}, annotation=label)
    values = [one.agreement or 0.0 for one in known] + ([floor] if floor is not None else [])
    top, longest = max(values) or 1.0, max(one.median_s for one in known)
    figure.update_layout(
        **PLAIN,
        height=HEIGHT_PX,
        xaxis={**AXIS, "title": "median time per image, seconds", "range": [0, max(1.0, 1.15 * longest)]},
        yaxis={**AXIS, "title": "agreement with others", "tickformat": ".2f", "range": [-0.08 * top, 1.2 * top]},
    )
    return figure


def _dots(
    group: list[AnnotatorQuality], words: str, color: str, most: int, floor: float | None
) -> dict[str, Any]:
    """One trace; those to look at, flagged or no better than the floor, are named."""
    odd = [bool(one.flags) or (floor is not None and (one.agreement or 0.0) <= floor) for one in group]
    sizes = [max(SMALLEST_PX, LARGEST_PX * sqrt(one.submissions / most)) for one in group]
    return {
        "x": [one.median_s for one in group],
        "y": [one.agreement for one in group],
        "name": words,
        "mode": "markers+text",
        "text": [escape(one.annotator) if named else "" for one, named in zip(group, odd, strict=True)],
        "textposition": "middle right",
        "textfont": {"size": 10},
        "marker": {"size": sizes, "color": color, "opacity": 0.85},
        "customdata": [(escape(one.annotator), one.submissions) for one in group],
        "hovertemplate": "%{customdata[0]}<br>%{customdata[1]} submissions, %{x:.1f} s, agreement %{y:.3f}"
        "<extra></extra>",
    }
