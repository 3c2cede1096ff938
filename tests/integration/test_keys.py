"""Keys, balancers and filters with each adapter, against simulated instances."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.web.client import readBody
from twisted.web.http_headers import Headers

import eas_tw.blocking
from eas_tw import ENDPOINT_TYPE_DIRECT, ClientConfig, ConfigError, PredictClient, prefix_key
from eas_tw.agent import EasAgent
from tests.simulator.serving import Served

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = "t0ken"
KEYS = [f"user-{number}" for number in range(12)]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    services = ("--service", "echo=4", "--service", "shop/ranker=1", "--service", "shop/canary=1")
    with Served(tmp_path_factory.mktemp("keys"), *services, "--token", TOKEN, "--seed", "7") as running:
        yield running


def client_of(served: Served, service: str = "echo", **settings: Any) -> PredictClient:
    config = ClientConfig(**{"balancer": "hash", "hedge_after_s": None, **settings})
    return PredictClient(
        served.ready["url"], service, token=TOKEN, endpoint_type=ENDPOINT_TYPE_DIRECT, reactor=reactor, config=config
    )


def answered(client: Any) -> dict[str, int]:
    return {address: count for address, count in client.counters.attempts.items() if count}


async def places(client: PredictClient) -> list[str]:
    """Return the address of the instance that responds to a streamed call with each key."""
    found = []
    for key in KEYS:
        async with client.stream(b"x", key=key) as stream:
            await stream.read()
            assert stream.instance is not None
            found.append(stream.instance.address)
    return found


async def test_every_kind_of_call_of_a_key_goes_to_the_same_instance(served: Served) -> None:
    async with client_of(served) as client, client_of(served, seed=5) as other:
        expected = await places(client)
        assert await places(other) == expected
        assert len(set(expected)) > 1
        for key, place in zip(KEYS, expected, strict=True):
            before = answered(other)
            await other.predict(b"x", key=key.encode())
            await other.request("POST", body=b"x", key=key)
            assert {at: n - before.get(at, 0) for at, n in answered(other).items() if n > before.get(at, 0)} == {
                place: 2
            }


async def test_an_agent_takes_the_key_from_a_header_and_does_not_send_it(served: Served) -> None:
    async with client_of(served) as client:
        expected = await places(client)
        agent = EasAgent(client)
        for key, place in zip(KEYS, expected, strict=True):
            before = answered(client)
            response = await agent.request(b"POST", b"eas://echo", Headers({"X-Eas-Key": [key]}))
            assert (response.code, await readBody(response)) == (200, b"")
            assert answered(client)[place] == before[place] + 1


async def test_the_blocking_client_sends_keys_to_the_same_instances(served: Served) -> None:
    async with client_of(served) as client:
        expected = await places(client)
    settings: dict[str, Any] = {"token": TOKEN, "endpoint_type": ENDPOINT_TYPE_DIRECT}
    config = ClientConfig(balancer="hash")

    def by_threads() -> list[str]:
        blocking = eas_tw.blocking.PredictClient(served.ready["url"], "echo", config=config, **settings)
        try:
            found = []
            for key in KEYS:
                with blocking.stream(b"x", key=key) as stream:
                    stream.read()
                    found.append(stream.instance.address)
            return found
        finally:
            blocking.destroy()

    assert await deferToThread(by_threads) == expected


@pytest.mark.parametrize("key", [5, ["a"], object()])
async def test_a_key_of_another_type_is_an_error_of_one_line(served: Served, key: Any) -> None:
    for balancer in ("wrr", "hash"):
        async with client_of(served, balancer=balancer) as client:
            with pytest.raises(ConfigError, match="key must be str or bytes"):
                await client.predict(b"x", key=key)
            assert answered(client) == {}


async def test_a_balancer_that_raises_loses_no_call_and_is_counted(served: Served) -> None:
    def make(_: Any) -> Any:
        class Broken:
            def update(self, instances: Any) -> None: ...

            def choose(self, call: Any, excluded: Any) -> Any:
                raise ValueError(call.key)

        return Broken()

    async with client_of(served, balancer=make) as client:
        for _ in range(8):
            await client.predict(b"x", key="a")
        assert client.counters.balancer_fallbacks == 8
        assert sorted(answered(client).values()) == [2, 2, 2, 2]


async def test_an_object_that_is_no_balancer_is_refused_by_init(served: Served) -> None:
    client = client_of(served, balancer=lambda _: object())
    with pytest.raises(ConfigError, match="has no method update and no choose"):
        await client.init()
    await client.close()


async def test_a_balancer_may_close_the_client(served: Served) -> None:
    closing: list[Any] = []

    class Closing:
        def update(self, instances: Any) -> None:
            self.instances = instances

        def choose(self, call: Any, excluded: Any) -> Any:
            if not closing:
                closing.append(client.close())
            return self.instances[0] if self.instances else None

    client = client_of(served, balancer=lambda _: Closing())
    await client.init()
    await client.predict(b"x")
    await closing[0]
    assert client.is_closed


async def test_a_filter_leaves_instances_out(served: Served) -> None:
    async with client_of(served, "shop/ranker", instance_filter=lambda each: each.app == "shop-canary") as client:
        assert [each.app for each in client.instances] == ["shop-canary"]
        await client.predict(b"x")
        assert list(answered(client)) == [client.instances[0].address]


async def test_a_filter_that_leaves_none_is_ignored(served: Served) -> None:
    async with client_of(served, instance_filter=lambda _: False) as client:
        assert len(client.instances) == 4


def test_a_prefix_key_stays_the_same_while_a_conversation_grows() -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is a Deferred?"}]
    key = prefix_key(messages)
    longer = [*messages, {"role": "assistant", "content": "A result."}, {"role": "user", "content": "Why?"}]
    assert prefix_key(longer) == key
    assert prefix_key([messages[0], {"role": "user", "content": "What is a Future?"}]) != key
    assert len(key) == 32


def test_a_prefix_key_covers_the_given_number_of_blocks() -> None:
    text = "".join(chr(ord("a") + number % 26) for number in range(3000))
    assert prefix_key(text, blocks=1) == prefix_key(text[:256] + "other", blocks=1)
    assert prefix_key(text, blocks=2) != prefix_key(text[:256] + "other", blocks=2)
    assert prefix_key(text) == prefix_key(text.encode())


@pytest.mark.parametrize("messages", [5, {"role": "user"}, [5], [{}], [{"content": {1: 2, "a": 3}}]])
def test_messages_without_a_prompt_are_refused(messages: Any) -> None:
    with pytest.raises(ConfigError, match="message"):
        prefix_key(messages)
