"""The words and the findings of a diagnosis as HTML whose parts point at the fixations that they leaned on.

A part has `data-shares`, one share per glimpse, inside a part whose `data-links` is the id of the viewer with the
glimpses: `web/viewer/static/links.js` lights what belongs together. Everything from outside is escaped.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from html import escape
from itertools import islice

from gazevlm_core.evaluation.checkpoint_scores import CheckpointScores, FindingScore
from gazevlm_core.records import Diagnosis, Sentence

UNTRAINED = "This model\N{RIGHT SINGLE QUOTATION MARK}s finding head is untrained."
UNSCORED = (
    "Nobody measured on enough images how well this model tells it: how far its probability can be trusted is unknown."
)
# How well a finding is distinguished from its absence, by the least AUROC for each word.
RELIABILITY = ((0.95, "very good"), (0.9, "good"), (0.8, "fair"), (0.7, "weak"), (0.0, "poor"))
NOT_KNOWN = "does not know it"
SILENT = "Not measured on images like this:"
LEAST_CHANGE = 0.01  # of a probability; less is not shown as a change


def answer(diagnosis: Diagnosis, viewer: str, before: Diagnosis | None = None) -> str:
    """Return the answer so far, each sentence a part of its own once the answer is complete; "" before any word.

    Args:
        diagnosis: with its sentences, where it has any.
        viewer: id of the viewer that shows its glimpses.
        before: the complete answer to compare with: words that are new are marked, those that went struck through.
    """
    if not diagnosis.answer:
        return ""
    sentences = diagnosis.sentences or (Sentence(diagnosis.answer, ()),)
    new = [word for one in sentences for word in one.text.split()]
    words = _compared(new, new if before is None else before.answer.split())
    parts = [_part("span", "gaze-sentence", one.shares, " ".join(islice(words, len(one.text.split()))))
             for one in sentences]  # fmt: skip
    gone = next(words)  # behind the last word
    return f'<div class="gaze-answer" data-links="{viewer}"><p>{" ".join(parts)}{gone}</p></div>'


def _compared(new: Sequence[str], old: Sequence[str]) -> Iterator[str]:
    """Yield each new word, marked where it is new, behind those that it replaced; then what went behind the last."""
    pending = ""
    for kind, old_from, old_to, new_from, new_to in SequenceMatcher(a=old, b=new, autojunk=False).get_opcodes():
        if kind in ("delete", "replace"):
            pending += f"<del>{escape(' '.join(old[old_from:old_to]))}</del> "
        for word in new[new_from:new_to]:
            shown = escape(word)
            yield pending + (shown if kind == "equal" else f"<ins>{shown}</ins>")
            pending = ""
    yield f" {pending.strip()}" if pending else ""


@dataclass(frozen=True, eq=False)
class Side:
    """What one model says of the findings.

    Args:
        title: what it is called beside another one.
        diagnosis: its findings, each with the shares of the glimpses in it where it has any.
        viewer: id of the viewer that shows its glimpses.
        scores: of what answered; None says that nobody knows.
        before: to compare with: its order stays, and each bar shows where it was.
        silent: findings that nobody measured on images like this one; their bars are folded.
    """

    title: str
    diagnosis: Diagnosis
    viewer: str
    scores: CheckpointScores | None = None
    before: Diagnosis | None = None
    silent: Collection[str] = ()

    @property
    def probabilities(self) -> Mapping[str, float]:
        """Finding -> probability."""
        return self.diagnosis.finding_probabilities

    def score(self, name: str) -> FindingScore | None:
        """Return how well a finding is distinguished from its absence, where that is known."""
        return self.scores.findings.get(name) if self.scores else None

    def ordered(self) -> list[str]:
        """Return its findings, the most probable on top; those of a changed path as they were."""
        order = self.probabilities if self.before is None else self.before.finding_probabilities
        return sorted(self.probabilities, key=lambda name: -order.get(name, 0.0))

    def part(self, tag: str, kind: str, name: str) -> str:
        """Bar and number of one finding, pointing at the fixations that it leaned on."""
        was = None if self.before is None else self.before.finding_probabilities.get(name)
        shares = self.diagnosis.evidence.get(name, ())
        bar = _bar(self.probabilities[name], was, self.score(name))
        inner = bar if tag == "span" else f"<span>{escape(name)}</span>{bar}"
        return _part(tag, kind, shares, inner, title=_reliability(self.score(name), self.scores), data_finding=name)


def silent_findings(names: Iterable[str], scores: CheckpointScores | None, question: str) -> frozenset[str]:
    """Return the findings to be silent about on a drawn image: the few without a score where most have one, which a
    model learnt from other images alone; but what the question names is shown.

    Args:
        names: of all findings.
        scores: of what answers; without any, all its findings are alike.
        question: that was asked.
    """
    known, every = scores.findings if scores else {}, list(names)
    unscored = [name for name in every if name not in known]
    few = 2 * len(unscored) < len(every)
    return frozenset(name for name in unscored if few and name not in question.lower())


def findings(side: Side) -> str:
    """Return a bar for the probability of each finding, the most probable on top; silent ones are folded below."""
    if not side.probabilities:
        return f'<p class="gaze-note">{UNTRAINED}</p>'

    def listed(names: Sequence[str]) -> str:
        rows = "".join(side.part("li", "gaze-finding", name) for name in names)
        return f'<ul class="gaze-findings" aria-label="Findings: probability" data-links="{side.viewer}">{rows}</ul>'

    return _folding_silent(side.ordered(), side.silent, listed)


def _folding_silent(names: Sequence[str], silent: Collection[str], listed: Callable[[Sequence[str]], str]) -> str:
    """Return the list of findings, and below it those that are silent in a fold."""
    quiet = [name for name in names if name in silent]
    if not quiet:
        return listed(names)
    shown = listed([name for name in names if name not in silent])
    summary = f"{SILENT} {', '.join(map(escape, sorted(quiet)))}"
    return f'{shown}<details class="gaze-fold gaze-silent"><summary>{summary}</summary>{listed(quiet)}</details>'


def paired_findings(sides: Sequence[Side]) -> str:
    """Return a pair of bars for each finding, in the order of the first model; what one does not know has one."""
    names = list(dict.fromkeys(name for side in sides for name in side.ordered()))
    if not names:
        return f'<p class="gaze-note">{UNTRAINED}</p>'
    silent = {name for name in names if all(name in side.silent for side in sides if name in side.probabilities)}
    key = "".join(f'<span class="gaze-side-{place}">{escape(side.title)}</span>' for place, side in enumerate(sides, 1))

    def listed(names: Sequence[str]) -> str:
        pairs = (f"<span>{escape(one)}</span>{''.join(map(_half, range(1, 3), sides, [one] * 2))}" for one in names)
        rows = "".join(f'<li class="gaze-pair">{pair}</li>' for pair in pairs)
        return f'<ul class="gaze-findings" aria-label="Findings: two probabilities each">{rows}</ul>'

    bars = _folding_silent(names, silent, listed)
    return f'<p class="gaze-note gaze-key">{key}</p><p class="gaze-note">{_apart(sides, silent)}</p>{bars}'


def _half(place: int, side: Side, name: str) -> str:
    """Return one model's half of a pair."""
    inner = side.part("span", "gaze-half", name) if name in side.probabilities else f"<em>{NOT_KNOWN}</em>"
    return f'<span class="gaze-side-{place}" data-links="{side.viewer}">{inner}</span>'


def _apart(sides: Sequence[Side], silent: Collection[str]) -> str:
    """Say where two models are furthest from each other, of what is not silent."""
    first, second = (side.probabilities for side in sides)
    gaps = {name: abs(first[name] - second[name]) for name in first if name in second and name not in silent}
    if not gaps:
        return "They know no finding in common."
    name = max(gaps, key=lambda one: gaps[one])
    if gaps[name] < LEAST_CHANGE:
        return "Their probabilities are the same."
    return f"They are furthest apart on {escape(name)}: {first[name]:.2f} and {second[name]:.2f}."


def _bar(value: float, was: float | None, score: FindingScore | None) -> str:
    """Bar, number and reliability of one finding; where the number changed, what it was in the reliability's stead."""
    number, ghost, word = f"{value:.2f}", "", f"<small>{_word(score)}</small>"
    if was is not None and abs(value - was) >= LEAST_CHANGE:
        kind = "more" if value > was else "less"
        number, word = f'<ins class="gaze-{kind}">{value:.2f}</ins>', f'<small class="gaze-was">was {was:.2f}</small>'
        place = f"left: {100 * min(was, value):.1f}%; width: {100 * abs(value - was):.1f}%"
        ghost = f'<s style="{place}" class="gaze-{kind}"></s>'
    track = f'<span class="gaze-track"><i style="width: {100 * value:.1f}%"></i>{ghost}</span>'
    return f"{track}<b>{number}</b>{word}"


def _word(score: FindingScore | None) -> str:
    """Return how well a finding is distinguished from its absence, in a word."""
    return "not scored" if score is None else next(word for least, word in RELIABILITY if score.auroc >= least)


def _reliability(score: FindingScore | None, scores: CheckpointScores | None) -> str:
    """Say how far a probability can be trusted, and how often the finding is there."""
    if score is None or scores is None:
        return UNSCORED
    return (
        f"Reliability: {_word(score)}. Of two images, one with it and one without, the first got the higher number in "
        f"{score.auroc:.1%} of pairs (AUROC; 50% is guessing), on {scores.scored_on}; {score.prevalence:.0%} of them "
        "have it."
    )


def _part(tag: str, name: str, shares: Sequence[float], inner: str, **attributes: str) -> str:
    """Return an element that points at fixations where it has shares, and takes the keyboard's focus then."""
    named = "".join(f' {key.replace("_", "-")}="{escape(text)}"' for key, text in attributes.items())
    if shares:
        named += f' tabindex="0" data-shares="{" ".join(f"{share:.4f}" for share in shares)}"'
    return f'<{tag} class="{name}"{named}>{inner}</{tag}>'
