"""One run from a configuration to an adapter, on one process or on several that `accelerate launch` started."""

import os
import shutil
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast_object_list
from transformers import PrinterCallback, set_seed

from finetune.adapted import adapt_model, set_placed
from finetune.base import is_same_base
from finetune.before_after import answers, shown_cases, write_before_after
from finetune.cases import has_fingerprint, patient_groups, read_cases, split_cases, without_learned
from finetune.config import FREE, ConfigError, FinetuneConfig, differing
from finetune.defaults import base_values, with_base_defaults
from finetune.examples import (
    AdaptCollator,
    TrainingItems,
    asks_model,
    draw_epochs,
    grouped,
    ordered_cases,
    supervises_gaze,
)
from finetune.features import DEFAULT_BATCHING
from finetune.held_out import Floors, Selection, measures, selection_score
from finetune.predict import predict_cases
from finetune.prepare import Prepared, batching_of, fit_places, prepare
from finetune.provenance import provenance_values, public_places, write_provenance
from finetune.records import (
    CHECKPOINTS,
    PROVENANCE_FILE,
    Ending,
    Measure,
    RecordError,
    give_usual_modes,
    last_checkpoint,
    partial_of,
    read_provenance,
    step_of,
    sync_files,
)
from finetune.run_log import RunLog
from finetune.stopping import Stopped, StopRequest
from finetune.trainer import (
    UNSCORED,
    AdaptTrainer,
    RunCallback,
    delete_others,
    evenly_spaced,
    load_weights,
    reporters,
    total_steps,
    training_arguments,
)
from finetune.verdict import chosen_by_scores, judge
from gazevlm_core.datasets.trained_on import read_all_trained_on
from gazevlm_core.model.checkpoint import find_checkpoint
from gazevlm_core.options import GlimpseShares

STOPPED = "Stopped at step {step} of {steps}; a checkpoint is kept, and resuming goes on from it."
NOTHING_TO_STOP_BY = (
    "The held-out images give no sequence score and no AUROC at step {step}, so there is nothing to stop early by"
)



def finetune(config: FinetuneConfig, out: Path, run: Path, stop: StopRequest, log: RunLog) -> Ending:
    """Train an adapter.

    Args:
        out: folder of the adapter, which appears complete when all is done.
        run: folder of the run; its last checkpoint is resumed from.
        stop: whether the run was asked to stop.

    Returns:
        "done" or "stopped".

    Raises:
        DatasetError, CheckpointError, ConfigError, TrainingError: with a sentence for the user.
        Stopped: before anything was learned.
    """
    if base_values(config.base) is None:
        find_checkpoint(config.base)  # fetches what tells how large it is
    prepared = prepare(with_base_defaults(config), run, log, stop)
    return Training(prepared, out, run, stop, log).train()


class Training:
    """The steps of a run and what comes after them.

    Args:
        prepared: see `prepare`.
        out, run, stop, log: as in `finetune`.
    """

    def __init__(self, prepared: Prepared, out: Path, run: Path, stop: StopRequest, log: RunLog) -> None:
        self.prepared, self.config = prepared, prepared.config
        self.out, self.run, self.log = out, run, log
        self._stop, self._batching = stop, batching_of(self.config, self._check, log, prepared.ranks)
        self._floors = Floors(prepared.split.train, self.config.seed)
        self.engine = prepared.base.engine
        set_seed(self.config.seed)
        self.adapted = adapt_model(self.engine.model, self.config, prepared.gaze, prepared.fitted)
        self.adapted.peft_config["default"].base_model_name_or_path = prepared.base.model_id  # no folder of ours
        self.adapted.peft_config["default"].revision = prepared.base.revision or None
        self.checkpoint = last_checkpoint(run)
        self._first = step_of(self.checkpoint) if self.checkpoint else 0
        self.trainer = self._trainer()
        if self.trainer.args.should_save:
            delete_others(run / CHECKPOINTS, self.checkpoint)

    def _trainer(self) -> AdaptTrainer:
        config, cases = self.config, self.prepared.split.train
        processes = int(os.environ.get("WORLD_SIZE", "1"))
        steps = total_steps(config, len(cases), processes)
        number = steps * config.batch_size * config.accumulation * processes
        draws = grouped(draw_epochs(cases, config, number), cases, config, self.engine.processor)
        items = TrainingItems(cases, draws, config, self.prepared.base_probabilities)
        collate = AdaptCollator(
            self.engine.processor, self.prepared.gaze, store=self.prepared.store,
            use_gaze=supervises_gaze(config.gaze_order, cases), shares=GlimpseShares(*config.glimpse_shares),
            model=self.engine.model if asks_model(config) else None,
            located={(case.dataset, name) for case in cases for name in case.masks},
        )  # fmt: skip
        arguments = training_arguments(
            config, self.run / CHECKPOINTS, steps, device=self.engine.model.device.type,
            dtype=self.engine.checkpoint.dtype,
        )  # fmt: skip
        self.selection = Selection(
            self.run, config.patience, self._first, lambda folder: self.trainer.save_to(folder),
            writes=arguments.process_index == 0
        )
        self.callback = RunCallback(
            self.log, evenly_spaced(config.evaluations, steps), evenly_spaced(config.checkpoints, steps), self.measure,
            self._agree_to_stop, self._stops_early,
        )  # fmt: skip
        trainer = AdaptTrainer(
            model=self.adapted,
            args=arguments,
            train_dataset=items,
            data_collator=collate,
            callbacks=[self.callback, *(reporters(config, self.run) if arguments.process_index == 0 else ())],
            heads_learning_rate=config.heads_learning_rate,
        )
        trainer.remove_callback(PrinterCallback)  # the log says it all
        return trainer

    def train(self) -> Ending:
        """Train, score, and write the adapter."""
        split = self.prepared.split
        trainer, steps = self.trainer, self.trainer.args.max_steps
        self.log.write(
            "start", step=self._first, steps=steps, images=len(split.train), held_out_images=len(split.held_out),
            device=device_name(self.engine.model.device),
        )  # fmt: skip
        try:
            return self._finish(*self._run_steps())
        except Stopped:  # between steps or in the middle of a scoring: the last step has a checkpoint
            step = max(self._first, trainer.state.global_step)
            return Ending("stopped", STOPPED.format(step=step, steps=steps), step)

    def _run_steps(self) -> tuple[int, float]:
        """Train until the last step, or the best one; return the steps behind the weights, and how many seconds it
        took.

        Raises:
            Stopped: the run was asked to stop.
        """
        trainer, started = self.trainer, time.monotonic()
        if not self._was_over():
            trainer.train(resume_from_checkpoint=str(self.checkpoint) if self.checkpoint else None)
        if self.callback.stopped:
            raise Stopped
        seconds, step = time.monotonic() - started, trainer.state.global_step
        if self.config.patience and self.selection.best_step is not None:
            step = self.selection.best_step
            trainer.accelerator.wait_for_everyone()
            load_weights(self.adapted, self.selection.best_folder())
        return step, seconds

    def _was_over(self) -> bool:
        """Return whether the resumed run had stopped early, or would have if it had scored its last step."""
        if self.checkpoint is None:
            return False
        if (self.checkpoint / UNSCORED).is_file():
            load_weights(self.adapted, self.checkpoint)
            self.callback.score(self._first)
        return self.selection.is_over

    def _stops_early(self, found: list[Measure], step: int) -> bool:
        if self.config.patience and selection_score(found) is None:
            self.log.phase(NOTHING_TO_STOP_BY.format(step=step))
        self.selection.take(found, step)
        return self.selection.is_over

    def measure(self, step: int) -> list[Measure]:
        """Score the held-out images with the model as it is now, after `step` steps."""
        prepared, config = self.prepared, self.config
        self._refit_places()
        with self.trainer.unsharded():
            looked = predict_cases(self.engine, prepared.split.held_out, prepared.store, self._batching)
        found = measures(
            prepared.split.held_out, looked, prepared.base_predictions, self._floors, prepared.added, config.seed
        )
        return list(broadcast_object_list(found))  # what processes decide by must be the same for all of them

    def _refit_places(self) -> None:
        """Fit the heads of usual places anew where the vision tower, whose features they read, is trained."""
        if self.config.freeze_vision is not False or not self.prepared.fitted:
            return
        names = [one.place.name for one in self.prepared.fitted]
        cases = ordered_cases(self.prepared.split.train, self.config)
        fitted = fit_places(cases, names, self.engine, None, replace(self._batching, advance=DEFAULT_BATCHING.advance))
        first = len(self.prepared.gaze.usual_places) - len(fitted)
        set_placed(self.engine.model.gaze_heads, fitted, first=first)

    def _agree_to_stop(self) -> bool:
        """Return whether any process was asked to stop: all of them stop after the same step."""
        wanted = torch.tensor(float(self._stop()), device=self.trainer.args.device)
        return bool(self.trainer.accelerator.reduce(wanted, reduction="sum") > 0)

    def _check(self) -> None:
        """Raise `Stopped` between images of a scoring if any process was asked to stop."""
        if self._agree_to_stop():
            raise Stopped

    def _finish(self, steps: int, seconds: float) -> Ending:
        prepared, split = self.prepared, self.prepared.split
        self.log.phase(f"Scoring the adapter on {len(split.held_out)} held-out images", len(split.held_out))
        found = self.measure(steps)
        verdict = judge(found, len(set(patient_groups(split.held_out))))
        if self.config.chooses_step:
            verdict = chosen_by_scores(verdict, found)
        shown = shown_cases(split.held_out)
        with self.trainer.unsharded():
            after = answers(self.engine, shown, self._check)
        if self.trainer.args.should_save:
            write_before_after(self.run, shown, prepared.before, after)
        self._publish(provenance_values(
            self.out.name, self.config, prepared.base, split, found, verdict, steps=steps, seconds=seconds,
            device=device_name(self.engine.model.device), left_out=prepared.left_out, gaze=prepared.gaze,
            lengths=prepared.lengths,
        ))  # fmt: skip
        self.log.write("verdict", **asdict(verdict))
        return Ending("done", verdict.why, steps)

    def _publish(self, values: dict[str, Any]) -> None:
        """Write the adapter beside its place, and rename it when it is complete."""
        partial, writes = partial_of(self.out), self.trainer.args.should_save
        try:
            if writes:
                shutil.rmtree(partial, ignore_errors=True)  # of a try that was killed
                partial.mkdir()
                write_provenance(partial, values, self.prepared.split.held_out)
            self.trainer.save_to(partial)
            if writes:
                give_usual_modes(partial)
                sync_files(partial)
                partial.rename(self.out)
        finally:
            if writes:
                shutil.rmtree(partial, ignore_errors=True)


def finished_before(config: FinetuneConfig, out: Path) -> Ending | None:
    """Return how a run ended whose process was killed after it had written the adapter; None where nothing is there.

    Raises:
        ConfigError: something else is there, which is not written over.
        DatasetError, CheckpointError: data or base are not there any more to compare with.
        RecordError: its provenance is not as a training writes it.
    """
    if not out.exists():
        return None
    values = read_provenance(out) if out.is_dir() else None
    if values is None:
        raise ConfigError(f"out: {out} is there already and is no adapter of a training; give another folder")
    try:
        ending = Ending("done", str(values["verdict"]["why"]), int(values["training"]["steps"]))
        learned = read_all_trained_on(out)[1:]  # by its base
        made, data, base = dict(values["config"]), values["data"]["fingerprint"], dict(values["base"])
    except (KeyError, TypeError, ValueError) as error:
        raise RecordError(f"{out / PROVENANCE_FILE} is not as a training writes it: {error!r}") from None
    decided = {"freeze_vision": made.get("freeze_vision")} if config.freeze_vision is None else {}
    values = {**config.to_values(), **public_places(config), **decided}
    differs = [f"another {name}" for name in differing(values, made, FREE)]
    if not differs:
        split = without_learned(split_cases(read_cases(config), config), learned)
        differs += [] if has_fingerprint((*split.train, *split.held_out), data) else ["other data"]
        differs += [] if is_same_base(config, base) else ["other files of its base"]
    if differs:
        raise ConfigError(f"out: {out} is there already, made with {', '.join(differs)}; give another folder")
    return ending


def device_name(device: torch.device) -> str:
    """Return the name of the GPU, or "cpu"."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
