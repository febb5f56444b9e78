"""Which findings, on which sides, a free text asserts: scores generated reports, however garbled they are."""

import re

_SYNONYMS: dict[str, str] = {
    "enlarged cardiomediastinum": r"(?:enlarged|enlargement of the) (?:cardio)?mediastinum"
    r"|mediastinal (?:widening|enlargement)|wid(?:e|ened) (?:cardio)?mediastinum",
    "cardiomegaly": r"cardiomegaly|cardiac enlargement|enlarged (?:heart|cardiac silhouette)",
    "lung opacity": r"opacit(?:y|ies)|opacification",
    "lung lesion": r"(?:lung )?lesions?|nodules?|mass(?:es)?",
    "edema": r"o?edema",
    "consolidation": r"consolidations?",
    "atelectasis": r"atelectas[ei]s|volume loss|collapse",
    "pneumothorax": r"pneumothorax(?:es)?|pneumothoraces",
    "pleural effusion": r"effusions?|pleural fluid",
    "fracture": r"fractures?",
    "support devices": r"(?:support )?devices?|catheters?|pacemakers?|tubes?|drains?|lines?|leads?|ports?|wires?",
    "hiatal hernia": r"hiat(?:al|us) hernias?",
}
PARSED_NAMES: tuple[str, ...] = tuple(_SYNONYMS)
_SIDE_OF_WORD = {"left": "left", "right": "right", "both": "both", "bilateral": "both", "midline": "midline"}
_NEGATION_BEFORE = r"no|not|without|negative for|free of|nor"
_NEGATION_AFTER = r"(?:is |are |was |were )?(?:not|absent|excluded|ruled out|resolved)"
_TOKEN = re.compile(
    "|".join(f"(?P<finding_{number}>\\b(?:{words})\\b)" for number, words in enumerate(_SYNONYMS.values()))
    + rf"|(?P<side>\b(?:{'|'.join(_SIDE_OF_WORD)})\b)"
    + rf"|(?P<after>\b(?:{_NEGATION_AFTER})\b)"
    + rf"|(?P<before>\b(?:{_NEGATION_BEFORE})\b)"
    + r"|(?P<turn>\b(?:with|but|however)\b)"
    + r"|(?P<comma>,)"
)


class _Clause:
    """Findings and sides named since the last clause boundary of a sentence."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.sides: set[str] = set()

    def close(self, found: dict[str, set[str]], *, negated: bool) -> None:
        """Hand the clause's findings over, unless they are negated, and start afresh."""
        if not negated:
            for name in self.names:
                found.setdefault(name, set()).update(self.sides)
        self.names, self.sides = [], set()


def _parse_sentence(sentence: str, found: dict[str, set[str]]) -> None:
    clause = _Clause()
    negated = False  # carries over "," and "or" ("no A, B or C"), ends at "with" and "but"
    for token in _TOKEN.finditer(sentence):
        kind = str(token.lastgroup)
        if kind == "side":
            clause.sides.add(_SIDE_OF_WORD[token.group()])
        elif kind.startswith("finding"):
            clause.names.append(PARSED_NAMES[int(kind.removeprefix("finding_"))])
        elif kind == "after" and clause.names:  # "effusion is absent"
            clause.close(found, negated=True)
        elif kind in ("before", "after"):
            clause.close(found, negated=negated)
            negated = True
        else:
            clause.close(found, negated=negated)
            negated = negated and kind == "comma"
    clause.close(found, negated=negated)


def parse_report(text: str) -> dict[str, set[str]]:
    """Findings that a text asserts, with the sides it names for each.

    A side counts for the findings of its clause; clauses end at full stops, commas, "with" and "but".

    Args:
        text: any text, garbled or empty; nothing raises.

    Returns:
        Finding name -> a set of "left", "right", "both", "midline", empty where no side is named. Negated findings
        ("no ...", "without ...", "no evidence of ...", "... is absent") are left out.
    """
    found: dict[str, set[str]] = {}
    for sentence in re.split(r"[.;:\n!?]", text.lower()):
        _parse_sentence(sentence, found)
    return found
