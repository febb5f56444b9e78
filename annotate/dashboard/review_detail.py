"""One submission among the others of its image, and how it is shown: paths, tables, the map of fixations."""

from dataclasses import dataclass, replace

import numpy as np
import plotly.graph_objects as go
from PIL import Image

from annotate.dashboard.quality import FLOOR_NOTE, LEVEL_HEADS, Quality, level_row
from annotate.export.folder import submissions_of
from annotate.quality.agreement import Consensus, ImageAgreement, agreement, consensus, heat_map
from annotate.quality.assess import IDENTICAL, SubmissionQuality, assess_image, flag_identical, seconds_taken
from annotate.quality.scores import AGREEMENT_SCORES
from annotate.store.lookup import latest_audit
from annotate.store.model import AuditEntry, Stored, StoredImage, StoreError
from annotate.store.store import AnnotationStore
from annotate.votes import findings_in_words, first_of_each
from gazevlm_core.scanpath import Scanpath
from web.formatting import UNKNOWN, score, short_digest, short_name, when
from web.markup import Cell, Table, picture_uri
from web.plot_style import PLAIN
from web.viewer.payload import Role, ViewerPath, viewer_path

MOST_SCORED = 60  # submissions of one image: all their pairs are scored while somebody waits
ELSEWHERE, SEARCHED = 16, 64
MOST_HISTORY = 20
MAP_PX, LONGEST_SIDE_PX = 400, 640
COLORS = [[0.0, "rgba(253, 231, 37, 0)"], [0.25, "rgba(253, 180, 47, 0.45)"], [1.0, "rgba(220, 50, 32, 0.85)"]]
QUANTITIES = {"duration_s": "time", "fixations": "fixations", "sequence score": "agreement"}


@dataclass(frozen=True, eq=False)
class Detail:
    """A submission on its image."""

    image: StoredImage  # of the submission
    pixels: Image.Image  # of the image
    chosen: Stored  # the submission
    stored: list[Stored]  # all submissions on the image that are shown, by number, removed ones too
    quality: dict[str, SubmissionQuality]  # submission id -> what is known of it; removed ones are not scored
    agreement: ImageAgreement | None  # of the image; None where all are removed
    consensus: Consensus | None  # None where all are rejected or removed
    heat: np.ndarray  # share of the fixations around each place, float64 [rows, cols]
    total: int  # how many submissions the image has
    history: list[AuditEntry]  # what was done with the chosen one, the latest first


def detail_of(store: AnnotationStore, submission_id: str, quality: Quality | None) -> Detail:
    """Collect everything about a submission; of an image with more than MOST_SCORED ones, the latest of the others.

    Args:
        store: that holds it.
        submission_id: of it.
        quality: latest survey, which knows of identical paths on other images; None where there is none.

    Raises:
        StoreError: there is no such submission.
    """
    chosen = store.find(submission_id)
    if chosen is None:
        raise StoreError("The store has no such submission; choose another one.")
    image = store.image(chosen.image_sha256)
    every = submissions_of(store, image.sha256, include_removed=True)
    others = [one for one in every if one.number != chosen.number]
    shown = sorted([chosen, *others[-(MOST_SCORED - 1) :]], key=lambda one: one.number)
    kept = [one for one in shown if not one.removed]
    elsewhere = _elsewhere(store, image.sha256)
    rows = flag_identical(assess_image(kept, image.gold, gold_from=image.gold_from, elsewhere=elsewhere))
    return Detail(
        image=image,
        pixels=store.pixels(image.sha256),
        chosen=chosen,
        stored=shown,
        quality={row.submission_id: _with_copies(row, quality) for row in rows},
        agreement=agreement(kept, elsewhere=elsewhere) if kept else None,
        consensus=consensus(kept),
        heat=heat_map(kept),
        total=len(every),
        history=latest_audit(store, MOST_HISTORY, subject=submission_id),
    )


def _elsewhere(store: AnnotationStore, sha256: str) -> list[Scanpath]:
    """Return one path on each of some other images, for a floor."""
    found = {one.image_sha256: one.annotation.scanpath for one in store.stored(limit=SEARCHED)}
    return [path for image, path in found.items() if image != sha256][:ELSEWHERE]


def _with_copies(row: SubmissionQuality, quality: Quality | None) -> SubmissionQuality:
    """Add the flag of a path that was submitted on another image too, which the latest survey knows."""
    if quality is None or any(flag.name == IDENTICAL for flag in row.flags):
        return row
    known = next((one for one in quality.survey.submissions if one.submission_id == row.submission_id), None)
    copies = () if known is None else tuple(flag for flag in known.flags if flag.name == IDENTICAL)
    return replace(row, flags=row.flags + copies)


def paths_of(detail: Detail, *, everybody: bool) -> list[ViewerPath]:
    """Return the consensus, the chosen submission, and the other annotators' first paths where they are wanted."""
    paths, chosen, common = [], detail.chosen, detail.consensus
    is_common = common is not None and common.submission_id == chosen.annotation.submission_id
    if common is not None:
        name = f"Consensus of {common.annotators}" if common.score is not None else "The only path"
        if is_common:
            name += f", submission {chosen.number} itself"
        paths.append(viewer_path(common.scanpath, name, "model"))
    if not is_common:
        paths.append(_own_path(chosen, "reader"))
    if everybody:
        paths += [_own_path(one, "second model") for one in first_of_each(detail.stored) if one != chosen]
    return paths


def _own_path(one: Stored, role: Role) -> ViewerPath:
    return viewer_path(one.annotation.scanpath, f"{one.number}: {one.annotation.annotator}", role)


def headline(detail: Detail) -> str:
    """Describe what is shown, in one sentence."""
    one = detail.chosen
    state = "removed" if one.removed else one.verdict
    reason = f" ({one.reason})" if one.reason else ""
    common = detail.consensus
    is_common = common is not None and common.submission_id == one.annotation.submission_id and common.annotators > 1
    also = " It is the consensus path itself." if is_common else ""
    return (
        f"Submission {one.number} by {one.annotation.annotator} on {short_name(detail.image.name)} "
        f"({short_digest(detail.image.sha256)}): {state}{reason}.{also}"
    )


def choice_of(one: Stored) -> tuple[str, str]:
    """Return a submission's label and id, for a list."""
    state = "removed" if one.removed else one.verdict
    return f"{one.number}, {one.annotation.annotator}, {state}", one.annotation.submission_id


def submission_table(detail: Detail) -> Table:
    """Return a row per submission on the image."""
    heads = (
        "submission", "kind", "mode", "time", "fixations", "agreement with others", "gold score", "self-consistency",
        "verdict", "reason", "to check",
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
    """Return findings, report and confidence, and the submission's history."""
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
    """Return the agreement on the image beside floors."""
    found, common = detail.agreement, detail.consensus
    rows = [level_row(name, found.levels[name]) for name in AGREEMENT_SCORES] if found and found.pairs else []
    notes = [FLOOR_NOTE] if rows else ["One annotator alone agrees with nobody: there is nothing to compare yet."]
    if common is not None:
        notes.append(f"Consensus: {common.how}.")
    return Table("Agreement on this image", LEVEL_HEADS, rows, notes)


def heat_figure(detail: Detail) -> go.Figure | None:
    """Plot the map of fixations over the image; None where nothing counts."""
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
