"""The element types of tensors: their numbers in EAS, their ranges, and the message fields that contain the elements.

All types are in the table `DTYPES`, with the numbers of `ArrayDataType` (see `tf_predict.proto`). `layout` lists the
types of each body, and has the tables of the bodies that use other numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

FLOATS = "efd"
HALF = "e"
TEXT = "s"
BOOL = "?"


@attrs.frozen
class DType:
    """One element type.

    Attributes:
        number: The type's number on the wire.
        name: The type's name in the official SDK, such as `DT_FLOAT`.
        code: The type code of `array`, `struct` and numpy (`f` is a 32-bit float, `q` a 64-bit integer), `?` for bool,
            `s` for strings.
    """

    number: int
    name: str
    code: str

    @property
    def field(self) -> str:
        """Name of the message field with the elements; all integers of 32 bits or fewer are in `int_val`."""
        return _FIELDS.get(self.code, "int_val")

    @property
    def itemsize(self) -> int:
        """The size of an element in memory, in bytes; 0 for strings."""
        return _ITEMSIZES[self.code]

    @property
    def storage(self) -> str:
        """The type code of an `array.array` of the elements; bools are stored as bytes."""
        return "B" if self.code == BOOL else self.code

    @property
    def range_text(self) -> str:
        """The allowed values of an element, for an error message."""
        if self.code in FLOATS:
            return "numbers"
        if self.code in _RANGELESS:
            return _RANGELESS[self.code]
        bits = 8 * self.itemsize
        if self.code.isupper():
            return f"integers from 0 to {2**bits - 1}"
        return f"integers from {-(2 ** (bits - 1))} to {2 ** (bits - 1) - 1}"


_FIELDS = {"f": "float_val", "d": "double_val", "q": "int64_val", BOOL: "bool_val", TEXT: "string_val"}
_ITEMSIZES = {
    **dict.fromkeys(("b", "B", BOOL), 1),
    **dict.fromkeys("hHe", 2),
    **dict.fromkeys("iIf", 4),
    **dict.fromkeys("qQd", 8),
    TEXT: 0,
}
_RANGELESS = {BOOL: "bools, or 0 and 1", TEXT: "bytes or str"}

DTYPES: Mapping[int, DType] = {
    number: DType(number, name, code)
    for number, name, code in (
        (1, "DT_FLOAT", "f"),
        (2, "DT_DOUBLE", "d"),
        (3, "DT_INT32", "i"),
        (4, "DT_UINT8", "B"),
        (5, "DT_INT16", "h"),
        (6, "DT_INT8", "b"),
        (7, "DT_STRING", TEXT),
        (9, "DT_INT64", "q"),
        (10, "DT_BOOL", BOOL),
        (17, "DT_UINT16", "H"),
        # Quantised types come last, because `Layout.dtype_told` returns the first type with a code: DT_UINT8 for a
        # uint8 array.
        (11, "DT_QINT8", "b"),
        (12, "DT_QUINT8", "B"),
        (13, "DT_QINT32", "i"),
        (15, "DT_QINT16", "h"),
        (16, "DT_QUINT16", "H"),
    )
}

#: Types that have a number in `ArrayDataType`, but no field in `ArrayProto`.
UNCARRIED: Mapping[int, str] = {
    0: "DT_INVALID",
    8: "DT_COMPLEX64",
    14: "DT_BFLOAT16",
    18: "DT_COMPLEX128",
    19: "DT_HALF",
    20: "DT_RESOURCE",
    21: "DT_VARIANT",
}


class ArrayDataTypes:
    """The `DT_…` constants of the request classes that use `ArrayDataType`."""

    DT_FLOAT = 1
    DT_DOUBLE = 2
    DT_INT32 = 3
    DT_UINT8 = 4
    DT_INT16 = 5
    DT_INT8 = 6
    DT_STRING = 7
    DT_COMPLEX64 = 8
    DT_INT64 = 9
    DT_BOOL = 10
    DT_QINT8 = 11
    DT_QUINT8 = 12
    DT_QINT32 = 13
    DT_BFLOAT16 = 14
    DT_QINT16 = 15
    DT_QUINT16 = 16
    DT_UINT16 = 17
    DT_COMPLEX128 = 18
    DT_HALF = 19
    DT_RESOURCE = 20
    DT_VARIANT = 21
