"""ONNX requests from tensor messages of several libraries and from arrays, and ONNX responses."""

from __future__ import annotations

import math
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from eas_tw import BodyError, OnnxData, OnnxDataHelper, OnnxRequest, OnnxResponse

CODES = ["f4", "u1", "i1", "u2", "i2", "i4", "i8", "f2", "f8", "u4", "u8"]


@pytest.mark.parametrize("code", CODES)
def test_arrays_become_messages_and_come_back(code: str) -> None:
    array = np.arange(6, dtype=code).reshape(2, 3).T
    tensor = OnnxDataHelper.from_array(array, "n")
    assert isinstance(tensor, OnnxData.TensorProto)
    assert (tensor.name, list(tensor.dims), tensor.raw_data) == ("n", [3, 2], array.tobytes())
    read = OnnxDataHelper.to_array(tensor)
    assert read.dtype == array.dtype
    assert np.array_equal(read, array)
    swapped = OnnxDataHelper.from_array(array.astype(array.dtype.newbyteorder(">")), "n")
    assert swapped == tensor


def test_the_bytes_are_the_official_sdks() -> None:
    """The official SDK's `OnnxDataHelper.from_array` gives the same bytes, for an array and for a scalar."""
    request = OnnxRequest()
    request.add_tensor(OnnxDataHelper.from_array(np.ones((2, 1), "f4"), "n"))
    assert request.to_string() == b"\n\x13\n\x01n\x12\x02\x02\x01\x18\x01*\x08\x00\x00\x80?\x00\x00\x80?"
    assert OnnxDataHelper.from_array(np.array(3.0, "f4"), "n").SerializeToString() == b"\n\x01n\x18\x01*\x04\x00\x00@@"


@pytest.mark.parametrize("array", [np.ones(1, "?"), np.ones(1, "c8"), np.array(["x"]), [1, 2], "x", None])
def test_arrays_without_an_onnx_dtype_are_refused(array: Any) -> None:
    with pytest.raises(BodyError, match="tensor 'n': "):
        OnnxDataHelper.from_array(array, "n")


def test_a_tensor_of_the_same_name_replaces_in_its_place() -> None:
    request = OnnxRequest()
    tensor = OnnxDataHelper.from_array(np.ones(1, "f4"), "a")
    request.add_tensor(tensor)
    request.add_feed("b", [1], OnnxRequest.DT_INT8, [1])
    request.add_feed("a", [1], OnnxRequest.DT_INT64, [5])
    tensor.name = "c"
    read = OnnxResponse(request.to_string())
    assert read.output_names == ("a", "b")
    assert read.get_values("a") == [5]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"raw_data": b"123"}, r"dims \[1\] of DT_FLOAT need 4 bytes, raw_data has 3"),
        ({"dims": [-1, -1]}, "dims"),
        ({"data_type": 9}, "9 is no dtype"),
        ({"data_type": 0}, "no field for DT_UNDEFINED"),
        ({"name": 5}, "must be text"),
        ({"raw_data": None}, "an ONNX tensor has"),
    ],
)
def test_a_message_whose_parts_do_not_fit_is_refused(changes: dict[str, Any], says: str) -> None:
    """Any object with the attributes of a tensor message is accepted, such as a message of the `onnx` package."""
    tensor = {"name": "n", "dims": [1], "data_type": 1, "raw_data": b"1234"}
    OnnxRequest().add_tensor(SimpleNamespace(**tensor))
    with pytest.raises(BodyError, match=says):
        OnnxRequest().add_tensor(SimpleNamespace(**{**tensor, **changes}))
    with pytest.raises(BodyError, match="got int"):
        OnnxRequest().add_tensor(5)


def test_a_response_has_the_methods_of_the_official_sdk() -> None:
    request = OnnxRequest()
    request.add_feed("scores", [1, 2], OnnxRequest.DT_FLOAT, [0.5, 0.25])
    request.add_feed("", [1], OnnxRequest.DT_UINT64, [2**64 - 1])
    response = OnnxResponse(request.to_string())
    assert (response.get_size(), response.get_name(0), response.get_name(1)) == (2, "scores", "")
    assert response.get_tensor(0).data_type == OnnxData.TensorProto.FLOAT
    assert response.get_tensor("scores") == response.get_tensor(0)
    assert response.get_values(1) == [2**64 - 1]
    assert response.get_tensor_shape("scores") == [1, 2]
    assert np.shares_memory(response.as_numpy(0), np.frombuffer(response.content, np.uint8))
    for missing in (2, "x"):
        with pytest.raises(BodyError, match=r"the response has \[0, 1, 'scores'\]"):
            response.get_tensor(missing)


def test_an_output_whose_parts_do_not_fit_is_a_body_error() -> None:
    response = OnnxResponse(b"\n\x0b\n\x01n\x12\x01\x02\x18\x01*\x01x")
    assert response.get_tensor("n").raw_data == b"x"
    with pytest.raises(BodyError, match="need 8 bytes, raw_data has 1"):
        response.get_values("n")
    with pytest.raises(BodyError, match="need 8 bytes, raw_data has 1"):
        OnnxDataHelper.to_array(response.get_tensor(0))


def test_dimensions_cut_inside_a_varint_are_a_body_error() -> None:
    with pytest.raises(BodyError, match=r"no ONNX body.*inside a varint"):
        OnnxResponse(b"\n\x04\x12\x02\x02\x80")
    too_long = b"\n\x0d\x12\x0b" + b"\xff" * 10 + b"\x01"
    for question in (lambda response: response.get_tensor(0), lambda response: response.get_tensor_shape(0)):
        with pytest.raises(BodyError, match="not protobuf"):
            question(OnnxResponse(too_long))


def test_16_bit_floats_need_no_numpy() -> None:
    """IEEE 754 rounding: a value at least halfway above the largest float16 becomes infinite, as in numpy."""
    values = [0.0, -0.0, 1.5, 65504.0, 65519.9, 65520.0, -1e9, math.inf, 5.96e-8, 2049.0]
    program = (
        "import sys; sys.modules['numpy'] = None; from eas_tw import OnnxRequest; request = OnnxRequest();"
        f"from math import inf; request.add_feed('x', None, OnnxRequest.DT_FLOAT16, {values!r});"
        "response = request.parse_response(request.to_string());"
        "print(request.to_string().hex(), response.get_values('x') == response.get_values(0))"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)  # noqa: S603
    body, agreed = done.stdout.split()
    with np.errstate(over="ignore"):
        assert bytes.fromhex(body).endswith(np.array(values, "<f2").tobytes())
    assert agreed == "True"
    with pytest.raises(BodyError, match="element 0 is 'x'"):
        OnnxRequest().add_feed("x", [1], OnnxRequest.DT_FLOAT16, ["x"])
