"""Make a phantom: trace the patient's attenuation, expose the detector, write down the truth.

Run `gazevlm phantom --n 20 --seed 0 --out phantoms` for images and ground truth in a folder.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from phantoms.anatomy import build_body, landmarks
from phantoms.case import RANDOMISED, Case, FindingSpec
from phantoms.clutter import clutter, side_marker, surroundings
from phantoms.detector import display, display_window, expose, process, sample_detector
from phantoms.film import archived, random_tone
from phantoms.findings import DRAWN_FINDINGS
from phantoms.projection import Beam, Field, Raster
from phantoms.randomised import sample_tissues
from phantoms.sampling import FindingRequest, sample_case
from phantoms.scene import Scene, Shadow, noise_field
from phantoms.shape import Body
from phantoms.skeleton import ribs, shoulder_girdle, spine
from phantoms.thorax import DENSER_THAN_LUNG, MU_SOFT, build_thorax, gas
from phantoms.truth import Phantom, PlacedFinding
from phantoms.vessels import vessels

__all__ = ["FindingRequest", "make_phantom", "render_case", "render_twins", "sample_case"]
SMALLEST_SIZE_PX = 64
MASK_SHARE = 0.22  # of the strongest change, above which a pixel belongs to the finding
STRAY_PX = 3  # of a drawn line's ends, which may be several times as strong as all else: they set no mask
SAME_GREY = 2  # levels; quantum noise is as strong
Tone = tuple[tuple[float, float], Field | None]  # display window, and the film's grey level of each of the 256 in it
NARROWEST, WIDEST = 0.75, 1.35  # width over height of a field with margins of its own
CHEST_DEPTH_MM = 130.0  # from the middle of the chest to the detector


def make_phantom(
    seed: int,
    domain: str = "A",
    *,
    size_px: int = 512,
    findings: Sequence[FindingRequest] | None = None,
    include_held_out: bool = False,
) -> Phantom:
    """Draw a frontal chest radiograph with its ground truth.

    Args:
        seed: >= 0; the same seed gives the same bytes on every run, and the same patient at every size.
        domain: "A", "B" (other scanner, habitus and prevalence), or "R" (randomised as widely as films are, for
            training).
        size_px: longer side of the image.
        findings: exactly these findings (an empty sequence for none); None samples them by prevalence.
        include_held_out: let the held-out findings be sampled, too.

    Raises:
        ValueError: a negative seed, an unknown domain or finding, or a size below 64.
    """
    case = sample_case(seed, domain, findings=findings, include_held_out=include_held_out)
    return render_case(case, size_px=size_px)


def render_case(case: Case, *, size_px: int = 512) -> Phantom:
    """Draw a sampled case; see `make_phantom`."""
    return _render(case, size_px)[0]


def render_twins(
    case: Case, *, size_px: int = 512, names: Collection[str] | None = None
) -> tuple[Phantom, dict[str, np.ndarray]]:
    """Draw a case, and for each of its findings, or those that are named, the same patient without it.

    A twin is exposed alike, down to the quantum noise, and shown with the display window of the original. What is left
    of the finding far from it, in scatter and wide-area processing, is at most SAME_GREY grey levels there; such
    pixels are those of the original, so that a twin differs from it where the finding shows, and nowhere else.

    Returns:
        The phantom, and finding name -> uint8 [H, W].
    """
    phantom, tone = _render(case, size_px)
    twins = {}
    for spec in case.findings:
        if names is not None and spec.name not in names:
            continue
        image = _render(case.without(spec.name), size_px, tone)[0].image
        changed = np.abs(image.astype(np.int16) - phantom.image) > SAME_GREY
        twins[spec.name] = np.where(changed, image, phantom.image)
    return phantom, twins


def _render(case: Case, size_px: int, tone: Tone | None = None) -> tuple[Phantom, Tone]:
    """Draw a case, and return how its grey levels came about; it is shown with another tone where that is given."""
    if size_px < SMALLEST_SIZE_PX:
        raise ValueError(f"a phantom's longer side must be at least {SMALLEST_SIZE_PX} px, got {size_px}")
    body, beam = build_body(case), _beam(case)
    raster = _raster(case, body, size_px) if case.technique.margins is None else _raster_by_margins(case, size_px)
    thorax = build_thorax(case, body, beam, raster)
    scene = Scene(case, body, beam, raster, thorax, lambda name: build_body(case.without(name)))
    shadows = [
        DRAWN_FINDINGS[spec.name].draw(scene, spec, case.stream(f"finding {spec.name}")) for spec in case.findings
    ]
    attenuation = _attenuation(scene, shadows)
    inside = (scene.thorax.soft > 25.0) & _uncovered(case, raster)
    side_marker(attenuation, case, raster)
    detector = sample_detector(case)
    shown = process(expose(attenuation, raster, detector, case.stream(f"quanta {size_px}")), raster, detector)
    window, levels = tone or (display_window(shown, detector, inside), None)
    image = (display(shown, window, detector) * _uncovered(case, raster)).astype(np.uint8)
    shape = (size_px, size_px) if case.technique.square else (raster.height_px, raster.width_px)
    if case.domain == RANDOMISED:
        levels = random_tone(image, case.stream("tone")) if levels is None else levels
        image = archived(levels[image], shape, case.stream("film"))
    placed = tuple(_place(spec, shadow, raster, shape) for spec, shadow in zip(case.findings, shadows, strict=True))
    places = {name: raster.fraction(at) for name, at in landmarks(body, beam).items()}
    return Phantom(case.seed, case.domain, image, placed, places), (window, levels)


def _place(spec: FindingSpec, shadow: Shadow, raster: Raster, shape: tuple[int, int]) -> PlacedFinding:
    """Ground truth of a drawn finding: mask and box from where it changed the image, which is shown as `shape` px.

    Raises:
        ValueError: the finding changed nothing inside the image.
    """
    change = np.abs(shadow.attenuation)
    strongest = float(np.partition(change, -STRAY_PX - 1, axis=None)[-STRAY_PX - 1]) or float(change.max())
    if strongest <= 0.0:
        raise ValueError(f"{spec.name} on the {spec.side} side changed nothing inside the image")
    mask = _stretched(change, shape) > MASK_SHARE * strongest
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = (
        float(cols[0]) / shape[1],
        float(rows[0]) / shape[0],
        float(cols[-1] + 1) / shape[1],
        float(rows[-1] + 1) / shape[0],
    )
    foci = tuple(raster.fraction(focus) for focus in shadow.foci)
    return PlacedFinding(spec.name, spec.side, spec.zone, spec.severity, box, foci, mask, spec.detail)


def _stretched(field: Field, shape: tuple[int, int]) -> Field:
    """Return the nearest pixels of a field [H, W] at another height and width."""
    if field.shape == shape:
        return field
    rows, cols = (((np.arange(new) + 0.5) * old / new).astype(int) for new, old in zip(shape, field.shape, strict=True))
    return field[rows[:, None], cols]


def _attenuation(scene: Scene, shadows: list[Shadow]) -> Field:
    """Return the complete line integral [H, W]: soft tissue, lungs, vessels, bones, gas, findings and clutter."""
    case, body, beam, raster, thorax = scene.case, scene.body, scene.beam, scene.raster, scene.thorax
    tissues = sample_tissues(case)
    gate = np.clip((thorax.lung - 24.0) / 60.0, 0.0, 1.0)
    for shadow in shadows:
        if shadow.gate is not None:
            gate = gate * shadow.gate
    texture = case.stream("texture")
    grain = 0.05 * noise_field(raster, texture, 5.0) + 0.035 * noise_field(raster, texture, 12.0)
    grain += 0.05 * noise_field(raster, texture, 45.0)
    share = 1.0 - 0.12 * tissues.grain * grain * gate
    total = np.float32(MU_SOFT * tissues.soft) * thorax.soft
    total -= np.float32(DENSER_THAN_LUNG * tissues.lung) * thorax.lung * share
    total += np.float32(tissues.vessels) * vessels(case, body, beam, raster, np.asarray(gate, dtype=np.float32))
    bones = ribs(case, body, beam, raster) + shoulder_girdle(case, body, beam, raster)
    total += np.float32(tissues.bones) * bones + np.float32(tissues.spine) * spine(case, body, beam, raster)
    total += gas(case, body, beam, raster, tissues.airway) + clutter(case, body, beam, raster)
    if case.domain == RANDOMISED:
        total += surroundings(case, body, beam, raster, tissues.unevenness)
    for shadow in shadows:
        if not shadow.embedded:
            total += np.float32(tissues.lung) * shadow.attenuation
    return np.maximum(total, 0.0)


def _beam(case: Case) -> Beam:
    """Return the cone beam of the case's technique."""
    technique = case.technique
    rotation_rad = float(np.deg2rad(technique.rotation_deg))
    return Beam(technique.focus_mm, CHEST_DEPTH_MM, technique.anteroposterior, rotation_rad)


def _raster(case: Case, body: Body, size_px: int) -> Raster:
    """Return a field around the chest that always holds apices and costophrenic angles."""
    technique, s = case.technique, body.scale
    top = body.apex_mm - 34.0 * s
    bottom = max(body.angle_of(-1.0)[1], body.angle_of(1.0)[1]) + 22.0 * s
    half_width = float(np.max(body.half_width.values)) + 20.0 + 0.3 * case.habitus.fat_mm
    height_mm = (bottom - top) * (1.0 + 0.4 * (technique.zoom - 1.0))
    width_mm = 2 * half_width * technique.zoom
    if width_mm / height_mm < technique.aspect:
        width_mm = height_mm * technique.aspect
    else:
        height_mm = width_mm / technique.aspect
    pitch = max(width_mm, height_mm) / size_px
    centre_x = technique.shift[0] * width_mm
    spare_mm = height_mm - (bottom - top)
    centre_y = 0.5 * (top + bottom) + 0.32 * spare_mm + technique.shift[1] * height_mm
    return Raster(
        height_px=max(round(height_mm / pitch), 1),
        width_px=max(round(width_mm / pitch), 1),
        left_mm=centre_x - width_mm / 2,
        top_mm=centre_y - height_mm / 2,
        pitch_mm=pitch,
        tilt_rad=float(np.deg2rad(technique.tilt_deg)),
    )


def _raster_by_margins(case: Case, size_px: int) -> Raster:
    """Return the field around the lungs, as they are without findings, with the margins of the technique."""
    body = build_body(replace(case, findings=()))
    half_width = float(np.max(body.half_width.values)) + 20.0 + 0.3 * case.habitus.fat_mm
    lungs = (-half_width, body.apex_mm, half_width, max(body.angle_of(-1.0)[1], body.angle_of(1.0)[1]))
    left, top, right, bottom = (
        edge + outwards * margin * case.habitus.scale
        for edge, outwards, margin in zip(lungs, (-1, -1, 1, 1), case.technique.margins or (0.0,) * 4, strict=True)
    )
    bottom = max(bottom, top + (right - left) / WIDEST)
    spare = max(NARROWEST * (bottom - top) - (right - left), 0.0) / 2
    left, right = left - spare, right + spare
    pitch = max(right - left, bottom - top) / size_px
    width_px, height_px = round((right - left) / pitch), round((bottom - top) / pitch)
    return Raster(height_px, width_px, left, top, pitch, float(np.deg2rad(case.technique.tilt_deg)))


def _uncovered(case: Case, raster: Raster) -> np.ndarray:
    """Bool [H, W]: False under the collimator's blades."""
    left, top, right, bottom = case.technique.shutter
    open_field = np.zeros((raster.height_px, raster.width_px), dtype=bool)
    rows = slice(round(top * raster.height_px), raster.height_px - round(bottom * raster.height_px))
    cols = slice(round(left * raster.width_px), raster.width_px - round(right * raster.width_px))
    open_field[rows, cols] = True
    return open_field
