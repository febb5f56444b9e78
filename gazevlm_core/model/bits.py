"""Import bitsandbytes in a twentieth of its time.

It compiles some functions for 8 bits and for optimisers while it is imported, which loads torch's compiler: a tenth of
the time until a page has its first answer, which calls none of them. Here each is compiled when it is first called.
"""

import functools
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch

COMPILE = torch.compile


def import_bitsandbytes() -> None:
    """Import it where it is installed; what imports it later (transformers, PEFT) finds it there."""
    if find_spec("bitsandbytes") is None:
        return
    torch.compile = compiled_later  # type: ignore[assignment]
    try:
        import bitsandbytes  # noqa: F401
    finally:
        torch.compile = COMPILE


def compiled_later(function: Callable[..., Any] | None = None, **options: Any) -> Callable[..., Any]:
    """Return a function that `torch.compile` compiles at its first call; the arguments are torch's."""
    if function is None:
        return functools.partial(compiled_later, **options)
    compiled = functools.cache(lambda: COMPILE(function, **options))

    @functools.wraps(function)
    def run(*values: Any, **named: Any) -> Any:  # noqa: ANN401 (of any function)
        return compiled()(*values, **named)

    return run
