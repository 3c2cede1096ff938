"""Resolution of host names in threads, which the test runs one by one."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IHostnameResolver
from zope.interface.verify import verifyObject

from eas_tw.lookup import ThreadResolver
from tests.net.calling import Result

V4 = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 0))
V6 = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1", 0, 0, 2))
OTHER = (socket.AF_UNIX, socket.SOCK_STREAM, 0, "", "/x")


class Threads:
    """A reactor and a resolver, whose threads and results are controlled by the test."""

    def __init__(self) -> None:
        self.started: list[Callable[[], None]] = []
        self.asked: list[str] = []
        self.answer: Any = [V4, OTHER, V6]
        self.is_reactor_gone = False
        self.resolver = ThreadResolver(self, getaddrinfo=self.getaddrinfo, start=self.started.append)

    def getaddrinfo(self, name: str, port: int, family: int, kind: int) -> Any:
        assert (port, kind) == (0, socket.SOCK_STREAM)
        self.asked.append(name)
        if isinstance(self.answer, Exception):
            raise self.answer
        return [row for row in self.answer if family in (socket.AF_UNSPEC, row[0])]

    def callFromThread(self, act: Callable[..., None], *arguments: Any) -> None:  # noqa: N802
        if self.is_reactor_gone:
            raise RuntimeError("Event loop is closed")
        act(*arguments)

    def run_one(self) -> None:
        self.started.pop(0)()


class Receiver:
    def __init__(self) -> None:
        self.heard: list[Any] = []

    def resolutionBegan(self, resolutionInProgress: Any) -> None:  # noqa: N802, N803
        self.heard.append(resolutionInProgress.name)

    def addressResolved(self, address: Any) -> None:  # noqa: N802
        self.heard.append(address)

    def resolutionComplete(self) -> None:  # noqa: N802
        self.heard.append("complete")


def test_concurrent_resolutions_of_one_name_are_shared() -> None:
    threads = Threads()
    answers = [Result(threads.resolver.look_up("a")) for _ in range(3)]
    answers[1].deferred.cancel()
    assert len(threads.started) == 1
    threads.run_one()
    assert threads.asked == ["a"]
    assert answers[0].value == answers[2].value == [V4, OTHER, V6]
    Result(threads.resolver.look_up("a"))
    assert len(threads.started) == 1


def test_a_look_up_may_be_cancelled_by_the_callback_of_another() -> None:
    threads = Threads()
    asked = [threads.resolver.look_up("a") for _ in range(3)]
    first, second, third = map(Result, asked)
    asked[0].addBoth(lambda _: asked[1].cancel())
    threads.run_one()
    assert first.value == third.value == [V4, OTHER, V6]
    assert isinstance(second.error, CancelledError)


def test_at_most_four_threads_resolve_names() -> None:
    """Further names are queued, in order."""
    threads = Threads()
    names = [f"n{number}" for number in range(10)]
    answers = [Result(threads.resolver.look_up(name)) for name in names]
    assert len(threads.started) == 4
    while threads.started:
        threads.run_one()
        assert len(threads.started) <= 4
    assert threads.asked == names
    assert all(answer.fired for answer in answers)


def test_an_exception_of_getaddrinfo_is_the_result() -> None:
    """A label of 70 characters raises UnicodeError. The resolver does not fail if the reactor has ended meanwhile."""
    for error in (socket.gaierror(-2, "Name or service not known"), UnicodeError("label too long")):
        threads = Threads()
        threads.answer = error
        answer = Result(threads.resolver.look_up("x"))
        threads.run_one()
        assert answer.error is error
    threads = Threads()
    threads.is_reactor_gone = True
    threads.resolver.look_up("x")
    threads.run_one()


def test_a_thread_that_cannot_be_started_is_an_error_result() -> None:
    def refuse(_: Callable[[], None]) -> None:
        raise RuntimeError("can't start new thread")

    threads = Threads()
    resolver = ThreadResolver(threads, start=refuse)
    for _ in range(10):
        assert isinstance(Result(resolver.look_up("x")).error, RuntimeError)


def test_the_resolver_implements_twisteds_interface() -> None:
    threads = Threads()
    assert verifyObject(IHostnameResolver, threads.resolver)
    both = [IPv4Address("TCP", "10.0.0.1", 80), IPv6Address("TCP", "fe80::1", 80, 0, 2)]
    for kinds, wanted in ((None, both), ([IPv4Address], both[:1]), ([IPv6Address], both[1:])):
        receiver = Receiver()
        threads.resolver.resolveHostName(receiver, "a", 80, kinds)
        threads.run_one()
        assert receiver.heard == ["a", *wanted, "complete"]
    receiver = Receiver()
    threads.resolver.resolveHostName(receiver, "b").cancel()
    assert receiver.heard == ["b", "complete"]
    threads.run_one()
    threads.answer = socket.gaierror()
    receiver = Receiver()
    threads.resolver.resolveHostName(receiver, "c")
    threads.run_one()
    assert receiver.heard == ["c", "complete"]
