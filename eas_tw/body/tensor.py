"""One tensor of a body: `ArrayProto`, written in one piece behind its head, and read without copying its payload.

The message is the same, number for number, in the TensorFlow, PyTorch and recommendation bodies (WIRE.md §4): dtype,
shape, and one field with the elements. What surrounds it (maps of inputs, lists of outputs) is each body's own matter.
"""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, Any

import attrs

from eas_tw.body.content import flatten, numeric
from eas_tw.body.dtypes import DTYPES, FLOATS, TEXT, dtype_of
from eas_tw.body.packing import pack, pack_strings, unpack
from eas_tw.body.wire import DELIMITED, FIXED32, FIXED64, VARINT, delimited, head, read_varint, scan, varint
from eas_tw.errors import BodyError

if TYPE_CHECKING:
    from collections.abc import Sequence

_DTYPE, _SHAPE, _DIM = 1, 2, 1
_FIELDS = {"float_val": 3, "double_val": 4, "int_val": 5, "string_val": 6, "int64_val": 7, "bool_val": 8}
#: Field number -> the wire type of one element outside a packed field.
_ELEMENTS = {3: FIXED32, 4: FIXED64, 5: VARINT, 6: DELIMITED, 7: VARINT, 8: VARINT}
_WIDTHS = {3: 4, 4: 8}


@attrs.frozen
class Encoded:
    """An `ArrayProto` ready to be joined: everything up to the elements, then the elements.

    Attributes:
        head: dtype, shape, and the tag and length of the elements' field.
        payload: The elements; for floats perhaps a view of the caller's own memory.
    """

    head: bytes
    payload: bytes | memoryview

    @property
    def size(self) -> int:
        """Bytes on the wire."""
        return len(self.head) + len(self.payload)


def encode(shape: Sequence[int] | None, number: int, content: Any, where: str) -> Encoded:
    """Check a tensor and encode it.

    Args:
        shape: Its dimensions, `[]` for a scalar, None to take the content's own.
        number: Its dtype, one of the DT_ constants.
        content: Its elements in row-major order; see `content.flatten`.
        where: For messages, such as `feed 'images'`.

    Raises:
        BodyError: Shape, dtype and content do not fit; the text says which element and what it may be.
    """
    dtype = dtype_of(number, where)
    given = None if shape is None else _dims(shape, where)
    flat = flatten(content, dtype, given, where)
    dims = flat.shape if given is None else given
    if math.prod(dims) != math.prod(flat.shape):
        raise BodyError(
            f"{where}: shape {list(dims)} holds {math.prod(dims)} elements, the content has {math.prod(flat.shape)}; "
            "correct one, or pass None to take the content's shape"
        )
    packed_dims = b"".join(map(varint, dims))
    start = varint(_DTYPE << 3) + varint(number) + delimited(_SHAPE, delimited(_DIM, packed_dims) if dims else b"")
    field = _FIELDS[dtype.field]
    if dtype.code == TEXT:
        return Encoded(start, pack_strings(flat.as_list(), field, where))
    payload = pack(flat, dtype, where)
    return Encoded(start + head(field, len(payload)) if payload else start, payload)


def _dims(shape: Sequence[int], where: str) -> tuple[int, ...]:
    try:
        dims = tuple(map(operator.index, shape))
    except TypeError as error:
        raise BodyError(f"{where}: shape must be a list of integers such as [1, 784], got {shape!r}") from error
    if any(not 0 <= dim < 1 << 63 for dim in dims):
        raise BodyError(f"{where}: a dimension must be ≥ 0, got shape {list(dims)}")
    return dims


class Tensor:
    """A tensor read from a response: its payload is found and checked for size, and decoded when asked for."""

    __slots__ = ("_chunks", "_dims", "number")

    def __init__(self) -> None:
        self.number = 0
        self._dims: list[memoryview] = []
        self._chunks: dict[int, list[memoryview]] = {}

    def merge(self, data: bytes, at: int, end: int) -> None:
        """Read one `ArrayProto`; a second one adds to the first, as protobuf merges messages.

        Args:
            data: The whole body.
            at: Where the message starts.
            end: Where it ends.

        Raises:
            BodyError: It is not such a message.
        """
        view = memoryview(data)
        for field, wire, start, stop in scan(data, at, end):
            if field in _ELEMENTS and wire in {DELIMITED, _ELEMENTS[field]}:
                if wire == DELIMITED:
                    _check_packed(data, field, start, stop)
                self._chunks.setdefault(field, []).append(view[start:stop])
            elif field == _DTYPE and wire == VARINT:
                self.number = read_varint(data, start, stop)[0] & 0xFFFFFFFF  # an enum is an int32
            elif field == _SHAPE and wire == DELIMITED:
                self._merge_shape(data, start, stop)

    def _merge_shape(self, data: bytes, at: int, end: int) -> None:
        for field, wire, start, stop in scan(data, at, end):
            if field == _DIM and wire in {DELIMITED, VARINT}:
                _check_varints(data, start, stop)
                self._dims.append(memoryview(data)[start:stop])

    @property
    def shape(self) -> list[int]:
        """Its dimensions as the response gives them.

        Raises:
            BodyError: They are not packed integers.
        """
        return unpack(_joined(self._dims), _INT64)

    def values(self, where: str) -> list[Any]:
        """Its elements in row-major order, as Python floats, ints, bools or bytes.

        Args:
            where: For messages, such as `output 'scores'`.

        Raises:
            BodyError: Its dtype is unknown, or its payload is broken.
        """
        dtype = dtype_of(self.number, where)
        chunks = self._chunks.get(_FIELDS[dtype.field], [])
        if dtype.code == TEXT:
            return list(map(bytes, chunks))
        return unpack(_joined(chunks), dtype)

    def as_numpy(self, where: str) -> Any:
        """Its elements as a shaped array; floats are a read-only view of the response, strings are objects.

        Args:
            where: For messages.

        Raises:
            BodyError: As for `values`; or the elements do not fill the shape; or numpy is not installed.
        """
        numpy_half = numeric()
        dtype = dtype_of(self.number, where)
        if dtype.code == TEXT:
            flat = numpy_half.of_objects(self.values(where))
        else:
            flat = numpy_half.unpack(_joined(self._chunks.get(_FIELDS[dtype.field], [])), dtype)
            flat = flat if dtype.code in FLOATS else numpy_half.narrow(flat, dtype, where)
        return flat.reshape(self._shape_for(flat.size, where))

    def _shape_for(self, count: int, where: str) -> list[int]:
        shape = self.shape
        if math.prod(shape) == count and all(dim >= 0 for dim in shape):
            return shape
        if not shape:  # a response without a shape: elements in a row
            return [count]
        raise BodyError(f"{where}: shape {shape} and {count} elements do not fit; get_values has the elements")


_INT64 = DTYPES[9]


def _joined(chunks: list[memoryview]) -> memoryview:
    """The one packed field that repeated or unpacked ones amount to; one chunk, the usual case, is not copied."""
    return chunks[0] if len(chunks) == 1 else memoryview(b"".join(chunks))


def _check_packed(data: bytes, field: int, start: int, stop: int) -> None:
    """A truncated or foreign payload is noticed while the response is parsed, at no cost per element."""
    if field in _WIDTHS and (stop - start) % _WIDTHS[field]:
        raise BodyError(f"not protobuf: {stop - start} bytes of {8 * _WIDTHS[field]}-bit floats at byte {start}")
    if _ELEMENTS[field] == VARINT:
        _check_varints(data, start, stop)


def _check_varints(data: bytes, start: int, stop: int) -> None:
    if stop > start and data[stop - 1] >= 0x80:  # noqa: PLR2004 - the continuation bit
        raise BodyError(f"not protobuf: a packed field ends inside a varint at byte {stop}")
