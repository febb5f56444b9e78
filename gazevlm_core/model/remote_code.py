"""A checkpoint folder that loads where GazeVLM is not installed: its code beside the weights, for `trust_remote_code`.

    model.save_pretrained(folder), processor.save_pretrained(folder), write_remote_code(folder)

The library reads such code from files that lie flat in one folder and import each other by `from .name import`. So the
three modules that it asks for, and those of ours that they stand on, are written from our sources as they are, but for
the names in their imports: there is no second copy to keep.
"""

import json
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from transformers.utils import CONFIG_NAME, PROCESSOR_NAME

PACKAGE = __name__.partition(".")[0]
ROOM = __name__.rpartition(".")[0]
AUTO_CLASSES = {
    "AutoConfig": "configuration_gazevlm.GazeVLMConfig",
    "AutoModelForImageTextToText": "modeling_gazevlm.GazeVLM",
    "AutoProcessor": "processing_gazevlm.GazeVLMProcessor",
}
OURS = re.compile(rf"^(\s*from ){PACKAGE}((?:\.\w+)+)(?= import)", re.MULTILINE)


def write_remote_code(folder: Path) -> tuple[str, ...]:
    """Write the code into a folder that model and processor were saved to, and name it in their configurations.

    Args:
        folder: holds config.json and processor_config.json.

    Returns:
        Names of the code's files.

    Raises:
        OSError: it does not hold them.
    """
    for file in (CONFIG_NAME, PROCESSOR_NAME):
        values = json.loads((folder / file).read_text(encoding="utf-8"))
        values["auto_map"] = AUTO_CLASSES
        (folder / file).write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    names = []
    for module, source in _sources():
        text = OURS.sub(lambda found: f"{found[1]}.{found[2].rpartition('.')[2]}", source)
        names.append(f"{module.rpartition('.')[2]}.py")
        (folder / names[-1]).write_text(text, encoding="utf-8")
    return tuple(names)


def _sources() -> Iterator[tuple[str, str]]:
    """Name and text of every module that a checkpoint is read by.

    Raises:
        ValueError: two of them would be one file.
    """
    wanted = [f"{ROOM}.{place.partition('.')[0]}" for place in AUTO_CLASSES.values()]
    for module in wanted:  # grows on the way
        spec = find_spec(module)
        if spec is None or spec.origin is None:
            raise ValueError(f"{module} has no source")
        source = Path(spec.origin).read_text(encoding="utf-8")
        wanted += sorted({PACKAGE + found[2] for found in OURS.finditer(source)} - set(wanted))
        yield module, source
    files = [module.rpartition(".")[2] for module in wanted]
    if len(set(files)) != len(files):
        raise ValueError(f"two modules of {', '.join(sorted(wanted))} would be one file")
