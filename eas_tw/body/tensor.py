"""Encoding and decoding of one tensor of a body, without a copy of its elements where possible.

The message has dtype, shape, and one field with the elements; `layout` has the field numbers of each body. The
enclosing messages (maps of inputs, lists of outputs) are in each body's module.
"""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, Any

import attrs

from eas_tw.body.content import Flat, code_told, flatten, numeric
from eas_tw.body.dtypes import FLOATS, TEXT
from eas_tw.body.packing import pack, pack_strings, unpack
from eas_tw.body.wire import DELIMITED, VARINT, delimited, head, int32, read_varint, scan, varint
from eas_tw.display import shown
from eas_tw.errors import BodyError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from eas_tw.body.dtypes import DType
    from eas_tw.body.layout import Layout

MAX_DIMS = 64
"""Maximum number of dimensions, that of numpy's arrays."""
_VARINT_BYTES = 10
"""Maximum length of a varint."""
_DIM = 1
_KEY, _VALUE = 1, 2  # of a map's entry


@attrs.frozen
class Encoded:
    """An encoded message in two parts: everything up to the elements of its tensor, and the elements.

    Attributes:
        head: The fields before the elements, and the tag and length of the elements' field.
        payload: The elements; for floats it may be a view of the caller's memory.
    """

    head: bytes
    payload: bytes | memoryview

    def __reduce__(self) -> tuple[type[Encoded], tuple[bytes, bytes]]:
        # A view of an array cannot be pickled; the copy has the array's current values.
        return Encoded, (self.head, bytes(self.payload))

    def within(self, field: int, before: bytes = b"") -> Encoded:
        """Return this message as a field of an enclosing message, in which `before` are the preceding fields."""
        size = len(before) + len(self.head) + len(self.payload)
        return Encoded(head(field, size) + before + self.head, self.payload)

    def keyed(self, field: int, key: bytes) -> Encoded:
        """Return this message as the entry of a map, which protobuf encodes as a message of a key and a value."""
        return self.within(_VALUE).within(field, delimited(_KEY, key))


def joined(*parts: bytes, tensors: Iterable[Encoded], after: Iterable[bytes] = ()) -> bytes:
    """Join parts, tensors and the fields `after` them to a whole body; every tensor is copied once."""
    chunks: list[bytes | memoryview] = [*parts]
    for tensor in tensors:
        chunks += (tensor.head, tensor.payload)
    return b"".join([*chunks, *after])


def encode(layout: Layout, shape: Sequence[int] | None, number: int | None, content: Any, where: str) -> Encoded:
    """Check a tensor and encode it.

    Args:
        layout: The layout of the message.
        shape: The dimensions, `[]` for a scalar; `None` for the content's own shape.
        number: The dtype, one of the `DT_…` constants; `None` for the content's own type.
        content: The elements in row-major order; see `content.flatten`.
        where: Name of the tensor for messages, such as `feed 'images'`.

    Raises:
        BodyError: Shape, dtype and content do not fit each other; the message names the element, and what is allowed.
    """
    dtype = dtype_for(layout, number, content, where)
    dims, flat = measure(dtype, shape, content, where)
    packed_dims = b"".join(map(varint, dims))
    start = b"" if layout.dtype_field is None else varint(layout.dtype_field << 3) + int32(dtype.number)
    start += delimited(layout.shape_field, delimited(_DIM, packed_dims) if dims else b"")
    field = layout.field_of(dtype)
    if dtype.code == TEXT:
        return Encoded(start, pack_strings(flat.as_list(), field, where))
    payload = pack(flat, dtype, where)
    return Encoded(start + head(field, len(payload)) if payload else start, payload)


def dtype_for(layout: Layout, number: int | None, content: Any, where: str) -> DType:
    """Return the dtype with a number; if the number is `None`, the dtype of the content.

    Raises:
        BodyError: There is no such dtype, the content has no element type, or this body has no dtype for its elements.
    """
    return layout.dtype_told(code_told(content, where), where) if number is None else layout.dtype_of(number, where)


def measure(dtype: DType, shape: Sequence[int] | None, content: Any, where: str) -> tuple[tuple[int, ...], Flat]:
    """Return the dimensions of a tensor, and its elements as a flat sequence.

    Raises:
        BodyError: Shape and content do not fit each other, or one of them is invalid.
    """
    given = None if shape is None else _dims(shape, where)
    flat = flatten(content, dtype, given, where)
    dims = flat.shape if given is None else given
    if math.prod(dims) != math.prod(flat.shape):
        raise BodyError(
            f"{where}: shape {shown(list(dims))} holds {shown(math.prod(dims))} elements, "
            f"the content has {math.prod(flat.shape)}; correct one, or pass None to take the content's shape"
        )
    return dims, flat


def _dims(shape: Sequence[int], where: str) -> tuple[int, ...]:
    try:
        dims = tuple(map(operator.index, shape))
    except TypeError as error:
        raise BodyError(f"{where}: shape must be a list of integers such as [1, 784], got {shown(shape)}") from error
    if any(not 0 <= dim < 1 << 63 for dim in dims):
        raise BodyError(f"{where}: a dimension must be ≥ 0, got shape {shown(list(dims))}")
    return dims


class ResponseTensor:
    """A tensor of a response, which is located and checked for truncation first, and decoded on demand.

    Args:
        layout: The layout of the message.
    """

    __slots__ = ("_chunks", "_dims", "_layout", "number")

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self.number = 0
        self._dims: list[memoryview] = []
        self._chunks: dict[int, list[memoryview]] = {}

    def merge(self, data: bytes, at: int, end: int) -> None:
        """Read one message; a second message is merged with the first, as in protobuf.

        Args:
            data: The whole body.
            at: The index where the message starts.
            end: The index where the message ends.

        Raises:
            BodyError: The bytes are not such a message.
        """
        view = memoryview(data)
        layout = self._layout
        for field, wire, start, stop in scan(data, at, end):
            if field in layout.elements and wire in {DELIMITED, layout.elements[field]}:
                if wire == DELIMITED:
                    _check_packed(layout, data, field, start, stop)
                self._chunks.setdefault(field, []).append(view[start:stop])
            elif field == layout.dtype_field and wire == VARINT:
                self.number = read_varint(data, start, stop)[0] & 0xFFFFFFFF  # an enum is an int32
            elif field == layout.shape_field and wire == DELIMITED:
                self._merge_shape(data, start, stop)

    def _merge_shape(self, data: bytes, at: int, end: int) -> None:
        for field, wire, start, stop in scan(data, at, end):
            if field == _DIM and wire in {DELIMITED, VARINT}:
                check_varints(data, start, stop)
                self._dims.append(memoryview(data)[start:stop])

    @property
    def shape(self) -> list[int]:
        """The dimensions in the response.

        Raises:
            BodyError: The dimensions are not packed integers.
        """
        return read_dims(_joined(self._dims))

    def values(self, where: str, number: int | None = None) -> list[Any]:
        """Return the elements in row-major order, as Python floats, ints, bools or bytes.

        Args:
            where: Name of the tensor for messages, such as `output 'scores'`.
            number: The dtype to read, for a layout without a dtype field; `None` if the message has elements of one
                dtype only.

        Raises:
            BodyError: The dtype is unknown or ambiguous, or the payload is invalid.
        """
        dtype = self._dtype(where, number)
        chunks = self._chunks.get(self._layout.field_of(dtype), [])
        if dtype.code == TEXT:
            return list(map(bytes, chunks))
        return unpack(_joined(chunks), dtype)

    def as_numpy(self, where: str) -> Any:
        """Return the elements as an array; floats are a read-only view of the response, strings are objects.

        Args:
            where: Name of the tensor for messages.

        Raises:
            BodyError: As for `values`; or the elements do not fit the shape; or numpy is not installed.
        """
        ndarrays = numeric()
        dtype = self._dtype(where, None)
        if dtype.code == TEXT:
            flat = ndarrays.of_objects(self.values(where))
        else:
            flat = ndarrays.unpack(_joined(self._chunks.get(self._layout.field_of(dtype), [])), dtype)
            flat = flat if dtype.code in FLOATS else ndarrays.narrow(flat, dtype, where)
        return reshaped(flat, fitting(self.shape, flat.size, where), where)

    def _dtype(self, where: str, number: int | None) -> DType:
        layout = self._layout
        if layout.dtype_field is not None:
            return layout.dtype_of(self.number, where)
        if number is not None:
            return layout.dtype_of(number, where)
        found = [dtype for dtype in layout.dtypes.values() if layout.field_of(dtype) in self._chunks]
        if len(found) > 1:
            names = " and ".join(dtype.name for dtype in found)
            raise BodyError(f"{where}: it has elements of {names}; say which in get_values")
        return found[0] if found else next(iter(layout.dtypes.values()))


def read_dims(payload: memoryview) -> list[int]:
    """Decode the packed field of the dimensions.

    Raises:
        BodyError: The payload is not a packed field of integers, or has more than 64 dimensions. Without this limit,
            the product of 100,000 dimensions in a hostile response would take a minute.
    """
    if len(payload) > MAX_DIMS * _VARINT_BYTES:
        raise BodyError(f"a tensor has at most {MAX_DIMS} dimensions, this one has {len(payload)} bytes of them")
    data, at, dims = bytes(payload), 0, []
    while at < len(data):
        dim, at = read_varint(data, at, len(data))
        dims.append(dim if dim < 1 << 63 else dim - (1 << 64))
    return dims


def reshaped(array: Any, shape: list[int], where: str) -> Any:
    """Return an array with another shape of the same number of elements.

    Raises:
        BodyError: numpy has no such arrays: there are too many dimensions, or they are too large for an empty array.
    """
    try:
        return array.reshape(shape)
    except ValueError as error:
        raise BodyError(f"{where}: numpy has no array of the shape {shape}: {error}") from error


def fitting(shape: list[int], count: int, where: str) -> list[int]:
    """Return the shape of an array of `count` elements: `shape`, or one dimension if the response has no shape.

    Raises:
        BodyError: The number of elements does not fit the shape.
    """
    if math.prod(shape) == count and all(dim >= 0 for dim in shape):
        return shape
    if not shape:
        return [count]
    raise BodyError(f"{where}: shape {shape} and {count} elements do not fit; get_values has the elements")


def _joined(chunks: list[memoryview]) -> memoryview:
    """Join the chunks of a repeated field to one packed field; a single chunk, the usual case, is not copied."""
    return chunks[0] if len(chunks) == 1 else memoryview(b"".join(chunks))


def _check_packed(layout: Layout, data: bytes, field: int, start: int, stop: int) -> None:
    """Check by its size or its last byte that a payload is not truncated, without a loop over the elements."""
    width = layout.widths.get(field)
    if width and (stop - start) % width:
        raise BodyError(f"not protobuf: {stop - start} bytes of {8 * width}-bit floats at byte {start}")
    if layout.elements[field] == VARINT:
        check_varints(data, start, stop)


def check_varints(data: bytes, start: int, stop: int) -> None:
    """Check that a packed field, or one varint, does not end inside a varint.

    Raises:
        BodyError: The field ends inside a varint.
    """
    if stop > start and data[stop - 1] >= 0x80:  # noqa: PLR2004 - the continuation bit
        raise BodyError(f"not protobuf: a packed field ends inside a varint at byte {stop}")
