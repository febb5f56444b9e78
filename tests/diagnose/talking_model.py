"""A random model that always says many words: what streams can then be watched."""

import json
from pathlib import Path
from typing import Any

from tests.tiny_model import make_tiny_checkpoint

SPOKEN = " the findings on this chest radiograph left pleural effusion there"


def make_talking_checkpoint(folder: Path, **gaze: Any) -> Path:
    """A random model whose answer is as long as it may be and no loop, every word of it from SPOKEN.

    Args:
        folder: to write.
        gaze: as in the tiny one.
    """
    return let_talk(make_tiny_checkpoint(folder, **gaze))


def let_talk(folder: Path) -> Path:
    """Change the settings of a random model, as above."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    spoken = {token for word in SPOKEN.split() for token in tokenizer.encode(f" {word}").ids}
    rows = json.loads((folder / "config.json").read_text(encoding="utf-8"))["text_config"]["vocab_size"]
    silent = [token for token in range(rows) if token not in spoken]
    settings = {"suppress_tokens": silent, "no_repeat_ngram_size": 3}  # a text that repeats itself would be cut
    (folder / "generation_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder
