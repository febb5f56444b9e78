"""`gazevlm annotations`: images in, export, import, statistics of a store, and receipts checked against an export.

    gazevlm annotations add folder radiographs --quota 3
    gazevlm annotations export OUT --data data --licence cc-by-4.0
    gazevlm annotations verify 7K3M9QW2XC --export OUT
"""

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from annotate.export.formats import NAMES
from gazevlm_core.terminal import WRONG_USE, one_line, stop
from web.formatting import score
from web.markup import Table, plain_text

if TYPE_CHECKING:
    from annotate.quality.survey import Survey
    from annotate.store.model import ImportStatus
    from annotate.store.store import AnnotationStore

annotations = typer.Typer(help="Take annotations out of the store and back, and check them.", no_args_is_help=True)
COMMAND_LINE = "command line"  # a name of the page has "local:" or "hub:" in front
COMMAND = "annotations"
WAIT_S = 0.5
MOST_LINES = 20


ImportKind = Literal["folder", "zip", "hub"]  # as in `annotate.store.model`, which is slow to import
Which = Literal["all", "accepted"]
Data = Annotated[
    Path,
    typer.Option(envvar="GAZEVLM_DATA", help="Folder of the store. DATABASE_URL, where it is set, says the database."),
]
DATA, FORMATS = Path("data"), ",".join(NAMES)
MAIN = "main"  # as in `annotate.store.model`


@annotations.callback()
def options() -> None:
    """Take annotations out of the store and back, and check them; whoever can read the store's folder is an admin."""


@annotations.command("add")
def add_command(
    kind: Annotated[ImportKind, typer.Argument(help="folder, zip or hub.")],
    where: Annotated[str, typer.Argument(help="Path of a folder or zip archive, or owner/name[:split] of a data set.")],
    data: Data = DATA,
    question: Annotated[str | None, typer.Option(help="Asked about them; else the question of the project.")] = None,
    project: Annotated[str, typer.Option(help="Short name of the project that they come into.")] = MAIN,
    quota: Annotated[int | None, typer.Option(help="Annotators that each image wants.", min=1)] = None,
) -> None:
    """Give images out as tasks. Doing it again adds what is missing; a file that is no image is named and left out."""
    from annotate.store.imports import run_next_import

    if kind == "folder" and not Path(where).is_dir():
        stop(f"there is no folder at {where}; give its path", WRONG_USE, command=COMMAND)
    if kind == "zip" and not Path(where).is_file():
        stop(f"there is no archive at {where}; give its path", WRONG_USE, command=COMMAND)
    place = where if kind == "hub" else str(Path(where).resolve())
    with _opened(data, new=True) as store:
        number = store.queue_import(kind, place, store.pseudonym(COMMAND_LINE), question, quota, project)
        done = _import_of(store, number)
        while done.state in ("queued", "running"):
            if run_next_import(store) is None:
                time.sleep(WAIT_S)  # a page that runs beside it does it
            done = _import_of(store, number)
    _print_lines([f"{count} x {reason}" for reason, count in done.reasons.items()])
    if done.state == "failed":
        stop(done.error, command=COMMAND)
    typer.echo(f"{done.added} new images, {done.known} known, {done.refused} refused")


@annotations.command("describe")
def describe_command(
    table: Annotated[Path, typer.Argument(help="CSV file: a column of images, one of patients, any others.")],
    data: Data = DATA,
    replace: Annotated[bool, typer.Option(help="Let what is known already give way to another value.")] = False,
) -> None:
    """Tell patients and metadata of images by a table; rows that cannot be taken are named, the others are taken."""
    from annotate.store.image_table import describe_images

    with _opened(data) as store:
        done = describe_images(store, table, store.pseudonym(COMMAND_LINE), replace_known=replace)
    _print_lines([f"line {one.line}, {one.image or 'no image'}: {one.why}" for one in done.refused])
    typer.echo(f"{done.changed} rows are new, {done.same} were known, {len(done.refused)} are refused")


@annotations.command("projects")
def projects_command(
    data: Data = DATA,
    add: Annotated[str, typer.Option(help="Name of a project to add.")] = "",
    close: Annotated[str, typer.Option(help="Short name of a project that gives out no more images.")] = "",
    reopen: Annotated[str, typer.Option(help="Short name of a closed project that gives them out again.")] = "",
) -> None:
    """List the projects, after adding, closing or opening one: short name, name, images, and whether it is open."""
    from dataclasses import replace

    with _opened(data, new=bool(add)) as store:
        who = store.pseudonym(COMMAND_LINE)
        if add:
            store.add_project(add, who)
        for slug, closed in ((close, True), (reopen, False)):
            if slug:
                store.set_project(replace(store.project(slug), closed=closed), who)
        counts = store.images_in_projects()
        rows = [
            [one.slug, one.name, str(counts.get(one.slug, 0)), "closed" if one.closed else "open"]
            for one in store.projects()
        ]
    typer.echo(plain_text(Table("", ("project", "name", "images", "state"), rows)))


@annotations.command("export")
def export_command(
    folder: Annotated[Path, typer.Argument(help="New folder to write.")],
    data: Data = DATA,
    which: Annotated[Which, typer.Option(help="all: a full copy. accepted: for publishing.")] = "all",
    project: Annotated[str, typer.Option(help="Short name of the one project taken, of accepted submissions.")] = "",
    names: Annotated[bool, typer.Option(help="Write names beside the pseudonyms; not for publishing.")] = False,
    formats: Annotated[str, typer.Option(help=f"Some of {FORMATS}.")] = FORMATS,
    licence: Annotated[str, typer.Option(help="Of the annotations and images, as the Hub names it.")] = "",
    title: Annotated[str, typer.Option(help="Of the data card.")] = "Click scanpaths",
) -> None:
    """Write the store to a folder, in all formats or some, with a data card that tells what each file is."""
    from annotate.export.folder import export_store

    chosen = [name.strip() for name in formats.split(",") if name.strip()]
    with _opened(data) as store:
        counts = export_store(
            store, folder, which=which, project=project, names=names, formats=chosen, licence=licence, title=title
        ).counts  # fmt: skip
    typer.echo(f"{counts['submissions']} submissions on {counts['images']} images, in {folder}")


@annotations.command("import")
def import_command(
    folder: Annotated[Path, typer.Argument(help="Folder that `export` wrote.")],
    data: Data = DATA,
    source: Annotated[str | None, typer.Option("--from", help="Format to read; JSON lines where they are.")] = None,
    skip_bad: Annotated[bool, typer.Option(help="Leave bad lines out; else one bad line refuses all.")] = False,
) -> None:
    """Take an export into a store; what is there already stays as it is."""
    from annotate.export.importer import BadExportError, import_folder

    if source is not None and source not in NAMES:
        stop(f"there is no format {source}; see --help", WRONG_USE, command=COMMAND)
    with _opened(data, new=True) as store:
        try:
            done = import_folder(store, folder, source=source, skip_bad=skip_bad)
        except BadExportError as error:
            _print_lines(error.lines)
            stop(f"{len(error.lines)} bad lines; nothing was imported. --skip-bad leaves them out", command=COMMAND)
    _print_lines(done.bad)
    parts = [f"{done.added[kind]} new, {done.known[kind]} known {kind}" for kind in sorted(done.added | done.known)]
    typer.echo("; ".join(parts) or "nothing to import")
    if done.bad:
        typer.echo(f"{len(done.bad)} bad lines were left out")


@annotations.command("stats")
def stats_command(
    data: Data = DATA,
    seed: Annotated[int, typer.Option(help="Of the random floors.", min=0)] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Count what the store holds; agreement beside floors; annotators compared."""
    from dataclasses import asdict

    from annotate.export.folder import images_with_submissions
    from annotate.quality.survey import survey

    with _opened(data) as store:
        counts = asdict(store.counts())
        pairs = images_with_submissions(store)
        found = survey(((image, [one for one in stored if not one.removed]) for image, stored in pairs), seed=seed)
    typer.echo(json.dumps({"counts": counts, **found.as_json()}, indent=2) if as_json else render_stats(counts, found))


@annotations.command("verify")
def verify_command(
    receipt: Annotated[str, typer.Argument(help="Receipt id, ten characters; none: check the whole export.")] = "",
    digest: Annotated[str, typer.Argument(help="SHA-256 that came with the receipt, or its beginning.")] = "",
    export: Annotated[Path, typer.Option(help="Folder of an export.")] = Path("."),
) -> None:
    """Compute every record's digest again, and say whether the export contains a receipt: exit status 0 or 1."""
    from annotate.export.verify import verify_export
    from annotate.store.model import StoreError

    try:
        result = verify_export(export, receipt, digest)
    except StoreError as error:
        stop(error, WRONG_USE, command=COMMAND)
    _print_lines(result.bad)
    if receipt and result.found is None:
        stop(f"receipt {receipt} is not in this export; it may wait for review, or have been rejected", command=COMMAND)
    if receipt and result.found is not None:
        kept = result.found
        typer.echo(f"receipt {kept.receipt_id} is in this export: submission {kept.number}, {kept.verdict}")
        typer.echo(f"its record has the digest {kept.digest}")
    elif not result.bad:
        typer.echo(f"{result.records} records, each as its receipt says; every file is as it was written")
    if result.bad:
        stop(f"{len(result.bad)} records or files are not as they were written", command=COMMAND)


def _import_of(store: "AnnotationStore", number: int) -> "ImportStatus":
    return next(one for one in store.imports() if one.number == number)


@contextmanager
def _opened(data: Path, *, new: bool = False) -> Iterator["AnnotationStore"]:
    """Return the store of the program's settings with its folder, closed at the end; what goes wrong is one line."""
    from annotate.store.model import StoreError
    from annotate.store.store import AnnotationStore
    from web.settings import Settings, SettingsError

    try:
        settings = Settings.from_environment(os.environ).model_copy(update={"data": data})
        if not new and not settings.database_url and not data.is_dir():
            stop(f"there is no store at {data}; give its folder as --data", command=COMMAND)
        with closing(AnnotationStore.of_settings(settings)) as store:
            store.drop_stale_gold("command")
            yield store
    except (SettingsError, StoreError) as error:
        stop(error, command=COMMAND)


def render_stats(counts: Mapping[str, int], found: "Survey") -> str:
    """Return counts, agreement beside floors, and a row per annotator, as text."""
    from annotate.quality.scores import FLOORS
    from annotate.quality.survey import HEADS

    pairs = sum(image.pairs > 0 for image in found.images)
    levels = [
        [name, level.order, score(level.value), *(score(level.floors[floor]) for floor in FLOORS)]
        for name, level in found.levels.items()
    ]
    annotators = [list(map(_cell, one.row())) for one in found.annotators]
    heads = ["score", "order", "annotators", *(f"floor: {floor}" for floor in FLOORS)]
    agreement = f"agreement on {pairs} images with at least two annotators (sequence score on 8 x 8 patches):"
    lines = [
        ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in counts.items()),
        "",
        plain_text(Table(agreement, heads, levels)),
        "",
        plain_text(Table("", HEADS, annotators)),
    ]
    flags: dict[str, int] = {}
    for one in found.annotators:
        for name, count in one.flags.items():
            flags[name] = flags.get(name, 0) + count
    if flags:
        lines += ["", "flags: " + ", ".join(f"{name} {count}" for name, count in sorted(flags.items()))]
    return "\n".join(lines)


def _cell(value: object) -> str:
    return score(value) if value is None or isinstance(value, float) else str(value)


def _print_lines(lines: list[str]) -> None:
    for line in lines[:MOST_LINES]:
        typer.echo(f"gazevlm annotations: {one_line(line)}", err=True)
    if len(lines) > MOST_LINES:
        typer.echo(f"gazevlm annotations: and {len(lines) - MOST_LINES} more", err=True)
