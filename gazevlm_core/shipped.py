"""The checkpoints that ship with the project. Free of torch."""

from pathlib import Path

NANO = "gazevlm-nano"
MODELS_FOLDER = Path(__file__).resolve().parents[1] / "models"


def resolve_source(source: str) -> str:
    """Folder of a checkpoint that ships with the project (by its name), else the given folder or Hub id."""
    shipped = MODELS_FOLDER / source
    return str(shipped) if "/" not in source and shipped.is_dir() else source


def shipped_models() -> tuple[str, ...]:
    """Names of the checkpoints that ship with the project: the embedded one, then its twins."""
    others = sorted(path.parent.name for path in MODELS_FOLDER.glob("*/config.json") if path.parent.name != NANO)
    return (NANO, *others)
