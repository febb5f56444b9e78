"""The form of a training, made from the fields of `FinetuneConfig`; what comes back from it is checked here."""

import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Any, Literal

from finetune.config import FinetuneConfig
from finetune.defaults import FOLLOW_BASE

Kind = Literal["flag", "maybe", "choice", "whole", "number", "text", "names"]
KNOBS = ("epochs", "learning_rate", "lora_rank", "gaze_order", "seed")
# Chosen in other parts of the tab, or of no use there: one data set, one process, no files of the server.
NOT_IN_FORM = frozenset({"annotations", "shares", "annotators", "base", "deepspeed", "fsdp_storage"})
UNSET, YES, NO = "as usual", "yes", "no"
MAYBE: Mapping[object, bool | None] = {UNSET: None, YES: True, NO: False}
LONGEST_TEXT, MOST_NAMES = 100, 1000
LABELS = {
    "lora_rank": "LoRA rank", "lora_alpha": "LoRA alpha", "lora_dropout": "LoRA dropout", "dora": "DoRA",
    "rslora": "rsLoRA", "num_gaze_tokens": "Gaze tokens", "max_grad_norm": "Largest gradient norm",
}  # fmt: skip


class FormError(ValueError):
    """Something in the form that cannot be used; one sentence that says what to do."""


@dataclass(frozen=True)
class FormField:
    """One field of the form.

    Args:
        name: of the configuration's field.
        label, help: for people.
        kind: what a value looks like; "maybe" is a yes, a no, or the usual.
        default: as the form holds it.
        choices: of a "choice" or a "maybe".
        optional: whether empty is a value.
    """

    name: str
    label: str
    help: str
    kind: Kind
    default: Any
    choices: tuple[str, ...] = ()
    optional: bool = False

    def read(self, value: object) -> object:
        """What the configuration takes.

        Args:
            value: from the form, which is to say from anybody.

        Raises:
            FormError: it is nothing of the kind.
        """
        if self.kind == "flag" and isinstance(value, bool):
            return value
        if self.kind in ("maybe", "choice") and isinstance(value, str) and value in self.choices:
            return MAYBE[value] if self.kind == "maybe" else value
        if self.kind in ("whole", "number"):
            return self._read_number(value)
        if self.kind == "text" and isinstance(value, str) and len(value) <= LONGEST_TEXT:
            return value.strip()
        if self.kind == "names" and is_names(value):
            return tuple(value)  # type: ignore[arg-type]
        raise FormError(f"{self.label}: choose one of the values that the form offers.")

    def _read_number(self, value: object) -> object:
        if self.optional and (value is None or value == ""):
            return None
        if self.optional and isinstance(value, str):
            value = _number_in(value)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise FormError(f"{self.label}: type a number.")
        if self.kind == "whole" and value != int(value):
            raise FormError(f"{self.label}: type a whole number.")
        return int(value) if self.kind == "whole" else float(value)


def _number_in(text: str) -> float | None:
    """The number that was typed; None where it is none."""
    try:
        return float(text[:LONGEST_TEXT])
    except ValueError:
        return None


def is_names(value: object) -> bool:
    """Whether it is a list of texts, and not too long a one."""
    whole = isinstance(value, list | tuple) and len(value) <= MOST_NAMES
    return whole and all(isinstance(one, str) and len(one) <= LONGEST_TEXT for one in value)  # type: ignore[attr-defined]


@cache
def fields_of_form() -> dict[str, FormField]:
    """Every field of the form by name: the knobs first, then all others in the order of the configuration."""
    others = [name for name in FinetuneConfig.model_fields if name not in NOT_IN_FORM and name not in KNOBS]
    return {name: _field(name) for name in (*KNOBS, *others)}


def _field(name: str) -> FormField:
    info = FinetuneConfig.model_fields[name]
    kind, optional, choices = _kind_of(info.annotation)
    default = info.get_default()
    help_text = info.description or ""
    if name in FOLLOW_BASE:
        default, optional, help_text = None, True, f"{help_text} Empty: as suits the base."
    if kind == "maybe":
        default = next(word for word, meaning in MAYBE.items() if meaning is default)
    elif kind == "choice":
        default = default.value
    elif kind == "names":
        default = list(default)
    label = LABELS.get(name, name.replace("_", " ").capitalize())
    return FormField(name, label, help_text, kind, default, choices, optional)


def _kind_of(annotation: Any) -> tuple[Kind, bool, tuple[str, ...]]:  # noqa: ANN401 (a type)
    """What a value of a type looks like in a form, whether it may be empty, and what can be chosen."""
    optional = False
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        (annotation,) = (one for one in typing.get_args(annotation) if one is not type(None))
        optional = True
    if annotation is bool:
        return ("maybe", True, tuple(map(str, MAYBE))) if optional else ("flag", False, ())
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return "choice", optional, tuple(str(one.value) for one in annotation)
    if typing.get_origin(annotation) is tuple and typing.get_args(annotation)[0] is str:
        return "names", optional, ()
    kinds: dict[object, Kind] = {int: "whole", float: "number", str: "text"}
    return kinds[annotation], optional, ()  # a new kind of field fails here, in the first test


def settings_of(values: Mapping[str, object]) -> dict[str, object]:
    """The configuration's values from a form's; those that the form was not filled with stay as they usually are.

    Raises:
        FormError: a value that is nothing of the kind.
    """
    read = {name: field.read(values[name]) for name, field in fields_of_form().items() if name in values}
    return {name: value for name, value in read.items() if value is not None or name not in FOLLOW_BASE}
