"""An adapter's provenance for people to read."""

from collections.abc import Mapping, Sequence
from typing import Any

from finetune.records import Measure, RecordError, gain_words, measures_of

DIGITS = 12  # of a fingerprint


def provenance_lines(values: Mapping[str, Any]) -> list[str]:
    """What an adapter was made of, how it scored, and the verdict.

    Args:
        values: from `finetune.records.read_provenance`.

    Raises:
        RecordError: not as a training writes it.
    """
    try:
        base, data, split, training = (values[name] for name in ("base", "data", "split", "training"))
        revision = f" at {base['revision'][:DIGITS]}" if base["revision"] else ""
        sets = [f"{one['name']} ({one['readings']} scanpaths on {one['images']} images)" for one in data["datasets"]]
        facts = {
            "adapter": values["name"],
            "made": values["made_at"],
            "base": f"{base['model_id']}{revision}, fingerprint {base['fingerprint'][:DIGITS]}",
            "data": f"{', '.join(sets)}, fingerprint {data['fingerprint'][:DIGITS]}",
            "images": f"{len(split['train'])} learned from, {len(split['held_out'])} held out",
            "annotations": f"{len(values['annotations'])} with digests",
            "training": f"{training['steps']} steps, {training['seconds']:.0f} s on {training['device']}",
            "seed": values["seed"],
        }
        width = max(map(len, facts))
        lines = [f"{name:{width}}  {fact}" for name, fact in facts.items()]
        lines += ["", *measure_lines(measures_of(values["measures"])), "", f"verdict: {values['verdict']['why']}"]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, RecordError):
            raise
        raise RecordError(f"provenance is not as a training writes it ({type(error).__name__}: {error})") from None
    return [_printable(line) for line in lines]


def measure_lines(measures: Sequence[Measure]) -> list[str]:
    """A table of held-out figures: adapter, base, gain with its interval, floors."""
    rows = [("held out", "adapter", "base", "gain", "floors")]
    for one in measures:
        unit = f" ({one.unit})" if one.unit else ""
        floors = ", ".join(f"{name} {value:.3f}" for name, value in one.floors.items())
        rows.append((one.name + unit, _number(one.value), _number(one.base), gain_words(one.gain), floors))
    width, wide = (max(len(row[column]) for row in rows) for column in (0, 3))
    return [
        f"{name:{width}}  {value:>8}  {base:>8}  {gain:{wide}}  {floors}".rstrip()
        for name, value, base, gain, floors in rows
    ]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _printable(line: str) -> str:
    """Without control characters: an adapter may come from anybody."""
    return "".join(character if character.isprintable() else " " for character in line)
