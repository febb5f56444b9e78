"""Scores on a real data set as plain text: findings, then scanpaths, each beside its floors."""

from collections.abc import Mapping
from typing import Any

from evaluate.datasets.labels import HEAD, TEXT
from evaluate.score_command import render_scores
from evaluate.table import aligned, cell

Values = Mapping[str, Any]
UNKNOWN = (
    "what the adapter was trained on cannot be known, since its provenance does not tell: these images may be among it"
)
SOURCES = {HEAD: "finding head", TEXT: "answer text"}
_FINDING_HEADS = ("finding", "positive", "AUROC (floor 0.5)", "AUPRC", "floor", "F1", "floor", "calibration error")
STEPS = {
    "nss": "conditional NSS of the model (chance 0)",
    "histogram_nss": "  floor: most frequent places of each step, training set",
    "bits": "conditional information gain over uniform, bits per fixation",
    "histogram_bits": "  floor: most frequent places of each step, training set",
}


def render_dataset(results: Values) -> str:
    """Everything for a terminal."""
    parts = [_heading(results)]
    for source, words in SOURCES.items():
        scores = results["scores"][source]
        parts.append(f"{words}: knows no finding of this data set" if scores is None else _findings(scores, words))
    scanpath = results["scores"]["scanpath"]
    if isinstance(scanpath, str):
        parts.append(f"scanpath: {scanpath}")
    else:
        parts.append(render_scores(scanpath))
        if scanpath["steps"]:
            parts.append("\n".join(f"{words:64} {cell(scanpath['steps'][name])}" for name, words in STEPS.items()))
    return "\n\n".join(parts)


def _heading(results: Values) -> str:
    what = (
        f"{results['records']} records of {results['dataset']}, split {results['split']} ({results['images']} images "
        f"of {results['patients']} patients), {results['model']}"
    )
    if results["adapter"]:
        what += f" with adapter {results['adapter']}"
    dropped = ", ".join(f"{reason} {number}" for reason, number in results["dropped"].items()) or "nothing"
    notes = [f"split: {results['split_note']}"] if results["split_note"] else []
    learned = results["trained_on_left_out"]
    if learned is None:
        notes.append(UNKNOWN)
    elif learned:
        notes.append(f"left out, since the adapter was trained on their patients or pictures: {learned} records")
    if results["unreadable"]:
        notes.append(f"cannot be read: {'; '.join(results['unreadable'])}")
    return (
        f"{what}; intervals from {results['resamples']} resamples of patients; {results['seconds']:.0f} s\n"
        f"dropped: {dropped}\n"
        f"thresholds of F1 from {results['validation_records']} records of the validation split"
        + "".join(f"\n{note}" for note in notes)
    )


def _finding_rows(scores: Values) -> list[tuple[str, ...]]:
    """A row of words per finding, under _FINDING_HEADS."""
    return [
        (
            name,
            f"{values['positive']} of {values['images']}",
            cell(values["auroc"]),
            cell(values["auprc"]),
            f"{values['auprc']['floor']:.3f}",
            cell(values["f1"]),
            "-" if values["f1"] is None else f"{values['f1']['floor']:.3f}",
            cell(values["calibration_error"]),
        )
        for name, values in scores["findings"].items()
    ]


def _findings(scores: Values, words: str) -> str:
    overall = f"macro AUROC {cell(scores['macro_auroc'])}; all labels pooled {cell(scores['micro_auroc'])}"
    lines = [aligned([(words, *_FINDING_HEADS[1:]), *_finding_rows(scores)]), overall]
    if scores["one_class_only"]:
        lines.append(f"AUROC is undefined, one class only: {', '.join(scores['one_class_only'])}")
    return "\n".join(lines)
