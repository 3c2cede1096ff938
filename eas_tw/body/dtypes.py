"""The element types of a tensor: EAS's numbers for them, what each may hold, and which field carries it.

One table, `DTYPES`. The numbers are those of `ArrayDataType` (WIRE.md §4), shared by every body that has tensors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from eas_tw.errors import BodyError

if TYPE_CHECKING:
    from collections.abc import Mapping

FLOATS = "fd"
TEXT = "s"
BOOL = "?"


@attrs.frozen
class DType:
    """One element type.

    Attributes:
        number: Its number on the wire.
        name: Its name in the official SDK, such as `DT_FLOAT`.
        code: Its elements as `array` and numpy spell them (`f` is a 32-bit float, `q` a 64-bit integer), `?` for bool,
            `s` for strings.
    """

    number: int
    name: str
    code: str

    @property
    def field(self) -> str:
        """The field of `ArrayProto` that carries it; every integer of 32 bits or fewer shares `int_val`."""
        return _FIELDS.get(self.code, "int_val")

    @property
    def itemsize(self) -> int:
        """Bytes per element in memory; 0 for strings."""
        return _ITEMSIZES[self.code]

    @property
    def storage(self) -> str:
        """The typecode of an `array.array` that holds its elements; bools are kept as bytes."""
        return "B" if self.code == BOOL else self.code

    @property
    def range_text(self) -> str:
        """What one element may be, for an error message."""
        if self.code in FLOATS:
            return "numbers"
        if self.code in _RANGELESS:
            return _RANGELESS[self.code]
        bits = 8 * self.itemsize
        if self.code.isupper():
            return f"integers from 0 to {2**bits - 1}"
        return f"integers from {-(2 ** (bits - 1))} to {2 ** (bits - 1) - 1}"


_FIELDS = {"f": "float_val", "d": "double_val", "q": "int64_val", BOOL: "bool_val", TEXT: "string_val"}
_ITEMSIZES = {"b": 1, "B": 1, BOOL: 1, "h": 2, "H": 2, "i": 4, "f": 4, "q": 8, "d": 8, TEXT: 0}
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
        (11, "DT_QINT8", "b"),
        (12, "DT_QUINT8", "B"),
        (13, "DT_QINT32", "i"),
        (15, "DT_QINT16", "h"),
        (16, "DT_QUINT16", "H"),
        (17, "DT_UINT16", "H"),
    )
}

#: Numbers EAS has a name but `ArrayProto` no field for.
UNCARRIED: Mapping[int, str] = {
    0: "DT_INVALID",
    8: "DT_COMPLEX64",
    14: "DT_BFLOAT16",
    18: "DT_COMPLEX128",
    19: "DT_HALF",
    20: "DT_RESOURCE",
    21: "DT_VARIANT",
}


def dtype_of(number: object, where: str) -> DType:
    """The element type of a number.

    Args:
        number: Such as `TFRequest.DT_FLOAT`.
        where: What is being encoded or parsed, for the message: `feed 'images'`.

    Raises:
        BodyError: No such type, or one that a body has no field for.
    """
    if isinstance(number, int) and number in DTYPES:
        return DTYPES[number]
    if isinstance(number, int) and number in UNCARRIED:
        raise BodyError(f"{where}: an EAS body has no field for {UNCARRIED[number]}; convert to {_names()}")
    raise BodyError(f"{where}: {number!r} is no dtype; use one of the DT_ constants: {_names()}")


def _names() -> str:
    return ", ".join(dtype.name for dtype in DTYPES.values())
