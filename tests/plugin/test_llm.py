"""A service of the pytest plug-in with the processor `llm`, called directly and through the gateway."""

from __future__ import annotations

import json
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from eas_tw.testing import start_service, subprocess_simulator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _pytest.tmpdir import TempPathFactory

    from eas_tw.testing import Remote, RemoteService

CHAT = {"model": "llm", "messages": [{"role": "user", "content": "Hello"}]}


@pytest.fixture(scope="module")
def remote(tmp_path_factory: TempPathFactory) -> Iterator[Remote]:
    with subprocess_simulator(tmp_path_factory.mktemp("llm"), seed=7) as found:
        yield found


@pytest.fixture
def service(remote: Remote) -> Iterator[RemoteService]:
    with start_service(remote, instances=2, processor="llm:ttft=0.01,tokens_per_s=0") as found:
        yield found


def ask(service: RemoteService, body: Any, path: str = "/v1/chat/completions", scheme: str = "Bearer ") -> Any:
    url = urlsplit(service.endpoint)
    connection = HTTPConnection(str(url.hostname), url.port, timeout=10)
    headers = {"Authorization": f"{scheme}{service.token}", "Content-Type": "application/json"}
    method = "GET" if body is None else "POST"
    data = None if body is None else json.dumps(body)
    try:
        connection.request(method, f"/api/predict/{service.name}{path}", data, headers)
        response = connection.getresponse()
        return response.status, response.getheader("content-type"), response.read()
    finally:
        connection.close()


def test_a_chat_through_the_gateway(service: RemoteService) -> None:
    status, _, body = ask(service, CHAT)
    assert (status, json.loads(body)["object"]) == (200, "chat.completion")
    status, kind, body = ask(service, {**CHAT, "stream": True}, scheme="bearer ")
    assert (status, kind) == (200, "text/event-stream; charset=utf-8")
    assert body.endswith(b"data: [DONE]\n\n")
    assert [model["id"] for model in json.loads(ask(service, None, "/v1/models")[2])["data"]] == ["llm"]
    assert ask(service, CHAT, scheme="Bearer x")[0] == 401


def test_a_stream_that_is_cut_is_seen_by_the_client_and_in_the_journal(service: RemoteService, remote: Remote) -> None:
    remote.add_fault("cut_stream", {"service": service.name}, after_bytes=300)
    with pytest.raises(Exception, match="IncompleteRead"):
        ask(service, {**CHAT, "stream": True})
    (row,) = remote.requests(service=service.name, stream="cut")
    assert (row["status"], row["bytes_out"]) == (200, 300)
    assert remote.ask("GET", "/v1/streams") == {"streams": [], "total": 0}
