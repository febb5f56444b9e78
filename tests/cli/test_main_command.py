"""`gazevlm` itself: its version, its help, and what that help does not import."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gazevlm_core import __version__
from gazevlm_core.terminal import one_line

HEAVY = ("torch", "transformers", "gradio", "datasets", "sklearn", "scipy", "plotly", "pydicom")


def gazevlm(repository: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cli", *arguments]
    environment = {**os.environ, "TERM": "dumb", "COLUMNS": "120"}
    return subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True, check=False)


def test_version(repository: Path) -> None:
    result = gazevlm(repository, "--version")
    assert (result.returncode, result.stdout) == (0, f"gazevlm {__version__}\n")


@pytest.mark.parametrize("command", ["diagnose", "phantom", "evaluate"])
def test_commands_are_listed_and_explain_themselves(repository: Path, command: str) -> None:
    assert command in gazevlm(repository, "--help").stdout
    result = gazevlm(repository, command, "--help")
    assert result.returncode == 0
    assert "--" in result.stdout


def test_help_imports_nothing_heavy(repository: Path) -> None:
    code = f"import sys, cli.main; sys.exit(' '.join(name for name in {HEAVY!r} if name in sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=False)
    assert result.stderr.strip() == ""


def test_unknown_command_is_wrong_use(repository: Path) -> None:
    result = gazevlm(repository, "prognose")
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


def test_names_cannot_forge_lines() -> None:
    assert one_line("a\nb\x1b[31m.png") == "a b [31m.png"


@pytest.mark.parametrize("module", ["cli", "finetune"])
def test_ctrl_c_while_modules_are_imported_ends_in_one_line(repository: Path, module: str, tmp_path: Path) -> None:
    """`typer`, which every command imports first, is held up for as long as it takes to be interrupted."""
    (tmp_path / "typer.py").write_text("import time\nprint('here', flush=True)\ntime.sleep(60)")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(repository)])}
    process = subprocess.Popen(
        [sys.executable, "-m", module, "--help"], cwd=tmp_path, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said.strip()) == (130, "gazevlm: interrupted")
