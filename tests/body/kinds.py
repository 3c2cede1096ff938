"""Table of the request classes with tensors: how a test encodes each class, and how protobuf reads and writes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import numpy as np

import eas_tw
from eas_tw.body import schema

INTEGERS = {"DT_INT8": "i1", "DT_UINT8": "u1", "DT_INT16": "i2", "DT_UINT16": "u2", "DT_INT32": "i4"}
ARRAYS = {
    "DT_FLOAT": ("float_val", "f4"),
    "DT_DOUBLE": ("double_val", "f8"),
    "DT_INT64": ("int64_val", "i8"),
    **{name: ("int_val", code) for name, code in INTEGERS.items()},
}
ONNX = {
    "DT_FLOAT": "f4",
    "DT_DOUBLE": "f8",
    "DT_FLOAT16": "f2",
    "DT_INT64": "i8",
    "DT_UINT64": "u8",
    "DT_UINT32": "u4",
    **INTEGERS,
}


@attrs.frozen
class Kind:
    """One request class with tensors, and the protobuf classes of its messages.

    Attributes:
        request: The request class.
        dtypes: Name of a dtype constant -> (field of the message, numpy type). The field "raw" means raw memory.
        feed: Adds one input to a request; called with (request, shape, dtype, content).
        sent: Parses a request body with protobuf, and returns the message of its input.
        answer: Returns the body of a response with one output, from the message of that output.
        array: Full name of the message type of an output.
        key: Name or index of that output.
    """

    request: Any
    dtypes: dict[str, tuple[str, str]]
    feed: Callable[[Any, Any, Any, Any], None]
    sent: Callable[[bytes], Any]
    answer: Callable[[Any], bytes]
    array: str
    key: Any

    def message(self, dtype: str, shape: list[int], values: Any) -> Any:
        """Return the message of one output, made by protobuf."""
        field, code = self.dtypes[dtype]
        made = schema.message(self.array)()
        if field == "raw":
            made.dims.extend(shape)
            made.raw_data = np.array(values, f"<{code}").tobytes()
            made.data_type = getattr(self.request, dtype)
            made.name = self.key
            return made
        name = "array_shape" if hasattr(made, "array_shape") else "shape"
        getattr(made, name).dim.extend(shape)
        getattr(made, field).extend(np.array(values, code).reshape(-1).tolist())
        if hasattr(made, "dtype"):
            made.dtype = getattr(self.request, dtype)
        if hasattr(made, "batchsize"):
            made.batchsize = 1
            made.name_in_dl_model = made.blade_blob_name = self.key
        return made

    def read(self, dtype: str, message: Any) -> tuple[list[int], bytes]:
        """Return the shape and the memory of the elements of an input or output, as protobuf parses them."""
        field, code = self.dtypes[dtype]
        if field == "raw":
            return list(message.dims), message.raw_data
        shape = message.array_shape if hasattr(message, "array_shape") else message.shape
        return list(shape.dim), np.array(list(getattr(message, field)), code).tobytes()


def parse(name: str, body: bytes) -> Any:
    return schema.message(name).FromString(body)


def answer(name: str, fill: Callable[[Any, Any], Any]) -> Callable[[Any], bytes]:
    """Return a function that serialises a response message, into which `fill` has put an array message."""

    def made(array: Any) -> bytes:
        response = schema.message(name)()
        fill(response, array)
        return response.SerializeToString()  # type: ignore[no-any-return]

    return made


def caffe(response: Any, array: Any) -> None:
    response.output_name.append("y")
    response.output_data.append(array)


KINDS = {
    "tf": Kind(
        eas_tw.TFRequest,
        {**ARRAYS, "DT_BOOL": ("bool_val", "?")},
        lambda request, *tensor: request.add_feed("x", *tensor),
        lambda body: parse("eas_tw.tf.PredictRequest", body).inputs["x"],
        answer("eas_tw.tf.PredictResponse", lambda response, array: response.outputs["y"].CopyFrom(array)),
        "eas_tw.tf.ArrayProto",
        "y",
    ),
    "torch": Kind(
        eas_tw.TorchRequest,
        ARRAYS,
        lambda request, *tensor: request.add_feed(1, *tensor),
        lambda body: parse("eas_tw.torch.PredictRequest", body).inputs[1],
        answer("eas_tw.torch.PredictResponse", lambda response, array: response.outputs.append(array)),
        "eas_tw.torch.ArrayProto",
        0,
    ),
    "torch-map": Kind(
        eas_tw.TorchRequest,
        ARRAYS,
        lambda request, *tensor: request.add_feed_map("x", *tensor),
        lambda body: parse("eas_tw.torch.PredictRequest", body).map_inputs["x"],
        answer("eas_tw.torch.PredictResponse", lambda response, array: response.map_outputs["y"].CopyFrom(array)),
        "eas_tw.torch.ArrayProto",
        "y",
    ),
    "blade": Kind(
        eas_tw.BladeRequest,
        {name: ARRAYS[name] for name in ("DT_FLOAT", "DT_INT32", "DT_INT64")},
        lambda request, *tensor: request.add_feed("x", 1, *tensor),
        lambda body: parse("eas_tw.blade.Request", body).inputs[0],
        answer("eas_tw.blade.Response", lambda response, array: response.outputs.append(array)),
        "eas_tw.blade.Array",
        "y",
    ),
    "caffe": Kind(
        eas_tw.CaffeRequest,
        {"DT_FLOAT": ("data", "f4")},
        lambda request, shape, _, content: request.add_feed("x", shape, content),
        lambda body: parse("eas_tw.caffe.PredictRequest", body).input_data[0],
        answer("eas_tw.caffe.PredictResponse", caffe),
        "eas_tw.caffe.ArrayProto",
        "y",
    ),
    "onnx": Kind(
        eas_tw.OnnxRequest,
        {name: ("raw", code) for name, code in ONNX.items()},
        lambda request, *tensor: request.add_feed("x", *tensor),
        lambda body: parse("eas_tw.onnx.DataProto", body).tensors[0],
        answer("eas_tw.onnx.DataProto", lambda response, array: response.tensors.append(array)),
        "eas_tw.onnx.TensorProto",
        "y",
    ),
}
CASES = [(kind, dtype) for kind, made in KINDS.items() for dtype in made.dtypes]
