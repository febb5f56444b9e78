"""The way from a finished adapter to the Diagnose tab: a link of the page that chooses it there."""

from collections.abc import Mapping
from html import escape
from pathlib import PurePath
from urllib.parse import urlencode

from finetune.tab.runs import Run
from web.models import PLUS

NOT_LOADED = (
    "Its base, {base}, is not among the models of this page now; start the page with it to use the adapter in Diagnose."
)


def model_of(run: Run, bases: Mapping[str, str]) -> str | None:
    """What Diagnose calls an adapter; None where its base is not loaded.

    Args:
        run: a finished one.
        bases: name of a loaded model -> where it was loaded from.
    """
    names = [name for name, source in bases.items() if source == run.job.config.base]
    return f"{names[0]}{PLUS}{run.job.adapter.name}" if names and run.job.adapter is not None else None


def base_name(source: str, bases: Mapping[str, str]) -> str:
    """What everybody may read of where a base came from: its name here, or the last part; never a path of the machine.

    Args:
        source: folder, shipped name or Hub id of a configuration.
        bases: as in `model_of`.
    """
    return next((name for name, known in bases.items() if known == source), PurePath(source).name)


def link_html(run: Run, bases: Mapping[str, str]) -> str:
    """The link, with a warning beside it where the adapter was not shown to be better; "" before there is one."""
    if run.job.state != "done" or run.job.adapter is None:
        return ""
    model = model_of(run, bases)
    if model is None:
        return f'<p class="adapt-link">{escape(NOT_LOADED.format(base=base_name(run.job.config.base, bases)))}</p>'
    doubt = f"Against its base: {run.doubt}." if run.doubt else ""
    beside = f' <span class="adapt-warning">{escape(doubt)}</span>' if doubt else ""
    address = escape("?" + urlencode({"model": model}))
    return f'<p class="adapt-link"><a href="{address}">Use {escape(model)} in Diagnose</a>{beside}</p>'
