"""Captured headers and bodies are bounded, and contain no token."""

from __future__ import annotations

from simulator.captures import MAX_TOTAL_BYTES, Capture, Captures, Message


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


def test_a_message_is_text_if_possible_and_tokens_are_masked() -> None:
    def mask(text: str) -> str:
        return text.replace("s3cret", "•••")

    shown = Message({"authorization": "s3cret"}, b"my s3cret", 9).to_json(mask)
    assert shown == {"headers": {"authorization": "•••"}, "body_bytes": 9, "body": "my •••"}
    assert Message({}, b"\xff", 7).to_json(mask)["body_base64"] == "/w=="
