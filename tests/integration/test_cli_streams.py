"""`eas-tw predict --stream` and `--sse` in subprocesses."""

from __future__ import annotations

import json
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from eas_tw import ServerSentEvent
from eas_tw.cli.streaming import line_of, text_of
from tests.integration.conftest import TOKEN
from tests.integration.test_cli import COMMAND, answer, eas, variables
from tests.patience import PATIENCE_S, until
from tests.simulator.serving import Served

if TYPE_CHECKING:
    from collections.abc import Iterator

CHAT = {"model": "llm", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 20, "min_tokens": 20}
STREAM = json.dumps({**CHAT, "stream": True})
CALL = ("predict", "--service", "llm", "--path", "/v1/chat/completions", "--json")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Start a simulator with a language model."""
    options = ("--service", "llm=2", "--processor", "llm:ttft=0,tokens_per_s=0", "--token", TOKEN, "--seed", "7")
    with Served(tmp_path_factory.mktemp("simulator"), *options) as served:
        yield served


def add_fault(served: Served, kind: str, **attributes: Any) -> None:
    fault = {"type": kind, "target": {"service": "llm"}, "attributes": attributes}
    assert served.admin("POST", "/v1/faults", fault)[0] == 201


def streams(served: Served) -> int:
    total: int = served.admin("GET", "/v1/streams")[1]["total"]
    return total


def test_the_three_ways_to_print_a_stream(served: Served) -> None:
    whole = json.loads(answer(eas(served, *CALL, json.dumps(CHAT))))
    text = whole["choices"][0]["message"]["content"]
    assert answer(eas(served, *CALL, "--sse", "data", STREAM)) == f"{text}\n"
    lines = [json.loads(line) for line in answer(eas(served, *CALL, "--sse", "json", STREAM)).splitlines()]
    assert [line["event"] for line in lines] == ["message"] * len(lines)
    assert lines[-1]["data"] == "[DONE]"
    assert lines[0]["data"]["choices"][0]["delta"]["role"] == "assistant"
    raw = eas(served, *CALL, "--stream", STREAM)
    assert raw.stdout.endswith(b"data: [DONE]\n\n")
    assert raw.stdout.count(b"data: ") == len(lines)


def test_chunks_are_printed_when_they_arrive_and_an_interrupt_closes_the_stream(served: Served) -> None:
    add_fault(served, "stall_stream", after_bytes=600)
    for way in (("--stream",), ("--sse", "data"), ("--sse", "json")):
        with subprocess.Popen(  # noqa: S603
            [*COMMAND, *CALL, *way, STREAM], env=variables(served), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.read(5)
            assert streams(served) == 1
            process.send_signal(signal.SIGINT)
            assert (process.wait(PATIENCE_S), process.stderr.read()) == (130, b"")
        until(lambda: streams(served) == 0)


def test_the_stream_ends_when_standard_output_is_closed(served: Served) -> None:
    """The command detects a closed standard output even while no bytes arrive."""
    add_fault(served, "stall_stream", after_bytes=600)
    with subprocess.Popen(  # noqa: S603
        [*COMMAND, *CALL, "--sse", "data", STREAM],
        env=variables(served),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(1)
        process.stdout.close()
        assert (process.wait(PATIENCE_S), process.stderr.read()) == (0, b"")
    until(lambda: streams(served) == 0)


def test_a_stream_that_breaks_is_one_line_and_69(served: Served) -> None:
    """The received chunks are printed. With `--sse`, they end with a line break, so the error begins a line."""
    add_fault(served, "cut_stream", after_bytes=900)
    for way in (("--stream",), ("--sse", "data"), ("--sse", "json")):
        ended = eas(served, *CALL, *way, STREAM)
        (line,) = ended.stderr.decode().splitlines()
        assert "broke after 900 bytes" in line
        assert ended.returncode == 69
        assert ended.stdout
        assert ended.stdout.endswith(b"\n") or way == ("--stream",)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--stream", "--output", "json", STREAM), 2, "leave it out, or leave out --stream"),
        (("--stream", STREAM.replace('"llm"', '"none"')), 76, "does not exist"),
        (("--sse", "data", "{"), 65, "the body is not JSON"),
    ],
)
def test_what_goes_wrong_is_one_line_and_a_code(
    served: Served, arguments: tuple[str, ...], code: int, says: str
) -> None:
    ended = eas(served, *CALL, *arguments)
    (line,) = ended.stderr.decode().splitlines()
    assert (ended.returncode, ended.stdout) == (code, b"")
    assert says in line


def test_json_is_announced_unless_a_header_says_otherwise(served: Served) -> None:
    assert answer(eas(served, *CALL, "--header", "content-type: text/plain", json.dumps(CHAT)))


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ('{"choices": [{"delta": {"content": "a"}}]}', "a"),
        ('{"choices": [{"text": "a"}]}', "a"),
        ('{"choices": [{"delta": {"role": "assistant"}}]}', ""),
        ('{"choices": [{"delta": {"content": null}}]}', ""),
        ('{"choices": [{"delta": {"tool_calls": []}}]}', ""),
        ('{"choices": [], "usage": {}}', ""),
        ("[DONE]", ""),
        ('{"error": {"message": "x"}}', '{"error": {"message": "x"}}\n'),
        ("plain", "plain\n"),
        ("[1]", "[1]\n"),
        ("5", "5\n"),
        ('{"choices": 5}', '{"choices": 5}\n'),
        ('{"choices": [5]}', '{"choices": [5]}\n'),
        ('{"choices": [{"delta": 5}]}', '{"choices": [{"delta": 5}]}\n'),
        ("", "\n"),
    ],
)
def test_the_text_of_an_event(data: str, text: str) -> None:
    assert text_of(ServerSentEvent(data)) == text


def test_an_event_as_json() -> None:
    event = ServerSentEvent('{"a": "ü"}', "added", "7", 100)
    assert line_of(event) == '{"event": "added", "data": {"a": "ü"}, "id": "7", "retry": 100}'
    assert json.loads(line_of(ServerSentEvent("x")))["data"] == "x"
