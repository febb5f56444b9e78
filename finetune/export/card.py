"""The model card of a merged model."""

from collections.abc import Mapping
from typing import Any

import yaml

from finetune.provenance import scores_and_data
from finetune.records import RecordError

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


def merged_card(
    name: str, adapter: str, base: str, dtype: str, values: Mapping[str, Any] | None, *, plain: str = ""
) -> str:
    """As the Hub reads it.

    Args:
        name: of the model.
        adapter: name of what was merged.
        base: Hub id or folder name.
        dtype: that the weights are stored in.
        values: the adapter's provenance; None where it has none.
        plain: name of the family, where it is a plain model of it, without gaze.

    Raises:
        RecordError: provenance that is not as a training writes it.
    """
    try:
        said = scores_and_data(dict(values)) if values else "Nothing is known about the adapter's training."
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise RecordError(f"provenance is not as a training writes it ({type(error).__name__}: {error})") from None
    front = yaml.safe_dump(
        {"base_model": base, "base_model_relation": "finetune", "library_name": "transformers",
         "tags": ["gazevlm"] if plain else ["gazevlm", "gaze"], "pipeline_tag": "image-text-to-text"}, sort_keys=False,
    )  # fmt: skip
    what, use = (WITHOUT_GAZE, USE_PLAIN) if plain else (WITH_GAZE, USE)
    return f"""---
{front}---

# {name}

{what.format(adapter=adapter, base=base, dtype=dtype, plain=plain)}

{said}

## Use

{use.format(name=name, plain=plain)}"""
