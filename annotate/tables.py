"""Statistics of a store as text."""

from collections.abc import Mapping, Sequence

from annotate.quality.scores import FLOORS
from annotate.quality.survey import HEADS, Survey


def render_stats(counts: Mapping[str, int], found: Survey) -> str:
    """Counts, agreement beside floors, and a row per annotator."""
    lines = [", ".join(f"{name.replace('_', ' ')} {count}" for name, count in counts.items()), ""]
    pairs = sum(image.pairs > 0 for image in found.images)
    lines.append(f"agreement on {pairs} images with at least two annotators (sequence score on 8 x 8 patches):")
    rows = [("score", "order", "annotators", *(f"floor: {floor}" for floor in FLOORS))]
    for name, level in found.levels.items():
        floors = [_cell(level.floors[floor]) for floor in FLOORS]
        rows.append((name, level.order, _cell(level.value), *floors))
    lines += [*_table(rows), ""]
    lines += _table([HEADS, *(tuple(_cell(value) for value in one.row()) for one in found.annotators)])
    flags: dict[str, int] = {}
    for one in found.annotators:
        for name, count in one.flags.items():
            flags[name] = flags.get(name, 0) + count
    if flags:
        lines += ["", "flags: " + ", ".join(f"{name} {count}" for name, count in sorted(flags.items()))]
    return "\n".join(lines)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
