"""The public API, used as in programs. mypy checks this file, and nothing runs it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, assert_type

import eas_tw.aio
import eas_tw.blocking
import eas_tw.httpx2
from eas_tw import (
    ENDPOINT_TYPE_DIRECT,
    AttemptResult,
    ClientConfig,
    Frame,
    Instance,
    PredictClient,
    PutResult,
    QueueClient,
    RequestFailed,
    StringRequest,
    StringResponse,
    TFRequest,
    TFResponse,
)

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred


async def program(reactor: object) -> None:
    """Use the documented ways to make calls."""
    config = ClientConfig(timeout_s=1.5, retry_on=frozenset({500, 503}), attempts=2)
    async with PredictClient(
        "http://pai-eas-vpc.cn-shanghai.aliyuncs.com",
        "mnist",
        token="secret",
        endpoint_type=ENDPOINT_TYPE_DIRECT,
        reactor=reactor,
        config=config,
    ) as client:
        assert_type(client, PredictClient)
        assert_type(client.instances, tuple[Instance, ...])
        request = TFRequest("predict_images")
        request.add_feed("images", [1, 784], TFRequest.DT_FLOAT, [1] * 784)
        response: TFResponse = await client.predict(request, timeout_s=2.0, path="/v2", query={"uid": "7"})
        response.get_values("scores")
        text: StringResponse = await client.predict(StringRequest("[]"), headers={"X-Trace": "1"})
        assert_type(str(text), str)
        child = client.child("other", token=lambda: "another")
        await child.init()


async def language_model(client: PredictClient) -> None:
    """Use a transport for other HTTP clients, and forward a response."""
    transport = eas_tw.httpx2.AsyncTransport("e", "s", token="t", config=ClientConfig(auth="bearer"), idempotent=False)
    assert_type(transport.client, eas_tw.aio.PredictClient)
    blocking = eas_tw.httpx2.Transport("e", "s", keep_authorization=True, max_request_bytes=1000)
    assert_type(blocking.client, eas_tw.blocking.PredictClient)
    async with client.stream({"stream": True}, path="v1/chat/completions") as stream:
        assert_type(stream.raw_headers, tuple[tuple[bytes, bytes], ...])
        async for piece in stream.iter_raw():
            assert_type(piece, bytes)
        stream.close(grace_s=1.0)


async def asynchronous_inference(queue: QueueClient) -> None:
    """Use puts, gets and a watch, with Deferreds, coroutines and threads."""
    assert_type(queue.put({"prompt": "a cat"}, priority=1), "Deferred[PutResult]")
    assert_type(await queue.sink().get(request_id="r", timeout_s=60.0), list[Frame])
    async with queue.sink().watch(window=8) as watcher:
        async for frame in watcher:
            assert_type(frame, Frame)
            assert_type(watcher.ready_frame(), Frame | None)
            await watcher.commit(frame)
            await watcher.reject([frame], code="Busy", reason="later")
    assert_type(await queue.count(tags={"k": "v"}), int)
    under_asyncio = eas_tw.aio.QueueClient("e", "q", user="me")
    assert_type(await under_asyncio.put(b"x"), PutResult)
    async with under_asyncio.sink().watch() as other:
        assert_type(await other.next_frame(), Frame | None)
        async for frame in other:
            assert_type(frame, Frame)
    threads = eas_tw.blocking.QueueClient("e", "q", token="t", group="g")
    for kind in (QueueClient, eas_tw.aio.QueueClient, eas_tw.blocking.QueueClient):
        kind("e", "q", token=lambda: "t").set_token(lambda: "t")
    QueueClient("e", "q", token=lambda: 1)  # type: ignore[arg-type, return-value]
    eas_tw.blocking.QueueClient("e", "q", token=lambda: 1)  # type: ignore[arg-type, return-value]
    index, request_id = threads.put("x")
    assert_type(index, str)
    assert_type(request_id, str)
    for frame in threads.sink().watch(0, 5).run():
        threads.commit(frame.index)


def old_ways(client: PredictClient) -> Deferred[None]:
    """Use the setters of the official SDK, and Deferreds without await."""
    client.set_endpoint("e")
    client.set_token("t")
    client.set_token(lambda: "t")
    client.set_token(lambda: 1)  # type: ignore[arg-type, return-value]
    client.set_timeout(500)
    client.set_retry_count(3)
    assert_type(client.init(), "Deferred[PredictClient]")
    return client.destroy()


def errors(error: RequestFailed) -> tuple[AttemptResult, ...]:
    """Return the attempts that an error has."""
    return error.attempts


async def under_asyncio(client: eas_tw.aio.PredictClient) -> None:
    """Await calls, which are coroutines."""
    task: asyncio.Task[StringResponse] = asyncio.create_task(client.predict("[1]"))
    assert_type(await task, StringResponse)
    assert_type(await client.init(), eas_tw.aio.PredictClient)
