"""The README's map of the files: what is missing from it, what is stale, and a way to bring it up to date.

    python tools/filemap.py            # list the differences; exit status 1 if there are any
    python tools/filemap.py --write    # rewrite the map: descriptions stay, new files get their own first sentence

A line that ends in "/" stands for all data below that folder; Python files always have a line of their own.
"""

import argparse
import ast
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import Path

START, END = "<!-- file map: start -->", "<!-- file map: end -->"
ROW = re.compile(r"^\| `([^`]+)` \| (.*?) *\|$", re.MULTILINE)


def project_files(root: Path) -> set[str]:
    """Files that git tracks, or would track at the next `git add`, relative to the root.

    Raises:
        RuntimeError: the folder is no git checkout.
    """
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise RuntimeError(f"{root} is no git checkout: {result.stderr.strip()}")
    return {name for name in result.stdout.split("\0") if name and (root / name).is_file()}


def mapped_files(readme: str) -> dict[str, str]:
    """Path -> description of each line of the map.

    Raises:
        ValueError: the README has no map, or a path has two lines.
    """
    if START not in readme or END not in readme:
        raise ValueError(f"the README needs a map between {START} and {END}")
    rows = ROW.findall(readme.split(START)[1].split(END)[0])
    entries = dict(rows)
    if len(entries) != len(rows):
        raise ValueError(f"the map names a file twice: {sorted(path for path, _ in rows)}")
    return entries


def compare(files: Iterable[str], entries: Iterable[str]) -> tuple[list[str], list[str]]:
    """Files without a line, and lines without a file (both sorted)."""
    files, entries = set(files), set(entries)
    folders = tuple(sorted(entry for entry in entries if entry.endswith("/")))
    covered = {file for file in files if file.startswith(folders) and not file.endswith(".py")} if folders else set()
    used = {folder for folder in folders if any(file.startswith(folder) for file in covered)}
    return sorted(files - entries - covered), sorted(entries - files - used)


def first_sentence(path: Path) -> str:
    """First sentence of a Python module's docstring, or "" where there is none."""
    if path.suffix != ".py":
        return ""
    summary = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n\n")[0]
    return re.split(r"(?<=\.)\s", " ".join(summary.split()), maxsplit=1)[0].rstrip(".")


def render(entries: Mapping[str, str]) -> str:
    """The map as Markdown: one table for each top folder, files of the root first."""

    def top(path: str) -> str:
        return path.split("/")[0] + "/" if "/" in path else ""

    tables = []
    for folder, paths in groupby(sorted(entries, key=lambda path: (top(path), path)), key=top):
        rows = [f"| `{path}` | {entries[path]} |" for path in paths]
        tables.append("\n".join([f"| {folder or 'top'} | |", "|---|---|", *rows]))
    return "\n\n".join(tables)


def main() -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--write", action="store_true", help="rewrite the map in README.md")
    write = parser.parse_args().write
    root = Path(__file__).resolve().parent.parent
    readme_path = root / "README.md"
    readme = readme_path.read_text(encoding="utf-8")
    entries = mapped_files(readme)
    missing, stale = compare(project_files(root), entries)
    if write:
        kept = {path: text for path, text in entries.items() if path not in stale}
        kept |= {path: first_sentence(root / path) for path in missing}
        before, after = readme.split(START)[0], readme.split(END)[1]
        readme_path.write_text(f"{before}{START}\n\n{render(kept)}\n\n{END}{after}", encoding="utf-8")
        undescribed = [path for path, text in kept.items() if not text]
        sys.stdout.writelines(f"needs a description: {path}\n" for path in undescribed)
        return int(bool(undescribed))
    sys.stdout.writelines(f"not in the map: {path}\n" for path in missing)
    sys.stdout.writelines(f"in the map, but not there: {path}\n" for path in stale)
    return int(bool(missing or stale))


if __name__ == "__main__":
    sys.exit(main())
