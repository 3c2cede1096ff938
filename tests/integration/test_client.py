"""The Twisted client over real sockets, against a simulator in another process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.ssl import trustRootFromCertificates
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS, HTTPConnectionPool

from eas_tw import (
    ENDPOINT_TYPE_DEFAULT,
    ENDPOINT_TYPE_DIRECT,
    ENDPOINT_TYPE_FIXED,
    ENDPOINT_TYPE_VIPSERVER,
    ClientClosed,
    ClientConfig,
    ConfigError,
    ConnectionFailed,
    DeadlineExceeded,
    PredictClient,
    StatusError,
    TFRequest,
)
from tests.integration.clients import client_of
from tests.integration.conftest import TOKEN
from tests.integration.tls import TlsProxy
from tests.patience import PATIENT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.simulator.serving import Served

ENDPOINT_TYPES = (ENDPOINT_TYPE_DIRECT, ENDPOINT_TYPE_DEFAULT, ENDPOINT_TYPE_VIPSERVER, ENDPOINT_TYPE_FIXED)


def journal(served: Served) -> list[dict[str, Any]]:
    """Return the requests that instances have received."""
    return served.admin("GET", "/v1/requests?limit=10000")[1]["requests"]  # type: ignore[no-any-return]


def when(count: int, calls: list[Deferred[Any]]) -> Deferred[None]:
    """Return a Deferred that fires when the given number of calls have succeeded."""
    enough: Deferred[None] = Deferred()
    answered = 0

    def one_more(result: Any) -> Any:
        nonlocal answered
        answered += 1
        if answered == count:
            enough.callback(None)
        return result

    for call in calls:
        call.addCallback(one_more)
    return enough


@pytest.mark.parametrize("kind", ENDPOINT_TYPES)
@pytest_twisted.ensureDeferred
async def test_every_endpoint_type_works(served: Served, kind: str) -> None:
    """Thirty concurrent calls each get their own response, and all instances receive some of them."""
    bodies = [f"[{number}]" for number in range(30)]
    async with client_of(served, kind) as client:
        answers = await gatherResults([client.predict(body) for body in bodies])
    assert [str(answer) for answer in answers] == bodies
    rows = journal(served)
    assert [row["status"] for row in rows] == [200] * 30
    assert {row["instance"] for row in rows} == {"echo-0", "echo-1", "echo-2"}


@pytest.mark.parametrize("kind", ENDPOINT_TYPES)
@pytest_twisted.ensureDeferred
async def test_a_wrong_token_is_status_401_with_every_endpoint_type(served: Served, kind: str) -> None:
    async with client_of(served, kind, token="wr0ng-token") as client:
        with pytest.raises(StatusError) as caught:
            await client.predict("[]")
    assert caught.value.status == 401
    assert len(caught.value.attempts) == 1
    assert "wr0ng" not in f"{caught.value}{client!r}"


@pytest_twisted.ensureDeferred
async def test_tensors_are_sent_and_received(served: Served) -> None:
    async with client_of(served, service="mnist") as client:
        request = TFRequest("predict_images")
        request.add_feed("images", [2, 784], TFRequest.DT_FLOAT, [0.5] * 1568)
        response = await client.predict(request)
    assert response.get_tensor_shape("scores") == [2, 10]
    values = response.get_values("scores")
    assert list(values[:10]) == list(values[10:])


@pytest_twisted.ensureDeferred
async def test_an_instance_that_crashes_during_requests_loses_no_call(served: Served) -> None:
    async with client_of(served) as client:
        served.patch("echo", "echo-0", state="hung")
        calls = [client.predict(f"[{number}]") for number in range(30)]
        await when(20, calls)
        served.patch("echo", "echo-0", state="crashed")
        answers = await gatherResults(calls)
        later = await gatherResults([client.predict("later") for _ in range(30)])
        assert client.counters.failures["lost"] == 10
        assert [instance.port for instance in client.ejected] == [served.instances[0]["port"]]
    assert [str(answer) for answer in answers] == [f"[{number}]" for number in range(30)]
    assert {str(answer) for answer in later} == {"later"}
    good = [row["instance"] for row in journal(served) if row["status"] == 200]
    assert sorted(set(good)) == ["echo-1", "echo-2"]
    assert len(good) == 60


@pytest_twisted.ensureDeferred
async def test_an_instance_that_does_not_respond_costs_one_attempt_timeout(served: Served) -> None:
    async with client_of(served, attempt_timeout_s=3.0) as client:
        served.patch("echo", "echo-1", state="hung")
        answers = await gatherResults([client.predict(f"[{number}]") for number in range(9)])
        assert client.counters.failures["attempt_timeout"] >= 3
    assert [str(answer) for answer in answers] == [f"[{number}]" for number in range(9)]


@pytest.mark.parametrize("kind", ENDPOINT_TYPES)
@pytest_twisted.ensureDeferred
async def test_the_deadline_bounds_the_whole_call(served: Served, kind: str) -> None:
    async with client_of(served, kind) as client:
        for number in range(3):
            served.patch("echo", f"echo-{number}", state="hung")
        with pytest.raises(DeadlineExceeded, match=r"deadline of 0\.2 s") as caught:
            await client.predict("[]", timeout_s=0.2)
    assert {attempt.outcome.attempt_status for attempt in caught.value.attempts} == {"deadline"}


@pytest.mark.parametrize("kind", ENDPOINT_TYPES)
@pytest_twisted.ensureDeferred
async def test_close_cancels_what_does_not_end_and_leaves_nothing(served: Served, kind: str) -> None:
    """Eleven calls hang, and the caller cancels one of them. The fixture `_nothing_left` then checks the reactor."""
    client = client_of(served, kind, drain_timeout_s=0.1)
    await client.init()
    for number in range(3):
        served.patch("echo", f"echo-{number}", state="hung")
    calls = [client.predict(f"[{number}]") for number in range(11)]
    ended: list[Any] = []
    for call in calls:
        call.addErrback(lambda failure: ended.append(failure.type.__name__))
    calls[0].cancel()
    assert ended == [CancelledError.__name__]
    await client.close()
    assert ended == ["CancelledError"] + ["ClientClosed"] * 10


@pytest_twisted.ensureDeferred
async def test_calls_succeed_when_discovery_fails_after_the_first_list(served: Served) -> None:
    async with client_of(served, poll_interval_s=0.05) as client:
        served.admin("POST", "/v1/faults", {"type": "unreachable", "target": {"discovery": True}})
        served.patch("echo", "echo-2", state="crashed")
        polled = client.discovery.polls
        while client.discovery.polls < polled + 3:
            await _pass(0.02)
        answers = await gatherResults([client.predict(f"[{number}]") for number in range(30)])
        assert client.discovery.last_error
        assert len(client.instances) == 3
    assert [str(answer) for answer in answers] == [f"[{number}]" for number in range(30)]


@pytest_twisted.ensureDeferred
async def test_instances_come_and_go_with_discovery(served: Served) -> None:
    async with client_of(served, poll_interval_s=0.05) as client:
        served.patch("echo", "echo-0", registered=False)
        _, made = served.admin("POST", "/v1/services/echo/instances", {})
        wanted = sorted([served.instances[1]["port"], served.instances[2]["port"], made["port"]])
        while sorted(instance.port for instance in client.instances) != wanted:
            await _pass(0.02)
        await gatherResults([client.predict(f"[{number}]") for number in range(30)])
    assert {row["instance"] for row in journal(served)} == {"echo-1", "echo-2", made["id"]}
    served.admin("DELETE", f"/v1/services/echo/instances/{made['id']}")


class TestHttpsGateway:
    """A gateway with TLS and a certificate of a private authority."""

    @pytest_twisted.ensureDeferred
    async def test_a_call_succeeds_when_the_authority_is_trusted(self, served: Served, tls: TlsProxy) -> None:
        pool = HTTPConnectionPool(reactor)
        agent = Agent(reactor, BrowserLikePolicyForHTTPS(trustRootFromCertificates([tls.authority])), pool=pool)
        async with PredictClient(tls.url, "echo", token=TOKEN, reactor=reactor, agent=agent) as client:
            for number in range(5):
                assert str(await client.predict(f"[{number}]")) == f"[{number}]"
        await pool.closeCachedConnections()
        assert [row["status"] for row in journal(served)] == [200] * 5

    @pytest_twisted.ensureDeferred
    async def test_a_call_succeeds_when_the_authority_is_configured(self, served: Served, tls: TlsProxy) -> None:
        """`trust_roots` is the path of a PEM file. If the file is missing or not PEM, `init` fails."""
        config = ClientConfig(trust_roots=str(tls.authority_file))
        async with PredictClient(tls.url, "echo", token=TOKEN, reactor=reactor, config=config) as client:
            assert str(await client.predict("[1]")) == "[1]"
        for wrong in (__file__, "/nowhere.pem"):
            client = PredictClient(tls.url, "echo", reactor=reactor, config=ClientConfig(trust_roots=wrong))
            with pytest.raises(ConfigError, match="trust_roots"):
                await client.init()
            await client.close()

    @pytest_twisted.ensureDeferred
    async def test_a_call_fails_when_the_authority_is_not_trusted(self, served: Served, tls: TlsProxy) -> None:
        async with PredictClient(tls.url, "echo", token=TOKEN, reactor=reactor) as client:
            with pytest.raises(ConnectionFailed, match="certificate verify failed"):
                await client.predict("[]")
        assert journal(served) == []


class TestHttpsDiscovery:
    """The control plane with TLS; the instances without it."""

    @pytest_twisted.ensureDeferred
    async def test_discovery_succeeds_when_the_authority_is_configured(self, served: Served, tls: TlsProxy) -> None:
        config = ClientConfig(trust_roots=str(tls.authority_file), poll_interval_s=0.05)
        async with PredictClient(
            tls.url, "echo", token=TOKEN, endpoint_type=ENDPOINT_TYPE_DIRECT, reactor=reactor, config=config
        ) as client:
            assert len(client.instances) == len(served.instances)
            while client.discovery.accepted < 3:
                await _pass(0.02)
            assert str(await client.predict("[1]")) == "[1]"
        assert client.discovery.rejections == {}

    @pytest_twisted.ensureDeferred
    async def test_discovery_succeeds_through_an_agent(self, served: Served, tls: TlsProxy) -> None:
        pool = HTTPConnectionPool(reactor)
        agent = Agent(reactor, BrowserLikePolicyForHTTPS(trustRootFromCertificates([tls.authority])), pool=pool)
        async with PredictClient(
            tls.url, "echo", token=TOKEN, endpoint_type=ENDPOINT_TYPE_DIRECT, reactor=reactor, agent=agent
        ) as client:
            assert len(client.instances) == len(served.instances)
        await pool.closeCachedConnections()

    @pytest_twisted.ensureDeferred
    async def test_discovery_fails_when_the_authority_is_unknown(self, tls: TlsProxy) -> None:
        config = ClientConfig(**PATIENT)
        client = PredictClient(tls.url, "echo", endpoint_type=ENDPOINT_TYPE_DIRECT, reactor=reactor, config=config)
        ready = client.init()
        while not client.discovery.last_error:
            await _pass(0.02)
        assert "certificate verify failed" in client.discovery.last_error
        await client.close()
        with pytest.raises(ClientClosed):
            await ready


@pytest.fixture(scope="module")
def tls(running: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsProxy]:
    with TlsProxy(tmp_path_factory.mktemp("tls"), running.ready["url"]) as front:
        yield front


def _pass(seconds: float) -> Deferred[None]:
    """Return a Deferred that fires after the given real time."""
    passed: Deferred[None] = Deferred()
    reactor.callLater(seconds, passed.callback, None)
    return passed
