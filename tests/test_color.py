"""Photographs are in colour, radiographs are not: not even tinted ones, or those with a coloured mark."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps
from skimage import data

from gazevlm_core.images import ImageError, is_colored, load_image, load_radiograph
from phantoms.make import make_phantom

PHANTOM = Image.fromarray(make_phantom(3, size_px=200).image)
RADIOGRAPHS = Path(__file__).parents[2] / "shared" / "data" / "radiographs"
Colour = tuple[int, int, int]
SKY, GRASS, RED, BLACK, WHITE = (135, 206, 235), (86, 152, 20), (255, 0, 0), (0, 0, 0), (255, 255, 255)


def cast(film: Image.Image, light: Colour) -> Image.Image:
    """A film in the light of a lamp."""
    return Image.fromarray((np.asarray(film.convert("RGB")) * (np.array(light) / 255)).astype(np.uint8))


def sepia(film: Image.Image) -> Image.Image:
    """The usual sepia filter, which cuts off at white."""
    grey = np.asarray(film.convert("L"), float)[..., None]
    return Image.fromarray(np.minimum(grey * (1.351, 1.203, 0.937), 255).astype(np.uint8))


def marked(film: Image.Image) -> Image.Image:
    """Arrow, frame and letters in bright colours."""
    film = film.convert("RGB")
    pen, side = ImageDraw.Draw(film), film.width
    pen.rectangle((side // 3, side // 3, side // 2, side // 2), outline=(255, 255, 0), width=side // 100)
    pen.line((0, side // 2, side // 3, side // 3), fill=(0, 255, 0), width=side // 80)
    pen.text((5, 5), "R portable", fill=(0, 255, 255))
    return film


def bannered(film: Image.Image) -> Image.Image:
    film = film.convert("RGB")
    film.paste((0, 90, 200), (0, 0, film.width, film.width // 14))
    return film


def bordered(film: Image.Image) -> Image.Image:
    """Marks on a film in a wide black frame."""
    return ImageOps.expand(marked(film), film.width // 3, "black")


def boxed(film: Image.Image) -> Image.Image:
    film = film.convert("RGB")
    film.paste(RED, (5, 5, 5 + film.width // 6, 5 + film.width // 8))
    return film


def as_jpeg(picture: Image.Image, quality: int) -> Image.Image:
    file = BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(file)


FILMS = {
    "plain": lambda film: film,
    "blue base": lambda film: ImageOps.colorize(film.convert("L"), "#001030", "#c0e0ff"),
    "amber": lambda film: ImageOps.colorize(film.convert("L"), "black", "#ffd090"),
    "cyanotype": lambda film: ImageOps.colorize(film.convert("L"), "#102040", "#e0f0ff"),
    "green": lambda film: ImageOps.colorize(film.convert("L"), "black", "#c8ffd8"),
    "sepia": sepia,
    "bulb": lambda film: cast(film, (255, 197, 143)),
    "bulb as JPEG": lambda film: as_jpeg(cast(film, (255, 197, 143)), 40),
    "light box": lambda film: cast(film, (150, 190, 255)),
    "marks": marked,
    "box": boxed,
    "banner": bannered,
    "marks in a black frame": bordered,
    "reddish scan": lambda film: cast(film, (255, 235, 225)),
    "blue film with a box": lambda film: boxed(cast(film, (150, 190, 255))),
}


@pytest.mark.parametrize("kind", FILMS)
def test_tinted_and_marked_films_are_not_in_colour(kind: str, real_radiographs: list[Path]) -> None:
    real = [load_image(path).image for path in real_radiographs]
    for film in (PHANTOM, *real):
        small = film.convert("L").resize((400, 400))
        assert not is_colored(FILMS[kind](small))


@pytest.mark.parametrize("kind", FILMS)
def test_a_tinted_phantom_is_not_in_colour(kind: str) -> None:
    assert not is_colored(FILMS[kind](PHANTOM.resize((400, 400))))


def halves(upper: Colour, lower: Colour) -> Image.Image:
    pixels = np.zeros((200, 200, 3), np.uint8)
    pixels[:100], pixels[100:] = upper, lower
    return Image.fromarray(pixels)


def gradient(upper: Colour, lower: Colour) -> Image.Image:
    share = np.linspace(0, 1, 200)[:, None, None]
    return Image.fromarray(((1 - share) * upper + share * lower + np.zeros((200, 200, 3))).astype(np.uint8))


@pytest.mark.parametrize("colours", [
    (SKY, GRASS), ((200, 225, 240), (130, 170, 90)), ((120, 180, 230), (220, 190, 140)), (RED, RED),
    ((10, 200, 90), (10, 200, 90)), ((0, 0, 128), (0, 0, 128)), (SKY, SKY), ((224, 172, 105), (141, 85, 36)),
    (RED, BLACK), (RED, WHITE), ((0, 87, 184), (255, 215, 0)), ((200, 220, 255), (255, 220, 200)),
    ((255, 0, 0), (0, 255, 0)),
])
def test_pictures_of_one_or_two_colours_are_coloured(colours: tuple[Colour, Colour]) -> None:
    assert is_colored(halves(*colours))
    assert is_colored(gradient(*colours))


@pytest.mark.parametrize("colours", [
    ((20, 30, 90), (255, 160, 60)), ((30, 90, 200), (200, 225, 255)), ((0, 40, 90), (80, 190, 220)),
    ((20, 60, 10), (160, 220, 60)), ((0, 120, 0), WHITE), ((0, 60, 60), (0, 255, 255)),
])
def test_skies_seas_and_leaves_are_coloured(colours: tuple[Colour, Colour]) -> None:
    """Colours that change with the brightness alone, but not as a tint does."""
    assert is_colored(gradient(*colours))


@pytest.mark.parametrize("ends", [("black", "red"), ("black", "#00ff00"), ("#000020", "#0060ff"), ("black", "#ff8000")])
def test_a_film_in_one_pure_colour_is_coloured(ends: tuple[str, str]) -> None:
    assert is_colored(ImageOps.colorize(PHANTOM, *ends))


@pytest.mark.parametrize("skin", [(205, 160, 135), (90, 60, 45), (230, 190, 170), (235, 190, 165), (195, 140, 145)])
def test_skin_is_coloured(skin: Colour) -> None:
    """In even light, and round like a limb: deep red reaches farther into the shade than blue."""
    rows, columns = np.mgrid[-1:1:150j, -1:1:150j]
    light = np.clip(1 - 0.7 * (rows**2 + columns**2), 0.1, 1)[..., None]
    even = 1 + 0.1 * np.sin(6 * rows + 4 * np.cos(5 * columns))[..., None]
    for shade in (light ** np.array([0.8, 1.05, 1.2]), even):
        assert is_colored(Image.fromarray(np.clip(skin * shade, 0, 255).astype(np.uint8)))


@pytest.mark.parametrize("ground", [WHITE, BLACK, (30, 30, 30), (250, 248, 240)])
def test_coloured_lines_on_an_even_ground_are_coloured(ground: Colour) -> None:
    """A chart, a screen of a program."""
    chart = Image.new("RGB", (300, 300), ground)
    pen = ImageDraw.Draw(chart)
    for number, colour in enumerate(["#1f77b4", "#ff7f0e", "#2ca02c"]):
        pen.line([(x, 150 + 60 * np.sin(x / 30 + number)) for x in range(0, 300, 3)], fill=colour, width=3)
    assert is_colored(chart)


@pytest.mark.parametrize("photograph", [
    "cat", "astronaut", "coffee", "rocket", "retina", "immunohistochemistry", "colorwheel", "logo",
])
def test_photographs_are_coloured(photograph: str) -> None:
    picture = Image.fromarray(getattr(data, photograph)()[..., :3])
    assert is_colored(picture)
    assert is_colored(as_jpeg(picture, 50))
    assert is_colored(picture.resize((100, 80)))


def test_a_cat_is_coloured_whole_in_parts_and_pale() -> None:
    cat = data.cat()
    for part in (cat[50:250, 100:300], cat[50:290, 250:], cat[160:280, 160:260], cat[:, :220]):
        assert is_colored(Image.fromarray(np.ascontiguousarray(part)))
    grey = cat.mean(axis=2, keepdims=True)
    assert is_colored(Image.fromarray((grey + 0.5 * (cat - grey)).astype(np.uint8)))


@pytest.mark.parametrize("photograph", ["camera", "coins", "moon", "clock", "grass", "page"])
def test_grey_photographs_have_no_colour(photograph: str) -> None:
    assert not is_colored(Image.fromarray(getattr(data, photograph)()))


@pytest.mark.parametrize("value", [0, 128, 255])
def test_an_even_grey_has_no_colour(value: int) -> None:
    assert not is_colored(Image.new("L", (50, 40), value))
    assert not is_colored(Image.new("RGB", (50, 40), (value, value, value)))


def test_real_radiographs_are_not(real_radiographs: list[Path]) -> None:
    assert [path.name for path in real_radiographs if is_colored(load_radiograph(path).image)] == []


def test_a_sample_of_many_real_radiographs_is_not() -> None:
    if not RADIOGRAPHS.is_dir():
        pytest.skip("the real radiographs are not beside the checkout (../shared/data/radiographs)")
    paths = sorted(path for path in RADIOGRAPHS.rglob("*") if path.suffix in {".jpg", ".jpeg", ".png"})[::40]
    assert paths
    assert [path.name for path in paths if is_colored(load_image(path).image)] == []


def test_a_colour_picture_loads_but_not_as_a_radiograph() -> None:
    file = BytesIO()
    halves(SKY, GRASS).save(file, "PNG")
    assert load_image(file.getvalue()).width_px == 200
    with pytest.raises(ImageError, match="This is a colour picture, not a radiograph; give a grey"):
        load_radiograph(file.getvalue())
