"""Imports point one way: the contracts of pyproject.toml, the rules they cannot say, and proof that both can fail."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.imported_libraries import imported_libraries

# Modules that must import quickly, without torch.
GROUND_MODULES = (
    "scanpath", "images", "geometry", "options", "records", "annotation", "metrics", "overlay", "replay",
    "sample", "words", "zones",
)  # fmt: skip
TORCHLESS_PACKAGES = ("annotate", "web")
HEAVY_LIBRARIES = {"torch", "transformers", "peft", "bitsandbytes", "accelerate", "gradio", "datasets"}
# Folders of the tabs' packages where a part of the page stands beside its service.
PAGE_FOLDERS = {"tab", "dashboard"}
# What tabs stand on, and the command line, which alone imports them; every other package is a tab.
BELOW_TABS, ABOVE_TABS = {"web", "phantoms", "gazevlm_core"}, {"cli"}
# Folders whose code nothing else may import.
TOP_MODULES = {"app", "benchmarks", "tests", "scripts"}


def packages_in(root: Path) -> list[str]:
    """Importable packages: folders of the root with an `__init__.py`."""
    return sorted(path.parent.name for path in root.glob("*/__init__.py") if path.parent.name not in TOP_MODULES)


def stray_imports(root: Path) -> list[str]:
    """What import-linter cannot say.

    gradio only in web/, in files called page.py and in folders called tab or dashboard; torch never in annotate/ or
    web/; nobody imports app, benchmarks or scripts; nobody but the command line imports a tab.
    """
    found = []
    tabs = set(packages_in(root)) - BELOW_TABS - ABOVE_TABS
    for package in packages_in(root):
        for path in sorted((root / package).rglob("*.py")):
            libraries = imported_libraries(path)
            forbidden = TOP_MODULES & libraries
            if package not in ABOVE_TABS:
                forbidden |= (tabs - {package}) & libraries
            if package != "web" and path.name != "page.py" and path.parent.name not in PAGE_FOLDERS:
                forbidden |= {"gradio"} & libraries
            if package in TORCHLESS_PACKAGES:
                forbidden |= {"torch"} & libraries
            found += [f"{path.relative_to(root)} imports {library}" for library in sorted(forbidden)]
    return found


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    """The contracts of a tree's pyproject.toml, checked against that tree and not the installed one."""
    command = "import importlinter.cli as linter; raise SystemExit(linter.lint_imports(no_cache=True, no_logo=True))"
    return subprocess.run(
        [sys.executable, "-c", command],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def contract_settings(root: Path) -> dict[str, object]:
    return tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]


def module_exists(core: Path, name: str) -> bool:
    return (core / f"{name}.py").exists() or (core / name).is_dir()


@pytest.fixture
def copied_tree(repository: Path, tmp_path: Path) -> Path:
    """All packages and contracts, to plant violations in."""
    shutil.copy(repository / "pyproject.toml", tmp_path)
    for package in packages_in(repository):
        shutil.copytree(repository / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_contracts_hold(repository: Path) -> None:
    result = lint_imports(repository)
    assert result.returncode == 0, result.stdout + result.stderr


def test_no_stray_imports(repository: Path) -> None:
    assert stray_imports(repository) == []


def test_contracts_cover_every_package_that_they_are_about(repository: Path) -> None:
    listed = contract_settings(repository)["root_packages"]
    wanted = BELOW_TABS | ABOVE_TABS | set(TORCHLESS_PACKAGES)
    assert set(listed) == wanted, "pyproject.toml, [tool.importlinter] root_packages"
    assert wanted < set(packages_in(repository)), "and there are tabs besides"


def test_torch_contract_covers_every_quick_module(repository: Path) -> None:
    core = [f"gazevlm_core.{name}" for name in GROUND_MODULES if module_exists(repository / "gazevlm_core", name)]
    packages = [name for name in TORCHLESS_PACKAGES if name in packages_in(repository)]
    contract = next(entry for entry in contract_settings(repository)["contracts"] if entry["id"] == "no-torch")
    assert sorted(contract["source_modules"]) == sorted(core + packages), "pyproject.toml, contract no-torch"


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        ("gazevlm_core/scanpath.py", "import gazevlm_core.geometry", "layers below its own"),
        ("gazevlm_core/geometry.py", "from gazevlm_core.model import config", "layers below its own"),
        ("gazevlm_core/unplaced.py", "", "layers below its own"),
        ("gazevlm_core/metrics/__init__.py", "def late():\n    import torch", "free of torch"),
        ("gazevlm_core/options.py", "import gradio", "no page and no database"),
    ],
)
def test_planted_violation_breaks_the_contracts(copied_tree: Path, file: str, line: str, contract: str) -> None:
    with (copied_tree / file).open("a", encoding="utf-8") as stream:
        stream.write(f"\n{line}\n")
    result = lint_imports(copied_tree)
    broken = " ".join(result.stdout.split("Broken contracts")[-1].split())
    assert result.returncode == 1
    assert contract in broken


@pytest.mark.parametrize(
    ("file", "source", "complaint"),
    [
        ("evaluate/table.py", "def late():\n    import gradio as gr", "evaluate/table.py imports gradio"),
        ("annotate/store.py", "from torch import nn", "annotate/store.py imports torch"),
        ("web/canvas.py", "import gradio, torch", "web/canvas.py imports torch"),
        ("evaluate/score.py", "import app", "evaluate/score.py imports app"),
        ("evaluate/page.py", "import gradio", None),
        ("annotate/dashboard/review.py", "import gradio", None),
        ("annotate/dashboard/review.py", "import torch", "annotate/dashboard/review.py imports torch"),
        ("annotate/opening.py", "import gradio", "annotate/opening.py imports gradio"),
        ("finetune/tab/page.py", "import gradio", None),
        ("diagnose/service.py", "import gradio", "diagnose/service.py imports gradio"),
        ("finetune/planted.py", "def late():\n    from other import part", "finetune/planted.py imports other"),
        ("web/planted.py", "import other.part", "web/planted.py imports other"),
        ("gazevlm_core/planted.py", "import other", "gazevlm_core/planted.py imports other"),
        ("cli/planted.py", "import other", None),
    ],
)
def test_planted_stray_import_is_found(tmp_path: Path, file: str, source: str, complaint: str | None) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    (tmp_path / path.relative_to(tmp_path).parts[0] / "__init__.py").touch()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "__init__.py").touch()  # a tab, as any package that nobody has named
    path.write_text(source)
    assert stray_imports(tmp_path) == ([complaint] if complaint else [])


def test_quick_modules_load_no_heavy_library(repository: Path) -> None:
    core = repository / "gazevlm_core"
    modules = [f"gazevlm_core.{name}" for name in GROUND_MODULES if module_exists(core, name)]
    metrics = [path.stem for path in (core / "metrics").glob("*.py")]
    modules += [f"gazevlm_core.metrics.{name}" for name in metrics if name != "__init__"]
    code = (
        "import importlib, sys\n"
        f"for module in {['gazevlm_core', *modules]!r}:\n"
        "    importlib.import_module(module)\n"
        f"    heavy = {HEAVY_LIBRARIES!r} & set(sys.modules)\n"
        "    if heavy: sys.exit(f'{module} loads {sorted(heavy)}')\n"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
