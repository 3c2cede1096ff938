"""Encoding of elements to the payload of a packed field or to raw memory, and decoding to Python numbers.

Floats are not converted when a buffer already has the wire's layout; the buffer itself is returned. Integers and bools
are varints. They are encoded by numpy if the program has imported it, else by protobuf, and never in a Python loop over
elements. The caller adds tag and length of the field, except for strings.
"""

from __future__ import annotations

import math
import struct
import sys
from array import array
from typing import TYPE_CHECKING, Any

from eas_tw.body import carrier
from eas_tw.body.content import numeric, refuse_masked, seen_as, vectorised
from eas_tw.body.dtypes import BOOL, FLOATS, HALF, DType
from eas_tw.body.wire import head, varint
from eas_tw.display import shown
from eas_tw.errors import BodyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eas_tw.body.content import Flat

#: The least number that rounds to infinity in 16 bits (IEEE 754: the largest number, 65504, plus half a step).
_HALF_LIMIT = 65520.0


def pack(flat: Flat, dtype: DType, where: str) -> bytes | memoryview:
    """Encode numbers.

    Args:
        flat: The elements; not strings.
        dtype: The type to encode, which determines the allowed range. A float too large for DT_FLOAT becomes inf, as
            in protobuf.
        where: Name of the tensor for messages, such as `feed 'images'`.

    Returns:
        The payload. For floats that already have the wire's layout it is a view of the caller's memory, without a copy.

    Raises:
        BodyError: An element has the wrong type or is out of range; the message names the first such element.
    """
    if not isinstance(flat.values, list | tuple | memoryview):
        return numeric().pack(_numbers(flat.values, dtype, where), dtype, where)  # type: ignore[no-any-return]  # a module loaded at run time
    values = typed(flat.values, dtype, where)
    if dtype.code in FLOATS:
        return _wire_order(values)
    return _pack_varints(values, dtype, where)


def raw(flat: Flat, dtype: DType, where: str) -> bytes | memoryview:
    """Return the elements of any type as little-endian memory; arguments and errors are those of `pack`.

    Returns:
        The memory. For elements that already have that layout it is a view of the caller's memory.
    """
    if not isinstance(flat.values, list | tuple | memoryview):
        return numeric().raw(_numbers(flat.values, dtype, where), dtype, where)  # type: ignore[no-any-return]
    if dtype.code == HALF:
        return _halves(flat.as_list(), dtype, where)
    return _wire_order(typed(flat.values, dtype, where))


def from_raw(payload: memoryview, dtype: DType) -> list[Any]:
    """Decode little-endian memory to Python numbers; its size must be a multiple of the element size."""
    if dtype.code == HALF:
        return [half for (half,) in struct.iter_unpack("<e", payload)]
    return _from_wire_order(payload, dtype.code)


def pack_strings(values: Sequence[Any], field: int, where: str) -> bytes:
    """Encode strings as a repeated bytes field.

    Args:
        values: Elements of type bytes, or str, which is sent as UTF-8.
        field: The field's number, which is in the tag of each element.
        where: Name of the tensor for messages.

    Raises:
        BodyError: An element is neither bytes nor str, or is text that UTF-8 cannot encode.
    """
    tag = head(field, 0)[:-1]
    parts: list[bytes | bytearray] = []
    for index, value in enumerate(values):
        try:
            text = value.encode() if isinstance(value, str) else value
        except UnicodeEncodeError as error:
            raise BodyError(f"{where}: element {index} cannot be sent as UTF-8: {error}") from error
        if not isinstance(text, bytes | bytearray):
            raise BodyError(f"{where}: element {index} is {_describe(value)}; DT_STRING takes bytes or str")
        parts += (tag, varint(len(text)), text)
    return b"".join(parts)


def unpack(payload: memoryview, dtype: DType) -> list[Any]:
    """Decode numbers.

    Args:
        payload: A whole packed field.
        dtype: The type of the elements; not strings.

    Returns:
        Python floats, ints or bools.

    Raises:
        BodyError: The payload is not a packed field of this type.
    """
    if dtype.code in FLOATS:
        return _from_wire_order(payload, dtype.code)
    raw = payload.tobytes()
    if raw.isascii():  # every varint is one byte
        return list(map(bool, raw)) if dtype.code == BOOL else list(raw)
    ndarrays = None if carrier.is_compiled() else vectorised()
    if ndarrays and len(raw) >= carrier.worth_numpy():
        return ndarrays.unpack(payload, dtype).tolist()  # type: ignore[no-any-return]
    return list(carrier.unpack(raw, dtype))


def typed(values: Any, dtype: DType, where: str) -> memoryview:
    """Convert the elements to a buffer of the dtype; the constructor of `array` checks their range."""
    if isinstance(values, memoryview) and values.format == dtype.code:
        return values
    try:
        packed = memoryview(array(dtype.storage, values))
    except Exception:  # noqa: BLE001  an element's `__float__` or `__index__` may raise any exception
        refuse_masked(values, where)
    else:
        # A masked element of numpy becomes NaN. Checking all elements for a mask would take as long as packing them,
        # so they are checked only if there is a NaN.
        if dtype.code in FLOATS and isinstance(values, list | tuple) and "numpy.ma" in sys.modules and _has_nan(packed):
            refuse_masked(values, where)
        return packed
    try:
        plain = [value.item() if getattr(value, "ndim", 1) == 0 else value for value in values]  # numpy's scalars
        return memoryview(array(dtype.storage, plain))
    except Exception as error:
        raise _first_wrong(values, dtype, where) from error


def _numbers(values: Any, dtype: DType, where: str) -> Any:
    """Convert a numpy array of Python objects to an array of the dtype; return any other array unchanged."""
    if values.dtype.kind != "O":
        return values
    return numeric().of_buffer(typed(values.reshape(-1).tolist(), dtype, where), dtype)


def _has_nan(packed: memoryview) -> bool:
    ndarrays = vectorised()
    return ndarrays is not None and ndarrays.has_nan(packed)


def _first_wrong(values: Any, dtype: DType, where: str) -> BodyError:
    for index, element in enumerate(values):
        try:
            value = element.item() if getattr(element, "ndim", 1) == 0 else element
            array(dtype.storage, [value])
        except Exception:  # noqa: BLE001  an element's `__float__` or `__index__` may raise any exception
            text = f"element {index} is {_describe(element)}; {dtype.name} takes {dtype.range_text}"
            return BodyError(f"{where}: {text}")
    raise AssertionError("array refused the whole but none of its elements")


def _halves(values: Sequence[Any], dtype: DType, where: str) -> bytes:
    """Encode 16-bit floats, for which `array` has no type; a number that is too large becomes inf, as in DT_FLOAT."""
    doubles = typed(values, DType(dtype.number, dtype.name, "d"), where).tolist()
    try:
        return struct.pack(f"<{len(doubles)}e", *doubles)
    except OverflowError:
        limited = [value if abs(value) < _HALF_LIMIT else math.copysign(math.inf, value) for value in doubles]
        return struct.pack(f"<{len(doubles)}e", *limited)


def _describe(value: object) -> str:
    return f"{shown(value)} ({type(value).__name__})"


def _wire_order(values: memoryview) -> memoryview:
    if not values.nbytes:
        return memoryview(b"")
    if sys.byteorder == "big":
        swapped = array(values.format, values.tobytes())
        swapped.byteswap()
        values = memoryview(swapped)
    return values.cast("B")


def _from_wire_order(payload: memoryview, code: str) -> list[float]:
    if sys.byteorder == "little":
        return seen_as(payload, code).tolist()  # type: ignore[return-value]  # the code is that of a float
    values = array(code, payload.tobytes())
    values.byteswap()
    return values.tolist()  # type: ignore[return-value]


def _pack_varints(values: memoryview, dtype: DType, where: str) -> bytes:
    if dtype.itemsize == 1:
        raw = values.tobytes()
        if dtype.code == BOOL and raw.translate(None, b"\0\1"):
            index = next(index for index, value in enumerate(raw) if value > 1)
            raise BodyError(f"{where}: element {index} is {raw[index]}; {dtype.name} takes {dtype.range_text}")
        if raw.isascii():  # every varint is one byte, which is the element itself
            return raw
    ndarrays = vectorised()
    if ndarrays and len(values) >= carrier.worth_numpy():
        return ndarrays.pack_buffer(values)  # type: ignore[no-any-return]
    return carrier.pack(values, dtype)
