"""Functions that the tensor processors share: parsing of messages with protobuf, and validation of tensors."""

from __future__ import annotations

from math import prod
from typing import Any

from eas_tw.body import schema

FLOAT, INT64 = 1, 9
#: Name of the field with the elements, by the number of the `DT_…`.
FIELDS = {
    1: "float_val",
    2: "double_val",
    7: "string_val",
    9: "int64_val",
    10: "bool_val",
    **dict.fromkeys((3, 4, 5, 6, 11, 12, 13, 15, 16, 17), "int_val"),
}


def decode(name: str, body: bytes) -> Any:
    """Parse a request, which is a message of the type `name`.

    Raises:
        ValueError: The body is not a message of this type.
    """
    try:
        return schema.parse(f"eas_tw.{name}", body)
    except ValueError as error:
        raise ValueError(f"the body is not a {name}: {error}") from error


def make(name: str) -> Any:
    """Return an empty response, which is a message of the type `name`."""
    return schema.message(f"eas_tw.{name}")()


def elements(array: Any, where: str) -> list[Any]:
    """Return the elements of an `ArrayProto`.

    Raises:
        ValueError: The number of elements differs from the shape's, or the dtype is not supported.
    """
    field = FIELDS.get(array.dtype, "")
    if not hasattr(array, field):
        raise ValueError(f"{where}: elements of dtype {array.dtype} are not supported")
    values = list(getattr(array, field))
    check(list(array.array_shape.dim), len(values), where)
    return values


def check(shape: list[int], count: int, where: str) -> None:
    """Check that the number of elements fits a shape.

    Raises:
        ValueError: The number differs, or a dimension is negative.
    """
    if count != prod(shape) or any(dim < 0 for dim in shape):
        raise ValueError(f"{where}: shape {shape} and {count} elements do not fit")
