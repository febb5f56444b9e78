"""Which findings, on which sides, a free text asserts or denies: scores generated reports, however garbled they are.

An answer's words and the probabilities beside it come from different parts of the model, and may contradict each other:
`claims_of` puts them side by side.
"""

import re
from dataclasses import dataclass

from gazevlm_core.findings import VOCABULARY
from gazevlm_core.records import Diagnosis
from gazevlm_core.words import CUT_SHORT, STOPPED_NOTE, whole_sentences

PARSED_NAMES: tuple[str, ...] = tuple(term.name for term in VOCABULARY)
_LUNG_NAMES = tuple(term.name for term in VOCABULARY if term.in_lung)
# Words that deny findings without naming them.
_NORMAL: dict[re.Pattern[str], tuple[str, ...]] = {
    re.compile(r"\bheart (?:size )?(?:is|and mediastinum are) normal\b"): ("cardiomegaly",),
    re.compile(r"\bmediastinum (?:is|are) normal\b"): ("enlarged cardiomediastinum",),
    re.compile(r"\blungs are clear\b(?! of\b)|\bclear lungs\b"): _LUNG_NAMES,
    re.compile(r"\bnormal chest radiograph\b"): tuple(term.name for term in VOCABULARY if term.abnormal),
}
_ASKED = re.compile(r"\s*(?:is|are) there (?:an? |any )?(?P<name>.+?)\s*\?*\s*", re.IGNORECASE)
_VERDICT = re.compile(r"\W*(?P<word>yes|no)\b(?P<noun>\s+(?!there\b)\w[^.;:\n!?]*)?", re.IGNORECASE)
_SIDE_OF_WORD = {"left": "left", "right": "right", "both": "both", "bilateral": "both", "midline": "midline"}
_NEGATION_BEFORE = r"no|not|without|negative for|free of|clear of|(?:absence|lack|resolution) of|neither|nor"
_NEGATION_AFTER = (
    r"(?:(?:is|are|was|were) )?(?:not|no longer|absent|excluded|ruled out|resolved|gone|unlikely)"
    r"|(?:is|are|was|were|does|do)n't"
)
# What would read as a denial and is none: it leaves a finding as it is, or open.
_WITHHELD = r"(?:(?:is|are|was|were|has|have) )?not (?:yet |fully |completely |entirely )?"
_NO_NEGATION = rf"no (?:\w+ )?(?:change|increase|decrease)|{_WITHHELD}(?:been )?(?:resolved|cleared)|not only"
_CANNOT = r"(?:(?:is|are|was|were|has|have) )?(?:cannot|can't|not) (?:been |be )?(?:\w+ly )?"
_OPEN_BEFORE = rf"(?:{_CANNOT})?(?:exclude|rule out)"
_OPEN_AFTER = rf"{_CANNOT}(?:excluded|ruled out)"
_NONE_OF_IT = re.compile(r":\s*(?:no|none|negative|absent)\s*(?=[.;,\n]|$)")  # "Effusion: none."
_TOKEN = re.compile(
    "|".join(f"(?P<finding_{number}>\\b(?:{term.synonyms})\\b)" for number, term in enumerate(VOCABULARY))
    + rf"|(?P<side>\b(?:{'|'.join(_SIDE_OF_WORD)})\b)"
    + rf"|(?P<kept>\b(?:{_NO_NEGATION})\b)"
    + rf"|(?P<open_after>\b(?:{_OPEN_AFTER})\b)"
    + rf"|(?P<open_before>\b(?:{_OPEN_BEFORE})\b)"
    + rf"|(?P<after>\b(?:{_NEGATION_AFTER})\b)"
    + rf"|(?P<before>\b(?:{_NEGATION_BEFORE})\b)"
    + r"|(?P<turn>\b(?:with|but|however|(?<!that )there (?:is|are))\b)"
    + r"|(?P<comma>,)"
)

# What becomes of the findings named before a token, and of those named after it.
_STATUS_BEHIND = {"after": "denied", "open_after": "open"}
_STATUS_FROM_HERE = {**_STATUS_BEHIND, "before": "denied", "open_before": "open"}


def parse_report(text: str) -> dict[str, set[str]]:
    """Return findings that a text asserts, with the sides it names for each.

    A side counts for the findings of its clause; clauses end at full stops, commas, "with" and "but".

    Args:
        text: any text, garbled or empty; nothing raises.

    Returns:
        Finding name -> a set of "left", "right", "both", "midline", empty where no side is named. Negated findings
        ("no ...", "without ...", "no evidence of ...", "... is absent") are left out, and so are those left open
        ("cannot exclude ...", "... is not ruled out").
    """
    return _parse(text)[0]


def _parse(text: str) -> tuple[dict[str, set[str]], set[str]]:
    """Return the findings that a text asserts, with their sides, and those that it denies."""
    asserted: dict[str, set[str]] = {}
    denied: set[str] = set()
    plain = _NONE_OF_IT.sub(" absent", text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))
    for sentence in re.split(r"[.;:\n!?]", plain):
        names: list[str] = []  # since the last boundary of a clause, as the sides
        sides: set[str] = set()
        status = "asserted"  # a denial carries over "," and "or" ("no A, B or C"), ends at "with" and "but"
        for token in (*_TOKEN.finditer(sentence), None):
            kind = str(token.lastgroup) if token else "end"
            if token and kind == "side":
                sides.add(_SIDE_OF_WORD[token.group()])
            elif kind.startswith("finding"):
                names.append(PARSED_NAMES[int(kind.removeprefix("finding_"))])
            elif kind != "kept":
                behind = _STATUS_BEHIND.get(kind) if names else None  # "effusion is absent"
                if (behind or status) == "denied":
                    denied.update(names)
                elif (behind or status) == "asserted":
                    for name in names:
                        asserted.setdefault(name, set()).update(sides)
                names, sides = [], set()
                if behind is None and kind != "comma":
                    status = _STATUS_FROM_HERE.get(kind, "asserted")
    return asserted, denied


def parse_claims(text: str, question: str = "") -> dict[str, bool]:
    """Return findings that an answer affirms (True) or denies (False), in the order of PARSED_NAMES, others behind.

    What is affirmed somewhere and denied elsewhere counts as affirmed. "Heart size is normal", "The lungs are clear"
    and "Normal chest radiograph" deny what they exclude.

    Args:
        text: any text; nothing raises.
        question: that it answers; of "Is there X?" a "Yes" or "No" in front is about X.
    """
    asserted, denied = _parse(text)
    claims = dict.fromkeys(denied, False)
    for pattern, names in _NORMAL.items():
        if pattern.search(text.lower()):
            claims.update(dict.fromkeys(names, False))
    asked, word = _ASKED.fullmatch(question), _VERDICT.match(text)
    if asked and word:
        name, affirmed = asked["name"].lower(), word["word"].lower() == "yes"
        if affirmed or name in (word["noun"] or name).lower():  # "No pneumothorax is seen" says nothing of edema
            claims.update(dict.fromkeys(parse_report(name) or (name,), affirmed))
    claims.update(dict.fromkeys(asserted, True))
    ranks = {name: rank for rank, name in enumerate(PARSED_NAMES)}
    return {name: claims[name] for name in sorted(claims, key=lambda name: (ranks.get(name, len(ranks)), name))}


# Finding heads learn with cross-entropy, so 0.5 is where a finding is as likely there as not: words that take the other
# side contradict the head. On 160 phantoms gazevlm-nano-base denied nothing above 0.5; of the 205 findings that it
# affirmed 18 lay below, and 12 of these were not there.
EVEN = 0.5


@dataclass(frozen=True)
class Claim:
    """A finding that an answer names.

    Args:
        finding: its name.
        affirmed: whether the words say that it is there; False where they deny it.
        probability: by the finding head; None where that does not know the finding.
    """

    finding: str
    affirmed: bool
    probability: float | None

    @property
    def agrees(self) -> bool | None:
        """Whether the probability lies on the side of the words; None where there is no probability."""
        if self.probability is None:
            return None
        return self.probability >= EVEN if self.affirmed else self.probability <= EVEN


def claims_of(diagnosis: Diagnosis) -> tuple[Claim, ...]:
    """Return every finding that the answer affirms or denies, with its probability.

    Of words that were cut short only whole sentences count ("No edema. A left effusion is" affirms nothing), and of
    those that somebody stopped none.
    """
    if STOPPED_NOTE in diagnosis.notes:
        return ()
    known = {name.casefold(): float(value) for name, value in diagnosis.finding_probabilities.items()}
    cut = any(note in CUT_SHORT for note in diagnosis.notes)
    said = parse_claims(whole_sentences(diagnosis.answer) if cut else diagnosis.answer, diagnosis.question)
    return tuple(Claim(name, affirmed, known.get(name.casefold())) for name, affirmed in said.items())
