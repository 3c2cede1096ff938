"""The sockets of the control plane and the gateway: counted, and gone when `close` fires."""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock

from eas_tw.net.agents import Agents, _CountingFactory
from tests.net.wire import Wire


def connected(agents: Agents) -> Wire:
    """A connection as the endpoint makes them, to a peer that never closes."""
    protocol = _CountingFactory(Factory.forProtocol(Protocol), agents._endpoints).buildProtocol(None)
    assert protocol is not None
    wire = Wire(protocol)
    protocol.makeConnection(wire)
    return wire


def test_close_does_not_wait_for_a_silent_peer() -> None:
    """Under TLS an orderly close waits for the other end's; whatever is open is cut, and then it fires."""
    agents = Agents(Clock(), connect_timeout_s=1.0)  # type: ignore[arg-type]
    wires = [connected(agents) for _ in range(3)]
    wires[0].lose()
    closed: list[Any] = []
    agents.close().addCallback(closed.append)
    assert [wire.aborted for wire in wires] == [False, True, True]
    assert closed == [None]


def test_close_without_connections_fires_at_once() -> None:
    """There is nothing to wait for."""
    closed: list[Any] = []
    Agents(Clock(), connect_timeout_s=1.0).close().addCallback(closed.append)  # type: ignore[arg-type]
    assert closed == [None]
