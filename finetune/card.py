"""An adapter's provenance for people: model cards of adapters and merged models, and the lines of `adapter show`.

Free of torch.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import yaml

from finetune.config import FinetuneConfig, differing
from finetune.records import Measure, RecordError, gain_words, measures_of, verdict_of
from gazevlm_core.datasets.label_table import not_read_words
from gazevlm_core.terminal import one_line
from web.formatting import UNKNOWN, score
from web.markup import Table, markdown, markdown_cell, plain_text

CARD = "README.md"
DIGITS = 12  # of a fingerprint
WITH_GAZE = """\
The GazeVLM adapter `{adapter}` merged into `{base}`: one model in {dtype}, heads in float32. Research only: not
a medical device. The scores below are the adapter's, before merging and rounding."""
WITHOUT_GAZE = """\
The words of the GazeVLM adapter `{adapter}`, merged into `{base}`: a plain {plain} in {dtype}. It answers
WITHOUT gaze: no gaze tokens stand before the answer, as they did in training, and it gives no scanpath and no
probability of a finding. Research only: not a medical device. The scores below are those of the adapter with gaze,
before merging and rounding; nothing is known of the answers without."""
USE = """\
```
gazevlm diagnose image.png --model {name}
```

Without GazeVLM, by the code beside the weights:

```python
from transformers import pipeline

look = pipeline("image-text-to-text", model="{name}", trust_remote_code=True)
print(look(images="image.png", text="Is there pneumothorax?", return_full_text=False))
```
"""
USE_PLAIN = """\
With whatever serves {plain}, e.g.

```
vllm serve {name}
```
"""


def render_card(values: dict[str, Any]) -> str:
    """Return the model card of an adapter, as the Hub reads it."""
    base = values["base"]
    front = {
        "base_model": base["model_id"], "library_name": "peft", "tags": ["gazevlm", "lora", "gaze"],
        "pipeline_tag": "image-text-to-text",
    }  # fmt: skip
    return f"""---
{yaml.safe_dump(front, sort_keys=False)}---

# {values['name']}

A GazeVLM adapter: LoRA layers, the row of the gaze token, and heads, on `{base['model_id']}`. Research only: not a
medical device.

{scores_and_data(values)}

## Settings

{_settings(values['config'])}

## Use

```
gazevlm diagnose image.png --model {base['source']} --adapter {values['name']}
```
"""


def merged_card(
    name: str, adapter: str, base: str, dtype: str, values: Mapping[str, Any] | None, *, plain: str = ""
) -> str:
    """Return the card of a merged model.

    Args:
        adapter: name of what was merged.
        base: Hub id or folder name.
        dtype: that the weights are stored in.
        values: the adapter's provenance; None where it has none.
        plain: name of the family, where it is a plain model of it, without gaze.

    Raises:
        RecordError: provenance that is not as a training writes it.
    """
    with _as_written():
        scores = scores_and_data(dict(values)) if values else "Nothing is known about the adapter's training."
    front = {
        "base_model": base, "base_model_relation": "finetune", "library_name": "transformers",
        "tags": ["gazevlm"] if plain else ["gazevlm", "gaze"], "pipeline_tag": "image-text-to-text",
    }  # fmt: skip
    what, use = (WITHOUT_GAZE, USE_PLAIN) if plain else (WITH_GAZE, USE)
    return f"""---
{yaml.safe_dump(front, sort_keys=False)}---

# {name}

{what.format(adapter=adapter, base=base, dtype=dtype, plain=plain)}

{scores}

## Use

{use.format(name=name, plain=plain)}"""


def scores_and_data(values: dict[str, Any]) -> str:
    """Return the part of a card that holds wherever the weights lie: verdict, held-out scores, data."""
    data, verdict = values["data"], verdict_of(values["verdict"])
    if verdict is None:
        raise ValueError("no verdict")
    heads = ["data set", "images", "scanpaths", "annotators"]
    sets = markdown(Table("", heads, [
        [one["name"], str(one["images"]), str(one["readings"]), _people(one["annotators"])] for one in data["datasets"]
    ]))  # fmt: skip
    scores = markdown(measure_table(measures_of(values["measures"])))
    left_out = data["findings_left_out"]
    cut = data.get("fixations", {}).get("words", "")  # earlier versions do not say it
    cut = f"\nOf the scanpaths, {cut}.\n" if cut else ""
    credits = "".join(f"\n{one['credit']}\n" for one in data["datasets"] if one.get("credit"))
    columns = "".join(
        f"\nColumns of {markdown_cell(one['name'])} that are no findings, so nothing was learned from them: "
        f"{markdown_cell(not_read_words(one['columns_not_read']))}.\n"
        for one in data["datasets"] if one.get("columns_not_read")  # earlier versions do not say it
    )  # fmt: skip
    learned = f"\nToo few images have or lack these findings, so they were not learned: {', '.join(left_out)}.\n"
    return f"""**{verdict.why}**

## Held-out scores

{len(values['split']['held_out'])} images, whose patients are not among the {len(values['split']['train'])} that were
learned from. In brackets the interval of a gain over held-out patients; by those over the base the adapter is judged,
and a floor is no figure of the base.

{scores}

## Data

{sets}
{credits}{learned if left_out else ""}{columns}{cut}
Fingerprint `{data['fingerprint']}`; `provenance.json` names every submission with its digest, the configuration, and
the versions of the libraries."""


def _people(names: Sequence[str]) -> str:
    """Return how many annotators there are; "" among their names stands for those of whom nobody says who they are."""
    named = sum(map(bool, names))
    if named == len(names):
        return str(named)
    return f"{named} and unknown ones" if named else "unknown"


def _settings(values: Mapping[str, Any]) -> str:
    """Return the settings that are not the usual ones."""
    other = differing(FinetuneConfig(annotations=("-",)).to_values(), values, ("annotations", "base"))
    return "\n".join(f"- `{name}`: {markdown_cell(str(values[name]))}" for name in other) or "The usual ones."


def measure_table(measures: Sequence[Measure]) -> Table:
    """Return held-out figures: adapter, base, gain with its interval, floors."""
    rows = [
        [f"{one.name} ({one.unit})" if one.unit else one.name, score(one.value), score(one.base), gain_words(one.gain),
         ", ".join(f"{name} {value:.3f}" for name, value in one.floors.items()) or UNKNOWN]
        for one in measures
    ]  # fmt: skip
    return Table("", ["measure", "adapter", "base", "gain", "floors"], rows)


# ---- gazevlm adapter show -------------------------------------------------------------------------------------------
def provenance_lines(values: Mapping[str, Any]) -> list[str]:
    """Return what an adapter was made of, how it scored, and the verdict.

    Args:
        values: from `finetune.records.read_provenance`.

    Raises:
        RecordError: not as a training writes it.
    """
    with _as_written():
        base, data, split, training = (values[name] for name in ("base", "data", "split", "training"))
        revision = f" at {base['revision'][:DIGITS]}" if base["revision"] else ""
        sets = [f"{one['name']} ({one['readings']} scanpaths on {one['images']} images)" for one in data["datasets"]]
        facts = {
            "adapter": values["name"],
            "made": values["made_at"],
            "base": f"{base['model_id']}{revision}, fingerprint {base['fingerprint'][:DIGITS]}",
            "data": f"{', '.join(sets)}, fingerprint {data['fingerprint'][:DIGITS]}",
            "images": f"{len(split['train'])} learned from, {len(split['held_out'])} held out",
            "annotations": f"{len(values['annotations'])} with digests",
            "training": f"{training['steps']} steps, {training['seconds']:.0f} s on {training['device']}",
            "seed": values["seed"],
        }
        width = max(map(len, facts))
        lines = [f"{name:{width}}  {fact}" for name, fact in facts.items()]
        table = plain_text(measure_table(measures_of(values["measures"])))
        lines += ["", *table.splitlines(), "", f"verdict: {values['verdict']['why']}"]
    # without control characters: an adapter may come from anybody
    return list(map(one_line, lines))


@contextmanager
def _as_written() -> Iterator[None]:
    """Raise RecordError where provenance lacks what a training writes."""
    try:
        yield
    except RecordError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise RecordError(f"provenance is not as a training writes it ({type(error).__name__}: {error})") from None
