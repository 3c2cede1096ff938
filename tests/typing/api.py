"""The public API, used as a program would; checked by mypy, never run."""

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
    Instance,
    PredictClient,
    RequestFailed,
    StringRequest,
    StringResponse,
    TFRequest,
    TFResponse,
)

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred


async def program(reactor: object) -> None:
    """Every documented way to call."""
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
    """A transport for other HTTP clients, and a response that is passed on."""
    transport = eas_tw.httpx2.AsyncTransport("e", "s", token="t", config=ClientConfig(auth="bearer"), idempotent=False)
    assert_type(transport.client, eas_tw.aio.PredictClient)
    blocking = eas_tw.httpx2.Transport("e", "s", keep_authorization=True, max_request_bytes=1000)
    assert_type(blocking.client, eas_tw.blocking.PredictClient)
    async with client.stream({"stream": True}, path="v1/chat/completions") as stream:
        assert_type(stream.raw_headers, tuple[tuple[bytes, bytes], ...])
        async for piece in stream.iter_raw():
            assert_type(piece, bytes)
        stream.close(grace_s=1.0)


def old_ways(client: PredictClient) -> Deferred[None]:
    """The official SDK's setters, and Deferreds without await."""
    client.set_endpoint("e")
    client.set_token("t")
    client.set_token(lambda: "t")
    client.set_token(lambda: 1)  # type: ignore[arg-type, return-value]
    client.set_timeout(500)
    client.set_retry_count(3)
    assert_type(client.init(), "Deferred[PredictClient]")
    return client.destroy()


def errors(error: RequestFailed) -> tuple[AttemptResult, ...]:
    """Errors carry their attempts."""
    return error.attempts


async def under_asyncio(client: eas_tw.aio.PredictClient) -> None:
    """Calls are coroutines."""
    task: asyncio.Task[StringResponse] = asyncio.create_task(client.predict("[1]"))
    assert_type(await task, StringResponse)
    assert_type(await client.init(), eas_tw.aio.PredictClient)
