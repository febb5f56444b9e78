"""The form of a training: its fields are those of `FinetuneConfig`, and what a browser sends is checked here."""

import re
import shlex
import types
import typing
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cache
from pathlib import PurePath
from typing import Any, Literal, cast

from finetune.config import LONGEST_NAME, NAME_PATTERN, ConfigError, FinetuneConfig, setting_of
from finetune.defaults import FOLLOW_BASE, with_base_defaults
from web.training_data import DataChoice

Kind = Literal["flag", "optional flag", "choice", "integer", "number", "text", "names"]
UNSET, YES, NO = "as usual", "yes", "no"
OPTIONAL_FLAG: Mapping[str, bool | None] = {UNSET: None, YES: True, NO: False}
LONGEST_TEXT, MOST_NAMES = 100, 1000
DATA = "data"  # of a job, whose launcher knows where that is
EXPORT = "annotations"  # where a person unpacks an export
SUGGESTED = re.compile(r"^.+-adapted-\d{1,6}$")
BAD_NAME = (
    f"The adapter's name has 1 to {LONGEST_NAME} letters, digits, dots, hyphens or underscores, and begins with a "
    "letter or a digit; change it."
)


class FormError(ValueError):
    """Something in the form that cannot be used; one sentence that says what to do."""


@dataclass(frozen=True)
class FormField:
    """One setting as the form shows it.

    Args:
        name: of the field of `FinetuneConfig`.
        label, help: for people.
        kind: of its values.
        default: as the form holds it.
        choices: of a "choice" or an "optional flag".
        optional: whether it may be left empty.
        in_sight: place among the fields that are changed most; 0 for the others.
        group: of the others, as in `--help`.
    """

    name: str
    label: str
    help: str
    kind: Kind
    default: Any
    choices: tuple[str, ...] = ()
    optional: bool = False
    in_sight: int = 0
    group: str = ""

    def read(self, value: object) -> object:
        """Return a value of the form, which may come from anybody, for the configuration to check; None where it was
        left empty.

        Raises:
            FormError: it is longer than any value.
        """
        if self.kind == "optional flag":
            value = OPTIONAL_FLAG.get(value, value) if isinstance(value, str) else ""
        elif self.optional and isinstance(value, str):  # a number that was typed
            with suppress(ValueError):
                value = float(value[:LONGEST_TEXT]) if value.strip() else None
        if (self.kind == "names" and not is_names(value)) or (isinstance(value, str) and len(value) > LONGEST_TEXT):
            raise FormError(f"{self.label}: choose one of the values that the form offers.")
        return value


def is_names(value: object) -> bool:
    """Return whether a value is a list of texts within the limits of a form."""
    listed = isinstance(value, list | tuple) and len(value) <= MOST_NAMES
    return listed and all(isinstance(one, str) and len(one) <= LONGEST_TEXT for one in value)  # type: ignore[attr-defined]


@cache
def form_fields() -> dict[str, FormField]:
    """Return the fields of the form by name: first those that are changed most, then the others in the configuration's
    order."""
    groups, group = {}, ""
    for name in FinetuneConfig.model_fields:
        group = groups[name] = setting_of(name).group or group
    shown = [replace(_field(name), group=groups[name]) for name in groups if setting_of(name).on_page]
    return {one.name: one for one in sorted(shown, key=lambda one: one.in_sight or len(shown))}


def _field(name: str) -> FormField:
    info, setting = FinetuneConfig.model_fields[name], setting_of(name)
    kind, optional, choices = _kind_of(info.annotation)
    default, help_text = info.get_default(), info.description or ""
    if name in FOLLOW_BASE:
        default, optional, help_text = None, True, f"{help_text} Empty: as suits the base."
    if kind == "optional flag":
        default = next(word for word, meaning in OPTIONAL_FLAG.items() if meaning is default)
    elif kind == "choice":
        default = default.value
    elif kind == "names":
        default = list(default)
    label = setting.label or name.replace("_", " ").capitalize()
    return FormField(name, label, help_text, kind, default, choices, optional, setting.in_sight)


def _kind_of(annotation: Any) -> tuple[Kind, bool, tuple[str, ...]]:  # noqa: ANN401 (a type)
    """Return the kind of a type's values, whether they may be empty, and what can be chosen."""
    optional = False
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        (annotation,) = (one for one in typing.get_args(annotation) if one is not type(None))
        optional = True
    if annotation is bool:
        return ("optional flag", True, tuple(OPTIONAL_FLAG)) if optional else ("flag", False, ())
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return "choice", optional, tuple(str(one.value) for one in annotation)
    if typing.get_origin(annotation) is tuple and typing.get_args(annotation)[0] is str:
        return "names", optional, ()
    kinds: dict[object, Kind] = {int: "integer", float: "number", str: "text"}
    return kinds[annotation], optional, ()  # a new kind of field fails here, in the first test


@dataclass(frozen=True)
class TrainingForm:
    """A form as a browser sent it; its methods check what they return.

    Args:
        name: of the adapter.
        base: name of a loaded model.
        accepted_only, annotators, least_agreement: as in `DataChoice`.
        settings: field of `FinetuneConfig` -> value of the form.
        project: as in `DataChoice`.
    """

    name: object = ""
    base: object = ""
    accepted_only: object = False
    annotators: object = ()
    least_agreement: object = 0.0
    settings: Mapping[str, object] = field(default_factory=dict)
    project: object = ""

    def adapter_name(self) -> str:
        """Return the adapter's name.

        Raises:
            FormError: no folder can have it.
        """
        name = self.name.strip() if isinstance(self.name, str) else ""
        if not re.fullmatch(NAME_PATTERN, name):
            raise FormError(BAD_NAME)
        return name

    def choice(self) -> DataChoice:
        """Return which submissions are learned from.

        Somebody who is held out is among the chosen: what they say is scored against.

        Raises:
            FormError: a value of the wrong kind.
        """
        least, hidden = self.least_agreement, cast(Any, self.settings.get("held_out_annotators") or ())
        names = is_names(self.annotators) and is_names(hidden) and is_names([self.project])
        if not isinstance(self.accepted_only, bool) or not names:
            raise FormError("The choice of submissions cannot be read; choose again.")
        if isinstance(least, bool) or not isinstance(least, int | float) or not 0 <= least <= 1:
            raise FormError("The least agreement is a number from 0 to 1; move the slider.")
        chosen: tuple[str, ...] = tuple(cast(Any, self.annotators))
        if chosen:
            chosen = tuple(dict.fromkeys((*chosen, *hidden)))
        return DataChoice(self.accepted_only, chosen, float(least), self.project)  # type: ignore[arg-type]

    def config(self, bases: Mapping[str, str]) -> FinetuneConfig:
        """Return the configuration of the training.

        Args:
            bases: name of a loaded model -> where it was loaded from.

        Raises:
            FormError: no such base, a value that cannot be used, or nobody who is chosen is left to learn from.
        """
        if not isinstance(self.base, str) or self.base not in bases:
            raise FormError(f"Choose a base: {', '.join(bases)}.")
        settings = read_settings(self.settings)
        chosen, hidden = cast(Any, self.annotators), cast(Any, settings.get("held_out_annotators", ()))
        if chosen and is_names(chosen) and not set(chosen) - set(hidden):
            raise FormError("Everybody who is chosen is held out; choose somebody to learn from.")
        try:
            values = {"annotations": (DATA,), "base": bases[self.base], **settings}
            return with_base_defaults(FinetuneConfig.from_values(values))
        except ConfigError as error:
            raise FormError(_with_label(str(error))) from None


def read_settings(values: Mapping[str, object]) -> dict[str, object]:
    """Return the configuration's values from a form's; a field that was left empty keeps its default.

    Raises:
        FormError: a value of the wrong kind.
    """
    read = {name: one.read(values[name]) for name, one in form_fields().items() if name in values}
    return {name: value for name, value in read.items() if value is not None or name not in FOLLOW_BASE}


def _with_label(problem: str) -> str:
    """Return a problem of the configuration with the label that the form gives the field."""
    place, _, text = problem.partition(": ")
    field = form_fields().get(place.partition(".")[0])
    if field is not None and text:
        text = text.removeprefix("Input ")
        return f"{field.label} {text[0].lower()}{text[1:]}; change it."
    return f"{problem[0].upper()}{problem[1:]}."


def suggested_name(base: str, names: Collection[str]) -> str:
    """Return a name for an adapter of a base that is not among `names`."""
    stem = re.sub(r"[^A-Za-z0-9._-]", "-", PurePath(base).name)[: LONGEST_NAME - 16].lstrip("._-") or "model"
    known = {name.lower() for name in names}
    return next(name for number in range(1, 10**6) if (name := f"{stem}-adapted-{number}").lower() not in known)


def is_suggested(name: object) -> bool:
    """Return whether a name is empty or was suggested, so that another suggestion may replace it."""
    return not isinstance(name, str) or not name.strip() or SUGGESTED.match(name) is not None


def command_of(config: FinetuneConfig, choice: DataChoice, name: str) -> str:
    """Return the same training as a command for another machine, on an export that was unpacked there.

    Only what differs from the defaults is written. The least agreement has no flag: an export is chosen by other
    things. A folder of this machine is named by its last part: everybody reads this.
    """
    base = PurePath(config.base).name if PurePath(config.base).is_absolute() else config.base
    words = ["gazevlm", "finetune", "--annotations", EXPORT, "--base", base, "--out", f"adapters/{name}"]
    usual = with_base_defaults(FinetuneConfig(annotations=(EXPORT,), base=config.base)).to_values()
    learned = [one for one in choice.annotators if one not in config.held_out_annotators]
    chosen = config.to_values() | {"annotators": learned}
    for key, value in chosen.items():
        if key in ("annotations", "base") or value == usual[key] or value is None:
            continue
        flag = f"--{key.replace('_', '-')}"
        if isinstance(value, bool):
            words.append(flag if value else flag.replace("--", "--no-", 1))
        elif isinstance(value, list):
            words += [part for one in value for part in (flag, str(one))]
        else:
            words += [flag, str(value)]
    return shlex.join(words)
