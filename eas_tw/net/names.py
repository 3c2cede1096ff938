"""Resolution of the host names of the control plane and the gateway, with the last addresses as a fallback.

A slow or failed name server does not stop discovery while servers at the last known addresses still answer. If no
address is known, the error contains the name, and the reason of the failure or the time waited.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import (
    IHostResolution,
    IReactorPluggableNameResolver,
    IResolutionReceiver,
    IStreamClientEndpoint,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import directlyProvides, implementer, providedBy

from eas_tw.lookup import ThreadResolver, addresses
from eas_tw.policy.hosts import is_certifiable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from twisted.internet.interfaces import IAddress, IDelayedCall, IHostnameResolver, IProtocol, IProtocolFactory

_log = Logger(namespace="eas_tw.discovery")

_SLOW_S = 1.0
_SLOW_SHARE = 1 / 3
"""Maximum duration of a look-up if addresses are known, as a share of the timeout; `_SLOW_S` also limits it."""

# The limit bounds the memory: a client has few host names, but an address server may list different names in each
# reply.
_NAMES_KEPT = 32


class NameNotResolvedError(DNSLookupError):
    """A host name could not be resolved, and no earlier address is known.

    Attributes:
        is_late: Whether the look-up timed out; `False` if it failed.
    """

    def __init__(self, text: str, *, is_late: bool) -> None:
        super().__init__(text)
        self.is_late = is_late

    def __str__(self) -> str:
        return str(self.args[0])


def names_of(reactor: Any, timeout_s: float) -> Names | None:
    """Return the resolver of names for a reactor.

    Args:
        reactor: The reactor. A resolver that the program has installed on it is used. Twisted's default resolver is
            replaced by `ThreadResolver`, whose threads are not shared with the program's `deferToThread`.
        timeout_s: Maximum time of a look-up in seconds.

    Returns:
        1. A `Names`.
        2. `None`, if the reactor has no resolver, as in a test.
    """
    resolver = getattr(reactor, "nameResolver", None)
    if resolver is None:
        return None
    # The class is private to Twisted, but nothing else distinguishes its default resolver from a program's resolver.
    if type(resolver).__name__ == "GAIResolver":
        resolver = ThreadResolver(reactor)
    return Names(reactor, resolver, timeout_s)


class _Name:
    """The addresses of one name, and the Deferreds that wait for them."""

    __slots__ = ("is_reported", "known", "looking", "waiters")

    def __init__(self) -> None:
        self.known: tuple[IAddress, ...] = ()
        self.looking: Deferred[Any] | None = None
        self.waiters: dict[Deferred[Any], IDelayedCall] = {}
        self.is_reported = False


class Names:
    """Resolves host names, and stores the last addresses of each name.

    Args:
        reactor: The reactor, for timers.
        resolver: The resolver, which is called for each look-up.
        timeout_s: Maximum time of a look-up in seconds.
    """

    def __init__(self, reactor: Any, resolver: IHostnameResolver, timeout_s: float) -> None:
        self._reactor = reactor
        self._resolver = resolver
        self._timeout_s = timeout_s
        self._names: OrderedDict[str, _Name] = OrderedDict()

    def addresses(self, host: str) -> Deferred[tuple[IAddress, ...]]:
        """Resolve a name.

        Returns:
            A Deferred that fires with the addresses that the resolver finds, or with the last known addresses if the
            resolver fails or is slow. It fails with a `NameNotResolvedError` when no address is known.
        """
        name = self._name(host)
        waiter: Deferred[tuple[IAddress, ...]] = Deferred(lambda left: self._leave(name, left))
        patience_s = min(_SLOW_S, self._timeout_s * _SLOW_SHARE) if name.known else self._timeout_s
        name.waiters[waiter] = self._reactor.callLater(patience_s, self._late, host, name, waiter)
        if name.looking is None:
            name.looking = maybeDeferred(self._look_up, host)
            name.looking.addCallbacks(self._found, self._failed, (host, name), {}, (host, name), {})
        return waiter

    def _name(self, host: str) -> _Name:
        name = self._names.setdefault(host, _Name())
        self._names.move_to_end(host)
        while len(self._names) > _NAMES_KEPT:
            self._names.popitem(last=False)
        return name

    def _look_up(self, host: str) -> Deferred[Sequence[IAddress]]:
        if isinstance(self._resolver, ThreadResolver):
            return self._resolver.look_up(host).addCallback(addresses, 0)
        receiver = _Receiver()
        self._resolver.resolveHostName(receiver, host)
        return receiver.complete

    def _found(self, found: Sequence[IAddress], host: str, name: _Name) -> None:
        if not found:
            self._failed(Failure(OSError("it has no address")), host, name)
            return
        name.looking = None
        name.known = tuple(found)
        name.is_reported = False
        for waiter in self._leaving(name):
            waiter.callback(name.known)

    def _failed(self, failure: Failure, host: str, name: _Name) -> None:
        name.looking = None
        why = f"the name {host} was not resolved: {failure.getErrorMessage()}"
        for waiter in self._leaving(name):
            self._make_do(name, waiter, NameNotResolvedError(why, is_late=False))

    def _late(self, host: str, name: _Name, waiter: Deferred[Any]) -> None:
        patience_s = min(_SLOW_S, self._timeout_s * _SLOW_SHARE) if name.known else self._timeout_s
        name.waiters.pop(waiter)
        if not name.waiters and not isinstance(self._resolver, ThreadResolver):
            # A program's resolver may never answer. Without this line the name would never be looked up again.
            name.looking = None
        why = f"the name {host} was not resolved within {patience_s:g} s"
        self._make_do(name, waiter, NameNotResolvedError(why, is_late=True))

    def _make_do(self, name: _Name, waiter: Deferred[Any], error: NameNotResolvedError) -> None:
        """Fire `waiter` with the last known addresses, or fail it with `error` if no address is known."""
        if not name.known:
            waiter.errback(error)
            return
        if not name.is_reported:
            name.is_reported = True
            _log.warn("{why}; the last known addresses are used", why=str(error))
        waiter.callback(name.known)

    def _leaving(self, name: _Name) -> Iterator[Deferred[Any]]:
        """Remove and yield the present waiters, but not those that the callback of an earlier one cancels."""
        for waiter in list(name.waiters):
            if waiter in name.waiters:
                self._leave(name, waiter)
                yield waiter

    def _leave(self, name: _Name, waiter: Deferred[Any]) -> None:
        timer = name.waiters.pop(waiter, None)
        if timer is not None:
            timer.cancel()


@implementer(IResolutionReceiver)
class _Receiver:
    """Collects the addresses of one look-up (`IResolutionReceiver`)."""

    def __init__(self) -> None:
        self.complete: Deferred[Sequence[IAddress]] = Deferred()
        self._addresses: list[IAddress] = []

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:  # noqa: N802, N803
        """Do nothing when a look-up begins (`IResolutionReceiver`)."""

    def addressResolved(self, address: IAddress) -> None:  # noqa: N802
        """Add an address (`IResolutionReceiver`)."""
        self._addresses.append(address)

    def resolutionComplete(self) -> None:  # noqa: N802
        """Fire the Deferred `complete` with the addresses (`IResolutionReceiver`)."""
        self.complete.callback(self._addresses)


@implementer(IStreamClientEndpoint)
class NamedEndpoint:
    """An endpoint that connects to the first reachable address of a name (`IStreamClientEndpoint`).

    Args:
        reactor: The reactor, for timers and connections.
        names: The resolver of the name.
        host: The host name.
        port: TCP port.
        timeout_s: Maximum time for connecting to each address, in seconds.
    """

    def __init__(self, reactor: Any, names: Names, host: str, port: int, timeout_s: float) -> None:
        self._reactor = reactor
        self._names = names
        self._host = host
        self._port = port
        self._timeout_s = timeout_s

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Resolve the name and connect (`IStreamClientEndpoint`)."""
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        found = await self._names.addresses(self._host)
        known = _Resolved(self._reactor, found)
        # HostnameEndpoint rejects names that IDNA does not allow, such as docker compose's `my_service`. It does not
        # resolve the name again, so any other name may be passed.
        name = self._host if is_certifiable(self._host) else "resolved"
        return await HostnameEndpoint(known, name, self._port, timeout=self._timeout_s).connect(factory)


@implementer(IHostResolution)
class _Resolved:
    """A reactor whose resolver returns fixed addresses, for `HostnameEndpoint`, which tries several addresses."""

    name = ""

    def __init__(self, reactor: Any, found: Sequence[Any]) -> None:
        self._reactor = reactor
        self._addresses = found
        self.nameResolver = self
        directlyProvides(self, IReactorPluggableNameResolver, providedBy(reactor))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def cancel(self) -> None:
        """Do nothing: the look-up has ended (`IHostResolution`)."""

    def resolveHostName(  # noqa: N802
        self,
        resolutionReceiver: IResolutionReceiver,  # noqa: N803
        hostName: str,  # noqa: ARG002, N803
        portNumber: int = 0,  # noqa: N803
        *_: object,
    ) -> IHostResolution:
        """Report the known addresses (`IHostnameResolver`)."""
        resolutionReceiver.resolutionBegan(self)
        for address in self._addresses:
            resolutionReceiver.addressResolved(type(address)(address.type, address.host, portNumber))
        resolutionReceiver.resolutionComplete()
        return self
