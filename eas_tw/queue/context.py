"""`QueueContext`, which sends the requests of a queue client's operations and watches, with the identity headers."""

from __future__ import annotations

from copy import copy
from random import Random
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, DeferredList, fail, succeed
from twisted.logger import Logger

from eas_tw.errors import BodyError, ConfigError, StatusError
from eas_tw.net.call import Call
from eas_tw.net.call_errors import deadline_error
from eas_tw.net.repeated_call import RepeatedCall
from eas_tw.queue.connections import WatchTarget, WebSocketConnector
from eas_tw.queue.frames import attributes_of
from eas_tw.queue.http_watch import HttpConnector
from eas_tw.queue.wire import HeaderNames, attributes_request
from eas_tw.ranges import POSITIVE, checked
from eas_tw.reading import AnyStatusReader, StreamReader

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall

    from eas_tw.config import ClientConfig
    from eas_tw.net.attempt import WireRequest
    from eas_tw.net.offload import Offload
    from eas_tw.net.pool import Reactor
    from eas_tw.queue.watcher import Watcher
    from eas_tw.queue.wire import Identity, QueueRequest
    from eas_tw.request_builder import RequestBuilder
    from eas_tw.response import Response
    from eas_tw.runtime import ClientRuntime
    from eas_tw.telemetry.record import Record

_log = Logger(namespace="eas_tw.queue")
_NOT_ACCEPTED = (401, 403)


class _SuccessReader(AnyStatusReader):
    """Converts a successful response to a `Response`; a call with another status fails with `StatusError`."""

    __slots__ = ()

    takes_any_status = False


class QueueContext:
    """The state that the operations of a queue client share, from `init` to `close`.

    If the token is a function, it is called for each request: an operation, or a connection of a watch. If it fails,
    the request is not sent. The Deferreds of the methods then fail with `ConfigError`.

    Args:
        runtime: The client's runtime, which has the fleet and the call context.
        config: The client's settings.
        reactor: The reactor.
        offload: The object that decompresses large responses.
        builder: The request builder, which provides the token and the extra headers.
        path: The queue's path, such as `/api/predict/qservice`.
        identity: The user and the group of the client.
        record: The record, which counts the client's operations.

    Attributes:
        watchers: The watchers that are not closed, in the order of their opening.
    """

    def __init__(
        self,
        runtime: ClientRuntime,
        config: ClientConfig,
        *,
        reactor: Reactor,
        offload: Offload,
        builder: RequestBuilder,
        path: str,
        identity: Identity,
        record: Record,
    ) -> None:
        self.reactor = reactor
        self.record = record
        self.config = config
        self.watchers: dict[Watcher, None] = {}
        self.rng = Random(None if config.seed is None else f"{config.seed}/{path}/watch")  # noqa: S311  jitter
        self._runtime = runtime
        self._builder = builder
        self._path = path
        self._identity = identity
        self._reader = _SuccessReader(config, offload)
        self._stream_reader = StreamReader(config, offload, takes_any_status=False)
        self._names: HeaderNames | None = None
        self._asking: list[Deferred[HeaderNames]] | None = None
        self._asking_ends = 0.0

    def call(
        self,
        request: QueueRequest,
        suffix: str,
        *,
        timeout_s: float | None = None,
        is_idempotent: bool = True,
        hold_s: float = 0.0,
    ) -> Deferred[Response]:
        """Send the request of an operation.

        Args:
            request: The request.
            suffix: The path relative to the queue's path, such as `/sink`; empty for none.
            timeout_s: Seconds until the deadline, to which `hold_s` is added; `None` for the client's `timeout_s`.
            is_idempotent: Whether the request may be repeated if it may already have reached the service.
            hold_s: Seconds for which the service may delay the response (long polling).

        Returns:
            A Deferred that fires with a response whose status is from 200 to 299, or fails with the errors of a call.
        """
        seconds = self.reactor.seconds
        limit_s = self.config.timeout_s if timeout_s is None else checked(POSITIVE, "timeout_s", timeout_s)
        if self._names is not None:
            return self._send(request, suffix, self._names, limit_s, is_idempotent=is_idempotent, hold_s=hold_s)
        began = seconds()

        def send(names: HeaderNames) -> Deferred[Response]:
            # At least a hundredth of the limit, so that the call starts, and then reports that its deadline passed.
            left_s = max(limit_s - (seconds() - began), limit_s / 100)
            return self._send(request, suffix, names, left_s, is_idempotent=is_idempotent, hold_s=hold_s)

        return self._header_names(suffix, limit_s).addCallback(send)

    def attributes(self, suffix: str, timeout_s: float | None = None) -> Deferred[dict[str, str]]:
        """Request the attributes of the queue; later requests use the header names in the attributes.

        Args:
            suffix: The path relative to the queue's path; empty for none.
            timeout_s: Seconds until the deadline; `None` for the client's `timeout_s`.
        """
        limit_s = self.config.timeout_s if timeout_s is None else checked(POSITIVE, "timeout_s", timeout_s)
        names = self._names or HeaderNames()
        return self._send(attributes_request(), suffix, names, limit_s).addCallback(self._learn)

    def rendered(self, request: QueueRequest, suffix: str) -> WatchTarget:
        """Return target and header lines of a watch over WebSocket.

        Raises:
            ConfigError: The function given as token fails.
        """
        names, builder = self._names or HeaderNames(), self._builder
        lines = request.header_lines(builder.current_token(), self._identity, names, builder.extra_headers)
        return WatchTarget(request.target(self._path + suffix), tuple(lines))

    def wire_request(self, request: QueueRequest, suffix: str) -> WireRequest:
        """Render a request, with the header names from the attributes if they are known, else the default names.

        Raises:
            ConfigError: The function given as token fails.
        """
        return self._on_wire(request, suffix, self._names or HeaderNames())

    def http_connector(self) -> HttpConnector:
        """Make the connector of a new watch over plain HTTP."""
        runtime = self._runtime
        return HttpConnector(runtime.call_context, runtime.fleet, self._stream_reader, self.config)

    def websocket_connector(self) -> WebSocketConnector:
        """Make the connector of a new watch over WebSocket."""
        return WebSocketConnector(self.reactor, self._runtime.fleet, self.config)

    def learn_header_names(self, suffix: str) -> Deferred[Any]:
        """Request the names of the identity headers if they are unknown."""
        return succeed(None) if self._names is not None else self._header_names(suffix, self.config.timeout_s)

    async def close(self) -> None:
        """Close all watchers, and wait at most `drain_timeout_s` for their commits."""
        watchers = list(self.watchers)
        if not watchers:
            return

        def abandon() -> None:
            for watcher in watchers:
                watcher.abandon()

        timer = self.reactor.callLater(self.config.drain_timeout_s, abandon)
        await DeferredList([watcher.close() for watcher in watchers], consumeErrors=True)
        if timer.active():
            timer.cancel()

    # -- internals

    def _send(
        self,
        request: QueueRequest,
        suffix: str,
        names: HeaderNames,
        timeout_s: float,
        *,
        is_idempotent: bool = True,
        hold_s: float = 0.0,
    ) -> Deferred[Response]:
        runtime = self._runtime
        try:
            wire = self._on_wire(request, suffix, names)
        except ConfigError as error:
            return fail(error)
        call = RepeatedCall(
            runtime.call_context,
            runtime.fleet,
            wire,
            self._reader,
            timeout_s,
            is_idempotent=is_idempotent,
            hold_s=hold_s,
        )
        return call.start()

    def _on_wire(self, request: QueueRequest, suffix: str, names: HeaderNames) -> WireRequest:
        builder = self._builder
        token = builder.current_token()
        return request.on_wire(self._path + suffix, token, self._identity, names, builder.extra_headers)

    def _header_names(self, suffix: str, timeout_s: float) -> Deferred[HeaderNames]:
        """Request the attributes once, for all operations that wait for the names of headers.

        The default names are used if the service does not answer with attributes. If it rejects the token or cannot be
        reached, the waiting operations fail before their requests are sent.
        """
        if self._asking is not None:
            return self._wait_for_names(self._asking, timeout_s)
        try:
            wire = self.wire_request(attributes_request(), suffix)
        except ConfigError as error:
            return fail(error)
        limit_s = max(timeout_s, self.config.timeout_s)
        self._asking, self._asking_ends = [], self.reactor.seconds() + limit_s
        asked = self._wait_for_names(self._asking, timeout_s)
        runtime = self._runtime
        asking = Call(runtime.call_context, runtime.fleet, wire, self._reader, None, limit_s).start()
        asking.addCallback(self._learn).addErrback(self._unknown).addBoth(self._asked)
        return asked

    def _wait_for_names(self, waiting: list[Deferred[HeaderNames]], timeout_s: float) -> Deferred[HeaderNames]:
        asked: Deferred[HeaderNames] = Deferred(lambda _: None)
        if self.reactor.seconds() + timeout_s < self._asking_ends:
            # The waiting operations share one request, whose deadline may be later, so this operation needs a timer.
            timer = self.reactor.callLater(timeout_s, self._expire, asked, timeout_s)
            asked.addBoth(_stop, timer)
        waiting.append(asked)
        return asked

    def _expire(self, asked: Deferred[HeaderNames], timeout_s: float) -> None:
        if self._asking is not None:
            self._asking.remove(asked)
        asked.errback(deadline_error(timeout_s, ()))

    def _learn(self, response: Response) -> dict[str, str]:
        attributes = attributes_of(response.headers.get("content-type", ""), response.content)
        self._names = HeaderNames.from_attributes(attributes)
        return attributes

    def _unknown(self, failure: Any) -> None:
        error = failure.value
        if isinstance(error, BodyError) or (isinstance(error, StatusError) and error.status not in _NOT_ACCEPTED):
            _log.info("the queue's attributes name no headers, the usual ones are sent: {why}", why=str(error))
            return
        failure.raiseException()

    def _asked(self, result: Any) -> None:
        waiting, self._asking = self._asking or [], None
        for asked in waiting:
            if asked.called:  # cancelled by its caller
                continue
            if result is None or isinstance(result, dict):
                asked.callback(self._names or HeaderNames())
            else:
                # Each operation adds its own name to the text of its error, so it needs its own copy.
                asked.errback(copy(result.value))


def _stop(result: Any, timer: IDelayedCall) -> Any:
    if timer.active():
        timer.cancel()
    return result
