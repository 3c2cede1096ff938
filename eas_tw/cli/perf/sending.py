"""Functions that start one call of a run: a prediction, or a stream that is read to its end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from eas_tw import ServerSentEventParser
from eas_tw.cli.perf.histogram import CompactHistogram
from eas_tw.cli.perf.in_flight import StreamTimes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from eas_tw import PredictClient, Stream

_MAX_EVENT_BYTES = 1 << 20


def sender(
    client: PredictClient,
    requests: Iterator[tuple[Any, dict[str, str]]],
    details: dict[str, Any],
    *,
    is_stream: bool,
) -> Callable[[], Deferred[Any]]:
    """Return a function that starts a call.

    Args:
        client: The client, after its `init`.
        requests: An iterator of pairs: the request of a call, and the keyword arguments for this call.
        details: The keyword arguments of `predict`, or of `stream`, for all calls.
        is_stream: Whether the response is read as a stream.
    """
    seconds = client.clock.seconds

    def predict() -> Deferred[Any]:
        request, more = next(requests)
        return client.predict(request, **{**details, **more})

    async def read() -> StreamTimes:
        request, more = next(requests)
        async with client.stream(request, **{**details, **more}) as stream:
            return await times_of(stream, seconds)

    return (lambda: Deferred.fromCoroutine(read())) if is_stream else predict


async def times_of(stream: Stream, seconds: Callable[[], float]) -> StreamTimes:
    """Read a stream to its end, and return the arrival times of its parts.

    Args:
        stream: The stream.
        seconds: A function that returns the time of the reactor's clock.

    Raises:
        EasError: The stream broke, or its body cannot be parsed.
    """
    parser = ServerSentEventParser(_MAX_EVENT_BYTES) if _has_events(stream) else None
    tokens, gaps = TokenCount(), CompactHistogram()
    events, first_s, last_s = 0, None, None
    async for piece in stream:
        now_s = seconds()
        if first_s is None:
            first_s = now_s
        # For a response without server-sent events, each piece counts as an event, and the number of tokens is 0.
        parts = [""] if parser is None else [event.data for event in parser.feed(piece)]
        for data in parts:
            if last_s is not None:
                gaps.record(now_s - last_s)
            last_s = now_s
            events += 1
            tokens.add(data)
    return StreamTimes(first_s, gaps, events, tokens.total)


def _has_events(stream: Stream) -> bool:
    kind = stream.headers.get("content-type", "").partition(";")[0]
    return kind.strip().lower() == "text/event-stream"


class TokenCount:
    """Counts the tokens of a language model's answer.

    If an event contains `usage.completion_tokens`, that number is used; servers add it to the last event if the request
    has `"stream_options": {"include_usage": true}`. Otherwise each event with text counts as one token, because servers
    usually send one token per event.
    """

    def __init__(self) -> None:
        self._texts = 0
        self._reported: int | None = None

    @property
    def total(self) -> int:
        """The number of tokens so far."""
        return self._texts if self._reported is None else self._reported

    def add(self, text: str) -> None:
        """Count the tokens of an event, from its data."""
        if "choices" not in text:  # such events have no tokens, so they are not parsed
            return
        try:
            data = json.loads(text)
            usage = data.get("usage") or {}
            reported = usage.get("completion_tokens")
            choices = data.get("choices") or [{}]
            delta = choices[0].get("delta", choices[0])
            found = delta.get("content") or delta.get("text")
        except (ValueError, AttributeError, LookupError, TypeError, RecursionError):
            return
        if type(reported) is int:
            self._reported = reported
        self._texts += bool(found)
