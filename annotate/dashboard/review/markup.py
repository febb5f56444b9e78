"""A submission on its image as the page shows it: paths for the viewer, tables, the map of fixations."""

import base64
from io import BytesIO
from typing import Any

import plotly.graph_objects as go
from PIL import Image

from annotate.dashboard.quality.tables import FLOOR_NOTE, LEVEL_HEADS, level_row
from annotate.dashboard.review.detail import MOST_SCORED, Detail
from annotate.dashboard.words import UNKNOWN, brief, score, shown_name, when
from annotate.quality.assess import SubmissionQuality
from annotate.quality.checks import seconds_taken
from annotate.quality.scores import AGREEMENT_SCORES
from annotate.store.types import Stored
from annotate.votes import findings_in_words, first_of_each
from gazevlm_core.zones import zone_of
from web.markup import Cell, Table
from web.plot_style import PLAIN
from web.viewer.payload import ViewerPath, viewer_path

MAP_PX, LONGEST_SIDE_PX = 400, 640
COLORS = [[0.0, "rgba(253, 231, 37, 0)"], [0.25, "rgba(253, 180, 47, 0.45)"], [1.0, "rgba(220, 50, 32, 0.85)"]]
QUANTITIES = {"duration_s": "time", "fixations": "fixations", "sequence score": "agreement"}


def paths_of(detail: Detail, *, everybody: bool) -> list[ViewerPath]:
    """The consensus, the chosen submission, and the other annotators' first paths where they are wanted."""
    paths = []
    chosen, common = detail.chosen, detail.consensus
    is_common = common is not None and common.submission_id == chosen.annotation.submission_id
    if common is not None:
        name = f"Consensus of {common.annotators}" if common.score is not None else "The only path"
        if is_common:
            name += f", submission {chosen.number} itself"
        paths.append(_path(common.scanpath, name, "model"))
    if not is_common:
        paths.append(_path(chosen.annotation.scanpath, f"{chosen.number}: {chosen.annotation.annotator}", "reader"))
    if everybody:
        others = [one for one in first_of_each(detail.stored) if one != chosen]
        paths += [
            _path(one.annotation.scanpath, f"{one.number}: {one.annotation.annotator}", "second model")
            for one in others
        ]  # fmt: skip
    return paths


def _path(scanpath: Any, name: str, role: Any) -> ViewerPath:  # noqa: ANN401 - as viewer_path takes them
    return viewer_path(scanpath, name, role, zones=[zone_of(fixation) for fixation in scanpath])


def headline(detail: Detail) -> str:
    """What is to be seen, in one sentence."""
    one = detail.chosen
    state = "removed" if one.removed else one.verdict
    reason = f" ({one.reason})" if one.reason else ""
    common = detail.consensus
    is_common = common is not None and common.submission_id == one.annotation.submission_id and common.annotators > 1
    also = " It is the consensus path itself." if is_common else ""
    return (
        f"Submission {one.number} by {one.annotation.annotator} on {shown_name(detail.image.name)} "
        f"({brief(detail.image.sha256)}): {state}{reason}.{also}"
    )


def choice_of(one: Stored) -> tuple[str, str]:
    """A submission in a list: its words and its id."""
    state = "removed" if one.removed else one.verdict
    return f"{one.number}, {one.annotation.annotator}, {state}", one.annotation.submission_id


def submission_table(detail: Detail) -> Table:
    """All submissions on the image."""
    heads = (
        "submission", "kind", "mode", "time", "fixations", "agreement with others", "gold score", "self-consistency",
        "verdict", "reason", "worth a look",
    )  # fmt: skip
    rows = [_submission(one, detail) for one in detail.stored]
    notes = [f"The image asks: {detail.image.question}"]
    if detail.total > len(detail.stored):
        notes.append(f"{MOST_SCORED} of the image's {detail.total:,} submissions are shown and compared.")
    return Table(f"All submissions on this image ({detail.total:,})", heads, rows, notes)


def _submission(one: Stored, detail: Detail) -> list[Cell]:
    annotation = one.annotation
    quality = detail.quality.get(annotation.submission_id)
    this = " (this one)" if one.number == detail.chosen.number else ""
    gold = quality.gold if quality else None
    gold_cell: Cell = UNKNOWN if gold is None else (score(gold.value), f"best floor {score(gold.best_floor)}")
    verdict = (one.verdict, "removed") if one.removed else one.verdict
    return [
        (f"{one.number}{this}", annotation.annotator), one.kind, annotation.client.mode,
        f"{seconds_taken(annotation):.1f} s", str(len(annotation.scanpath)),
        score(quality.agreement if quality else None), gold_cell, score(quality.repeat if quality else None),
        verdict, one.reason or UNKNOWN, _odd(quality),
    ]  # fmt: skip


def _odd(quality: SubmissionQuality | None) -> tuple[str, ...]:
    if quality is None:
        return (UNKNOWN,)
    flags = [f"{flag.name}: {flag.detail}" for flag in quality.flags]
    apart = [f"{QUANTITIES[one.quantity]} far from the others" for one in quality.outliers]
    return (*flags, *apart) or (UNKNOWN,)


def answer_table(detail: Detail) -> Table:
    """What the annotator said beside the path, and what was done with the submission."""
    annotation = detail.chosen.annotation
    rows: list[list[Cell]] = [
        ["Findings", findings_in_words(annotation) or UNKNOWN],
        ["Report", tuple(annotation.report.splitlines()) or UNKNOWN],
        ["How sure, of 5", UNKNOWN if annotation.confidence is None else str(annotation.confidence)],
        ["Submitted", when(annotation.submitted_at)],
        ["Receipt", detail.chosen.receipt.receipt_id],
    ]
    for entry in detail.history:
        reason = entry.details.get("reason", "")
        words = f"{entry.action} by {entry.who}"
        rows.append([when(entry.at), (words, str(reason)) if reason else words])
    return Table("What was said, and what was done with it", ("", ""), rows)


def agreement_table(detail: Detail) -> Table:
    """Agreement on the image beside floors."""
    found, common = detail.agreement, detail.consensus
    rows = [level_row(name, found.levels[name]) for name in AGREEMENT_SCORES] if found and found.pairs else []
    notes = [FLOOR_NOTE] if rows else ["One annotator alone agrees with nobody: there is nothing to compare yet."]
    if common is not None:
        notes.append(f"Consensus: {common.how}.")
    return Table("Agreement on this image", LEVEL_HEADS, rows, notes)


def heat_figure(detail: Detail) -> go.Figure | None:
    """The map of fixations over the image; None where nothing counts."""
    if not detail.heat.any():
        return None
    rows, cols = detail.heat.shape
    width, height = detail.image.width_px, detail.image.height_px
    figure = go.Figure(
        go.Heatmap(
            z=detail.heat, x0=width / cols / 2, dx=width / cols, y0=height / rows / 2, dy=height / rows,
            colorscale=COLORS, showscale=False, zsmooth="best", zmin=0,
            hovertemplate="%{z:.2%} of the fixations<extra></extra>",
        )
    )  # fmt: skip
    figure.add_layout_image(
        source=picture_uri(detail.pixels, LONGEST_SIDE_PX), xref="x", yref="y", x=0, y=0, sizex=width, sizey=height,
        sizing="stretch", layer="below",
    )  # fmt: skip
    hidden = {"visible": False, "fixedrange": True}
    figure.update_layout(
        **{**PLAIN, "margin": {"l": 0, "r": 0, "t": 0, "b": 0}},
        height=MAP_PX,
        xaxis={**hidden, "range": [0, width], "constrain": "domain"},
        yaxis={**hidden, "range": [height, 0], "scaleanchor": "x", "constrain": "domain"},
    )
    return figure


def picture_uri(pixels: Image.Image, longest_px: int) -> str:
    """An image as a data URI, made smaller where it is large."""
    small = pixels.copy()
    small.thumbnail((longest_px, longest_px))
    encoded = BytesIO()
    small.save(encoded, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(encoded.getvalue()).decode()
