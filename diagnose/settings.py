"""What the page is started with: environment variables, checked before anything is loaded."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

MODEL_VARIABLE, ADAPTER_VARIABLE = "GAZEVLM_MODEL", "GAZEVLM_ADAPTER"
ADAPTERS_VARIABLE, MCP_VARIABLE = "GAZEVLM_ADAPTERS", "GAZEVLM_MCP"
SWITCH = {"": False, "0": False, "1": True}


class SettingsError(ValueError):
    """A setting of the environment that cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class Settings:
    """What the page is started with.

    Args:
        models: names of shipped checkpoints, folders, or Hub ids, the first one chosen at the start; empty for the
            embedded checkpoint and its twins.
        adapter: folder of an adapter of the first model, chosen at the start, or None.
        adapters: folder whose subfolders are adapters to choose from, or None.
        mcp: whether the endpoints are offered as MCP tools too.
    """

    models: tuple[str, ...] = ()
    adapter: Path | None = None
    adapters: Path | None = None
    mcp: bool = False

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Read GAZEVLM_MODEL (several are separated by commas), GAZEVLM_ADAPTER, GAZEVLM_ADAPTERS and GAZEVLM_MCP.

        Empty ones count as not set.

        Raises:
            SettingsError: a path that leads nowhere, a model named twice, or a switch that is neither 0 nor 1.
        """
        models = tuple(filter(None, (name.strip() for name in environment.get(MODEL_VARIABLE, "").split(","))))
        for model in models:
            if model.startswith((".", "/", "~")) and not Path(model).is_dir():
                raise SettingsError(f"{MODEL_VARIABLE} is {model!r}, which is no folder; give a folder or a Hub id")
        if len({Path(model).name for model in models}) < len(models):
            raise SettingsError(f"{MODEL_VARIABLE} names two models alike; their last parts must differ")
        switch = environment.get(MCP_VARIABLE, "").strip()
        if switch not in SWITCH:
            raise SettingsError(f"{MCP_VARIABLE} is {switch!r}; give 1 to offer MCP tools, or 0")
        adapter = _folder(environment, ADAPTER_VARIABLE, "give an adapter's folder")
        adapters = _folder(environment, ADAPTERS_VARIABLE, "give the folder that holds the adapters' folders")
        return cls(models, adapter, adapters, SWITCH[switch])


def _folder(environment: Mapping[str, str], variable: str, advice: str) -> Path | None:
    value = environment.get(variable, "").strip()
    if value and not Path(value).is_dir():
        raise SettingsError(f"{variable} is {value!r}, which is no folder; {advice}")
    return Path(value) if value else None
