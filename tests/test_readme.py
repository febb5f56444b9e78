"""The README's front matter is what a Space accepts; commands and snippets, there and in docs/, do what they say."""

import os
import re
import shlex
import sys
import sysconfig
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from packaging.requirements import Requirement
from typer.main import get_command

from cli.main import app
from tests.launching import run_program

README = Path(__file__).resolve().parent.parent / "README.md"
# https://huggingface.co/docs/hub/spaces-config-reference; the Hub refuses longer descriptions
SPACE_COLORS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
SHORT_DESCRIPTION_LIMIT = 60

FENCE = re.compile(r"(<!-- not run: [^>]+ -->\n)?^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PLACEHOLDER = re.compile(r"\b[A-Z]{3,}\b|[<>]|\.\.\.")


class Snippet(NamedTuple):
    """A fenced block: its language, its text, and whether a comment before it says why it is not run."""

    language: str
    text: str
    excused: bool


def snippets(readme: str) -> list[Snippet]:
    return [Snippet(language, text, bool(excuse)) for excuse, language, text in FENCE.findall(readme)]


def runnable_commands(text: str) -> list[str]:
    """The `gazevlm` lines of a shell block that hold no placeholder (IMAGE, FOLDER, OUT.png)."""
    lines = [line for line in text.splitlines() if line.startswith("gazevlm ")]
    return [line for line in lines if not PLACEHOLDER.search(line)]


PAGES = (README, *sorted(README.parent.glob("docs/**/*.md")))
LINKED = (*PAGES, *(README.parent / name for name in ("CONTRIBUTING.md", "CHANGELOG.md")))
SNIPPETS = [snippet for page in PAGES for snippet in snippets(page.read_text("utf-8"))]
PYTHON_BLOCKS = [block.text for block in SNIPPETS if block.language == "python" and not block.excused]
SHELL_BLOCKS = [block.text for block in SNIPPETS if block.language == "bash" and not block.excused]
COMMAND_BLOCKS = [commands for text in SHELL_BLOCKS if (commands := runnable_commands(text))]


@pytest.fixture(scope="module")
def front_matter() -> dict[str, object]:
    text = README.read_text("utf-8")
    assert text.startswith("---\n"), "a Space reads the YAML block at the very top of README.md"
    return yaml.safe_load(text.split("---\n")[1])


def test_front_matter_has_every_field_as_text(front_matter: dict[str, object]) -> None:
    fields = {"title", "emoji", "colorFrom", "colorTo", "sdk", "sdk_version", "python_version", "app_file", "license"}
    assert fields | {"short_description"} <= {name for name, value in front_matter.items() if isinstance(value, str)}
    assert front_matter["tags"]
    assert all(isinstance(tag, str) for tag in front_matter["tags"])


def test_front_matter_values_are_allowed(front_matter: dict[str, object], repository: Path) -> None:
    assert front_matter["sdk"] == "gradio"
    assert {front_matter["colorFrom"], front_matter["colorTo"]} <= SPACE_COLORS
    assert re.fullmatch(r"3\.\d+(\.\d+)?", front_matter["python_version"])
    assert len(front_matter["short_description"]) <= SHORT_DESCRIPTION_LIMIT
    assert not re.search(r"[A-Za-z0-9\s]", front_matter["emoji"]), "emoji characters only"
    assert (repository / front_matter["app_file"]).is_file()
    assert front_matter["license"] == "apache-2.0"
    assert "Apache License" in (repository / "LICENSE").read_text("utf-8")


def test_sdk_version_is_one_that_requirements_allow(front_matter: dict[str, object], repository: Path) -> None:
    version = front_matter["sdk_version"]
    lines = (repository / "requirements.txt").read_text("utf-8").splitlines()
    gradio = next(Requirement(line) for line in lines if line.startswith("gradio"))
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    assert gradio.specifier.contains(version)


def headings(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", LINKED, ids=lambda page: page.relative_to(README.parent).as_posix())
def test_pictures_and_links_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    for link in [*re.findall(r"\]\(([^)\s]+)\)", text), *re.findall(r'<img src="([^"]+)"', text)]:
        target, _, anchor = link.partition("#")
        if "://" not in link:
            found = (page.parent / target) if target else page
            assert found.exists(), f"{page.name}: {link}"
            assert not anchor or anchor in headings(found), f"{page.name}: {link}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(README.parent).as_posix())
def test_files_and_names_of_the_code_exist(page: Path, repository: Path) -> None:
    """`package/module.py`, unless a page is about adding it; `package.module.name` as far as a word of the module."""
    text = page.read_text("utf-8")
    packages = "|".join(path.parent.name for path in repository.glob("*/__init__.py"))
    missing = [name for name in re.findall(rf"`((?:{packages})/[\w/]+\.py)`", text) if not (repository / name).exists()]
    missing = [] if page.name.startswith("add-") else missing
    for name in re.findall(rf"`((?:{packages})(?:\.\w+)+)(?:\(.*?\))?`", text):
        parts, module = name.split("."), repository
        while parts and ((module / parts[0]).is_dir() or (module / f"{parts[0]}.py").exists()):
            module /= parts.pop(0)
        file = module / "__init__.py" if module.is_dir() else module.with_suffix(".py")
        if parts and not re.search(rf"\b{parts[0]}\b", file.read_text("utf-8")):
            missing.append(name)
    assert missing == []


def test_every_page_is_in_the_index(repository: Path) -> None:
    index = repository / "docs" / "README.md"
    listed = set(re.findall(r"\]\(([^)#]+\.md)\)", index.read_text("utf-8")))
    there = {page.relative_to(index.parent).as_posix() for page in PAGES[1:]} - {index.name}
    assert sorted(there - listed) == []


def test_make_targets_exist(repository: Path) -> None:
    named = set(re.findall(r"\bmake ([a-z-]+)\b", "\n".join(re.findall(r"`[^`\n]+`", README.read_text("utf-8")))))
    named |= {name for text in SHELL_BLOCKS for name in re.findall(r"^make ([a-z-]+)", text, re.MULTILINE)}
    targets = re.findall(r"^([a-z-]+):", (repository / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert {"demo", "test", "setup", "style", "bench", "nano", "adapt-check"} <= named <= set(targets)


def test_the_page_of_commands_lists_every_command(repository: Path) -> None:
    def names(command: object, before: str = "") -> list[str]:
        nested = getattr(command, "commands", {})
        return [name for part, inner in nested.items() for name in names(inner, f"{before}{part} ")] or [before.strip()]

    page = (repository / "docs" / "reference" / "commands.md").read_text("utf-8")
    listed = {name.removeprefix("gazevlm ") for row in re.findall(r"^\| (`.*?`) \|", page, re.MULTILINE)
              for name in re.findall(r"`(.*?)`", row)}  # fmt: skip
    assert sorted(set(names(get_command(app))) - listed) == []


def test_placeholders_are_told_from_commands() -> None:
    text = "make demo\ngazevlm diagnose IMAGE\ngazevlm phantom --out a\ngazevlm diagnose a --overlay OUT.png\n"
    assert runnable_commands(text) == ["gazevlm phantom --out a"]


@pytest.mark.slow
@pytest.mark.parametrize("source", PYTHON_BLOCKS)
def test_python_snippet_runs(source: str, tmp_path: Path, repository: Path) -> None:
    run(["-c", source], tmp_path, repository)


@pytest.mark.slow
@pytest.mark.parametrize("commands", COMMAND_BLOCKS, ids=lambda commands: commands[0])
def test_commands_run_in_order(commands: list[str], tmp_path: Path, repository: Path) -> None:
    scripts = Path(sysconfig.get_path("scripts"))
    for command in commands:
        run([str(scripts / "gazevlm"), *shlex.split(command, comments=True)[1:]], tmp_path, repository)


def run(command: list[str], folder: Path, repository: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    result = run_program([sys.executable, *command], folder, environment)
    assert result.returncode == 0, f"{shlex.join(command)}\n{result.stderr[-2000:]}"
