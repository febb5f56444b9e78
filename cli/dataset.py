"""`gazevlm dataset`: what a data set on this machine holds, and which images its tables ask for.

    gazevlm dataset inspect egd-cxr ROOT --images MIMIC-CXR-JPG --sheet sheet.png
    gazevlm dataset list-images egd-cxr ROOT > wanted.txt
"""

import json
from pathlib import Path
from typing import Annotated

import typer

from gazevlm_core.terminal import stop

dataset = typer.Typer(help="Look into data sets of gaze and labels.", no_args_is_help=True)


@dataset.callback()
def options() -> None:
    """Look into data sets of gaze and labels; nothing is downloaded."""


Name = Annotated[str, typer.Argument(help="reflacx, egd-cxr, mimic-eye, gazesearch, folder, rsna, siim, ...")]
Root = Annotated[
    Path | None,
    typer.Argument(help="Its folder, as it was unpacked; for gazesearch its JSON file.", show_default=False),
]
RootOption = Annotated[Path | None, typer.Option("--root", help="The same, as `gazevlm evaluate` takes it.")]


@dataset.command()
def inspect(
    name: Name,
    place: Root = None,
    root: RootOption = None,
    images: Annotated[Path | None, typer.Option(help="Folder of the images, where they lie elsewhere.")] = None,
    sheet: Annotated[Path | None, typer.Option(help="PNG to write: the first images with a scanpath.")] = None,
    limit: Annotated[int | None, typer.Option(help="Records to read; all without it.", min=1)] = None,
    open_all: Annotated[
        bool, typer.Option("--open-all", help="Open all images, to name those that cannot be read; else 200.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Count records, readings, labels, what was dropped and what cannot be read; draw a contact sheet."""
    from evaluate.dataset_survey import OPENED, contact_sheet, survey, survey_text
    from gazevlm_core.datasets.registry import open_dataset
    from gazevlm_core.sample import DatasetError

    try:
        source = open_dataset(name, _one(place, root), images)
        counts, first = survey(source, limit, None if open_all else OPENED)
    except DatasetError as error:
        stop(error)
    if not counts["records"]:
        reasons = ", ".join(f"{reason} {number}" for reason, number in counts["dropped"].items())
        stop(f"{counts['dataset']} holds no record that can be used; dropped: {reasons or 'nothing'}")
    if sheet is not None:
        try:
            contact_sheet(first).save(sheet, "PNG")
        except OSError as error:
            stop(f"cannot write {sheet}: {error.strerror or error}")
    typer.echo(json.dumps(counts, indent=2) if as_json else survey_text(counts))


@dataset.command()
def list_images(name: Name, place: Root = None, root: RootOption = None) -> None:
    """Print the image files that a data set's tables ask for, one a line; the images need not be there."""
    from gazevlm_core.datasets.registry import wanted_images
    from gazevlm_core.sample import DatasetError

    try:
        for path in wanted_images(name, _one(place, root)):
            typer.echo(path)
    except DatasetError as error:
        stop(error)


def _one(place: Path | None, root: Path | None) -> Path:
    """Return the folder, given in one way or the other."""
    if (place is None) == (root is None):
        stop("give the data set's folder, once")
    chosen = place if root is None else root
    assert chosen is not None
    return chosen
