"""Drawn phantoms as a data set: which seeds, what is true of them, their images on disk, and their evaluation."""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from evaluate.counterfactuals import Case, draw_counterfactuals
from evaluate.faithfulness import Trials, faithfulness_bars, score_trials, try_all
from gazevlm_core.datasets.trained_on import TrainedOn
from gazevlm_core.evaluation.findings import GradedSample
from gazevlm_core.evaluation.graded import Scored, all_bars, faint_bar, quantisation_cost, score_model
from gazevlm_core.evaluation.predict import Prediction, predict
from gazevlm_core.evaluation.report import (
    Bar,
    DomainName,
    Faithfulness,
    PhantomReport,
    Presence,
    Quantisation,
    Role,
)
from gazevlm_core.evaluation.views import Viewer
from gazevlm_core.findings import FINDING_NAMES
from gazevlm_core.inference import GazeEngine
from gazevlm_core.metrics.intervals import CONFIDENCE, RESAMPLES, bootstrap_counts
from gazevlm_core.model.adapters import read_gaze_config
from gazevlm_core.model.checkpoint import load_processor, resolve_source
from gazevlm_core.options import Attention, Precision
from gazevlm_core.ranks import ALONE, Ranks
from gazevlm_core.sample import DatasetError
from gazevlm_core.terminal import progress
from phantoms.dataset import TRAINING_SEEDS, PhantomCase, draw_cases, sample_of

# Seed S of an evaluation stands for the phantoms FIRST_SEED + S * BLOCK + (0, 1, 2, ...): no two evaluations share one,
# and none with S >= 0 meets training. The second half of a block holds the phantoms behind constant floors.
FIRST_SEED = TRAINING_SEEDS.stop
BLOCK = 1_000_000
MOST_IMAGES = BLOCK // 2
LARGEST_SEED = 2**40
IMAGE_SIDE_PX = 512
READINGS_PER_READER = 2  # the second one gives the ceiling
OTHER_PHANTOMS = 100  # behind constant floors
OTHER_SIDE_PX = 256  # their images are not used
OWN: Role = "model"  # the checkpoint that is asked for, among its twins


class ModelAnswers(NamedTuple):
    """What a model predicts of all images, the most steps of its paths, and how far these are believed, if measured."""

    predictions: list[Prediction]
    num_steps: int
    faithfulness: Faithfulness | None


def graded_sample(case: PhantomCase, image: Path | None = None) -> GradedSample:
    """Return what is true of a drawn phantom, with where its image lies."""
    known = {**vars(sample_of(case)), "image": image}
    severities = {finding.name: finding.severity for finding in case.findings}
    return GradedSample(**known, severities=severities, sides={one.name: one.side for one in case.findings})


def draw_phantoms(
    seeds: range, domain: str, folder: Path, *, workers: int = 2, drawn: Callable[[], object] = lambda: None
) -> list[GradedSample]:
    """Draw phantoms, with two readings by each reader, whose images lie in a folder as PNG files.

    Args:
        domain: "A" or "B".
        workers: processes that draw.
        drawn: called after each image.
    """
    samples = []
    for case in draw_cases(
        seeds, domain, sizes_px=(IMAGE_SIDE_PX,), workers=workers, readings_per_reader=READINGS_PER_READER
    ):
        path = folder / f"{case.seed}.png"
        Image.fromarray(case.image).save(path, compress_level=1)
        samples.append(graded_sample(case, path))
        drawn()
    return samples


def draw_readings(seeds: range, domain: str, workers: int = 2) -> list[GradedSample]:
    """Return what is true of phantoms and how they are read, without their images."""
    cases = draw_cases(
        seeds, domain, sizes_px=(OTHER_SIDE_PX,), workers=workers, readings_per_reader=READINGS_PER_READER
    )
    return list(map(graded_sample, cases))


def phantom_seeds(seed: int, num_images: int) -> tuple[range, range]:
    """Return the seeds of the phantoms that are scored, and of those behind constant floors.

    Raises:
        ValueError: too many images, or a seed whose phantoms training has seen or might see.
    """
    if not 1 <= num_images <= MOST_IMAGES:
        raise ValueError(f"--n must lie in 1 to {MOST_IMAGES}, got {num_images}")
    if seed > LARGEST_SEED:
        raise ValueError(f"--seed must be at most {LARGEST_SEED}, got {seed}")
    first = FIRST_SEED + seed * BLOCK
    scored = range(first, first + num_images)
    others = range(first + MOST_IMAGES, first + MOST_IMAGES + OTHER_PHANTOMS)
    for seeds in (scored, others):
        if seeds.start < TRAINING_SEEDS.stop and seeds.stop > TRAINING_SEEDS.start:
            raise ValueError(f"--seed {seed} stands for phantoms that training has seen; take a seed >= 0")
    if seed < 0:
        raise ValueError(f"--seed must be >= 0, got {seed}")
    return scored, others


def check_unseen(samples: Sequence[GradedSample], trained: Sequence[TrainedOn | None], ranks: Ranks = ALONE) -> None:
    """Check that no phantom was trained on: drawn images are exported and annotated too.

    Raises:
        DatasetError: how many were.
    """
    learned = [one for one in trained if one is not None and one.pictures]
    images = (sample.load() for sample in samples) if learned else ()
    own = sum(any(one.has_picture(image) for one in learned) for image in images)
    seen = sum(number for part in ranks.gather([own]) for number in part)
    if seen:
        raise DatasetError(f"the model was trained on {seen} of these phantoms; take another --seed")


def evaluate_phantoms(
    num_images: int, seed: int, domain: DomainName, model: str, *,
    adapter: Path | None = None, twins: Mapping[Role, str] | None = None, reference: Path | None = None,
    batch_size: int = 64, workers: int = 2, attn: Attention = Attention.SDPA, ranks: Ranks = ALONE,
    trained: Sequence[TrainedOn | None] = (), faithfulness: int = 0,
) -> PhantomReport | None:  # fmt: skip
    """Return everything that `gazevlm evaluate` prints; None on processes that are not the main one.

    Args:
        num_images: how many phantoms are scored.
        seed: S of the evaluation; see `phantom_seeds`.
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
        faithfulness: of how many of the phantoms it is measured how far the path is believed; about 3 MB each.

    Raises:
        DatasetError: the model was trained on some of the phantoms.
        ValueError: a seed that training has seen.
        CheckpointError: a model that cannot be loaded.
        AdapterError: an adapter that cannot be used.
        OtherModelError: a reference that is another model.
    """
    started = time.perf_counter()
    seeds, other_seeds = phantom_seeds(seed, num_images)
    sources: dict[Role, str] = {OWN: model, **(twins or {})}
    _check_sources([*sources.values(), *([str(reference)] if reference else [])], adapter)
    part = ranks.part(num_images, batch_size)
    with tempfile.TemporaryDirectory(prefix="gazevlm-phantoms-") as folder:
        with progress(len(part), "drawing phantoms") as bar:
            others, own_seeds = draw_readings(other_seeds, domain, workers), seeds[part.start : part.stop]
            drawn = draw_phantoms(own_seeds, domain, Path(folder), workers=workers, drawn=bar.update)
        check_unseen(drawn, trained, ranks)
        samples = [sample for part in ranks.gather(drawn) for sample in part]
        cases = _drawn_cases(seeds[:faithfulness], domain, batch_size, workers, ranks) if faithfulness else None
        ask = partial(_ask, samples=drawn, batch_size=batch_size, seed=seed, ranks=ranks, attn=attn)
        own = {OWN: adapter}
        given = {role: ask(source, own.get(role), cases=cases) for role, source in sources.items()}
        full = None if reference is None else ask(str(reference), adapter, precision=Precision.FP32)
    scores, cost = _scored(given, full, samples, others, seed, ranks)
    if not ranks.is_main:
        return None
    measured = {role: one.faithfulness for role, one in given.items() if one.faithfulness is not None}
    return PhantomReport(
        dataset="phantom", domain=domain, n=num_images, seed=seed,
        phantom_seeds=[seeds.start, seeds.stop - 1], resamples=RESAMPLES, confidence=CONFIDENCE,
        model=Path(model).name if Path(model).is_dir() else model, adapter=adapter.name if adapter else None,
        trained_on_known=None not in trained, seconds=round(time.perf_counter() - started, 1),
        images_with=images_with(samples), scores={name: one.scores for name, one in scores.items()},
        quantisation=cost, faithfulness=measured, bars=_bars(scores, cost, measured),
    )  # fmt: skip


def _bars(
    scores: Mapping[Role, Scored], cost: Quantisation | None, measured: Mapping[Role, Faithfulness]
) -> list[Bar]:
    """Return all bars, reached or missed; those of faithfulness only where it was measured."""
    return [
        *all_bars(scores[OWN].scores, cost),
        faint_bar(scores.get("glimpses"), scores.get("no-glimpses")),
        *(faithfulness_bars(measured) if measured else []),
    ]


def _scored(
    given: Mapping[Role, ModelAnswers], full: ModelAnswers | None, samples: Sequence[GradedSample],
    others: Sequence[GradedSample], seed: int, ranks: Ranks,
) -> tuple[dict[Role, Scored], Quantisation | None]:  # fmt: skip
    """Return the scores of every model, and what holding the first in four bits costs beside its full precision.

    Each process scores some of the models: the metrics of paths take minutes for each.
    """
    counts = bootstrap_counts(len(samples), RESAMPLES, seed)
    every = [*given.values(), *([] if full is None else [full])]
    found = ranks.share(
        every, lambda one: score_model(one.predictions, samples, others, one.num_steps, counts, seed)
    )
    scored = dict(zip(given, found, strict=False))
    return scored, None if full is None else quantisation_cost(scored[OWN], found[-1], counts)


def images_with(samples: Sequence[GradedSample]) -> dict[str, Presence]:
    """Return how many images have each finding, in all and moderate or worse."""
    return {
        name: Presence(
            any=sum(name in sample.severities for sample in samples),
            moderate_or_worse=sum(name in sample.clear_findings for sample in samples),
        )
        for name in sorted({name for sample in samples for name in sample.severities})
    }


def _check_sources(sources: Sequence[str], adapter: Path | None) -> None:
    """Fail before anything is drawn, where a look at the files is enough."""
    for source in sources:
        load_processor(resolve_source(source), source)
    if adapter is not None:
        read_gaze_config(adapter)


def _ask(
    source: str, adapter: Path | None, *, samples: Sequence[GradedSample], batch_size: int, seed: int, ranks: Ranks,
    attn: Attention, cases: Sequence[Case] | None = None, precision: Precision = Precision.AUTO,
) -> ModelAnswers:  # fmt: skip
    """Load a model and return what it predicts of all images, of which `samples` and `cases` hold this process's own.

    Args:
        cases: phantoms on which faithfulness is measured; None leaves it out.
    """
    engine, name = GazeEngine.load(source, adapter=adapter, precision=precision, attn=attn), Path(source).name
    with progress(len(samples), f"asking {name}") as bar:
        own = predict(
            engine, samples, batch_size=batch_size, questions=FINDING_NAMES, reports=True, progress=bar.update
        ).found
    predictions = [one for part in ranks.gather(own) for one in part]
    measured = None if cases is None else _faithfulness(engine, cases, batch_size, seed, ranks, name)
    return ModelAnswers(predictions, engine.gaze_config.num_gaze_tokens, measured)


def _drawn_cases(seeds: range, domain: str, batch_size: int, workers: int, ranks: Ranks) -> list[Case]:
    """Return this process's own phantoms with their twins."""
    part = ranks.part(len(seeds), batch_size)
    own = seeds[part.start : part.stop]
    if not own:
        return []
    with progress(len(own), "drawing phantoms without their findings") as bar:
        cases = []
        for case in draw_counterfactuals(own, domain, IMAGE_SIDE_PX, workers):
            cases.append(case)
            bar.update()
    return cases


def _faithfulness(
    engine: GazeEngine, cases: Sequence[Case], batch_size: int, seed: int, ranks: Ranks, name: str
) -> Faithfulness:
    """Return how far the path is believed, over the phantoms of all processes."""
    viewer = Viewer(engine)
    with progress(len(cases), f"changing the path of {name}") as bar:
        own = try_all(viewer, cases, batch_size=batch_size, seed=seed, progress=bar.update)
    trials: Trials = [one for part in ranks.gather(own) for one in part]
    images = sum(number for part in ranks.gather([len(cases)]) for number in part)
    return score_trials(viewer, trials, images, RESAMPLES, seed)
