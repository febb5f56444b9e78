"""The clinical vocabulary: names of findings, sides, grades, the usual questions, and the words that reports use.

Everything that names a finding takes its words from here: drawn radiographs, data sets, training, the page and scores.
Sides are always the patient's.
"""

from typing import Literal

Side = Literal["left", "right", "both", "midline"]
Grade = Literal["subtle", "moderate", "severe"]

# CheXpert names, lower case; the order is the order of reports and of the finding head.
FINDING_NAMES: tuple[str, ...] = (
    "enlarged cardiomediastinum",
    "cardiomegaly",
    "lung opacity",
    "lung lesion",
    "edema",
    "consolidation",
    "atelectasis",
    "pneumothorax",
    "pleural effusion",
    "fracture",
    "support devices",
)
# Findings that are drawn but that the embedded checkpoint never sees in training: fine-tuning teaches them.
HELD_OUT_FINDING_NAMES: tuple[str, ...] = ("hiatal hernia",)
NO_FINDING = "no finding"

SUBTLE_BELOW, SEVERE_FROM = 1 / 3, 2 / 3

REPORT_QUESTION = "Describe the findings on this chest radiograph."
QUESTIONS: tuple[str, ...] = (
    REPORT_QUESTION,
    "What do you see on this chest radiograph?",
    "Write a short report of this image.",
    "What are the findings?",
    "Report this chest radiograph.",
)

# Finding -> what a report calls it, as a regular expression on lower-case text.
SYNONYMS: dict[str, str] = {
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


def grade_of(severity: float) -> Grade:
    """Return the grade of a severity in (0, 1]: thirds of the range."""
    if severity < SUBTLE_BELOW:
        return "subtle"
    return "severe" if severity >= SEVERE_FROM else "moderate"


def presence_question(name: str) -> str:
    """Return the question whether a finding is there, e.g. "Is there pneumothorax?"."""
    return f"Are there {name}?" if name.endswith("devices") else f"Is there {name}?"
