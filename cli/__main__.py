"""`gazevlm` and `python -m cli`: the program, which ends in one line at Ctrl-C, from the first second."""

from gazevlm_core.quiet import quick_to_interrupt


def main() -> None:
    """Run the command that was typed."""
    with quick_to_interrupt():  # importing all commands takes a second
        from cli.main import app
    app()


if __name__ == "__main__":
    main()
