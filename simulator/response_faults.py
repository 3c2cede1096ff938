"""Response faults: each is a step that changes a response or its delivery.

The functions are pure: they take responses and an rng, and return wires. The order of the steps does not depend on the
order in which faults were added: first the body, then the head, then the delivery and the end of the connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from simulator.delivery import Ending, IdleEnd, Wire
from simulator.http1 import Response, render
from simulator.malformed import malform

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from random import Random

    from simulator.faults import Fault
    from simulator.http1 import ReceivedRequest

_TICK_S = 0.05
"""Seconds between two pieces of a response that is sent slowly."""


def is_response_fault(fault: Fault) -> bool:
    """Whether the fault changes the response or its delivery, and does not replace the processor's work."""
    tables: tuple[Mapping[str, object], ...] = (_ON_BODIES, _ON_BYTES, _ON_STREAMS, _ON_WIRES)
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
    """Apply the faults to a response.

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
    for fault in _in_order(faults, _ON_STREAMS):
        wire = _ON_STREAMS[fault.type](wire, head_bytes, fault, rng)
    for fault in _in_order(faults, _ON_WIRES):
        wire = _ON_WIRES[fault.type](wire, fault, rng)
    return wire


def _of(faults: Sequence[Fault], steps: Mapping[str, object]) -> list[Fault]:
    return [fault for fault in faults if fault.type in steps]


def _in_order(faults: Sequence[Fault], steps: Mapping[str, object]) -> list[Fault]:
    return [fault for type_ in steps for fault in faults if fault.type == type_]


def _cuts_the_body(fault: Fault) -> bool:
    return fault.type == "reset_peer" and fault.get("at") == "body"


# -- the body


def _truncate(body: bytes, fault: Fault, _: Random) -> bytes:
    keep = fault.get("keep")
    return body[: len(body) // 2 if keep is None else keep]


def _garble(body: bytes, fault: Fault, rng: Random) -> bytes:
    garbled = bytearray(body)
    for at in rng.sample(range(len(body)), min(fault.get("bytes"), len(body))):
        garbled[at] ^= rng.randrange(1, 256)
    return bytes(garbled)


_ON_BODIES: dict[str, Callable[[bytes, Fault, Random], bytes]] = {"truncate_body": _truncate, "garble_body": _garble}


# -- the bytes


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


# -- whole responses under stream faults, which count the bytes of the body


def _garble_from(wire: Wire, head_bytes: int, fault: Fault, rng: Random) -> Wire:
    data = bytearray(_data(wire))
    first = head_bytes + fault.get("after_bytes")
    for at in range(first, min(first + fault.get("bytes"), len(data))):
        data[at] ^= rng.randrange(1, 256)
    return evolve(wire, pieces=[(0.0, bytes(data))])


def _delay_body(wire: Wire, head_bytes: int, fault: Fault, _: Random) -> Wire:
    data = _data(wire)
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
    return _cut(wire, head_bytes + fault.get("after_bytes"), Ending.RESET if fault.get("reset") else Ending.CLOSE)


_ON_STREAMS: dict[str, Callable[[Wire, int, Fault, Random], Wire]] = {
    "garble_stream": _garble_from,
    "slow_first_byte": _delay_body,
    "stall_stream": _stall,
    "cut_stream": _cut_body,
}


# -- the delivery, and the end of the connection


def _limit(wire: Wire, fault: Fault, _: Random) -> Wire:
    ending = Ending.RESET if fault.get("reset") else Ending.CLOSE
    return _cut(wire, fault.get("bytes"), ending)


def slice_pieces(pieces: Iterable[tuple[float, bytes]], fault: Fault, rng: Random) -> Iterator[tuple[float, bytes]]:
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


def throttle_pieces(pieces: Iterable[tuple[float, bytes]], fault: Fault) -> Iterator[tuple[float, bytes]]:
    """Split and delay pieces, each with the pause before it, to the rate of a `bandwidth` fault."""
    per_s = fault.get("rate") * 1000
    size = max(1, int(per_s * _TICK_S))
    for before_s, data in pieces:
        for start in range(0, len(data), size):
            piece = data[start : start + size]
            yield (0.0 if start else before_s) + len(piece) / per_s, piece
        if not data:
            yield before_s, data


def idle_end_of(fault: Fault) -> IdleEnd:
    """Build the `IdleEnd` of a `close_idle` fault."""
    return IdleEnd(fault.get("idle") / 1000, fault.get("race"), fault.get("reset"))


def _slice(wire: Wire, fault: Fault, rng: Random) -> Wire:
    return evolve(wire, pieces=slice_pieces(wire.pieces, fault, rng))


def _throttle(wire: Wire, fault: Fault, _: Random) -> Wire:
    return evolve(wire, pieces=throttle_pieces(wire.pieces, fault))


def _close_late(wire: Wire, fault: Fault, _: Random) -> Wire:
    return evolve(wire, after_s=wire.after_s + fault.get("delay") / 1000)


def _close_idle(wire: Wire, fault: Fault, _: Random) -> Wire:
    return evolve(wire, idle_end=idle_end_of(fault))


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
