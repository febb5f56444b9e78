"""Terms of art in plain words, for the mark `?` that stands behind them on every tab.

`mark` puts one mark behind a text and explains all terms in it; page.js shows the words where it is pressed, and makes
the same marks in the parts of the page that scripts draw, and at fields, whose labels Gradio draws as text alone.
"""

import json
import re
from html import escape

TERMS: dict[str, str] = {
    # who looks, and where
    "fixation": "A place where the eyes rest for a moment.",
    "scanpath": "The places that somebody looks at, in order.",
    "dwell": "How long the eyes rest at a place.",
    "glimpse": "A place that the model saw closely, cut from the image at its full sharpness.",
    "patch": "One of the squares into which the model cuts an image; it points at patches.",
    "attention": "How much a model drew on a part of its input while it wrote; a hint, and no proof.",
    "phantom": "A drawn radiograph: of it everything is known, and no patient is behind it.",
    "domain A": "Drawn radiographs like those that the models learnt from.",
    "domain B": "Drawn radiographs as from another hospital: another scanner, other builds, other frequencies.",
    "in domain": "On images like those of the training.",
    "zero-shot": "On images of a kind that training never showed.",
    "simulated reader": "A program that looks at drawn radiographs in the way radiologists do, by their statistics.",
    # models
    "finding head": "The part of the model that gives a number for each finding, beside its words.",
    "gaze token": "A place in the model's text at which it points at the image.",
    "twin": "The same model, trained alike but for one thing, to see what that thing is worth.",
    "its base": "The model as it was before it was adapted.",
    "adapter": "A small addition to a model that holds what it learned from new annotations.",
    "held-out": "Kept away from training, so that a score on it is honest.",
    "seed": "The number that chance begins with; the same seed gives the same result again.",
    "nats": "A unit of surprise; lower means that what happened was expected.",
    # how good
    "AUROC": "Of two images, one with the finding and one without: how often the first gets the higher number. 0.5 is "
    "guessing, 1 no mistake.",
    "macro AUROC": "The mean AUROC over all findings.",
    "AUPRC": "How pure the top of the list is when images are sorted by the model's number.",
    "F1": "Hits against misses and false alarms in one number; 1 is perfect.",
    "micro F1": "F1 over all findings and images together.",
    "precision": "Of what was named, the share that was there.",
    "recall": "Of what was there, the share that was named.",
    "calibration error": "How far probabilities lie from how often they come true; 0 is best.",
    "95% interval": "Where the true value probably lies: other images of the same kind would give one in here 19 "
    "times of 20.",
    "resample": "The same images drawn again by chance, to see how much a score depends on which they were.",
    "floor": "What something gets that knows less. A score no higher than its floors says nothing.",
    "ceiling": "What one person gets against another: more cannot be expected.",
    "order gain": "How much a path loses when its places are shuffled: what the order is worth.",
    "uniform random": "Places anywhere on the image, by chance.",
    "sequence score": "How alike two paths are in places and order: 1 is the same, 0 nothing in common.",
    "ScanMatch": "How alike two paths are when one is changed into the other step by step; 1 is the same.",
    "Levenshtein": "How many steps must be changed to turn one path into the other.",
    "DTW": "How far two paths lie apart when their steps are lined up; lower is better.",
    "Frechet": "The farthest apart that two paths come when they are walked together; lower is better.",
    "time-delay embedding": "How far short pieces of two paths lie apart; lower is better.",
    "Jaccard": "The share of places that two paths have in common, in any order.",
    "coverage": "The share of one path's places that the other visits, too.",
    "MultiMatch": "Five comparisons of two paths: shape, direction, length, position and duration.",
    "NSS": "How much more the model expects a place that was looked at than any other; 0 is chance.",
    "information gain": "How much better than chance the model foretells the next place, in bits.",
    "kappa": "How far people agree beyond chance: 1 fully, 0 not at all.",
    "Krippendorff's alpha": "How far several people agree beyond chance: 1 fully, 0 not at all.",
    "gold": "An image whose right answer is known, to see how carefully somebody works.",
    "self-consistency": "How alike somebody's two paths on the same image are.",
    "outlier": "Far from what the others did.",
    "pointing": "Whether the path goes to where the finding was drawn.",
    "deletion and insertion": "What happens to the answer when the places of the path are blurred, or shown alone.",
}  # fmt: skip
PATTERN = rf"\b({'|'.join(sorted(map(re.escape, TERMS), key=len, reverse=True))})e?s?\b"
_FOUND = re.compile(PATTERN, re.IGNORECASE)
_BY_LOWER = {term.lower(): term for term in TERMS}


def terms_in(text: str, seen: set[str] | None = None) -> list[str]:
    """Return the terms of a text in their order, each once.

    Args:
        text: for people.
        seen: those that were explained before, which are left out; the new ones are added.
    """
    known = set() if seen is None else seen
    found = dict.fromkeys(_BY_LOWER[one.lower()] for one in _FOUND.findall(text))
    fresh = [term for term in found if term not in known]
    known.update(fresh)
    return fresh


def mark(text: str, seen: set[str] | None = None) -> str:
    """Return a mark that explains the terms of a text, as HTML to stand behind it; "" where it has none.

    Args:
        text: for people.
        seen: as in `terms_in`.
    """
    words = escape("\n".join(f"{term}: {TERMS[term]}" for term in terms_in(text, seen)))
    return f'<button type="button" class="gaze-term" title="{words}" aria-label="{words}"></button>' if words else ""


def script() -> str:
    """Return the terms for page.js."""
    return f"globalThis.GazeTerms = {json.dumps({'pattern': PATTERN, 'terms': TERMS})};"
