"""`gazevlm evaluate`: the scores of a checkpoint on a data set, beside floors, ceilings and twins.

    gazevlm evaluate --dataset phantom --n 1000 --seed 4242 --json
"""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

# Ordered gaze, trained as long as the other two; no gaze supervision; plain placeholders, that is, no previous patch.
TWINS = ("short", "no-gaze", "plain")


class Dataset(StrEnum):
    """Data sets that can be scored."""

    PHANTOM = "phantom"


class Domain(StrEnum):
    """A: as in training. B: other scanner, habitus and prevalence."""

    A = "A"
    B = "B"


def evaluate(
    dataset: Annotated[Dataset, typer.Option(help="What to score on.")] = Dataset.PHANTOM,
    n: Annotated[int, typer.Option("--n", help="Number of images.", min=1)] = 1000,
    seed: Annotated[int, typer.Option(help="Which images: any S >= 0; none was seen in training.")] = 0,
    domain: Annotated[Domain, typer.Option(help="A as in training, B for zero-shot tests.")] = Domain.A,
    model: Annotated[str, typer.Option(help="Name of a shipped checkpoint, a folder, or a Hub id.")] = "gazevlm-nano",
    adapter: Annotated[Path | None, typer.Option(help="Folder of an adapter.", exists=True, file_okay=False)] = None,
    twins: Annotated[bool, typer.Option(help="Score the twins beside it, where they are.")] = True,
    reference: Annotated[
        Path | None, typer.Option(help="Full-precision checkpoint, for the cost of quantisation.", exists=True)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    batch_size: Annotated[int, typer.Option(help="Images at once.", min=1)] = 64,
    workers: Annotated[int, typer.Option(help="Processes that draw images.", min=1)] = 2,
) -> None:
    """Score a checkpoint: AUROC, reports, scanpaths and stopping, with floors and 95% intervals."""
    from evaluate.cases import phantom_seeds
    from gazevlm_core.quiet import quiet_libraries

    try:
        phantom_seeds(seed, n)
    except ValueError as error:
        typer.echo(f"gazevlm evaluate: {error}", err=True)
        raise typer.Exit(2) from None
    quiet_libraries()
    from evaluate.phantom_eval import OtherModelError
    from evaluate.run import evaluate_phantoms
    from evaluate.table import render_tables
    from gazevlm_core.model.adapters import AdapterError
    from gazevlm_core.model.checkpoint import CheckpointError

    others = twin_sources(model) if twins else {}
    if twins and not others:
        typer.echo(f"no twins of {model} were found; it is scored alone", err=True)
    try:
        results = evaluate_phantoms(
            n, seed, domain.value, model, adapter=adapter, twins=others, reference=reference,
            batch_size=batch_size, workers=workers,
        )  # fmt: skip
    except (CheckpointError, AdapterError, OtherModelError) as error:
        typer.echo(f"gazevlm evaluate: {error}", err=True)
        raise typer.Exit(1) from None
    typer.echo(json.dumps(results, indent=2) if as_json else render_tables(results))


def twin_sources(model: str) -> dict[str, str]:
    """Folders of the twins that lie beside a checkpoint: twin -> folder; a Hub id has none."""
    from gazevlm_core.model.checkpoint import resolve_source

    folder = Path(resolve_source(model))
    if not folder.is_dir():
        return {}
    beside = {twin: folder.parent / f"{folder.resolve().name}-{twin}" for twin in TWINS}
    return {twin: str(path) for twin, path in beside.items() if path.is_dir()}
