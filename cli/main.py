"""`gazevlm`: the commands by name. Each one imports what it needs when it runs, so that --help is quick."""

from typing import Annotated

import typer

from annotate.command import annotations
from cli.dataset import dataset
from cli.diagnose import diagnose
from cli.phantom import phantom
from evaluate.command import evaluate, experiment, score
from finetune.command import GroupedCommand, finetune
from finetune.export.command import adapter
from gazevlm_core import __version__

app = typer.Typer(
    help="A vision-language model that shows where it looks before it speaks. Research only: not a medical device.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich's tables cut the names of options
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(diagnose)
app.command()(phantom)
app.command()(evaluate)
app.command()(score)
app.command()(experiment)
app.command(cls=GroupedCommand)(finetune)
app.add_typer(adapter, name="adapter")
app.add_typer(dataset, name="dataset")
app.add_typer(annotations, name="annotations")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gazevlm {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Look at radiographs, draw phantoms, score checkpoints and scanpaths, fine-tune adapters."""

