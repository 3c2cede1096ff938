"""Delivery of answers: as one JSON document after the total time, or as server-sent events with pauses."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from simulator.durations import MAX_S
from simulator.later import Later
from simulator.messages import Response
from simulator.processors.llm.errors import LlmError
from simulator.streaming import StreamResponse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from simulator.processors.requests import ProcessorRequest

    Event = tuple[float, dict[str, Any]]

DONE = b"data: [DONE]\n\n"


def common_fields(request: ProcessorRequest, prefix: str, kind: str, model: str) -> dict[str, Any]:
    """Return the fields that every answer and every event has; the fingerprint is the id of the instance."""
    return {
        "id": f"{prefix}-{request.rng.getrandbits(96):024x}",
        "object": kind,
        "created": int(request.clock.seconds()),
        "model": model,
        "system_fingerprint": request.instance,
    }


def answer_whole(value: dict[str, Any], after_s: float) -> Any:
    """Answer with a JSON value after a delay."""
    headers = {"X-Request-Id": value["id"]} if "id" in value else {}
    response = Response(200, json.dumps(value).encode(), "application/json", headers)
    return Later(min(after_s, MAX_S), response)


def answer_events(events: Iterable[Event], request_id: str) -> StreamResponse:
    """Answer with server-sent events, each with a pause in seconds before it; the head is sent immediately."""
    headers = {"Cache-Control": "no-cache", "X-Request-Id": request_id}
    return StreamResponse(_pieces(events), 200, "text/event-stream; charset=utf-8", headers)


def _pieces(events: Iterable[Event]) -> Iterator[Any]:
    yield b""
    for pause_s, value in events:
        data = b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n"
        yield Later(min(pause_s, MAX_S), data) if pause_s > 0 else data
    yield DONE


def wants_usage(body: dict[str, Any]) -> bool:
    """Return whether the last event of a stream must have the usage.

    Raises:
        LlmError: `stream_options` is invalid, or the answer is not streamed.
    """
    options = body.get("stream_options")
    if options is None:
        return False
    if not isinstance(options, dict):
        raise LlmError("'stream_options' must be an object", param="stream_options")
    if body.get("stream") is not True:
        raise LlmError("'stream_options' is only allowed with 'stream'", param="stream_options")
    return options.get("include_usage") is True


def check_one(body: dict[str, Any]) -> None:
    """Reject requests that this model does not support.

    Raises:
        LlmError: More than one answer is requested, or `stream` is not a boolean.
    """
    if body.get("n", 1) not in (1, None) or isinstance(body.get("n"), bool):
        raise LlmError("this model gives one answer: 'n' must be 1", param="n")
    if body.get("stream") not in (None, True, False):
        raise LlmError("'stream' must be true or false", param="stream")


def with_usage(head: dict[str, Any], events: Iterable[Event], usage: dict[str, Any] | None) -> Iterator[Event]:
    """Add the usage to a stream: null in every event, and an additional event with the usage at the end.

    If `usage` is `None`, the events are unchanged.
    """
    if usage is None:
        yield from events
        return
    for pause_s, value in events:
        yield pause_s, {**value, "usage": None}
    yield 0.0, {**head, "choices": [], "usage": usage}


def total_usage(usages: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Add up the usage of several answers."""
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    cached = sum(usage["prompt_tokens_details"]["cached_tokens"] for usage in usages)
    summed = {name: sum(usage[name] for usage in usages) for name in names}
    return {**summed, "prompt_tokens_details": {"cached_tokens": cached}}
