"""What an admin asks for in the form: which data, which base, which settings, under which name."""

import re
import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath

from finetune.config import LONGEST_NAME, NAME_PATTERN, ConfigError, FinetuneConfig
from finetune.defaults import suited
from finetune.tab.form import LABELS, FormError, fields_of_form, is_names, settings_of
from web.training_data import DataChoice

DATA = "data"  # of a job, whose launcher knows where that is
EXPORT = "annotations"  # where a person unpacks an export
SUGGESTED = re.compile(r"^(?P<stem>.+)-adapted-(?P<number>\d{1,6})$")
BAD_NAME = (
    f"The adapter's name has 1 to {LONGEST_NAME} letters, digits, dots, hyphens or underscores, and begins with a "
    "letter or a digit; change it."
)


@dataclass(frozen=True)
class Asked:
    """A form that was sent. Nothing of it is believed until a method has checked it.

    Args:
        name: of the adapter.
        base: name of a loaded model.
        accepted_only, annotators, least_agreement: as in `DataChoice`.
        settings: field of `FinetuneConfig` -> value of the form.
    """

    name: object = ""
    base: object = ""
    accepted_only: object = False
    annotators: object = ()
    least_agreement: object = 0.0
    settings: Mapping[str, object] = field(default_factory=dict)

    def checked_name(self) -> str:
        """The adapter's name.

        Raises:
            FormError: it cannot be one.
        """
        name = self.name.strip() if isinstance(self.name, str) else ""
        if not re.fullmatch(NAME_PATTERN, name):
            raise FormError(BAD_NAME)
        return name

    def choice(self) -> DataChoice:
        """Which submissions.

        Raises:
            FormError: a value that is nothing of the kind.
        """
        least = self.least_agreement
        if not isinstance(self.accepted_only, bool) or not is_names(self.annotators):
            raise FormError("The choice of submissions cannot be read; choose again.")
        if isinstance(least, bool) or not isinstance(least, int | float) or not 0 <= least <= 1:
            raise FormError("The least agreement is a number from 0 to 1; move the slider.")
        return DataChoice(self.accepted_only, tuple(self.annotators), float(least))  # type: ignore[arg-type]

    def config(self, bases: Mapping[str, str]) -> FinetuneConfig:
        """The configuration of the training.

        Args:
            bases: name of a loaded model -> where it was loaded from.

        Raises:
            FormError: no such base, or a value that cannot be used.
        """
        if not isinstance(self.base, str) or self.base not in bases:
            raise FormError(f"Choose a base: {', '.join(bases)}.")
        settings = settings_of(self.settings)
        try:
            return suited(FinetuneConfig.from_values({"annotations": (DATA,), "base": bases[self.base], **settings}))
        except ConfigError as error:
            raise FormError(_in_words(str(error))) from None


def _in_words(problem: str) -> str:
    """A problem of the configuration with the form's own labels."""
    name, colon, text = problem.partition(": ")
    labels = {known: found.label for known, found in fields_of_form().items()} | LABELS
    if colon and name in labels:
        text = text.removeprefix("Input ")
        return f"{labels[name]} {text}; change it."
    return f"{problem[0].upper()}{problem[1:]}."


def suggested_name(base: str, taken: Collection[str]) -> str:
    """A name that no adapter has yet.

    Args:
        base: name of the model.
        taken: names in use.
    """
    stem = re.sub(r"[^A-Za-z0-9._-]", "-", PurePath(base).name)[: LONGEST_NAME - 16].lstrip("._-") or "model"
    known = {name.lower() for name in taken}
    return next(name for number in range(1, 10**6) if (name := f"{stem}-adapted-{number}").lower() not in known)


def is_suggested(name: object) -> bool:
    """Whether a name is empty or of this module's making, so that another suggestion may take its place."""
    return not isinstance(name, str) or not name.strip() or SUGGESTED.match(name) is not None


def command_of(config: FinetuneConfig, choice: DataChoice, name: str) -> str:
    """The same training as a command for another machine, on an export that was unpacked there.

    Only what differs from the usual is said. The agreement is not: an export is chosen by other things. A folder of
    this machine is named by its last part: the other has it elsewhere, and everybody reads this.
    """
    base = PurePath(config.base).name if PurePath(config.base).is_absolute() else config.base
    words = ["gazevlm", "finetune", "--annotations", EXPORT, "--base", base, "--out", f"adapters/{name}"]
    usual = suited(FinetuneConfig(annotations=(EXPORT,), base=config.base)).to_values()
    chosen = config.to_values() | {"annotators": list(choice.annotators)}
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
