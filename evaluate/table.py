"""The scores as plain-text tables: one column per model, floors below what they belong to, then the bars."""

from collections.abc import Mapping, Sequence
from typing import Any

Values = Mapping[str, Any]
ROLES = {
    "model": "",
    "short": "ordered, as short",
    "no-gaze": "without gaze supervision",
    "plain": "plain placeholders",
}


def cell(values: Values | None, digits: int = 3) -> str:
    """"0.912 [0.900, 0.924]", or a dash where nothing was measured."""
    if not values or values.get("value") is None:
        return "-"
    interval = values.get("interval")
    text = f"{values['value']:.{digits}f}"
    return text if interval is None else f"{text} [{interval[0]:.{digits}f}, {interval[1]:.{digits}f}]"


def _dig(values: Values, path: Sequence[str]) -> Any:  # noqa: ANN401 (JSON values)
    """The value under nested keys; None where a level is missing or untrained."""
    found: Any = values
    for key in path:
        if not isinstance(found, Mapping) or key not in found:
            return None
        found = found[key]
    return found


def score_rows(scores: Values) -> list[tuple[str, tuple[str, ...]]]:
    """(label, path of keys) of every row, floors included, as the first model has them."""
    first = next(iter(scores.values()))
    rows: list[tuple[str, tuple[str, ...]]] = []

    def add(label: str, *path: str) -> None:
        rows.append((label, path))

    def add_floors(*path: str, leaf: tuple[str, ...] = ()) -> None:
        for floor in _dig(first, path) or {}:
            add(f"  floor: {floor}", *path, floor, *leaf)

    for source, words in (("finding_head", "finding head"), ("answer_text", "answer text")):
        for subset, which in (("all_severities", "all severities"), ("moderate_or_worse", "moderate or worse")):
            add(f"macro AUROC, {words}, {which}", source, subset, "macro")
            if subset == "all_severities":
                for name in _dig(first, (source, subset, "per_finding")) or {}:
                    add(f"  {name}", source, subset, "per_finding", name)
        add_floors(source, "moderate_or_worse", "floors")
    report = ("report", "moderate_or_worse")
    for name, words in (("f1", "micro F1"), ("precision", "precision"), ("recall", "recall")):
        add(f"report, findings named, {words}", *report, name)
    add_floors(*report, "floors", leaf=("f1",))
    add("report, right sides among those named", "report", "sides")
    add_floors("report", "sides", "floors")
    path = ("scanpath", "sequence_score")
    add("scanpath, sequence score", *path)
    add("  ceiling: second reading by the same reader", *path, "ceiling_same_reader")
    add("  another reader of the same image", *path, "other_reader")
    add("  share of the ceiling", *path, "share_of_ceiling")
    add_floors(*path, "floors")
    add("  gain of its order over shuffling", *path, "order_gain")
    add("scanpath, step alone: modal patch hits", "scanpath", "step_only", "modal_patch_hits")
    add("scanpath, its patch at the same step hits", "scanpath", "step_only", "model_path_hits")
    for key, words in (("nss", "NSS (chance 0)"), ("information_gain_bits", "information gain over uniform (bits)")):
        add(f"scanpath, conditional {words}", "scanpath", "conditional", key)
        add_floors("scanpath", "conditional", key, "floors")
    add("stop within 2 fixations", "scanpath", "stop", "within_2_fixations")
    add_floors("scanpath", "stop", "within_2_fixations", "floors")
    add("median length difference (fixations)", "scanpath", "stop", "median_length_difference")
    add("dwell, median predicted / true", "scanpath", "dwell", "median_ratio")
    add("dwell, correlation of log durations", "scanpath", "dwell", "log_correlation")
    return rows


def table_cells(results: Values) -> tuple[list[str], list[list[str]]]:
    """Column heads and rows of text, the label first in each; an interval that touches the model's is marked "*"."""
    scores = results["scores"]
    heads = ["score [95% interval]", *(ROLES[role] or results["model"] for role in scores)]
    rows = []
    for label, path in score_rows(scores):
        row = [label]
        for model in scores.values():
            if path[0] == "scanpath" and model["scanpath"] == "untrained":
                row.append("untrained" if path == ("scanpath", "sequence_score") else "")
                continue
            text = cell(_dig(model, path))
            holder = _dig(model, path[: path.index("floors") + 2]) if "floors" in path else {}
            row.append(f"{text} *" if holder and holder["interval_touches_the_models"] else text)
        rows.append(row)
    return heads, rows


def bar_rows(results: Values) -> list[list[str]]:
    """Verdict, bar and value of each bar."""
    verdicts = {True: "met", False: "MISSED", None: "not measured"}
    return [[verdicts[bar["met"]], bar["bar"], cell(bar)] for bar in results["bars"]]


def quantisation_rows(results: Values) -> list[list[str]]:
    """What quantisation cost, or that it was not measured."""
    cost = results["quantisation"]
    if cost is None:
        return [["cost of quantisation", "not measured (give --reference)"]]
    return [
        ["AUROC lost, finding head", cell(cost["head_auroc_loss"], 4)],
        ["AUROC lost, answer text", cell(cost["answer_text_auroc_loss"], 4)],
        ["sequence score lost", cell(cost["sequence_score_loss"], 4)],
    ]


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows as lines whose columns stand below each other."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def render_tables(results: Values) -> str:
    """Everything for a terminal."""
    heads, rows = table_cells(results)
    first, last = results["phantom_seeds"]
    what = f"{results['n']} phantoms of domain {results['domain']} (seeds {first} to {last}), {results['model']}"
    if results["adapter"]:
        what += f" with adapter {results['adapter']}"
    skipped = _dig(next(iter(results["scores"].values())), ("answer_text", "all_severities", "skipped"))
    notes = ["* the floor's interval touches the model's"]
    if skipped:
        notes.append(f"AUROC is undefined, one class only: {', '.join(skipped)}")
    return "\n\n".join(
        [
            f"{what}; intervals from {results['resamples']} resamples of images; {results['seconds']:.0f} s",
            aligned([heads, *rows]),
            "\n".join(notes),
            aligned(quantisation_rows(results)),
            "Bars\n" + aligned(bar_rows(results)),
        ]
    )
