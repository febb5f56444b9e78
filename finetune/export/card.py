"""The model card of a merged model."""

from collections.abc import Mapping
from typing import Any

import yaml

from finetune.provenance import scores_and_data
from finetune.records import RecordError


def merged_card(name: str, adapter: str, base: str, dtype: str, values: Mapping[str, Any] | None) -> str:
    """As the Hub reads it.

    Args:
        name: of the model.
        adapter: name of what was merged.
        base: Hub id or folder name.
        dtype: that the weights are stored in.
        values: the adapter's provenance; None where it has none.

    Raises:
        RecordError: provenance that is not as a training writes it.
    """
    try:
        said = scores_and_data(dict(values)) if values else "Nothing is known about the adapter's training."
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise RecordError(f"provenance is not as a training writes it ({type(error).__name__}: {error})") from None
    front = yaml.safe_dump(
        {"base_model": base, "base_model_relation": "finetune", "library_name": "transformers",
         "tags": ["gazevlm", "gaze"], "pipeline_tag": "image-text-to-text"}, sort_keys=False,
    )  # fmt: skip
    return f"""---
{front}---

# {name}

The GazeVLM adapter `{adapter}` merged into `{base}`: one model in {dtype}, heads in float32. Research only: not
a medical device. The scores below are the adapter's, before merging and rounding.

{said}

## Use

```
gazevlm diagnose image.png --model {name}
```
"""
