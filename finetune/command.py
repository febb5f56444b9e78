"""`gazevlm finetune` and `python -m finetune`: the flags are the fields of `FinetuneConfig`.

    gazevlm finetune --annotations EXPORT --base gazevlm-nano --out my-adapter
    gazevlm finetune --config run.yaml --out my-adapter --resume
    accelerate launch -m finetune --annotations EXPORT --base Qwen/Qwen2.5-VL-3B-Instruct --out my-adapter
"""

import inspect
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

import typer
from filelock import FileLock, Timeout
from typer.core import TyperCommand

from finetune.config import ConfigError, FinetuneConfig, read_yaml, setting_of
from finetune.defaults import commented_yaml, with_base_defaults
from finetune.records import (
    BEGUN,
    CHECKPOINTS,
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_FILE,
    EXIT_STOPPED,
    LOG_FILE,
    Ending,
    RecordError,
    has_learned,
    write_ending,
)
from finetune.stopping import Stopped, StopRequest, cause_of
from gazevlm_core.quiet import quiet_libraries
from gazevlm_core.terminal import WRONG_USE, stop

if TYPE_CHECKING:
    from finetune.run_log import RunLog

RUN_SUFFIX, LOCK_FILE = ".run", ".lock"
NO_NAMES = ("", "..")  # of ".", "/" and "a/.."
VISIBLE, PROCESSES = "CUDA_VISIBLE_DEVICES", "WORLD_SIZE"
CUDA = "cuda"
ENDS_THE_LIST = ("", "-1")  # of GPUs, as CUDA reads it
TO_FILL_IN = "FOLDER"  # of the annotations, in a configuration that is printed as a form
RUN_OPTIONS = "Folders and configuration"
STATUS = {"done": EXIT_DONE, "stopped": EXIT_STOPPED, "failed": EXIT_FAILED}
STOPPED_EARLY = "Stopped before the first step; nothing was learned yet, and resuming starts from there."


# ---- flags ----------------------------------------------------------------------------------------------------------
class GroupedCommand(TyperCommand):
    """A command whose --help lists its options by their `rich_help_panel`, in plain text that cuts no name."""

    def format_options(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 (click's, which typer carries inside)
        """Write one section per group, in the order of the options."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for option in self.get_params(ctx):
            line = option.get_help_record(ctx)
            if line is not None:
                group = getattr(option, "rich_help_panel", None) or RUN_OPTIONS
                groups.setdefault(group, []).append(line)
        for group, lines in groups.items():
            with formatter.section(group):
                formatter.write_dl(lines)


def with_config_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command one flag per field of the configuration; those that are given arrive as `flags`.

    Args:
        command: takes its own parameters and `flags`, a mapping of field -> value.
    """
    own = [one for one in inspect.signature(command).parameters.values() if one.name != "flags"]
    fields, group = [], RUN_OPTIONS
    for name, field in FinetuneConfig.model_fields.items():
        group = setting_of(name).group or group
        option = typer.Option(*_flags(name), help=_help(name), rich_help_panel=group)
        fields.append(inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=None,
            annotation=Annotated[_flag_type(field.annotation), option],
        ))  # fmt: skip

    def wrapped(**values: Any) -> None:
        flags = {name: values.pop(name) for name in FinetuneConfig.model_fields}
        command(**values, flags={name: value for name, value in flags.items() if value not in (None, [])})

    parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own] + fields
    wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {one.name: one.annotation for one in parameters}
    wrapped.__doc__, wrapped.__name__ = command.__doc__, command.__name__
    return wrapped


def _flags(name: str) -> list[str]:
    """Return the names of a flag where the Trainer calls the setting something else; typer names all others."""
    names = [name.replace("_", "-"), setting_of(name).trainer.replace("_", "-")]
    if names[1] in ("", names[0]):
        return []
    on_off = FinetuneConfig.model_fields[name].annotation in (bool, bool | None)
    return [f"--{one}/--no-{one}" if on_off else f"--{one}" for one in names]


def _flag_type(annotation: Any) -> Any:  # noqa: ANN401 (a type of any kind)
    """Return what typer takes for a field: a tuple is a flag that is repeated, and every field may be missing."""
    if get_origin(annotation) is tuple:
        inner: Any = get_args(annotation)[0]
        return list[inner] | None
    kinds = [kind for kind in get_args(annotation) if kind is not NoneType]
    kind = kinds[0] if isinstance(annotation, UnionType) else annotation
    return kind | None


def _help(name: str) -> str:
    field = FinetuneConfig.model_fields[name]
    text = str(field.description)
    if field.is_required() or field.default in (None, (), ""):
        return text
    value = field.default.value if isinstance(field.default, StrEnum) else field.default
    return f"{text} (usually {value})"  # typer would take [] for markup


# ---- the command ----------------------------------------------------------------------------------------------------
@with_config_flags
def finetune(
    out: Annotated[Path | None, typer.Option(help="Folder of the adapter; must not exist.")] = None,
    run: Annotated[Path | None, typer.Option(help="Folder of log and checkpoints; empty for OUT.run.")] = None,
    config: Annotated[Path | None, typer.Option(help="YAML of --print-config; flags go before it.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's last checkpoint.")] = False,
    print_config: Annotated[bool, typer.Option("--print-config", help="Print the configuration and stop.")] = False,
    *,
    flags: dict[str, Any],
) -> None:
    """Fine-tune an adapter on annotated scanpaths: QLoRA, the gaze token, and heads."""
    try:
        values = {**(read_yaml(config) if config else {}), **flags}
        missing = {} if "annotations" in values or not print_config else {"annotations": [TO_FILL_IN]}
        given = FinetuneConfig.from_values({**values, **missing})
        if print_config:
            typer.echo(commented_yaml(given, missing), nl=False)
            return
        if out is None:
            raise ConfigError("out: give a folder for the adapter as --out")
        if out.name in NO_NAMES:
            raise ConfigError(f"out: {out} names no new folder; give one that is not there yet")
        place = run or out.with_name(out.name + RUN_SUFFIX)
        if is_main():  # it writes there at once, so that the others would find a run
            _check_folders(out, place, resume=resume)
        new = not place.exists()
        device, variables = one_gpu(given.device, os.environ)
    except ConfigError as error:
        stop(error, WRONG_USE, command="finetune")
    os.environ.update(variables)
    ending = run_process(given.model_copy(update={"device": device}), out, place)
    if is_main():
        if new and ending.outcome != "done":
            _delete_unused(place)
        typer.echo(ending.cause, err=ending.outcome == "failed")
    raise typer.Exit(STATUS[ending.outcome])


def one_gpu(device: str, environment: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Return the device under the name that it has once no other GPU is seen, and the variables that make it so.

    The Trainer takes all GPUs that it sees, and the first of them whatever the model lies on; so a run on one process
    sees one alone. Each of several processes that a launcher started has its own, by its number.

    Args:
        environment: of this process; GPUs are counted among those that it allows.

    Raises:
        ConfigError: a GPU that is not among them, or one for all of several processes.
    """
    if not device.startswith((CUDA, "auto")):
        return device, {}
    name, _, number = device.partition(":")
    if int(environment.get(PROCESSES, "1")) > 1:
        if number:
            raise ConfigError(f"device: each process has a GPU of its own, and {device} is one; give auto, cuda or cpu")
        return device, {}
    if VISIBLE not in environment:
        return name, {VISIBLE: number or "0"}
    allowed: list[str] = []
    for one in environment[VISIBLE].split(","):
        if one.strip() in ENDS_THE_LIST:
            break
        allowed.append(one.strip())
    if int(number or 0) < len(allowed):
        return name, {VISIBLE: allowed[int(number or 0)]}
    if number:
        raise ConfigError(f"device: {device} is not among the {len(allowed)} GPUs of {VISIBLE}={environment[VISIBLE]}")
    return device, {}  # none may be seen; loading the base says so where CUDA is asked for


def _check_folders(out: Path, run: Path, *, resume: bool) -> None:
    """Check that a run may begin there; delete what is left of one that ended before its first step.

    Raises:
        ConfigError: a run or something else is there already.
    """
    if out.exists() and not resume:
        raise ConfigError(f"out: {out} is there already; give another folder")
    if resume or not (run / LOG_FILE).exists():
        return
    if has_learned(run):
        raise ConfigError(f"run: {run} holds a run already; give --resume to go on with it, or another folder")
    try:
        with FileLock(run / LOCK_FILE, blocking=False):
            for name in (LOG_FILE, BEGUN, EXIT_FILE):  # features are kept
                (run / name).unlink(missing_ok=True)
    except Timeout:
        pass  # another process is at it right now, which `run_process` says


def _delete_unused(run: Path) -> None:
    """Delete the folder of a try that never read its data, unless another process has begun there meanwhile."""
    if not run.is_dir():
        return
    try:
        with FileLock(run / LOCK_FILE, blocking=False):
            if not (run / BEGUN).exists():
                shutil.rmtree(run, ignore_errors=True)
    except Timeout:
        pass


def is_main() -> bool:
    """Return whether this process is the first of those that `accelerate launch` started, or alone."""
    return os.environ.get("RANK", "0") == "0"


def run_process(config: FinetuneConfig, out: Path, run: Path) -> Ending:
    """Train in this process, from reading the data to exit.json.

    Args:
        run: folder of log and checkpoints.
    """
    stop = StopRequest()
    stop.listen()
    with ExitStack() as held:
        try:
            if is_main():
                run.mkdir(parents=True, exist_ok=True)
                out.parent.mkdir(parents=True, exist_ok=True)
                held.enter_context(FileLock(run / LOCK_FILE, blocking=False))  # goes with the process, however it ends
                (run / EXIT_FILE).unlink(missing_ok=True)
        except Timeout:
            return Ending("failed", f"Another process trains in {run}; wait until it ends, or give another folder.")
        except OSError as error:
            return Ending("failed", cause_of(error, ()))
        return _train(config, out, run, stop)


def _train(config: FinetuneConfig, out: Path, run: Path, stop: StopRequest) -> Ending:
    """Train in a folder that is this process's alone, and write down how the run ended."""
    quiet_libraries()
    from finetune.run import finetune as train
    from finetune.run import finished_before
    from finetune.run_log import Console, RunLog
    from finetune.trainer import TrainingError, delete_incomplete
    from gazevlm_core.model.checkpoint import CheckpointError
    from gazevlm_core.sample import DatasetError

    log = None
    try:
        log = RunLog(run, writes=is_main(), console=Console())
        ending = finished_before(with_base_defaults(config), out) or train(config, out, run, stop, log)
    except Stopped:
        ending = Ending("stopped", STOPPED_EARLY)
    except Exception as error:  # whatever it is, the user learns how the run ended
        known = (DatasetError, CheckpointError, ConfigError, TrainingError, RecordError)
        if not isinstance(error, known):
            import traceback

            traceback.print_exc(file=sys.stderr)
        ending = Ending("failed", cause_of(error, known))
    if is_main():
        delete_incomplete(run / CHECKPOINTS)
        _write_ending(ending, run, log)
    return ending


def _write_ending(ending: Ending, run: Path, log: "RunLog | None") -> None:
    """Write down how a run ended, in the log and in exit.json: a disk without room for one may have some for the other.
    Where neither can be written, the exit status says it."""

    def end_log() -> None:
        if log is not None:
            log.write("end", outcome=ending.outcome, cause=ending.cause)
            log.close()

    for write in (end_log, lambda: write_ending(run, ending)):
        try:
            write()
        except OSError as error:
            typer.echo(f"gazevlm finetune: cannot write in {run} how the run ended: {error}", err=True)
