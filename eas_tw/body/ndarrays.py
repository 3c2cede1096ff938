"""The numpy part of `packing`: encodes arrays of any memory layout to payloads, and decodes payloads to arrays.

Only `content.numeric` and `content.vectorised` import this module, because it imports numpy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from eas_tw.body import carrier, varints
from eas_tw.body.dtypes import BOOL, FLOATS, TEXT
from eas_tw.errors import BodyError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from eas_tw.body.dtypes import DType

_CODES = {(np.dtype(code).kind, np.dtype(code).itemsize): code for code in "?bBhHiIqQefd"}


def as_array(content: Any, where: str) -> NDArray[Any]:
    """Convert content to an array, without a copy where possible.

    Raises:
        BodyError: The content has no regular shape, or its `__array__` raised.
    """
    try:
        values = np.asarray(content)
    except Exception as error:  # the content's `__array__` may raise any exception
        raise BodyError(f"{where}: content is no array: {error}") from error
    if values.dtype.kind in "fiubSUO":
        return values
    raise BodyError(f"{where}: an array of {values.dtype} has no place in an EAS body; convert it to numbers first")


def code_of(content: Any, where: str) -> str:
    """Return the element type of an array or numpy scalar, as in `DType.code`; empty for an array of objects."""
    dtype = as_array(content, where).dtype
    if dtype.kind in "SU":
        return TEXT
    return "" if dtype.kind == "O" else _CODES.get((dtype.kind, dtype.itemsize), str(dtype))


def of_objects(values: list[Any]) -> NDArray[Any]:
    """Return a one-dimensional array of Python objects."""
    array = np.empty(len(values), object)
    array[:] = values
    return array


def of_buffer(values: memoryview, dtype: DType) -> NDArray[Any]:
    """Return a buffer as an array without a copy; its elements must have the storage type of the dtype."""
    return np.frombuffer(values, dtype.storage)


def has_nan(values: memoryview) -> bool:
    """Return whether a typed buffer of floats contains NaN: the sum of the squares is NaN only if an element is NaN."""
    if not values.nbytes:
        return False
    flat = np.frombuffer(values, values.format)
    with np.errstate(over="ignore", invalid="ignore"):  # the sum of large numbers is infinity, not NaN
        return bool(np.isnan(np.dot(flat, flat)))


def raw(values: NDArray[Any], dtype: DType, where: str) -> bytes | memoryview:
    """Return the elements as little-endian memory in row-major order; see `packing.raw`."""
    if dtype.code not in FLOATS:
        _check_range(values, dtype, where)
    return _memory(values, dtype, where)


def pack_buffer(values: memoryview) -> bytes:
    """Encode a typed one-dimensional buffer of integers as varints."""
    return varints.pack(np.frombuffer(values, values.format))


def pack(values: NDArray[Any], dtype: DType, where: str) -> bytes | memoryview:
    """Encode an array's numbers in row-major order; see `packing.pack`."""
    if dtype.code in FLOATS:
        return _memory(values, dtype, where)
    _check_range(values, dtype, where)
    flat = np.ascontiguousarray(values).reshape(-1)
    if dtype.code == BOOL:
        return flat.astype(np.uint8).tobytes()
    if flat.size < carrier.worth_numpy():
        return carrier.pack(flat.astype(dtype.code).data, dtype)
    return varints.pack(flat)


def unpack(payload: memoryview, dtype: DType) -> NDArray[Any]:
    """Decode a packed field; floats are a read-only view of the payload.

    Raises:
        BodyError: The payload is not a packed field of this dtype, or a number is out of the dtype's range.
    """
    if dtype.code in FLOATS:
        return np.frombuffer(payload, f"<{dtype.code}")
    whole = dtype.code if dtype.code in {BOOL, "q"} else "i"  # protobuf keeps the low 32 bits of an int32
    raw = payload.tobytes()
    if raw.isascii():  # every varint is one byte
        return np.frombuffer(raw, np.uint8).astype(whole)
    if carrier.gives_arrays():
        return np.asarray(carrier.unpack(raw, dtype))
    if carrier.is_compiled() and len(raw) < carrier.worth_numpy():
        return np.array(list(carrier.unpack(raw, dtype)), whole)
    return varints.unpack(payload).astype(whole)


def from_raw(memory: memoryview, dtype: DType) -> NDArray[Any]:
    """Return little-endian bytes as a read-only array, without a copy."""
    return np.frombuffer(memory, f"<{dtype.code}") if memory else np.empty(0, f"<{dtype.code}")


def narrow(values: NDArray[Any], dtype: DType, where: str) -> NDArray[Any]:
    """Convert the numbers of `int_val` to the dtype's size.

    Raises:
        BodyError: A number is out of the dtype's range.
    """
    if values.dtype == np.dtype(dtype.code):
        return values
    _check_range(values, dtype, where)
    return values.astype(dtype.code)


def _memory(values: NDArray[Any], dtype: DType, where: str) -> bytes | memoryview:
    if values.dtype.kind not in "fiub":
        raise BodyError(f"{where}: an array of {values.dtype} cannot be {dtype.name}; it takes {dtype.range_text}")
    with np.errstate(over="ignore"):  # a number too large for 32 bits becomes inf, as in protobuf
        packed = np.ascontiguousarray(values, f"<{dtype.code}")
    return packed.reshape(-1).view(np.uint8).data if packed.size else b""


def _check_range(values: NDArray[Any], dtype: DType, where: str) -> None:
    if values.dtype.kind not in "iub":
        raise BodyError(f"{where}: an array of {values.dtype} cannot be {dtype.name}; it takes {dtype.range_text}")
    if np.can_cast(values.dtype, dtype.code) or not values.size:
        return
    low, high = (0, 1) if dtype.code == BOOL else (np.iinfo(dtype.code).min, np.iinfo(dtype.code).max)
    flat = values.reshape(-1)
    if int(flat.min()) < low or int(flat.max()) > high:
        index = int(np.argmax((flat < low) | (flat > high)))
        raise BodyError(f"{where}: element {index} is {flat[index]}; {dtype.name} takes {dtype.range_text}")
