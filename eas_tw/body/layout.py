"""Layouts of the tensor messages of all bodies: field numbers of dtype, shape and elements, and the allowed dtypes.

All tensor messages have the same structure. The tables below contain all differences between them, from the `.proto`
files in `eas_tw/body/schema`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from eas_tw.body.dtypes import DTYPES, TEXT, UNCARRIED, DType
from eas_tw.body.wire import DELIMITED, FIXED32, FIXED64, VARINT
from eas_tw.display import shown
from eas_tw.errors import BodyError

if TYPE_CHECKING:
    from collections.abc import Mapping

_WIRES = {"float_val": FIXED32, "double_val": FIXED64, "string_val": DELIMITED}
_WIDTHS = {FIXED32: 4, FIXED64: 8}


@attrs.frozen
class Layout:
    """The layout of one tensor message.

    Attributes:
        dtypes: The allowed element types, by their numbers in this body.
        fields: The number of the field with the elements, by `DType.field`.
        shape_field: The number of the shape field, a message whose field 1 has the dimensions.
        dtype_field: The number of the dtype field; `None` where the field of the elements determines the dtype.
        uncarried: Dtypes that have a number in this body, but no field.
    """

    dtypes: Mapping[int, DType]
    fields: Mapping[str, int]
    shape_field: int = 2
    dtype_field: int | None = 1
    uncarried: Mapping[int, str] = attrs.field(factory=dict)
    #: The wire type of one element outside a packed field, by field number.
    elements: Mapping[int, int] = attrs.field(init=False)
    #: The size of one float in bytes, by field number.
    widths: Mapping[int, int] = attrs.field(init=False)

    @elements.default
    def _elements(self) -> Mapping[int, int]:
        return {number: _WIRES.get(name, VARINT) for name, number in self.fields.items()}

    @widths.default
    def _widths(self) -> Mapping[int, int]:
        return {number: _WIDTHS[wire] for number, wire in self.elements.items() if wire in _WIDTHS}

    def field_of(self, dtype: DType) -> int:
        """Return the number of the field with the elements of a dtype."""
        return self.fields[dtype.field]

    def dtype_of(self, number: object, where: str) -> DType:
        """Return the element type with a number.

        Args:
            number: A number such as `TFRequest.DT_FLOAT`.
            where: Name of the tensor for the message, such as `feed 'images'`.

        Raises:
            BodyError: There is no such type, or this body has no field for it.
        """
        if isinstance(number, int) and number in self.dtypes:
            return self.dtypes[number]
        if isinstance(number, int) and number in self.uncarried:
            name = self.uncarried[number]
            raise BodyError(f"{where}: this body has no field for {name}; convert to {self._names()}")
        raise BodyError(f"{where}: {shown(number)} is no dtype; use one of the DT_ constants: {self._names()}")

    def dtype_told(self, code: str, where: str) -> DType:
        """Return the element type for content that has a type code.

        Args:
            code: Type code of `array` and numpy; an empty string if the content has none.
            where: Name of the tensor for messages.

        Raises:
            BodyError: The content has no type code, or this body has no dtype for it.
        """
        for dtype in self.dtypes.values():
            if dtype.code == code:
                return dtype
        unknown = f"this body has no dtype for elements of type {code!r}"
        why = unknown if code else "the content does not state its dtype"
        raise BodyError(f"{where}: {why}; give one of {self._names()}")

    def _names(self) -> str:
        return ", ".join(dtype.name for dtype in self.dtypes.values())


_FIELDS = {"float_val": 3, "double_val": 4, "int_val": 5, "string_val": 6, "int64_val": 7}

#: `ArrayProto` of TensorFlow and of EasyRec.
TF = Layout(DTYPES, {**_FIELDS, "bool_val": 8}, uncarried=UNCARRIED)
#: `ArrayProto` of PyTorch and of TorchRec, which has no field for bools.
TORCH = Layout(
    {number: dtype for number, dtype in DTYPES.items() if dtype.field in _FIELDS},
    _FIELDS,
    uncarried={**UNCARRIED, **{number: dtype.name for number, dtype in DTYPES.items() if dtype.field not in _FIELDS}},
)
#: `Array` of Blade, which has other numbers for dtypes and fields.
BLADE = Layout(
    {
        number: DType(number, name, code)
        for number, name, code in (
            (1, "DT_FLOAT", "f"),
            (2, "DT_INT32", "i"),
            (3, "DT_INT64", "q"),
            (4, "DT_STRING", TEXT),
        )
    },
    {"float_val": 5, "int_val": 6, "int64_val": 7, "string_val": 8},
    shape_field=4,
    dtype_field=None,
)
#: `ArrayProto` of Caffe, which has 32-bit floats only.
CAFFE = Layout({1: DTYPES[1]}, {"float_val": 2}, shape_field=1, dtype_field=None)
#: `TensorProto` of ONNX, which has other numbers for dtypes. The elements are raw memory, so `fields` is empty.
ONNX = Layout(
    {
        number: DType(number, f"DT_{name}", code)
        for number, name, code in (
            (1, "FLOAT", "f"),
            (2, "UINT8", "B"),
            (3, "INT8", "b"),
            (4, "UINT16", "H"),
            (5, "INT16", "h"),
            (6, "INT32", "i"),
            (7, "INT64", "q"),
            (10, "FLOAT16", "e"),
            (11, "DOUBLE", "d"),
            (12, "UINT32", "I"),
            (13, "UINT64", "Q"),
        )
    },
    {},
    dtype_field=3,
    uncarried={0: "DT_UNDEFINED"},
)
