"""`gazevlm diagnose IMAGE...`: the scanpath and the answer for each image, as text or as JSON."""

import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gazevlm_core.images import IMAGE_SUFFIXES, iter_image_files, load_image, load_radiograph
from gazevlm_core.options import DEFAULT_QUESTION, DiagnoseOptions, PathChoice, Precision
from gazevlm_core.quiet import quiet_libraries
from gazevlm_core.scanpath import Fixation, fixations_at
from gazevlm_core.terminal import FAILED, WRONG_USE, one_line, progress, say, stop
from gazevlm_core.words import check_question

if TYPE_CHECKING:
    from diagnose.record import DiagnosisRecord
    from gazevlm_core.inference import GazeEngine

DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")
STEM = "{stem}"
SUFFIX = ".png"
Job = tuple[Path, Path | None]  # an image, and where its overlay goes, if anywhere
PRESENT = 0.5  # probability from which on a finding is called there


def diagnose(
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGE", help="Image files and folders (PNG, JPEG, WebP, TIFF, DICOM).")
    ],
    model: Annotated[str, typer.Option(help="A shipped checkpoint, a folder, or a Hub id.")] = "gazevlm-nano",
    adapter: Annotated[Path | None, typer.Option(help="Folder of an adapter.")] = None,
    question: Annotated[str | None, typer.Option(help="What to ask; by default for the findings.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one list of records, at the end.")] = False,
    as_lines: Annotated[
        bool, typer.Option("--jsonl", help="Print each record as it comes, one JSON object per line.")
    ] = False,
    overlay: Annotated[
        str | None,
        typer.Option(help="Draw the scanpath over the image: OUT.png; for several images a folder, or a name with "
                     "{stem}. An older overlay is replaced."),
    ] = None,
    precision: Annotated[Precision, typer.Option(help="How weights are held.")] = Precision.AUTO,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    path: Annotated[PathChoice, typer.Option(help="Which path: what sampled paths agree on, the one of them nearest to "
                                            "the others, arg-max, or one of them.")] = PathChoice.CONSENSUS,
    look_at: Annotated[
        str | None,
        typer.Option(help="The path to take in the model's stead, e.g. \"0.31,0.42 0.70,0.66\": x,y of each place, as "
                     "fractions of the image, or x,y,ms with how long it is looked at."),
    ] = None,
    begin_at: Annotated[
        str | None, typer.Option(help="Where the path begins, in the same form; the model goes on from there.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Seed of the sampled paths.")] = 0,
    max_new_tokens: Annotated[int, typer.Option(min=1, max=2048, help="Longest answer.")] = 128,
) -> None:
    """Show where a model looks on images, in order, and what it says of them.

    An image that fails is named on stderr and the others go on; the exit status is then 1.
    """
    question = _checked_question(question, device, as_json and as_lines)
    jobs, empty = _plan(images, overlay)
    for folder in empty:
        typer.echo(f"{one_line(folder)}: This folder holds no image files; check its path.", err=True)
    try:
        options = DiagnoseOptions(
            path=path, path_seed=seed, max_new_tokens=max_new_tokens, look_at=_places("--look-at", look_at),
            begin_at=_places("--begin-at", begin_at),
        )  # fmt: skip
    except ValueError as error:
        stop(error, WRONG_USE)
    records: list[DiagnosisRecord] = []
    for (_, target), record in _diagnosed(jobs, lambda: _load(model, adapter, precision, device), question, options):
        records.append(record)
        if not as_json:
            say(json.dumps(record, ensure_ascii=False) if as_lines else _readable(record, target))
    if as_json:
        typer.echo(json.dumps(records, indent=2, ensure_ascii=False))
    if empty or len(records) < len(jobs):
        raise typer.Exit(FAILED)


def _checked_question(question: str | None, device: str, json_twice: bool) -> str:
    """Return the question; ends the command on options that cannot be used."""
    if not DEVICE.fullmatch(device):
        stop(f"--device must be auto, cpu, cuda or cuda:N, got {device}", WRONG_USE)
    try:
        question = DEFAULT_QUESTION if question is None else check_question(question)
    except ValueError as error:
        stop(f"--question: {error}", WRONG_USE)
    if json_twice:
        stop("--json and --jsonl print the same records; give one of them", WRONG_USE)
    return question


def _places(option: str, text: str | None) -> tuple[Fixation, ...]:
    """Return places written as "x,y x,y,ms".

    Raises:
        ValueError: they cannot be read, or there are none.
    """
    if text is None:
        return ()
    if not text.split():
        raise ValueError(f'{option} names no place; write x,y of each, as "0.31,0.42 0.70,0.66"')
    pairs: list[Any] = [place.split(",") for place in text.split()]  # of texts, which are read as numbers
    try:
        return fixations_at(pairs)
    except ValueError as error:
        raise ValueError(f"{option}: {error}") from None


def _diagnosed(
    jobs: Sequence[Job], load: Callable[[], "GazeEngine"], question: str, options: DiagnoseOptions
) -> "Iterator[tuple[Job, DiagnosisRecord]]":
    """Yield each job with its record, under a progress bar; those that failed are left out. Loads no model for no
    job."""
    if not jobs:
        return
    with progress(len(jobs), "loading the model") as bar:
        engine = load()
        try:
            question = engine.recognise(question)
        except ValueError as error:
            bar.close()
            stop(error, WRONG_USE)
        bar.set_description("predicting")
        bar.reset()  # of the time: the images' own is what is left
        for job in jobs:
            record = _run(engine, *job, question, options)
            if record is not None:
                yield job, record
            bar.update()


def _plan(paths: Sequence[Path], overlay: str | None) -> tuple[list[Job], list[Path]]:
    """Return the images to diagnose, and the folders without any."""
    found = {path: list(iter_image_files([path])) for path in paths}
    images = [image for files in found.values() for image in files]
    try:
        targets: Sequence[Path | None] = [None] * len(images) if overlay is None else plan_overlays(overlay, images)
    except OverlayTargetError as error:
        stop(error, WRONG_USE)
    return list(zip(images, targets, strict=True)), [path for path, files in found.items() if not files]


def _load(model: str, adapter: Path | None, precision: Precision, device: str) -> "GazeEngine":
    quiet_libraries()
    from gazevlm_core.inference import GazeEngine
    from gazevlm_core.model.adapters import AdapterError
    from gazevlm_core.model.checkpoint import CheckpointError

    try:
        return GazeEngine.load(model, adapter=adapter, precision=precision, device=device)
    except (CheckpointError, AdapterError) as error:
        stop(error)


def _run(
    engine: "GazeEngine", place: Path, overlay: Path | None, question: str, options: DiagnoseOptions
) -> "DiagnosisRecord | None":
    """Diagnose one image and write its overlay; None, and one line on stderr, where that failed."""
    import torch

    from diagnose.record import to_record
    from gazevlm_core.overlay import draw_overlay

    start = time.perf_counter()
    try:
        load = load_image if engine.gaze_config.color_images else load_radiograph
        image = load(place).image
        found = engine.diagnose(image, question, options)
        if overlay is not None:
            if found.scanpath is None:
                raise ValueError("The overlay was not written: this model's gaze weights are untrained.")
            overlay.parent.mkdir(parents=True, exist_ok=True)
            draw_overlay(image, found.scanpath).save(overlay)
        return to_record(found, str(place), time.perf_counter() - start)
    except OSError as error:
        reason = f"The overlay could not be written: {error.strerror or error}."
    except (ValueError, MemoryError, torch.OutOfMemoryError) as error:
        reason = str(error) or "There is not enough memory for this image; make it smaller."
    say(f"{one_line(place)}: {one_line(reason)}", err=True)
    return None


def _readable(record: "DiagnosisRecord", overlay: Path | None) -> str:
    """Return a record as text: answer, findings from the most probable down, and the path."""
    from diagnose.record import answered_by

    answer = record["answer"].splitlines() or ["(no answer)"]
    lines = [one_line(record["image"]), *(f"  {one_line(line)}" for line in answer)]
    findings = sorted(record["findings"].items(), key=lambda item: -item[1])
    clashes = [
        f"{claim['finding']} ({'affirmed' if claim['affirmed'] else 'denied'} in words, probability "
        f"{claim['probability']:.2f})" for claim in record["claims"] if claim["agrees"] is False
    ]  # fmt: skip
    if clashes:
        lines.append(f"  contradiction: {', '.join(clashes)}")
    if findings:
        lines.append("  findings: " + ", ".join(f"{name} {value:.2f}" for name, value in findings))
    if record["scanpath"] is not None:
        points = " > ".join(f"({fixation['x']:.2f}, {fixation['y']:.2f})" for fixation in record["scanpath"])
        lines.append(f"  looked at {len(record['scanpath'])} places: {points}")
    if record["glimpses"]:
        lines.append(f"  seen closely: {', '.join(str(glimpse['step']) for glimpse in record['glimpses'])}")
    shared = [_spoke(record, name) for name, value in findings if value >= PRESENT and record["evidence"].get(name)]
    if shared:
        lines.append(f"  pooled from: {'; '.join(shared)}")
    lines += [f"  note: {note}" for note in record["notes"]]
    if overlay is not None:
        lines.append(f"  overlay: {one_line(overlay)}")
    return "\n".join([*lines, f"  {answered_by(record)}, {record['seconds']:.1f} s", ""])


def _spoke(record: "DiagnosisRecord", finding: str) -> str:
    """Return, e.g., "edema: place 3 (41%), place 1 (20%)", of the glimpses with the largest shares."""
    shares = sorted(zip(record["evidence"][finding], record["glimpses"], strict=True), key=lambda one: -one[0])
    return f"{finding}: " + ", ".join(f"place {glimpse['step']} ({share:.0%})" for share, glimpse in shares[:2])


# ---- where `--overlay OUT` writes: one file, a folder, or a name with {stem}; never two images into one file --------
class OverlayTargetError(ValueError):
    """An --overlay that does not fit the images; the message says what to give instead."""


def plan_overlays(out: str, images: Sequence[Path]) -> list[Path]:
    """Return the overlay file of each image.

    Args:
        out: OUT.png for one image; for any number, a folder (an existing one, or a name without an ending) that gets
            STEM.png for each image, or a name with {stem}.

    Raises:
        OverlayTargetError: another ending than .png, one name for several images, two images that would share a file,
            or an overlay that would replace one of the images.
    """
    if STEM in out:
        targets = [Path(out.replace(STEM, _stem(image))) for image in images]
    elif Path(out).is_dir() or out.endswith("/") or not Path(out).suffix:
        targets = [Path(out) / f"{_stem(image)}{SUFFIX}" for image in images]
    elif len(images) > 1:
        raise OverlayTargetError(
            f"--overlay {out} names one file for {len(images)} images; give a folder, or a name with {STEM}"
        )
    else:
        targets = [Path(out)] * len(images)
    _check(targets, images)
    return targets


def _stem(image: Path) -> str:
    """Return the name without an image's ending; a DICOM file named by its UID keeps all of it."""
    return image.stem if image.suffix.lower() in IMAGE_SUFFIXES else image.name


def _check(targets: Sequence[Path], images: Sequence[Path]) -> None:
    owners: dict[Path, Path] = {}
    inputs = {image.resolve() for image in images}
    for target, image in zip(targets, images, strict=True):
        if target.suffix.lower() != SUFFIX:
            raise OverlayTargetError(f"an overlay is a PNG file: --overlay must end in {SUFFIX}, got {target.name}")
        place = target.resolve()
        if place in inputs:
            raise OverlayTargetError(f"the overlay {target} would replace an image; give another name or folder")
        if place in owners:
            raise OverlayTargetError(
                f"{owners[place]} and {image} would both write {target}; diagnose them in separate runs"
            )
        owners[place] = image
