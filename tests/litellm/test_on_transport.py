"""litellm, unmodified, with the transport for httpx."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from eas_tw.httpx import AsyncTransport, Transport
from tests.litellm.conftest import TOKEN
from tests.patience import until
from tests.simulator.serving import Served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # otherwise litellm downloads the map

import litellm

ASK: Any = {
    "model": "openai/llm",
    "api_base": "http://eas/v1",
    "api_key": "unused",
    "messages": [{"role": "user", "content": "Hello"}],
    "max_retries": 0,
    "timeout": 60,
}


@asynccontextmanager
async def session(served: Served, **settings: Any) -> AsyncIterator[AsyncTransport]:
    """Make litellm use a transport for its asynchronous calls."""
    transport = AsyncTransport(served.ready["url"], "chat", **{"token": TOKEN, "endpoint_type": "DIRECT", **settings})
    async with httpx.AsyncClient(transport=transport) as http:
        litellm.aclient_session = http
        litellm.in_memory_llm_clients_cache.flush_cache()
        try:
            yield transport
        finally:
            litellm.aclient_session = None


@pytest.fixture
def blocking(served: Served) -> Iterator[None]:
    transport = Transport(served.ready["url"], "chat", token=TOKEN, endpoint_type="DIRECT")
    with httpx.Client(transport=transport) as litellm.client_session:
        litellm.in_memory_llm_clients_cache.flush_cache()
        yield
    litellm.client_session = None


def opened(served: Served) -> int:
    count: int = len(served.admin("GET", "/v1/connections")[1]["connections"])
    return count


def add_fault(served: Served, kind: str, **attributes: Any) -> None:
    fault = {"type": kind, "target": {"service": "chat"}, "attributes": attributes}
    assert served.admin("POST", "/v1/faults", fault)[0] == 201


def text_of(events: list[Any]) -> str:
    return "".join(event.choices[0].delta.content or "" for event in events if event.choices)


def test_chat_with_and_without_streaming(served: Served) -> None:
    async def main() -> None:
        async with session(served) as transport:
            whole = await litellm.acompletion(**ASK)
            stream = await litellm.acompletion(**ASK, stream=True)
            assert text_of([event async for event in stream]) == whole.choices[0].message.content != ""
            assert transport.client.counters.answered == 2

    asyncio.run(main())
    until(lambda: opened(served) == 0)


@pytest.mark.usefixtures("blocking")
def test_chat_in_threads() -> None:
    whole = litellm.completion(**ASK)
    assert text_of(list(litellm.completion(**ASK, stream=True))) == whole.choices[0].message.content


def test_embeddings(served: Served) -> None:
    async def main() -> None:
        async with session(served):
            found = await litellm.aembedding(**{**ASK, "messages": None, "input": ["a", "b"]})
            assert [len(row["embedding"]) for row in found.data] == [64, 64]

    asyncio.run(main())


def test_tool_calls(served: Served) -> None:
    tools = [{"type": "function", "function": {"name": "get_time", "parameters": {"type": "object"}}}]

    async def main() -> None:
        async with session(served):
            whole = await litellm.acompletion(**ASK, tools=tools, tool_choice="required")
            (call,) = whole.choices[0].message.tool_calls
            assert call.function.name == "get_time"

    asyncio.run(main())


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (400, litellm.BadRequestError),
        (401, litellm.AuthenticationError),
        (404, litellm.NotFoundError),
        (429, litellm.RateLimitError),
        (500, litellm.InternalServerError),
    ],
)
def test_statuses_are_converted_to_litellms_exception_classes(served: Served, code: int, kind: type[Exception]) -> None:
    add_fault(served, "http_status", code=code)

    async def main() -> None:
        async with session(served):
            for options in ({}, {"stream": True}):
                with pytest.raises(kind):
                    await litellm.acompletion(**ASK, **options)

    asyncio.run(main())


def test_no_instance_and_a_late_head_are_errors_of_litellm(served: Served) -> None:
    add_fault(served, "timeout", timeout=0)

    async def main() -> None:
        async with session(served):
            with pytest.raises(litellm.Timeout):
                await litellm.acompletion(**{**ASK, "timeout": 0.3})
        for number in range(3):
            served.patch("chat", f"chat-{number}", state="crashed")
        async with session(served):
            with pytest.raises((litellm.APIConnectionError, litellm.InternalServerError)):
                await litellm.acompletion(**ASK)

    asyncio.run(main())


def test_a_request_is_retried_if_the_instance_crashes_before_the_head(served: Served) -> None:
    served.patch("chat", "chat-1", state="crashed")

    async def main() -> None:
        async with session(served):
            for _ in range(5):
                stream = await litellm.acompletion(**ASK, stream=True)
                assert text_of([event async for event in stream])

    asyncio.run(main())


def test_leaving_a_stream_early_closes_the_instances_connection(served: Served) -> None:
    add_fault(served, "stall_stream", after_bytes=600)

    async def main() -> None:
        async with session(served) as transport:
            stream = await litellm.acompletion(**ASK, stream=True)
            await anext(stream)

            async def read() -> None:
                async for _ in stream:
                    pass

            task = asyncio.create_task(read())
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.to_thread(until, lambda: opened(served) == 0)
            assert not served.admin("GET", "/v1/streams")[1]["total"]
            assert transport.client.counters.streams_broken

    asyncio.run(main())
