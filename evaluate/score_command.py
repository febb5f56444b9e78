"""`gazevlm score`: one file of scanpaths against another, every metric beside its floors.

    gazevlm score --truth readings.jsonl --predicted paths.jsonl --json
"""

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

FLOOR_WIDTH = 48
MANY_PATHS = 2_000  # from here on, further processes save more than their start costs


def score(
    truth: Annotated[Path, typer.Option(help="Readings, JSON lines: image_id, x, y, duration_ms, reader, ...")],
    predicted: Annotated[Path, typer.Option(help="Paths of the same images, in the same form.")],
    training: Annotated[
        Path | None, typer.Option(help="Readings of a training set, for the floor of the most frequent places.")
    ] = None,
    rows: Annotated[int, typer.Option(help="Patches from top to bottom.", min=1, max=1000)] = 8,
    cols: Annotated[int, typer.Option(help="Patches from left to right.", min=1, max=1000)] = 8,
    seed: Annotated[int, typer.Option(help="Of the random floors and the intervals.", min=0)] = 0,
    jobs: Annotated[int | None, typer.Option(help="Processes; as many as processors for large files.", min=1)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Score scanpaths against readings: every metric with its floors, its order gain and the readers' ceiling."""
    from evaluate.score_files import score_files
    from gazevlm_core.datasets.scanpath_files import ScanpathFileError, read_scanpaths
    from gazevlm_core.geometry import PatchGrid

    try:
        readings, paths = read_scanpaths(truth), read_scanpaths(predicted)
        usual = os.cpu_count() or 1 if len(paths.readings) >= MANY_PATHS else 1
        results = score_files(
            readings,
            paths,
            training=read_scanpaths(training) if training else None,
            grid=PatchGrid(rows, cols),
            seed=seed,
            jobs=jobs or usual,
        )
    except ScanpathFileError as error:
        typer.echo(f"gazevlm score: {error}", err=True)
        raise typer.Exit(1) from None
    typer.echo(json.dumps(results, indent=2) if as_json else render_scores(results))


def render_scores(results: dict[str, Any]) -> str:
    """The results of `score_files` as text: each metric, then what chance and others would score."""
    from evaluate.table import cell

    dropped = ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in results["dropped"].items() if number)
    lines = [
        f"{results['images']} images, {results['pairs']} pairs, grid {results['grid'][0]} x {results['grid'][1]}"
        + (f"; dropped: {dropped}" if dropped else "")
    ]
    for name, values in results["metrics"].items():
        lines += ["", f"{name} ({values['better']} is better, order: {values['order']})"]
        rows = {"score": values, "gain of its order over shuffling": values["order_gain"]}
        rows["ceiling: another reader"] = values["ceiling_other_reader"]
        rows |= {f"floor: {floor}": scores for floor, scores in values["floors"].items()}
        lines += [f"  {label:{FLOOR_WIDTH + 9}} {cell(row)}" for label, row in rows.items()]
    return "\n".join(lines)
