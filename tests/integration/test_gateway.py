"""Calls through the gateway while instances behind it have crashed, and the Host header for IPv6 addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.protocol import Factory, Protocol

from eas_tw import ENDPOINT_TYPE_DEFAULT, ENDPOINT_TYPE_DIRECT, PredictClient, StatusError
from tests.integration.clients import client_of

if TYPE_CHECKING:
    from tests.simulator.serving import Served


@pytest_twisted.ensureDeferred
async def test_no_call_fails_while_one_of_three_instances_is_down(served: Served) -> None:
    """A third of the attempts get status 502 from the gateway."""
    served.patch("echo", "echo-1", state="crashed")
    async with client_of(served, ENDPOINT_TYPE_DEFAULT) as client:
        for number in range(100):
            assert str(await client.predict(f"[{number}]")) == f"[{number}]"
        counters = client.counters
    assert counters.answered == 100
    assert counters.retries.keys() == {"502"}


@pytest_twisted.ensureDeferred
async def test_a_service_that_is_down_gets_a_bounded_number_of_requests(served: Served) -> None:
    """The first three attempts of a call are free, and the others use the budget: 20 % of the calls plus 1 a second.

    A 502 counts as a quarter of an attempt, so without the budget each of the 30 calls would make twelve attempts.
    """
    for number in range(3):
        served.patch("echo", f"echo-{number}", state="crashed")
    async with client_of(served, ENDPOINT_TYPE_DEFAULT, retry_budget_min_per_s=1.0) as client:
        for _ in range(30):
            with pytest.raises(StatusError):
                await client.predict("x")
        assert 30 * 3 < client.counters.attempts.total() <= 30 * 3 + 30 // 5 + 10  # 1 a second, for 10 s
        assert client.counters.failed == {"StatusError": 30}


class Answering(Protocol):
    """A server that responds to each request, and records its Host header."""

    got = b""

    def connectionMade(self) -> None:
        self.factory.open[self] = Deferred()

    def connectionLost(self, _: Any) -> None:
        self.factory.open.pop(self).callback(None)

    def dataReceived(self, data: bytes) -> None:
        self.got += data
        head, blank, _ = self.got.partition(b"\r\n\r\n")
        if blank:
            self.factory.hosts += [line for line in head.split(b"\r\n") if line.lower().startswith(b"host:")]
            body = self.factory.reply if head.startswith(b"GET") else b"ok"
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            self.got = b""


@pytest.mark.parametrize("endpoint_type", [ENDPOINT_TYPE_DEFAULT, ENDPOINT_TYPE_DIRECT])
@pytest_twisted.ensureDeferred
async def test_the_host_header_has_an_ipv6_address_in_brackets(endpoint_type: str) -> None:
    factory = Factory.forProtocol(Answering)
    factory.hosts, factory.open = [], {}
    try:
        port = reactor.listenTCP(0, factory, interface="::1")
    except OSError:
        pytest.skip("this machine has no IPv6")
    number = port.getHost().port
    factory.reply = b'{"endpoints": {"items": [{"ip": "0:0::1", "port": %d, "weight": 1}]}}' % number
    async with PredictClient(f"[0::1]:{number}", "svc", endpoint_type=endpoint_type, reactor=reactor) as client:
        assert str(await client.predict("")) == "ok"
    assert set(factory.hosts) == {b"Host: [::1]:%d" % number}
    await port.stopListening()
    await gatherResults(list(factory.open.values()))
