"""One evaluation from seed to plain values: draw the phantoms, ask every model, score the answers."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import typer

from evaluate.cases import Study, draw_study
from evaluate.phantom_eval import QuantisationCost, quantisation_cost, score_model
from evaluate.predictions import Predictions, predict
from evaluate.results import all_bars, bar_values, model_values, quantisation_values
from gazevlm_core.inference import GazeEngine
from gazevlm_core.metrics.intervals import CONFIDENCE, RESAMPLES, bootstrap_counts
from gazevlm_core.model.adapters import read_gaze_config
from gazevlm_core.model.checkpoint import load_processor, resolve_source
from gazevlm_core.options import Precision

OWN = "model"  # the checkpoint that is asked for, among its twins


def evaluate_phantoms(
    num_images: int,
    seed: int,
    domain: str,
    model: str,
    *,
    adapter: Path | None = None,
    twins: Mapping[str, str] | None = None,
    reference: Path | None = None,
    batch_size: int = 64,
    workers: int = 2,
) -> dict[str, Any]:
    """Everything that `gazevlm evaluate` prints, as plain values.

    Args:
        num_images: how many phantoms are scored.
        seed: S of the evaluation; see `evaluate.cases.phantom_seeds`.
        domain: "A" or "B".
        model: name of a shipped checkpoint, a folder, or a Hub id.
        adapter: folder of an adapter for the model (and its reference).
        twins: name -> folder of models to score beside it.
        reference: folder of the full-precision form of the model.
        batch_size: images at once.
        workers: processes that draw.

    Raises:
        ValueError: a seed that training has seen.
        CheckpointError: a model that cannot be loaded.
        AdapterError: an adapter that cannot be used.
        OtherModelError: a reference that is another model.
    """
    started = time.perf_counter()
    _check_sources([model, *(twins or {}).values(), *([str(reference)] if reference else [])], adapter)
    with _progress(num_images, "drawing phantoms") as drawn:
        study = draw_study(seed, num_images, domain, workers=workers, drawn=lambda: drawn(1))
    counts = bootstrap_counts(num_images, RESAMPLES, seed)
    with study:
        scores = {OWN: score_model(study, _ask(study, model, batch_size, adapter), counts, seed)}
        for name, source in (twins or {}).items():
            scores[name] = score_model(study, _ask(study, source, batch_size), counts, seed)
        cost: QuantisationCost | None = None
        if reference is not None:
            answers = _ask(study, str(reference), batch_size, adapter, Precision.FP32)
            cost = quantisation_cost(scores[OWN], score_model(study, answers, counts, seed), counts)
    return {
        "dataset": "phantom",
        "domain": domain,
        "n": num_images,
        "seed": seed,
        "phantom_seeds": [study.cases[0].seed, study.cases[-1].seed],
        "resamples": RESAMPLES,
        "confidence": CONFIDENCE,
        "model": Path(model).name if Path(model).is_dir() else model,
        "adapter": adapter.name if adapter else None,
        "seconds": round(time.perf_counter() - started, 1),
        "images_with": images_with(study),
        "scores": {name: model_values(score) for name, score in scores.items()},
        "quantisation": quantisation_values(cost),
        "bars": bar_values(all_bars(scores[OWN], cost)),
    }


def images_with(study: Study) -> dict[str, dict[str, int]]:
    """How many images have each finding, in all and moderate or worse."""
    names = sorted({name for case in study.cases for name in case.severities})
    return {
        name: {
            "any": int(np.sum([name in case.severities for case in study.cases])),
            "moderate_or_worse": int(np.sum([name in case.clear_findings for case in study.cases])),
        }
        for name in names
    }


def _check_sources(sources: Sequence[str], adapter: Path | None) -> None:
    """Fail before anything is drawn, where a look at the files is enough."""
    for source in sources:
        load_processor(resolve_source(source), source)
    if adapter is not None:
        read_gaze_config(adapter)


def _ask(
    study: Study,
    source: str,
    batch_size: int,
    adapter: Path | None = None,
    precision: Precision = Precision.AUTO,
) -> Predictions:
    engine = GazeEngine.load(source, adapter=adapter, precision=precision)
    with _progress(len(study.cases), f"asking {Path(source).name}") as predicted:
        return predict(engine, study, batch_size=batch_size, predicted=predicted)


@contextmanager
def _progress(total: int, label: str) -> Iterator[Callable[[int], None]]:
    """A bar on stderr, where stderr is a terminal; elsewhere the label alone. Yields what counts images up."""
    with typer.progressbar(length=total, label=label, file=typer.get_text_stream("stderr")) as bar:
        yield bar.update
