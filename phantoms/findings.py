"""All findings by name, and how a drawn finding becomes ground truth."""

from collections.abc import Callable

import numpy as np

from phantoms import findings_chest, findings_lung, findings_pleura
from phantoms.devices import support_device
from phantoms.prevalence import FindingSpec
from phantoms.projection import Raster
from phantoms.scene import Scene, Shadow
from phantoms.truth import PlacedFinding

MASK_SHARE = 0.22  # of the strongest change, above which a pixel belongs to the finding

DRAWERS: dict[str, Callable[[Scene, FindingSpec, np.random.Generator], Shadow]] = {
    "enlarged cardiomediastinum": findings_chest.enlarged_cardiomediastinum,
    "cardiomegaly": findings_chest.cardiomegaly,
    "lung opacity": findings_lung.lung_opacity,
    "lung lesion": findings_lung.lung_lesion,
    "edema": findings_lung.edema,
    "consolidation": findings_lung.consolidation,
    "atelectasis": findings_lung.atelectasis,
    "pneumothorax": findings_pleura.pneumothorax,
    "pleural effusion": findings_pleura.pleural_effusion,
    "fracture": findings_chest.fracture,
    "support devices": support_device,
    "hiatal hernia": findings_chest.hiatal_hernia,
}


def draw_finding(scene: Scene, spec: FindingSpec) -> Shadow:
    """The change of attenuation that a finding makes."""
    return DRAWERS[spec.name](scene, spec, scene.case.stream(f"finding {spec.name}"))


def place(spec: FindingSpec, shadow: Shadow, raster: Raster) -> PlacedFinding:
    """Ground truth of a drawn finding: mask and box from where it changed the image.

    Raises:
        ValueError: the finding changed nothing inside the image.
    """
    change = np.abs(shadow.attenuation)
    strongest = float(change.max())
    if strongest <= 0.0:
        raise ValueError(f"{spec.name} on the {spec.side} side changed nothing inside the image")
    mask = change > MASK_SHARE * strongest
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = (
        float(cols[0]) / raster.width_px,
        float(rows[0]) / raster.height_px,
        float(cols[-1] + 1) / raster.width_px,
        float(rows[-1] + 1) / raster.height_px,
    )
    foci = tuple(raster.fraction(focus) for focus in shadow.foci)
    return PlacedFinding(spec.name, spec.side, spec.zone, spec.severity, box, foci, mask, spec.detail)
