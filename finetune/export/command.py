"""`gazevlm adapter`: what an adapter is made of, merged into its base, as a file, or on the Hub.

    gazevlm adapter show my-adapter
    gazevlm adapter merge my-adapter my-model
    gazevlm adapter merge my-adapter my-words --as qwen2_5_vl
    gazevlm adapter zip my-adapter my-adapter.zip
    gazevlm adapter push my-adapter OWNER/NAME
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from finetune.export import WITH_GAZE, Storage
from gazevlm_core.quiet import quiet_libraries
from gazevlm_core.terminal import FAILED, WRONG_USE, stop

MEGABYTE = 1e6

adapter = typer.Typer(help="Show an adapter, merge it, pack it, or push it to the Hub.", no_args_is_help=True)
Folder = Annotated[Path, typer.Argument(help="Folder of the adapter.", metavar="ADAPTER")]


@adapter.callback()
def options() -> None:
    """Show an adapter, merge it into its base, pack it, or push it to the Hub."""


@contextmanager
def _one_line_errors(*, loads: bool = True) -> Iterator[None]:
    """Print a known error in one line, with exit status 1 where disk or Hub failed, else 2.

    Args:
        loads: whether a model is loaded, whose libraries must be quiet.
    """
    if loads:
        quiet_libraries()
    try:
        yield
    except (ValueError, OSError, RuntimeError) as error:
        from finetune.export.files import ExportError
        from finetune.records import RecordError
        from gazevlm_core.model.adapters import AdapterError
        from gazevlm_core.model.checkpoint import CheckpointError
        from web.hub import HubError

        if not isinstance(error, OSError | ExportError | RecordError | HubError | AdapterError | CheckpointError):
            raise
        stop(error, FAILED if isinstance(error, OSError | HubError) else WRONG_USE, command="adapter")


@adapter.command()
def show(
    folder: Folder,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole provenance.")] = False,
) -> None:
    """Print what an adapter was made of, its held-out scores, and whether it is better than its base."""
    from finetune.card import provenance_lines
    from finetune.records import RecordError, read_provenance

    with _one_line_errors(loads=False):
        values = read_provenance(folder)
        if values is None:
            raise RecordError(f"{folder} holds no provenance.json; give a folder that `gazevlm finetune` wrote")
        typer.echo(json.dumps(values, indent=2) if as_json else "\n".join(provenance_lines(values)))


@adapter.command()
def merge(
    folder: Folder,
    out: Annotated[Path, typer.Argument(help="Folder of the model; must not exist.", metavar="OUT")],
    base: Annotated[str, typer.Option(help="The base, where the adapter's own name for it is not found.")] = "",
    dtype: Annotated[Storage, typer.Option(help="Of the stored weights; auto takes 16 bits.")] = Storage.AUTO,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "cpu",
    form: Annotated[
        str, typer.Option("--as", help="gazevlm, or the base's family, as qwen2_5_vl: for other servers, without gaze.")
    ] = WITH_GAZE,
) -> None:
    """Write one model of 16 bits out of an adapter and its base; `--model OUT` takes it anywhere."""
    with _one_line_errors():
        from finetune.export.merge import merge_adapter

        merged = merge_adapter(folder, out, base=base, storage=dtype, device=device, form=form)
    typer.echo(f"{merged.folder}: {merged.size / MEGABYTE:,.1f} MB in {merged.storage}")


@adapter.command(name="zip")
def pack(
    folder: Folder,
    out: Annotated[Path, typer.Argument(help="The file; must not exist.", metavar="OUT.zip")],
) -> None:
    """Pack exactly the adapter's files; unpacked, they are the adapter again."""
    with _one_line_errors():
        from finetune.export.files import zip_adapter

        names = zip_adapter(folder, out)
    typer.echo(f"{out}: {len(names)} files, {out.stat().st_size / MEGABYTE:,.1f} MB")


@adapter.command()
def push(
    folder: Annotated[Path, typer.Argument(help="Folder of an adapter, or of a merged model.", metavar="FOLDER")],
    repo: Annotated[str, typer.Argument(help="Repository of the Hub, made if missing.", metavar="OWNER/NAME")],
    public: Annotated[bool, typer.Option("--public", help="Let everybody see it; else it is private.")] = False,
    token: Annotated[
        str | None, typer.Option(envvar="HF_TOKEN", show_envvar=True, help="Token that may write there.")
    ] = None,
) -> None:
    """Send an adapter or a merged model with its card to the Hub."""
    with _one_line_errors():
        from finetune.export.files import push_folder

        pushed = push_folder(folder, repo, token=token or None, private=not public)
    seen = "private" if pushed.private else "public"
    typer.echo(f"https://huggingface.co/{pushed.repo_id}: {len(pushed.files)} files, {seen}")
