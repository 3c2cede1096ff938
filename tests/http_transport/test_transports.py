"""Clients of httpx2 and httpx on our transports, over real sockets."""

from __future__ import annotations

import asyncio
import os
from inspect import signature
from typing import TYPE_CHECKING, Any

import pytest

import eas_tw.aio
import eas_tw.blocking
from eas_tw import BodyError, ClientClosed, ClientConfig, ConfigError, DeadlineExceeded, DiscoveryError, StreamBroken
from tests.http_transport.conftest import TOKEN, Kit
from tests.http_transport.service import LARGE, TEXT
from tests.patience import until
from tests.simulator.serving import Served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

STATUSES = [200, 201, 204, 304, 400, 401, 404, 409, 418, 429, 500, 503]


def sent_bytes(served: Served) -> int:
    """Return the number of bytes that have been sent on the only running stream."""
    (row,) = served.admin("GET", "/v1/streams")[1]["streams"]
    sent: int = row["bytes_out"]
    return sent


def opened(served: Served) -> int:
    """Return the number of connections that are open at the instances."""
    count: int = len(served.admin("GET", "/v1/connections")[1]["connections"])
    return count


def test_a_request_arrives_below_the_service_with_its_token(kit: Kit, served: Served) -> None:
    async def main() -> None:
        config = ClientConfig(auth="bearer")
        async with kit.client(served, config=config) as http:
            shown = (await http.put("v1/x?a=1", content=b"abc", headers={"Authorization": "Bearer no"})).json()
            assert (shown["method"], shown["path"], shown["query"], shown["body"]) == ("PUT", "/v1/x", "a=1", "abc")
            assert shown["headers"]["authorization"] == f"Bearer {TOKEN}"
            assert shown["headers"]["content-length"] == "3"
            shown = (await http.get("/")).json()
            assert (shown["path"], shown["query"], shown["body"]) == ("/", "", "") or shown["path"] == ""

    asyncio.run(main())


@pytest.mark.parametrize("endpoint_type", ["DIRECT", "DEFAULT"])
@pytest.mark.parametrize("status", STATUSES)
def test_every_status_is_a_response(kit: Kit, served: Served, status: int, endpoint_type: str) -> None:
    async def main() -> None:
        config = ClientConfig(auth="token", attempts=1)
        async with kit.client(served, endpoint_type=endpoint_type, config=config) as http:
            response = await http.get(f"status/{status}")
            assert response.status_code == status
            assert response.content == (b"" if status in (204, 304) else f"body of {status}".encode())
            head = await http.head(f"status/{status}")
            assert (head.status_code, head.content) == (status, b"")

    asyncio.run(main())


@pytest.mark.parametrize("path", ["gzip", "gzip-pieces", "gzip-error"])
def test_a_compressed_body_is_decompressed_once_by_the_library(kit: Kit, served: Served, path: str) -> None:
    async def main() -> None:
        async with kit.client(served) as http:
            response = await http.get(path)
            assert (response.headers["content-encoding"], response.content) == ("gzip", TEXT)
            async with http.stream("GET", path) as response:
                raw = b"".join([piece async for piece in response.aiter_raw()])
            assert raw.startswith(b"\x1f\x8b")

    asyncio.run(main())
    with kit.blocking(served) as http:
        assert http.get(path).content == TEXT


def test_a_streamed_request_body_is_sent_whole(kit: Kit, served: Served) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"abc"
        yield b"def"

    async def main() -> None:
        async with kit.client(served, max_request_bytes=6) as http:
            shown = (await http.post("x", content=pieces())).json()
            assert (shown["body"], shown["headers"]["content-length"]) == ("abcdef", "6")
            assert "transfer-encoding" not in shown["headers"]
            assert (await http.post("x", files={})).status_code == 200
            for content in (b"1234567", pieces()):
                if content != b"1234567":
                    http._transport._max_request_bytes = 5
                with pytest.raises(kit.http.LocalProtocolError, match="raise max_request_bytes") as caught:
                    await http.post("x", content=content)
                assert isinstance(caught.value.__cause__, BodyError)

    asyncio.run(main())
    with kit.blocking(served, max_request_bytes=6) as http:
        assert http.post("x", content=iter([b"abc", b"def"])).json()["body"] == "abcdef"
        with pytest.raises(kit.http.LocalProtocolError, match="raise max_request_bytes"):
            http.post("x", content=iter([b"abc", b"defg"]))


def test_the_program_may_keep_its_own_authorization(kit: Kit, served: Served) -> None:
    async def main() -> None:
        async with kit.client(served, token="", keep_authorization=True) as http:
            kept = await http.get("x", headers={"Authorization": TOKEN})
            assert kept.json()["headers"]["authorization"] == TOKEN
            assert (await http.get("x", headers={"Authorization": "wrong"})).status_code == 401

    asyncio.run(main())
    with kit.blocking(served, token="", keep_authorization=True) as http:
        assert http.get("x", headers={"Authorization": TOKEN}).status_code == 200


@pytest.mark.parametrize("name", ["AsyncTransport", "Transport"])
def test_invalid_settings_are_an_error_when_the_transport_is_made(kit: Kit, name: str) -> None:
    make = getattr(kit.ours, name)
    with pytest.raises(ConfigError, match="leave out token"):
        make("x", "y", token="t", keep_authorization=True)
    with pytest.raises(ConfigError, match="service_name must be"):
        make("x", "no such name")
    with pytest.raises(ConfigError, match="endpoint_type must be"):
        make("x", "y", endpoint_type="NO")
    for size in (-1, 0, 1.5, "x", None):
        with pytest.raises(ConfigError, match="max_request_bytes must be"):
            make("x", "y", max_request_bytes=size)


def test_no_repr_has_the_token(kit: Kit, served: Served) -> None:
    transport = kit.transport(served)
    assert TOKEN not in repr(transport)
    assert TOKEN not in repr(vars(transport))
    with pytest.raises(TypeError, match="cannot be pickled"):
        transport.__reduce_ex__(2)


def test_an_instance_that_stops_in_the_body_is_a_read_timeout(kit: Kit, served: Served) -> None:
    async def main() -> None:
        async with kit.client(served) as http, http.stream("GET", "stalls", timeout=0.2) as response:
            pieces = response.aiter_raw()
            assert await anext(pieces) == b"first"
            with pytest.raises(kit.http.ReadTimeout) as caught:
                await anext(pieces)
            assert isinstance(caught.value.__cause__, StreamBroken)
            assert caught.value.__cause__.received_bytes == 5
            assert caught.value.request.url.path == "/stalls"

    asyncio.run(main())
    with kit.blocking(served) as http, http.stream("GET", "stalls", timeout=0.2) as response:
        pieces = response.iter_raw()
        assert next(pieces) == b"first"
        with pytest.raises(kit.http.ReadTimeout) as caught:
            next(pieces)
        assert isinstance(caught.value.__cause__, StreamBroken)


def test_no_head_in_time_is_a_read_timeout(kit: Kit, served: Served) -> None:
    async def main() -> None:
        async with kit.client(served) as http:
            with pytest.raises(kit.http.ReadTimeout) as caught:
                await http.get("never", timeout=0.2)
            assert isinstance(caught.value.__cause__, DeadlineExceeded)

    asyncio.run(main())
    with kit.blocking(served) as http, pytest.raises(kit.http.ReadTimeout):
        http.get("never", timeout=0.2)


def test_no_limit_is_no_limit(kit: Kit, served: Served) -> None:
    async def main() -> None:
        async with kit.client(served, timeout=None, config=ClientConfig(timeout_s=0.001)) as http:
            assert (await http.get("x")).status_code == 200

    asyncio.run(main())


@pytest.mark.parametrize("reset", [False, True])
def test_a_body_that_is_cut_is_a_protocol_error_of_the_remote_side(kit: Kit, served: Served, reset: bool) -> None:  # noqa: FBT001
    cut = {
        "name": "cut", "type": "cut_stream", "target": {"service": "show"},
        "attributes": {"after_bytes": 100_000, "reset": reset},
    }  # fmt: skip
    assert served.admin("POST", "/v1/faults", cut)[0] == 201

    async def main() -> None:
        async with kit.client(served) as http, http.stream("GET", "large") as response:
            with pytest.raises(kit.http.RemoteProtocolError) as caught:
                async for _ in response.aiter_raw():
                    pass
            assert isinstance(caught.value.__cause__, StreamBroken)
            assert caught.value.__cause__.attempts

    asyncio.run(main())


def test_a_request_is_retried_if_the_instance_crashes_before_the_head(kit: Kit, served: Served) -> None:
    served.patch("show", "show-0", state="crashed")

    async def main() -> None:
        async with kit.client(served) as http:
            answers = [(await http.post("x", json={})).json()["instance"] for _ in range(10)]
            assert set(answers) == {"show-1"}
            response = await http.get("x")
            assert response.extensions["eas_instance"].port == served.instances[1]["port"]

    asyncio.run(main())


def test_no_instance_that_accepts_is_a_connect_error(kit: Kit, served: Served) -> None:
    for number in range(2):
        served.patch("show", f"show-{number}", state="crashed")

    async def main() -> None:
        async with kit.client(served, timeout=30) as http:
            with pytest.raises(kit.http.ConnectError):
                await http.get("x")

    asyncio.run(main())


def test_leaving_early_and_cancelling_close_the_connection(kit: Kit, served: Served) -> None:
    async def main() -> None:
        async with kit.client(served) as http:
            async with http.stream("GET", "stalls") as response:
                assert await anext(response.aiter_raw()) == b"first"
            await asyncio.to_thread(until, lambda: opened(served) == 0)

            async def read() -> None:
                async with http.stream("GET", "stalls") as response:
                    async for _ in response.aiter_raw():
                        reading.set()

            for path in ("stalls", "never"):
                reading = asyncio.Event()
                task = asyncio.create_task(read() if path == "stalls" else http.get("never"))
                if path == "stalls":
                    await reading.wait()
                else:
                    await asyncio.to_thread(until, lambda: opened(served) == 1)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                await asyncio.to_thread(until, lambda: opened(served) == 0)

    asyncio.run(main())
    with kit.blocking(served) as http:
        with http.stream("GET", "stalls") as response:
            assert next(response.iter_raw()) == b"first"
        until(lambda: opened(served) == 0)


def test_a_reader_that_stops_at_the_last_event_keeps_the_connection(kit: Kit, served: Served) -> None:
    """`openai` stops reading at the last event. Here the body ends 20 ms after the last event."""

    async def main() -> None:
        async with kit.client(served) as http, http.stream("GET", "chat") as response:
            async for piece in response.aiter_raw():
                if piece.endswith(b"data: [DONE]\n\n"):
                    break
        # Closing the response has waited for the end of the stream.
        assert not http._transport.client.counters.streams_broken

    asyncio.run(main())
    with kit.blocking(served) as http, http.stream("GET", "chat") as response:
        for piece in response.iter_raw():
            if piece.endswith(b"data: [DONE]\n\n"):
                break
    assert not http._transport.client.counters.streams_broken
    assert served.admin("POST", "/v1/requests/count", {"stream": "complete"})[1]["count"] == 2


def test_a_reader_that_is_slow_holds_the_instance_up(kit: Kit, served: Served) -> None:
    async def main() -> None:
        async with kit.client(served, config=ClientConfig(stream_buffer_bytes=1000)) as http:
            async with http.stream("GET", "large") as response:
                pieces = response.aiter_raw()
                size = len(await anext(pieces))
                before = -1
                while (sent := await asyncio.to_thread(sent_bytes, served)) != before:
                    before = sent
                assert sent < LARGE / 2  # the other bytes are in the buffers of the two sockets, or not sent yet
                async for piece in pieces:
                    size += len(piece)
            assert size == LARGE

    asyncio.run(main())


def test_without_a_list_of_instances_requests_fail_until_there_is_one(kit: Kit, served: Served) -> None:
    broken = {"name": "broken", "type": "http_status", "target": {"discovery": True}, "attributes": {"code": 500}}
    assert served.admin("POST", "/v1/faults", broken)[0] == 201

    async def main() -> None:
        http = kit.client(served, timeout=kit.http.Timeout(60, connect=0.2))
        with pytest.raises(
            kit.http.ConnectError, match=r"no list of instances within the connect timeout of 0.2 s"
        ) as e:
            await http.get("x")
        assert isinstance(e.value.__cause__, DiscoveryError)
        assert served.admin("DELETE", "/v1/faults/broken")[0] in (200, 204)
        http.timeout = 60
        assert (await http.get("x")).status_code == 200
        await http.aclose()

    asyncio.run(main())


def test_without_a_list_of_instances_threads_fail_until_there_is_one(kit: Kit, served: Served) -> None:
    broken = {"name": "broken", "type": "http_status", "target": {"discovery": True}, "attributes": {"code": 500}}
    assert served.admin("POST", "/v1/faults", broken)[0] == 201
    with kit.blocking(served, timeout=kit.http.Timeout(60, connect=0.2)) as http:
        with pytest.raises(kit.http.ConnectError, match=r"no list of instances within 0.2 s") as caught:
            http.get("x")
        assert isinstance(caught.value.__cause__, DiscoveryError)
        assert served.admin("DELETE", "/v1/faults/broken")[0] in (200, 204)
        http.timeout = 60
        assert http.get("x").status_code == 200


def test_an_init_that_cannot_succeed_is_a_connect_error(kit: Kit) -> None:
    async def main() -> None:
        async with kit.http.AsyncClient(transport=kit.ours.AsyncTransport("127.0.0.1:1")) as http:
            with pytest.raises(kit.http.ConnectError) as caught:
                await http.get("http://eas/")
            assert isinstance(caught.value.__cause__, ConfigError)

    asyncio.run(main())
    with kit.http.Client(transport=kit.ours.Transport("127.0.0.1:1")) as http:
        with pytest.raises(kit.http.ConnectError) as caught:
            http.get("http://eas/")
        assert isinstance(caught.value.__cause__, ConfigError)


def test_requests_at_once_share_the_first_init(kit: Kit, served: Served) -> None:
    async def main() -> None:
        async with kit.client(served) as http:
            answers = await asyncio.gather(*(http.post("x", content=b"%d" % number) for number in range(50)))
            assert [answer.json()["body"] for answer in answers] == [str(number) for number in range(50)]
            assert len(http._transport.client.instances) == 2

    asyncio.run(main())


def test_event_loops_one_after_another(kit: Kit, served: Served) -> None:
    transport = kit.transport(served)
    http = kit.http.AsyncClient(transport=transport, base_url="http://eas/", timeout=60)

    async def ask() -> int:
        status: int = (await http.get("x")).status_code
        return status

    assert [asyncio.run(ask()) for _ in range(3)] == [200, 200, 200]

    async def elsewhere() -> None:
        await ask()
        with pytest.raises(kit.http.TransportError, match="make a transport for each loop") as caught:
            await asyncio.to_thread(lambda: asyncio.run(ask()))
        assert isinstance(caught.value.__cause__, ConfigError)
        await http.aclose()

    asyncio.run(elsewhere())
    until(lambda: opened(served) == 0)


def test_a_closed_transport_says_so(kit: Kit, served: Served) -> None:
    async def main() -> None:
        transport = kit.transport(served)
        request = kit.http.Request("GET", "http://eas/x")
        response = await transport.handle_async_request(request)
        await response.aclose()
        await transport.aclose()
        await transport.aclose()
        with pytest.raises(kit.http.NetworkError, match="the transport is closed") as caught:
            await transport.handle_async_request(request)
        assert isinstance(caught.value.__cause__, ClientClosed)
        async with kit.transport(served):
            pass

    asyncio.run(main())
    until(lambda: opened(served) == 0)
    transport = kit.ours.Transport(served.ready["url"], "show")
    transport.close()
    with pytest.raises(kit.http.NetworkError, match="the transport is closed"):
        transport.handle_request(kit.http.Request("GET", "http://eas/x"))


def test_closing_ends_streams_that_are_read(kit: Kit, served: Served) -> None:
    async def main() -> None:
        transport = kit.transport(served, config=ClientConfig(drain_timeout_s=0.0))
        response = await transport.handle_async_request(kit.http.Request("GET", "http://eas/stalls"))
        pieces = response.aiter_raw()
        assert await anext(pieces) == b"first"
        await transport.aclose()
        with pytest.raises(kit.http.ReadError):
            await anext(pieces)

    asyncio.run(main())
    until(lambda: opened(served) == 0)


def test_a_forked_child_makes_a_new_client(kit: Kit, served: Served) -> None:
    """A server such as gunicorn with `--preload` loads the program and then forks."""
    transport = kit.transport(served)
    http = kit.http.AsyncClient(transport=transport, base_url="http://eas/", timeout=60)

    async def ask() -> int:
        status: int = (await http.get("x")).status_code
        return status

    assert asyncio.run(ask()) == 200
    child = os.fork()
    if not child:
        code = 1
        try:
            code = 0 if asyncio.run(ask()) == 200 else 2
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert asyncio.run(ask()) == 200


def test_without_asyncio_one_line_says_so(kit: Kit, served: Served) -> None:
    request = kit.http.Request("GET", "http://eas/x")
    coroutine: Any = kit.transport(served).handle_async_request(request)
    with pytest.raises(RuntimeError, match="needs a running asyncio event loop"):
        coroutine.send(None)


def test_threads_share_a_transport(kit: Kit, served: Served) -> None:
    async def main() -> None:
        with kit.blocking(served) as http:
            answers = await asyncio.gather(*(asyncio.to_thread(http.get, "x") for _ in range(20)))
            assert [answer.status_code for answer in answers] == [200] * 20

    asyncio.run(main())


def test_a_fault_on_one_instance_is_retried(kit: Kit, served: Served) -> None:
    hung = {
        "name": "lost", "type": "reset_peer", "target": {"service": "show", "instance": "show-0"},
        "attributes": {"timeout": 0},
    }  # fmt: skip
    assert served.admin("POST", "/v1/faults", hung)[0] == 201

    async def main() -> None:
        async with kit.client(served) as http:
            assert {(await http.post("x")).json()["instance"] for _ in range(6)} == {"show-1"}

    asyncio.run(main())


@pytest.mark.parametrize(
    ("name", "client"), [("AsyncTransport", eas_tw.aio.PredictClient), ("Transport", eas_tw.blocking.PredictClient)]
)
def test_a_transport_takes_every_argument_of_its_client(kit: Kit, name: str, client: type) -> None:
    """The client's arguments come first, in the same order, and the base is the library's class of transports."""
    assert kit.ours.__all__ == ["AsyncTransport", "Transport"]
    transport = getattr(kit.ours, name)
    own = ["keep_authorization", "idempotent", "key", "max_request_bytes"]
    arguments = [name for name, each in signature(client).parameters.items() if each.kind is not each.VAR_KEYWORD]
    assert list(signature(transport).parameters) == [*arguments, *own]
    assert issubclass(transport, getattr(kit.http, name.replace("Transport", "BaseTransport")))
