"""What every command does on stderr: one line per error, and a progress bar where there is a terminal."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

FAILED, WRONG_USE = 1, 2
BAR_WIDTH = 24


def one_line(text: object) -> str:
    """The text on one line, without control characters: file names may hold anything."""
    return "".join(character if character.isprintable() else " " for character in str(text)).strip()


def stop(message: object, code: int = FAILED) -> NoReturn:
    """End the command with one line on stderr."""
    typer.echo(f"gazevlm: {one_line(message)}", err=True)
    raise typer.Exit(code)


class Progress:
    """A bar on the last line of stderr; other output goes through `line` and stands above it.

    Args:
        total: steps to come.
    """

    def __init__(self, total: int) -> None:
        self._total, self._done = total, 0
        self._shown = sys.stderr.isatty() and total > 1

    def line(self, text: str, *, err: bool = False) -> None:
        """Print a line above the bar."""
        self.clear()
        typer.echo(text, err=err)
        self._draw()

    def step(self) -> None:
        """One step is done."""
        self._done += 1
        self._draw()

    def clear(self) -> None:
        """Take the bar off the screen."""
        if self._shown:
            sys.stderr.write("\r\x1b[2K")
            sys.stderr.flush()

    def _draw(self) -> None:
        if self._shown:
            filled = BAR_WIDTH * self._done // self._total
            bar = "#" * filled + "-" * (BAR_WIDTH - filled)
            sys.stderr.write(f"\r\x1b[2K[{bar}] {self._done}/{self._total}")
            sys.stderr.flush()


@contextmanager
def progress(total: int) -> Iterator[Progress]:
    """A progress bar that is gone at the end, however the block ends."""
    bar = Progress(total)
    try:
        yield bar
    finally:
        bar.clear()
