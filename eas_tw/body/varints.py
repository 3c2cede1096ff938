"""Encoding and decoding of protobuf's varints with numpy, a whole array at a time.

A varint has an integer's bits in groups of seven, one group in each byte, the lowest first; the top bit is set in every
byte but the last. Eight groups fit into a 64-bit word. `_spread` distributes the low 56 bits of each element over the
eight bytes of a word, in three steps of masks and shifts; `_squeeze` is the reverse. The ninth and tenth bytes, which
only very large and negative numbers have, are handled separately.

Only `ndarrays` imports this module, because it imports numpy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from eas_tw.errors import BodyError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[np.uint64]

#: Elements processed at a time, so that the working set fits into the processor's cache.
_BLOCK = 16384
_WORD = 8
_LONGEST = 10
_MORE = 0x80

_U = np.uint64
#: The smallest number whose varint has three bytes, and a number greater than every 64-bit integer.
_THREE_BYTES, _HUGE = 1 << 14, 1 << 64
#: Size of an integer's varint in bytes, by the exponent of the integer as a double, with the offset 1023 of IEEE 754.
_SIZE_BY_EXPONENT = np.array([1] * 1023 + [bits // 7 + 1 for bits in range(64)], np.uint8)
#: For each step: the largest number for which it is skipped, masks of the bits that stay and that move, and the shift.
_STEPS = [
    (_U(0x0FFFFFFF), _U(0x000000000FFFFFFF), _U(0x00FFFFFFF0000000), _U(4)),
    (_U(0x3FFF), _U(0x00003FFF00003FFF), _U(0x0FFFC0000FFFC000), _U(2)),
    (_U(0x7F), _U(0x007F007F007F007F), _U(0x3F803F803F803F80), _U(1)),
]
#: By a varint's size in bytes: masks of the continuation bits and of the payload bits in its first eight bytes.
_MORE_BITS = np.array([sum(_MORE << 8 * byte for byte in range(min(size - 1, _WORD))) for size in range(11)], _U)
_OWN_BITS = np.array([sum(0x7F << 8 * byte for byte in range(min(size, _WORD))) for size in range(11)], _U)


def pack(values: NDArray[Any]) -> bytes:
    """Encode integers; a negative integer takes ten bytes, as in protobuf's int32 and int64.

    Args:
        values: A one-dimensional array of any integer type and byte order.

    Returns:
        The payload of a packed field.
    """
    largest = values.max() if values.size and values.min() >= 0 else _HUGE
    if largest < _MORE:  # one byte each
        return values.astype(np.uint8).tobytes()
    if largest < _THREE_BYTES:
        return _pack_short(values)
    out = np.empty(values.size * _LONGEST + _WORD, np.uint8)
    end = 0
    for at in range(0, values.size, _BLOCK):
        end += _pack_block(values[at : at + _BLOCK], out[end:])
    return out[:end].tobytes()


def unpack(payload: memoryview) -> Words:
    """Decode a packed field.

    Args:
        payload: Any bytes.

    Returns:
        The numbers; negative numbers are in two's complement of 64 bits.

    Raises:
        BodyError: The payload ends inside a varint, or has one of more than 64 bits.
    """
    raw = np.zeros(len(payload) + _LONGEST, np.uint8)  # padded, because a word is read at the last byte, too
    raw[: len(payload)] = payload
    ends = np.flatnonzero(raw[: len(payload)] < _MORE) + 1
    starts = np.concatenate(([0], ends[:-1])) if ends.size else ends
    sizes = ends - starts
    if ends.size == len(payload):  # one byte each
        return raw[: ends.size].astype(_U)
    if len(payload) != ends[-1:].sum() or sizes.max(initial=0) > _LONGEST:
        raise _broken()
    return np.concatenate([_unpack_block(raw, starts[at : at + _BLOCK], sizes[at : at + _BLOCK])
                           for at in range(0, max(starts.size, 1), _BLOCK)])  # fmt: skip


def _pack_short(values: NDArray[Any]) -> bytes:
    """Encode numbers whose varints have one or two bytes, such as pixels: make pairs, and drop unused second bytes."""
    words = values.astype("<u2")
    high = words & np.uint16(0x3F80)
    is_long = high != 0
    words += high
    words |= is_long.astype(np.uint16) << np.uint16(7)
    kept = np.empty(2 * words.size, np.bool_)
    kept[::2], kept[1::2] = True, is_long
    return words.view(np.uint8).compress(kept).tobytes()


def _pack_block(values: NDArray[Any], out: NDArray[np.uint8]) -> int:
    """Write the word of each element at the start of its varint, in ascending order; return the number of bytes used.

    The word of a short varint also covers the next varints, which are written after it. A word ends before the ninth
    byte of each later varint, so the ninth and tenth bytes of long varints are not overwritten.
    """
    numbers = values.astype(np.int64).view(_U) if values.dtype.kind == "i" else values.astype(_U)
    sizes = _sizes(numbers)
    ends = np.cumsum(sizes, dtype=np.intp)
    starts = ends - sizes
    words = _spread(numbers)
    words |= _MORE_BITS.take(sizes)
    _words_at_every_byte(out)[starts] = words
    long = np.flatnonzero(sizes > _WORD)
    if long.size:
        tails = starts[long] + _WORD
        is_longest = sizes[long] == _LONGEST
        out[tails] = (numbers[long] >> _U(56)).astype(np.uint8) | is_longest * np.uint8(_MORE)
        out[tails[is_longest] + 1] = 1
    return int(ends[-1])


def _unpack_block(raw: NDArray[np.uint8], starts: NDArray[np.intp], sizes: NDArray[np.intp]) -> Words:
    numbers = _squeeze(_words_at_every_byte(raw)[starts].astype(_U) & _OWN_BITS.take(sizes))
    long = np.flatnonzero(sizes > _WORD)
    if long.size:
        ninth, tenth = raw[starts[long] + _WORD].astype(_U), raw[starts[long] + _WORD + 1].astype(_U)
        tenth[sizes[long] < _LONGEST] = 0
        if tenth.max() > 1:
            raise _broken()
        numbers[long] |= (ninth & _U(0x7F)) << _U(56) | tenth << _U(63)
    return numbers


def _sizes(numbers: Words) -> NDArray[np.uint8]:
    """Return the size of each varint in bytes; the exponent of a number as a double is the position of its top bit."""
    top = numbers >> _U(1)
    np.invert(top, out=top)
    top &= numbers  # clear the bit below the top bit, so that no number is rounded up to the next power of two
    exponents = top.astype(np.float64).view(_U)
    exponents >>= _U(52)
    return _SIZE_BY_EXPONENT.take(exponents.view(np.int64))


def _spread(numbers: Words) -> Words:
    words = numbers & _U((1 << 56) - 1)
    largest = words.max()
    for enough, stay, move, distance in _STEPS:
        if largest > enough:
            moved = words & move
            moved <<= distance
            words &= stay
            words |= moved
    return words


def _squeeze(words: Words) -> Words:
    for _, stay, move, distance in reversed(_STEPS):
        moved = words >> distance
        moved &= move
        words &= stay
        words |= moved
    return words


def _words_at_every_byte(memory: NDArray[np.uint8]) -> Words:
    """Return an overlapping view of the memory: the little-endian 64-bit word at each byte except the last seven."""
    return np.ndarray((memory.size - _WORD + 1,), "<u8", memory, 0, (1,))


def _broken() -> BodyError:
    return BodyError("not protobuf: a packed field ends inside a varint, or has one of more than 64 bits")
