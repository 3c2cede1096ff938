"""Resolution of host names, and use of the last known addresses while the resolution fails."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorPluggableNameResolver, IResolutionReceiver
from twisted.logger import globalLogPublisher
from zope.interface import implementer

from eas_tw import ClientConfig
from eas_tw.lookup import ThreadResolver
from eas_tw.net.fetch import DirectFetcher
from eas_tw.net.names import Names, names_of
from eas_tw.policy.instances import RejectReason
from tests.net.calling import Result, response, says
from tests.net.fleet import PuppetReactor

URL = "http://control.example:8080/list"


@implementer(IReactorPluggableNameResolver)
class NamedReactor(PuppetReactor):
    """A reactor with a name resolver whose results are set by the test."""

    def __init__(self) -> None:
        super().__init__()
        self.nameResolver = self
        self.asked: list[tuple[IResolutionReceiver, str]] = []

    def installNameResolver(self, resolver: Any) -> None:  # noqa: N802
        self.nameResolver = resolver

    def resolveHostName(self, receiver: IResolutionReceiver, name: str, *_: Any) -> Any:  # noqa: N802
        receiver.resolutionBegan(self)
        self.asked.append((receiver, name))
        return self

    def answer(self, *addresses: str) -> None:
        receiver, _ = self.asked.pop(0)
        for address in addresses:
            receiver.addressResolved(IPv4Address("TCP", address, 0))
        receiver.resolutionComplete()


class Harness:
    def __init__(self) -> None:
        self.reactor = NamedReactor()
        self.fetcher = DirectFetcher(self.reactor, ClientConfig(discovery_timeout_s=3.0))  # type: ignore[arg-type]

    def get(self) -> Result:
        return Result(self.fetcher.get(URL))

    def serve(self) -> None:
        """Accept the only connection that is being opened, and send a discovery reply."""
        (dial,) = self.reactor.dials
        wire = dial.accept()
        self.reactor.advance(0)
        says(wire, response(200, b"[]"))

    def learn(self, *addresses: str) -> None:
        got = self.get()
        self.reactor.answer(*addresses)
        self.serve()
        assert got.value == b"[]"

    def assert_nothing_left(self) -> None:
        assert Result(self.fetcher.close()).fired == [None]
        assert not self.reactor.dials
        assert not self.reactor.getDelayedCalls()


@pytest.fixture
def harness() -> Iterator[Harness]:
    made = Harness()
    yield made
    made.assert_nothing_left()


@pytest.fixture
def said() -> Iterator[list[str]]:
    lines: list[str] = []

    def note(event: dict[str, Any]) -> None:
        lines.append(event["log_format"].format(**event))

    globalLogPublisher.addObserver(note)
    yield lines
    globalLogPublisher.removeObserver(note)


def test_a_name_is_resolved_for_each_request(harness: Harness) -> None:
    for address in ("10.0.0.1", "10.0.0.2"):
        got = harness.get()
        assert [name for _, name in harness.reactor.asked] == ["control.example"]
        harness.reactor.answer(address)
        assert [dial.address for dial in harness.reactor.dials] == [(address, 8080)]
        harness.serve()
        assert got.value == b"[]"


def test_each_address_of_a_name_is_tried(harness: Harness) -> None:
    got = harness.get()
    harness.reactor.answer("10.0.0.1", "10.0.0.2")
    harness.reactor.dials[0].fail()
    harness.reactor.advance(0.5)
    harness.serve()
    assert got.value == b"[]"


def test_the_error_of_a_resolution_timeout_has_the_name(harness: Harness) -> None:
    for _ in range(2):
        got = harness.get()
        harness.reactor.advance(3.0)
        assert got.error.reason is RejectReason.TIMEOUT
        assert str(got.error) == "no reply: the name control.example was not resolved within 3 s"
    assert len(harness.reactor.asked) == 2


def test_the_error_of_an_unknown_name_has_the_name(harness: Harness) -> None:
    got = harness.get()
    harness.reactor.answer()
    assert got.error.reason is RejectReason.CONNECTION
    assert str(got.error) == "no reply: the name control.example was not resolved: it has no address"


def test_the_last_addresses_are_used_while_resolution_fails(harness: Harness, said: list[str]) -> None:
    harness.learn("10.0.0.1")
    got = harness.get()
    harness.reactor.answer()
    harness.serve()
    assert got.value == b"[]"
    got = harness.get()
    harness.reactor.advance(0.9)
    assert not harness.reactor.dials
    harness.reactor.advance(0.1)
    assert [dial.address for dial in harness.reactor.dials] == [("10.0.0.1", 8080)]
    harness.serve()
    assert got.value == b"[]"
    assert said == ["the name control.example was not resolved: it has no address; the last known addresses are used"]
    harness.reactor.answer("10.0.0.9")
    harness.learn("10.0.0.2")
    harness.reactor.asked.clear()
    harness.get().deferred.cancel()


def test_addresses_that_arrive_late_are_used_for_the_next_request(harness: Harness) -> None:
    """The addresses arrive after the request that started the resolution has failed."""
    got = harness.get()
    harness.reactor.advance(3.0)
    assert got.error.reason is RejectReason.TIMEOUT
    harness.reactor.answer("10.0.0.5")
    harness.get()
    harness.reactor.advance(1.0)
    assert [dial.address for dial in harness.reactor.dials] == [("10.0.0.5", 8080)]
    harness.serve()


def test_cancelling_a_resolution_leaves_no_timer(harness: Harness) -> None:
    got = harness.get()
    got.deferred.cancel()
    assert got.error.reason is RejectReason.CONNECTION
    assert not harness.reactor.getDelayedCalls()
    harness.reactor.answer("10.0.0.1")
    assert not harness.reactor.dials


@pytest.mark.parametrize("host", ["10.0.0.1", "[fe80::1]"])
def test_an_address_is_not_resolved(harness: Harness, host: str) -> None:
    harness.fetcher.get(f"http://{host}/list").addErrback(lambda _: None)
    assert not harness.reactor.asked
    (dial,) = harness.reactor.dials
    assert dial.address == (host.strip("[]"), 80)
    harness.serve()


class GAIResolver:
    """A resolver whose class has the name of Twisted's default resolver."""


def test_a_resolver_of_the_program_is_used_and_twisteds_default_is_replaced() -> None:
    """Twisted's default resolver shares its threads with the program's `deferToThread`."""
    reactor = NamedReactor()
    own = names_of(reactor, 1.0)
    assert own is not None
    assert own._resolver is reactor
    reactor.installNameResolver(GAIResolver())
    replaced = names_of(reactor, 1.0)
    assert replaced is not None
    assert isinstance(replaced._resolver, ThreadResolver)
    assert names_of(PuppetReactor(), 1.0) is None


@pytest.mark.parametrize("addresses", [(), ("10.0.0.1",)])
def test_a_wait_may_be_cancelled_by_the_callback_of_another(harness: Harness, addresses: tuple[str, ...]) -> None:
    """As when a program cancels its other calls because one has failed."""
    names = Names(harness.reactor, harness.reactor, 3.0)
    waits = [names.addresses("control.example") for _ in range(3)]
    first, second, third = map(Result, waits)
    waits[0].addBoth(lambda _: waits[1].cancel())
    harness.reactor.answer(*addresses)
    assert len(first.fired) == len(third.fired) == 1
    assert isinstance(second.error, CancelledError)


def test_the_number_of_stored_names_is_bounded() -> None:
    """VIPServer's address server may return the name of a new server each time."""
    reactor = NamedReactor()
    names = names_of(reactor, 1.0)
    assert names is not None
    for number in range(100):
        Result(names.addresses(f"n{number}"))
        reactor.answer("10.0.0.1")
    assert len(names._names) == 32
