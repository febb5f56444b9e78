"""`python -m finetune`, which `accelerate launch -m finetune` runs too."""

from gazevlm_core.quiet import quick_to_interrupt

if __name__ == "__main__":
    with quick_to_interrupt():
        import typer

        from finetune.command import GroupedCommand, finetune
    app = typer.Typer(rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False)
    app.command(cls=GroupedCommand)(finetune)
    app()
