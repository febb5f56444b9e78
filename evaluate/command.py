"""`gazevlm evaluate`: the scores of a checkpoint on a data set, beside floors, ceilings and twins.

    gazevlm evaluate --dataset phantom --n 1000 --seed 4242 --json
    gazevlm evaluate --dataset egd-cxr --root EGD-CXR --images MIMIC-CXR-JPG --adapter my-adapter
"""

import json
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gazevlm_core.options import Attention

if TYPE_CHECKING:
    from gazevlm_core.datasets.trained_on import TrainedOn

# Ordered gaze, trained as long as the other two; no gaze supervision; plain placeholders, that is, no previous patch.
TWINS = ("short", "no-gaze", "plain")


PHANTOM = "phantom"
PHANTOM_ONLY, REAL_ONLY = ("n", "domain", "twins", "reference", "workers"), ("root", "images", "split", "limit")


class Domain(StrEnum):
    """A: as in training. B: other scanner, habitus and prevalence."""

    A = "A"
    B = "B"


def evaluate(
    context: typer.Context,
    dataset: Annotated[str, typer.Option(help="phantom, or a name that `gazevlm dataset inspect` takes.")] = PHANTOM,
    model: Annotated[str, typer.Option(help="A shipped checkpoint, a folder, or a Hub id.")] = "gazevlm-nano",
    adapter: Annotated[Path | None, typer.Option(help="Folder of an adapter.", exists=True, file_okay=False)] = None,
    seed: Annotated[int, typer.Option(help="Phantoms: which, S >= 0, never seen in training. Else: of floors.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    batch_size: Annotated[int, typer.Option(help="Images at once.", min=1)] = 64,
    attn: Annotated[Attention, typer.Option(help="How attention is computed.")] = Attention.SDPA,
    n: Annotated[int, typer.Option("--n", help="Phantoms: number of images.", min=1)] = 1000,
    domain: Annotated[Domain, typer.Option(help="Phantoms: A as in training, B for zero-shot tests.")] = Domain.A,
    twins: Annotated[bool, typer.Option(help="Phantoms: score the twins beside it, where they are.")] = True,
    reference: Annotated[
        Path | None, typer.Option(help="Phantoms: full-precision form, for the cost of quantisation.", exists=True)
    ] = None,
    workers: Annotated[int, typer.Option(help="Phantoms: processes that draw images.", min=1)] = 2,
    root: Annotated[Path | None, typer.Option(help="Other data sets: folder (gazesearch: JSON file).")] = None,
    images: Annotated[Path | None, typer.Option(help="Other data sets: folder of images that lie elsewhere.")] = None,
    split: Annotated[
        str, typer.Option(help="Other data sets: test, validation, held-out (both), train or all.")
    ] = "test",
    limit: Annotated[int | None, typer.Option(help="Other data sets: most records; all without it.", min=1)] = None,
) -> None:
    """Score a checkpoint: findings, reports, scanpaths and stopping, with floors and 95% intervals."""
    from gazevlm_core.quiet import quiet_libraries

    idle = _given(context, REAL_ONLY if dataset == PHANTOM else PHANTOM_ONLY)
    if idle:
        what = "phantoms are drawn" if dataset == PHANTOM else f"{dataset} is no phantom"
        typer.echo(f"gazevlm evaluate: {what}; leave out --{idle[0]}, or name another --dataset", err=True)
        raise typer.Exit(2)
    if dataset != PHANTOM:
        _evaluate_dataset(
            dataset, root, images, model, adapter, split=split, limit=limit, batch_size=batch_size, seed=seed,
            as_json=as_json, attn=attn,
        )  # fmt: skip
        return
    from evaluate.cases import phantom_seeds

    try:
        phantom_seeds(seed, n)
    except ValueError as error:
        typer.echo(f"gazevlm evaluate: {error}", err=True)
        raise typer.Exit(2) from None
    quiet_libraries()
    from evaluate.datasets.table import UNKNOWN
    from evaluate.phantom_eval import OtherModelError
    from evaluate.run import evaluate_phantoms
    from evaluate.table import render_tables
    from gazevlm_core.model.adapters import AdapterError
    from gazevlm_core.model.checkpoint import CheckpointError
    from gazevlm_core.ranks import Ranks
    from gazevlm_core.sample import DatasetError

    others = twin_sources(model) if twins else {}
    if twins and not others:
        typer.echo(f"no twins of {model} were found; it is scored alone", err=True)
    try:
        trained = what_is_known(adapter, model)
        if None in trained:
            typer.echo(UNKNOWN, err=True)
        results = evaluate_phantoms(
            n, seed, domain.value, model, adapter=adapter, twins=others, reference=reference,
            batch_size=batch_size, workers=workers, attn=attn, ranks=Ranks.of_this_run(), trained=trained,
        )  # fmt: skip
    except (CheckpointError, AdapterError, OtherModelError, DatasetError) as error:
        typer.echo(f"gazevlm evaluate: {error}", err=True)
        raise typer.Exit(1) from None
    if results is not None:
        typer.echo(json.dumps(results, indent=2) if as_json else render_tables(results))


def _given(context: typer.Context, names: Sequence[str]) -> list[str]:
    """Which of these options stand on the command line, where they would do nothing."""
    sources = {name: context.get_parameter_source(name) for name in names}
    return [name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]


def _evaluate_dataset(
    name: str,
    root: Path | None,
    images: Path | None,
    model: str,
    adapter: Path | None,
    *,
    split: str,
    limit: int | None,
    batch_size: int,
    seed: int,
    as_json: bool,
    attn: Attention,
) -> None:
    """Score on a real data set; see `evaluate.datasets`."""
    from gazevlm_core.quiet import quiet_libraries

    quiet_libraries()
    from tqdm import tqdm

    from evaluate.datasets.run import evaluate_dataset
    from evaluate.datasets.table import render_dataset
    from gazevlm_core.datasets.registry import open_dataset
    from gazevlm_core.inference import GazeEngine
    from gazevlm_core.model.adapters import AdapterError
    from gazevlm_core.model.checkpoint import CheckpointError
    from gazevlm_core.ranks import Ranks
    from gazevlm_core.sample import DatasetError

    try:
        if root is None:
            raise DatasetError(f"{name}: give its folder as --root")
        folder = root
        open_dataset(name, folder, images)  # before a model is loaded
        trained = what_is_known(adapter, model)
        engine = GazeEngine.load(model, adapter=adapter, attn=attn)
        with tqdm(total=None, unit=" records", desc=f"asking about {name}", disable=None) as bar:
            results = evaluate_dataset(
                lambda: open_dataset(name, folder, images), engine, split=split, limit=limit, batch_size=batch_size,
                seed=seed, asked=bar.update, ranks=Ranks.of_this_run(), trained=trained,
            )  # fmt: skip
    except (DatasetError, CheckpointError, AdapterError) as error:
        typer.echo(f"gazevlm evaluate: {error}", err=True)
        raise typer.Exit(1) from None
    if results is not None:
        typer.echo(json.dumps(results, indent=2) if as_json else render_dataset(results))


def what_is_known(adapter: Path | None, model: str) -> "list[TrainedOn | None]":
    """What an adapter was trained on, None where it does not tell; and an adapter that was merged into the model.

    Raises:
        DatasetError: provenance that cannot be read.
        CheckpointError: there is no such model.
    """
    from gazevlm_core.datasets.trained_on import PROVENANCE_FILE, read_all_trained_on
    from gazevlm_core.model.checkpoint import find_beside
    from gazevlm_core.sample import DatasetError

    merged = find_beside(model, PROVENANCE_FILE)
    folders = [*([adapter] if adapter else []), *([merged.parent] if merged else [])]
    try:
        return [told for folder in folders for told in read_all_trained_on(folder)]
    except ValueError as error:
        raise DatasetError(str(error)) from None


def twin_sources(model: str) -> dict[str, str]:
    """Folders of the twins that lie beside a checkpoint: twin -> folder; a Hub id has none."""
    from gazevlm_core.model.checkpoint import resolve_source

    folder = Path(resolve_source(model))
    if not folder.is_dir():
        return {}
    beside = {twin: folder.parent / f"{folder.resolve().name}-{twin}" for twin in TWINS}
    return {twin: str(path) for twin, path in beside.items() if path.is_dir()}
