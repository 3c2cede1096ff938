"""Times of first bytes, events and tokens in streamed responses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from eas_tw.cli.perf.in_flight import StreamTimes
from eas_tw.cli.perf.sending import TokenCount, times_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Body:
    """A stream with the interface that `times_of` reads: headers, and chunks that arrive at given times."""

    def __init__(self, clock: Clock, content_type: str, pieces: dict[float, bytes]) -> None:
        self.headers = {"content-type": content_type}
        self._clock = clock
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for at_s, piece in self._pieces.items():
            arriving: Deferred[None] = Deferred()
            self._clock.callLater(at_s - self._clock.seconds(), arriving.callback, None)
            await arriving
            yield piece


def read(content_type: str, pieces: dict[float, bytes]) -> StreamTimes:
    clock, found = Clock(), []
    stream: Any = Body(clock, content_type, pieces)
    Deferred.fromCoroutine(times_of(stream, clock.seconds)).addCallback(found.append)
    clock.pump([1 / 8] * 100)
    assert clock.getDelayedCalls() == []
    (times,) = found
    return times


def test_events_are_timed_when_their_last_byte_arrives() -> None:
    """The first event is complete at 1 s, two more events at 1.5 s, and the last at 2 s."""
    times = read(
        "text/event-stream; charset=utf-8",
        {0.5: b"data: ", 1.0: b"a\n\n", 1.5: b"data: b\n\ndata: c\n\n", 2.0: b"data: [DONE]\n\n"},
    )
    assert (times.first_byte_s, times.events, times.tokens) == (0.5, 4, 0)
    assert sorted(times.gaps.counted()) == [(0.0, 1), (0.5, 2)]


def test_pieces_of_other_responses_count_as_events() -> None:
    times = read("application/octet-stream", {0.5: b"x", 0.75: b"y", 1.0: b"z"})
    assert (times.first_byte_s, times.events, times.tokens) == (0.5, 3, 0)
    assert list(times.gaps.counted()) == [(0.25, 2)]


def test_an_empty_body_has_no_first_byte() -> None:
    times = read("text/event-stream", {})
    assert (times.first_byte_s, times.events, times.gaps.count) == (None, 0, 0)


@pytest.mark.parametrize(
    ("events", "tokens"),
    [
        (['{"choices": [{"delta": {"role": "assistant"}}]}', '{"choices": [{"delta": {"content": "a"}}]}'], 1),
        (['{"choices": [{"text": "a"}]}', '{"choices": [{"text": "b"}]}', "[DONE]"], 2),
        (['{"choices": [{"text": "a b c"}]}', '{"choices": [], "usage": {"completion_tokens": 3}}'], 3),
        (['{"choices": [{"text": "a"}], "usage": null}'], 1),
        (["choices", '{"choices": 5}', '{"choices": [5]}', '["choices"]', '{"choices": [], "usage": 5}'], 0),
        (["plain", '{"text": "a"}'], 0),
    ],
)
def test_tokens_are_events_with_text_or_what_the_usage_says(events: list[str], tokens: int) -> None:
    count = TokenCount()
    for event in events:
        count.add(event)
    assert count.total == tokens
