"""Everything that decides an answer, as a link: the same link gives the same path and the same words."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from urllib.parse import urlencode

from diagnose.examples import EXAMPLES
from diagnose.service import check_question
from gazevlm_core.options import DEFAULT_PATH_TEMPERATURE, DEFAULT_WALKS, DiagnoseOptions, PathChoice

TEMPERATURES = ("path_temperature", "text_temperature", "second_temperature")
MOST_WALKS, HOTTEST, LARGEST_SEED, LONGEST_NAME = 256, 2.0, 2**31 - 1, 200


@dataclass(frozen=True)
class Asking:
    """A question with its settings.

    Args:
        question: in the user's words.
        example: number of the drawn example; None for an upload, which no link can hold.
        model: name of what answers, as in the catalogue, which alone knows the names; "" for the usual one.
        path: "medoid", "argmax" or "sample".
        walks: behind a medoid path.
        path_temperature: of the walks; 0 is the arg-max walk.
        path_seed: of the walks.
        text_temperature: 0 is greedy.
        text_seed: of sampled words.
        second_model: what else answers, beside the first; "" for the same one.
        second_temperature: of the second path; None for the same as the first.

    Raises:
        ValueError: what is wrong, in one sentence.
    """

    question: str
    example: int | None = None
    model: str = ""
    path: str = PathChoice.MEDOID.value
    walks: int = DEFAULT_WALKS
    path_temperature: float = DEFAULT_PATH_TEMPERATURE
    path_seed: int = 0
    text_temperature: float = 0.0
    text_seed: int = 0
    second_model: str = ""
    second_temperature: float | None = None

    def __post_init__(self) -> None:
        check_question(self.question)
        if self.example is not None:
            _check_number("example", self.example, 0, len(EXAMPLES) - 1, whole=True)
        for name in ("model", "second_model"):
            if not isinstance(getattr(self, name), str) or len(getattr(self, name)) > LONGEST_NAME:
                raise ValueError(f"The {name.replace('_', ' ')} must be a name; choose one.")
        if self.path not in list(PathChoice):
            raise ValueError(f"The path must be one of {', '.join(PathChoice)}; choose one.")
        _check_number("number of walks", self.walks, 1, MOST_WALKS, whole=True)
        for name in TEMPERATURES:
            if getattr(self, name) is not None or name != "second_temperature":
                _check_number(name.replace("_", " "), getattr(self, name), 0, HOTTEST)
        for name in ("path_seed", "text_seed"):
            _check_number(name.replace("_", " "), getattr(self, name), 0, LARGEST_SEED, whole=True)

    def second(self) -> "Asking | None":
        """The same question in the second way; None where there is nothing to compare."""
        if not self.second_model and self.second_temperature is None:
            return None
        temperature = self.path_temperature if self.second_temperature is None else self.second_temperature
        other = replace(self, model=self.second_model or self.model, path_temperature=temperature)
        return replace(other, second_model="", second_temperature=None)

    def options(self) -> DiagnoseOptions:
        """The same for the engine."""
        return DiagnoseOptions(
            path=PathChoice(self.path),
            walks=self.walks,
            path_temperature=float(self.path_temperature),
            path_seed=self.path_seed,
            text_temperature=float(self.text_temperature),
            text_seed=self.text_seed,
        )


def to_query(asking: Asking) -> str:
    """The part of a link behind "?"; what is not known is left out."""
    return urlencode({name: value for name, value in asdict(asking).items() if value not in (None, "")})


def from_query(query: Mapping[str, str], default_question: str) -> Asking:
    """Read a link; other keys in it are passed over.

    Raises:
        ValueError: a value that cannot be used, in one sentence.
    """
    kinds = dict.fromkeys(("question", "model", "path", "second_model"), str) | dict.fromkeys(TEMPERATURES, float)
    values: dict[str, str | int | float] = {"question": default_question}
    for field in fields(Asking):
        text = query.get(field.name)
        if text is None:
            continue
        try:
            values[field.name] = kinds.get(field.name, int)(text)
        except ValueError:
            raise ValueError(f"The {field.name.replace('_', ' ')} must be a number; change it.") from None
    return Asking(**values)  # type: ignore[arg-type]


def _check_number(name: str, value: object, low: float, high: float, *, whole: bool = False) -> None:
    fits = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if not fits or not low <= value <= high:  # type: ignore[operator]
        kind = "whole number" if whole else "number"
        raise ValueError(f"The {name} must be a {kind} from {low:g} to {high:g}; change it.")
