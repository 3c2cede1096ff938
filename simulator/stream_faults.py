"""Stream faults: each is a step that changes the pieces of a streamed response while it is sent.

`response_faults` does the same for responses that are sent as a whole. The steps have no I/O.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from attrs import evolve

from simulator.delivery import Ending
from simulator.malformed import COMPLETE, WAYS
from simulator.messages import Response
from simulator.response_faults import idle_end_of, slice_pieces, throttle_pieces
from simulator.streaming import End, Raw, StreamPlan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from random import Random

    from simulator.faults import Fault
    from simulator.streaming import Item, Step

_NO_CHUNK_SIZE = b"not-a-size\r\n"


class AfterBytes:
    """Replaces the rest of one piece, once, after a number of bytes.

    Args:
        after_bytes: Number of bytes that pass unchanged before.
        act: Called with the rest of the piece; returns the items that are sent instead.
    """

    def __init__(self, after_bytes: int, act: Callable[[bytes], Iterable[Item]]) -> None:
        self._left = after_bytes
        self._act = act
        self._is_done = False

    def apply(self, items: Iterable[Item]) -> Iterator[Item]:
        """Return the changed items (`Step`)."""
        for item in items:
            if self._is_done or isinstance(item, End | Raw) or len(item[1]) < self._left:
                if isinstance(item, tuple):
                    self._left -= len(item[1])
                yield item
                continue
            pause_s, data = item
            self._is_done = True
            yield pause_s, data[: self._left]
            for changed in self._act(data[self._left :]):
                yield changed
                if isinstance(changed, End):
                    return


class AfterFirst:
    """Ends the stream after its first non-empty piece.

    Args:
        end: The end of the stream.
    """

    def __init__(self, end: End) -> None:
        self._end = end

    def apply(self, items: Iterable[Item]) -> Iterator[Item]:
        """Return the changed items (`Step`)."""
        for item in items:
            yield item
            if isinstance(item, tuple) and item[1]:
                yield self._end
                return


class DelayFirst:
    """Delays the first non-empty piece, or the end of an empty stream.

    Args:
        delay_s: Delay in seconds.
    """

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s

    def apply(self, items: Iterable[Item]) -> Iterator[Item]:
        """Return the changed items (`Step`)."""
        for item in items:
            if self._delay_s and isinstance(item, tuple) and item[1]:
                yield item[0] + self._delay_s, item[1]
                self._delay_s = 0.0
            elif self._delay_s and isinstance(item, End):
                yield evolve(item, after_s=item.after_s + self._delay_s)
                self._delay_s = 0.0
            else:
                yield item


class ChangeBytes:
    """Changes the next bytes, each to a random other value.

    Args:
        count: Number of bytes to change; their positions within a piece are random.
        rng: Source of random draws.
    """

    def __init__(self, count: int, rng: Random) -> None:
        self._left = count
        self._rng = rng

    def apply(self, items: Iterable[Item]) -> Iterator[Item]:
        """Return the changed items (`Step`)."""
        for item in items:
            if not isinstance(item, tuple) or not self._left:
                yield item
                continue
            pause_s, data = item
            changed = bytearray(data)
            for at in self._rng.sample(range(len(data)), min(self._left, len(data))):
                changed[at] ^= self._rng.randrange(1, 256)
            self._left -= min(self._left, len(data))
            yield pause_s, bytes(changed)


class ChangeAfter:
    """Changes consecutive bytes after a number of bytes, each to a random other value.

    Args:
        after_bytes: Number of bytes that pass unchanged before.
        count: Number of bytes to change.
        rng: Source of random draws.
    """

    def __init__(self, after_bytes: int, count: int, rng: Random) -> None:
        self._first = after_bytes
        self._behind = after_bytes + count
        self._rng = rng

    def apply(self, items: Iterable[Item]) -> Iterator[Item]:
        """Return the changed items (`Step`)."""
        for item in items:
            if not isinstance(item, tuple) or not item[1] or self._behind <= 0:
                yield item
                continue
            pause_s, data = item
            changed = bytearray(data)
            for at in range(max(0, self._first), min(self._behind, len(data))):
                changed[at] ^= self._rng.randrange(1, 256)
            self._first -= len(data)
            self._behind -= len(data)
            yield pause_s, bytes(changed)


class _Pieces:
    """A step without state, which applies a function to each piece."""

    def __init__(self, change: Callable[[Iterable[tuple[float, bytes]]], Iterator[tuple[float, bytes]]]) -> None:
        self._change = change

    def apply(self, items: Iterable[Item]) -> Iterator[Item]:
        """Return the changed items (`Step`)."""
        for item in items:
            if isinstance(item, tuple):
                yield from self._change([item])
            else:
                yield item


class _BeforeEnd:
    """Adds bytes after the body."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def apply(self, items: Iterable[Item]) -> Iterator[Item]:
        """Return the changed items (`Step`)."""
        for item in items:
            if isinstance(item, End) and item.ending is None:
                yield 0.0, self._data
            yield item


def _stall(fault: Fault, _: Random) -> Step:
    return AfterBytes(fault.get("after_bytes"), lambda rest: [(stall_s(fault), b""), (0.0, rest)])


def stall_s(fault: Fault) -> float:
    """Return the length of a `stall_stream` in seconds; infinite if it does not end."""
    return fault.get("duration") / 1000 or inf


def ending_of(fault: Fault) -> Ending:
    """Return the end of the connection that the attribute `reset` selects."""
    return Ending.RESET if fault.get("reset") else Ending.CLOSE


def _cut(fault: Fault, _: Random) -> Step:
    return AfterBytes(fault.get("after_bytes"), lambda _: [End(ending_of(fault))])


def _garble(fault: Fault, rng: Random) -> Step:
    if fault.get("where") == "framing":
        return AfterBytes(fault.get("after_bytes"), lambda rest: [Raw(_NO_CHUNK_SIZE), (0.0, rest)])
    return ChangeAfter(fault.get("after_bytes"), fault.get("bytes"), rng)


def _truncate(fault: Fault, _: Random) -> Step:
    keep = fault.get("keep")
    return AfterFirst(End()) if keep is None else AfterBytes(keep, lambda _: [End()])


_ON_BODIES: dict[str, Callable[[Fault, Random], Step]] = {
    "truncate_body": _truncate,
    "garble_body": lambda fault, rng: ChangeBytes(fault.get("bytes"), rng),
    "garble_stream": _garble,
    "slow_first_byte": lambda fault, _: DelayFirst(fault.get("delay") / 1000),
    "stall_stream": _stall,
    "reset_peer": lambda fault, _: AfterFirst(End(Ending.RESET, fault.get("timeout") / 1000)),
    "cut_stream": _cut,
}
"""Steps on the body's pieces before they are framed, in the order in which they apply."""

_ON_WIRES: dict[str, Callable[[Fault, Random], Step]] = {
    "limit_data": lambda fault, _: AfterBytes(fault.get("bytes"), lambda _: [End(ending_of(fault))]),
    "slicer": lambda fault, rng: _Pieces(lambda pieces: slice_pieces(pieces, fault, rng)),
    "bandwidth": lambda fault, _: _Pieces(lambda pieces: throttle_pieces(pieces, fault)),
}
"""Steps on the bytes of head and body, in the order in which they apply."""


def plan_of(faults: Sequence[Fault], rng: Random) -> StreamPlan:
    """Build the plan of a stream under its activated faults.

    Args:
        faults: The faults. Faults that replace the work are ignored, and so is `wrong_content_length`, since a stream
            has no length.
        rng: Random source for bytes and sizes.
    """
    plan = StreamPlan(
        body_steps=[make(fault, rng) for type_, make in _ON_BODIES.items() for fault in faults if fault.type == type_],
        wire_steps=[make(fault, rng) for type_, make in _ON_WIRES.items() for fault in faults if fault.type == type_],
    )
    for fault in faults:
        if fault.type == "malformed_response":
            plan = _malform(plan, fault.get("how"))
        elif fault.type == "slow_close":
            plan = evolve(plan, after_s=plan.after_s + fault.get("delay") / 1000)
        elif fault.type == "close_idle":
            plan = evolve(plan, idle_end=idle_end_of(fault))
    return plan


def _malform(plan: StreamPlan, how: str) -> StreamPlan:
    if how == "bad_chunk_size":
        step: Step = AfterBytes(0, lambda rest: [Raw(_NO_CHUNK_SIZE), (0.0, rest)])
        return evolve(plan, body_steps=[*plan.body_steps, step], must_close=lambda: True)
    if how == "unsolicited":
        return evolve(plan, wire_steps=[_BeforeEnd(WAYS[how](b"", Response())), *plan.wire_steps])
    if how == "not_http":
        data = WAYS[how](b"", Response())
        step = AfterBytes(len(data), lambda _: [End(Ending.CLOSE)])
        return evolve(plan, change_head=lambda _: data, wire_steps=[step, *plan.wire_steps])
    if how == "length_and_chunked":
        return evolve(plan, change_head=lambda head: WAYS["two_lengths"](head, Response()), must_close=lambda: True)
    close = plan.must_close if how in COMPLETE else lambda: True
    return evolve(plan, change_head=lambda head: WAYS[how](head, Response()), must_close=close)
