"""What a drawn finding is: one object that holds how it is drawn, how often and where it occurs, and its words.

The objects stand beside their drawing code in `phantoms.findings`; see docs/how-to/add-a-finding.md.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from gazevlm_core.findings import Grade, Side
from phantoms.case import FindingSpec
from phantoms.scene import Scene, Shadow

Adjectives = Mapping[Grade, tuple[str, ...]]
Draw = Callable[[Scene, FindingSpec, np.random.Generator], Shadow]
# (side drawn by chance, kind, findings placed before, chance) -> side
ChooseSide = Callable[[Side, str, Sequence[FindingSpec], np.random.Generator], Side]

EXTENT: Adjectives = {"subtle": ("subtle", "faint"), "moderate": ("moderate",), "severe": ("severe", "extensive")}
SIZE: Adjectives = {"subtle": ("small", "subtle"), "moderate": ("moderate",), "severe": ("large",)}
DEGREE: Adjectives = {"subtle": ("mild",), "moderate": ("moderate",), "severe": ("severe", "marked")}


@dataclass(frozen=True, slots=True)
class Wording:
    """How reports put a finding into words.

    Args:
        nouns: what it is called; the first is the usual one.
        adjectives: by grade; empty where reports leave the grade out.
        countable: it takes an article, and a plural on both sides.
        plurals: of nouns that do not just take an "s".
        zone_spoken: reports name its zone.
        zone_of_lung: "upper", "mid" and "lower" are called zones of the lung.
        seen: put behind it instead of "is seen", e.g. "in place".
    """

    nouns: tuple[str, ...]
    adjectives: Adjectives
    countable: bool = False
    plurals: Mapping[str, str] = field(default_factory=dict)
    zone_spoken: bool = True
    zone_of_lung: bool = True
    seen: str = ""

    def plural(self, noun: str) -> str:
        """Return the plural of a noun."""
        return self.plurals.get(noun, f"{noun}s")


@dataclass(frozen=True, slots=True)
class ShapeChange:
    """What a finding does to the patient's shape, so that every shadow follows.

    Args:
        heart_ratio: cardiothoracic ratio of at least this much.
        widening: of the upper mediastinum, in [0, 1].
        shift_mm: of heart and mediastinum towards the patient's left.
        raised_mm: how far the diaphragm is raised, by side sign (-1 the patient's right).
        congestion: how far the vessels of the lung swell, in [0, 1].
    """

    heart_ratio: float = 0.0
    widening: float = 0.0
    shift_mm: float = 0.0
    raised_mm: Mapping[float, float] = field(default_factory=dict)
    congestion: float = 0.0


@dataclass(frozen=True)
class DrawnFinding:
    """One finding that phantoms can have.

    Args:
        name: as in `gazevlm_core.findings.VOCABULARY`.
        draw: makes its shadow.
        wording: how reports put it.
        zones: where it occurs, each equally often.
        odds: of being the next finding, relative to the others, by domain; a held-out finding needs none.
        affinities: odds of another finding given this one, by name, relative to chance; 1 where neither names the
            other. They are symmetric: only one of two findings names the other.
        midline: it has no side.
        share_both: how often it is on both sides.
        hides_others: it would hide another such finding in the same lung, and takes a free one where there is one.
        kinds: kinds in a report's words, with their shares.
        choose_side: the side where it depends on the kind or on earlier findings.
        shape: what it does to the patient's shape.
        bedside: who has it severely is more often imaged at the bedside.
        alarm: how strongly it draws a reader's eye beside its severity.
        of_heart: beside it no report calls the heart's size normal.
        denied: rank among the findings whose absence a report mentions; 0 for never.
    """

    name: str
    draw: Draw
    wording: Wording
    zones: tuple[str, ...]
    odds: Mapping[str, float] = field(default_factory=dict)
    affinities: Mapping[str, float] = field(default_factory=dict)
    midline: bool = False
    share_both: float = 0.0
    hides_others: bool = False
    kinds: Mapping[str, float] = field(default_factory=dict)
    choose_side: ChooseSide | None = None
    shape: Callable[[FindingSpec], ShapeChange] = lambda spec: ShapeChange()
    bedside: bool = False
    alarm: float = 0.0
    of_heart: bool = False
    denied: int = 0


def push_mm(spec: FindingSpec, strength_mm: float, above: float) -> float:
    """Return the shift of the mediastinum towards the side of a one-sided finding that is severer than `above`."""
    if spec.side not in ("left", "right"):
        return 0.0
    return spec.signs[0] * strength_mm * max(spec.severity - above, 0.0)
