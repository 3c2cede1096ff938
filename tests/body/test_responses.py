"""Tensors of a response as arrays: wrong shapes and ranges, and strings."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from eas_tw import BodyError, OnnxDataHelper, TFRequest, TFResponse
from eas_tw.body import schema

Response = schema.message("eas_tw.tf.PredictResponse")


def response(kind: int, shape: list[int], **values: Any) -> TFResponse:
    """Return a response with one output, `y`."""
    made = Response()
    made.outputs["y"].CopyFrom(schema.message("eas_tw.tf.ArrayProto")(dtype=kind, **values))
    made.outputs["y"].array_shape.dim.extend(shape)
    return TFResponse(made.SerializeToString())


def test_strings_are_bytes() -> None:
    read = response(TFRequest.DT_STRING, [2, 1], string_val=[b"a\x00", b"\xff"])
    assert read.get_values("y") == [b"a\x00", b"\xff"]
    assert read.as_numpy("y").tolist() == [[b"a\x00"], [b"\xff"]]


def test_a_shape_that_does_not_fit_is_a_body_error() -> None:
    read = response(TFRequest.DT_FLOAT, [2, 2], float_val=[1, 2, 3])
    assert read.get_values("y") == [1, 2, 3]
    with pytest.raises(BodyError, match=r"output 'y': shape \[2, 2\] and 3 elements"):
        read.as_numpy("y")


@pytest.mark.parametrize("shape", [[0, 2**62, 2**62], [1] * 65])
def test_a_shape_that_numpy_does_not_have_is_a_body_error(shape: list[int]) -> None:
    read = response(TFRequest.DT_FLOAT, shape, float_val=[1] * math.prod(shape))
    assert read.get_tensor_shape("y") == shape
    with pytest.raises(BodyError, match="output 'y': numpy has no array of the shape"):
        read.as_numpy("y")


def test_thousands_of_dimensions_are_a_body_error_at_once() -> None:
    """The product of 100,000 dimensions would take a minute."""
    read = response(TFRequest.DT_FLOAT, [2**62] * 100_000)
    for act in (read.as_numpy, read.get_tensor_shape):
        with pytest.raises(BodyError, match="a tensor has at most 64 dimensions"):
            act("y")
    assert read.get_values("y") == []
    message = schema.message("eas_tw.onnx.TensorProto")(dims=[2**62] * 100_000, data_type=1)
    with pytest.raises(BodyError, match="a tensor has at most 64 dimensions"):
        OnnxDataHelper.to_array(message)


def test_negative_dimensions_are_a_body_error() -> None:
    with pytest.raises(BodyError, match="do not fit"):
        response(TFRequest.DT_FLOAT, [-1, -1], float_val=[1]).as_numpy("y")


def test_without_a_shape_the_elements_are_a_row() -> None:
    assert response(TFRequest.DT_INT32, [], int_val=[1, 2]).as_numpy("y").shape == (2,)
    assert response(TFRequest.DT_INT32, [], int_val=[1]).as_numpy("y").shape == ()


@pytest.mark.parametrize("kind", [TFRequest.DT_FLOAT, TFRequest.DT_UINT8, TFRequest.DT_BOOL, TFRequest.DT_STRING])
def test_an_empty_output_is_an_empty_array(kind: int) -> None:
    assert response(kind, [0, 10]).as_numpy("y").shape == (0, 10)
    assert response(kind, [0, 10]).get_values("y") == []


def test_a_number_its_dtype_cannot_hold_is_a_body_error() -> None:
    """300 is outside DT_UINT8. Without the check, numpy would make it 44."""
    read = response(TFRequest.DT_UINT8, [2], int_val=[1, 300])
    assert read.get_values("y") == [1, 300]
    with pytest.raises(BodyError, match="element 1 is 300"):
        read.as_numpy("y")


def test_quantised_types_are_the_integers_of_their_size() -> None:
    assert response(TFRequest.DT_QUINT16, [1], int_val=[65535]).as_numpy("y").dtype == np.uint16
    assert response(TFRequest.DT_QINT8, [1], int_val=[-128]).as_numpy("y").dtype == np.int8


def test_an_empty_response_has_no_outputs() -> None:
    """Zero bytes are a valid protobuf message."""
    assert TFResponse(b"").output_names == ()
    with pytest.raises(BodyError, match=r"has \[\]"):
        TFResponse(b"").get_values("scores")


def test_a_response_is_read_from_any_buffer() -> None:
    """`content` is `bytes` for every type of buffer."""
    whole = response(TFRequest.DT_FLOAT, [1], float_val=[0.5]).content
    read = TFResponse(memoryview(bytearray(whole)))
    assert (read.content, type(read.content), read.get_values("y")) == (whole, bytes, [0.5])
    assert "y" in repr(read)
