"""Reads a checkpoint's folder in a process where GazeVLM cannot be imported, and prints what it answers.

Run as a script: FOLDER QUESTION IMAGE ...
"""

import json
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
OURS = {path.parent.name for path in REPOSITORY.glob("*/__init__.py")}


class Absent:
    """An editable install would find our packages again."""

    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        if name.partition(".")[0] in OURS:
            raise ModuleNotFoundError(f"No module named {name!r}")
        return None


def main(folder: str, question: str, *images: str) -> None:
    from PIL import Image
    from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor, pipeline

    trusted = {"trust_remote_code": True}
    config = AutoConfig.from_pretrained(folder, **trusted)
    model = AutoModelForImageTextToText.from_pretrained(folder, **trusted)
    processor = AutoProcessor.from_pretrained(folder, **trusted)
    pixels = [Image.open(image) for image in images]
    inputs = processor(images=pixels, text=[question] * len(pixels), return_tensors="pt")
    ids = model.generate(**inputs, max_new_tokens=40)[:, inputs["input_ids"].shape[1] :]
    ask = pipeline("image-text-to-text", model=folder, **trusted)
    one = ask(images=pixels[0], text=question, max_new_tokens=40, return_full_text=False)
    try:
        model.load_adapter("anywhere")
    except ImportError as error:
        refusal = str(error)
    told = {
        "modules": [type(one).__module__.partition(".")[0] for one in (config, model, processor)],
        "answers": processor.batch_decode(ids, skip_special_tokens=True),
        "pipeline": one[0]["generated_text"],
        "adapter": refusal,
        "ours": sorted(OURS & {name.partition(".")[0] for name in sys.modules}),
    }
    print(json.dumps(told))  # noqa: T201 (to the test)


if __name__ == "__main__":
    sys.meta_path.insert(0, Absent())
    main(*sys.argv[1:])
