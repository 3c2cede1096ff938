"""Checks of connections without a request: they are closed after the idle time, and immediately when bytes arrive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.virtual.network.virtual_time import NS
from simulator.virtual.reporting.formatting import spelled

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from simulator.virtual.checkers.base import Report
    from simulator.virtual.checkers.streams import StreamChecker
    from simulator.virtual.client_under_test import ClientUnderTest
    from simulator.virtual.faults.attribution import FaultAttribution
    from simulator.virtual.network.network import Network
    from simulator.virtual.network.sockets import VirtualSocket

_CLOSES_WITHIN_S = 0.5


class IdleChecker:
    """Checks `idle-timeout` and `idle-bytes`.

    Args:
        network: Network whose sockets are checked.
        attribution: Determines which failures the active faults explain.
        report: Called with the name of a checker and the description of a violation.
        streams: The checker of streams, which records since when a connection has carried no stream.
    """

    def __init__(self, network: Network, attribution: FaultAttribution, report: Report, streams: StreamChecker) -> None:
        self._streams = streams
        self._network = network
        self._scheduler = network.scheduler
        self._attribution = attribution
        self._report = report
        self._strayed: dict[VirtualSocket, float] = {}

    def strayed(self, near: VirtualSocket) -> None:
        """Record that a fault has sent bytes on a client's idle connection; ignored while earlier bytes are unread."""
        if not near.has_unread:
            self._strayed[near] = self._scheduler.elapsed()

    def look(self, hosts: Mapping[str, Sequence[ClientUnderTest]]) -> None:
        """Check the connections of all clients.

        Args:
            hosts: The clients of each host, by the host's IP address; the clients of one host share their pools.
        """
        now_ns = self._scheduler.now_ns
        for near in self._network.sockets:
            if near.is_client and (since_ns := near.idle_since_ns) is not None:
                family = hosts.get(near.here[0])
                if family and now_ns - since_ns > family[0].longest_idle_ns:
                    self._check_idle(family[0], near, now_ns, since_ns)
        if self._strayed:
            self._check_strayed(hosts)

    def _check_idle(self, sut: ClientUnderTest, near: VirtualSocket, now_ns: int, heard_ns: int) -> None:
        # A connection that carries a stream is not idle, even if no bytes arrive.
        since_ns = self._streams.idle_since_ns(near, heard_ns)
        if since_ns is None or now_ns - since_ns <= sut.longest_idle_ns:
            return
        now_s, idle_s = self._scheduler.elapsed(), (now_ns - since_ns) / NS
        # A call may wait for the rest of a response until its deadline; a watch may wait for twice that time.
        window = (now_s - idle_s, now_s)
        peer, attribution = near.getpeername(), self._attribution
        is_awaited = idle_s <= 2 * sut.timeout_s + _CLOSES_WITHIN_S and attribution.keeps_waiting(peer, *window)
        # A poll may wait for the rest of its reply until it times out.
        is_polling = (
            idle_s <= sut.discovery_timeout_s + _CLOSES_WITHIN_S
            and peer not in attribution.alive
            and attribution.disturbs_replies(sut.number, *window)
        )
        if not (is_awaited or is_polling or attribution.disturbs_sockets(sut.number, *window)):
            says = f"keeps a connection to {spelled(peer)} that has been idle for {idle_s:.1f} s"
            self._report("idle-timeout", f"client {sut.number} {says}, of {sut.idle_timeout_s:g}")

    def _check_strayed(self, hosts: Mapping[str, Sequence[ClientUnderTest]]) -> None:
        now_s, now_ns = self._scheduler.elapsed(), self._scheduler.now_ns
        for near, at_s in list(self._strayed.items()):
            if near.is_closed or near.is_dead:
                del self._strayed[near]
            elif now_s - at_s > _CLOSES_WITHIN_S and near.reactor.stalled_until_ns < now_ns - NS:
                del self._strayed[near]
                number = hosts[near.here[0]][0].number
                says = f"keeps a connection to {spelled(near.getpeername())} on which bytes came without a request"
                self._report("idle-bytes", f"client {number} {says}")
