"""The types and layouts of content that tensors accept, with and without numpy."""

from __future__ import annotations

import collections
import ctypes
import struct
import sys
import tracemalloc
from array import array
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eas_tw import BodyError, TFRequest, TFResponse
from eas_tw.body import schema

SETTINGS = settings(derandomize=True, deadline=None, max_examples=60)
T = TFRequest
Request = schema.message("eas_tw.tf.PredictRequest")
Response = schema.message("eas_tw.tf.PredictResponse")
FIELDS = {T.DT_FLOAT: "float_val", T.DT_DOUBLE: "double_val", T.DT_INT64: "int64_val", T.DT_BOOL: "bool_val",
          T.DT_STRING: "string_val"}  # fmt: skip


def feed(kind: int, content: Any, shape: list[int] | None = None) -> tuple[list[int], list[Any]]:
    """Return the shape and the elements of an input, as protobuf parses them."""
    request = TFRequest()
    request.add_feed("x", shape, kind, content)
    read = Request.FromString(request.to_string()).inputs["x"]
    assert read.dtype == kind
    return list(read.array_shape.dim), list(getattr(read, FIELDS.get(kind, "int_val")))


@pytest.fixture(params=["with numpy", "without numpy"])
def _both(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test twice: with numpy loaded, and with numpy not importable."""
    if request.param == "without numpy":
        monkeypatch.setitem(sys.modules, "numpy", None)


CONTENTS: list[tuple[str, int, Any, list[int], list[Any]]] = [
    ("nested to any depth", T.DT_FLOAT, [[[1], [2]], [[3], [4]]], [2, 2, 1], [1, 2, 3, 4]),
    ("rows that are arrays", T.DT_INT64, [array("i", [1, -2]), array("i", [3, 4])], [2, 2], [1, -2, 3, 4]),
    ("a deque", T.DT_INT32, collections.deque([1, 2]), [2], [1, 2]),
    ("an iterator", T.DT_INT32, iter([1, 2]), [2], [1, 2]),
    ("a scalar", T.DT_DOUBLE, 1.5, [], [1.5]),
    ("nothing", T.DT_FLOAT, [], [0], []),
    ("no integers", T.DT_INT64, [], [0], []),
    ("empty rows", T.DT_INT32, [[], []], [2, 0], []),
    ("an empty buffer", T.DT_FLOAT, array("f"), [0], []),
    ("bools", T.DT_BOOL, [True, False, 1, 0], [4], [True, False, True, False]),
    ("bytes as small integers", T.DT_UINT8, b"\x00\x7f\xff", [3], [0, 127, 255]),
    ("unsigned longs", T.DT_INT64, array("L", [0, 2**63 - 1]), [2], [0, 2**63 - 1]),
    ("another float type", T.DT_FLOAT, array("d", [0.5, 2]), [2], [0.5, 2]),
    ("integers for floats", T.DT_FLOAT, array("b", [-1, 2]), [2], [-1, 2]),
    ("a strided view", T.DT_DOUBLE, memoryview(array("d", [1, 2, 3, 4]))[::2], [2], [1, 3]),
    ("a ctypes array", T.DT_FLOAT, (ctypes.c_float * 2)(1, 2), [2], [1, 2]),
    ("a big-endian ctypes array", T.DT_DOUBLE, (ctypes.c_double.__ctype_be__ * 2)(1, 2), [2], [1, 2]),
    ("a big-endian integer array", T.DT_INT32, (ctypes.c_int32.__ctype_be__ * 2)(-1, 300), [2], [-1, 300]),
    ("one text", T.DT_STRING, "名", [], ["名".encode()]),
    ("texts and bytes", T.DT_STRING, [["a", b"\xff"], ["", bytearray(b"b")]], [2, 2], [b"a", b"\xff", b"", b"b"]),
    ("a long text", T.DT_STRING, ["x" * 300], [1], [b"x" * 300]),
    ("many integers", T.DT_INT64, range(-300, 300), [600], list(range(-300, 300))),
    ("many shorts", T.DT_UINT16, array("H", range(600)), [600], list(range(600))),
    ("infinity from a large number", T.DT_FLOAT, [1e300], [1], [float("inf")]),
]  # fmt: skip


@pytest.mark.usefixtures("_both")
@pytest.mark.parametrize(
    ("kind", "content", "shape", "values"), [case[1:] for case in CONTENTS[:3] + CONTENTS[4:]],
    ids=[case[0] for case in CONTENTS[:3] + CONTENTS[4:]],
)  # fmt: skip
def test_content_of_every_kind(kind: int, content: Any, shape: list[int], values: list[Any]) -> None:
    """The message has the content's shape and elements, with and without numpy."""
    assert feed(kind, content) == (shape, values)


def test_an_iterator_is_read_once() -> None:
    assert feed(T.DT_INT32, iter([1, 2])) == ([2], [1, 2])


@pytest.mark.usefixtures("_both")
def test_plain_bytes_are_raw_memory_if_the_shape_says_so() -> None:
    raw = struct.pack("<3f", 1, 2, 3)
    assert feed(T.DT_FLOAT, raw, [3]) == ([3], [1, 2, 3])
    assert feed(T.DT_FLOAT, memoryview(bytearray(raw)), [3, 1]) == ([3, 1], [1, 2, 3])
    assert feed(T.DT_FLOAT, b"\x01\x02\xff", [3]) == ([3], [1, 2, 255])
    assert feed(T.DT_INT64, struct.pack("<2q", -5, 5), [2]) == ([2], [-5, 5])
    with pytest.raises(BodyError, match="give the shape"):
        feed(T.DT_FLOAT, raw)


@pytest.mark.parametrize(
    ("kind", "content", "values"),
    [
        (T.DT_FLOAT, np.arange(6, dtype=np.float32).reshape(2, 3).T, [0, 3, 1, 4, 2, 5]),
        (T.DT_FLOAT, np.asfortranarray([[1.0, 2.0], [3.0, 4.0]]), [1, 2, 3, 4]),
        (T.DT_FLOAT, np.array([1.5], np.float16), [1.5]),
        (T.DT_FLOAT, np.array([1e300]), [float("inf")]),
        (T.DT_DOUBLE, np.array([True, False]), [1, 0]),
        (T.DT_INT8, np.arange(-2, 2)[::-1], [1, 0, -1, -2]),
        (T.DT_INT64, np.array([2**63 - 1], np.uint64), [2**63 - 1]),
        (T.DT_INT32, np.array([1, 2], object), [1, 2]),
        (T.DT_STRING, np.array([["a", "名"]]), [b"a", "名".encode()]),
        (T.DT_STRING, np.array([b"a", b"bc"], object), [b"a", b"bc"]),
        (T.DT_INT64, np.int16(-3), [-3]),
        (T.DT_INT64, [np.int64(-3), np.int8(4)], [-3, 4]),
        (T.DT_BOOL, [np.True_, np.False_], [True, False]),
        (T.DT_FLOAT, [np.array([1, 2]), np.array([3, 4])], [1, 2, 3, 4]),
        (T.DT_FLOAT, [[np.array([1]), np.array([3])]], [1, 3]),
        (T.DT_FLOAT, memoryview(np.array([1.5], np.float16)), [1.5]),
    ],
)
def test_arrays_of_every_layout_and_type(kind: int, content: Any, values: list[Any]) -> None:
    assert feed(kind, content)[1] == values


@pytest.mark.usefixtures("_both")
@pytest.mark.parametrize(
    ("kind", "content", "says"),
    [
        (T.DT_BOOL, [True, 2], "element 1 is 2"),
        (T.DT_BOOL, array("B", [0, 255]), "element 1 is 255"),
        (T.DT_INT64, [2**63], "element 0"),
        (T.DT_INT32, array("f", [1]), "float"),
        (T.DT_INT8, b"\x80", "128"),
        (T.DT_FLOAT, [1, None], "element 1 is None"),
        (T.DT_FLOAT, [10**400], "element 0"),
        (T.DT_FLOAT, [1, [2]], "element 1"),
        (T.DT_FLOAT, [[1], 2], "mixed"),
        (T.DT_FLOAT, "1.0", "str"),
        (T.DT_FLOAT, {1.0}, "set"),
        (T.DT_FLOAT, object(), "object"),
        (T.DT_STRING, ["\ud800"], "element 0"),
        (T.DT_STRING, array("f", [1]), "element 0"),
    ],
)
def test_wrong_content_names_the_element(kind: int, content: Any, says: str) -> None:
    with pytest.raises(BodyError) as caught:
        TFRequest().add_feed("pixels", None, kind, content)
    assert says in str(caught.value)
    assert "feed 'pixels'" in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (T.DT_FLOAT, np.array(["1"])),
        (T.DT_FLOAT, np.array([1j])),
        (T.DT_INT64, np.array([2**63], np.uint64)),
        (T.DT_BOOL, np.array([0, 2])),
        (T.DT_INT32, np.array(["2026-05-04"], "M8[D]")),
        (T.DT_INT32, np.array([1, "x"], object)),
        (T.DT_STRING, np.array([1])),
        (T.DT_FLOAT, [np.zeros(2), np.zeros(3)]),
        (T.DT_FLOAT, [1, np.zeros(2)]),
    ],
)
def test_wrong_arrays_are_body_errors(kind: int, content: Any) -> None:
    with pytest.raises(BodyError, match="feed 'x'"):
        TFRequest().add_feed("x", None, kind, content)


@pytest.mark.parametrize("shape", ["3", 3, [1.0], [None], [2**63], [[1]]])
def test_a_wrong_shape_is_a_body_error(shape: Any) -> None:
    with pytest.raises(BodyError, match="feed 'x'"):
        TFRequest().add_feed("x", shape, T.DT_FLOAT, [1])


def test_names_must_be_text() -> None:
    for call in (lambda: TFRequest(None), lambda: TFRequest().add_fetch(b"y"),  # type: ignore[arg-type]
                 lambda: TFRequest().add_feed(1, [], T.DT_FLOAT, 1)):  # type: ignore[arg-type]  # fmt: skip
        with pytest.raises(BodyError, match="must be text"):
            call()


def test_a_float_array_is_written_with_one_copy() -> None:
    """While the body is made, no other memory of the size of the array is allocated."""
    image = np.ones((1000, 1000), np.float32)
    request = TFRequest("s")
    request.add_feed("warm", [1], T.DT_FLOAT, image[0, :1])
    tracemalloc.start()
    request.add_feed("x", [1000, 1000], T.DT_FLOAT, image)
    added = tracemalloc.get_traced_memory()[1]
    body = request.to_string()
    sent = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert added < 16_384
    assert sent < len(body) + 32_768


def test_a_borrowed_array_is_read_when_the_body_is_made() -> None:
    """A later change of the array is part of the next body. A body that was made before is not affected."""
    image = np.array([1, 2], np.float32)
    request = TFRequest()
    request.add_feed("x", [2], T.DT_FLOAT, image)
    before = request.to_string()
    image[0] = 9
    assert list(Request.FromString(before).inputs["x"].float_val) == [1, 2]
    assert list(Request.FromString(request.to_string()).inputs["x"].float_val) == [9, 2]


def test_content_other_than_arrays_is_read_when_it_is_added() -> None:
    for content, kind in (([1.0, 2.0], T.DT_FLOAT), (np.array([1.0, 2.0]), T.DT_FLOAT), (np.array([1, 2]), T.DT_INT64)):
        request = TFRequest()
        request.add_feed("x", [2], kind, content)
        before = request.to_string()
        content[0] = 9
        assert request.to_string() == before


@SETTINGS
@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=80))
def test_values_without_numpy_are_the_same(values: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "numpy", None)
        assert feed(T.DT_INT64, values) == ([len(values)], values)
        response = Response()
        response.outputs["y"].dtype = T.DT_INT64
        response.outputs["y"].int64_val.extend(values)
        assert TFResponse(response.SerializeToString()).get_values("y") == values


def test_an_array_without_numpy_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    response = Response()
    response.outputs["y"].dtype = T.DT_FLOAT
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(BodyError, match="numpy"):
        TFResponse(response.SerializeToString()).as_numpy("y")
