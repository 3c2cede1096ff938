"""Where a host name leads: now, and while nobody can say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IReactorPluggableNameResolver, IResolutionReceiver
from twisted.logger import globalLogPublisher
from zope.interface import implementer

from eas_tw import ClientConfig
from eas_tw.lookup import ThreadResolver
from eas_tw.net.fetch import DirectFetcher
from eas_tw.net.names import names_of
from eas_tw.policy.instances import Refusal
from tests.net.calling import Result, response, says
from tests.net.fleet import PuppetReactor

URL = "http://control.example:8080/list"


@implementer(IReactorPluggableNameResolver)
class NamedReactor(PuppetReactor):
    """A reactor with a resolver of the program's own, which answers when the test says so."""

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


class House:
    def __init__(self) -> None:
        self.reactor = NamedReactor()
        self.fetcher = DirectFetcher(self.reactor, ClientConfig(discovery_timeout_s=3.0))  # type: ignore[arg-type]

    def get(self) -> Result:
        return Result(self.fetcher.get(URL))

    def serve(self) -> None:
        """The control plane answers on the only connection being opened."""
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
def house() -> Iterator[House]:
    made = House()
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


def test_a_name_is_looked_up_each_time(house: House) -> None:
    """So a control plane that moves is followed."""
    for address in ("10.0.0.1", "10.0.0.2"):
        got = house.get()
        assert [name for _, name in house.reactor.asked] == ["control.example"]
        house.reactor.answer(address)
        assert [dial.address for dial in house.reactor.dials] == [(address, 8080)]
        house.serve()
        assert got.value == b"[]"


def test_each_address_of_a_name_is_tried(house: House) -> None:
    """When the first refuses, the second."""
    got = house.get()
    house.reactor.answer("10.0.0.1", "10.0.0.2")
    house.reactor.dials[0].fail()
    house.reactor.advance(0.5)
    house.serve()
    assert got.value == b"[]"


def test_a_name_that_is_never_resolved_says_so(house: House) -> None:
    """By name, and as a timeout; and it is asked for again."""
    for _ in range(2):
        got = house.get()
        house.reactor.advance(3.0)
        assert got.error.reason is Refusal.TIMEOUT
        assert str(got.error) == "no reply: the name control.example was not resolved within 3 s"
    assert len(house.reactor.asked) == 2


def test_a_name_that_is_unknown_says_so(house: House) -> None:
    """At once."""
    got = house.get()
    house.reactor.answer()
    assert got.error.reason is Refusal.CONNECTION
    assert str(got.error) == "no reply: the name control.example was not resolved: it has no address"


def test_the_last_addresses_serve_while_the_resolver_is_down(house: House, said: list[str]) -> None:
    """Whether it fails or is silent, which is one line in the log; and when it is back, it counts again."""
    house.learn("10.0.0.1")
    got = house.get()
    house.reactor.answer()
    house.serve()
    assert got.value == b"[]"
    got = house.get()
    house.reactor.advance(0.9)
    assert not house.reactor.dials
    house.reactor.advance(0.1)
    assert [dial.address for dial in house.reactor.dials] == [("10.0.0.1", 8080)]
    house.serve()
    assert got.value == b"[]"
    assert said == ["the name control.example was not resolved: it has no address; the addresses of before are used"]
    house.reactor.answer("10.0.0.9")
    house.learn("10.0.0.2")
    house.reactor.asked.clear()
    house.get().deferred.cancel()


def test_a_late_answer_is_kept(house: House) -> None:
    """It comes too late for the one who asked, and in time for the next."""
    got = house.get()
    house.reactor.advance(3.0)
    assert got.error.reason is Refusal.TIMEOUT
    house.reactor.answer("10.0.0.5")
    house.get()
    house.reactor.advance(1.0)
    assert [dial.address for dial in house.reactor.dials] == [("10.0.0.5", 8080)]
    house.serve()


def test_cancelling_a_look_up_leaves_nothing(house: House) -> None:
    """No timer, no connection, and an answer that nobody waits for."""
    got = house.get()
    got.deferred.cancel()
    assert got.error.reason is Refusal.CONNECTION
    assert not house.reactor.getDelayedCalls()
    house.reactor.answer("10.0.0.1")
    assert not house.reactor.dials


@pytest.mark.parametrize("host", ["10.0.0.1", "[fe80::1]"])
def test_an_address_is_not_looked_up(house: House, host: str) -> None:
    """It has no need of a resolver, nor of its thread."""
    house.fetcher.get(f"http://{host}/list").addErrback(lambda _: None)
    assert not house.reactor.asked
    (dial,) = house.reactor.dials
    assert dial.address == (host.strip("[]"), 80)
    house.serve()


class GAIResolver:
    """Twisted's own, by its name."""


def test_the_program_s_resolver_is_used_and_twisted_s_replaced() -> None:
    """Twisted's shares its threads with the program's `deferToThread`."""
    reactor = NamedReactor()
    own = names_of(reactor, 1.0)
    assert own is not None
    assert own._resolver is reactor
    reactor.installNameResolver(GAIResolver())
    replaced = names_of(reactor, 1.0)
    assert replaced is not None
    assert isinstance(replaced._resolver, ThreadResolver)
    assert names_of(PuppetReactor(), 1.0) is None


def test_names_kept_are_bounded() -> None:
    """VIPServer's address server may name a new server each time."""
    reactor = NamedReactor()
    names = names_of(reactor, 1.0)
    assert names is not None
    for number in range(100):
        Result(names.addresses(f"n{number}"))
        reactor.answer("10.0.0.1")
    assert len(names._names) == 32
