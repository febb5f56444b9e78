"""A labelled sheet of phantoms: every finding at three severities, and radiographs without findings of every domain.

python -m phantoms.contact_sheet docs/phantoms.jpg
"""

import itertools
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from gazevlm_core.findings import grade_of
from phantoms.case import RANDOMISED
from phantoms.findings import DRAWN_FINDINGS
from phantoms.make import make_phantom
from phantoms.sampling import FindingRequest

SEVERITIES = (0.18, 0.5, 0.9)
NORMALS = {"A": 3, "B": 3, RANDOMISED: 12}  # by domain
FIRST_SEED = 40
COLUMNS = 6  # two findings side by side
CAPTION_PX = 20
GAP_PX = 4
JPEG_QUALITY = 86
TILE_FILTER = Image.Resampling.LANCZOS


@dataclass(frozen=True)
class Tile:
    """One picture of the sheet: what to draw, and the words under it."""

    seed: int
    caption: str
    domain: str = "A"
    findings: tuple[FindingRequest, ...] = ()


def default_tiles() -> tuple[Tile, ...]:
    """Return each finding at three severities, then normals of every domain; no seed is used twice."""
    tiles: list[Tile] = []
    for name, finding in DRAWN_FINDINGS.items():
        kinds = itertools.cycle(finding.kinds or (None,))
        for severity, detail in zip(SEVERITIES, kinds, strict=False):
            caption = f"{detail or name}, {grade_of(severity)}"
            tiles.append(Tile(FIRST_SEED + len(tiles), caption, "A", (FindingRequest(name, severity, detail=detail),)))
    for domain, count in NORMALS.items():
        for _ in range(count):
            tiles.append(Tile(FIRST_SEED + len(tiles), f"no finding, domain {domain}", domain))
    return tuple(tiles)


def contact_sheet(tiles: tuple[Tile, ...] | None = None, *, tile_px: int = 240) -> Image.Image:
    """Draw tiles row by row, six across, each with its caption below.

    Args:
        tiles: what to draw; None takes `default_tiles()`.
        tile_px: longer side of a phantom on the sheet.

    Raises:
        ValueError: no tiles.
    """
    chosen = default_tiles() if tiles is None else tiles
    drawn = (make_phantom(one.seed, one.domain, size_px=2 * tile_px, findings=one.findings) for one in chosen)
    pictures = [Image.fromarray(phantom.image) for phantom in drawn]
    return lay_out(zip(pictures, (one.caption for one in chosen), strict=True), COLUMNS, tile_px).convert("L")


def lay_out(pictures: Iterable[tuple[Image.Image, str]], columns: int, tile_px: int) -> Image.Image:
    """Return pictures row by row on one sheet, each with its caption below, RGB.

    Args:
        pictures: any mode and size, with their captions.
        columns: pictures beside each other.
        tile_px: longer side of each.

    Raises:
        ValueError: no picture.
    """
    small = [(ImageOps.contain(picture, (tile_px, tile_px), TILE_FILTER), caption) for picture, caption in pictures]
    if not small:
        raise ValueError("a contact sheet needs at least one tile")
    width, height = tile_px + GAP_PX, tile_px + CAPTION_PX + GAP_PX
    sheet = Image.new("RGB", (columns * width + GAP_PX, -(-len(small) // columns) * height + GAP_PX), (32, 32, 32))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for index, (picture, caption) in enumerate(small):
        left, top = GAP_PX + index % columns * width, GAP_PX + index // columns * height
        sheet.paste(picture, (left + (tile_px - picture.width) // 2, top + (tile_px - picture.height) // 2))
        draw.text((left + 3, top + tile_px + 2), caption, fill=(220, 220, 220), font=font)
    return sheet


def main() -> None:
    """Write the default sheet to the path given on the command line."""
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m phantoms.contact_sheet OUT.jpg")
    contact_sheet().save(Path(sys.argv[1]), quality=JPEG_QUALITY)


if __name__ == "__main__":
    main()
