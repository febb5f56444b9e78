"""`gazevlm experiment`: trains, scores and reports; interrupted, it goes on where it stopped.

    gazevlm experiment --out reports/order-experiment
"""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gazevlm_core.training.gaze_order import GazeOrder

if TYPE_CHECKING:
    from evaluate.experiment.plan import Plan

RESULTS, REPORT, PAGE = "results.json", "README.md", "report.html"


def experiment(
    out: Annotated[Path, typer.Option(help="Folder of the results; an unfinished one goes on.")],
    sizes: Annotated[list[int] | None, typer.Option(help="Numbers of training images.", min=1)] = None,
    seeds: Annotated[int, typer.Option(help="Runs of each kind.", min=2)] = 3,
    orders: Annotated[list[GazeOrder] | None, typer.Option(help="Of the gaze; all without it.")] = None,
    steps: Annotated[int, typer.Option(help="Of each run.", min=2)] = 640,
    batch_size: Annotated[int, typer.Option(help="Examples per step.", min=1)] = 4,
    test_images: Annotated[int, typer.Option(help="Scored per domain.", min=10)] = 300,
    shards: Annotated[Path, typer.Option(help="Folder for drawn phantoms.")] = Path(".cache/experiment"),
    ablations: Annotated[bool, typer.Option(help="Also vary the model (original gaze, most images).")] = True,
    workers: Annotated[int | None, typer.Option(help="Runs at once; as many as processors without it.", min=1)] = None,
    report_only: Annotated[bool, typer.Option("--report-only", help="Write the report of what is there.")] = False,
) -> None:
    """Train with none, random, shuffled and original gaze, everything else equal; compare and report."""
    import torch

    from evaluate.experiment.plan import ABLATIONS, Plan
    from evaluate.experiment.run import ExperimentError, run_experiment
    from gazevlm_core.quiet import quiet_libraries

    quiet_libraries()
    usual = Plan()
    plan = Plan(
        sizes=tuple(sizes or usual.sizes),
        seeds=tuple(range(seeds)),
        orders=tuple(orders or usual.orders),
        variants=ABLATIONS if ablations else {},
        steps=steps,
        warmup_steps=max(1, steps // 10),
        decay_steps=max(1, 3 * steps // 10),
        batch_size=batch_size,
        test_images=test_images,
    )
    try:
        if not report_only:
            at_once = workers or (1 if torch.cuda.is_available() else os.cpu_count() or 1)
            run_experiment(plan, out, shards, lambda line: typer.echo(line, err=True), workers=at_once)
            typer.echo(f"all runs are finished: {out}", err=True)
        write_report(plan, out)
    except (ExperimentError, OSError) as error:
        typer.echo(f"gazevlm experiment: {error}", err=True)
        raise typer.Exit(1) from None
    typer.echo(out / REPORT)


def write_report(plan: "Plan", out: Path) -> None:
    """Write results.json, README.md and report.html from the cells that are there.

    Raises:
        ExperimentError: no finished run.
    """
    from evaluate.experiment.report import html, markdown
    from evaluate.experiment.run import ORDER_FILE, ExperimentError, cell_path
    from evaluate.experiment.summary import read_cells, read_truth, summarise

    cells = read_cells([cell_path(out, cell) for cell in plan.cells])
    if not cells:
        raise ExperimentError(f"{out} holds no finished run; run the experiment first")
    order = out / ORDER_FILE
    known = json.loads(order.read_text(encoding="utf-8")) if order.is_file() else None
    summary = summarise(cells, read_truth(out), plan, known)
    command = (
        f"gazevlm experiment --out {out.as_posix()} --seeds {len(plan.seeds)} --steps {plan.steps} "
        f"--batch-size {plan.batch_size} --test-images {plan.test_images} "
        + " ".join(f"--sizes {size}" for size in plan.sizes)
    )
    (out / RESULTS).write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    (out / REPORT).write_text(markdown(summary, plan, command), encoding="utf-8")
    (out / PAGE).write_text(html(summary, plan, command), encoding="utf-8")
