"""What hostile image files cost: each is loaded in a process of its own, beside an honest image of the same size.

    python -m benchmarks.hostile            # all; a few minutes
    python -m benchmarks.hostile --only PNG

Prints files, refused, shown, crashes, the largest memory above the honest twin and the longest time, by kind of file.
A crash is any end but a picture or an `ImageError`, and any load that takes longer than MOST_SECONDS. Linux only: the
peak of the resident memory is read from /proc. The corpus is made by `tests.hostile_corpus` and its neighbours.
"""

import multiprocessing
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated

import typer

from gazevlm_core.images import ImageError, load_image

MOST_MB = 64  # of 2**20 bytes
MOST_SECONDS = 20
SHOWN, REFUSED = 0, 3


@dataclass(frozen=True)
class Load:
    """How one load ended: "shown", "refused" or "crashed", its peak of memory, and its time."""

    end: str
    peak_mb: float
    seconds: float


@dataclass
class Tally:
    """The figures of one group of files."""

    files: int = 0
    refused: int = 0
    shown: int = 0
    crashes: int = 0
    above_mb: float = 0.0
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)

    def add(self, name: str, load: Load, twin: Load) -> None:
        """Count a load, and name it where it crashed or took too much."""
        above_mb = load.peak_mb - twin.peak_mb
        self.files += 1
        self.refused += load.end == "refused"
        self.shown += load.end == "shown"
        self.crashes += load.end == "crashed"
        self.above_mb, self.seconds = max(self.above_mb, above_mb), max(self.seconds, load.seconds)
        if load.end == "crashed" or above_mb > MOST_MB or twin.end != "shown":
            self.faults.append(f"{name}: {load.end}, {above_mb:.0f} MB above its twin, {load.seconds:.1f} s")


def serve(calls: Connection) -> None:
    """Measure one path after another, in a process that holds nothing of the corpus."""
    from gazevlm_core.images import dicom  # noqa: F401 - loaded before the processes are forked, as in a running server

    while (path := calls.recv()) is not None:
        calls.send(measure(path))


def measure(path: Path) -> Load:
    """Load a file in a forked process, whose peak of memory begins at what this process holds."""
    start = time.monotonic()
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        _load(path, writer)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        peak = pipe.read()
    _, status = os.waitpid(child, 0)
    ends = {SHOWN: "shown", REFUSED: "refused"}
    end = ends.get(os.WEXITSTATUS(status), "crashed") if os.WIFEXITED(status) else "crashed"
    return Load(end, float(peak or 0) / 1024, time.monotonic() - start)


def _load(path: Path, writer: int) -> None:
    """Never returns."""
    signal.alarm(MOST_SECONDS)  # ends the process
    code = 1
    try:
        load_image(path)
        code = SHOWN
    except ImageError:
        code = REFUSED
    except BaseException as error:
        print(f"{path.name}: {type(error).__name__}", file=sys.stderr)  # noqa: T201
    peak = re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())
    os.write(writer, peak.group(1).encode() if peak else b"")
    os._exit(code)


def corpus(folder: Path, only: str) -> Iterator[tuple[str, str, Path, Path]]:
    """(group, name, hostile file, honest twin), one after another; the files are gone once the next is asked for."""
    from tests.hostile_bombs import raster_bombs
    from tests.hostile_corpus import build_corpus, picture, saved
    from tests.hostile_dicom_bombs import dicom_bombs

    plain, twin, bomb = folder / "honest.png", folder / "twin", folder / "bomb"
    plain.write_bytes(saved(picture(), "PNG"))
    if only.casefold() in "damaged and mistaken":
        (folder / "corpus").mkdir()
        for hostile in build_corpus(folder / "corpus"):
            yield "damaged and mistaken", hostile.path.name, hostile.path, plain
    for made in (*raster_bombs(), *dicom_bombs()):
        if only.casefold() in f"{made.group}: {made.name}".casefold():
            twin.write_bytes(made.twin)
            bomb.write_bytes(made.make())
            yield made.group, made.name, bomb, twin


def main(only: Annotated[str, typer.Option(help="Only files whose kind or name holds this text.")] = "") -> None:
    """Measure, print the table, and end with 1 where a file crashed or took more than it may."""
    tallies: dict[str, Tally] = {}
    total = Tally()
    twins: dict[bytes, Load] = {}
    context = multiprocessing.get_context("fork")
    calls, far_end = context.Pipe()
    server = context.Process(target=serve, args=(far_end,))
    server.start()

    def measured(path: Path) -> Load:
        calls.send(path)
        return calls.recv()

    with tempfile.TemporaryDirectory() as folder:
        for group, name, path, twin in corpus(Path(folder), only):
            content = twin.read_bytes()
            if content not in twins:
                twins[content] = measured(twin)
            load = measured(path)
            for tally in (tallies.setdefault(group, Tally()), total):
                tally.add(f"{group}: {name}", load, twins[content])
    calls.send(None)
    server.join()
    row = "{:22} {:>6} {:>8} {:>6} {:>8} {:>16} {:>10}"
    print(row.format("kind", "files", "refused", "shown", "crashes", "MB above twin", "longest s"))  # noqa: T201
    for group, tally in [*tallies.items(), ("all", total)]:
        counts = tally.files, tally.refused, tally.shown, tally.crashes
        print(row.format(group, *counts, f"{tally.above_mb:.0f}", f"{tally.seconds:.1f}"))  # noqa: T201
    print(*total.faults, sep="\n", end="\n" * bool(total.faults))  # noqa: T201
    raise typer.Exit(bool(total.faults))


if __name__ == "__main__":
    typer.run(main)
