"""What can be downloaded of a diagnosis: overlay, replays, JSON and CSV."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from diagnose.record import DiagnosisRecord
from gazevlm_core.overlay import draw_overlay
from gazevlm_core.replay import ReplayFormat, save_replay
from gazevlm_core.scanpath import Scanpath

STEM = "gazevlm"  # never the user's file name: it may hold a patient's name
CSV_COLUMNS = ("order", "x", "y", "x_px", "y_px", "patch_index", "probability", "duration_ms")


def write_downloads(
    folder: Path, image: Image.Image, scanpath: Scanpath | None, record: DiagnosisRecord, *, second: bool = False
) -> list[Path]:
    """Write everything that there is to download into a folder.

    Args:
        folder: exists.
        image: upright, at its own size.
        scanpath: None gives the JSON alone.
        record: of the diagnosis.
        second: whether it was compared with a first one, from which the names must differ.

    Returns:
        Paths of the overlay at the image's size (PNG), the replays (WebP, GIF), the record (JSON) and the fixations
        (CSV), in this order.
    """
    stem = f"{STEM}-second" if second else STEM
    record_path = folder / f"{stem}.json"
    record_path.write_text(json.dumps(record, indent=2), encoding="utf-8")
    if scanpath is None or record["scanpath"] is None:
        return [record_path]
    overlay_path = folder / f"{stem}-overlay.png"
    draw_overlay(image, scanpath).save(overlay_path)
    replay_paths = []
    for kind in ReplayFormat:
        replay_paths.append(folder / f"{stem}-replay.{kind.value}")
        save_replay(image, scanpath, replay_paths[-1], kind)
    csv_path = folder / f"{stem}-fixations.csv"
    with csv_path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([CSV_COLUMNS, *fixation_rows(record, image.size)])
    return [overlay_path, *replay_paths, record_path, csv_path]


def fixation_rows(record: DiagnosisRecord, size_px: tuple[int, int]) -> list[Sequence[float | int | str]]:
    """Rows of CSV_COLUMNS; order counts from 1, pixels are those of the upright image, "" is not known."""
    width_px, height_px = size_px
    return [
        (
            order,
            fixation["x"],
            fixation["y"],
            round(fixation["x"] * width_px, 2),
            round(fixation["y"] * height_px, 2),
            fixation["patch_index"],
            fixation["probability"],
            "" if fixation["duration_ms"] is None else round(fixation["duration_ms"], 1),
        )
        for order, fixation in enumerate(record["scanpath"] or [], start=1)
    ]
