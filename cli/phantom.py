"""`gazevlm phantom`: drawn radiographs as PNG files, each with its ground truth as JSON, and an index."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import typer

from gazevlm_core.terminal import progress, stop

if TYPE_CHECKING:
    from gazevlm_core.scanpath import Scanpath
    from phantoms.truth import Phantom, PlacedFinding

INDEX_FILE = "index.json"
REPORT_STYLE = 0
Domain = Literal["A", "B", "R"]  # as in `phantoms.case`, which takes a moment to import


def phantom(
    out: Annotated[Path, typer.Option(help="Folder to write; new or empty.")],
    n: Annotated[int, typer.Option("--n", min=1, max=1_000_000, help="How many.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first; the next ones follow.")] = 0,
    domain: Annotated[Domain, typer.Option(help="A, B (other patients), or R (randomised, to train on).")] = "A",
    size: Annotated[int, typer.Option(min=64, max=4096, help="Longer side in pixels.")] = 512,
    held_out: Annotated[bool, typer.Option("--held-out", help="Also the finding and reader kept from training.")]
    = False,
) -> None:
    """Draw phantom chest radiographs with findings, masks, report and simulated readings."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        stop(f"{out} exists and is not an empty folder; give a new one, nothing is overwritten")
    from phantoms.make import make_phantom

    index = []
    try:
        out.mkdir(parents=True, exist_ok=True)
        with progress(n, "drawing") as bar:
            for number in range(seed, seed + n):
                drawn = make_phantom(number, domain, size_px=size, include_held_out=held_out)
                index.append(_write(drawn, out, held_out))
                bar.update()
        _write_json(out / INDEX_FILE, index, indent=1)
    except OSError as error:
        stop(f"cannot write to {out}: {error.strerror or error}")
    typer.echo(f"{n} phantoms in {out}")


def _write(drawn: "Phantom", folder: Path, held_out: bool) -> dict[str, Any]:
    """Write one phantom's image and truth; returns its line of the index."""
    from PIL import Image

    stem = f"phantom-{drawn.domain}-{drawn.seed:07d}"
    truth = truth_of(drawn, held_out=held_out)
    Image.fromarray(drawn.image).save(folder / f"{stem}.png")
    _write_json(folder / f"{stem}.json", {"image": f"{stem}.png", **truth})
    names = [finding["name"] for finding in truth["findings"]]
    return {"image": f"{stem}.png", "truth": f"{stem}.json", "seed": drawn.seed, "findings": names}


def _write_json(path: Path, values: object, indent: int | None = None) -> None:
    path.write_text(json.dumps(values, indent=indent) + "\n", encoding="utf-8")


def truth_of(drawn: "Phantom", *, held_out: bool = False) -> dict[str, Any]:
    """Return all that is known about a phantom, ready for JSON.

    Positions and boxes are fractions of the image; sides are the patient's; times are in ms.

    Args:
        drawn: the phantom.
        held_out: add the reading of the reader that training never sees.
    """
    from phantoms.readers import HELD_OUT_READER, READERS, simulate_reading
    from phantoms.report import write_report

    readers = [*READERS, HELD_OUT_READER] if held_out else READERS
    return {
        "seed": drawn.seed,
        "domain": drawn.domain,
        "height_px": drawn.image.shape[0],
        "width_px": drawn.image.shape[1],
        "findings": [_finding(finding) for finding in drawn.findings],
        "report": write_report(drawn, REPORT_STYLE),
        "readings": [{"reader": reader.name, "fixations": _fixations(simulate_reading(drawn, reader, 0))}
                     for reader in readers],
        "landmarks": {name: [float(x), float(y)] for name, (x, y) in drawn.landmarks.items()},
    }


def _finding(finding: "PlacedFinding") -> dict[str, Any]:
    return {
        "name": finding.name,
        "detail": finding.detail,
        "side": finding.side,
        "zone": finding.zone,
        "severity": float(finding.severity),
        "grade": finding.grade,
        "box": [float(value) for value in finding.box],
        "foci": [[float(x), float(y)] for x, y in finding.foci],
        "mask": run_lengths(finding.mask),
    }


def _fixations(path: "Scanpath") -> list[dict[str, float | None]]:
    return [{"x": f.x, "y": f.y, "duration_ms": f.duration_ms, "onset_ms": f.onset_ms} for f in path]


def run_lengths(mask: np.ndarray) -> dict[str, list[int]]:
    """Return a mask in COCO's uncompressed run-length form: lengths of runs down the columns, zeros first.

    Args:
        mask: bool [H, W].
    """
    flat = np.asarray(mask, dtype=bool).ravel(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    if flat.size and flat[0]:
        counts = [0, *counts]
    return {"size": [int(mask.shape[0]), int(mask.shape[1])], "counts": counts}
