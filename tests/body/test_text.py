"""Requests of text and plain bytes, and the objects that are accepted as requests."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from eas_tw import BodyError, StringRequest, StringResponse
from eas_tw.body.request import as_request


@pytest.mark.parametrize(
    ("data", "body"),
    [
        ("", b""),
        ("名", "名".encode()),
        (b"\x00\xff", b"\x00\xff"),
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"abcd")[::2], b"ac"),
        (np.array([[1, 2], [3, 4]], np.uint8).T, b"\x01\x03\x02\x04"),
    ],
)
def test_a_string_request_is_its_bytes(data: Any, body: bytes) -> None:
    assert StringRequest(data).to_string() == body
    assert as_request(data).to_string() == body


def test_a_buffer_is_copied_at_once() -> None:
    data = bytearray(b"ab")
    request = StringRequest(data)
    data[0] = 0
    assert request.to_string() == b"ab"


@pytest.mark.parametrize("data", [None, 5, ["a"], {"a": 1}, "\ud800"])
def test_objects_that_are_neither_text_nor_buffer_are_body_errors(data: Any) -> None:
    with pytest.raises(BodyError):
        StringRequest(data)
    with pytest.raises(BodyError):
        as_request(data)


def test_an_object_with_the_two_methods_is_a_request() -> None:
    class Official:
        def to_string(self) -> bytes:
            return b"x"

        def parse_response(self, content: bytes) -> bytes:
            return content

    request = Official()
    assert as_request(request) is request


def test_an_object_with_only_one_of_the_two_methods_is_no_request() -> None:
    class Half:
        def to_string(self) -> bytes:
            return b"x"

    with pytest.raises(BodyError, match="parse_response"):
        as_request(Half())


def test_a_response_that_is_not_utf_8_still_has_its_bytes() -> None:
    response = StringResponse(b"ab\xff")
    assert response.content == b"ab\xff"
    with pytest.raises(BodyError, match="0xff at 2 of 3"):
        response.to_string()
    with pytest.raises(BodyError, match="content"):
        str(response)
    assert "3 bytes" in repr(response)
