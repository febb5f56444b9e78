"""What the Diagnose tab does, without the page: images and drawn examples, the steps of one answer, and downloads."""

import csv
import json
import math
import os
import re
import textwrap
import time
import zipfile
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from diagnose.record import VERDICT, DiagnosisRecord, answered_by
from gazevlm_core.findings import HELD_OUT_FINDING_NAMES
from gazevlm_core.geometry import pixel_of
from gazevlm_core.images import ImageError, as_rgb, load_radiograph
from gazevlm_core.options import DiagnoseOptions
from gazevlm_core.overlay import draw_overlay
from gazevlm_core.records import Diagnosis, is_strange
from gazevlm_core.replay import ReplayFormat, draw_replay, save_replay
from gazevlm_core.scanpath import Scanpath
from gazevlm_core.words import check_question
from phantoms.contact_sheet import Tile, default_tiles
from phantoms.make import make_phantom
from phantoms.readers import READERS, simulate_reading
from phantoms.truth import Phantom
from web.models import Ask

EXAMPLE_PX, THUMBNAIL_PX = 512, 128
NORMAL = "no finding"
GPU_START_S, GPU_GAZE_TOKEN_S, GPU_ANSWER_TOKEN_S = 10.0, 0.02, 0.15
STEM = "gazevlm"
FIGURE_PX, CAPTION_PX, CAPTION_COLUMNS, CAPTION_FINDINGS = 1000, 22, 84, 4
TALLEST_PX = 1500  # of the image in a figure, whatever its shape
LONGEST_NAME = 60  # characters of an image in a file name
CSV_COLUMNS = ("order", "x", "y", "x_px", "y_px", "patch_index", "probability", "duration_ms")


# ---- examples -------------------------------------------------------------------------------------------------------
def _example_tiles() -> tuple[Tile, ...]:
    """Return one phantom without a finding, then every finding at three severities."""
    tiles = [tile for tile in default_tiles() if tile.domain == "A"]
    normal = next(tile for tile in tiles if not tile.findings)
    trained = [tile for tile in tiles if tile.findings and tile.findings[0].name not in HELD_OUT_FINDING_NAMES]
    return (Tile(normal.seed, NORMAL), *trained)


EXAMPLES: tuple[Tile, ...] = _example_tiles()


@lru_cache(maxsize=64)
def example_phantom(index: int) -> Phantom:
    """Return an example with its truth, the same on every run. Raises IndexError: no such example."""
    if not 0 <= index < len(EXAMPLES):
        raise IndexError(f"there is no example {index}; they are numbered 0 to {len(EXAMPLES) - 1}")
    tile = EXAMPLES[index]
    return make_phantom(tile.seed, size_px=EXAMPLE_PX, findings=tile.findings)


def draw_example(index: int) -> Image.Image:
    """Return the example as an RGB image; errors as in `example_phantom`."""
    return Image.fromarray(example_phantom(index).image).convert("RGB")


def example_reading(index: int) -> Scanpath:
    """Return the first simulated reader's path on the example; errors as in `example_phantom`."""
    return simulate_reading(example_phantom(index), READERS[0], 0)


@cache
def thumbnails() -> list[tuple[Image.Image, str]]:
    """Return a small picture and a caption of every example."""
    return [
        (Image.fromarray(make_phantom(tile.seed, size_px=THUMBNAIL_PX, findings=tile.findings).image), tile.caption)
        for tile in EXAMPLES
    ]


# ---- images and answers ---------------------------------------------------------------------------------------------
@dataclass(frozen=True, eq=False)
class Picture:
    """An image that was chosen on the page."""

    name: str  # file name or caption, for the record; never used as a path
    image: Image.Image  # upright RGB


@dataclass(frozen=True, eq=False)
class Step:
    """One step of an answer; the first comes before any word."""

    diagnosis: Diagnosis  # as known so far
    seconds: float  # since the question was asked
    finished: bool  # whether this is the last step


def choose_picture(upload: str | None, example: int | None) -> Picture:
    """Return the uploaded file, or else the chosen example.

    Raises:
        ImageError: nothing is chosen, or the file is no usable image, such as a colour photograph.
    """
    if upload is not None:
        return Picture(os.path.basename(upload), load_radiograph(upload).image)
    if example is None or not 0 <= example < len(EXAMPLES):
        raise ImageError("There is no image yet; upload one or pick an example.")
    return Picture(f"example: {EXAMPLES[example].caption}", draw_example(example))


def answer_steps(
    ask: Ask, model: str, image: Image.Image, question: str, options: DiagnoseOptions
) -> Generator[Step, None, None]:
    """Yield path and findings first, then the growing answer; closing the iterator stops the model.

    Raises:
        ValueError: no such model, the question is not usable, or the image's shape is beyond the model.
    """
    question = check_question(question)
    start = time.perf_counter()
    latest: Diagnosis | None = None
    with closing(ask(model, image, question, options)) as records:
        for latest in records:
            yield Step(latest, time.perf_counter() - start, finished=False)
    if latest is not None:
        yield Step(latest, time.perf_counter() - start, finished=True)


def gpu_seconds(num_gaze_tokens: int, options: DiagnoseOptions) -> int:
    """Return how long a shared GPU is asked for: a budget for a 7B model in 4 bits, not a measurement.

    Args:
        num_gaze_tokens: K, prefilled with the prompt.
        options: the longest answer counts.
    """
    return math.ceil(GPU_START_S + GPU_GAZE_TOKEN_S * num_gaze_tokens + GPU_ANSWER_TOKEN_S * options.max_new_tokens)


def overlay_of(image: Image.Image, diagnosis: Diagnosis) -> Image.Image:
    """Return the image with the path; without it where the gaze weights are untrained."""
    return image if diagnosis.scanpath is None else draw_overlay(image, diagnosis.scanpath)


# ---- downloads ------------------------------------------------------------------------------------------------------
def write_downloads(
    folder: Path, image: Image.Image, scanpath: Scanpath | None, record: DiagnosisRecord, *, second: bool = False,
    how: Mapping[str, object] | None = None, silent: Collection[str] = (),
) -> list[Path]:  # fmt: skip
    """Write everything that there is to download into a folder.

    Args:
        folder: exists.
        image: upright, at its own size.
        scanpath: None gives the JSON alone.
        record: of the diagnosis.
        second: whether it was compared with a first one, from which the names must differ.
        how: what gives the same answer again, to stand in the record as "how"; None leaves it out.
        silent: findings that the figure does not name.

    Returns:
        Paths of the overlay at the image's size (PNG), the replays (WebP, GIF, MP4), the record (JSON), the fixations
        (CSV) and the figure with its caption (PNG), in this order.
    """
    stem = f"{STEM}-second" if second else STEM
    record_path = folder / f"{stem}.json"
    kept = {**record, **({} if how is None else {"how": how})}
    record_path.write_text(json.dumps(kept, indent=2), encoding="utf-8")
    if scanpath is None or record["scanpath"] is None:
        return [record_path]
    overlay_path = folder / f"{stem}-overlay.png"
    draw_overlay(image, scanpath).save(overlay_path)
    replay, replay_paths = draw_replay(image, scanpath), []
    for kind in ReplayFormat:
        replay_paths.append(folder / f"{stem}-replay.{kind.value}")
        save_replay(replay, replay_paths[-1], kind)
    csv_path = folder / f"{stem}-fixations.csv"
    with csv_path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([CSV_COLUMNS, *fixation_rows(record, image.size)])
    figure_path = folder / f"{stem}-figure.png"
    changed = how is not None and "look_at" in how
    draw_figure(image, scanpath, record, changed=changed, silent=silent).save(figure_path)
    return [overlay_path, *replay_paths, record_path, csv_path, figure_path]


def draw_figure(
    image: Image.Image, scanpath: Scanpath, record: DiagnosisRecord, *, changed: bool = False,
    silent: Collection[str] = (),
) -> Image.Image:  # fmt: skip
    """Return the image with its path and a caption below it: the verdict on an image unlike those of the training,
    question, answer, what must be known of it, most probable findings, and what answered.

    Args:
        image, scanpath, record: as in `write_downloads`.
        changed: whether the path was changed by hand.
        silent: findings that it does not name.
    """
    scale = min(FIGURE_PX / image.width, TALLEST_PX / image.height)
    width_px, height_px = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    overlay = draw_overlay(as_rgb(image).resize((width_px, height_px)), scanpath)
    font = ImageFont.load_default(CAPTION_PX)
    shown = [item for item in record["findings"].items() if item[0] not in silent]
    likely = sorted(shown, key=lambda item: -item[1])[:CAPTION_FINDINGS]
    paragraphs = [
        VERDICT * is_strange(record["strangeness"]), record["question"], record["answer"], *record["notes"],
        "Findings: " + ", ".join(f"{name} {value:.2f}" for name, value in likely) + "." if likely else "",
        f"{answered_by(record)}: {len(scanpath)} fixations, numbered in the order of looking"
        f"{', changed by hand' * changed}. Not a medical device.",
    ]  # fmt: skip
    lines = [line for text in filter(None, paragraphs) for line in textwrap.wrap(text, CAPTION_COLUMNS)]
    step_px = round(1.4 * CAPTION_PX)
    figure = Image.new("RGB", (FIGURE_PX, height_px + step_px * (len(lines) + 1)), "white")
    figure.paste(overlay, ((FIGURE_PX - width_px) // 2, 0))
    pen = ImageDraw.Draw(figure)
    for number, line in enumerate(lines):
        pen.text((CAPTION_PX, height_px + step_px // 2 + number * step_px), line, fill="black", font=font)
    return figure


def zip_name(image: str) -> str:
    """Name of the archive about an image: that of the image, in letters and digits that every system takes."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", Path(image).stem if "." in image else image).strip("-")[:LONGEST_NAME]
    return f"{STEM}-{name or 'image'}.zip"


def zip_files(paths: Sequence[Path], target: Path) -> Path:
    """Put files into one archive, without folders; returns its path."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:  # all but the smallest are compressed already
        for path in paths:
            archive.write(path, path.name)
    return target


def fixation_rows(record: DiagnosisRecord, size_px: tuple[int, int]) -> list[Sequence[float | int | str]]:
    """Return rows of CSV_COLUMNS; order counts from 1, pixels are those of the upright image, "" is not known."""
    width_px, height_px = size_px
    return [
        (
            order, one["x"], one["y"], pixel_of(one["x"], width_px, 2), pixel_of(one["y"], height_px, 2),
            one["patch_index"], one["probability"], "" if (ms := one["duration_ms"]) is None else round(ms, 1),
        )
        for order, one in enumerate(record["scanpath"] or [], start=1)
    ]  # fmt: skip
