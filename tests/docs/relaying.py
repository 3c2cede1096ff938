"""Checks for the relay programs of the page "Language models", whatever web framework a relay uses."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from contextlib import closing, contextmanager
from http.client import HTTPConnection, IncompleteRead
from typing import TYPE_CHECKING, Any

import pytest

from tests.docs.pages import EXAMPLES
from tests.patience import PATIENCE_S, until
from tests.simulator.serving import Served, environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from http.client import HTTPResponse

TOKEN = "t0ken"
_ASKED = {"model": "llm", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 20, "min_tokens": 20}


@contextmanager
def model(folder: Any) -> Iterator[Served]:
    """Run a simulator with a language model as the service `llm`."""
    options = ("--service", "llm=2", "--processor", "llm:ttft=0,tokens_per_s=0", "--token", TOKEN, "--seed", "7")
    with Served(folder, *options) as served:
        yield served


@contextmanager
def relay(name: str, *arguments: str, **variables: str) -> Iterator[int]:
    """Run a relay of the examples, and yield the port number that it prints."""
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    with subprocess.Popen(  # noqa: S603
        command,
        env={**environment(), "EAS_TOKEN": TOKEN, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if found := re.search(r"http://127.0.0.1:(\d+)", line):
                break
        else:
            pytest.fail(said)
        try:
            yield int(found[1])
        finally:
            process.terminate()
            process.stdout.read()
            process.wait(PATIENCE_S)


@contextmanager
def asked(
    port: int, method: str = "POST", path: str = "/v1/chat/completions", **options: Any
) -> Iterator[HTTPResponse]:
    """Send a request to the model through the relay. The connection is closed at the end of the block."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)) as connection:
        body = json.dumps({**_ASKED, **options}) if method == "POST" else None
        connection.request(method, path, body, {"Content-Type": "application/json"})
        with connection.getresponse() as response:
            yield response


def check(port: int, served: Served) -> None:
    """Check complete and streamed responses, a disconnect of the browser, and errors before and after the HTTP head."""
    with asked(port) as response:
        text = json.loads(response.read())["choices"][0]["message"]["content"]
    with asked(port, stream=True) as response:
        assert (response.status, response.headers["content-type"].partition(";")[0]) == (200, "text/event-stream")
        events = [line[6:] for line in response.read().decode().splitlines() if line]
    assert events.pop() == "[DONE]"
    assert "".join(json.loads(event)["choices"][0]["delta"].get("content") or "" for event in events) == text
    with asked(port, model="none") as response:
        assert (response.status, json.loads(response.read())["error"]["code"]) == (404, "model_not_found")
    with asked(port, "GET", "/v1/models") as response:
        assert json.loads(response.read())["data"][0]["id"] == "llm"

    add_fault(served, "stall_stream", after_bytes=600)
    with asked(port, stream=True) as response:
        assert len(response.read(600)) == 600  # the response is not complete yet
        assert served.admin("GET", "/v1/streams")[1]["total"] == 1
    until(lambda: served.admin("GET", "/v1/streams")[1]["total"] == 0)
    until(lambda: served.admin("POST", "/v1/requests/count", {"stream": "client_closed"})[1]["count"] == 1)

    add_fault(served, "cut_stream", after_bytes=600)
    with pytest.raises((IncompleteRead, ConnectionError)), asked(port, stream=True) as response:
        response.read()

    for number in range(2):
        served.patch("llm", f"llm-{number}", state="crashed")
    with asked(port, stream=True) as response:
        assert response.status == 502
        assert b"refused" in response.read()


def add_fault(served: Served, kind: str, **attributes: Any) -> None:
    served.admin("DELETE", "/v1/faults/one")
    fault = {"name": "one", "type": kind, "target": {"service": "llm"}, "attributes": attributes}
    assert served.admin("POST", "/v1/faults", fault)[0] == 201
