"""The output of `eas-tw predict --stream` and `--sse`, which print the response while it arrives."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from eas_tw import ConfigError, EasError
from eas_tw.cli.output import while_read

if TYPE_CHECKING:
    import argparse

    from eas_tw import PredictClient, ServerSentEvent, Stream

_DONE = "[DONE]"  # the last event of OpenAI's API, which is not JSON


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of streams."""
    parser.add_argument("--stream", action="store_true", help="print the response while it arrives, unchanged")
    parser.add_argument(
        "--sse",
        choices=("data", "json"),
        help="print the server-sent events of the response while they arrive; data: the text of a language model's "
        "answer, and the data of other events; json: one line for each event",
    )


def check(options: argparse.Namespace) -> None:
    """Raise `ConfigError` if the flags contradict each other."""
    if is_wanted(options) and options.output == "json":
        raise ConfigError("--output json needs the whole response: leave it out, or leave out --stream and --sse")


def is_wanted(options: argparse.Namespace) -> bool:
    """Return whether the response is to be printed while it arrives."""
    return bool(options.stream or options.sse)


async def run(reactor: Any, client: PredictClient, options: argparse.Namespace, request: Any, **details: Any) -> None:
    """Open a stream, and print it until it ends, or until standard output has no reader."""

    async def show() -> None:
        async with client.stream(request, **details) as stream:
            await _WAYS[options.sse](stream)

    await while_read(reactor, Deferred.fromCoroutine(show()))


def text_of(event: ServerSentEvent) -> str:
    """Return the text that `--sse data` prints for an event.

    Returns:
        1. For a chunk of a chat or a completion, its text (`choices[0].delta.content` or `choices[0].text`), which may
           be empty.
        2. For the event `[DONE]`, an empty text.
        3. For any other event, its data and a newline.
    """
    if event.data == _DONE:
        return ""
    try:
        choices = json.loads(event.data)["choices"]
        choice = choices[0] if choices else {}
        text = choice["delta"].get("content") if "delta" in choice else choice.get("text")
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return f"{event.data}\n"
    return text if isinstance(text, str) else ""


def line_of(event: ServerSentEvent) -> str:
    """Return an event as one line of JSON; its data is parsed if it is JSON."""
    try:
        return _line(event, json.loads(event.data))
    except (ValueError, RecursionError):
        return _line(event, event.data)


def _line(event: ServerSentEvent, data: Any) -> str:
    return json.dumps({"event": event.event, "data": data, "id": event.id, "retry": event.retry}, ensure_ascii=False)


async def _show_bytes(stream: Stream) -> None:
    output = sys.stdout.buffer
    async for piece in stream:
        output.write(piece)
        output.flush()


async def _show_texts(stream: Stream) -> None:
    last = "\n"
    try:
        async for event in stream.events():
            if text := text_of(event):
                print(text, end="", flush=True)
                last = text
    except EasError:
        _end_line(last)  # so that the error message begins on a new line
        raise
    _end_line(last)


async def _show_lines(stream: Stream) -> None:
    async for event in stream.events():
        print(line_of(event), flush=True)


def _end_line(last: str) -> None:
    if not last.endswith("\n"):
        print(flush=True)


_WAYS = {None: _show_bytes, "data": _show_texts, "json": _show_lines}
