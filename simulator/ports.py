"""An ip:port that can refuse connections and stay reserved, so that no other program can bind it.

A crashed instance keeps its ip:port: its listener is closed, and the address is bound again without listening, so that
connections are refused and no other program gets the port. On a virtual network no other program exists, so nothing is
bound.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IReactorFDSet

if TYPE_CHECKING:
    from twisted.internet.interfaces import IListeningPort
    from twisted.internet.protocol import Factory

_BACKLOG = 1024


class Address:
    """One ip:port, which listens, refuses connections, or has been released.

    Args:
        reactor: Reactor that listens.
        ip: Address to bind.
        port: Port to bind; 0 for any that is free, which is then used for the lifetime of the object.
    """

    def __init__(self, reactor: Any, ip: str, port: int = 0) -> None:
        self._reactor = reactor
        self._listening: IListeningPort | None = None
        self._holder: socket.socket | None = None
        self._wanted: Factory | None = None
        self._is_stopping = self._is_refusing = False
        self._stop_waiters: list[Deferred[None]] = []
        self.ip = ip
        self.port = port

    @property
    def is_listening(self) -> bool:
        """Whether connections are accepted, or will be accepted when the previous listener is closed."""
        return self._wanted is not None

    def listen(self, factory: Factory) -> None:
        """Accept connections, now or, if the previous listener is being closed, when it is closed.

        If the address already listens, the new factory is ignored.

        Raises:
            CannotListenError: Another program has bound the address.
        """
        self._is_refusing = False
        if self._listening is None and not self._is_stopping:
            self._release()
            self._listening = self._reactor.listenTCP(self.port, factory, backlog=_BACKLOG, interface=self.ip)
            host: Any = self._listening.getHost()
            self.port = host.port
        self._wanted = factory

    def refuse(self) -> Deferred[None]:
        """Refuse connections, and keep the address bound.

        Returns:
            A Deferred that fires when connections are refused. If the listener is already being closed, the Deferred
            has fired, although the listener is not closed yet. The Deferred fails with `OSError` if another program has
            bound the address.
        """
        self._wanted = None
        self._is_refusing = True
        if self._listening is None:
            return succeed(None)
        return self._stop().addCallback(lambda _: self._hold())

    def give_up(self) -> Deferred[None]:
        """Release the address; the Deferred fires when it is free."""
        self._wanted = None
        self._is_refusing = False
        self._release()
        if not self._is_stopping:
            return self._stop()
        stopped: Deferred[None] = Deferred()
        self._stop_waiters.append(stopped)
        return stopped

    def _stop(self) -> Deferred[None]:
        listening, self._listening = self._listening, None
        if listening is None:
            return succeed(None)
        self._is_stopping = True
        stopping: Deferred[None] = maybeDeferred(listening.stopListening)  # type: ignore[call-overload]
        return stopping.addCallback(self._stopped)

    def _stopped(self, _: object) -> None:
        """Handle the close of the listener; if `listen` was called meanwhile, the address can be bound only now."""
        self._is_stopping = False
        waiters, self._stop_waiters = self._stop_waiters, []
        for waiter in waiters:
            waiter.callback(None)
        wanted, self._wanted = self._wanted, None
        if wanted is not None:
            self.listen(wanted)

    def _hold(self) -> None:
        """Bind the address without listening, unless `listen` or `give_up` was called since `refuse`."""
        if not self._is_refusing or not IReactorFDSet.providedBy(self._reactor):
            return
        family = socket.AF_INET6 if ":" in self.ip else socket.AF_INET
        holder = socket.socket(family, socket.SOCK_STREAM)
        try:
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            holder.bind((self.ip, self.port))
        except OSError:
            holder.close()
            raise
        self._holder = holder

    def _release(self) -> None:
        if self._holder is not None:
            self._holder.close()
            self._holder = None
