"""requirements.txt is what a Space installs: bounded, complete, and free of what the CPU environment cannot carry."""

import importlib.metadata
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts.imports import imported_libraries

# What a GPU Space needs whatever else is added: the interface, the model, 4 bits, adapters, data, ZeroGPU.
SPACE_LIBRARIES = {
    "gradio", "torch", "transformers", "peft", "bitsandbytes", "pillow", "numpy", "plotly", "datasets", "spaces",
    "pydicom", "scikit-learn", "accelerate", "huggingface-hub", "safetensors", "typer",
}  # fmt: skip
FILES = ("requirements.txt", "requirements-test.txt")
OUR_MODULES = {"app"}
DEVELOPERS = {"tests", "scripts", "benchmarks"}  # folders that run in the environment of the tests


def read_requirements(path: Path) -> dict[str, Requirement]:
    """Canonical name -> requirement, in the order of the file."""
    lines = [line.split("#")[0].strip() for line in path.read_text("utf-8").splitlines()]
    requirements = [Requirement(line) for line in lines if line]
    named = {canonicalize_name(requirement.name): requirement for requirement in requirements}
    assert len(named) == len(requirements), f"{path.name} names a library twice"
    return named


def third_party_imports(repository: Path, path: Path) -> set[str]:
    """Libraries that a file imports and that are neither ours nor Python's."""
    ours = OUR_MODULES | {folder.name for folder in repository.iterdir() if folder.is_dir()}
    return imported_libraries(path) - ours - sys.stdlib_module_names


@pytest.mark.parametrize("file", FILES)
def test_every_requirement_has_both_bounds(repository: Path, file: str) -> None:
    for name, requirement in read_requirements(repository / file).items():
        operators = sorted(specifier.operator for specifier in requirement.specifier)
        assert operators == ["<", ">="], f"{name}: give one lower and one upper bound, not {requirement.specifier}"


@pytest.mark.parametrize("file", FILES)
def test_installed_versions_satisfy_the_bounds(repository: Path, file: str) -> None:
    for name, requirement in read_requirements(repository / file).items():
        version = importlib.metadata.version(name)
        assert requirement.specifier.contains(version, prereleases=True), f"{name} {version}: {requirement}"


def test_a_space_gets_what_it_needs_and_no_torchvision(repository: Path) -> None:
    names = set(read_requirements(repository / "requirements.txt"))
    assert names >= SPACE_LIBRARIES
    assert not names & {"torchvision", "torchaudio"}


def test_test_extras_repeat_nothing(repository: Path) -> None:
    runtime, extras = (set(read_requirements(repository / file)) for file in FILES)
    assert runtime & extras == set()


def test_every_import_is_required(repository: Path) -> None:
    """Nothing works only because some other library happens to install it."""
    runtime, extras = (set(read_requirements(repository / file)) for file in FILES)
    distributions = importlib.metadata.packages_distributions()
    undeclared = set()
    for path in sorted(repository.rglob("*.py")):
        parts = path.relative_to(repository).parts
        if parts[0].startswith(".") or parts[0] == "build":
            continue
        allowed = runtime | extras if parts[0] in DEVELOPERS else runtime
        for module in third_party_imports(repository, path):
            names = {canonicalize_name(name) for name in distributions.get(module, [module])}
            if not names & allowed:
                undeclared.add(f"{'/'.join(parts)} imports {module}")
    assert sorted(undeclared) == []
