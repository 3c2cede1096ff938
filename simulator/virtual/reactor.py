"""A host's reactor on virtual time: as much of Twisted's interfaces as client and simulator use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import (
    IHostnameResolver,
    IReactorPluggableNameResolver,
    IReactorTCP,
    IReactorTime,
)
from zope.interface import implementer

from simulator.virtual.vnet import VirtualConnector

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from simulator.virtual.vnet import Network, VirtualPort
    from simulator.virtual.vtime import Event


@implementer(IReactorTime, IReactorTCP, IReactorPluggableNameResolver)
class VirtualReactor:
    """The reactor of one host.

    Args:
        network: What it is connected to.
        ip: Its address.
    """

    running = True

    def __init__(self, network: Network, ip: str) -> None:
        self._network = network
        self._scheduler = network.scheduler
        self.ip = ip
        self.seconds = self._scheduler.seconds
        self.nameResolver = _Resolver()

    def installNameResolver(self, resolver: Any) -> Any:  # noqa: N802
        """Resolve names by this from now on (`IReactorPluggableNameResolver`)."""
        before, self.nameResolver = self.nameResolver, resolver
        return before

    def callLater(self, delay: float, callable: Callable[..., Any], *args: Any, **kw: Any) -> Event:  # noqa: A002, N802
        """Call after `delay` seconds (`IReactorTime`)."""
        return self._scheduler.call_later(delay, callable, *args, **kw)

    def getDelayedCalls(self) -> Sequence[Event]:  # noqa: N802
        """What is still to be called, on every host (`IReactorTime`)."""
        return self._scheduler.pending

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> VirtualPort:  # noqa: ARG002, N802
        """Accept connections (`IReactorTCP`)."""
        return self._network.listen(self, interface or self.ip, port, factory)

    def connectTCP(  # noqa: N802
        self,
        host: str,
        port: int,
        factory: Any,
        timeout: float = 30,
        bindAddress: Any = None,  # noqa: ARG002, N803
    ) -> VirtualConnector:
        """Open a connection (`IReactorTCP`)."""
        connector = VirtualConnector(self._network, self, (host, port), factory, timeout)
        connector.connect()
        return connector

    def callFromThread(self, *_: Any) -> None:  # noqa: N802
        """There are no threads here."""
        raise RuntimeError("a thread in virtual time")


@implementer(IHostnameResolver)
class _Resolver:
    """Names are addresses."""

    def resolveHostName(  # noqa: N802
        self,
        resolutionReceiver: Any,  # noqa: N803
        hostName: str,  # noqa: N803
        portNumber: int = 0,  # noqa: N803
        addressTypes: Any = None,  # noqa: ARG002, N803
        transportSemantics: str = "TCP",  # noqa: ARG002, N803
    ) -> Any:
        """Tell the address a name is (`IHostnameResolver`)."""
        if not hostName.replace(".", "").isdigit():
            raise DNSLookupError(f"no name is known in virtual time: {hostName}")
        resolutionReceiver.resolutionBegan(self)
        resolutionReceiver.addressResolved(IPv4Address("TCP", hostName, portNumber))
        resolutionReceiver.resolutionComplete()
        return resolutionReceiver
