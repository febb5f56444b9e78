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
from gazevlm_core.datasets.trained_on import TrainedOn
from gazevlm_core.inference import GazeEngine
from gazevlm_core.metrics.intervals import CONFIDENCE, RESAMPLES, bootstrap_counts
from gazevlm_core.model.adapters import read_gaze_config
from gazevlm_core.model.checkpoint import load_processor, resolve_source
from gazevlm_core.options import Attention, Precision
from gazevlm_core.ranks import ALONE, Ranks
from gazevlm_core.sample import DatasetError

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
    attn: Attention = Attention.SDPA,
    ranks: Ranks = ALONE,
    trained: Sequence[TrainedOn | None] = (),
) -> dict[str, Any] | None:
    """Everything that `gazevlm evaluate` prints, as plain values; None on processes that are not the main one.

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
        attn: how attention is computed.
        ranks: the processes that share the images.
        trained: what the adapter and the model were trained on; None where one of them does not tell.

    Raises:
        DatasetError: the adapter was trained on some of the phantoms.
        ValueError: a seed that training has seen.
        CheckpointError: a model that cannot be loaded.
        AdapterError: an adapter that cannot be used.
        OtherModelError: a reference that is another model.
    """
    started = time.perf_counter()
    _check_sources([model, *(twins or {}).values(), *([str(reference)] if reference else [])], adapter)
    part = ranks.part(num_images, batch_size)
    with _progress(len(part), "drawing phantoms") as drawn:
        own = draw_study(seed, num_images, domain, part=part, workers=workers, drawn=lambda: drawn(1))
    with own:
        check_unseen(own, trained, ranks)
        asked = {OWN: _ask(own, ranks, model, batch_size, attn, adapter)}
        asked |= {name: _ask(own, ranks, source, batch_size, attn) for name, source in (twins or {}).items()}
        full = None
        if reference is not None:
            full = _ask(own, ranks, str(reference), batch_size, attn, adapter, Precision.FP32)
        cases = [case for cases in ranks.gather(list(own.cases)) for case in cases]
    if not ranks.is_main:
        return None
    study = Study(cases, own.others, own.pixels)
    counts = bootstrap_counts(num_images, RESAMPLES, seed)
    scores = {name: score_model(study, answers, counts, seed) for name, answers in asked.items()}
    cost: QuantisationCost | None = None
    if full is not None:
        cost = quantisation_cost(scores[OWN], score_model(study, full, counts, seed), counts)
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
        "trained_on_known": None not in trained,
        "seconds": round(time.perf_counter() - started, 1),
        "images_with": images_with(study),
        "scores": {name: model_values(score) for name, score in scores.items()},
        "quantisation": quantisation_values(cost),
        "bars": bar_values(all_bars(scores[OWN], cost)),
    }


def check_unseen(study: Study, trained: Sequence[TrainedOn | None], ranks: Ranks = ALONE) -> None:
    """Whether no phantom of a study was trained on: drawn images are exported and annotated too.

    Raises:
        DatasetError: how many were.
    """
    learned = [one for one in trained if one is not None and one.pictures]
    numbers = range(len(study.cases)) if learned else ()
    own = sum(any(one.has_picture(study.pixels.image(number)) for one in learned) for number in numbers)
    seen = sum(number for part in ranks.gather([own]) for number in part)
    if seen:
        raise DatasetError(f"the adapter was trained on {seen} of these phantoms; take another --seed")


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
    ranks: Ranks,
    source: str,
    batch_size: int,
    attn: Attention,
    adapter: Path | None = None,
    precision: Precision = Precision.AUTO,
) -> Predictions:
    """Answers to all images, of which `study` holds this process's own."""
    engine = GazeEngine.load(source, adapter=adapter, precision=precision, attn=attn)
    with _progress(len(study.cases), f"asking {Path(source).name}") as predicted:
        own = predict(engine, study, batch_size=batch_size, predicted=predicted)
    (first,), *others = ranks.gather([own])
    for (answers,) in others:
        first.extend(answers)
    return first


@contextmanager
def _progress(total: int, label: str) -> Iterator[Callable[[int], None]]:
    """A bar on stderr, where stderr is a terminal; elsewhere the label alone. Yields what counts images up."""
    with typer.progressbar(length=total, label=label, file=typer.get_text_stream("stderr")) as bar:
        yield bar.update
