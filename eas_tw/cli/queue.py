"""The commands `eas-tw queue put|get|watch|info`, for queue services (asynchronous inference)."""

from __future__ import annotations

import contextlib
import json
import sys
from base64 import b64encode
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from eas_tw import BodyError, ConfigError
from eas_tw.cli.output import while_read
from eas_tw.cli.predict import add_body_arguments, body_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Coroutine

    from eas_tw import Frame, QueueClient, SinkQueue
    from eas_tw.cli.settings import Given

    Queue = QueueClient | SinkQueue
    Work = Callable[[Any, Given, argparse.Namespace, Any], Coroutine[Any, Any, None]]

DESCRIPTION = (
    "Put into, get from and watch a queue service. The service is that of --service; --sink means its output queue."
)


def add_actions(actions: Any) -> list[argparse.ArgumentParser]:
    """Add the parsers of the actions, and return them; the caller adds the flags of the settings to each parser."""
    put = actions.add_parser("put", help="put a frame", description=_PUT, allow_abbrev=False)
    add_body_arguments(put)
    put.add_argument("--priority", type=int, default=0, metavar="N", help="a higher priority, > 0 (default: 0)")
    put.add_argument("--path", default="", help="a path below the queue's path, for the service behind the queue")
    put.add_argument(
        "--wait-s", type=float, metavar="SECONDS", help="wait for the result in the output queue, and print it"
    )
    get = actions.add_parser("get", help="get frames", description=_GET, allow_abbrev=False)
    get.add_argument("--request-id", metavar="ID", help="only the frame of this request")
    get.add_argument("--index", type=int, default=0, help="the first frame; 0: the head, -1: the newest (default: 0)")
    get.add_argument("--length", type=int, default=1, help="the maximum number of frames (default: 1)")
    get.add_argument("--wait-s", type=float, default=5.0, metavar="SECONDS", help="wait for a frame (default: 5)")
    get.add_argument("--keep", action="store_true", help="do not delete the frames")
    watch = actions.add_parser("watch", help="print frames as they come", description=_WATCH, allow_abbrev=False)
    watch.add_argument("--index", type=int, default=0, help="the first frame; 0: the head, -1: the newest (default: 0)")
    watch.add_argument("--window", type=int, default=32, help="the maximum number of uncommitted frames (default: 32)")
    watch.add_argument("--index-only", action="store_true", help="frames without data")
    watch.add_argument("--no-commit", action="store_true", help="commit nothing; ends after --window frames")
    watch.add_argument("--count", type=int, metavar="N", help="end after N frames")
    info = actions.add_parser("info", help="print the queue's attributes", description=_INFO, allow_abbrev=False)
    for action in (put, get, watch):
        action.add_argument(
            "--tag", action="append", default=[], metavar="NAME=VALUE", help="a tag of the frames; may be repeated"
        )
        action.add_argument(
            "--output",
            choices=("pretty", "raw", "json"),
            default="pretty",
            help="pretty: the text of each frame; raw: its bytes; json: one line for each frame",
        )
    info.add_argument("--output", choices=("pretty", "json"), default="pretty", help="json: one object")
    for action, (prepare, work) in zip((put, get, watch, info), _WAYS, strict=True):
        action.add_argument("--sink", action="store_true", help="use the output queue")
        action.add_argument("--user", metavar="ID", help="the id of this consumer (default: a random one)")
        action.add_argument("--group", default="eas", help="the group of this consumer (default: eas)")
        action.set_defaults(prepare=prepare, run=partial(_until_shutdown, work))
    return [put, get, watch, info]


_PUT = (
    "Put a frame, and print its index and its request id. Without BODY or --file, the data is read from stdin. "
    "A put that may have reached the service is not repeated."
)
_GET = "Get frames, print them, and delete them unless --keep is given."
_WATCH = "Print frames as they come, and commit each one after it was printed, until interrupted."
_INFO = "Print the attributes of the queue, such as its length."


def _prepare_put(options: argparse.Namespace) -> bytes:
    if options.wait_s is not None and options.sink:
        raise ConfigError("--wait-s waits for a result of the input queue: leave out --sink")
    return body_of(options)


def _prepare_nothing(options: argparse.Namespace) -> None:
    """Do nothing, because these actions read no input before they connect."""


async def _until_shutdown(work: Work, reactor: Any, given: Given, options: argparse.Namespace, prepared: Any) -> None:
    """Run an action; when the reactor shuts down, cancel the action, and delay the shutdown until its client is closed.

    Without the cancellation, a watch or a retry would wait forever, because the reactor opens no connections during the
    shutdown.
    """
    running = Deferred.fromCoroutine(work(reactor, given, options, prepared))
    over: Deferred[None] = Deferred()

    def stop() -> Deferred[None]:
        running.cancel()
        return over

    trigger = reactor.addSystemEventTrigger("before", "shutdown", stop)
    try:
        await running
    finally:
        over.callback(None)
        with contextlib.suppress(ValueError, KeyError):  # the shutdown has begun, and has removed the trigger
            reactor.removeSystemEventTrigger(trigger)


async def _put(reactor: Any, given: Given, options: argparse.Namespace, body: bytes) -> None:
    async with _client(reactor, given, options) as client:
        put = await _queue(client, options).put(body, tags=_tags(options), priority=options.priority, path=options.path)
        if options.wait_s is not None:
            getting = client.sink().get(request_id=put.request_id, timeout_s=options.wait_s)
            frames = await while_read(reactor, getting)
            if not frames:
                raise BodyError(f"no result of {put.request_id} within {options.wait_s:g} s; it may still come")
            _show(frames[0], options.output)
        elif options.output == "json":
            print(json.dumps({"index": put.index, "request_id": put.request_id}))
        else:
            print(put.index, put.request_id)


async def _get(reactor: Any, given: Given, options: argparse.Namespace, _: None) -> None:
    async with _client(reactor, given, options) as client:
        getting = _queue(client, options).get(
            index=options.index,
            length=options.length,
            timeout_s=options.wait_s,
            tags=_tags(options),
            request_id=options.request_id,
            auto_delete=not options.keep,
        )
        for frame in await while_read(reactor, getting):
            _show(frame, options.output)


async def _watch(reactor: Any, given: Given, options: argparse.Namespace, _: None) -> None:
    async with _client(reactor, given, options) as client:
        watcher = _queue(client, options).watch(
            index=options.index, window=options.window, index_only=options.index_only, tags=_tags(options)
        )
        left = options.window if options.no_commit else None
        if options.count is not None:
            left = options.count if left is None else min(left, options.count)

        async def show() -> None:
            nonlocal left
            async with watcher:
                while left is None or left > 0:
                    frame = await watcher.next_frame()
                    if frame is None:
                        return
                    _show(frame, options.output)
                    if not options.no_commit:
                        await watcher.commit(frame)
                    left = None if left is None else left - 1

        await while_read(reactor, Deferred.fromCoroutine(show()))


async def _info(reactor: Any, given: Given, options: argparse.Namespace, _: None) -> None:
    async with _client(reactor, given, options) as client:
        attributes = await _queue(client, options).attributes()
    if options.output == "json":
        print(json.dumps(attributes, ensure_ascii=False))
        return
    for name, value in sorted(attributes.items()):
        print(f"{name}  {value}")


_WAYS: tuple[tuple[Callable[[argparse.Namespace], Any], Work], ...] = (
    (_prepare_put, _put),
    (_prepare_nothing, _get),
    (_prepare_nothing, _watch),
    (_prepare_nothing, _info),
)


def _client(reactor: Any, given: Given, options: argparse.Namespace) -> QueueClient:
    return given.make_queue_client(reactor, options.user, options.group)


def _queue(client: QueueClient, options: argparse.Namespace) -> Queue:
    return client.sink() if options.sink else client


def _tags(options: argparse.Namespace) -> dict[str, str]:
    tags = {}
    for text in options.tag:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--tag must look like NAME=VALUE, got {text!r}")
        tags[name] = value
    return tags


def _show(frame: Frame, output: str) -> None:
    if output == "raw":
        sys.stdout.flush()
        sys.stdout.buffer.write(frame.data)
        sys.stdout.buffer.flush()
    elif output == "json":
        row: dict[str, Any] = {"index": frame.index, "request_id": frame.request_id, "tags": frame.tags}
        try:
            row["data"] = frame.data.decode()
        except UnicodeDecodeError:
            row["data_base64"] = b64encode(frame.data).decode()
        print(json.dumps(row, ensure_ascii=False), flush=True)
    else:
        print(frame.data.decode("utf-8", "replace") or f"frame {frame.index}", flush=True)
