"""Whom and what an adapter was trained on, so that nothing of it is scored as if it were new.

Stands in an adapter's provenance.json, and in that of a model that it was merged into. People are not named there: a
patient is a salted hash of the id, a picture the digest of its pixels.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gazevlm_core.datasets.splits import SplitRule
from gazevlm_core.sample import pixel_digest

if TYPE_CHECKING:
    from PIL import Image

PROVENANCE_FILE = "provenance.json"
TRAINED_ON = "trained_on"
BEFORE = "trained_on_before"  # of a base that is a merged model: a list of the same, null where one is not known


@dataclass(frozen=True)
class TrainedOn:
    """Everybody and everything that was learned from.

    Args:
        salt: of the hashes.
        patients: from `patient_key`.
        pictures: `pixel_digest` of each; earlier versions wrote `rgb_digest`.
        rule: what the split was drawn by.
    """

    salt: str
    patients: frozenset[str]
    pictures: frozenset[str]
    rule: SplitRule

    @classmethod
    def of(cls, salt: str, patients: Iterable[str], pictures: Iterable[str], rule: SplitRule) -> "TrainedOn":
        """Make it from the ids of patients."""
        return cls(salt, frozenset(patient_key(salt, one) for one in patients), frozenset(pictures), rule)

    def has_patient(self, patient_id: str) -> bool:
        """Return whether an image of this patient was learned from."""
        return patient_key(self.salt, patient_id) in self.patients

    def has_picture(self, image: "Image.Image") -> bool:
        """Return whether an upright RGB image was learned from, whatever its file is called."""
        return pixel_digest(image) in self.pictures or rgb_digest(image) in self.pictures

    def to_values(self) -> dict[str, Any]:
        """Return it as JSON values; `from_values` reads them."""
        return {
            "salt": self.salt,
            "patients": sorted(self.patients),
            "pictures": sorted(self.pictures),
            "seed": self.rule.seed,
            "held_out_share": self.rule.held_out_share,
        }

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> "TrainedOn":
        """Make it from JSON values, which may come from anybody.

        Raises:
            ValueError: they are none.
        """
        try:
            salt, patients, pictures = values["salt"], values["patients"], values["pictures"]
            rule = SplitRule(int(values["seed"]), float(values["held_out_share"]))
        except (KeyError, TypeError) as error:
            raise ValueError(f"{TRAINED_ON} lacks {error}") from None
        names = [salt, *patients, *pictures] if isinstance(patients, list) and isinstance(pictures, list) else [None]
        if not all(isinstance(one, str) for one in names):
            raise ValueError(f"{TRAINED_ON} must hold a salt, and lists of patients and pictures")
        return cls(salt, frozenset(patients), frozenset(pictures), rule)


def rgb_digest(image: "Image.Image") -> str:
    """Return the digest by which earlier versions named a picture: SHA-256 of its size and its pixels as RGB."""
    return hashlib.sha256(f"{image.width}x{image.height}\n".encode() + image.tobytes()).hexdigest()


def patient_key(salt: str, patient_id: str) -> str:
    """Return what stands for a patient in provenance."""
    return hashlib.sha256(f"{salt}:{patient_id}".encode()).hexdigest()[:32]


def read_all_trained_on(folder: Path) -> list[TrainedOn | None]:
    """Return what the provenance in a folder of weights says, None where it says nothing, or is not there; and what
    the base was trained on where that was a merged model. Never empty.

    Raises:
        ValueError: a provenance that cannot be read; one sentence.
    """
    path = folder / PROVENANCE_FILE
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        values = values if isinstance(values, dict) else {}
        before = values.get(BEFORE, [])
        if not isinstance(before, list):
            raise ValueError(f"{BEFORE} must be a list")
        return [None if one is None else TrainedOn.from_values(one) for one in (values.get(TRAINED_ON), *before)]
    except FileNotFoundError:
        return [None]
    except (OSError, ValueError, OverflowError, RecursionError) as error:  # the last two: infinite, nested without end
        raise ValueError(f"{path} is not usable: {error}") from None
