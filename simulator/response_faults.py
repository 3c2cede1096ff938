"""Response faults: each is a step that changes a response or its delivery.

A response is sent as a whole, or as a stream, whose body does not exist when the faults are applied. So a fault has an
entry in two tables: a function in one of `_ON_BODIES`, `_ON_BYTES`, `_ON_POSITIONS` or `_ON_WIRES` changes whole
responses (`apply_response_faults`), and one in `_BODY_STEPS`, `_WIRE_STEPS` or `_ON_PLANS` changes streams (`plan_of`).
tests/simulator/test_stream_faults.py fails for a fault that has an effect on whole responses only.

The functions have no I/O. The groups of steps have a fixed order, which does not depend on the order in which faults
were added: first the body, then the head, then the delivery and the end of the connection.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from attrs import evolve

from simulator.delivery import Ending, IdleEnd, Wire
from simulator.http1 import Response, render
from simulator.malformed import COMPLETE, WAYS, malform
from simulator.stream_steps import AfterBytes, AfterFirst, BeforeEnd, ChangeAfter, ChangeBytes, DelayFirst, EachPiece
from simulator.streaming import End, Raw, StreamPlan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from random import Random

    from simulator.faults import Fault
    from simulator.http1 import ReceivedRequest
    from simulator.streaming import Step

_NO_CHUNK_SIZE = b"not-a-size\r\n"
_TICK_S = 0.05
"""Seconds between two pieces of a response that is sent slowly."""


def is_response_fault(fault: Fault) -> bool:
    """Return whether the fault changes the response or its delivery, and does not replace the processor's work."""
    tables: tuple[Mapping[str, object], ...] = (_ON_BODIES, _ON_BYTES, _ON_POSITIONS, _ON_WIRES)
    return any(fault.type in table for table in tables) or _cuts_the_body(fault)


def delay_s(faults: Iterable[Fault], stream: str, rng: Random) -> float:
    """Sum the delays of the `latency` faults on one direction, in seconds."""
    total = 0.0
    for fault in faults:
        if fault.type == "latency" and fault.get("stream") == stream:
            spread = rng.uniform(-1, 1) * fault.get("jitter")
            tail = rng.expovariate(1 / fault.get("tail")) if fault.get("tail") else 0.0
            total += max(0.0, fault.get("latency") + spread + tail) / 1000
    return total


def apply_response_faults(response: Response, faults: Sequence[Fault], rng: Random, request: ReceivedRequest) -> Wire:
    """Apply the faults to a response that is sent as a whole.

    Args:
        response: The response without faults.
        faults: The activated faults; those that change no response are ignored.
        rng: Random source for bytes and sizes.
        request: The request that is answered.
    """
    for fault in _of(faults, _ON_BODIES):
        response = response._replace(body=_ON_BODIES[fault.type](response.body, fault, rng))
    keep = request.keep and not response.close and not any(fault.type == "slow_close" for fault in faults)
    data = render(response, keep=keep, request=request)
    head_bytes = data.index(b"\r\n\r\n") + 4
    wire = Wire([(0.0, data)], Ending.KEEP if keep else Ending.CLOSE)
    for fault in _of(faults, _ON_BYTES):
        wire = _ON_BYTES[fault.type](response, wire, fault)
    for fault in faults:
        if _cuts_the_body(fault):
            half = head_bytes + (len(data) - head_bytes) // 2
            wire = _cut(wire, half, Ending.RESET, fault.get("timeout") / 1000)
    for fault in _in_order(faults, _ON_POSITIONS):
        wire = _ON_POSITIONS[fault.type](wire, head_bytes, fault, rng)
    for fault in _in_order(faults, _ON_WIRES):
        wire = _ON_WIRES[fault.type](wire, fault, rng)
    return wire


def _of(faults: Sequence[Fault], steps: Mapping[str, object]) -> list[Fault]:
    return [fault for fault in faults if fault.type in steps]


def _in_order(faults: Sequence[Fault], steps: Mapping[str, object]) -> list[Fault]:
    return [fault for type_ in steps for fault in faults if fault.type == type_]


def _cuts_the_body(fault: Fault) -> bool:
    return fault.type == "reset_peer" and fault.get("at") == "body"


# -- whole responses: the body


def _truncate(body: bytes, fault: Fault, _: Random) -> bytes:
    keep = fault.get("keep")
    return body[: len(body) // 2 if keep is None else keep]


def _garble(body: bytes, fault: Fault, rng: Random) -> bytes:
    garbled = bytearray(body)
    for at in rng.sample(range(len(body)), min(fault.get("bytes"), len(body))):
        garbled[at] ^= rng.randrange(1, 256)
    return bytes(garbled)


_ON_BODIES: dict[str, Callable[[bytes, Fault, Random], bytes]] = {"truncate_body": _truncate, "garble_body": _garble}


# -- whole responses: the bytes


def _mislead(response: Response, wire: Wire, fault: Fault) -> Wire:
    promised = max(0, len(response.body) + fault.get("difference"))
    honest = b"Content-Length: %d\r\n" % len(response.body)
    wrong = b"Content-Length: %d\r\n" % promised
    ending = Ending.CLOSE if fault.get("close") else Ending.HANG
    return Wire([(0.0, _data(wire).replace(honest, wrong, 1))], ending)


def _malform(response: Response, wire: Wire, fault: Fault) -> Wire:
    return malform(fault.get("how"), response, wire)


_ON_BYTES: dict[str, Callable[[Response, Wire, Fault], Wire]] = {
    "wrong_content_length": _mislead,
    "malformed_response": _malform,
}


# -- whole responses: after a number of bytes of the body


def _garble_from(wire: Wire, head_bytes: int, fault: Fault, rng: Random) -> Wire:
    data = bytearray(_data(wire))
    first = head_bytes + fault.get("after_bytes")
    for at in range(first, min(first + fault.get("bytes"), len(data))):
        data[at] ^= rng.randrange(1, 256)
    return evolve(wire, pieces=[(0.0, bytes(data))])


def _delay_body(wire: Wire, head_bytes: int, fault: Fault, _: Random) -> Wire:
    data = _data(wire)
    if len(data) <= head_bytes:  # there is no body; a delayed end would delay the next request on the connection
        return wire
    return evolve(wire, pieces=[(0.0, data[:head_bytes]), (fault.get("delay") / 1000, data[head_bytes:])])


def _stall(wire: Wire, head_bytes: int, fault: Fault, _: Random) -> Wire:
    size, duration_s = head_bytes + fault.get("after_bytes"), fault.get("duration") / 1000
    if not duration_s:
        return _cut(wire, size, Ending.HANG)
    pieces: list[tuple[float, bytes]] = []
    for pause_s, data in wire.pieces:
        if 0 <= size < len(data):
            pieces += [(pause_s, data[:size]), (duration_s, data[size:])]
        else:
            pieces.append((pause_s, data))
        size -= len(data)
    return evolve(wire, pieces=pieces)


def _cut_body(wire: Wire, head_bytes: int, fault: Fault, _: Random) -> Wire:
    return _cut(wire, head_bytes + fault.get("after_bytes"), _ending_of(fault))


_ON_POSITIONS: dict[str, Callable[[Wire, int, Fault, Random], Wire]] = {
    "garble_stream": _garble_from,
    "slow_first_byte": _delay_body,
    "stall_stream": _stall,
    "cut_stream": _cut_body,
}


# -- whole responses: the delivery, and the end of the connection


def _limit(wire: Wire, fault: Fault, _: Random) -> Wire:
    return _cut(wire, fault.get("bytes"), _ending_of(fault))


def _slice_pieces(pieces: Iterable[tuple[float, bytes]], fault: Fault, rng: Random) -> Iterator[tuple[float, bytes]]:
    """Split pieces, each with the pause before it, into the segments of a `slicer` fault."""
    size, variation, pause_s = fault.get("average_size"), fault.get("size_variation"), fault.get("delay") / 1e6
    for before_s, data in pieces:
        start, pause = 0, before_s
        while start < len(data):
            end = start + max(1, size + (rng.randint(-variation, variation) if variation else 0))
            yield pause, data[start:end]
            start, pause = end, pause_s
        if not data:
            yield before_s, data


def _throttle_pieces(pieces: Iterable[tuple[float, bytes]], fault: Fault) -> Iterator[tuple[float, bytes]]:
    """Split and delay pieces, each with the pause before it, to the rate of a `bandwidth` fault."""
    per_s = fault.get("rate") * 1000
    size = max(1, int(per_s * _TICK_S))
    for before_s, data in pieces:
        for start in range(0, len(data), size):
            piece = data[start : start + size]
            yield (0.0 if start else before_s) + len(piece) / per_s, piece
        if not data:
            yield before_s, data


def _ending_of(fault: Fault) -> Ending:
    """Return the end of the connection that the attribute `reset` selects."""
    return Ending.RESET if fault.get("reset") else Ending.CLOSE


def _idle_end_of(fault: Fault) -> IdleEnd:
    """Build the `IdleEnd` of a `close_idle` fault."""
    return IdleEnd(fault.get("idle") / 1000, fault.get("race"), fault.get("reset"))


def _slice(wire: Wire, fault: Fault, rng: Random) -> Wire:
    return evolve(wire, pieces=_slice_pieces(wire.pieces, fault, rng))


def _throttle(wire: Wire, fault: Fault, _: Random) -> Wire:
    return evolve(wire, pieces=_throttle_pieces(wire.pieces, fault))


def _close_late(wire: Wire, fault: Fault, _: Random) -> Wire:
    return evolve(wire, after_s=wire.after_s + fault.get("delay") / 1000)


def _close_idle(wire: Wire, fault: Fault, _: Random) -> Wire:
    return evolve(wire, idle_end=_idle_end_of(fault))


_ON_WIRES: dict[str, Callable[[Wire, Fault, Random], Wire]] = {
    "limit_data": _limit,
    "slicer": _slice,
    "bandwidth": _throttle,
    "slow_close": _close_late,
    "close_idle": _close_idle,
}


def _cut(wire: Wire, size: int, ending: Ending, after_s: float = 0.0) -> Wire:
    data = _data(wire)
    if size >= len(data):
        return wire
    return Wire([(0.0, data[:size])], ending, after_s)


def _data(wire: Wire) -> bytes:
    return b"".join(data for _, data in wire.pieces)


# -- streams


def plan_of(faults: Sequence[Fault], rng: Random) -> StreamPlan:
    """Build the plan of a stream under its activated faults.

    Args:
        faults: The faults. Faults that replace the work are ignored, and so is `wrong_content_length`, since most
            streams have no Content-Length.
        rng: Random source for bytes and sizes.
    """
    plan = StreamPlan(
        body_steps=[_BODY_STEPS[fault.type](fault, rng) for fault in _in_order(faults, _BODY_STEPS)],
        wire_steps=[_WIRE_STEPS[fault.type](fault, rng) for fault in _in_order(faults, _WIRE_STEPS)],
    )
    for fault in _of(faults, _ON_PLANS):
        plan = _ON_PLANS[fault.type](plan, fault)
    return plan


def _stall_step(fault: Fault, _: Random) -> Step:
    stall_s = fault.get("duration") / 1000 or inf
    return AfterBytes(fault.get("after_bytes"), lambda rest: [(stall_s, b""), (0.0, rest)])


def _cut_step(fault: Fault, _: Random) -> Step:
    return AfterBytes(fault.get("after_bytes"), lambda _: [End(_ending_of(fault))])


def _garble_step(fault: Fault, rng: Random) -> Step:
    if fault.get("where") == "framing":
        return AfterBytes(fault.get("after_bytes"), lambda rest: [Raw(_NO_CHUNK_SIZE), (0.0, rest)])
    return ChangeAfter(fault.get("after_bytes"), fault.get("bytes"), rng)


def _truncate_step(fault: Fault, _: Random) -> Step:
    keep = fault.get("keep")
    return AfterFirst(End()) if keep is None else AfterBytes(keep, lambda _: [End()])


_BODY_STEPS: dict[str, Callable[[Fault, Random], Step]] = {
    "truncate_body": _truncate_step,
    "garble_body": lambda fault, rng: ChangeBytes(fault.get("bytes"), rng),
    "garble_stream": _garble_step,
    "slow_first_byte": lambda fault, _: DelayFirst(fault.get("delay") / 1000),
    "stall_stream": _stall_step,
    "reset_peer": lambda fault, _: AfterFirst(End(Ending.RESET, fault.get("timeout") / 1000)),
    "cut_stream": _cut_step,
}
"""Steps on the body's pieces before they are framed, in the order in which they apply."""

_WIRE_STEPS: dict[str, Callable[[Fault, Random], Step]] = {
    "limit_data": lambda fault, _: AfterBytes(fault.get("bytes"), lambda _: [End(_ending_of(fault))]),
    "slicer": lambda fault, rng: EachPiece(lambda pieces: _slice_pieces(pieces, fault, rng)),
    "bandwidth": lambda fault, _: EachPiece(lambda pieces: _throttle_pieces(pieces, fault)),
}
"""Steps on the bytes of head and body, in the order in which they apply."""


def _malform_stream(plan: StreamPlan, fault: Fault) -> StreamPlan:
    how = fault.get("how")
    if how == "bad_chunk_size":
        step: Step = AfterBytes(0, lambda rest: [Raw(_NO_CHUNK_SIZE), (0.0, rest)])
        return evolve(plan, body_steps=[*plan.body_steps, step], must_close=lambda: True)
    if how == "unsolicited":
        return evolve(plan, wire_steps=[BeforeEnd(WAYS[how](b"", Response())), *plan.wire_steps])
    if how == "not_http":
        data = WAYS[how](b"", Response())
        step = AfterBytes(len(data), lambda _: [End(Ending.CLOSE)])
        return evolve(plan, change_head=lambda _: data, wire_steps=[step, *plan.wire_steps])
    close = plan.must_close if how in COMPLETE else lambda: True
    way = WAYS["two_lengths" if how == "length_and_chunked" else how]
    return evolve(plan, change_head=lambda head: way(head, Response()), must_close=close)


def _close_stream_late(plan: StreamPlan, fault: Fault) -> StreamPlan:
    return evolve(plan, after_s=plan.after_s + fault.get("delay") / 1000)


_ON_PLANS: dict[str, Callable[[StreamPlan, Fault], StreamPlan]] = {
    "malformed_response": _malform_stream,
    "slow_close": _close_stream_late,
    "close_idle": lambda plan, fault: evolve(plan, idle_end=_idle_end_of(fault)),
}
"""Changes of the head and of the end of the connection, in the order in which the faults were added."""
