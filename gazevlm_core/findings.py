"""The clinical vocabulary: names of findings, sides, grades, the usual questions, and the words that reports use.

Everything that names a finding takes its words from here: drawn radiographs, data sets, training, the page and scores.
Sides are always the patient's.
"""

from dataclasses import dataclass
from typing import Literal

Side = Literal["left", "right", "both", "midline"]
Grade = Literal["subtle", "moderate", "severe"]


@dataclass(frozen=True, slots=True)
class Term:
    """One finding in the vocabulary.

    Args:
        name: as CheXpert calls it, lower case.
        synonyms: what reports call it, as a regular expression on lower-case text.
        in_lung: "clear lungs" denies it.
        abnormal: "normal chest radiograph" denies it.
        held_out: it is drawn, but the embedded checkpoint never sees it in training: fine-tuning teaches it.
        drawn: False where no phantom shows it: labels of radiographs alone teach it.
    """

    name: str
    synonyms: str
    in_lung: bool = False
    abnormal: bool = True
    held_out: bool = False
    drawn: bool = True


# The order is that of reports and of the finding head; held-out findings and those that are not drawn stand last.
VOCABULARY: tuple[Term, ...] = (
    Term(
        "enlarged cardiomediastinum",
        r"(?:enlarged|enlargement of the) (?:cardio)?mediastinum"
        r"|mediastinal (?:widening|enlargement)|wid(?:e|ened) (?:cardio)?mediastinum",
    ),
    Term("cardiomegaly", r"cardiomegaly|cardiac enlargement|enlarged (?:heart|cardiac silhouette)"),
    Term("lung opacity", r"opacit(?:y|ies)|opacification|infiltrat(?:ions?|es?)", in_lung=True),
    Term("lung lesion", r"(?:lung )?lesions?|nodules?|mass(?:es)?", in_lung=True),
    Term("edema", r"o?edema", in_lung=True),
    Term("consolidation", r"consolidations?", in_lung=True),
    Term("atelectasis", r"atelectas[ei]s|volume loss|collapse", in_lung=True),
    Term("pneumothorax", r"pneumothorax(?:es)?|pneumothoraces"),
    Term("pleural effusion", r"effusions?|pleural fluid"),
    Term("fracture", r"fractures?"),
    Term(
        "support devices",
        r"(?:support )?devices?|catheters?|pacemakers?|tubes?|drains?|lines?|leads?|ports?|wires?",
        abnormal=False,
    ),
    Term("hiatal hernia", r"hiat(?:al|us) hernias?", held_out=True),
    Term("pneumonia", r"(?:broncho)?pneumonias?", in_lung=True, drawn=False),
)
FINDING_NAMES: tuple[str, ...] = tuple(term.name for term in VOCABULARY if term.drawn and not term.held_out)
HELD_OUT_FINDING_NAMES: tuple[str, ...] = tuple(term.name for term in VOCABULARY if term.held_out)
FILM_FINDING_NAMES: tuple[str, ...] = tuple(term.name for term in VOCABULARY if not term.drawn)
NO_FINDING = "no finding"
YES, NO = "Yes", "No"  # how every answer to a presence question begins

SUBTLE_BELOW, SEVERE_FROM = 1 / 3, 2 / 3

REPORT_QUESTION = "Describe the findings on this chest radiograph."
QUESTIONS: tuple[str, ...] = (
    REPORT_QUESTION,
    "What do you see on this chest radiograph?",
    "Write a short report of this image.",
    "What are the findings?",
    "Report this chest radiograph.",
)


def grade_of(severity: float) -> Grade:
    """Return the grade of a severity in (0, 1]: thirds of the range."""
    if severity < SUBTLE_BELOW:
        return "subtle"
    return "severe" if severity >= SEVERE_FROM else "moderate"


def presence_question(name: str) -> str:
    """Return the question whether a finding is there, e.g. "Is there pneumothorax?"."""
    return f"Are there {name}?" if name.endswith("devices") else f"Is there {name}?"


def presence_answer(name: str = "") -> str:
    """Return the answer to a presence question: "Yes, " and what is there, or "No." where nothing is."""
    return f"{YES}, {name}." if name else f"{NO}."
