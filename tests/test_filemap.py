"""The README maps every file in one line, and nothing else."""

from pathlib import Path

import pytest

from tools.filemap import compare, mapped_files, project_files, render

EXAMPLE = {"app.py": "the page", "core/a.py": "a", "models/nano/": "weights"}


def test_map_equals_the_files(repository: Path) -> None:
    missing, stale = compare(project_files(repository), mapped_files((repository / "README.md").read_text("utf-8")))
    assert (missing, stale) == ([], []), "run `python tools/filemap.py --write`, then describe what is new"


def test_every_line_says_something(repository: Path) -> None:
    entries = mapped_files((repository / "README.md").read_text("utf-8"))
    assert [path for path, description in entries.items() if len(description.split()) < 2] == []


def test_both_directions_are_seen() -> None:
    files = {"app.py", "core/a.py", "core/new.py", "models/nano/config.json"}
    assert compare(files, EXAMPLE) == (["core/new.py"], [])
    assert compare({"app.py"}, EXAMPLE) == ([], ["core/a.py", "models/nano/"])


def test_a_folder_line_never_hides_code() -> None:
    files = {"models/nano/config.json", "models/nano/load.py"}
    assert compare(files, {"models/nano/"}) == (["models/nano/load.py"], [])


def test_render_round_trip() -> None:
    text = f"# Title\n<!-- file map: start -->\n{render(EXAMPLE)}\n<!-- file map: end -->\nrest | `x` | y |"
    assert mapped_files(text) == EXAMPLE


def test_a_file_named_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        mapped_files("<!-- file map: start -->\n| `a` | one |\n| `a` | two |\n<!-- file map: end -->")
