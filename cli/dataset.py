"""`gazevlm dataset`: what a data set on this machine holds.

    gazevlm dataset inspect egd-cxr ROOT --images MIMIC-CXR-JPG --sheet sheet.png
"""

import json
from pathlib import Path
from typing import Annotated

import typer

from cli.terminal import stop

dataset = typer.Typer(help="Look into data sets of gaze and labels.", no_args_is_help=True)


@dataset.callback()
def options() -> None:
    """Look into data sets of gaze and labels; nothing is downloaded."""


@dataset.command()
def inspect(
    name: Annotated[str, typer.Argument(help="reflacx, egd-cxr, mimic-eye, gazesearch, folder, rsna, siim, ...")],
    root: Annotated[Path, typer.Argument(help="Its folder, as it was unpacked; for gazesearch its JSON file.")],
    images: Annotated[Path | None, typer.Option(help="Folder of the images, where they lie elsewhere.")] = None,
    sheet: Annotated[Path | None, typer.Option(help="PNG to write: the first images with a scanpath.")] = None,
    limit: Annotated[int | None, typer.Option(help="Records to read; all without it.", min=1)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Count records, readings, labels and what was dropped; draw a contact sheet."""
    from evaluate.dataset_report import contact_sheet, render_report, survey
    from gazevlm_core.datasets.record import DatasetError
    from gazevlm_core.datasets.registry import open_dataset

    try:
        report, first = survey(open_dataset(name, root, images), limit)
    except DatasetError as error:
        stop(error)
    if not report.records:
        reasons = ", ".join(f"{reason} {number}" for reason, number in report.dropped.items())
        stop(f"{report.name} holds no record that can be used; dropped: {reasons or 'nothing'}")
    if sheet is not None:
        try:
            contact_sheet(first).save(sheet, "PNG")
        except OSError as error:
            stop(f"cannot write {sheet}: {error.strerror or error}")
    typer.echo(json.dumps(report.as_json(), indent=2) if as_json else render_report(report))
