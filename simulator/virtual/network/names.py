"""The name server of a world: the addresses of names, and faults of their resolution.

All hosts share this name server. The answer to a query arrives 1 ms later, in a separate event. During a fault, queries
fail, take longer, or are never answered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import IHostnameResolver
from zope.interface import implementer

from simulator.virtual.network.virtual_time import NS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from simulator.virtual.network.virtual_time import Host, Scheduler

_ANSWERS_AFTER_S = 0.001
FAILS, STALLS = "names_fail", "names_stall"


class NameServer:
    """Answers the queries of every host.

    Args:
        scheduler: Scheduler of the world.

    Attributes:
        asked_s: Time of the last query, by the host's IP address and the name, in virtual seconds.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._addresses: dict[str, str] = {}
        self._faults: list[tuple[str, Mapping[str, Any]]] = []
        self.asked_s: dict[tuple[str, str], float] = {}

    def add(self, name: str, ip: str) -> None:
        """Set the address of a name."""
        self._addresses[name] = ip

    def begin(self, kind: str, with_: Mapping[str, Any]) -> Callable[[], None]:
        """Start a fault; return the function that ends it."""
        fault = (kind, with_)
        self._faults.append(fault)
        return lambda: self._faults.remove(fault)

    def answer(self, host: Any, name: str, receive: Callable[[str | None], None]) -> None:
        """Resolve a name for a host.

        Args:
            host: Reactor of the host.
            name: Name to resolve.
            receive: Called later with the address, or with `None` if the resolution fails. A fault may prevent the
                call.

        Raises:
            DNSLookupError: The resolution fails immediately.
        """
        self.asked_s[host.ip, name] = self._scheduler.elapsed()
        address, delay_s = self._addresses.get(name), _ANSWERS_AFTER_S
        rng = self._scheduler.stream("names")
        for kind, with_ in self._faults:
            if rng.random() >= with_["probability"]:
                continue
            if kind == FAILS:
                address = None
                if with_["at_once"]:
                    raise DNSLookupError(f"the simulation finds no address of {name}")
            elif not with_["delay_s"]:
                return
            else:
                delay_s = max(delay_s, with_["delay_s"])
        self._later(host, self._scheduler.now_ns + round(delay_s * NS), receive, address)

    def _later(self, host: Host, at_ns: int, receive: Callable[[str | None], None], address: str | None) -> None:
        """Deliver an answer at a time, or when the host is no longer stalled.

        The event does not belong to the host, so that it is not among the timers that a program can see or cancel.
        """

        def tell() -> None:
            if host.stalled_until_ns > self._scheduler.now_ns:
                self._scheduler.at(host.stalled_until_ns, tell)
            else:
                receive(address)

        self._scheduler.at(at_ns, tell)


@implementer(IHostnameResolver)
class Resolver:
    """The resolver of one host; an address resolves to itself.

    Args:
        names: The name server.
        host: Reactor of the host.
    """

    def __init__(self, names: NameServer, host: Any) -> None:
        self._names = names
        self._host = host

    def resolveHostName(  # noqa: N802
        self,
        resolutionReceiver: Any,  # noqa: N803
        hostName: str,  # noqa: N803
        portNumber: int = 0,  # noqa: N803
        addressTypes: Any = None,  # noqa: ARG002, N803
        transportSemantics: str = "TCP",  # noqa: ARG002, N803
    ) -> Any:
        """Resolve a name, and deliver its address; no address if the look-up fails (`IHostnameResolver`)."""

        def receive(address: str | None) -> None:
            if address is not None:
                resolutionReceiver.addressResolved(IPv4Address("TCP", address, portNumber))
            resolutionReceiver.resolutionComplete()

        is_address = hostName.replace(".", "").isdigit()
        if not is_address:
            self._names.answer(self._host, hostName, receive)
        resolutionReceiver.resolutionBegan(self)
        if is_address:
            receive(hostName)
        return resolutionReceiver
