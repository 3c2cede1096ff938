"""`openai`, unmodified, with the transport for httpx2: responses and exceptions."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx2
import openai
import pytest

from eas_tw import ClientConfig, StreamBroken
from tests.openai.canned import ARGUMENTS, CALL
from tests.openai.model import MESSAGES, MODEL, TOKEN, add_fault, opened
from tests.openai.programs import asynchronous, blocking
from tests.patience import until
from tests.simulator.serving import Served

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

ASK: Any = {"model": MODEL, "messages": MESSAGES}


def run(main: Callable[[], Coroutine[Any, Any, None]], served: Served) -> None:
    """Run a coroutine. Assert that it leaves no task and no open connection."""

    async def checked() -> None:
        await main()
        for _ in range(10):  # tasks of the loop close the generators of openai and httpx2
            await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(checked())
    until(lambda: opened(served) == 0)


def text_of(events: list[Any]) -> str:
    return "".join(event.choices[0].delta.content or "" for event in events if event.choices)


def test_chat_with_and_without_streaming(served: Served) -> None:
    async def main() -> None:
        async with asynchronous(served) as llm:
            whole = await llm.chat.completions.create(**ASK)
            stream = await llm.chat.completions.create(**ASK, stream=True, stream_options={"include_usage": True})
            events = [event async for event in stream]
            assert text_of(events) == whole.choices[0].message.content != ""
            assert events[-1].usage == whole.usage
            assert whole._request_id == whole.id

    run(main, served)
    with blocking(served) as llm:
        whole = llm.chat.completions.create(**ASK)
        assert text_of(list(llm.chat.completions.create(**ASK, stream=True))) == whole.choices[0].message.content


def test_models_and_embeddings(served: Served) -> None:
    async def main() -> None:
        async with asynchronous(served) as llm:
            assert [model.id async for model in llm.models.list()] == [MODEL]
            found = await llm.embeddings.create(model=MODEL, input=["a", "b"])
            assert [len(row.embedding) for row in found.data] == [64, 64]

    run(main, served)
    with blocking(served) as llm:
        assert [model.id for model in llm.models.list()] == [MODEL]


def test_chunks_are_read_while_the_response_is_incomplete(served: Served) -> None:
    """A fault stalls the instance in the middle of its response, and the chunks before the stall arrive."""
    add_fault(served, "stall_stream", after_bytes=600)

    async def main() -> None:
        async with asynchronous(served) as llm:
            stream = await llm.chat.completions.create(**ASK, stream=True)
            assert text_of([await anext(stream), await anext(stream)])
            await stream.close()

    run(main, served)


@pytest.fixture(scope="module")
def canned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    services = ("--service", "chat=1", "--processor", "request+tests.openai.canned:answer", "--token", TOKEN)
    with Served(tmp_path_factory.mktemp("canned"), *services) as served:
        yield served


def test_tool_calls_pass_through_untouched(canned: Served) -> None:
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}]
    asked = {**ASK, "tools": tools, "tool_choice": "auto", "extra_body": {"vendor": ["ü", 1.50]}}

    async def main() -> None:
        async with asynchronous(canned) as llm:
            whole = await llm.chat.completions.create(**asked)
            (call,) = whole.choices[0].message.tool_calls
            assert call.model_dump() == CALL
            received = whole.model_extra["asked"]
            assert received == {**ASK, "tools": tools, "tool_choice": "auto", "vendor": ["ü", 1.50]}
            parts = [
                event.choices[0].delta.tool_calls[0].function.arguments
                async for event in await llm.chat.completions.create(**asked, stream=True)
                if event.choices[0].delta.tool_calls
            ]
            assert "".join(parts) == ARGUMENTS
            assert len(parts) > 5

    run(main, canned)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (400, openai.BadRequestError),
        (403, openai.PermissionDeniedError),
        (409, openai.ConflictError),
        (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError),
        (450, openai.APIStatusError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
    ],
)
def test_statuses_are_converted_to_openais_exception_classes(
    served: Served, code: int, kind: type[openai.APIStatusError]
) -> None:
    add_fault(served, "http_status", code=code)

    async def main() -> None:
        async with asynchronous(served) as llm:
            for options in ({}, {"stream": True}):
                with pytest.raises(kind) as caught:
                    await llm.chat.completions.create(**ASK, **options)
                assert caught.value.status_code == code

    run(main, served)


def test_errors_of_the_service_have_its_text(served: Served) -> None:
    async def main() -> None:
        async with asynchronous(served) as llm:
            with pytest.raises(openai.NotFoundError) as caught:
                await llm.chat.completions.create(model="no", messages=MESSAGES, stream=True)
            assert caught.value.code == "model_not_found"
        async with asynchronous(served, token="wrong") as llm:
            with pytest.raises(openai.AuthenticationError):
                await llm.models.list()

    run(main, served)
    with blocking(served) as llm, pytest.raises(openai.NotFoundError):
        llm.models.retrieve("no")


def test_no_instance_is_a_connection_error(served: Served) -> None:
    for number in range(3):
        served.patch("chat", f"chat-{number}", state="crashed")

    async def main() -> None:
        async with asynchronous(served, timeout=30) as llm:
            with pytest.raises(openai.APIConnectionError) as caught:
                await llm.chat.completions.create(**ASK)
            assert not isinstance(caught.value, openai.APITimeoutError)
            assert isinstance(caught.value.__cause__, httpx2.ConnectError)

    run(main, served)
    with blocking(served) as llm, pytest.raises(openai.APIConnectionError):
        llm.models.list()


def test_no_head_in_time_is_a_timeout(served: Served) -> None:
    add_fault(served, "timeout", timeout=0)

    async def main() -> None:
        async with asynchronous(served, timeout=0.3) as llm:
            with pytest.raises(openai.APITimeoutError) as caught:
                await llm.chat.completions.create(**ASK)
            assert isinstance(caught.value.__cause__, httpx2.ReadTimeout)

    run(main, served)


def test_a_stalled_stream_is_a_timeout(served: Served) -> None:
    """While a stream is read, `openai` raises the exception of its HTTP library."""
    add_fault(served, "stall_stream", after_bytes=600)

    async def main() -> None:
        async with asynchronous(served, timeout=0.3) as llm:
            stream = await llm.chat.completions.create(**ASK, stream=True)
            with pytest.raises((openai.APITimeoutError, httpx2.ReadTimeout)):
                async for _ in stream:
                    pass

    run(main, served)


@pytest.mark.parametrize("way", ["close", "cancel", "break"])
def test_leaving_a_stream_early_closes_the_instances_connection(served: Served, way: str) -> None:
    add_fault(served, "stall_stream", after_bytes=600)

    async def main() -> None:
        async with asynchronous(served) as llm:
            stream = await llm.chat.completions.create(**ASK, stream=True)
            if way == "close":
                await anext(stream)
                await stream.close()
            elif way == "break":
                async with stream:
                    async for _ in stream:
                        break
            else:
                reading = asyncio.Event()

                async def read() -> None:
                    async for _ in stream:
                        reading.set()

                task = asyncio.create_task(read())
                await reading.wait()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            await asyncio.to_thread(until, lambda: ended(served, "client_closed"))
            assert dict(llm._client._transport.client.counters.streams_broken) == {"cancelled": 1}

    run(main, served)


def ended(served: Served, how: str) -> int:
    """Return the number of streams that ended in the given way, or 0 if any stream is still running."""
    if served.admin("GET", "/v1/streams")[1]["total"]:
        return 0
    count: int = served.admin("POST", "/v1/requests/count", {"stream": how})[1]["count"]
    return count


def test_a_request_is_retried_if_the_instance_is_killed_before_the_first_byte(served: Served) -> None:
    add_fault(served, "reset_peer", instance="chat-0", timeout=0)
    served.patch("chat", "chat-1", state="crashed")

    async def main() -> None:
        async with asynchronous(served) as llm:
            for _ in range(6):
                stream = await llm.chat.completions.create(**ASK, stream=True)
                assert text_of([event async for event in stream])
            assert llm._client._transport.client.counters.retries.total() > 0

    run(main, served)


@pytest.mark.parametrize("reset", [False, True])
def test_an_instance_that_is_killed_after_byte_100_is_an_error(served: Served, *, reset: bool) -> None:
    add_fault(served, "cut_stream", after_bytes=100, reset=reset)

    async def main() -> None:
        async with asynchronous(served) as llm:
            stream = await llm.chat.completions.create(**ASK, stream=True)
            with pytest.raises((openai.APIConnectionError, httpx2.RemoteProtocolError)) as caught:
                async for _ in stream:
                    pass
            error = caught.value
            while not isinstance(error, StreamBroken):
                assert isinstance(error, openai.APIConnectionError | httpx2.RemoteProtocolError)
                error = error.__cause__
            assert error.received_bytes == 100
            assert len(error.attempts) == 1

    run(main, served)


@pytest.mark.parametrize(("max_retries", "requests"), [(0, 2), (1, 4)])
def test_retries_of_openai_multiply_the_requests(served: Served, max_retries: int, requests: int) -> None:
    """Our client has already retried. Retries by `openai` would multiply the requests to an overloaded service."""
    add_fault(served, "http_status", code=503, retry_after=0)

    async def main() -> None:
        config = ClientConfig(attempts=2, retry_budget_ratio=0.0, retry_budget_min_per_s=1000.0)
        async with asynchronous(served, max_retries=max_retries, config=config) as llm:
            with pytest.raises(openai.InternalServerError):
                await llm.chat.completions.create(**ASK)

    run(main, served)
    assert served.admin("POST", "/v1/requests/count", {"service": "chat"})[1]["count"] == requests
