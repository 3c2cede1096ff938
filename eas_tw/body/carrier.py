"""Varints by protobuf itself: a message with one repeated field is written, or read, and its frame taken off.

For what protobuf does better than numpy: few elements, elements as Python objects, and in its latest versions arrays.
Its pure Python reader and writer do nothing better.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from eas_tw.body import schema
from eas_tw.body.wire import head
from eas_tw.errors import BodyError

if TYPE_CHECKING:
    from eas_tw.body.dtypes import DType

#: Any message with the repeated fields `int_val`, `int64_val` and `bool_val` can carry varints.
_CARRIER = "eas_tw.tf.ArrayProto"
#: From so many elements on numpy is faster than a compiled protobuf, and than the one in pure Python.
_WORTH_NUMPY, _WORTH_NUMPY_OVER_PYTHON = 512, 32


def pack(values: memoryview, dtype: DType) -> bytes:
    """The payload of a packed field.

    Args:
        values: Integers or bools in their range.
        dtype: What they are.
    """
    message = schema.message(_CARRIER)()
    getattr(message, dtype.field).extend(values)
    field: bytes = message.SerializeToString()
    size_at = end_of_size = 1 if field else 0  # the tag is one byte
    while field[size_at:] and field[end_of_size] & 0x80:
        end_of_size += 1
    return field[end_of_size + 1 :]


def unpack(payload: bytes, dtype: DType) -> Any:
    """The numbers of a packed field, as protobuf's own sequence of them.

    Raises:
        BodyError: The payload is not such a field.
    """
    message = schema.message(_CARRIER)
    number = message.DESCRIPTOR.fields_by_name[dtype.field].number
    try:
        return getattr(schema.parse(_CARRIER, head(number, len(payload)) + payload), dtype.field)
    except ValueError as error:
        raise BodyError(f"not protobuf: {dtype.field} is not a packed field") from error


@cache
def worth_numpy() -> int:
    """From how many elements on numpy is faster."""
    return _WORTH_NUMPY if is_compiled() else _WORTH_NUMPY_OVER_PYTHON


@cache
def is_compiled() -> bool:
    """Whether the installed protobuf is more than Python."""
    from google.protobuf.internal import api_implementation  # noqa: PLC0415 - with the first body that needs it

    return api_implementation.Type() != "python"


@cache
def gives_arrays() -> bool:
    """Whether its sequences become arrays without an object per element, as since version 7."""
    return hasattr(type(schema.message(_CARRIER)().int_val), "__array__")
