"""Tensors of each request class and dtype, exchanged with protobuf in both directions."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eas_tw
from eas_tw import BodyError
from tests.body.kinds import CASES, KINDS, Kind

SETTINGS = settings(derandomize=True, deadline=None, max_examples=40)
FEW = settings(SETTINGS, max_examples=150)
LARGE = 1 << 24
shapes = st.lists(st.integers(0, 4), max_size=3)


def elements(code: str, shape: list[int]) -> st.SearchStrategy[Any]:
    """Generate arrays of arbitrary bits, so that NaNs, both zeros and the limits of each range occur."""
    count, size = math.prod(shape), np.dtype(code).itemsize
    anything = st.binary(min_size=count * size, max_size=count * size)
    ends = [b"\x00" * size, b"\xff" * size, b"\x00" * (size - 1) + b"\x80", b"\xff" * (size - 1) + b"\x7f"]
    chosen = st.lists(st.sampled_from(ends), min_size=count, max_size=count).map(b"".join)

    def array(memory: bytes) -> Any:
        if code == "?":
            return np.frombuffer(bytes(byte & 1 for byte in memory), "?").reshape(shape)
        return np.frombuffer(memory, f"<{code}").reshape(shape)

    return st.one_of(anything, chosen).map(array)


def cased(kind: str, dtype: str) -> tuple[Kind, st.SearchStrategy[Any]]:
    made = KINDS[kind]
    return made, shapes.flatmap(lambda shape: elements(made.dtypes[dtype][1], shape))


def same(ours: Any, theirs: Any) -> bool:
    """Compare element by element. All NaNs are equal, because Python's floats do not preserve the payload of a NaN."""
    return bool(np.array_equal(ours, theirs, equal_nan=ours.dtype.kind == "f"))


def request(made: Kind, dtype: str, shape: Any, content: Any) -> bytes:
    one = made.request()
    made.feed(one, shape, getattr(one, dtype, None), content)
    return one.to_string()  # type: ignore[no-any-return]


@pytest.mark.parametrize(("kind", "dtype"), CASES)
def test_protobuf_reads_what_was_packed(kind: str, dtype: str) -> None:
    made, arrays = cased(kind, dtype)

    @SETTINGS
    @given(arrays)
    def check(array: Any) -> None:
        body = request(made, dtype, list(array.shape), array)
        shape, memory = made.read(dtype, made.sent(body))
        assert shape == list(array.shape)
        assert same(np.frombuffer(memory, array.dtype), array.reshape(-1))
        if array.dtype.kind == "f" and array.size:
            assert array.tobytes() in body  # bit for bit, including the payloads of NaNs
        gaps = np.repeat(np.atleast_1d(array), 2, axis=-1)[..., ::2].reshape(array.shape)
        swapped = array.astype(array.dtype.newbyteorder(">"))
        for content in (gaps, swapped, np.array(array, order="F")):
            assert request(made, dtype, None, content) == body
        listed = made.sent(request(made, dtype, list(array.shape), array.tolist()))
        assert same(np.frombuffer(made.read(dtype, listed)[1], array.dtype), array.reshape(-1))

    check()


@pytest.mark.parametrize(("kind", "dtype"), CASES)
def test_what_protobuf_wrote_is_read(kind: str, dtype: str) -> None:
    made, arrays = cased(kind, dtype)

    @SETTINGS
    @given(arrays)
    def check(array: Any) -> None:
        shape = list(array.shape)
        response = made.request().parse_response(made.answer(made.message(dtype, shape, array)))
        assert response.get_tensor_shape(made.key) == shape
        read = response.as_numpy(made.key)
        assert same(read.reshape(-1), array.reshape(-1))
        assert list(read.shape) == shape
        if array.size or kind != "blade":  # a Blade tensor without elements has no dtype
            assert read.dtype == array.dtype
        assert same(np.array(response.get_values(made.key), array.dtype), array.reshape(-1))

    check()


@pytest.mark.parametrize("kind", KINDS)
def test_the_dtype_may_be_left_out(kind: str) -> None:
    made = KINDS[kind]
    for dtype, (_, code) in made.dtypes.items():
        array = np.ones((2, 1), code)
        body = request(made, dtype, [2, 1], array)
        one = made.request()
        made.feed(one, None, None, array)
        assert one.to_string() == body, dtype
        other = made.request()
        made.feed(other, [2, 1], None, memoryview(array))
        assert other.to_string() == body, dtype


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "caffe"])
def test_a_dtype_is_required_where_the_content_has_none(kind: str) -> None:
    """The dtype of a list of Python numbers is ambiguous."""
    for content in ([1.5], [1], b"1234", np.array(["x", 1], object), np.zeros(1, np.complex64)):
        with pytest.raises(BodyError, match=r"feed|tensor"):
            KINDS[kind].feed(KINDS[kind].request(), [1], None, content)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("content", "says"),
    [([1.0], "4 elements"), ("x", "str"), ([[1.0], [1.0, 2.0]], "length"), (["x"] * 4, "element 0"), (None, "None")],
)
def test_wrong_input_is_a_body_error_that_names_the_problem(kind: str, content: Any, says: str) -> None:
    made = KINDS[kind]
    with pytest.raises(BodyError, match=says):
        made.feed(made.request(), [2, 2], getattr(made.request, "DT_FLOAT", None), content)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "caffe"])
@pytest.mark.parametrize("content", [[1.5], [math.nan], [2**31], [-(2**31) - 1], np.array([0.5]), np.array([2**40])])
def test_values_beyond_int32_are_refused(kind: str, content: Any) -> None:
    made = KINDS[kind]
    with pytest.raises(BodyError, match="takes integers from -2147483648 to 2147483647"):
        made.feed(made.request(), [1], made.request.DT_INT32, content)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "caffe"])
def test_an_unknown_dtype_is_refused(kind: str) -> None:
    with pytest.raises(BodyError, match="DT_FLOAT"):
        KINDS[kind].feed(KINDS[kind].request(), [1], 99, [1])


@pytest.mark.parametrize("kind", KINDS)
def test_a_feed_of_the_same_name_replaces(kind: str) -> None:
    """The official SDKs append shape and content to the earlier feed. A body that was made before does not change."""
    made = KINDS[kind]
    dtype = getattr(made.request, "DT_FLOAT", None)
    one = made.request()
    made.feed(one, [1], dtype, [1.0])
    before = one.to_string()
    made.feed(one, [2], dtype, [2.0, 3.0])
    assert made.read("DT_FLOAT", made.sent(one.to_string())) == ([2], np.array([2, 3], "<f4").tobytes())
    assert made.read("DT_FLOAT", made.sent(before)) == ([1], np.array([1], "<f4").tobytes())


@pytest.mark.parametrize("kind", KINDS)
def test_a_feed_that_was_refused_changes_nothing(kind: str) -> None:
    made = KINDS[kind]
    one = made.request()
    made.feed(one, [1], getattr(made.request, "DT_FLOAT", None), [1.0])
    before = one.to_string()
    with pytest.raises(BodyError):
        made.feed(one, [7], getattr(made.request, "DT_FLOAT", None), [1.0])
    assert one.to_string() == before


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_output_names_those_that_exist(kind: str) -> None:
    made = KINDS[kind]
    response = made.request().parse_response(made.answer(made.message("DT_FLOAT", [1], [1.0])))
    for missing in ("scores", 5, None, 1.5):
        with pytest.raises(BodyError, match=f"no output {missing!r}.*{made.key!r}"):
            response.get_values(missing)


@pytest.mark.parametrize("kind", KINDS)
def test_every_truncation_of_a_response_is_a_body_error(kind: str) -> None:
    made = KINDS[kind]
    whole = made.answer(made.message("DT_FLOAT", [2, 5], [0.5] * 10))
    for length in range(1, len(whole)):
        with pytest.raises(BodyError):
            made.request().parse_response(whole[:length]).as_numpy(made.key)


RESPONSES = {
    name: getattr(eas_tw, name)
    for name in eas_tw.__all__
    if name.endswith("Response") and name not in {"Response", "StringResponse", "JsonResponse"}
}


@pytest.mark.parametrize("name", RESPONSES)
@pytest.mark.parametrize("content", [b"<html><body>busy</body></html>", b'{"error": "busy"}', b"[1, 2]"])
def test_html_and_json_are_no_response(name: str, content: bytes) -> None:
    """A proxy may send an error page with status 200. The error message quotes its beginning."""
    with pytest.raises(BodyError, match=rf"^the response is no \w+ body \({len(content)} bytes, .*(html|busy|2\])"):
        RESPONSES[name](content)


def ask_everything(response: Any) -> None:
    """Call every method of a response."""
    for key in response._outputs():
        for question in (response.get_tensor_shape, response.get_values, response.as_numpy):
            try:
                question(key)
            except BodyError:
                continue
    for index in range(response.get_size()) if isinstance(response, eas_tw.OnnxResponse) else ():
        try:
            eas_tw.OnnxDataHelper.to_array(response.get_tensor(index))
        except BodyError:
            continue
    str(response)


@pytest.mark.parametrize("name", RESPONSES)
def test_any_bytes_are_a_response_or_a_body_error(name: str) -> None:
    @FEW
    @given(st.binary(max_size=80))
    def check(data: bytes) -> None:
        with contextlib.suppress(BodyError):
            ask_everything(RESPONSES[name](data))

    check()


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_response_is_a_response_or_a_body_error(kind: str) -> None:
    """Valid responses with a few changed bytes reach more code of the parser than random bytes."""
    made = KINDS[kind]
    bodies = [made.answer(made.message(dtype, [2, 2], [0, 1, 1, 0])) for dtype in made.dtypes]
    damage = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 255)), min_size=1, max_size=4)

    @FEW
    @given(st.sampled_from(bodies), damage)
    def check(body: bytes, damages: list[tuple[int, int]]) -> None:
        damaged = bytearray(body)
        for at, byte in damages:
            damaged[at % len(damaged)] = byte
        with contextlib.suppress(BodyError):
            ask_everything(made.request().parse_response(damaged))

    check()


@pytest.mark.parametrize(
    "dtype", ["DT_FLOAT", *(pytest.param(dtype, marks=pytest.mark.long) for dtype in ("DT_INT64", "DT_UINT8"))]
)
def test_sixteen_million_elements(dtype: str) -> None:
    made = KINDS["torch"]
    array = (np.arange(LARGE) % 251).astype(made.dtypes[dtype][1])
    one = made.request()
    one.add_feed(0, [LARGE], getattr(one, dtype), array)
    body = one.to_string()  # inputs and outputs have the same field number and type, so a request parses as a response
    response = one.parse_response(body)
    assert np.array_equal(response.as_numpy(0), array)
    assert response.get_tensor_shape(0) == [LARGE]
