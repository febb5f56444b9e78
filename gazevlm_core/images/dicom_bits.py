"""Which bits of a word of a grey DICOM image are its stored value."""

import numpy as np
from numpy.typing import NDArray

from gazevlm_core.images.codestream import FrameShape

_MOST_COMPARED = 1 << 20  # pixels


def stored_values(
    words: NDArray[np.uint8] | NDArray[np.uint16],
    shape: FrameShape,
    stream_bits: int | None,
    stream_signed: bool | None,
    overlaid: bool,
) -> NDArray[np.int32]:
    """What each possible word means, [2**bits of a word].

    A compressed stream tells how many bits were compressed, and those are the value, whatever the data set says (so
    does pydicom for JPEG 2000 and JPEG-LS). Where JPEG 2000 and the data set differ about the sign, either may be
    right: the data set is, unless its reading tears the picture. Native and run-length words do not tell. There the
    data set's BitsStored
    and HighBit count: what lies outside is left over from old overlays, or is the sign carried on. Only where the
    bits above go on with the value like a carry, has the data set named too few of them.

    Args:
        words: [rows, columns].
        shape: the data set's claim.
        stream_bits, stream_signed: the stream's own claims, None where it has none.
        overlaid: whether the data set says that overlays lie in bits above the stored ones.
    """
    word_bits = 8 * words.dtype.itemsize
    meanings = np.arange(1 << word_bits, dtype=np.uint32)
    if overlaid and shape.bits_stored < word_bits:
        return _low_bits(meanings, shape.bits_stored, shape.signed)
    if stream_bits is not None:
        said = _low_bits(meanings, stream_bits, shape.signed)
        if stream_signed is None or stream_signed == shape.signed:
            return said
        other = _low_bits(meanings, stream_bits, stream_signed)
        return other if _smoother(words, other, said) else said
    bits = min(shape.bits_stored, word_bits)
    if bits == word_bits or int(words.max()) >> bits == 0:
        return _low_bits(meanings, bits, shape.signed)
    shift = shape.high_bit + 1 - bits
    if 0 < shift <= word_bits - bits:
        return _low_bits(meanings >> np.uint32(shift), bits, shape.signed)
    narrow, whole = (_low_bits(meanings, count, shape.signed) for count in (bits, word_bits))
    return whole if _smoother(words, whole, narrow) else narrow


def _low_bits(words: NDArray[np.uint32], bits: int, signed: bool) -> NDArray[np.int32]:
    """The lowest bits of words as a number, the uppermost of them its sign."""
    unused = np.uint32(32 - bits)
    shifted = words << unused
    if signed:
        return shifted.view(np.int32) >> np.int32(unused)
    return (shifted >> unused).astype(np.int32)


def _smoother(
    words: NDArray[np.uint8] | NDArray[np.uint16], reading: NDArray[np.int32], other: NDArray[np.int32]
) -> bool:
    """Whether most pixels that bend away from their neighbours otherwise under two readings bend less under the first.

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
