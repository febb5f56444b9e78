"""A checkpoint folder that loads where GazeVLM is not installed: its code beside the weights, for `trust_remote_code`.

    model.save_pretrained(folder), processor.save_pretrained(folder), write_remote_code(folder)

The library reads such code from files that lie flat in one folder and import each other by `from .name import`. So the
three modules that it asks for, and those of ours that they stand on, are written from our sources as they are, but for
the names in their imports: there is no second copy to keep.
"""

import json
import re
from collections.abc import Collection, Iterator
from importlib.util import find_spec
from pathlib import Path

from transformers.utils import CONFIG_NAME, PROCESSOR_NAME

from gazevlm_core.model.backbones import BY_TYPE
from gazevlm_core.model.processing_gazevlm import GazeVLMProcessor

PACKAGE = __name__.partition(".")[0]
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
    backbone = BY_TYPE[json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8"))["model_type"]]
    classes = {
        "AutoConfig": backbone.config_class, "AutoModelForImageTextToText": backbone, "AutoProcessor": GazeVLMProcessor,
    }  # fmt: skip
    for file in (CONFIG_NAME, PROCESSOR_NAME):
        values = json.loads((folder / file).read_text(encoding="utf-8"))
        values["auto_map"] = {
            auto: f"{one.__module__.rpartition('.')[2]}.{one.__name__}" for auto, one in classes.items()
        }
        (folder / file).write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    names = []
    for module, source in _sources({one.__module__ for one in classes.values()}):
        text = OURS.sub(lambda found: f"{found[1]}.{found[2].rpartition('.')[2]}", source)
        names.append(f"{module.rpartition('.')[2]}.py")
        (folder / names[-1]).write_text(text, encoding="utf-8")
    return tuple(names)


def _sources(modules: Collection[str]) -> Iterator[tuple[str, str]]:
    """Name and text of some modules and of all of ours that they stand on.

    Raises:
        ValueError: two of them would be one file.
    """
    wanted = sorted(modules)
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
