"""Captured headers and bodies are bounded, and contain no token."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import quote

import pytest

from simulator.captures import MAX_TOTAL_BYTES, Capture, Captures, Message
from simulator.masking import MASK, TokenMask

TOKEN = "Zm9v/YmFy+c2VjcmV0=="


def capture(size: int) -> Capture:
    return Capture(Message({}, bytes(size), size), None)


def test_the_oldest_are_dropped_beyond_the_bound() -> None:
    kept = Captures()
    for number in range(1, 6):
        kept.keep(number, capture(MAX_TOTAL_BYTES // 4))
    assert [number for number in range(1, 6) if kept.get(number)] == [3, 4, 5]


def test_a_capture_above_the_bound_is_not_stored() -> None:
    kept = Captures()
    kept.keep(1, capture(MAX_TOTAL_BYTES + 1))
    assert kept.get(1) is None
    kept.keep(2, capture(10))
    assert kept.get(2) is not None


def shown(body: bytes, body_bytes: int, **headers: str) -> Any:
    mask = TokenMask()
    mask.add("echo", TOKEN)
    return Message(headers, body, body_bytes).to_json(mask)


def test_a_message_is_text_if_possible_and_tokens_are_masked() -> None:
    found = shown(f"my {TOKEN}".encode(), 9, authorization=TOKEN)
    assert found == {"headers": {"authorization": MASK}, "body_bytes": 9, "body": f"my {MASK}"}
    assert shown(b"\xff", 1)["body_base64"] == "/w=="


@pytest.mark.parametrize("spelled", [TOKEN, quote(TOKEN, safe=""), quote(quote(TOKEN, safe="")), "%5A%6d" + TOKEN[2:]])
def test_tokens_in_a_binary_body_are_masked(spelled: str) -> None:
    body = b"\xff%\x00 " + spelled.encode() + b" \x00\xfe"
    expected = b"\xff%\x00 " + MASK.encode() + b" \x00\xfe"
    assert base64.b64decode(shown(body, len(body))["body_base64"]) == expected


def test_a_token_at_the_cut_of_a_body_is_masked() -> None:
    """The stored part of the body ends within the token."""
    for length in range(len(TOKEN) // 2, len(TOKEN)):
        body = f"my {TOKEN[:length]}".encode()
        assert shown(body, 100)["body"] == f"my {MASK}"
        assert base64.b64decode(shown(b"\xff" + body, 100)["body_base64"]) == b"\xffmy " + MASK.encode()
        assert shown(body, len(body))["body"] == body.decode()


@pytest.mark.parametrize("text", ["ä", "中文", "a😀"])
def test_a_text_is_shown_up_to_the_last_whole_character(text: str) -> None:
    body = f"x{text}".encode()
    for length in range(1, len(body) + 1):
        found = shown(body[:length], len(body))
        assert found["body"] == body[:length].decode("utf-8", "ignore")
        assert found["body_bytes"] == len(body)


def test_a_token_before_a_character_at_the_cut_is_masked() -> None:
    body = f"{TOKEN}中".encode()
    assert shown(body[:-1], len(body))["body"] == MASK


@pytest.mark.parametrize(("body", "body_bytes"), [(b"a\xe4", 2), (b"a\xe4b", 9), (b"\xff", 9)])
def test_a_body_that_is_not_the_beginning_of_a_text_is_shown_in_base64(body: bytes, body_bytes: int) -> None:
    assert base64.b64decode(shown(body, body_bytes)["body_base64"]) == body


def test_other_binary_bodies_are_not_changed() -> None:
    body = bytes(range(256)) * 2 + b"100% %41 %zz" + bytes([255]) + b"abc"
    assert base64.b64decode(shown(body, 9999)["body_base64"]) == body
