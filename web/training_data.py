"""What may be asked of a store of annotations by whoever trains on them; it does not know where they are kept."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

ALL_PROJECTS = ("All projects", "")  # what a list of projects begins with


@dataclass(frozen=True)
class DataChoice:
    """Which submissions are learned from. Rejected and removed ones never are.

    Args:
        project: short name of that in which they were made; "" for all.
        least_agreement: smallest mean sequence score of a submission with the other annotators of its image, from 0
            to 1; one on an image that nobody else annotated passes.

    Raises:
        ValueError: an agreement that no score can be.
    """

    accepted_only: bool = False  # leave out those that no reviewer has accepted
    annotators: tuple[str, ...] = ()  # pseudonyms; empty for everybody
    least_agreement: float = 0.0
    project: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.least_agreement <= 1:
            raise ValueError(f"The least agreement is a score from 0 to 1, not {self.least_agreement}.")


@dataclass(frozen=True)
class DataCount:
    """What a choice amounts to."""

    images: int = 0  # with at least one scanpath
    scanpaths: int = 0  # submissions that pass
    annotators: Mapping[str, int] = field(default_factory=dict)  # pseudonym -> scanpaths
    findings: Mapping[str, int] = field(default_factory=dict)  # what somebody ticked -> images that have it by majority
    left_out: Mapping[str, int] = field(default_factory=dict)  # reason -> submissions; each counts for its first reason


class TrainingData(Protocol):
    """A store that can be learned from."""

    def projects(self) -> Mapping[str, str]:
        """Return the projects in which there may be submissions: short name -> name."""
        ...

    def count(self, choice: DataChoice) -> DataCount:
        """Return what a choice amounts to now."""
        ...

    def write(self, choice: DataChoice, folder: Path) -> DataCount:
        """Write a gaze folder (images/, scanpaths.jsonl, studies.jsonl), as a whole or not at all.

        Args:
            choice: what goes in.
            folder: must not exist, or be empty.

        Raises:
            ValueError: nothing passes, the folder is in use, or the disk takes no more; one sentence.
        """
        ...
