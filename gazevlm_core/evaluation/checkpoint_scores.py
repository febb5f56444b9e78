"""What lies beside weights: the scores of a finding head, and whether an adapter was better than its base."""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

if TYPE_CHECKING:
    from gazevlm_core.evaluation.report import PhantomReport, Role

UNJUDGED = "not known whether better than its base: {why}"
PASSED_BY_NOISE = "an earlier version judged it by a rule that noise passes"
FLOOR_FOR_BASE = "an earlier version took a floor for the base, which had no such score"
OVER_THE_BASE = ("better", "worse", "no difference seen")  # what a comparison with the base alone may say
SCORES_FILE = "finding_scores.json"
# By domain, in words for people who have heard of none; earlier versions wrote "phantoms of domain A".
DRAWN = {"A": "drawn radiographs", "B": "drawn radiographs of another kind"}


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
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
    """finding_scores.json beside a checkpoint or an adapter: what a page shows beside each probability.

    Args:
        scored_on: the images, in words.
        findings: by name.
    """

    scored_on: str
    findings: dict[str, FindingScore]


def scores_of(report: "PhantomReport", role: "Role" = "model") -> CheckpointScores:
    """Return what is to lie beside a checkpoint whose finding head is trained.

    Args:
        report: of `gazevlm evaluate` on phantoms.
        role: "model", or which of the twins it is.

    Raises:
        ValueError: the report has no scores of a finding head.
    """
    head = report.scores[role].finding_head
    if head is None:
        raise ValueError(f"the finding head of {role} is untrained; there is nothing to write")
    return CheckpointScores(
        scored_on=f"{report.n:,} {DRAWN[report.domain]} that training has not seen",
        findings={
            name: FindingScore(
                auroc=round(score.value, 4), prevalence=round(report.images_with[name].any / report.n, 4)
            )
            for name, score in head.all_severities.per_finding.items()
            if score is not None and score.value is not None
        },
    )


def write_scores(folder: Path, scores: CheckpointScores) -> Path:
    """Write SCORES_FILE into a folder of weights, and return its path."""
    path = folder / SCORES_FILE
    path.write_text(json.dumps(asdict(scores), indent=2) + "\n", encoding="utf-8")
    return path


def read_scores(folder: Path) -> CheckpointScores | None:
    """Return the scores beside a checkpoint; None where it was never scored.

    Raises:
        ValueError: a file that is there and not as an evaluation writes it.
    """
    path = folder / SCORES_FILE
    if not path.is_file():
        return None
    try:
        scores = TypeAdapter(CheckpointScores).validate_json(path.read_bytes())
    except ValidationError as error:
        raise ValueError(f"{path} is not as an evaluation writes it; score the checkpoint again") from error
    words = scores.scored_on
    for domain, drawn in DRAWN.items():
        words = words.replace(f"phantoms of domain {domain}", drawn)
    return replace(scores, scored_on=words)


def read_verdict(folder: Path) -> str | None:
    """Return whether an adapter was better than its base, in words; None where nobody compared them.

    One of an earlier version whose rule was mended since counts as unknown.

    Raises:
        ValueError: a file that is there and not as a training writes it.
    """
    from gazevlm_core.datasets.trained_on import PROVENANCE_FILE  # late: it knows every data set

    path = folder / PROVENANCE_FILE
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        why = why_unknown(values)
        return UNJUDGED.format(why=why) if why else str(values["verdict"]["why"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not as a training writes it; train the adapter again") from error


def why_unknown(values: Mapping[str, Any]) -> str:
    """Return why the verdict of an earlier version, whose rule was mended since, is not believed; "" where it is.

    Args:
        values: provenance, with `verdict`, and `measures` where there are any.

    Raises:
        AttributeError, KeyError, TypeError: not as a training writes it.
    """
    verdict = values["verdict"]
    if "outcome" not in verdict:
        return PASSED_BY_NOISE
    scores = verdict.get("scores", {})
    for one in values.get("measures", ()):
        gain = one.get("gain")
        if gain and gain["against"] != "base" and scores.get(one["name"]) in OVER_THE_BASE:
            return FLOOR_FOR_BASE
    return ""
