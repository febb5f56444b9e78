"""`gazevlm evaluate`, `score` and `experiment`: a checkpoint on a data set, a file of scanpaths against another, and
what the order of gaze is worth.

    gazevlm evaluate --dataset phantom --n 1000 --seed 4242 --json
    gazevlm evaluate --dataset egd-cxr --root EGD-CXR --images MIMIC-CXR-JPG --adapter my-adapter
    gazevlm score --truth readings.jsonl --predicted paths.jsonl --json
    gazevlm experiment --out reports/order-experiment
"""

import json
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gazevlm_core.options import Attention
from gazevlm_core.quiet import quiet_libraries
from gazevlm_core.terminal import WRONG_USE, progress, stop
from gazevlm_core.training.gaze_order import GazeOrder

if TYPE_CHECKING:
    from gazevlm_core.evaluation.report import DatasetReport, PathReport, PhantomReport, Role

PHANTOM = "phantom"
PLANNED = ("sizes", "seeds", "orders", "variants", "base", "steps", "test_images")  # of an experiment
PHANTOM_ONLY, REAL_ONLY = ("n", "domain", "twins", "reference", "workers"), ("root", "images", "split", "limit")
Domain = Literal["A", "B"]  # as in training; other scanner, habitus and prevalence
MANY_PATHS = 2_000  # from here on, further processes save more than their start costs


def evaluate(
    context: typer.Context,
    dataset: Annotated[str, typer.Option(help="phantom, or a name that `gazevlm dataset inspect` takes.")] = PHANTOM,
    model: Annotated[str, typer.Option(help="A shipped checkpoint, a folder, or a Hub id.")] = "gazevlm-nano",
    adapter: Annotated[Path | None, typer.Option(help="Folder of an adapter.", exists=True, file_okay=False)] = None,
    seed: Annotated[int, typer.Option(help="Phantoms: which, S >= 0, never seen in training. Else: of floors.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    batch_size: Annotated[int, typer.Option(help="Images at once.", min=1)] = 64,
    attn: Annotated[Attention, typer.Option(help="How attention is computed.")] = Attention.SDPA,
    faithfulness: Annotated[
        bool, typer.Option("--faithfulness", help="Also change path and glimpses: how far is it believed?")
    ] = False,
    faithfulness_images: Annotated[int, typer.Option(help="Images for --faithfulness, at most.", min=2)] = 100,
    n: Annotated[int, typer.Option("--n", help="Phantoms: number of images.", min=1)] = 1000,
    domain: Annotated[Domain, typer.Option(help="Phantoms: A as in training, B for zero-shot tests.")] = "A",
    twins: Annotated[bool, typer.Option(help="Phantoms: score the twins beside it, where they are.")] = True,
    reference: Annotated[
        Path | None, typer.Option(help="Phantoms: full-precision form, for the cost of quantisation.", exists=True)
    ] = None,
    workers: Annotated[int, typer.Option(help="Phantoms: processes that draw images.", min=1)] = 2,
    root: Annotated[Path | None, typer.Option(help="Other data sets: folder (gazesearch: JSON file).")] = None,
    images: Annotated[Path | None, typer.Option(help="Other data sets: folder of images that lie elsewhere.")] = None,
    split: Annotated[
        str | None,
        typer.Option(help="Other data sets: validation, held-out (with test), train, all; test without it, or all "
                     "of a labels.csv."),
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Other data sets: most records; all without it.", min=1)] = None,
) -> None:
    """Score a checkpoint: findings, reports, scanpaths and stopping, with floors and 95% intervals."""
    idle = _given(context, REAL_ONLY if dataset == PHANTOM else PHANTOM_ONLY)
    if idle:
        what = "phantoms are drawn" if dataset == PHANTOM else f"{dataset} is no phantom"
        stop(f"{what}; leave out --{idle[0]}, or name another --dataset", WRONG_USE, command="evaluate")
    quiet_libraries()
    most_images = faithfulness_images if faithfulness else 0
    _print(_or_stop(
        lambda: _on_phantoms(n, seed, domain, model, adapter, twins, reference, batch_size, workers, attn, most_images)
        if dataset == PHANTOM
        else _on_dataset(dataset, root, images, model, adapter, split, limit, batch_size, seed, attn, most_images)
    ), as_json)  # fmt: skip


def _on_phantoms(
    n: int, seed: int, domain: Domain, model: str, adapter: Path | None, twins: bool, reference: Path | None,
    batch_size: int, workers: int, attn: Attention, faithfulness: int,
) -> "PhantomReport | None":  # fmt: skip
    from evaluate.phantoms import evaluate_phantoms, phantom_seeds
    from evaluate.tables import UNKNOWN
    from gazevlm_core.inference import what_is_known
    from gazevlm_core.ranks import Ranks

    try:
        phantom_seeds(seed, n)
    except ValueError as error:
        stop(error, WRONG_USE, command="evaluate")
    others = twin_sources(model) if twins else {}
    if twins and not others:
        typer.echo(f"no twins of {model} were found; it is scored alone", err=True)
    trained = what_is_known(adapter, model)
    if None in trained:
        typer.echo(UNKNOWN, err=True)
    return evaluate_phantoms(
        n, seed, domain, model, adapter=adapter, twins=others, reference=reference, batch_size=batch_size,
        workers=workers, attn=attn, ranks=Ranks.of_this_run(), trained=trained, faithfulness=min(faithfulness, n),
    )  # fmt: skip


def _on_dataset(
    name: str, root: Path | None, images: Path | None, model: str, adapter: Path | None, split: str | None,
    limit: int | None, batch_size: int, seed: int, attn: Attention, faithfulness: int,
) -> "DatasetReport | None":  # fmt: skip
    from gazevlm_core.datasets.registry import open_dataset
    from gazevlm_core.evaluation.dataset import evaluate_dataset
    from gazevlm_core.inference import GazeEngine, what_is_known
    from gazevlm_core.ranks import Ranks
    from gazevlm_core.sample import DatasetError

    if root is None:
        raise DatasetError(f"{name}: give its folder as --root")
    source = partial(open_dataset, name, root, images)
    source()  # before a model is loaded
    trained = what_is_known(adapter, model)
    engine = GazeEngine.load(model, adapter=adapter, attn=attn)
    with progress(None, f"asking about {name}", "record") as bar:
        return evaluate_dataset(
            source, engine, split=split, limit=limit, batch_size=batch_size, seed=seed, progress=bar.update,
            ranks=Ranks.of_this_run(), trained=trained, faithfulness=faithfulness,
        )  # fmt: skip


def _or_stop(run: "Callable[[], PhantomReport | DatasetReport | None]") -> "PhantomReport | DatasetReport | None":
    """Run an evaluation; what is wrong with a model or data ends the command in one sentence."""
    from gazevlm_core.evaluation.graded import OtherModelError
    from gazevlm_core.model.adapters import AdapterError
    from gazevlm_core.model.checkpoint import CheckpointError
    from gazevlm_core.sample import DatasetError

    try:
        return run()
    except (CheckpointError, AdapterError, OtherModelError, DatasetError) as error:
        stop(error, command="evaluate")


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
    from gazevlm_core.datasets.scanpath_files import read_scanpaths
    from gazevlm_core.evaluation.comparison import score_files
    from gazevlm_core.geometry import PatchGrid
    from gazevlm_core.sample import DatasetError

    try:
        readings, paths = read_scanpaths(truth), read_scanpaths(predicted)
        usual = os.cpu_count() or 1 if len(paths.readings) >= MANY_PATHS else 1
        known = read_scanpaths(training) if training else None
        report = score_files(
            readings, paths, training=known, grid=PatchGrid(rows, cols), seed=seed, jobs=jobs or usual
        )
    except DatasetError as error:
        stop(error, command="score")
    _print(report, as_json)


def experiment(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="Folder of the results; an unfinished one goes on.")],
    sizes: Annotated[list[int] | None, typer.Option(help="Numbers of training images.", min=10)] = None,
    seeds: Annotated[int, typer.Option(help="Runs of each kind.", min=2)] = 10,
    orders: Annotated[list[GazeOrder] | None, typer.Option(help="Of the gaze; all without it.")] = None,
    variants: Annotated[
        list[str] | None, typer.Option(help='"without glimpses", "with glimpses"; both without it.')
    ] = None,
    base: Annotated[str, typer.Option(help="A checkpoint that was never shown gaze.")] = "gazevlm-nano-no-gaze",
    steps: Annotated[int, typer.Option(help="Of a run with 100 images.", min=2)] = 150,
    test_images: Annotated[int, typer.Option(help="Scored per domain.", min=10)] = 2000,
    shards: Annotated[Path, typer.Option(help="Folder for drawn phantoms.")] = Path(".cache/experiment"),
    workers: Annotated[int | None, typer.Option(help="Runs at once; as many as processors without it.", min=1)] = None,
    report_only: Annotated[bool, typer.Option("--report-only", help="Write the report of what is there.")] = False,
) -> None:
    """Fine-tune with original, shuffled, random and no gaze, everything else equal; compare and report."""
    if report_only and (idle := _given(context, PLANNED)):
        words = f"the runs were made by a plan that lies beside them; leave out --{idle[0].replace('_', '-')}"
        stop(words, WRONG_USE, command="experiment")
    quiet_libraries()
    import torch

    from evaluate.order_experiment import Plan, read_plan, run_experiment
    from evaluate.order_report import REPORT, write_report

    usual = Plan()
    try:
        plan = read_plan(out) if report_only else Plan(
            sizes=tuple(sizes or usual.sizes), seeds=tuple(range(seeds)), orders=tuple(orders or usual.orders),
            variants=tuple(variants or usual.variants), base=base, steps=steps, test_images=test_images,
        )  # fmt: skip
        if not report_only:
            at_once = workers or (1 if torch.cuda.is_available() else os.cpu_count() or 1)
            run_experiment(plan, out, shards, lambda line: typer.echo(line, err=True), workers=at_once)
            typer.echo(f"all runs are finished: {out}", err=True)
        write_report(plan, out)
    except (ValueError, OSError) as error:
        stop(error, command="experiment")
    typer.echo(out / REPORT)


def _print(report: "PhantomReport | DatasetReport | PathReport | None", as_json: bool) -> None:
    """Print a report; nothing on processes other than the main one."""
    from evaluate.tables import report_text

    if report is not None:
        typer.echo(json.dumps(report.to_values(), indent=2) if as_json else report_text(report))


def _given(context: typer.Context, names: Sequence[str]) -> list[str]:
    """Return which of these options stand on the command line, where they would do nothing."""
    sources = {name: context.get_parameter_source(name) for name in names}
    return [name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]


def twin_sources(model: str) -> "dict[Role, str]":
    """Return the folders of the twins that lie beside a checkpoint: twin -> folder; a Hub id has none."""
    from evaluate.tables import TWINS
    from gazevlm_core.model.checkpoint import resolve_source

    folder = Path(resolve_source(model))
    if not folder.is_dir():
        return {}
    beside = {twin: folder.parent / f"{folder.resolve().name}-{twin}" for twin in TWINS}
    return {twin: str(path) for twin, path in beside.items() if path.is_dir()}
