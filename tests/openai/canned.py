"""A service with one fixed response: a tool call with characters that a proxy might damage."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from simulator.processors import Response, StreamResponse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator.processors import ProcessorRequest

ARGUMENTS = '{"city":"Zürich – 苏黎世","days": [1, 2.50],"note":"a\\nb\\u0000 data: x\\r\\n\\r\\n"}'
CALL = {
    "id": "call_ü",
    "type": "function",
    "function": {"name": "get_weather", "arguments": ARGUMENTS},
    "vendor_field": {"kept": True},
}


def message(**parts: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, **parts}


def answer(request: ProcessorRequest) -> Any:
    """Return the tool call as one response, or as a stream with its arguments in chunks."""
    asked = json.loads(request.body)
    common = {"id": "chatcmpl-1", "created": 1, "model": "m", "asked": asked}
    if not asked.get("stream"):
        choice = {"index": 0, "finish_reason": "tool_calls", "message": message(tool_calls=[CALL])}
        whole = {**common, "object": "chat.completion", "choices": [choice]}
        return Response(200, json.dumps(whole, ensure_ascii=False).encode(), "application/json")
    return StreamResponse(_events({**common, "object": "chat.completion.chunk"}), 200, "text/event-stream")


def _events(common: dict[str, Any]) -> Iterator[bytes]:
    yield _event(
        common, message(tool_calls=[{**CALL, "index": 0, "function": {"name": "get_weather", "arguments": ""}}])
    )
    for at in range(0, len(ARGUMENTS), 5):
        yield _event(common, {"tool_calls": [{"index": 0, "function": {"arguments": ARGUMENTS[at : at + 5]}}]})
    yield _event(common, {}, "tool_calls")
    yield b"data: [DONE]\n\n"


def _event(common: dict[str, Any], delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return b"data: " + json.dumps({**common, "choices": [choice]}, ensure_ascii=False).encode() + b"\n\n"
