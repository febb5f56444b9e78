"""What the page offers to ask for; the words of a question stay free."""

from gazevlm_core.phantom.report import presence_question
from gazevlm_core.phantom.truth import FINDING_NAMES
from gazevlm_core.prompt import DEFAULT_QUESTION

PRESETS: dict[str, str] = {
    "a report": DEFAULT_QUESTION,
    **{presence_question(name): presence_question(name) for name in FINDING_NAMES},
}
