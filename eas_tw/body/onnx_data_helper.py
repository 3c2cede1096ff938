"""Conversion between arrays and ONNX tensor messages: `eas_tw.OnnxDataHelper`, as in the official SDK.

A tensor message is read by its attributes (`name`, `dims`, `data_type`, `raw_data`), so messages of the official SDK
and of the `onnx` package (`numpy_helper.from_array`) are accepted as well.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from eas_tw.body import schema
from eas_tw.body.content import numeric
from eas_tw.body.layout import ONNX
from eas_tw.body.packing import raw
from eas_tw.body.tensor import MAX_DIMS, Encoded, dtype_for, measure, reshaped
from eas_tw.body.wire import VARINT, delimited, head, utf8, varint
from eas_tw.errors import BodyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eas_tw.body.dtypes import DType
    from eas_tw.body.schema.onnx_processor_data_pb2 import TensorProto

NAME, DIMS, DATA_TYPE, RAW_DATA = 1, 2, 3, 5


def from_array(arr: Any, name: str) -> TensorProto:
    """Make a tensor message from an array.

    Args:
        arr: An array, a typed buffer, or a numpy scalar, of any layout and byte order.
        name: The tensor's name; may be empty.

    Raises:
        BodyError: The object is not an array, or has a type without a number in ONNX bodies, such as bool.
    """
    encoded = encode(name, None, None, arr)
    message: TensorProto = schema.message("eas_tw.onnx.TensorProto").FromString(encoded.head + encoded.payload)
    return message


def to_array(tensor: Any) -> Any:
    """Return a tensor message as an array, which is a read-only view of the message's memory.

    Raises:
        BodyError: The type is unknown, the dimensions and the memory do not fit each other, or numpy is not installed.
    """
    dtype, dims, memory = parts(tensor)
    return reshaped(numeric().from_raw(memory, dtype), dims, f"tensor {tensor.name!r}")


def parts(tensor: Any) -> tuple[DType, list[int], memoryview]:
    """Return type, dimensions and memory of a tensor message, after checking that they fit each other.

    Raises:
        BodyError: The object is not a tensor message, or its parts do not fit each other.
    """
    try:
        name, dims, number, memory = tensor.name, list(tensor.dims), tensor.data_type, memoryview(tensor.raw_data)
    except (AttributeError, TypeError) as error:
        raise BodyError(
            f"an ONNX tensor has name, dims, data_type and raw_data; got {type(tensor).__name__}"
        ) from error
    where = f"tensor {name!r}"
    dtype = ONNX.dtype_of(number, where)
    check_size(dtype, dims, memory, where)
    return dtype, dims, memory


def check_size(dtype: DType, dims: list[int], memory: memoryview, where: str) -> None:
    """Check that a tensor's memory has the size that its dimensions and type require.

    Raises:
        BodyError: The size is different, or there are too many dimensions.
    """
    if len(dims) > MAX_DIMS:
        raise BodyError(f"{where}: a tensor has at most {MAX_DIMS} dimensions, this one has {len(dims)}")
    size = math.prod(dims) * dtype.itemsize
    if len(memory) != size or any(dim < 0 for dim in dims):
        raise BodyError(f"{where}: dims {dims} of {dtype.name} need {size} bytes, raw_data has {len(memory)}")


def encode(name: str, shape: Sequence[int] | None, number: int | None, content: Any) -> Encoded:
    """Encode a TensorProto; the arguments are those of `TFRequest.add_feed`.

    Raises:
        BodyError: Name, shape, dtype and content do not fit each other; the message states where, and what is allowed.
    """
    where = f"tensor {name!r}"
    dtype = dtype_for(ONNX, number, content, where)
    dims, flat = measure(dtype, shape, content, where)
    return assemble(name, dims, dtype, raw(flat, dtype, where))


def assemble(name: str, dims: Sequence[int], dtype: DType, memory: bytes | memoryview) -> Encoded:
    """Assemble a TensorProto from its parts, without empty fields, as protobuf does."""
    text = utf8(name, "the name of a tensor")
    start = delimited(NAME, text) if text else b""
    start += delimited(DIMS, b"".join(map(varint, dims))) if dims else b""
    start += varint(DATA_TYPE << 3 | VARINT) + varint(dtype.number)
    return Encoded(start + head(RAW_DATA, len(memory)) if len(memory) else start, memory)
