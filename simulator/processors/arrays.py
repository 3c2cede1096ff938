"""What processors of tensors share: messages by name, decoded by protobuf itself, and tensors whose parts must fit."""

from __future__ import annotations

from math import prod
from typing import Any

from eas_tw.body import schema

FLOAT, INT64 = 1, 9
#: Which field has the elements of a `DT_…`.
FIELDS = {
    1: "float_val",
    2: "double_val",
    7: "string_val",
    9: "int64_val",
    10: "bool_val",
    **dict.fromkeys((3, 4, 5, 6, 11, 12, 13, 15, 16, 17), "int_val"),
}


def decode(name: str, body: bytes) -> Any:
    """A request.

    Raises:
        ValueError: The body is no such message.
    """
    try:
        return schema.parse(f"eas_tw.{name}", body)
    except ValueError as error:
        raise ValueError(f"the body is not a {name}: {error}") from error


def make(name: str) -> Any:
    """An empty response."""
    return schema.message(f"eas_tw.{name}")()


def elements(array: Any, where: str) -> list[Any]:
    """The elements of an `ArrayProto`, which must be as many as its shape says, in the field its dtype says.

    Raises:
        ValueError: They are not.
    """
    field = FIELDS.get(array.dtype, "")
    if not hasattr(array, field):
        raise ValueError(f"{where}: no model takes elements of dtype {array.dtype}")
    values = list(getattr(array, field))
    check(list(array.array_shape.dim), len(values), where)
    return values


def check(shape: list[int], count: int, where: str) -> None:
    """See that elements fill a shape.

    Raises:
        ValueError: They do not.
    """
    if count != prod(shape) or any(dim < 0 for dim in shape):
        raise ValueError(f"{where}: shape {shape} and {count} elements do not fit")
