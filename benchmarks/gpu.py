"""A GPU in ten minutes: everything that can only be known on CUDA, on a bare machine, within a budget.

    python -m benchmarks.gpu --wheels FOLDER [--seconds 480] [--out gpu.json] [--parts device,tests,...]

For a machine with Python 3.11 or 3.12, PyTorch with CUDA, no network, and a folder of wheels: what is missing is
installed from there, and torch is left as it is. Each part runs in a process of its own and is ended at its time, so
that neither a crash nor a slow part takes the others' figures along. After every part the whole JSON document so far is
printed on one line; a part that was not run, or failed, says why. `--small` takes tiny models, also on a CPU.

Imports nothing beyond Python's own library before the wheels are there; the parts are in `benchmarks/gpu_parts.py`.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LISTS = ("requirements.txt", "requirements-test.txt")
# Of the page, the store and the browser: no part needs them.
NOT_NEEDED = frozenset({
    "alembic", "gradio", "limits", "playwright", "plotly", "psycopg", "pytest-playwright", "ruff", "mypy", "spaces",
    "sqlalchemy", "tenacity", "import-linter",
})  # fmt: skip
LEAST_S = 10.0  # with less left, a part is not begun
ENDING_S = 5.0  # for the last of it, and for what it leaves behind
MOST_STDERR_CHARS = 1500  # characters of what a failed part wrote, from its end


BUDGET_S = 480.0
# How long each part may take of that; what others leave over does not count.
PARTS = {
    "device": 30.0, "qlora_3b": 110.0, "qlora_7b": 120.0, "tests": 130.0, "overhead_3b": 45.0, "overhead_nano": 45.0,
}  # fmt: skip
Run = Callable[[str, float], dict[str, Any]]


# ---- what is missing ------------------------------------------------------------------------------------------------
def missing(lists: Sequence[Path]) -> list[str]:
    """Requirements that are not there, as pip takes them; never torch."""
    wanted = []
    for path in lists:
        for line in path.read_text(encoding="utf-8").splitlines():
            line = line.partition("#")[0].strip()
            name = re.split(r"[\[<>=!~; ]", line, maxsplit=1)[0].lower().replace("_", "-")
            if not name or name.startswith("-") or name == "torch" or name in NOT_NEEDED:
                continue
            try:
                distribution(name)
            except PackageNotFoundError:
                wanted.append(line)
    return wanted


def install(wanted: Sequence[str], wheels: Path, seconds: float) -> dict[str, Any]:
    """Install requirements from a folder alone, with torch held at the version that is there."""
    there = version("torch")
    environment = {**os.environ, "PIP_BREAK_SYSTEM_PACKAGES": "1"}
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as held:
        held.write(f"torch=={there}\n")
        held.flush()
        command = [
            sys.executable, "-m", "pip", "install", "--no-index", "--find-links", str(wheels), "--constraint",
            held.name, "--disable-pip-version-check", "--quiet", *wanted,
        ]  # fmt: skip
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=seconds, check=False, env=environment
            )
        except subprocess.TimeoutExpired:
            return {"failed": f"pip took more than {seconds:.0f} s"}
    found: dict[str, Any] = {"installed": list(wanted), "torch": there}
    if done.returncode:
        found["failed"] = done.stderr[-MOST_STDERR_CHARS:]
    return found


# ---- parts within a budget ------------------------------------------------------------------------------------------
def run_parts(
    parts: Sequence[str], seconds: float, run: Run, tell: Callable[[dict[str, Any]], None], found: dict[str, Any],
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Any]:  # fmt: skip
    """Run parts one after the other.

    Args:
        parts: names, in order.
        seconds: for all of them.
        run: takes a part's name and its seconds; what it finds.
        tell: called with the whole document after every part.
        found: the document so far, which is added to.
        clock: monotonic seconds.
    """
    end = clock() + seconds
    for number, part in enumerate(parts):
        left = end - clock() - ENDING_S
        if left < LEAST_S:
            found[part] = {"not_run": "no time was left"}
        else:
            # what others have left over counts, as long as those to come keep their share
            to_come = sum(PARTS[other] for other in parts[number + 1 :]) * seconds / BUDGET_S
            own = min(left, max(PARTS[part] * seconds / BUDGET_S, left - to_come))
            begun = clock()
            found[part] = {**run(part, own), "seconds": round(clock() - begun, 1)}
        tell(found)
    return found


def run_part(name: str, seconds: float, *, small: bool, folder: Path) -> dict[str, Any]:
    """Run a part in a process of its own, which knows its end; it is killed a little later.

    Its figures are the last line of its output that is JSON, so that those of a part that was cut are there too.
    """
    command = [sys.executable, "-m", "benchmarks.gpu_parts", name, f"{max(1.0, seconds - ENDING_S):.1f}", str(folder)]
    if small:
        command.append("--small")
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        printed, complained = process.communicate(timeout=seconds)
        ended = "" if process.returncode == 0 else f"ended with status {process.returncode}"
    except subprocess.TimeoutExpired:
        process.kill()
        printed, complained = process.communicate()
        ended = f"cut after {seconds:.0f} s"
    figures = last_json(printed)
    if ended:
        figures["failed"] = f"{ended}: {complained[-MOST_STDERR_CHARS:]}" if complained else ended
    return figures


def last_json(text: str) -> dict[str, Any]:
    """The last line of a text that is a JSON object; empty where there is none."""
    for line in reversed(text.splitlines()):
        if line.startswith("{"):
            try:
                values = json.loads(line)
            except ValueError:
                continue
            if isinstance(values, dict):
                return values
    return {}


def main(arguments: Sequence[str] | None = None) -> int:
    """The program; 1 where a part failed or was not run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--wheels", type=Path, help="folder of wheels to install what is missing from")
    parser.add_argument("--seconds", type=float, default=BUDGET_S, help="for everything (usually %(default)s)")
    parser.add_argument("--out", type=Path, help="file that gets the document, too")
    parser.add_argument("--parts", default=",".join(PARTS), help="which, in order")
    parser.add_argument("--small", action="store_true", help="tiny models, on any device")
    given = parser.parse_args(arguments)
    names = [name for name in given.parts.split(",") if name]
    if unknown := [name for name in names if name not in PARTS]:
        parser.error(f"there is no part {unknown[0]}; there are {', '.join(PARTS)}")
    begun = time.monotonic()
    found: dict[str, Any] = {"seconds_allowed": given.seconds, "small": given.small}

    def tell(values: dict[str, Any]) -> None:
        line = json.dumps({**values, "seconds": round(time.monotonic() - begun, 1)})
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
        if given.out is not None:
            given.out.write_text(line + "\n", encoding="utf-8")

    lists = [ROOT / name for name in LISTS]
    if wanted := missing(lists):
        if given.wheels is None:
            found["install"] = {"failed": f"missing, and no --wheels: {', '.join(wanted)}"}
        else:
            found["install"] = install(wanted, given.wheels, given.seconds / 4)
        tell(found)
    with tempfile.TemporaryDirectory() as folder:
        left = given.seconds - (time.monotonic() - begun)

        def run(name: str, seconds: float) -> dict[str, Any]:
            return run_part(name, seconds, small=given.small, folder=Path(folder))

        run_parts(names, left, run, tell, found)
    return int(any("failed" in found[name] or "not_run" in found[name] for name in names))


if __name__ == "__main__":
    sys.exit(main())
