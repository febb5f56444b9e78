"""What every command does on a terminal: one line per error, and a progress bar. Imports nothing that takes time."""

from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from tqdm import tqdm

FAILED, WRONG_USE = 1, 2  # exit statuses


def one_line(text: object) -> str:
    """Return a text on one line, without control characters: file names may hold anything."""
    return "".join(character if character.isprintable() else " " for character in str(text)).strip()


def stop(message: object, code: int = FAILED, *, command: str = "") -> NoReturn:
    """End `gazevlm COMMAND` with one line on stderr."""
    import typer

    typer.echo(f"{f'gazevlm {command}'.strip()}: {one_line(message)}", err=True)
    raise typer.Exit(code) from None


def progress(total: int | None, phase: str = "", unit: str = "image") -> "tqdm":
    """Return a bar with the time that is left, on stderr and gone at its end; none where that is no terminal."""
    from tqdm import tqdm

    return tqdm(total=total, desc=phase, unit=unit, leave=False, disable=None, dynamic_ncols=True)


def say(text: str, *, err: bool = False) -> None:
    """Print a line above the bar."""
    import typer
    from tqdm import tqdm

    with tqdm.external_write_mode():
        typer.echo(text, err=err)
