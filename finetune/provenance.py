"""Where an adapter comes from, beside its weights: provenance.json, the model card, and scores for the Diagnose tab."""

import importlib.metadata
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from finetune.base import Base
from finetune.cases import Split, fingerprint, parse_spec, path_lengths, rule_of
from finetune.config import FinetuneConfig
from finetune.held_out import AUROC
from finetune.records import PROVENANCE_FILE, Measure, Verdict, gain_words, verdict_of, write_json
from gazevlm_core.datasets.trained_on import BEFORE, TRAINED_ON, TrainedOn
from gazevlm_core.sample import Sample

FORMAT, VERSION = "gazevlm-adapter", 1
CARD, SCORES = "README.md", "finding_scores.json"
LIBRARIES = ("torch", "transformers", "peft", "bitsandbytes", "accelerate", "numpy", "scikit-learn", "safetensors")


@dataclass(frozen=True)
class Trained:
    """How the training went.

    Args:
        steps: optimizer steps behind the weights.
        seconds: of this process, from the first step on.
        device: "cpu" or the GPU's name.
        left_out: findings that the data name and too few images have or lack.
        gaze_tokens: K, beyond which fixations are not taught; 0 where it is not known.
    """

    steps: int
    seconds: float
    device: str
    left_out: tuple[str, ...]
    gaze_tokens: int = 0


def provenance_values(
    name: str, config: FinetuneConfig, base: Base, split: Split, trained: Trained, found: Sequence[Measure],
    verdict: Verdict,
) -> dict[str, Any]:  # fmt: skip
    """Everything about an adapter, as JSON values. Folders of this machine are named by their last part."""
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
            "datasets": [_dataset(spec, number, both) for number, spec in enumerate(config.annotations)],
            "findings_left_out": list(trained.left_out),
            "fixations": _fixations(split, trained.gaze_tokens),
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
        "training": {"steps": trained.steps, "seconds": round(trained.seconds, 1), "device": trained.device},
        "measures": [asdict(one) for one in found],
        "verdict": asdict(verdict),
    }  # fmt: skip


def trained_on(config: FinetuneConfig, split: Split) -> TrainedOn:
    """Whom and what a run learns from, for whoever scores its adapter later."""
    patients = (case.patient_id for case in split.train)
    salt = fingerprint((*split.train, *split.held_out))  # another one for other data, the same for the same
    return TrainedOn.of(salt, patients, (case.digest for case in split.train), rule_of(config))


def public_places(config: FinetuneConfig) -> dict[str, Any]:
    """The fields of a configuration that may name folders of this machine, by their last parts."""
    return {
        "annotations": [_public(spec) for spec in config.annotations],
        "base": _last_part(config.base),
        "deepspeed": Path(config.deepspeed).name,
    }


def _last_part(source: str) -> str:
    """A folder's name; a Hub id as it is."""
    return Path(source).resolve().name if Path(source).is_dir() else source


def _public(spec: str) -> str:
    name, root, _ = parse_spec(spec)
    return f"{name}={root.resolve().name}"


def _dataset(spec: str, number: int, cases: Sequence[Sample]) -> dict[str, Any]:
    own = [case for case in cases if case.part == number]
    readings = [reading for case in own for reading in case.readings]
    return {
        "name": _public(spec),
        "images": len(own),
        "readings": len(readings),
        "annotators": sorted({reading.reader for reading in readings}),
    }


def _fixations(split: Split, steps: int) -> dict[str, Any]:
    """What K leaves out of the readings that are learned from."""
    lengths = path_lengths(split.train)
    return {
        "gaze_tokens": steps,
        "all": lengths.fixations,
        "beyond_gaze_tokens": lengths.beyond(steps) if steps else 0,
        "gaze_tokens_for_95_percent": lengths.steps_that_keep(),
        "words": lengths.words(steps) if steps else "",
    }


def write_provenance(folder: Path, values: dict[str, Any], cases: Sequence[Sample]) -> None:
    """Leave provenance, card and scores beside an adapter's weights.

    Args:
        folder: of the adapter.
        values: from `provenance_values`.
        cases: held-out, behind the scores.
    """
    write_json(folder / PROVENANCE_FILE, values)
    (folder / CARD).write_text(render_card(values), encoding="utf-8")
    scores = {}
    for one in values["measures"]:
        kind, colon, finding = one["name"].partition(": ")
        if colon and kind == AUROC and one["value"] is not None:
            labels = [case.findings[finding] for case in cases if finding in case.findings]
            scores[finding] = {"auroc": one["value"], "prevalence": sum(labels) / len(labels)}
    if scores:
        scored_on = f"{len(cases)} held-out images of the data that the adapter was trained on"
        write_json(folder / SCORES, {"scored_on": scored_on, "findings": scores})


# ---- card -----------------------------------------------------------------------------------------------------------
def render_card(values: dict[str, Any]) -> str:
    """The model card of an adapter, as the Hub reads it.

    Args:
        values: from `provenance_values`.
    """
    base = values["base"]
    front = yaml.safe_dump(
        {"base_model": base["model_id"], "library_name": "peft", "tags": ["gazevlm", "lora", "gaze"],
         "pipeline_tag": "image-text-to-text"}, sort_keys=False,
    )  # fmt: skip
    return f"""---
{front}---

# {values['name']}

A GazeVLM adapter: LoRA layers, the row of the gaze token, and heads, on `{base['model_id']}`. Research only: not a
medical device.

{scores_and_data(values)}

## Use

```
gazevlm diagnose image.png --model {base['source']} --adapter {values['name']}
```
"""


def scores_and_data(values: dict[str, Any]) -> str:
    """The part of a card that holds wherever the weights lie: verdict, held-out scores, data."""
    data, verdict = values["data"], verdict_of(values["verdict"])
    if verdict is None:
        raise ValueError("no verdict")
    sets = "\n".join(
        f"| {_cell(one['name'])} | {one['images']} | {one['readings']} | {len(one['annotators'])} |"
        for one in data["datasets"]
    )
    rows = "\n".join(_measure_row(one) for one in values["measures"])
    left_out = data["findings_left_out"]
    cut = data.get("fixations", {}).get("words", "")  # earlier versions do not tell
    cut = f"\nOf the scanpaths, {cut}.\n" if cut else ""
    learned = f"\nToo few images have or lack these findings, so they were not learned: {', '.join(left_out)}.\n"
    return f"""**{verdict.why}**

## Held-out scores

{len(values['split']['held_out'])} images, whose patients are not among the {len(values['split']['train'])} that were
learned from. In brackets the interval of a gain over held-out patients, by which the adapter is judged; a floor is no
figure of the base.

| measure | adapter | base | gain | floors |
|---|---|---|---|---|
{rows}

## Data

| data set | images | scanpaths | annotators |
|---|---|---|---|
{sets}
{learned if left_out else ""}{cut}
Fingerprint `{data['fingerprint']}`; `provenance.json` names every submission with its digest, the configuration, and
the versions of the libraries."""


def _measure_row(one: dict[str, Any]) -> str:
    floors = ", ".join(f"{name} {value:.3f}" for name, value in one["floors"].items()) or "none"
    unit = f" ({one['unit']})" if one["unit"] else ""
    gain = gain_words(Measure(**one).gain)
    figures = f"{_number(one['value'])} | {_number(one['base'])} | {gain} | {floors}"
    return f"| {_cell(one['name'])}{unit} | {figures} |"


def _cell(text: str) -> str:
    """Words that stay within their cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"
