"""`python -m finetune`, which `accelerate launch -m finetune` runs too."""

import typer

from finetune.command import finetune

if __name__ == "__main__":
    typer.run(finetune)
