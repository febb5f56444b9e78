"""What the page offers to ask for; the words of a question stay free."""

from collections.abc import Mapping, Sequence

from gazevlm_core.findings import presence_question
from gazevlm_core.options import DEFAULT_QUESTION

REPORT, WHAT_ELSE = "a report", "what else?"


def presets(finding_names: Sequence[str], known_questions: Sequence[str] = ()) -> list[str]:
    """What a model that tells these findings can be asked for: a report, what else, each finding.

    Args:
        finding_names: of its finding head.
        known_questions: that it was taught, where it answers no others; none where it answers freely.
    """
    each = [one for one in map(presence_question, finding_names) if not known_questions or one in known_questions]
    return [REPORT, *([WHAT_ELSE] if each else []), *each]


def preset_question(preset: str, probabilities: Mapping[str, float], said: Sequence[str]) -> str:
    """The question behind a preset.

    "What else?" asks for the most probable finding that nobody has mentioned yet.

    Args:
        preset: from `presets`.
        probabilities: finding -> probability, of the latest answer about this image; empty where there is none.
        said: questions and answers about this image so far.

    Raises:
        ValueError: "what else?" before any answer, or when every finding has been mentioned.
    """
    if preset == REPORT:
        return DEFAULT_QUESTION
    if preset != WHAT_ELSE:
        return preset
    if not probabilities:
        raise ValueError("There is no answer about this image yet; ask for a report first.")
    mentioned = " ".join(said).lower()
    left = {name: value for name, value in probabilities.items() if name.lower() not in mentioned}
    if not left:
        raise ValueError("Every finding that this model knows has been mentioned; ask in your own words.")
    return presence_question(max(left, key=left.__getitem__))
