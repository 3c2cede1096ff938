"""The TensorFlow codec: decodes a `PredictRequest` to named tensors, and encodes named tensors to a `PredictResponse`.

The module uses the protobuf package instead of the client's own encoder.
"""

from __future__ import annotations

from math import prod
from typing import Any

from attrs import field, frozen

from eas_tw.body import schema
from simulator.processors.arrays import FIELDS


@frozen
class Tensor:
    """A tensor of a request or a response.

    Attributes:
        shape: Dimensions.
        values: Values in row-major order; bytes for a string tensor.
        dtype: Number of the `DT_…`: 1 is `DT_FLOAT`, 9 is `DT_INT64`.
    """

    shape: tuple[int, ...] = field(converter=tuple)
    values: list[Any] = field(converter=list)
    dtype: int = 1

    def __attrs_post_init__(self) -> None:
        if self.dtype not in FIELDS:
            raise ValueError(f"dtype must be one of {', '.join(map(str, FIELDS))}, got {self.dtype!r}")
        if prod(self.shape) != len(self.values):
            raise ValueError(f"shape {list(self.shape)} needs {prod(self.shape)} values, got {len(self.values)}")


class Inputs(dict[str, Tensor]):
    """The inputs of a request, by name.

    Attributes:
        signature_name: Name of the requested signature.
        fetched: Names of the requested outputs; empty for all.
    """

    def __init__(self, tensors: dict[str, Tensor], signature_name: str = "", fetched: tuple[str, ...] = ()) -> None:
        super().__init__(tensors)
        self.signature_name = signature_name
        self.fetched = fetched


def decode(body: bytes) -> Inputs:
    """Decode a serialised `PredictRequest`.

    Raises:
        ValueError: The body is not a `PredictRequest`, or a tensor's shape and values do not agree.
    """
    request = schema.message("eas_tw.tf.PredictRequest")()
    try:
        request.ParseFromString(body)
    except Exception as error:
        raise ValueError(f"the body is not a PredictRequest: {error}") from error
    tensors = {
        name: Tensor(array.array_shape.dim, getattr(array, FIELDS.get(array.dtype, "float_val")), array.dtype)
        for name, array in request.inputs.items()
    }
    return Inputs(tensors, request.signature_name, tuple(request.output_filter))


def encode(outputs: dict[str, Tensor]) -> bytes:
    """Serialise a `PredictResponse` with these outputs."""
    response = schema.message("eas_tw.tf.PredictResponse")()
    for name, tensor in outputs.items():
        array = response.outputs[name]
        array.dtype = tensor.dtype
        array.array_shape.dim.extend(tensor.shape)
        getattr(array, FIELDS[tensor.dtype]).extend(tensor.values)
    return response.SerializeToString()  # type: ignore[no-any-return]
