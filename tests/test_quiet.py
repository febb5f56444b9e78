"""Libraries keep quiet once they were asked to."""

import subprocess
import sys
from pathlib import Path

TALK = """
import logging, warnings
from gazevlm_core.quiet import quiet_libraries
quiet_libraries()
import huggingface_hub, transformers
for library in ("bitsandbytes.autograd", "huggingface_hub.utils._http", "transformers.modeling_utils"):
    logging.getLogger(library).warning("a note of %s", library)
    logging.getLogger(library).error("an error of %s", library)
warnings.warn_explicit("deprecated", FutureWarning, "f.py", 1, module="transformers.modeling_utils")
warnings.warn_explicit("ours", FutureWarning, "f.py", 1, module="gazevlm_core.somewhere")
for _ in transformers.utils.logging.tqdm(range(3)): pass
"""


def test_notes_are_silent_and_errors_are_not(repository: Path) -> None:
    result = subprocess.run([sys.executable, "-c", TALK], cwd=repository, capture_output=True, text=True, check=True)
    assert "a note of" not in result.stderr
    assert result.stderr.count("an error of") == 3
    assert "deprecated" not in result.stderr
    assert "ours" in result.stderr
    assert "it/s" not in result.stderr
