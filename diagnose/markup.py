"""The HTML of the Diagnose tab: badges, titles and tables. Everything from outside is escaped."""

from collections.abc import Mapping, Sequence
from html import escape

from diagnose.examples import EXAMPLES, example_phantom, example_report
from diagnose.scores import CheckpointScores
from diagnose.shown import Exchange
from gazevlm_core.records import Diagnosis
from gazevlm_core.report_parser import Claim, claims_of
from gazevlm_core.zones import zone_dwells
from web.markup import note

CLAIMS_NOTE = "Named in the answer, with the probability that the model's finding head gives:"


def badges(facts: Mapping[str, str]) -> str:
    """What answers, in a row of short facts, e.g. {"model": "gazevlm-nano"}."""
    items = "".join(f"<li><span>{escape(name)}</span> {escape(fact)}</li>" for name, fact in facts.items())
    return f'<ul class="gaze-badges" aria-label="What answers">{items}</ul>'


def title(text: str) -> str:
    """What a result is called beside another one."""
    return f'<div class="gaze-title" role="heading" aria-level="2">{escape(text)}</div>'


def history(exchanges: Sequence[Exchange]) -> str:
    """Earlier questions about the image with their answers, the latest first; nothing where there is none."""
    if not exchanges:
        return ""
    items = "".join(
        f"<li><b>{escape(exchange.question)}</b> {escape(exchange.answer)}</li>" for exchange in reversed(exchanges)
    )
    return (
        f'<details class="gaze-history"><summary>Asked before about this image ({len(exchanges)})</summary>'
        f"<ul>{items}</ul></details>"
    )


def fixation_table(diagnosis: Diagnosis) -> str:
    """Order, position, patch, probability and dwell of each fixation; nothing where there is no path."""
    records = diagnosis.to_dict()["scanpath"]
    if records is None:
        return ""
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


def warning(diagnosis: Diagnosis) -> str:
    """What must be known before the answer is read; nothing where there is nothing to say."""
    return alert(diagnosis.notes)


def alert(sentences: Sequence[str]) -> str:
    """Sentences that must be seen, in a box; nothing where there are none."""
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


def zone_table(diagnosis: Diagnosis) -> str:
    """Fixations and dwell in each third of the image; nothing where there is no path."""
    if diagnosis.scanpath is None:
        return ""
    rows = "".join(
        f"<tr><td>{zone.zone}</td><td>{zone.fixations}</td><td>{_dwell(zone.dwell_ms)}</td><td>{zone.share:.0%}</td></tr>"
        for zone in zone_dwells(diagnosis.scanpath.fixations)
    )
    heads = "".join(f'<th scope="col">{head}</th>' for head in ("zone", "fixations", "dwell&nbsp;ms", "share"))
    return (
        '<table class="gaze-table"><caption>Thirds of the image, with the patient&rsquo;s sides</caption>'
        f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    )


def truth(example: int) -> str:
    """What was drawn into an example: each finding with side, zone and severity, and a perfect report."""
    findings = example_phantom(example).findings
    rows = "".join(
        f"<tr><td>{escape(found.detail or found.name)}</td><td>{found.side}</td><td>{found.zone}</td>"
        f"<td>{found.grade} ({found.severity:.2f})</td></tr>"
        for found in findings
    )
    heads = "".join(f'<th scope="col">{head}</th>' for head in ("finding", "side", "zone", "severity"))
    table = f'<table class="gaze-table"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>' if rows else ""
    caption = f"<p><b>Drawn:</b> {escape(EXAMPLES[example].caption)}.</p>"
    return f"{caption}{table}<p><b>A perfect report:</b> {escape(example_report(example))}</p>"


def chart_note(scores: CheckpointScores | None) -> str:
    """How to read the chart of the findings."""
    words = "This model was not scored, so how far its probabilities can be trusted is unknown."
    if scores is not None:
        words = (
            f"In brackets: AUROC on {scores.scored_on}; 0.50 is chance. The line: how often the finding is there, "
            "which is what a guess without looking would say."
        )
    return note(words)
