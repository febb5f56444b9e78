"""The words of a phantom: its report, questions about it, and their answers.

Sides are always the patient's. Every draw depends only on the phantom's seed and a style seed.
`gazevlm_core.report_parser` reads the words back and scores generated ones.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from gazevlm_core.findings import presence_answer as answer_of_presence
from phantoms.findings import DRAWN_FINDINGS
from phantoms.truth import Phantom, PlacedFinding

_LUNG_ZONES = ("upper", "mid", "lower")
_DENIED: tuple[str, ...] = tuple(
    finding.name for finding in sorted(DRAWN_FINDINGS.values(), key=lambda finding: finding.denied) if finding.denied
)


def _pick(options: Sequence[str], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]


def _generator(phantom: Phantom, style_seed: int, use: int) -> np.random.Generator:
    return np.random.default_rng([word % 2**64 for word in (phantom.seed, style_seed, use)])


def _phrase(finding: PlacedFinding, rng: np.random.Generator, *, article: bool = False) -> str:
    """Return one finding in words, lower case: "small left apical pneumothorax"."""
    wording = DRAWN_FINDINGS[finding.name].wording
    noun = finding.detail or _pick(wording.nouns, rng)
    both = finding.side == "both"
    if both and wording.countable:
        noun = wording.plural(noun)
    side = {"left": "left", "right": "right", "both": "bilateral", "midline": ""}[finding.side]
    zone = finding.zone if wording.zone_spoken and finding.zone != "central" else ""
    if zone in _LUNG_ZONES and wording.zone_of_lung:
        zone = f"{zone} {_pick(('zone', 'lung'), rng)}"
    grades = wording.adjectives.get(finding.grade, ())
    grade = _pick(grades, rng) if grades else ""
    if zone.partition(" ")[0] in _LUNG_ZONES and " " in zone and side and "lung" not in noun and rng.random() < 0.35:
        place = f"both {zone}s" if both else f"the {side} {zone}"
        words = f"{grade} {noun} in {place}"
    else:
        words = " ".join(word for word in (grade, side, zone, noun) if word)
    words = words.replace("lung lung", "lung")
    if article and wording.countable and not both:
        words = f"{'an' if words[0] in 'aeiou' else 'a'} {words}"
    return words


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."


def _finding_sentence(finding: PlacedFinding, rng: np.random.Generator) -> str:
    form = int(rng.integers(4))
    wording = DRAWN_FINDINGS[finding.name].wording
    plural = finding.side == "both" and wording.countable
    if form == 0:
        return _sentence(f"there {'are' if plural else 'is'} {_phrase(finding, rng, article=True)}")
    if form == 1:
        seen = wording.seen or ("are seen" if plural else "is seen")
        return _sentence(f"{_phrase(finding, rng)} {seen}")
    return _sentence(_phrase(finding, rng))


def _finding_sentences(findings: Sequence[PlacedFinding], rng: np.random.Generator) -> list[str]:
    """Return one sentence per finding; now and then two findings share one."""
    sentences: list[str] = []
    waiting = list(findings)
    while waiting:
        finding = waiting.pop(0)
        if waiting and rng.random() < 0.2:
            sentences.append(_sentence(f"{_phrase(finding, rng)} with {_phrase(waiting.pop(0), rng)}"))
        else:
            sentences.append(_finding_sentence(finding, rng))
    return sentences


def _negative_sentence(present: set[str], rng: np.random.Generator) -> str:
    return _denial([name for name in _DENIED if name not in present], rng)


def _denial(absent: Sequence[str], rng: np.random.Generator) -> str:
    """Deny one or two of several findings."""
    named = [absent[int(i)] for i in rng.permutation(len(absent))][: 1 + int(rng.integers(2))]
    return _sentence(f"{_pick(('no', 'no evidence of'), rng)} {' or '.join(named)}")


def _normal_report(rng: np.random.Generator) -> str:
    lungs = _pick(("The lungs are clear.", "Both lungs are clear.", "Clear lungs."), rng)
    heart = _pick(("Heart size is normal.", "The heart and mediastinum are normal."), rng)
    ending = _pick(("No acute abnormality.", "Impression: normal chest radiograph.", "Normal chest radiograph."), rng)
    return " ".join((lungs, heart, _negative_sentence(set(), rng), ending))


def write_report(phantom: Phantom, style_seed: int) -> str:
    """Return a short report of everything that was drawn, with pertinent negatives now and then.

    Args:
        phantom: what is reported; findings are named in its order with side, zone and grade.
        style_seed: number of the wording; the same phantom and seed always give the same text.

    Returns:
        Plain sentences, about 20 words at most for a normal image and about 45 otherwise.

    Raises:
        KeyError: a finding that is not drawn.
    """
    rng = _generator(phantom, style_seed, use=0)
    present = {finding.name for finding in phantom.findings}
    if not present:
        return _normal_report(rng)
    sentences = _finding_sentences(phantom.findings, rng)
    few = len(phantom.findings) <= 3
    heart = any(DRAWN_FINDINGS[name].of_heart for name in present)
    if len(phantom.findings) <= 2 and not heart and rng.random() < 0.3:
        sentences.insert(0, "Heart size is normal.")
    if few and rng.random() < 0.35:
        sentences.append(_negative_sentence(present, rng))
    if few and rng.random() < 0.4:
        leading = max(phantom.findings, key=lambda finding: finding.severity)
        words = leading.detail or DRAWN_FINDINGS[leading.name].wording.nouns[0]
        sentences.append(_pick((f"Impression: {words}.", "Abnormal chest radiograph."), rng))
    return " ".join(sentences)


def report_of_labels(labels: Mapping[str, float], rng: np.random.Generator) -> str:
    """Write a report of a radiograph of which labels alone are known: no side, no zone, and no word of what is unknown.

    Args:
        labels: finding -> 1.0 or 0.0.
        rng: chooses the wording.

    Returns:
        A sentence for each finding that is there; else one that denies one or two of those that are not.

    Raises:
        ValueError: nothing is known.
    """
    there = [name for name, value in labels.items() if value == 1.0]
    absent = [name for name, value in labels.items() if value == 0.0]
    if not there and not absent:
        raise ValueError("a report needs at least one label")
    forms = ("there is {}", "{} is seen", "{}")
    sentences = [_sentence(_pick(forms, rng).format(name)) for name in there]
    if not there or (absent and rng.random() < 0.35):
        sentences.append(_denial(absent, rng))
    return " ".join(sentences)


def presence_answer(phantom: Phantom, name: str, style_seed: int) -> str:
    """Answer to `presence_question(name)`; it always begins with "Yes" or "No".

    Raises:
        ValueError: a name that no phantom can have.
    """
    if name not in DRAWN_FINDINGS:
        raise ValueError(f"unknown finding {name!r}; expected one of {', '.join(DRAWN_FINDINGS)}")
    placed = [finding for finding in phantom.findings if finding.name == name]
    if not placed:
        return answer_of_presence()
    rng = _generator(phantom, style_seed, use=1)
    return answer_of_presence(" with ".join(_phrase(finding, rng, article=True) for finding in placed))
