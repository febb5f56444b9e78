"""A GPU in ten minutes: everything that can only be known on CUDA, within a budget.

    python -m benchmarks.gpu [--seconds 480] [--out gpu.json] [--parts device,tests,...]

Each part runs in a process of its own and is ended at its time, so that neither a crash nor a slow part takes the
others' figures along. After every part the whole JSON document so far is printed on one line; a part that was not run,
or failed, says why. `--small` takes tiny models, also on a CPU. The parts are in `benchmarks/gpu_parts.py`.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

ROOT = Path(__file__).resolve().parents[1]
LEAST_S = 10.0  # with less left, a part is not begun
ENDING_S = 5.0  # for the last of it, and for what it leaves behind
MOST_STDERR_CHARS = 1500  # characters of what a failed part wrote, from its end
BUDGET_S = 480.0
# How long each part may take of that; what others leave over does not count.
PARTS = {
    "device": 30.0, "qlora_3b": 110.0, "qlora_7b": 120.0, "tests": 130.0, "overhead_3b": 45.0, "overhead_nano": 45.0,
}  # fmt: skip
Run = Callable[[str, float], dict[str, Any]]


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


def main(
    seconds: Annotated[float, typer.Option(help="For everything.")] = BUDGET_S,
    out: Annotated[Path | None, typer.Option(help="File that gets the document, too.")] = None,
    parts: Annotated[str, typer.Option(help="Which, in order.")] = ",".join(PARTS),
    small: Annotated[bool, typer.Option("--small", help="Tiny models, on any device.")] = False,
) -> None:
    """Measure and print; the exit status is 1 where a part failed or was not run."""
    names = [name for name in parts.split(",") if name]
    if unknown := [name for name in names if name not in PARTS]:
        raise typer.BadParameter(f"there is no part {unknown[0]}; there are {', '.join(PARTS)}")
    begun = time.monotonic()

    def tell(values: dict[str, Any]) -> None:
        line = json.dumps({**values, "seconds": round(time.monotonic() - begun, 1)})
        typer.echo(line)
        if out is not None:
            out.write_text(line + "\n", encoding="utf-8")

    with tempfile.TemporaryDirectory() as folder:

        def run(name: str, own_s: float) -> dict[str, Any]:
            return run_part(name, own_s, small=small, folder=Path(folder))

        found = run_parts(names, seconds, run, tell, {"seconds_allowed": seconds, "small": small})
    raise typer.Exit(any("failed" in found[name] or "not_run" in found[name] for name in names))


if __name__ == "__main__":
    typer.run(main)
