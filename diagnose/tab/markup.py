"""What the Diagnose tab shows of a diagnosis as HTML and as charts. Everything from outside is escaped."""

from collections.abc import Collection, Mapping, Sequence
from html import escape

from diagnose.record import VERDICT
from diagnose.service import EXAMPLES, example_phantom
from diagnose.tab.answer import Side
from gazevlm_core.path_style import MODEL, Color, is_light, order_colors
from gazevlm_core.records import Diagnosis, is_strange
from gazevlm_core.report_parser import Claim, claims_of
from gazevlm_core.scanpath import Scanpath
from gazevlm_core.zones import zone_dwells
from phantoms.report import write_report
from web.formatting import whole_ms
from web.markup import note, small_table

CLAIMS_NOTE = "Named in the answer, with the probability that the model's finding head gives:"
EVIDENCE_NOTE = (
    "How much each fixation that was seen closely counted for the probability of a finding, and its part of the "
    "attention while a sentence was written: attention, and no proof"
)


def badges(facts: Mapping[str, str]) -> str:
    """Return what answers as a row of short facts, e.g. {"model": "gazevlm-nano"}."""
    items = "".join(f"<li><span>{escape(name)}</span> {escape(fact)}</li>" for name, fact in facts.items())
    listed = f'<ul class="gaze-badges" aria-label="What answers">{items}</ul>'
    return folded("About this model", listed)


def folded(summary: str, inner: str) -> str:
    """Return HTML that is shown when its summary is pressed."""
    return f'<details class="gaze-fold"><summary>{escape(summary)}</summary>{inner}</details>'


def chips(offered: Mapping[str, str]) -> str:
    """Return buttons, each a preset -> what it says."""
    buttons = "".join(
        f'<button type="button" data-preset="{escape(preset)}" title="{escape(preset)}">{escape(words)}</button>'
        for preset, words in offered.items()
    )
    return f'<div class="gaze-chips" role="group" aria-label="Questions that this model knows">{buttons}</div>'


def asked(question: str, model: str) -> str:
    """Return the heading of an answer: the question, and what answered it."""
    return f'<p class="gaze-asked"><b>{escape(question)}</b> <span>{escape(model)}</span></p>'


def title(text: str) -> str:
    """Return the title of a result beside another one."""
    return f'<div class="gaze-title" role="heading" aria-level="2">{escape(text)}</div>'


def tables(diagnosis: Diagnosis, palette: Sequence[Color] = MODEL.colors, name: str = "scanpath") -> str:
    """Return a path as tables: its fixations, its regions, and what each look counted for; "" without a path.

    Args:
        diagnosis: with its path.
        palette: colours of the path in the viewer.
        name: id of the fixations in the page.
    """
    if diagnosis.scanpath is None:
        return ""
    looked = f'<div id="{name}">{fixation_table(diagnosis)}</div>'
    return dwell_bar(diagnosis.scanpath, palette) + looked + zone_table(diagnosis.scanpath) + evidence(diagnosis)


def details(titles: Sequence[str], tables: Sequence[str]) -> str:
    """Return the tables of one result, or of several below each other, in one fold; "" where there are none.

    Args:
        titles: of the results.
        tables: of each, as HTML.
    """
    named = ((title(name) if name else "") + one for name, one in zip(titles, tables, strict=True) if one)
    inner = "".join(f'<div class="gaze-details">{one}</div>' for one in named)
    return folded("Details", inner) if inner else ""


def fixation_table(diagnosis: Diagnosis) -> str:
    """Return order, position, patch, probability and dwell of each fixation."""
    rows = [
        (str(order), f"{one['x']:.3f}", f"{one['y']:.3f}", str(one["patch_index"]), f"{one['probability']:.2f}",
         whole_ms(one["duration_ms"]))
        for order, one in enumerate(diagnosis.to_dict()["scanpath"], start=1)
    ]  # fmt: skip
    size = f"{diagnosis.grid.rows} \N{MULTIPLICATION SIGN} {diagnosis.grid.cols}"
    caption = f"Scanpath on a grid of {size} patches; x and y are fractions of the image"
    return small_table(("#", "x", "y", "patch", "prob.", "dwell\N{NO-BREAK SPACE}ms"), rows, caption)


def zone_table(scanpath: Scanpath) -> str:
    """Return fixations and dwell in each third of the image."""
    rows = [
        (zone.zone, str(zone.fixations), whole_ms(zone.dwell_ms), f"{zone.share:.0%}")
        for zone in zone_dwells(scanpath.fixations)
    ]
    heads = ("zone", "fixations", "dwell\N{NO-BREAK SPACE}ms", "share")
    caption = "Thirds of the image, with the patient\N{RIGHT SINGLE QUOTATION MARK}s sides"
    return small_table(heads, rows, caption)


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


def warning(diagnosis: Diagnosis, elsewhere: Collection[str] = ()) -> str:
    """Return the notes that must be known before the answer is read; "" where there are none.

    Of an image unlike those of the training it is a verdict, and page.css hides path, words and bars until a box in it
    is ticked.

    Args:
        diagnosis: with its notes.
        elsewhere: those of them that stand elsewhere on the page.
    """
    notes = [one for one in diagnosis.notes if one not in elsewhere]
    if not is_strange(diagnosis.ood_score):
        return alert(notes)
    why = folded("Why", "".join(f"<p>{escape(one)}</p>" for one in notes))
    box = '<label><input type="checkbox" class="gaze-anyway"> Show path, words and bars anyway</label>'
    return f'<div class="gaze-warning gaze-strange" role="alert"><p><b>{VERDICT}</b></p>{box}{why}</div>'


def alert(sentences: Sequence[str]) -> str:
    """Return sentences in a warning box; "" where there are none."""
    words = "".join(f"<p>{escape(one)}</p>" for one in sentences)
    return f'<div class="gaze-warning" role="alert">{words}</div>' if words else ""


def claims(diagnosis: Diagnosis) -> str:
    """Return findings that the answer affirms or denies, each with its probability, and which of them contradict each
    other; nothing where the answer names none."""
    items = "".join(map(_claim, claims_of(diagnosis)))
    if not items:
        return ""
    listed = f'<ul aria-label="Findings that the answer names">{items}</ul>'
    return f'<div class="gaze-claims">{note(CLAIMS_NOTE)}{listed}</div>'


def _claim(claim: Claim) -> str:
    """Return, e.g., "no edema: 0.91, contradicts the words"."""
    words = f"{'' if claim.affirmed else 'no '}{claim.finding}: "
    words += "unknown" if claim.probability is None else f"{claim.probability:.2f}"
    if claim.agrees is not False:
        return f"<li>{escape(words)}</li>"
    return f'<li class="gaze-clash">{escape(words)}, contradicts the words</li>'


def chart_note(sides: Sequence[Side]) -> str:
    """Return how to read the bars of the findings."""
    scored = [side.scores.scored_on if side.scores else None for side in sides]
    if not any(scored):
        which, whose = ("this model", "its") if len(sides) == 1 else ("these models", "their")
        return note(
            f"Nobody measured {which} on enough images, so how far {whose} numbers can be trusted is unknown."
        )
    where = [f"measured on {one}" if one else "not measured on enough images" for one in scored]
    if len(set(where)) > 1:
        where = [f"{side.title} {one}" for side, one in zip(sides, where, strict=True)]
    return note(f"Beside each bar: how far it can be trusted, {' and '.join(dict.fromkeys(where))}. "
                "Point at it for more.")


def dwell_bar(scanpath: Scanpath, palette: Sequence[Color] = MODEL.colors) -> str:
    """Return one bar cut into the fixations, each as long as its dwell; "" where a dwell is unknown.

    Args:
        scanpath: N fixations.
        palette: colours of the path in the viewer.
    """
    known = [fixation.duration_ms for fixation in scanpath if fixation.duration_ms is not None]
    if len(known) < len(scanpath):
        return ""
    cuts = "".join(
        f'<li style="flex-grow: {duration:.0f}; background: rgb{color}; color: {_ink(color)}" '
        f'title="Fixation {step}: {duration:.0f} ms">{step}</li>'
        for step, (duration, color) in enumerate(zip(known, order_colors(len(known), palette), strict=True), start=1)
    )
    return f'<ol class="gaze-dwell" aria-label="Dwell of each fixation">{cuts}</ol>'


def _ink(ground: Color) -> str:
    """Return what can be read on a colour."""
    return "black" if is_light(ground) else "white"
