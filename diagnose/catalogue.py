"""What can answer on the page: loaded models, each bare or with an adapter from this machine."""

import logging
import os
import threading
import time
from collections.abc import Generator, Hashable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from gazevlm_core.evaluation.checkpoint_scores import CheckpointScores, read_scores, read_verdict
from gazevlm_core.options import DiagnoseOptions, Precision
from gazevlm_core.records import Diagnosis
from gazevlm_core.words import recognised
from web.models import PLUS

if TYPE_CHECKING:
    from gazevlm_core.datasets.trained_on import TrainedOn
    from gazevlm_core.inference import GazeEngine, LazyEngine
    from gazevlm_core.model.checkpoint import CheckpointFacts
    from gazevlm_core.model.configuration_gazevlm import GazeConfig

PRECISIONS = {
    Precision.NF4: "4 bits (NF4)",
    Precision.INT8: "8 bits",
    Precision.BF16: "16 bits (bfloat16)",
    Precision.FP32: "32 bits (float)",
}
STABLE_NS = 2 * 10**9  # a file system's clock is coarse: what changed more recently may change again unseen
logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Choice:
    """A model, bare or with an adapter.

    Args:
        source: of the model, as in `load_checkpoint`.
        base: the model, which may be loaded only when it is first asked.
        known: of the model, without the adapter.
        verdict: whether the adapter is better than its base, in a sentence; None where nobody compared them.
    """

    name: str  # "MODEL" or "MODEL + ADAPTER"; the one on the page, in links and at the endpoint
    source: str
    base: "GazeEngine | LazyEngine"
    known: "CheckpointFacts"
    adapter: Path | None  # folder, or None
    gaze: "GazeConfig"  # configuration of the gaze parts as they are with the adapter
    scores: CheckpointScores | None  # of exactly this choice; None where it was never scored
    verdict: str | None = None

    @property
    def engine(self) -> "GazeEngine":
        """Of the model, which is loaded now where it was not yet."""
        return self.base.load_now()

    @property
    def learned(self) -> list["TrainedOn | None"]:
        """Whom and what it was trained on; None for a part of it that does not tell."""
        from gazevlm_core.inference import what_is_known
        from gazevlm_core.model.checkpoint import CheckpointError

        try:
            return what_is_known(self.adapter, self.source)
        except CheckpointError:
            return [None]

    @property
    def stamp(self) -> Hashable:
        """Of the adapter's files as they are now; None for a bare model, which stays what it is."""
        from gazevlm_core.model.adapters import adapter_stamp

        return None if self.adapter is None else adapter_stamp(self.adapter)

    def recognise(self, question: str) -> str:
        """Return a question in the wording of the training; any question where the model answers freely.

        Raises:
            UnknownQuestionError: the model was not trained on it; the message says on which it was.
        """
        return recognised(question, self.gaze.known_questions, self.name)

    def facts(self) -> dict[str, str]:
        """Return what a reader should know of this choice: name -> fact."""
        return {
            "model": self.known.model_id,
            "adapter": self.adapter.name if self.adapter else "none",
            **({"held-out scores": self.verdict} if self.verdict else {}),
            "trained on": self.gaze.trained_on or "nothing of ours",
            "weights": PRECISIONS[self.known.precision],
            "device": "GPU" if self.known.device == "cuda" else "CPU",
            "gaze": "trained" if self.gaze.gaze_trained else "untrained: no path is shown",
            "findings": "trained" if self.gaze.findings_trained else "untrained: no probabilities",
        }


class Catalogue:
    """Everything that can answer. One that was trained, changed or deleted meanwhile is seen at the next call: the
    stamps of all adapters' files are compared each time, and read again where any of them changed.

    Args:
        engines: source (as in `load_checkpoint`) -> model, loaded or not, the usual one first.
        adapter: folder of an adapter of the first model, chosen unless another is asked for; the bare model is while
            that folder is gone.
        adapters: folder whose subfolders are adapters; one belongs to the model that its files name.

    Raises:
        ValueError: no model, two of one name, or scores that cannot be read.
        AdapterError: `adapter` does not fit.
    """

    def __init__(
        self,
        engines: Mapping[str, "GazeEngine | LazyEngine"],
        *,
        adapter: Path | None = None,
        adapters: Path | None = None,
    ) -> None:
        from gazevlm_core.model.checkpoint import resolve_source

        if not engines:
            raise ValueError("no model is loaded")
        self._bare: dict[str, Choice] = {}
        for source, engine in engines.items():
            known = engine.facts
            name = known.model_id
            if name in self._bare:
                raise ValueError(f"two models are called {name}; give them names of their own")
            scores = read_scores(Path(resolve_source(source)))
            self._bare[name] = Choice(name, source, engine, known, None, known.gaze_config, scores)
        self._locks = {name: threading.Lock() for name in self._bare}
        self._given, self._folder = adapter, adapters
        self._logged: set[str] = set()
        self._index: dict[Path, tuple[Hashable, Choice | None]] = {}  # folder -> its stamp, and what was read then
        if adapter is not None:
            first = next(iter(self._bare.values()))
            first.engine.use_adapter(adapter)  # fails now, not at the first question
            _adapted(first, adapter)

    def choices(self) -> dict[str, Choice]:
        """Return all choices by name, the default first."""
        folders = self._adapter_folders()
        for gone in self._index.keys() - {*folders, self._given}:
            self._index.pop(gone, None)
        return self._among(folders)

    def _among(self, folders: list[Path]) -> dict[str, Choice]:
        """Return the usual choices, then those of the folders of `adapters`."""
        given = None if self._given is None else self._adapted_choice(self._given)
        found = {**({given.name: given} if given else {}), **self._bare}
        for folder in folders:
            choice = self._adapted_choice(folder)
            if choice is not None:
                found.setdefault(choice.name, choice)
        return found

    def find(self, name: str) -> Choice:
        """Return the choice of a name, "" for the default. Raises ValueError: there is none of that name."""
        of_that_name = [folder for folder in self._adapter_folders() if name.endswith(f"{PLUS}{folder.name}")]
        choices = self._among(of_that_name)
        choice = choices.get(name) if name else next(iter(choices.values()))
        if choice is None:
            raise ValueError(f"There is no model called {name[:80]!r}; choose one of: {', '.join(self.choices())}.")
        return choice

    def ask(
        self, name: str, image: Image.Image, question: str, options: DiagnoseOptions
    ) -> Generator[Diagnosis, None, None]:
        """Yield path and findings first, then growing answers, from one choice; closing the iterator stops the model.

        Raises:
            ValueError: no such choice, its adapter does not fit or was just deleted, or the image's shape is beyond the
                model.
        """
        choice = self.find(name)
        with self._locks[choice.known.model_id]:  # nobody else swaps the adapter meanwhile
            try:
                choice.engine.use_adapter(choice.adapter)
            except ValueError as error:
                if choice.adapter is None or choice.adapter.is_dir():
                    raise
                raise ValueError(f"{choice.name} has just been deleted; choose another model.") from error
            yield from choice.engine.stream(image, question, options)

    def _adapter_folders(self) -> list[Path]:
        if self._folder is None:
            return []
        try:
            with os.scandir(self._folder) as entries:
                names = sorted(entry.name for entry in entries if entry.is_dir() and entry.name[0] != ".")
            return [self._folder / name for name in names]
        except FileNotFoundError:  # it is made with the first adapter
            return []
        except OSError as error:
            self._log_once(error)
            return []

    def _adapted_choice(self, folder: Path) -> Choice | None:
        """Return an adapter on the model that it belongs to; None, and a line in the log, where it cannot be used.

        It is read again once anything in its folder changed. What could not be read is not kept, as it may be soon.
        """
        try:
            stamp, changed_ns = _tree_stamp(folder)
            kept = self._index.get(folder)
            if kept is not None and kept[0] == stamp:
                return kept[1]
            choice = self._read_choice(folder)
        except (ValueError, OSError) as error:  # it may be deleted while it is read
            self._log_once(error)
            return None
        if time.time_ns() - changed_ns > STABLE_NS:
            self._index[folder] = (stamp, choice)
        return choice

    def _read_choice(self, folder: Path) -> Choice | None:
        from gazevlm_core.model.adapters import read_base_name

        base = read_base_name(folder)
        bare = next(iter(self._bare.values())) if folder == self._given else self._bare_of(base)
        return None if bare is None else _adapted(bare, folder)

    def _log_once(self, error: Exception) -> None:
        """Log, once, why something is not offered."""
        if str(error) not in self._logged:
            self._logged.add(str(error))
            logger.warning("not offered: %s", error)

    def _bare_of(self, base: str) -> Choice | None:
        return next((choice for name, choice in self._bare.items() if Path(name).name == base), None)


def _tree_stamp(folder: Path) -> tuple[Hashable, int]:
    """Return a stamp of a folder's state, and when anything in it changed last, in ns since 1970."""
    states = tuple(_states(folder))
    return states, max((ctime_ns for _, ctime_ns, *_ in states), default=0)


def _states(folder: Path | str) -> Iterator[tuple[str, int, int, int, int]]:
    """Yield path, times, inode and size of everything below a folder.

    The time of a file's last change and its inode are part of it: times of writing can be copied, these cannot.
    """
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                state = entry.stat()
            except FileNotFoundError:  # gone meanwhile, or a link to nowhere
                continue
            yield entry.path, state.st_ctime_ns, state.st_mtime_ns, state.st_ino, state.st_size
            if entry.is_dir(follow_symlinks=False):
                yield from _states(entry.path)


def _adapted(base: Choice, folder: Path) -> Choice:
    """Return a model with an adapter on it.

    Raises:
        AdapterError: the folder is incomplete.
        ValueError: scores or a verdict that cannot be read.
    """
    from gazevlm_core.model.adapters import adapted_gaze_config

    name, gaze = f"{base.name}{PLUS}{folder.name}", adapted_gaze_config(base.gaze, folder)
    return Choice(name, base.source, base.base, base.known, folder, gaze, read_scores(folder), read_verdict(folder))
