"""Name resolution in separate daemon threads.

Twisted's resolver uses the reactor's thread pool, and asyncio's resolver uses the loop's executor. If a program's slow
functions occupy all threads of such a pool, no name is resolved: with thirty slow functions, every poll timed out. Each
thread of this module runs one look-up and is a daemon, so that a name server that does not answer cannot delay the exit
of the program.
"""

from __future__ import annotations

import socket
import threading
from collections import deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHostnameResolver, IHostResolution
from zope.interface import implementer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.internet.interfaces import IAddress, IResolutionReceiver

_THREADS = 4
"""The maximum number of concurrent look-ups; further look-ups are queued. Equal look-ups share one thread."""

_FAMILIES = {
    frozenset({IPv4Address}): socket.AF_INET,
    frozenset({IPv6Address}): socket.AF_INET6,
}

_Question = tuple[str, int]
_Rows = list[tuple[Any, ...]]


def _start_thread(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="eas_tw name look-up", daemon=True).start()


@implementer(IHostnameResolver)
class ThreadResolver:
    """A resolver that calls `getaddrinfo` in threads (`IHostnameResolver`).

    Args:
        reactor: The reactor in whose thread the results are delivered.
        getaddrinfo: A function with the signature of `socket.getaddrinfo`.
        start: A function that runs its argument in a new thread.
    """

    def __init__(
        self,
        reactor: Any,
        *,
        getaddrinfo: Callable[..., Any] = socket.getaddrinfo,
        start: Callable[[Callable[[], None]], None] = _start_thread,
    ) -> None:
        self._reactor = reactor
        self._getaddrinfo = getaddrinfo
        self._start = start
        self._running = 0
        self._asking: dict[_Question, list[Deferred[_Rows]]] = {}
        self._queue: deque[_Question] = deque()

    def look_up(self, name: str, family: int = socket.AF_UNSPEC) -> Deferred[_Rows]:
        """Look up the addresses of a host.

        Args:
            name: The host's name.
            family: The address family to return; `AF_UNSPEC` for all.

        Returns:
            A Deferred that fires with the rows of `getaddrinfo`, and fails with the exception that `getaddrinfo`
            raises. Cancelling it does not end the thread.
        """
        question = (name, family)
        answer: Deferred[_Rows] = Deferred(lambda cancelled: self._forget(question, cancelled))
        asking = self._asking.get(question)
        if asking is not None:
            asking.append(answer)
        else:
            self._asking[question] = [answer]
            self._queue.append(question)
            self._next()
        return answer

    def resolveHostName(  # noqa: N802
        self,
        resolutionReceiver: IResolutionReceiver,  # noqa: N803
        hostName: str,  # noqa: N803
        portNumber: int = 0,  # noqa: N803
        addressTypes: Sequence[type[IAddress]] | None = None,  # noqa: N803
        transportSemantics: str = "TCP",  # noqa: ARG002, N803  eas_tw uses TCP only
    ) -> IHostResolution:
        """Look up a name (`IHostnameResolver`). If the look-up fails, it completes without addresses."""
        answer = self.look_up(hostName, _FAMILIES.get(frozenset(addressTypes or ()), socket.AF_UNSPEC))
        resolution = _Resolution(hostName, answer)
        resolutionReceiver.resolutionBegan(resolution)

        def found(rows: _Rows) -> None:
            for address in addresses(rows, portNumber):
                resolutionReceiver.addressResolved(address)

        answer.addCallbacks(found, lambda _: None)
        answer.addCallback(lambda _: resolutionReceiver.resolutionComplete())
        return resolution

    def _next(self) -> None:
        while self._queue and self._running < _THREADS:
            self._running += 1
            question = self._queue.popleft()
            try:
                self._start(partial(self._work, question))
            except RuntimeError as error:  # "can't start new thread": the machine's limit is reached
                self._ended(question, error)

    def _work(self, question: _Question) -> None:
        """Run one look-up; called in a thread."""
        name, family = question
        found: _Rows | Exception
        try:
            found = self._getaddrinfo(name, 0, family, socket.SOCK_STREAM)
        except Exception as error:  # noqa: BLE001  OSError, or UnicodeError for a label of over 63 characters
            found = error
        with suppress(RuntimeError, OSError):  # raised if the reactor has stopped meanwhile
            self._reactor.callFromThread(self._ended, question, found)

    def _ended(self, question: _Question, found: _Rows | Exception) -> None:
        self._running -= 1
        answers = self._asking.pop(question)
        self._next()
        for answer in answers:
            if answer.called:  # cancelled by the callback of an earlier one
                continue
            if isinstance(found, Exception):
                answer.errback(found)
            else:
                answer.callback(found)

    def _forget(self, question: _Question, answer: Deferred[_Rows]) -> None:
        asking = self._asking.get(question, [])
        if answer in asking:  # not if the look-up has just ended
            asking.remove(answer)


@implementer(IHostResolution)
class _Resolution:
    """A look-up in progress (`IHostResolution`)."""

    def __init__(self, name: str, answer: Deferred[Any]) -> None:
        self.name = name
        self._answer = answer

    def cancel(self) -> None:
        """Cancel the look-up, which then completes without addresses (`IHostResolution`)."""
        self._answer.cancel()


def addresses(rows: _Rows, port: int) -> list[IPv4Address | IPv6Address]:
    """Convert rows of `getaddrinfo` to addresses with a port, in the same order."""
    found: list[IPv4Address | IPv6Address] = []
    for family, _, _, _, where in rows:
        if family == socket.AF_INET:
            found.append(IPv4Address("TCP", where[0], port))
        elif family == socket.AF_INET6:
            found.append(IPv6Address("TCP", where[0], port, *where[2:]))
    return found
