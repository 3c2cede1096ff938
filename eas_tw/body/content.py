"""Conversion of a tensor's content, in any accepted form, to a flat sequence.

Lists, nested lists, iterables, scalars, buffers of any layout and byte order, and objects with `__array__` become a
`Flat`: elements in row-major order, and their shape. Elements are not converted here (see `packing`), and numpy is
imported only for objects with `__array__`, and for buffers whose format `array` does not have.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any

import attrs

from eas_tw.body.dtypes import BOOL, HALF, TEXT
from eas_tw.errors import BodyError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    from eas_tw.body.dtypes import DType

_ROWS = (list, tuple, range, array)
_NATIVE = {  # (kind, bytes) -> the native code that memoryview.cast and array accept
    **{("i", size): code for size, code in ((1, "b"), (2, "h"), (4, "i"), (8, "q"))},
    **{("u", size): code for size, code in ((1, "B"), (2, "H"), (4, "I"), (8, "Q"))},
    **{("f", size): code for size, code in ((4, "f"), (8, "d"))},
}
_KINDS = {**dict.fromkeys("bhilqn", "i"), **dict.fromkeys("BHILQN?c", "u"), **dict.fromkeys("fd", "f")}
_SWAPPED = ">!" if sys.byteorder == "little" else "<"


@attrs.frozen
class Flat:
    """Elements in row-major order.

    Attributes:
        values: A flat list, a one-dimensional memoryview of a native format, or a numpy array of any shape.
        shape: The shape of the content.
    """

    values: Any
    shape: tuple[int, ...]

    def as_list(self) -> Sequence[Any]:
        """Return the elements as Python objects; a list is returned without a copy."""
        if isinstance(self.values, list | tuple):
            return self.values
        flat = self.values if isinstance(self.values, memoryview) else self.values.reshape(-1)
        return flat.tolist()


def vectorised() -> ModuleType | None:
    """Return the module `ndarrays` if the program has imported numpy, else `None`; importing numpy takes 0.1 s."""
    return numeric() if sys.modules.get("numpy") is not None else None


def numeric() -> ModuleType:
    """Return the module `ndarrays`, which imports numpy.

    Raises:
        BodyError: numpy is not installed, or is blocked in `sys.modules`.
    """
    try:
        from eas_tw.body import ndarrays  # noqa: PLC0415 - numpy is optional and slow to import
    except ImportError as error:
        raise BodyError("this needs numpy; install it with: pip install 'eas-tw[numpy]'") from error
    if sys.modules.get("numpy") is None:
        raise BodyError("this needs numpy, which this program has blocked in sys.modules")
    return ndarrays


def refuse_masked(content: Any, where: str) -> None:
    """Check that content has no masked elements: their memory still contains the values from before the masking.

    Args:
        content: Any object; it is checked only if the program has imported `numpy.ma`.
        where: Name of the tensor, for the message.

    Raises:
        BodyError: The content has masked elements.
    """
    masked = sys.modules.get("numpy.ma")
    if masked is None:
        return
    parts = content if isinstance(content, list | tuple) else (content,)
    if not any(issubclass(kind, masked.MaskedArray) for kind in set(map(type, parts))):
        return
    count = sum(int(masked.getmaskarray(part).sum()) for part in parts if isinstance(part, masked.MaskedArray))
    if count:
        raise BodyError(f"{where}: the content has {count} masked elements; fill them first, as with its filled()")


def memory_of(content: Any) -> bytes:
    """Copy a buffer's memory in row-major order, for a body that is sent unchanged.

    Args:
        content: Any buffer.

    Raises:
        TypeError: The content is not a buffer, or is a buffer of Python objects, whose memory consists of addresses.
        ValueError: The memory cannot be read.
    """
    view = memoryview(content)
    if view.format[-1:] == "O" or getattr(getattr(content, "dtype", None), "hasobject", False):
        raise TypeError("its elements are Python objects")
    return view.tobytes()


def seen_as(memory: memoryview, code: str) -> memoryview:
    """Cast memory to elements of another native format, without a copy."""
    return memory.cast("B").cast(code)  # type: ignore[call-overload,no-any-return]  # a code is checked at run time


def code_told(content: Any, where: str) -> str:
    """Return the element type of content, as a `DType.code`.

    Returns:
        1. The code, if the content has an element type: an array, a typed buffer, bools or text.
        2. An empty string, if it has none: Python's ints and floats, and plain bytes.

    Raises:
        BodyError: The content is an array of a type that no body can carry.
    """
    while isinstance(content, list | tuple) and content:
        content = content[0]
    if isinstance(content, bool):
        return BOOL
    if isinstance(content, str | bytes | bytearray):
        return TEXT if isinstance(content, str) else ""
    if hasattr(content, "__array__"):
        return numeric().code_of(content, where)  # type: ignore[no-any-return]
    try:
        view = memoryview(content)
    except (TypeError, ValueError, BufferError):
        return ""
    code = view.format[-1:]
    return code if code in {BOOL, HALF} else _NATIVE.get((_KINDS.get(code, ""), view.itemsize), "")


def flatten(content: Any, dtype: DType, shape: tuple[int, ...] | None, where: str) -> Flat:
    """Convert content to a flat sequence.

    Bytes without an element type (`bytes`, `bytearray`, a memoryview of format `B`) are the tensor's raw little-endian
    memory if their size fits `shape`. Otherwise each byte is one element from 0 to 255.

    Args:
        content: See the module's docstring.
        dtype: The type to which the elements will be packed.
        shape: The shape from the caller; `None` for the shape of the content.
        where: Name of the tensor for messages, such as `feed 'images'`.

    Raises:
        BodyError: The rows have different lengths, or the content has no order, such as a set, or is not a tensor.
    """
    if isinstance(content, list | tuple):
        return _flatten_rows(content, where)
    if dtype.code == TEXT and isinstance(content, str | bytes | bytearray | memoryview):
        return Flat([content if isinstance(content, str) else bytes(content)], ())
    if hasattr(content, "__array__"):
        return _from_numpy(content, where)
    try:
        view = memoryview(content)
    except (TypeError, ValueError, BufferError):
        return _flatten_object(content, where)
    return _flatten_view(view, dtype, shape, where)


def _flatten_rows(content: list[Any] | tuple[Any, ...], where: str) -> Flat:
    """Flatten nested lists, one level at a time. The loop over elements is a comprehension, which is fast enough."""
    level: list[Any] | tuple[Any, ...] = content
    shape = [len(level)]
    while level:
        first = level[0]
        if getattr(first, "ndim", 0) and hasattr(first, "__array__"):
            rows = _from_numpy(level, where)
            return Flat(rows.values, (*shape[:-1], *rows.shape))
        if not isinstance(first, _ROWS):
            break
        shape.append(_common_length(level, len(shape), where))
        level = [element for row in level for element in row]
    return Flat(level, tuple(shape))


def _common_length(rows: list[Any] | tuple[Any, ...], depth: int, where: str) -> int:
    if not all(issubclass(kind, _ROWS) for kind in set(map(type, rows))):
        raise BodyError(f"{where}: rows and single elements are mixed at depth {depth}; nest the content evenly")
    lengths = sorted(set(map(len, rows)))
    if len(lengths) > 1:
        raise BodyError(
            f"{where}: rows of different lengths at depth {depth} ({lengths[0]} and {lengths[-1]}); "
            "pad them to one length"
        )
    return lengths[0]


def _flatten_object(content: Any, where: str) -> Flat:
    if isinstance(content, int | float) or hasattr(content, "__index__") or hasattr(content, "__float__"):
        return Flat([content], ())
    if isinstance(content, Iterable) and not isinstance(content, Mapping | AbstractSet | str):
        return _flatten_rows(list(content), where)
    raise BodyError(
        f"{where}: content must be a list, nested lists, an array or a buffer, got {type(content).__name__}"
    )


def _flatten_view(view: memoryview, dtype: DType, shape: tuple[int, ...] | None, where: str) -> Flat:
    if view.format in {"B", "c"} and dtype.itemsize > 1:
        if shape is None:
            raise BodyError(
                f"{where}: {view.nbytes} bytes for {dtype.name} are either raw memory or one element each; "
                "give the shape"
            )
        if view.nbytes == math.prod(shape) * dtype.itemsize:
            raw = _little_endian(view, dtype.code)
            return Flat(raw, shape)
    if vectorised() and view.format != dtype.code:
        return _from_numpy(view, where)
    return _from_native(view, where)


def _from_native(view: memoryview, where: str) -> Flat:
    """Convert a buffer without numpy: view its memory as one dimension of a native format."""
    shape = tuple(view.shape or ())
    order, code = view.format[:-1], view.format[-1:]
    native = _NATIVE.get((_KINDS.get(code, ""), view.itemsize))
    if native is None or len(order) > 1:
        return _from_numpy(view, where)
    if order in {"", "@"} and view.c_contiguous and view.nbytes:
        return Flat(seen_as(view, native), shape)
    values = array(native, view.tobytes())
    if order and order in _SWAPPED:
        values.byteswap()
    return Flat(memoryview(values), shape)


def _little_endian(view: memoryview, code: str) -> memoryview:
    """View little-endian memory as elements in native byte order; copy it on big-endian machines, or if it has gaps."""
    if sys.byteorder == "little" and view.c_contiguous and view.nbytes:
        return seen_as(view, code)
    values = array(code, view.tobytes())
    if sys.byteorder == "big":
        values.byteswap()
    return memoryview(values)


def _from_numpy(content: Any, where: str) -> Flat:
    refuse_masked(content, where)
    values = numeric().as_array(content, where)
    return Flat(values, values.shape)
