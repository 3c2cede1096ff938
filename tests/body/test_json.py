"""JSON requests and responses."""

from __future__ import annotations

import contextlib
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eas_tw import BodyError, JsonRequest, JsonResponse

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(values)
def test_json_values_survive_encoding_and_decoding(value: Any) -> None:
    try:
        body = JsonRequest(value).to_string()
    except BodyError:
        assert "\\ud" in json.dumps(value)  # only an unpaired surrogate cannot be encoded
        return
    assert json.loads(body) == value
    assert JsonRequest(None).parse_response(body).data == value


def test_text_is_utf8_without_spaces() -> None:
    assert JsonRequest([{"名": 1, "b": [1.5, None]}]).to_string() == '[{"名":1,"b":[1.5,null]}]'.encode()


def test_arrays_are_nested_lists() -> None:
    assert JsonRequest({"x": np.ones((1, 2), "f4"), "y": np.int64(3)}).to_string() == b'{"x":[[1.0,1.0]],"y":3}'


circle: list[Any] = []
circle.append(circle)


@pytest.mark.parametrize("value", [math.nan, math.inf, {1, 2}, object(), circle, {(1, 2): 3}, "\ud800", b"x"])
def test_values_without_json_are_refused(value: Any) -> None:
    with pytest.raises(BodyError, match="a JsonRequest cannot be written"):
        JsonRequest(value)


@pytest.mark.parametrize(
    "content", [b"<html>busy</html>", b"", b"{", b"\xff\xfe", "[1]".encode("utf-16"), b"[" * 100_000, b"1" * 5000]
)
def test_invalid_json_is_a_body_error(content: bytes) -> None:
    with pytest.raises(BodyError, match=r"no JSON body \(\d+ bytes"):
        JsonResponse(content)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.binary(max_size=20) | st.text('[]{}",:0123456789eE.-tfn', max_size=12).map(str.encode))
def test_any_bytes_are_json_or_a_body_error(content: bytes) -> None:
    with contextlib.suppress(BodyError):
        assert str(JsonResponse(content)).encode() == content


def test_a_response_is_data_and_text() -> None:
    response = JsonResponse(memoryview(b'{"scores": [0.5]}'))
    assert response["scores"] == response.data["scores"] == [0.5]
    assert str(response) == response.to_string() == '{"scores": [0.5]}'
    assert response.content == b'{"scores": [0.5]}'


def test_a_byte_order_mark_is_ignored() -> None:
    """RFC 8259 §8.1 allows parsers to ignore a byte order mark. Some .NET and Java libraries write one."""
    response = JsonResponse(b'\xef\xbb\xbf{"a":1}')
    assert response.data == {"a": 1}
    assert json.loads(str(response)) == json.loads(response.to_string()) == {"a": 1}
    assert response.content.startswith(b"\xef\xbb\xbf")
    with pytest.raises(BodyError, match="no JSON body"):
        JsonResponse(b'\xef\xbb\xbf\xef\xbb\xbf{"a":1}')
    with pytest.raises(BodyError, match="no JSON body"):
        JsonResponse('{"a":1}'.encode("utf-16"))
