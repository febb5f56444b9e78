"""How well a checkpoint does: what its evaluation, or the training of an adapter, left beside its weights."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

UNJUDGED = "not known whether better than its base: an earlier version judged it by a rule that noise passes"
SCORES_FILE, PROVENANCE_FILE = "finding_scores.json", "provenance.json"


@dataclass(frozen=True)
class FindingScore:
    """What is known about one finding's probability.

    Args:
        auroc: of the finding head, all severities; 0.5 is chance.
        prevalence: share of the scored images that have the finding.
    """

    auroc: float
    prevalence: float


@dataclass(frozen=True)
class CheckpointScores:
    """Scores of all findings.

    Args:
        scored_on: the images, in words.
        findings: by name.
    """

    scored_on: str
    findings: Mapping[str, FindingScore]


def read_scores(folder: Path) -> CheckpointScores | None:
    """The scores beside a checkpoint; None where it was never scored.

    Raises:
        ValueError: a file that is there and not as `evaluate.card` writes it.
    """
    path = folder / SCORES_FILE
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        findings = {name: FindingScore(**score) for name, score in values["findings"].items()}
        return CheckpointScores(values["scored_on"], findings)
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not as an evaluation writes it; score the checkpoint again") from error


def read_verdict(folder: Path) -> str | None:
    """Whether an adapter was better than its base on held-out patients, in words; None where nobody compared them.

    A verdict without an outcome is an earlier version's, whose rule noise could pass: it counts as unknown.

    Raises:
        ValueError: a file that is there and not as a training writes it.
    """
    path = folder / PROVENANCE_FILE
    if not path.is_file():
        return None
    try:
        verdict = json.loads(path.read_text(encoding="utf-8"))["verdict"]
        return str(verdict["why"]) if "outcome" in verdict else UNJUDGED
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not as a training writes it; train the adapter again") from error
