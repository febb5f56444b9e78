"""Everything before the first step: data, base, image features, what the base says, and the shape of the adapter.

It is the same whenever it is done again, so a resumed run does it again.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from finetune.adapted import adapted_config
from finetune.base import Base, facts_before, load_base, own_device
from finetune.before_after import answers, shown_cases
from finetune.cases import (
    Split,
    cut_words,
    fingerprint,
    has_fingerprint,
    path_lengths,
    read_cases,
    split_cases,
    without_learned,
)
from finetune.config import FREE, ConfigError, FinetuneConfig, differing
from finetune.examples import asks_model, ordered_cases, supervises_gaze
from finetune.features import (
    DEFAULT_BATCHING,
    MOST_AT_ONCE,
    Batching,
    FeatureStore,
    at_rest,
    encoded_cases,
    fill_features,
)
from finetune.predict import Predictions, predict_cases, predict_findings
from finetune.records import BEGUN, FEATURES, write_json
from finetune.room import check_room, free_ram
from finetune.run_log import RunLog
from finetune.stopping import Stopped, StopRequest
from finetune.usual_place import Fitted, added_findings, find_place, fit_place
from gazevlm_core.findings import NO_FINDING
from gazevlm_core.geometry import PatchGrid
from gazevlm_core.inference import GazeEngine
from gazevlm_core.model.checkpoint import pick_device
from gazevlm_core.model.configuration_gazevlm import GazeConfig
from gazevlm_core.model.places import pooled_tokens
from gazevlm_core.model.processing_gazevlm import GazeVLMProcessor
from gazevlm_core.ranks import ALONE, Ranks
from gazevlm_core.records import Diagnosis, is_strange
from gazevlm_core.sample import Sample
from gazevlm_core.scanpath import PathLengths
from web.formatting import counted

LOOKED_AT = 40  # training images, to see whether they are like those of the base


@dataclass(frozen=True, eq=False)
class Prepared:
    """What a run begins with.

    Args:
        config: of the run.
        split: images.
        base: loaded, without an adapter yet.
        store: image tokens; None where the vision tower is trained, or features are not kept.
        gaze: configuration of the adapter.
        fitted: added findings with a usual place.
        added: all added findings.
        left_out: findings that too few images have or lack.
        lengths: of the readings to learn from, in steps of the adapter.
        base_predictions: what the base says of the held-out images.
        base_probabilities: finding -> probability by the base, per training image.
        before: the base's answers about the images that are shown to people.
        ranks: the processes that share the images.
    """

    config: FinetuneConfig
    split: Split
    base: Base
    store: FeatureStore | None
    gaze: GazeConfig
    fitted: tuple[Fitted, ...]
    added: tuple[str, ...]
    left_out: tuple[str, ...]
    lengths: PathLengths
    base_predictions: Predictions
    base_probabilities: tuple[Mapping[str, float], ...]
    before: tuple[Diagnosis, ...]
    ranks: Ranks = ALONE


def prepare(config: FinetuneConfig, run: Path, log: RunLog, stop: StopRequest) -> Prepared:
    """Do it.

    Raises:
        DatasetError: data that nothing can be learned from.
        CheckpointError: a base that cannot be loaded.
        ConfigError: the run was begun with other values, data, or files of the base.
        Stopped: somebody wants the run to end.
    """
    ranks = Ranks.of_this_run(cpu=config.device == "cpu")
    check = joint_check(stop, ranks)
    log.phase("Reading the data")
    not_read: list[Mapping[str, str]] = []
    cases = read_cases(config, check, log.phase, ranks, not_read)
    split = replace(split_cases(cases, config, log.phase), not_read=tuple(not_read))
    check_begun(run, config, (*split.train, *split.held_out), writes=log.writes, processes=ranks.count)
    check()
    log_room(config, split, run, log, ranks)
    log.phase("Loading the base")  # not where from: everybody reads it
    base = load_base(config, begun_revision(run))
    check_base(run, base, writes=log.writes)
    split = without_learned(split, base.trained_on, log.phase)
    check()
    batching = batching_of(config, check, log, ranks)
    config = decide_vision(config, base.engine, split.train, log.phase, batching)
    store = _features(config, base, split, run, log, batching)
    check()
    known = base.engine.gaze_config
    new, left_out = added_findings(split.train, known.finding_names) if config.add_findings else ([], [])
    if new:
        log.phase(f"Looking where {', '.join(new)} are seen")
    fitted = fit_places(ordered_cases(split.train, config), new, base.engine, store, batching)
    placed = [one.place.name for one in fitted]
    rows = [name for name in new if name not in placed] if config.finding_weight > 0 else []  # else never trained
    gaze = adapted_config(known, config, split.train, rows, fitted)
    check_asking(run, config, gaze, writes=log.writes)
    lengths = path_lengths(split.train, None if gaze.repeats else partial(_grid_of, base.engine.processor))
    for words in training_notes(split.train, config, gaze, [*placed, *rows], lengths):
        log.phase(words)
    if config.min_pixels or config.max_pixels:
        gaze = replace(gaze, pixel_limits=base.pixel_limits)
    log.phase(f"Scoring the base on {len(split.held_out)} held-out images", len(split.held_out))
    scored = predict_cases(base.engine, split.held_out, store, batching)
    before = answers(base.engine, shown_cases(split.held_out), check)
    check()
    base_probabilities: tuple[Mapping[str, float], ...] = tuple({} for _ in split.train)
    if known.findings_trained and config.retain > 0 and config.finding_weight > 0:
        log.phase("Asking the base about the training images", len(split.train))
        head = set(known.finding_names[: known.num_head_findings])
        predicted = predict_findings(base.engine, split.train, store, batching)
        base_probabilities = tuple({name: p for name, p in one.items() if name in head} for one in predicted)
    check()
    return Prepared(
        config, split, base, store, gaze, tuple(fitted), (*placed, *rows), tuple(left_out), lengths, scored,
        base_probabilities, tuple(before), ranks,
    )  # fmt: skip


def _grid_of(processor: GazeVLMProcessor, case: Sample) -> PatchGrid:
    assert case.size_px is not None  # `read_cases` sees to it
    return processor.grid_of(*case.size_px)


def training_notes(
    cases: Sequence[Sample], config: FinetuneConfig, gaze: GazeConfig, added: Sequence[str], lengths: PathLengths
) -> list[str]:
    """Return sentences on findings that the base does not know by the names of the data, and of which the data know one
    side alone, on fixations beyond K, on places that cannot be looked at closely, and on how the step is chosen.

    Args:
        added: findings that its head gets.
        lengths: of the readings, in steps of the adapter.
    """
    notes = []
    unlearned = {name for case in cases for name in case.findings} - {NO_FINDING, *gaze.finding_names}
    if added:
        notes.append(f"Findings that the base does not know, added to its head: {', '.join(sorted(added))}")
    if unlearned:
        notes.append(f"Findings of the data that the head does not learn: {', '.join(sorted(unlearned))}")
    one_sided = _one_sided(cases, gaze) if config.finding_weight > 0 and config.retain < 1 else []
    if one_sided:
        words = "Findings that are there in all training images that tell, or in none, to which they will lean"
        notes.append(f"{words}: {', '.join(one_sided)}")
    cut = cut_words(lengths, gaze.num_gaze_tokens, repeats=gaze.repeats)
    if cut and supervises_gaze(config.gaze_order, cases):
        notes.append(f"Scanpaths are cut: {cut}")
    if config.num_glimpses and not gaze.num_glimpses:
        notes.append("No glimpses: without scanpaths to learn from there is no path to cut them at")
    own = config.glimpse_shares[1]
    if gaze.num_glimpses and own and not asks_model(config):
        notes.append(
            f"Glimpses at the model's own path, {own:.0%} of the examples, are cut at random places instead: with "
            "--workers, and with a model that is shared among processes, batches cannot ask it"
        )
    if config.chooses_step:
        notes.append("The step of the best held-out scores will be kept, which flatters them")
    return notes


def _one_sided(cases: Sequence[Sample], gaze: GazeConfig) -> list[str]:
    """Return findings of the head of which the cases know one label alone, each with it."""
    found = []
    for name in sorted(gaze.finding_names[: gaze.num_head_findings]):
        labels = {case.findings[name] for case in cases if name in case.findings}
        if len(labels) == 1:
            found.append(f"{name} ({'all' if labels == {1.0} else 'none'})")
    return found


def log_room(config: FinetuneConfig, split: Split, run: Path, log: RunLog, ranks: Ranks) -> None:
    """Say what the run will take, before anything large is loaded.

    Raises:
        ConfigError: on any process it does not fit.
    """

    def check_own(_: int) -> str:
        facts, processor = facts_before(config, begun_revision(run))
        sizes = {case.digest: case.size_px for case in (*split.train, *split.held_out) if case.size_px}
        tokens = sum(processor.count_image_tokens(*size_px) for size_px in sizes.values())
        free = free_ram()
        if facts.on_gpu:
            free = torch.cuda.mem_get_info(pick_device(own_device(config.device)))[0]
        done = sum(path.stat().st_size for path in run.rglob("*") if path.is_file())
        return check_room(config, facts, tokens, run, free, processes=ranks.count, done=done)

    log.phase(ranks.share(range(ranks.count), check_own)[0])


def joint_check(stop: StopRequest, ranks: Ranks) -> Callable[[], None]:
    """Return what is asked between parts: all processes end together, or each would wait for one that is gone."""
    if ranks.count == 1:
        return stop.check

    def check() -> None:
        wanted = False
        try:
            stop.check()
        except Stopped:
            wanted = True
        if ranks.any(wanted):
            raise Stopped

    return check


def check_begun(
    run: Path, config: FinetuneConfig, cases: Sequence[Sample], *, writes: bool, processes: int = 1
) -> None:  # fmt: skip
    """Check that a run is gone on with as it was begun; a new one notes how it begins.

    Args:
        cases: to learn from and to score on.
        writes: False on all but the main process.
        processes: that share a step; how many steps there are, and of what, follows from their number.

    Raises:
        ConfigError: the first value that is another one, other data, or another number of processes.
    """
    values = {name: value for name, value in config.to_values().items() if name not in FREE}
    own = {"config": values, "data": fingerprint(cases), "processes": processes}  # earlier versions noted no processes
    begun = _as_begun(run, own, writes=False)
    for name in differing(values, begun["config"]):
        both = f"{begun['config'].get(name)}, not {values[name]}"
        raise ConfigError(f"run: {run} was begun with another {name} ({both}); give another folder")
    if not has_fingerprint(cases, begun["data"]):
        raise ConfigError(f"run: {run} was begun with other data; give another folder")
    if begun["processes"] != processes:
        before = counted(begun["processes"], "process", "processes")
        raise ConfigError(
            f"run: {run} was begun on {before}, not {processes}; launch as many again, or give another folder"
        )
    _as_begun(run, own, writes=writes)


def begun_revision(run: Path) -> str:
    """Return the commit of the base that a run goes on with, whatever is the newest by now; "" for a folder or a new
    run."""
    return str(_as_begun(run, {"base": {}}, writes=False)["base"].get("revision", ""))


def check_base(run: Path, base: Base, *, writes: bool) -> None:
    """Check that a run is gone on with on the base that it was begun on; a new one notes which that is.

    Args:
        run: folder of the run, after `check_begun`.
        writes: False on all but the main process.

    Raises:
        ConfigError: its files say something else by now.
    """
    own = {"base": {"revision": base.revision, "fingerprint": base.fingerprint}}
    if _as_begun(run, own, writes=writes)["base"]["fingerprint"] != base.fingerprint:
        raise ConfigError(f"run: {run} was begun with other files of the base {base.source}; give another folder")


def check_asking(run: Path, config: FinetuneConfig, gaze: GazeConfig, *, writes: bool) -> None:
    """Check that glimpses at the model's own path are gone on with as they were begun: worker processes, and a shared
    model, have them at random places. Arguments as in `check_base`.

    Raises:
        ConfigError: they were cut elsewhere before.
    """
    if not gaze.num_glimpses or not config.glimpse_shares[1]:
        return
    asks = asks_model(config)
    begun = _as_begun(run, {"asks_model": asks}, writes=writes)
    if begun["asks_model"] != asks:
        before, now = ("none", "some") if begun["asks_model"] else ("some", "none")
        raise ConfigError(
            f"workers: {run} was begun with {before}, and {now} would cut glimpses at other places from here on; give "
            "as before, or another folder"
        )


def _as_begun(run: Path, own: Mapping[str, Any], *, writes: bool) -> dict[str, Any]:
    """Return what a run noted when it was begun, and `own` for what it did not; notes that with `writes`."""
    path = run / BEGUN  # not there yet on another process than the main one, which may be ahead
    noted = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    begun = {**own, **noted}
    if writes and begun != noted:
        write_json(path, begun)
    return begun


def batching_of(config: FinetuneConfig, check: Callable[[], None], log: RunLog, ranks: Ranks) -> Batching:
    """Return how a run looks at many images: as many at once as a training step does, or fewer."""
    return Batching(min(config.batch_size, MOST_AT_ONCE), check, ranks, log.advance)


def decide_vision(
    config: FinetuneConfig, engine: GazeEngine, train: Sequence[Sample], tell: Callable[[str], None],
    batching: Batching = DEFAULT_BATCHING,
) -> FinetuneConfig:  # fmt: skip
    """Return a configuration that says whether the vision tower is trained; one that said so already is left as it is.

    A tower that has seen radiographs alone does not see faces, and no head above it learns to look at them. It is
    trained where most of some training images are out of the distribution of the base's, as far as the base knows that.

    Args:
        tell: gets a sentence where it is trained.
    """
    if config.freeze_vision is not None:
        return config
    some = train[:: max(1, len(train) // LOOKED_AT)][:LOOKED_AT]

    def unlike(cases: list[Sample]) -> list[bool]:
        scores = [engine.ood_score(image) for image in encoded_cases(cases, engine, None)]
        return list(map(is_strange, scores))

    with at_rest(engine), torch.no_grad():
        far = [one for part in replace(batching, advance=DEFAULT_BATCHING.advance).chunks(some, unlike) for one in part]
    if 2 * sum(far) > len(far):
        tell(f"The vision tower learns, too: {sum(far)} of {len(far)} training images are unlike those of the base")
    frozen = 2 * sum(far) <= len(far) and not config.freeze_language  # something has to learn
    return config.model_copy(update={"freeze_vision": frozen})


def _features(
    config: FinetuneConfig, base: Base, split: Split, run: Path, log: RunLog, batching: Batching
) -> FeatureStore | None:
    if not config.cache_features or config.freeze_vision is False:
        return None
    store = FeatureStore(run / FEATURES, base.fingerprint, base.pixel_limits, base.engine.checkpoint.dtype)
    cases = (*split.train, *split.held_out)
    pictures = len({case.digest for case in cases})
    log.phase(f"Computing what the vision tower says of {len(cases)} images", pictures)
    fill_features(store, base.engine, cases, batching)
    return store


def fit_places(
    cases: Sequence[Sample],
    names: Sequence[str],
    engine: GazeEngine,
    store: FeatureStore | None,
    batching: Batching = DEFAULT_BATCHING,
) -> list[Fitted]:
    """Return heads of the added findings that have a usual place.

    Args:
        cases: to learn from, with the scanpaths that are taught; see `ordered_cases`.
        engine: whose vision tower looks, where there is no store.
        store: image tokens.
        batching: how many images at once.
    """
    places = [place for place in (find_place(cases, name) for name in names) if place is not None]
    if not places:
        return []

    def pool(some: list[Sample]) -> list[np.ndarray]:  # [F, D] each: all tokens of all images would be too many to keep
        images = encoded_cases(some, engine, store)
        return [pooled_tokens(image.tokens, image.grid, places).cpu().double().numpy() for image in images]

    with at_rest(engine):
        features = np.stack([one for some in batching.chunks(cases, pool) for one in some])
    return [fit_place(place, cases, features[:, number]) for number, place in enumerate(places)]
