"""Encoding and decoding of varints by protobuf.

The varints are the payload of a message with one repeated field, whose tag and length are removed or added here. This
module is used where protobuf is faster than numpy: for few elements, for elements that are Python objects, and for
arrays in protobuf 7. Protobuf's pure Python implementation is faster only for very few elements.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from eas_tw.body import schema
from eas_tw.body.wire import head
from eas_tw.errors import BodyError

if TYPE_CHECKING:
    from eas_tw.body.dtypes import DType

#: A message with the repeated fields `int_val`, `int64_val` and `bool_val`, which can carry any varints.
_CARRIER = "eas_tw.tf.ArrayProto"
#: The numbers of elements from which numpy is faster than compiled protobuf, and than protobuf in pure Python.
_WORTH_NUMPY, _WORTH_NUMPY_OVER_PYTHON = 512, 32


def pack(values: memoryview, dtype: DType) -> bytes:
    """Encode the payload of a packed field.

    Args:
        values: Integers or bools within the range of `dtype`.
        dtype: The type of the elements.
    """
    message = schema.message(_CARRIER)()
    getattr(message, dtype.field).extend(values)
    field: bytes = message.SerializeToString()
    size_at = end_of_size = 1 if field else 0  # the tag is one byte
    while field[size_at:] and field[end_of_size] & 0x80:
        end_of_size += 1
    return field[end_of_size + 1 :]


def unpack(payload: bytes, dtype: DType) -> Any:
    """Decode the payload of a packed field to a sequence of protobuf's own type.

    Raises:
        BodyError: The payload is not a packed field of this type.
    """
    message = schema.message(_CARRIER)
    number = message.DESCRIPTOR.fields_by_name[dtype.field].number
    try:
        return getattr(schema.parse(_CARRIER, head(number, len(payload)) + payload), dtype.field)
    except ValueError as error:
        raise BodyError(f"not protobuf: {dtype.field} is not a packed field") from error


@cache
def worth_numpy() -> int:
    """Return the number of elements from which numpy is faster than the installed protobuf."""
    return _WORTH_NUMPY if is_compiled() else _WORTH_NUMPY_OVER_PYTHON


@cache
def is_compiled() -> bool:
    """Return whether the installed protobuf is a compiled implementation."""
    from google.protobuf.internal import api_implementation  # noqa: PLC0415 - loaded with the first body that needs it

    return api_implementation.Type() != "python"


@cache
def gives_arrays() -> bool:
    """Return whether protobuf's sequences have `__array__` (from protobuf 7 on), which needs no object per element."""
    return hasattr(type(schema.message(_CARRIER)().int_val), "__array__")
