"""What every command does on stderr: one line per error, and a progress bar where there is a terminal."""

from typing import TYPE_CHECKING, NoReturn

import typer

if TYPE_CHECKING:
    from tqdm import tqdm

FAILED, WRONG_USE = 1, 2


def one_line(text: object) -> str:
    """The text on one line, without control characters: file names may hold anything."""
    return "".join(character if character.isprintable() else " " for character in str(text)).strip()


def stop(message: object, code: int = FAILED) -> NoReturn:
    """End the command with one line on stderr."""
    typer.echo(f"gazevlm: {one_line(message)}", err=True)
    raise typer.Exit(code)


def progress(total: int, phase: str = "") -> "tqdm":
    """A bar with the time that is left, on stderr and gone at its end; none where that is no terminal.

    Args:
        total: images to come.
        phase: what is being done.
    """
    from tqdm import tqdm  # takes a moment to import

    return tqdm(total=total, desc=phase, unit="image", leave=False, disable=None, dynamic_ncols=True)


def say(text: str, *, err: bool = False) -> None:
    """Print a line above the bar."""
    from tqdm import tqdm

    with tqdm.external_write_mode():
        typer.echo(text, err=err)
