"""requirements.txt is what a Space installs: bounded, complete, and free of what the CPU environment cannot carry.

requirements.lock holds a version of everything that these need, for continuous integration and `make`.
"""

import importlib.metadata
import re
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.imported_libraries import imported_libraries

# What a GPU Space needs whatever else is added: the interface, the model, 4 bits, adapters, data, ZeroGPU.
SPACE_LIBRARIES = {
    "gradio", "torch", "transformers", "peft", "bitsandbytes", "pillow", "numpy", "plotly", "datasets", "spaces",
    "pydicom", "scikit-learn", "accelerate", "huggingface-hub", "safetensors", "typer",
}  # fmt: skip
FILES = ("requirements.txt", "requirements-test.txt")
LOCK = "requirements.lock"
OF_CUDA = ("cuda", "nvidia", "triton")  # torch's builds pin these themselves
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


def test_the_lock_has_one_plain_version_of_each_library(repository: Path) -> None:
    """Versions that any index and platform has: no local builds, no addresses, no hashes."""
    lines = [line for line in (repository / LOCK).read_text("utf-8").splitlines() if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==\d[\w.]*", line)] == []
    assert len(read_requirements(repository / LOCK)) == len(lines)


@pytest.mark.parametrize("file", FILES)
def test_the_lock_is_within_the_bounds(repository: Path, file: str) -> None:
    locked = read_requirements(repository / LOCK)
    for name, requirement in read_requirements(repository / file).items():
        (pin,) = locked[name].specifier
        assert requirement.specifier.contains(pin.version), f"{requirement}: {LOCK} has {pin}; run `make update`"


def test_the_lock_holds_what_the_requirements_need(repository: Path) -> None:
    """All that is installed because of them, so that nothing comes in at whatever version is newest."""
    locked = read_requirements(repository / LOCK)
    if not all(pin.specifier.contains(importlib.metadata.version(name)) for name, pin in locked.items()):
        pytest.skip("other versions are installed than the locked ones, which need other libraries")
    wanted = [requirement for file in FILES for requirement in read_requirements(repository / file).values()]
    reached: set[tuple[str, frozenset[str]]] = set()
    while wanted:
        requirement = wanted.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if (name, extras) in reached or name.startswith(OF_CUDA):
            continue
        reached.add((name, extras))
        assert name in locked, f"{name} is not in {LOCK}; run `make update`"
        for needed in map(Requirement, importlib.metadata.requires(name) or ()):
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                wanted.append(needed)


def test_make_installs_what_is_locked(repository: Path) -> None:
    makefile = (repository / "Makefile").read_text("utf-8")
    assert makefile.count("$(PIP) $(RUNTIME) $(LOCKED)") == makefile.count("$(PIP) $(TESTS) $(LOCKED)") == 1
    stamps = re.findall(r"^\w+_STAMP := .*checksum,(.*?)\)", makefile, re.MULTILINE)
    assert stamps
    assert all(LOCK in stamp for stamp in stamps)


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
