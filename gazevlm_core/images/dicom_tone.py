"""Words of a grey DICOM image to stored values, and these through look-up tables, rescale and windows to 8-bit grey.

Everything acts on a table with one row per possible word, so 64 megapixels cost no more than 65,536.
"""

import math

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_windowing

from gazevlm_core.images.base import CENTRAL_PERCENTILES, grey_range, to_8_bit
from gazevlm_core.images.codestream import FrameShape
from gazevlm_core.images.dicom_display import Display, Window

_BEYOND = 1e300  # a value beyond every window
_BLOCK_ROWS = 64
_SHALLOW = 256  # values of 8 bits
_MOST_COMPARED = 1 << 20  # pixels


def stored_values(
    words: NDArray[np.uint8] | NDArray[np.uint16],
    shape: FrameShape,
    stream_bits: int | None,
    stream_signed: bool | None,
    overlaid: bool,
) -> NDArray[np.int32]:
    """Return what each possible word means, [2**bits of a word].

    A compressed stream has its own count of bits, and those are the value, whatever the data set claims (so
    does pydicom for JPEG 2000 and JPEG-LS). Where JPEG 2000 and the data set differ about the sign, either may be
    right: the data set is, unless its reading tears the picture. Native and run-length words do not tell. There the
    data set's BitsStored
    and HighBit count: what lies outside is left over from old overlays, or is the sign carried on. Only where the
    bits above go on with the value like a carry, has the data set named too few of them.

    Args:
        words: [rows, columns].
        stream_bits, stream_signed: the stream's own claims, None where it has none.
        overlaid: whether the data set claims that overlays lie in bits above the stored ones.
    """
    word_bits = 8 * words.dtype.itemsize
    meanings = np.arange(1 << word_bits, dtype=np.uint32)
    if overlaid and shape.bits_stored < word_bits:
        return _low_bits(meanings, shape.bits_stored, shape.signed)
    if stream_bits is not None:
        claimed = _low_bits(meanings, stream_bits, shape.signed)
        if stream_signed is None or stream_signed == shape.signed:
            return claimed
        other = _low_bits(meanings, stream_bits, stream_signed)
        return other if _smoother(words, other, claimed) else claimed
    bits = min(shape.bits_stored, word_bits)
    if bits == word_bits or int(words.max()) >> bits == 0:
        return _low_bits(meanings, bits, shape.signed)
    shift = shape.high_bit + 1 - bits
    if 0 < shift <= word_bits - bits:
        return _low_bits(meanings >> np.uint32(shift), bits, shape.signed)
    narrow, wide = (_low_bits(meanings, count, shape.signed) for count in (bits, word_bits))
    return wide if _smoother(words, wide, narrow) else narrow


def _low_bits(words: NDArray[np.uint32], bits: int, signed: bool) -> NDArray[np.int32]:
    """Return the lowest bits of words as a number, the uppermost of them its sign."""
    unused = np.uint32(32 - bits)
    shifted = words << unused
    if signed:
        return shifted.view(np.int32) >> np.int32(unused)
    return (shifted >> unused).astype(np.int32)


def _smoother(
    words: NDArray[np.uint8] | NDArray[np.uint16], reading: NDArray[np.int32], other: NDArray[np.int32]
) -> bool:
    """Return whether most pixels that bend away from their neighbours otherwise under two readings bend less under the
    first.

    Where the uppermost bits are cut off a value, it jumps from its highest to 0 as it rises. Where an overlay is taken
    for part of a value, it jumps at each edge of the overlay. Second differences tell a jump from a steep slope.
    """
    rows = max(3, _MOST_COMPARED // words.shape[1])
    start = max(0, (len(words) - rows) // 2)  # the middle of a large picture is enough
    some = words[start:start + rows]
    better = 0
    for axis in (0, 1):
        bends, others = (np.abs(np.diff(table[some], n=2, axis=axis)) for table in (reading, other))
        better += int((bends < others).sum()) - int((bends > others).sum())
    return better > 0


def words_to_grey(
    words: NDArray[np.uint8] | NDArray[np.uint16], stored: NDArray[np.int32], display: Display, inverted: bool
) -> NDArray[np.uint8]:
    """Return grey levels as a workstation would first show them.

    A look-up table goes before a window. One that leaves the picture in a single grey says nothing about it, and
    counts as absent; without any, up to 8 bits are shown as they are, like those of other formats, and of more bits
    `grey_range` decides, on the stored values. Padding is black and moves nothing.

    Args:
        words: [rows, columns] as they lie in the file.
        stored: [2**bits of a word], the stored value that each word means.
        inverted: whether the lowest value is the brightest (MONOCHROME1).

    Returns:
        uint8 [rows, columns], high is bright.
    """
    counts = _count(words, len(stored))
    padding = _padding(stored, counts, display)
    counts[padding] = 0
    grey = _first_that_shows(stored, counts, display)
    if inverted:
        grey = 255 - grey
    grey[padding] = 0
    return grey[words]


def _count(words: NDArray[np.uint8] | NDArray[np.uint16], kinds: int) -> NDArray[np.int64]:
    """Return how often each word occurs, [kinds]; in blocks, as bincount copies to 64 bits."""
    counts = np.zeros(kinds, dtype=np.int64)
    for start in range(0, len(words), _BLOCK_ROWS):
        counts += np.bincount(words[start:start + _BLOCK_ROWS].ravel(), minlength=kinds)
    return counts


def _padding(stored: NDArray[np.int32], counts: NDArray[np.int64], display: Display) -> NDArray[np.bool_]:
    """Return which words are padding, [kinds]; both ends of a padding range belong to it.

    Some writers mix up signed and unsigned, or put a padding value of a full word into an image of fewer bits: it is
    padding under either reading. What would leave no picture at all is no padding.
    """
    none = np.zeros(len(stored), dtype=np.bool_)
    if display.padding is None:
        return none
    count = len(stored)
    word = np.arange(count)
    if display.padding[0] == display.padding[1]:
        hit = (stored == display.padding[0]) | (word == display.padding[0] % count)
    else:
        half = count // 2
        signed = stored.min() < 0
        first, last = sorted(
            end - count if signed and half <= end < count else end + count if not signed and -half <= end < 0 else end
            for end in display.padding
        )
        hit = (stored >= first) & (stored <= last)
    return hit if (counts[~hit] > 0).any() else none


def _first_that_shows(stored: NDArray[np.int32], counts: NDArray[np.int64], display: Display) -> NDArray[np.uint8]:
    """Return grey of each word, [kinds], by the first means that leaves more than one level in the picture."""
    occurring = counts > 0
    plain = stored.astype(np.float64)
    values = plain * display.slope + display.intercept
    falling, shallow = display.slope < 0, bool(stored.max() - stored.min() < _SHALLOW)
    if display.modality is not None:
        mapped = display.modality.look_up(plain, occurring)
        if np.ptp(mapped[occurring]) > 0:
            plain = values = mapped
            falling = shallow = False
    if display.voi is not None:
        entries = display.voi.entries
        grey = to_8_bit(display.voi.look_up(values, occurring), float(entries.min()), float(entries.max()))
        if np.ptp(grey[occurring]) > 0:
            return grey
    if display.window is not None:
        grey = _through_window(values, display.window)
        if np.ptp(grey[occurring]) > 0:
            return grey
    # Not the rescaled values: a line changes nothing but the scale, and the depth tells that of the stored ones.
    shown_as_is = shallow and np.ptp(plain[occurring]) > 0  # an even picture is black in every depth
    grey = to_8_bit(plain, *((float(stored.min()), float(stored.max())) if shown_as_is else _range(plain, counts)))
    return 255 - grey if falling else grey


def _range(values: NDArray[np.float64], counts: NDArray[np.int64]) -> tuple[float, float]:
    """`grey_range` of pixels that are given as values and how often each occurs."""
    order = np.argsort(values, kind="stable")
    order = order[counts[order] > 0]
    below = np.cumsum(counts[order])  # [distinct values], pixels up to and with each
    ranks = [math.ceil(percent / 100.0 * below[-1]) for percent in CENTRAL_PERCENTILES]
    low, high = (float(values[order[np.searchsorted(below, rank)]]) for rank in ranks)
    return grey_range(float(values[order[0]]), float(values[order[-1]]), low, high)


def _through_window(values: NDArray[np.float64], window: Window) -> NDArray[np.uint8]:
    """Return how a window shows values: far below it black, far above it white."""
    dataset = Dataset()
    dataset.PhotometricInterpretation, dataset.BitsStored, dataset.PixelRepresentation = "MONOCHROME2", 16, 0
    dataset.WindowCenter, dataset.WindowWidth, dataset.VOILUTFunction = window.center, window.width, window.function
    with np.errstate(over="ignore"):
        shown = apply_windowing(np.concatenate([[-_BEYOND, _BEYOND], values]), dataset)
    black, white = float(shown[0]), float(shown[1])
    return to_8_bit((shown[2:] - black) / (white - black), 0.0, 1.0)
