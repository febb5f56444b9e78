"""All drawn findings. A module of this package holds the findings of one organ: each object beside its drawing code."""

import importlib
import pkgutil

from gazevlm_core.findings import VOCABULARY
from phantoms.finding import DrawnFinding


def _drawn_findings() -> dict[str, DrawnFinding]:
    """Collect the findings of every module of this package, in the order of the vocabulary.

    Raises:
        ValueError: a name drawn twice, or drawn and not in the vocabulary, or the other way round.
    """
    modules = [importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    found = [value for module in modules for value in vars(module).values() if isinstance(value, DrawnFinding)]
    names = [term.name for term in VOCABULARY if term.drawn]
    if sorted(finding.name for finding in found) != sorted(names):
        drawn = ", ".join(finding.name for finding in found)
        raise ValueError(f"drawn are {drawn}; those of the vocabulary are {', '.join(names)}")
    return {finding.name: finding for finding in sorted(found, key=lambda finding: names.index(finding.name))}


DRAWN_FINDINGS = _drawn_findings()  # name -> finding, in the order of FINDING_NAMES, then HELD_OUT_FINDING_NAMES
