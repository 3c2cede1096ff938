"""Protocols on the virtual network get the same callbacks as on real sockets."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from typing import Any

import pytest

from simulator.virtual.network.network import Network
from simulator.virtual.network.sockets import PACKETS, VirtualSocket
from tests.simulation.two_ends import End, HalfEnd, Story

MIB = 2**20


def write(size: int) -> Callable[[End], None]:
    return lambda end: end.transport.write(b"x" * size)


def lose(end: End) -> None:
    end.transport.loseConnection()


def abort(end: End) -> None:
    end.transport.abortConnection()


def pause(end: End) -> None:
    end.transport.pauseProducing()


def resume(end: End) -> None:
    end.transport.resumeProducing()


def linger(is_on: int, seconds: int) -> Callable[[End], None]:
    value = struct.pack("ii", is_on, seconds)
    return lambda end: end.transport.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, value)


def end_writing(end: End) -> None:
    end.transport.loseWriteConnection()


def both(*acts: Callable[[End], None]) -> Callable[[End], None]:
    def act(end: End) -> None:
        for each in acts:
            each(end)

    return act


def client(act: Callable[[End], None]) -> Callable[[Story], None]:
    return lambda story: act(story["client"])


def server(act: Callable[[End], None]) -> Callable[[Story], None]:
    return lambda story: act(story["server"])


def nothing(_: Any) -> None:
    """Do nothing while time passes."""


def produce(end: End) -> None:
    """Send 4 MiB in pieces, as a push producer that implements pauses."""
    end.transport.registerProducer(end, True)
    left = [64]

    def go_on(_: End) -> None:
        while left[0] and not end.is_paused:
            left[0] -= 1
            end.transport.write(b"x" * (MIB // 16))
        if not left[0]:
            end.transport.unregisterProducer()

    end.on = {**end.on, "resume": go_on}
    go_on(end)


def pull(end: End) -> None:
    """Send 1 MiB in pieces, as a pull producer."""
    left = [16]

    def go_on(_: End) -> None:
        if left[0]:
            left[0] -= 1
            end.transport.write(b"x" * (MIB // 16))
        else:
            end.transport.unregisterProducer()

    end.on = {**end.on, "resume": go_on}
    end.transport.registerProducer(end, False)


def hold_the_door(end: End) -> None:
    """Register a producer, which delays the close of the connection."""
    end.transport.registerProducer(end, True)
    end.transport.write(b"x" * 1000)
    end.transport.loseConnection()


def let_go(end: End) -> None:
    end.transport.write(b"x" * 1000)
    end.transport.unregisterProducer()


STORIES: dict[str, Callable[[], Story]] = {
    "the client closes": lambda: Story(client(write(100)), server(write(50)), client(lose)),
    "the server closes": lambda: Story(client(write(100)), server(write(50)), server(lose)),
    "the client aborts": lambda: Story(client(write(100)), client(abort)),
    "the server aborts": lambda: Story(client(write(100)), server(abort)),
    "both close at once": lambda: Story(lambda s: (s["client"].transport.loseConnection(), lose(s["server"]))),
    "both abort at once": lambda: Story(lambda s: (s["client"].transport.abortConnection(), abort(s["server"]))),
    "written and closed in one go": lambda: Story(client(both(write(3 * MIB), lose)), nothing, nothing),
    "written after closing": lambda: Story(client(both(write(10), lose, write(20))), nothing),
    "written after aborting": lambda: Story(client(both(write(10), abort, write(20))), nothing),
    "written after the loss": lambda: Story(client(abort), client(write(10)), nothing),
    "closed twice": lambda: Story(client(both(lose, lose)), nothing),
    "aborted after closing": lambda: Story(client(both(write(10), lose, abort)), nothing),
    "closed when made": lambda: Story(nothing, on={"client": {"made": lose}}),
    "aborted when made": lambda: Story(nothing, on={"client": {"made": abort}}),
    "the server closes when made": lambda: Story(nothing, on={"server": {"made": lose}}),
    "the server aborts when made": lambda: Story(nothing, on={"server": {"made": abort}}),
    "the server greets and closes": lambda: Story(nothing, on={"server": {"made": both(write(70_000), lose)}}),
    "closed inside dataReceived": lambda: Story(client(write(100)), nothing, on={"server": {"data": lose}}),
    "aborted inside dataReceived": lambda: Story(client(write(100)), nothing, on={"server": {"data": abort}}),
    "answered and closed inside dataReceived": lambda: Story(
        client(write(100)), nothing, on={"server": {"data": both(write(200_000), lose)}}
    ),
    "dataReceived raises": lambda: Story(client(write(100)), nothing, on={"server": {"data": End.raises}}),
    "paused, then a reset: what came before it is read": lambda: Story(
        client(pause), server(write(1000)), server(abort), nothing, client(resume), nothing
    ),
    "paused, then closed by the other: what came is read": lambda: Story(
        client(pause), server(both(write(1000), lose)), nothing, client(resume), nothing
    ),
    "closing with unread data resets": lambda: Story(
        client(pause), server(write(1000)), nothing, client(lose), nothing, nothing
    ),
    "closing with unread data resets a writer": lambda: Story(
        client(pause), server(write(8 * MIB)), nothing, client(lose), nothing, nothing
    ),
    "written to an end that has closed while we did not read": lambda: Story(
        client(pause), server(lose), nothing, client(write(10)), nothing, client(write(10)), nothing
    ),
    "aborted while we did not read, and we write": lambda: Story(
        client(pause), server(abort), nothing, client(write(10)), nothing
    ),
    "the reader pauses, the producer of 4 MiB waits": lambda: Story(
        client(pause), server(produce), nothing, client(resume), nothing, nothing, server(lose), nothing
    ),
    "a producer of 4 MiB, and the reader goes away": lambda: Story(
        client(pause), server(produce), nothing, client(abort), nothing
    ),
    "a pull producer": lambda: Story(server(pull), nothing, nothing, server(lose), nothing),
    "closing waits for the producer": lambda: Story(client(hold_the_door), nothing, client(let_go), nothing),
    "half-close by the client": lambda: Story(
        client(both(write(100), end_writing)), server(write(500)), server(end_writing), nothing,
        client=HalfEnd, server=HalfEnd,
    ),
    "half-close towards an end that knows none": lambda: Story(
        client(both(write(100), end_writing)), nothing, nothing, client=HalfEnd
    ),
    "half-close, then written in that direction": lambda: Story(
        client(end_writing), client(write(100)), server(write(10)), server(lose), nothing,
        client=HalfEnd, server=HalfEnd,
    ),
    "half-closed on both sides, then closed": lambda: Story(
        client(end_writing), server(end_writing), client(lose), server(lose), nothing, client=HalfEnd, server=HalfEnd
    ),
    "closed with SO_LINGER": lambda: Story(client(write(100)), client(both(linger(1, 1), lose)), nothing),
    "closed with SO_LINGER of zero seconds": lambda: Story(
        client(write(100)), client(both(linger(1, 0), lose)), nothing
    ),
    "refused": lambda: Story(nothing, is_listening=False),
    "cancelled": lambda: Story(nothing, is_cancelled=True),
    "the client's factory builds nothing": lambda: Story(nothing, nothing, client=None),
    "the server's factory builds nothing": lambda: Story(nothing, nothing, server=None),
    "listening ends, the connection stays": lambda: Story(
        lambda s: s.port.stopListening(), client(write(100)), server(write(50)), client(lose)
    ),
    "the connector closes": lambda: Story(lambda s: s.connector.disconnect(), nothing),
}  # fmt: skip


@pytest.mark.parametrize("name", STORIES)
def test_a_connection_has_the_same_callbacks_on_both_networks(name: str) -> None:
    for_real = STORIES[name]().run_on_loopback()
    assert STORIES[name]().run_in_memory() == for_real
    assert for_real["client"]


@pytest.mark.parametrize(
    "conditions", [{"segment_bytes": 7}, {"latency_s": 0.002, "jitter_s": 0.003}], ids=["small segments", "jitter"]
)
@pytest.mark.parametrize("name", ["the client closes", "both close at once", "half-close by the client"])
def test_link_conditions_do_not_change_the_callbacks(name: str, conditions: dict[str, Any]) -> None:
    assert STORIES[name]().run_in_memory(**conditions) == STORIES[name]().run_in_memory()


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collect the kinds of the packets that are sent on the virtual network."""
    kinds: list[str] = []
    carry = Network.carry

    def note(network: Network, sender: VirtualSocket, kind: int, data: bytes = b"") -> None:
        kinds.append(PACKETS[kind])
        carry(network, sender, kind, data)

    monkeypatch.setattr(Network, "carry", note)
    return kinds


def test_a_write_of_zero_bytes_sends_no_packet(sent: list[str]) -> None:
    """Twisted writes zero bytes before it closes a socket; a packet for such a write once caused a reset."""
    STORIES["the client closes"]().run_in_memory()
    assert sent == ["SYN", "SYN-ACK", "ACK", "data", "data", "FIN", "FIN"]


@pytest.mark.parametrize(("is_on", "seconds", "is_reset"), [(1, 0, True), (1, 5, False), (0, 0, False), (0, 5, False)])
def test_only_an_enabled_so_linger_of_zero_seconds_resets(
    sent: list[str], is_on: int, seconds: int, *, is_reset: bool
) -> None:
    Story(client(linger(is_on, seconds)), client(lose), nothing).run_in_memory()
    assert ("RST" in sent) == is_reset
