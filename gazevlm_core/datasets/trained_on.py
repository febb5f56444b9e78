"""Whom and what an adapter was trained on, so that nothing of it is scored as if it were new.

Stands in an adapter's provenance.json, and in that of a model that it was merged into. People are not named there: a
patient is a salted hash of the id, a picture the digest of its pixels. Patients stand below whose ids they have, since
hospitals number theirs alike: two of one id are the same patient within one `id_space` alone.

Earlier versions wrote one list of patients. Whose ids those are is read from the names of the data sets beside it, or
known by the salt; where neither tells, an id means the same patient everywhere, so that nobody is scored who was
learned from. That of a checkpoint of `phantoms.nano`, which holds nothing else, is written anew by

    write_trained_on(folder, read_all_trained_on(folder), read_credits(folder))

or, with the radiographs at hand and so with each id below its own data set, by `phantoms.films.keep_provenance`.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from gazevlm_core.datasets.registry import ADAPTERS, id_space
from gazevlm_core.datasets.splits import SplitRule
from gazevlm_core.sample import Sample, pixel_digest

if TYPE_CHECKING:
    from PIL import Image

PROVENANCE_FILE = "provenance.json"
TRAINED_ON = "trained_on"
BEFORE = "trained_on_before"  # of a base that learned from some: a list of the same, null where one is not known
CREDITS = "credits"
UNKNOWN = ""  # the id space of ids that may be anybody's
SALT = "gazevlm-nano"  # of the embedded checkpoint's provenance, which always was of these:
FILM_SETS = ("nih", "kermany")


@dataclass(frozen=True)
class TrainedOn:
    """Everybody and everything that was learned from.

    Args:
        salt: of the hashes.
        patients: id space -> from `patient_key`; see `id_space`.
        pictures: `pixel_digest` of each; earlier versions wrote `rgb_digest`.
        rule: what the split was drawn by.
    """

    salt: str
    patients: Mapping[str, frozenset[str]]
    pictures: frozenset[str]
    rule: SplitRule

    @classmethod
    def of(cls, salt: str, learned: Iterable[Sample], pictures: Iterable[str], rule: SplitRule) -> "TrainedOn":
        """Make it of all that was learned from, and the digests of their pixels."""
        patients = defaultdict[str, set[str]](set)
        for sample in learned:
            patients[id_space(sample.dataset)].add(patient_key(salt, sample.patient_id))
        return cls(salt, {space: frozenset(keys) for space, keys in patients.items()}, frozenset(pictures), rule)

    def has_patient(self, sample: Sample) -> bool:
        """Return whether an image of a sample's patient was learned from, as far as ids tell."""
        own = id_space(sample.dataset)
        key = patient_key(self.salt, sample.patient_id)
        return any(key in keys for space, keys in self.patients.items() if UNKNOWN in (own, space) or own == space)

    def has_picture(self, image: "Image.Image") -> bool:
        """Return whether an upright RGB image was learned from, whatever its file is called."""
        return pixel_digest(image) in self.pictures or rgb_digest(image) in self.pictures

    def to_values(self) -> dict[str, Any]:
        """Return it as JSON values; `from_values` reads them."""
        return {
            "salt": self.salt,
            "patients": {space: sorted(keys) for space, keys in sorted(self.patients.items())},
            "pictures": sorted(self.pictures),
            "seed": self.rule.seed,
            "held_out_share": self.rule.held_out_share,
        }

    @classmethod
    def from_values(cls, values: Mapping[str, Any], spaces: Collection[str] = ()) -> "TrainedOn":
        """Make it from JSON values, which may come from anybody.

        Args:
            spaces: whose ids they may be where the values, of an earlier version, do not say it; empty for anybody's.

        Raises:
            ValueError: they are none.
        """
        try:
            salt, patients, pictures = values["salt"], values["patients"], values["pictures"]
            rule = SplitRule(int(values["seed"]), float(values["held_out_share"]))
        except (KeyError, TypeError) as error:
            raise ValueError(f"{TRAINED_ON} lacks {error}") from None
        if isinstance(patients, list):
            known = map(_space_of, FILM_SETS) if salt == SALT else spaces
            patients = dict.fromkeys(known, patients) or {UNKNOWN: patients}
        lists = [*patients.values(), pictures] if isinstance(patients, dict) else [None]
        if not all(isinstance(some, list) and all(isinstance(one, str) for one in some) for some in [*lists, [salt]]):
            raise ValueError(f"{TRAINED_ON} must hold a salt, and lists of patients and pictures")
        return cls(salt, {space: frozenset(keys) for space, keys in patients.items()}, frozenset(pictures), rule)


def write_trained_on(
    folder: Path, known: Iterable[TrainedOn | None], credits: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Write beside the weights of a model whom it learned from, so that nobody scores it on them, and whom to thank; a
    file of an earlier model goes where nobody is known.

    Args:
        known: the model's own, then what it went on from, as `read_all_trained_on` gives them; said once each.
        credits: from `read_credits`.
    """
    once: list[dict[str, Any] | None] = []
    for one in known:
        values = None if one is None else one.to_values()
        if values not in once:
            once.append(values)
    path = folder / PROVENANCE_FILE
    if not once:
        path.unlink(missing_ok=True)
        return
    values = {TRAINED_ON: once[0], BEFORE: once[1:], CREDITS: dict(credits)}
    path.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def read_credits(folder: Path) -> dict[str, str]:
    """Return whom the provenance in a folder of weights thanks for the data, by data set; nobody where it is not there
    or does not say it."""
    try:
        values = json.loads((folder / PROVENANCE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    found = dict[str, Any]()
    if isinstance(values, dict):
        found = {str(one.get("name")): one.get("credit") for one in _datasets_of(values)}
        found |= values[CREDITS] if isinstance(values.get(CREDITS), dict) else {}
    return {name: words for name, words in found.items() if words and isinstance(words, str)}


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
        own, spaces = values.get(TRAINED_ON), _spaces_beside(values)
        return [
            None if own is None else TrainedOn.from_values(own, spaces),
            *(None if one is None else TrainedOn.from_values(one) for one in before),
        ]
    except FileNotFoundError:
        return [None]
    except (OSError, ValueError, OverflowError, RecursionError) as error:  # the last two: infinite, nested without end
        raise ValueError(f"{path} is not usable: {error}") from None


def _space_of(spec: str) -> str:
    """Return the id space of NAME or of "NAME=ROOT"; UNKNOWN of a data set that nobody knows any more."""
    adapter = ADAPTERS.get(spec.partition("=")[0])
    return UNKNOWN if adapter is None else id_space(adapter.name)


def _spaces_beside(values: Mapping[str, Any]) -> set[str]:
    """Return whose ids a training's patients have, by the data sets that its provenance names; none where one is
    unknown."""
    spaces = {_space_of(str(one.get("name"))) for one in _datasets_of(values)}
    return set() if UNKNOWN in spaces else spaces


def _datasets_of(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what the provenance of a training says of each of its data sets."""
    data = values.get("data")
    sets = data.get("datasets") if isinstance(data, dict) else None
    return [one if isinstance(one, dict) else {} for one in sets] if isinstance(sets, list) else []
