"""Tensors compared with protobuf, in both directions."""

from __future__ import annotations

import math
import subprocess
import sys
from array import array
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eas_tw import BodyError, StringRequest, StringResponse, TFRequest, TFResponse
from eas_tw.body import schema
from eas_tw.body.request import as_request

SETTINGS = settings(derandomize=True, deadline=None, max_examples=120)
Request = schema.message("eas_tw.tf.PredictRequest")
Response = schema.message("eas_tw.tf.PredictResponse")

KINDS = {
    # constant: (field, numpy type, strategy)
    TFRequest.DT_FLOAT: ("float_val", np.float32, st.floats(width=32, allow_nan=False)),
    TFRequest.DT_DOUBLE: ("double_val", np.float64, st.floats(allow_nan=False)),
    TFRequest.DT_INT8: ("int_val", np.int8, st.integers(-(2**7), 2**7 - 1)),
    TFRequest.DT_UINT8: ("int_val", np.uint8, st.integers(0, 2**8 - 1)),
    TFRequest.DT_INT16: ("int_val", np.int16, st.integers(-(2**15), 2**15 - 1)),
    TFRequest.DT_UINT16: ("int_val", np.uint16, st.integers(0, 2**16 - 1)),
    TFRequest.DT_INT32: ("int_val", np.int32, st.integers(-(2**31), 2**31 - 1)),
    TFRequest.DT_INT64: ("int64_val", np.int64, st.integers(-(2**63), 2**63 - 1)),
    TFRequest.DT_BOOL: ("bool_val", np.bool_, st.booleans()),
}
cases = st.sampled_from(sorted(KINDS)).flatmap(
    lambda kind: st.tuples(st.just(kind), st.lists(KINDS[kind][2], max_size=40))
)


def packed(kind: int, content: Any, shape: list[int] | None = None) -> Any:
    """Return the input that protobuf parses from the body of a request."""
    request = TFRequest("s")
    request.add_feed("x", shape, kind, content)
    return Request.FromString(request.to_string()).inputs["x"]


@SETTINGS
@given(cases)
def test_protobuf_reads_what_was_packed(case: tuple[int, list[Any]]) -> None:
    kind, values = case
    field, dtype, _ = KINDS[kind]
    straight = np.array(values, dtype)
    strided = np.repeat(straight, 2)[::2]
    swapped = straight.astype(straight.dtype.newbyteorder())
    for content in (values, straight, strided, swapped):
        read = packed(kind, content, [len(values)])
        assert read.dtype == kind
        assert list(read.array_shape.dim) == [len(values)]
        assert list(getattr(read, field)) == values


@SETTINGS
@given(cases)
def test_what_protobuf_wrote_is_read(case: tuple[int, list[Any]]) -> None:
    kind, values = case
    field, dtype, _ = KINDS[kind]
    response = Response()
    response.outputs["y"].dtype = kind
    response.outputs["y"].array_shape.dim.extend([1, len(values)])
    getattr(response.outputs["y"], field).extend(values)
    read = TFResponse(response.SerializeToString())
    assert read.get_tensor_shape("y") == [1, len(values)]
    assert read.get_values("y") == values
    shaped = read.as_numpy("y")
    assert shaped.shape == (1, len(values))
    assert shaped.dtype == dtype
    assert shaped.ravel().tolist() == values


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (TFRequest.DT_INT64, [-(2**63), 2**63 - 1, 0, -1]),
        (TFRequest.DT_FLOAT, [-0.0, math.inf, -math.inf, 1e-45]),
        (TFRequest.DT_DOUBLE, [-0.0, math.inf, 5e-324]),
    ],
)
def test_extremes_survive(kind: int, values: list[Any]) -> None:
    """The limits of the ranges and negative zero are encoded correctly."""
    read = getattr(packed(kind, values, [len(values)]), KINDS[kind][0])
    assert [repr(value) for value in read] == [
        repr(float(np.float32(v)) if kind == TFRequest.DT_FLOAT else v) for v in values
    ]


def test_nan_keeps_its_payload() -> None:
    """The bits of a float array are sent unchanged."""
    bits = np.array([0x7FC00001, 0xFFC12345], np.uint32)
    request = TFRequest("s")
    request.add_feed("x", [2], TFRequest.DT_FLOAT, bits.view(np.float32))
    assert bits.tobytes() in request.to_string()


@pytest.mark.parametrize(
    "content",
    [
        [[1.0, 2.0], [3.0, 4.0]],
        array("f", [1, 2, 3, 4]),
        memoryview(array("d", [1, 2, 3, 4])),
        (1, 2, 3, 4),
        range(1, 5),
    ],
)
def test_content_of_every_kind(content: Any) -> None:
    """Nested lists, arrays, views and ranges are encoded to the same tensor."""
    assert list(packed(TFRequest.DT_FLOAT, content, [2, 2]).float_val) == [1, 2, 3, 4]


def test_the_shape_may_be_left_out() -> None:
    assert list(packed(TFRequest.DT_FLOAT, np.zeros((2, 3), np.float32)).array_shape.dim) == [2, 3]
    assert list(packed(TFRequest.DT_INT64, [[1, 2]]).array_shape.dim) == [1, 2]


@pytest.mark.parametrize(
    ("kind", "shape", "content", "says"),
    [
        (TFRequest.DT_FLOAT, [2, 2], [1.0], "4 elements"),
        (TFRequest.DT_UINT8, [1], [300], "element 0"),
        (TFRequest.DT_INT8, [2], [1, -129], "element 1"),
        (TFRequest.DT_INT32, [1], [1.5], "element 0"),
        (TFRequest.DT_INT32, [1], np.array([1.5]), "int"),
        (TFRequest.DT_UINT8, [1], np.array([300]), "300"),
        (TFRequest.DT_FLOAT, [1], ["x"], "element 0"),
        (TFRequest.DT_FLOAT, [-1], [1.0], "dimension"),
        (TFRequest.DT_FLOAT, None, [[1.0], [1.0, 2.0]], "different lengths"),
        (TFRequest.DT_COMPLEX64, [1], [1], "DT_COMPLEX64"),
        (99, [1], [1], "99"),
        (TFRequest.DT_STRING, [1], [5], "element 0"),
        (TFRequest.DT_FLOAT, [1], {"a": 1}, "dict"),
    ],
)
def test_wrong_input_is_an_error_before_anything_is_sent(kind: int, shape: Any, content: Any, says: str) -> None:
    with pytest.raises(BodyError) as caught:
        TFRequest("s").add_feed("pixels", shape, kind, content)
    assert says in str(caught.value)
    assert "pixels" in str(caught.value)


def test_a_request_may_be_reused_and_changed() -> None:
    """A feed of the same name replaces the earlier one. A body that was made before does not change."""
    request = TFRequest("s")
    request.add_feed("x", [1], TFRequest.DT_FLOAT, [1.0])
    before = request.to_string()
    request.add_feed("x", [2], TFRequest.DT_FLOAT, [2.0, 3.0])
    assert list(Request.FromString(request.to_string()).inputs["x"].float_val) == [2, 3]
    assert list(Request.FromString(before).inputs["x"].float_val) == [1]


@SETTINGS
@given(st.binary(max_size=80))
def test_any_bytes_are_a_response_or_a_body_error(data: bytes) -> None:
    try:
        response = TFResponse(data)
        for name in response.output_names:
            response.get_tensor_shape(name)
            response.get_values(name)
            response.as_numpy(name)
    except BodyError:
        pass


def test_every_truncation_of_a_response_is_a_body_error() -> None:
    response = Response()
    response.outputs["scores"].dtype = TFRequest.DT_FLOAT
    response.outputs["scores"].float_val.extend([0.5] * 10)
    whole = response.SerializeToString()
    for length in range(1, len(whole)):
        with pytest.raises(BodyError):
            TFResponse(whole[:length])


def test_a_missing_output_names_those_that_exist() -> None:
    response = Response()
    response.outputs["scores"].dtype = TFRequest.DT_FLOAT
    with pytest.raises(BodyError, match="'scores'"):
        TFResponse(response.SerializeToString()).get_values("score")


def test_html_is_no_response() -> None:
    """A proxy may send an error page with status 200."""
    with pytest.raises(BodyError, match="html"):
        TFResponse(b"<html><body>busy</body></html>")


def test_float_arrays_are_views_of_the_response() -> None:
    response = Response()
    response.outputs["y"].dtype = TFRequest.DT_FLOAT
    response.outputs["y"].array_shape.dim.append(1000)
    response.outputs["y"].float_val.extend([1.0] * 1000)
    read = TFResponse(response.SerializeToString())
    assert np.shares_memory(read.as_numpy("y"), np.frombuffer(read.content, np.uint8))
    assert not read.as_numpy("y").flags.writeable


def test_numpy_is_not_imported_until_it_is_needed() -> None:
    program = (
        "import sys, eas_tw; request = eas_tw.TFRequest('s');"
        "request.add_feed('x', [2], request.DT_FLOAT, [1, 2]); request.to_string();"
        "request.add_feed('y', [2], request.DT_INT64, [1, 2]); request.to_string();"
        "sys.exit('numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-W", "error", "-c", program], check=False).returncode == 0  # noqa: S603


def test_strings_in_and_out() -> None:
    """Text is sent as UTF-8, and bytes unchanged. The response returns both text and bytes."""
    assert StringRequest("名").to_string() == "名".encode()
    assert as_request(bytearray(b"\x00")).to_string() == b"\x00"
    response = StringRequest("").parse_response("值".encode())
    assert isinstance(response, StringResponse)
    assert (str(response), response.to_string(), response.content) == ("值", "值", "值".encode())


def test_an_object_that_is_no_request_is_a_body_error() -> None:
    with pytest.raises(BodyError):
        as_request(5)
