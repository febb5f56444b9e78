"""The example phantoms of the page: every finding at three severities, and one without; drawn when asked for."""

from functools import cache, lru_cache

from PIL import Image

from gazevlm_core.findings import HELD_OUT_FINDING_NAMES
from gazevlm_core.scanpath import Scanpath
from phantoms.contact_sheet import Tile, default_tiles
from phantoms.make import make_phantom
from phantoms.readers import READERS, simulate_reading
from phantoms.report import write_report
from phantoms.truth import Phantom

SIZE_PX, THUMBNAIL_PX = 512, 128
NORMAL = "no finding"


def _example_tiles() -> tuple[Tile, ...]:
    tiles = [tile for tile in default_tiles() if tile.domain == "A"]
    normal = next(tile for tile in tiles if not tile.findings)
    taught = [tile for tile in tiles if tile.findings and tile.findings[0].name not in HELD_OUT_FINDING_NAMES]
    return (Tile(normal.seed, NORMAL), *taught)


EXAMPLES: tuple[Tile, ...] = _example_tiles()


@lru_cache(maxsize=64)
def example_phantom(index: int) -> Phantom:
    """An example with its truth, the same on every run.

    Raises:
        IndexError: no such example.
    """
    if not 0 <= index < len(EXAMPLES):
        raise IndexError(f"there is no example {index}; they are numbered 0 to {len(EXAMPLES) - 1}")
    tile = EXAMPLES[index]
    return make_phantom(tile.seed, size_px=SIZE_PX, findings=tile.findings)


def draw_example(index: int) -> Image.Image:
    """The example as an RGB image; errors as in `example_phantom`."""
    return Image.fromarray(example_phantom(index).image).convert("RGB")


def example_report(index: int) -> str:
    """What a perfect report of the example says; errors as in `example_phantom`."""
    return write_report(example_phantom(index), 0)


def example_reading(index: int) -> Scanpath:
    """How the first simulated reader looks at the example; errors as in `example_phantom`."""
    return simulate_reading(example_phantom(index), READERS[0], 0)


@cache
def thumbnails() -> list[tuple[Image.Image, str]]:
    """A small picture and a caption of every example."""
    return [
        (Image.fromarray(make_phantom(tile.seed, size_px=THUMBNAIL_PX, findings=tile.findings).image), tile.caption)
        for tile in EXAMPLES
    ]
