"""What lies beside an adapter's weights: provenance.json, the model card, and scores for the Diagnose tab."""

import importlib.metadata
import platform
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from finetune.base import Base
from finetune.card import CARD, render_card
from finetune.cases import Split, cut_words, fingerprint, parse_spec, patient_groups, rule_of
from finetune.config import FinetuneConfig
from finetune.records import PROVENANCE_FILE, Measure, Verdict, write_json
from finetune.verdict import enough_of_each
from gazevlm_core.datasets.registry import ADAPTERS
from gazevlm_core.datasets.trained_on import BEFORE, TRAINED_ON, TrainedOn
from gazevlm_core.evaluation.checkpoint_scores import CheckpointScores, FindingScore, write_scores
from gazevlm_core.metrics.registry import AUROC
from gazevlm_core.model.configuration_gazevlm import GazeConfig
from gazevlm_core.sample import Sample
from gazevlm_core.scanpath import PathLengths

FORMAT, VERSION = "gazevlm-adapter", 1
LIBRARIES = ("torch", "transformers", "peft", "bitsandbytes", "accelerate", "numpy", "scikit-learn", "safetensors")


def provenance_values(
    name: str, config: FinetuneConfig, base: Base, split: Split, found: Sequence[Measure], verdict: Verdict, *,
    steps: int, seconds: float, device: str, left_out: Sequence[str] = (), gaze: GazeConfig | None = None,
    lengths: PathLengths | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Return everything about an adapter as JSON values. Folders of this machine are named by their last part.

    Args:
        steps: optimizer steps behind the weights.
        seconds: of this process, from the first step on.
        device: "cpu" or the GPU's name.
        left_out: findings that the data name, but too few images have or lack.
        gaze: configuration of the adapter; None where it is not known.
        lengths: of the readings that were learned from, in its steps.
    """
    both = (*split.train, *split.held_out)
    read = {
        reading.reading_id: reading.digest for case in split.train for reading in case.readings
        if reading.reading_id
    }  # fmt: skip
    return {
        "format": FORMAT,
        "version": VERSION,
        "name": name,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "base": {
            "source": _last_part(base.source),
            "model_id": base.model_id,
            "revision": base.revision,
            "fingerprint": base.fingerprint,
        },
        "config": {**config.to_values(), **public_places(config)},
        "seed": config.seed,
        "data": {
            "fingerprint": fingerprint(both),
            "datasets": [_dataset(spec, number, split) for number, spec in enumerate(config.annotations)],
            "findings_left_out": list(left_out),
            "fixations": _fixations(gaze, lengths or PathLengths()),
        },
        TRAINED_ON: trained_on(config, split).to_values(),
        BEFORE: [None if one is None else one.to_values() for one in base.trained_on],
        "annotations": [{"id": one, "sha256": read[one]} for one in sorted(read)],
        "split": {
            "train": [case.image_id for case in split.train],
            "held_out": [case.image_id for case in split.held_out],
        },
        "libraries": {
            "python": platform.python_version(), **{name: importlib.metadata.version(name) for name in LIBRARIES},
        },
        "training": {"steps": steps, "seconds": round(seconds, 1), "device": device},
        "measures": [asdict(one) for one in found],
        "verdict": asdict(verdict),
    }  # fmt: skip


def trained_on(config: FinetuneConfig, split: Split) -> TrainedOn:
    """Return whom and what a run learns from, for whoever scores its adapter later."""
    salt = fingerprint((*split.train, *split.held_out))  # another one for other data, the same for the same
    return TrainedOn.of(salt, split.train, (case.digest for case in split.train), rule_of(config))


def public_places(config: FinetuneConfig) -> dict[str, Any]:
    """Return the fields of a configuration that may name folders of this machine, by their last parts."""
    return {
        "annotations": [_public(spec) for spec in config.annotations],
        "base": _last_part(config.base),
        "deepspeed": Path(config.deepspeed).name,
    }


def _last_part(source: str) -> str:
    """Return a folder's name, or a Hub id as it is."""
    return Path(source).resolve().name if Path(source).is_dir() else source


def _public(spec: str) -> str:
    name, root, _ = parse_spec(spec)
    return f"{name}={root.resolve().name}"


def _dataset(spec: str, number: int, split: Split) -> dict[str, Any]:
    own = [case for case in (*split.train, *split.held_out) if case.part == number]
    readings = [reading for case in own for reading in case.readings]
    return {
        "name": _public(spec),
        "images": len(own),
        "readings": len(readings),
        "annotators": sorted({reading.reader for reading in readings}),
        "columns_not_read": dict(split.not_read[number]) if split.not_read else {},
        "credit": ADAPTERS[parse_spec(spec)[0]].credit,
    }


def _fixations(gaze: GazeConfig | None, lengths: PathLengths) -> dict[str, Any]:
    """Count what K cuts from the readings that are learned from."""
    steps = gaze.num_gaze_tokens if gaze else 0
    return {
        "gaze_tokens": steps,
        "all": lengths.fixations,
        "beyond_gaze_tokens": lengths.fixations_beyond(steps) if steps else 0,
        "gaze_tokens_for_95_percent": lengths.steps_that_keep(),
        "words": cut_words(lengths, steps, repeats=gaze.repeats) if gaze else "",
    }


def write_provenance(folder: Path, values: dict[str, Any], cases: Sequence[Sample]) -> None:
    """Write provenance, card and, of findings that a verdict would go by, scores beside an adapter's weights.

    Args:
        values: from `provenance_values`.
        cases: held-out, behind the scores.
    """
    write_json(folder / PROVENANCE_FILE, values)
    (folder / CARD).write_text(render_card(values), encoding="utf-8")
    scores, counts, patients = {}, set[int](), patient_groups(cases)
    for one in values["measures"]:
        kind, colon, finding = one["name"].partition(": ")
        if colon and kind == AUROC and one["value"] is not None:
            labels = [case.findings.get(finding) for case in cases]
            if enough_of_each(patients, labels):  # else it would be called good for a single patient
                known = [label for label in labels if label is not None]
                scores[finding] = FindingScore(one["value"], sum(known) / len(known))
                counts.add(len(known))
    if scores:
        images = " to ".join(str(count) for count in sorted({min(counts), max(counts)}))
        scored_on = f"{images} held-out images of the data that the adapter was trained on"
        write_scores(folder, CheckpointScores(scored_on, scores))
