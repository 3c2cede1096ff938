"""Streams over real sockets with Twisted, asyncio, threads and the agent, from a simulated language model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import pytest_twisted
import treq
from twisted.internet import reactor
from twisted.web.http_headers import Headers

import eas_tw
import eas_tw.blocking
from eas_tw import ENDPOINT_TYPE_DEFAULT, ENDPOINT_TYPE_DIRECT, ClientConfig, PredictClient, StatusError
from eas_tw.service import EasAgent
from tests.integration.programs import printed, program
from tests.simulator.serving import Served

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = "t0ken-nobody-may-see"
CHAT = {"model": "eas", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 5}
KINDS = [ENDPOINT_TYPE_DIRECT, ENDPOINT_TYPE_DEFAULT]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Start a simulator with a language model."""
    options = ("--service", "llm=2", "--processor", "llm", "--token", TOKEN, "--seed", "7")
    with Served(tmp_path_factory.mktemp("simulator"), *options) as served:
        yield served


def model_of(served: Served) -> str:
    """Return the name of the model."""
    with eas_tw.blocking.PredictClient(
        served.ready["url"], "llm", token=TOKEN, endpoint_type=ENDPOINT_TYPE_DIRECT
    ) as client:
        found: str = client.request("GET", "v1/models").json()["data"][0]["id"]
    return found


def text_of(events: list[eas_tw.ServerSentEvent]) -> str:
    """Return the text of a response: the deltas of its events, joined."""
    deltas = [json.loads(event.data)["choices"][0]["delta"] for event in events if event.data != "[DONE]"]
    return "".join(delta.get("content") or "" for delta in deltas)


@pytest.mark.parametrize("kind", KINDS)
@pytest_twisted.ensureDeferred
async def test_twisted_reads_events_when_they_arrive(served: Served, kind: str) -> None:
    config = ClientConfig(auth="bearer" if kind == ENDPOINT_TYPE_DIRECT else "token")
    async with PredictClient(
        served.ready["url"], "llm", token=TOKEN, endpoint_type=kind, reactor=reactor, config=config
    ) as client:
        models = await client.request("GET", "v1/models")
        chat = {**CHAT, "model": models.json()["data"][0]["id"]}
        whole = (await client.request("POST", "v1/chat/completions", body=chat)).json()
        async with client.stream({**chat, "stream": True}, path="v1/chat/completions") as stream:
            events = [event async for event in stream.events()]
        assert events[-1].data == "[DONE]"
        assert text_of(events) == whole["choices"][0]["message"]["content"] != ""
        missing = await client.request("POST", "v1/chat/completions", body={**chat, "model": "none"})
        assert missing.status == 404
        with pytest.raises(StatusError):
            async with client.stream({**chat, "model": "none"}, path="v1/chat/completions"):
                raise AssertionError("a stream of an error was opened")


def test_threads_read_events_when_they_arrive(served: Served) -> None:
    model = model_of(served)
    with eas_tw.blocking.PredictClient(
        served.ready["url"], "llm", token=TOKEN, endpoint_type=ENDPOINT_TYPE_DIRECT
    ) as client:
        chat = {**CHAT, "model": model, "stream": True}
        with client.stream(chat, path="v1/chat/completions") as stream:
            events = list(stream.events())
        assert events[-1].data == "[DONE]"
        with client.stream(chat, path="v1/chat/completions") as stream:
            assert next(iter(stream.lines())).startswith("data: ")
        with pytest.raises(eas_tw.blocking.PredictException) as caught:
            client.stream({**chat, "model": "none"}, path="v1/chat/completions")
        assert caught.value.code == 404


def test_threads_wait_for_the_first_list_and_read_what_was_received(served: Served) -> None:
    url = served.ready["url"]
    with eas_tw.blocking.PredictClient(url, "llm", token=TOKEN, endpoint_type=ENDPOINT_TYPE_DIRECT) as client:
        client.wait_until_ready()
        client.wait_until_ready(0.001)
        assert len(client.instances) == 2
        chat = {**CHAT, "model": model_of(served), "stream": True}
        with client.stream(chat, path="v1/chat/completions") as stream:
            assert (b"cache-control", b"no-cache") in {(name.lower(), value) for name, value in stream.raw_headers}
            assert b"".join(stream.iter_raw()).endswith(b"data: [DONE]\n\n")
    with eas_tw.blocking.PredictClient("127.0.0.1:1", "llm", endpoint_type=ENDPOINT_TYPE_DIRECT) as client:
        for _ in range(2):
            with pytest.raises(eas_tw.blocking.PredictException, match=r"no list of instances within 0.05 s"):
                client.wait_until_ready(0.05)
    with pytest.raises(eas_tw.blocking.PredictException, match="the client is closed"):
        client.wait_until_ready(0.05)


def test_asyncio_reads_events_when_they_arrive(served: Served) -> None:
    ended = program(
        served,
        """
    import asyncio, os, sys
    import eas_tw
    from eas_tw.aio import PredictClient
    async def main():
        async with PredictClient(
            os.environ["EAS_ENDPOINT"], "llm", token=os.environ["EAS_TOKEN"], endpoint_type=eas_tw.ENDPOINT_TYPE_DIRECT
        ) as client:
            model = (await client.request("GET", "v1/models")).json()["data"][0]["id"]
            chat = {"model": model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 3, "stream": True}
            async with client.stream(chat, path="v1/chat/completions") as stream:
                events = [event.data async for event in stream.events()]
            print(events[-1], len(events) > 3)
            async with client.stream(chat, path="v1/chat/completions") as stream:
                async for _ in stream:
                    break
            print(dict(client.client.counters.streams_broken))
            async def forever():
                async with client.stream(chat, path="v1/chat/completions") as stream:
                    async for _ in stream:
                        reading.cancel()
            reading = asyncio.create_task(forever())
            await asyncio.wait([reading])
            print(reading.cancelled())
    asyncio.run(main())
""",
    )
    assert printed(ended) == ["[DONE] True", "{'cancelled': 1}", "True"]


@pytest_twisted.ensureDeferred
async def test_the_agent_delivers_bodies_when_they_arrive(served: Served) -> None:
    async with PredictClient(
        served.ready["url"], "llm", token=TOKEN, endpoint_type=ENDPOINT_TYPE_DIRECT, reactor=reactor
    ) as client:
        agent = EasAgent(client)
        response = await agent.request(b"GET", b"eas://llm/v1/models", Headers())
        models: Any = json.loads(await treq.content(response))
        http = treq.client.HTTPClient(agent)
        chat = {**CHAT, "model": models["data"][0]["id"], "stream": True}
        pieces: list[bytes] = []
        answer = await http.post("eas://llm/v1/chat/completions", json=chat, unbuffered=True)
        await treq.collect(answer, pieces.append)
        assert len(pieces) > 3
        assert b"".join(pieces).endswith(b"data: [DONE]\n\n")
        missing = await http.post("eas://llm/v1/chat/completions", json={**chat, "model": "none"})
        assert missing.code == 404
