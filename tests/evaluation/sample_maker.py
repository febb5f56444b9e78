"""Made-up samples for the evaluation's tests."""

from gazevlm_core.evaluation.findings import GradedSample
from gazevlm_core.geometry import PatchGrid
from gazevlm_core.sample import Reading
from gazevlm_core.scanpath import Fixation, Scanpath

GRID = PatchGrid(4, 4)


def path_of(*patches: int, grid: PatchGrid = GRID) -> Scanpath:
    """A reading through the centres of patches."""
    return Scanpath(tuple(Fixation(*grid.center_of(patch), 200.0) for patch in patches), "simulated")


def sample_of(
    readings: tuple[tuple[tuple[int, ...], ...], ...] = (((0, 1), (0, 1)),), **findings: tuple[float, str]
) -> GradedSample:
    """A sample with readings as [reader][reading] patches, and findings as name=(severity, side)."""
    named = {name.replace("_", " "): value for name, value in findings.items()}
    return GradedSample(
        "0",
        readings=tuple(
            Reading(f"r{reader}", path_of(*path)) for reader, paths in enumerate(readings) for path in paths
        ),
        severities={name: severity for name, (severity, _) in named.items()},
        sides={name: side for name, (_, side) in named.items()},
    )
