"""One form for ids of people and for names of images, whatever files write. Every data set is read through here."""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable

from gazevlm_core.images import IMAGE_SUFFIXES

# By software that had no value: Python, pandas, databases, R, spreadsheets.
WRITTEN_FOR_NOTHING = frozenset(
    {"nan", "NaN", "NAN", "NaT", "None", "<NA>", "null", "NULL", "NA", "N/A", "n/a", "#N/A"}
)
_WHOLE = re.compile(r"-?\d+\.0+")
MOST_SHOWN = 40


def id_text(value: object) -> str:
    """Return an id as text, the same for all ways in which a file may write it; "" where there is none.

    None, NaN and blanks are no id; 0 is one. A whole number is the same with and without a fraction, as number or as
    text (a table with a gap has its ids as 1.0); letters are composed (NFC). Zeros at the front stay: 7 is not 007.

    Args:
        value: as a JSON or CSV file holds it.

    Raises:
        ValueError: a list, true, an infinite number, half of a character: nothing that names anybody.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)) or value in (math.inf, -math.inf):
        raise ValueError(f"{repr(value)[:MOST_SHOWN]} is no name and no number")
    whole = isinstance(value, float) and value.is_integer()
    text = _composed(str(int(value) if whole else value))
    if text in WRITTEN_FOR_NOTHING:
        return ""
    return text.partition(".")[0] if _WHOLE.fullmatch(text) else text


def _composed(text: str) -> str:
    """NFC, without blanks around it; ValueError for half of a surrogate pair, which cannot be written or hashed."""
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError(f"{text[:MOST_SHOWN]!a} is no text: it holds half of a character")
    return unicodedata.normalize("NFC", text).strip()


def image_name(value: object) -> str:
    """Name of an image as text: as `id_text`, with single forward slashes and without "." for a folder. Text that looks
    like a number stays as it is, since files may be called so.

    Raises:
        ValueError: as `id_text`.
    """
    text = (_composed(value) if isinstance(value, str) else id_text(value)).replace("\\", "/")
    root = "/" if text.startswith("/") else ""  # elsewhere: it does not become a name below the folder
    return root + "/".join(part for part in text.split("/") if part not in ("", "."))


def without_ending(name: str) -> str:
    """Return a name without the ending of an image file; a DICOM file that is named by its UID keeps all of it."""
    stem, dot, ending = name.rpartition(".")
    return stem if stem and not stem.endswith("/") and dot + ending.lower() in IMAGE_SUFFIXES else name


class ImageNames:
    """The images that there are, found by whatever name a file has for them: with or without ending.

    Args:
        names: of the images, from `image_name`; those that differ in their endings alone keep them.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = list(dict.fromkeys(names))
        shared = Counter(map(without_ending, self._names))
        self._own = {name: name if shared[without_ending(name)] > 1 else without_ending(name) for name in self._names}
        self._shared = {stem for stem, count in shared.items() if count > 1}
        self._stems = set(self._own.values())

    def own(self, name: str) -> str:
        """Return the one name of an image that there is."""
        return self._own[name]

    def find(self, name: str) -> str | None:
        """Return the one name of the image that `name` means; None where there is no such image.

        Raises:
            ValueError: it means several, which differ in their endings.
        """
        if name in self._own:
            return self._own[name]
        stem = without_ending(name)
        for wanted in (name, stem, id_text(name)):  # the last: 1.0 for the image 1, from a table that had a gap
            if wanted in self._shared:
                raise ValueError(f"two images are called {wanted}; give their endings in image_id")
            if wanted in self._stems:
                return wanted
        return None


def same_images(names: Iterable[str]) -> dict[str, str]:
    """Return the one name of every image that files speak of, by what they call it: with and without ending is one
    image.

    Args:
        names: from `image_name`; those that differ in their endings alone are several images, and keep them.

    Raises:
        ValueError: a name without an ending that may be one of several.
    """
    names = list(dict.fromkeys(names))
    images = ImageNames(name for name in names if without_ending(name) != name)
    return {name: images.find(name) or name for name in names}
