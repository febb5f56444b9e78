"""Which libraries a Python file imports, late imports inside functions included."""

import ast
from pathlib import Path


def imported_libraries(path: Path) -> set[str]:
    """Top-level names of a file's absolute imports, e.g. {"os", "numpy", "gazevlm_core"}."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module.split(".")[0])
    return found
