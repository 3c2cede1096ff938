"""`PredictClient` for threads, with the arguments of `eas_tw.PredictClient` and the behaviour of the official SDK.

The client wraps an `eas_tw.PredictClient` on the reactor of a `Loop`. The settings are recorded (`DeferredSettings`),
because a forked child needs a new inner client.
"""

from __future__ import annotations

from contextvars import copy_context
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any, Self

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

import eas_tw
from eas_tw import ClientConfig, ConfigError, DiscoveryError, EasError
from eas_tw.blocking.errors import as_predict_exception
from eas_tw.blocking.futures import CallFuture
from eas_tw.blocking.loop import Loop, own_loop
from eas_tw.blocking.stream import Stream
from eas_tw.blocking.text import StringRequest
from eas_tw.deferred_settings import DeferredSettings
from eas_tw.display import shown
from eas_tw.ranges import POSITIVE, checked
from eas_tw.telemetry.stdlib_logging import LOGGER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType
    from typing import Unpack

    from eas_tw import CallOptions, RequestOptions, Response, StreamOptions
    from eas_tw.secret import TokenSource
    from eas_tw.telemetry.events import Event

_FIRST_LIST_WITHIN_S = 5.0
"""The default of `init_timeout_s`, in seconds; the official SDK's first call waits for the list for the same time."""


class PredictClient(DeferredSettings):
    """A client of one PAI-EAS service whose methods block; it can be used by several threads at the same time.

    Args:
        endpoint: The endpoint, as for `eas_tw.PredictClient`.
        service_name: `service` or `group/service`.
        custom_url: The complete URL for predictions, instead of endpoint and service.
        token: The service's token, or a function that returns it; empty for none. The function is called for each call,
            in the reactor's thread, so it must not block.
        endpoint_type: `ENDPOINT_TYPE_DEFAULT` (gateway), `_DIRECT`, `_VIPSERVER` or `_FIXED`; `None` for
            `ENDPOINT_TYPE_FIXED` if `instances` is given, and for `ENDPOINT_TYPE_DEFAULT` otherwise.
        instances: The instances for `ENDPOINT_TYPE_FIXED`; `None` for none.
        config: The settings; `None` for the defaults, with an `init_timeout_s` of 5 s.
        reactor: A reactor that runs in another thread of the program; `None` for the reactor thread of eas_tw.

    Raises:
        PredictException: An argument is wrong. The methods raise no other exception, unless stated otherwise.
    """

    def __init__(
        self,
        endpoint: str = "",
        service_name: str = "",
        custom_url: str = "",
        *,
        token: TokenSource = "",
        endpoint_type: str | None = None,
        instances: Iterable[Any] | None = None,
        config: ClientConfig | None = None,
        reactor: Any = None,
        **more: Any,
    ) -> None:
        try:
            super().__init__(
                endpoint,
                service_name,
                custom_url,
                token=token,
                endpoint_type=endpoint_type,
                instances=instances,
                config=ClientConfig(init_timeout_s=_FIRST_LIST_WITHIN_S) if config is None else config,
                **more,
            )
            if reactor is not None and not callable(getattr(reactor, "callFromThread", None)):
                raise ConfigError(f"reactor must be a Twisted reactor that has threads, got {shown(reactor)}")
        except EasError as error:
            raise as_predict_exception(error) from error
        self._given = None if reactor is None else Loop(reactor)
        self._loop = self._given or own_loop()
        self._start(self._loop.reactor)

    def __repr__(self) -> str:
        return f"<blocking {self._client!r}>"

    def __enter__(self) -> Self:
        self.init()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.destroy()

    def set_log_level(self, log_level: int | str) -> None:
        """Set the level of the logger `eas_tw` of the module `logging`.

        Args:
            log_level: A level of `logging`, such as `logging.INFO` or `"INFO"`.

        Raises:
            PredictException: `log_level` is not a level of `logging`.
        """
        try:
            LOGGER.setLevel(log_level)
        except Exception as error:  # the error of `setLevel` contains a `repr` of the value, which may raise
            mistake = ConfigError(f'log_level must be a level of logging, such as "INFO", got {shown(log_level)}')
            raise as_predict_exception(mistake) from error

    # -- lifecycle

    def init(self) -> None:
        """Start discovery without waiting. The first `predict` waits for the list of instances (`init_timeout_s`).

        Raises:
            PredictException: The endpoint or the service is missing or wrong.
        """
        client = self._client_here()
        self._run(lambda: _begun(client))

    def wait_until_ready(self, timeout_s: float | None = None) -> None:
        """Start discovery, and wait for the first valid list of instances; return immediately if there is a list.

        Args:
            timeout_s: The maximum time in seconds, > 0; `None` for the client's `init_timeout_s`. The wait is never
                longer than `init_timeout_s`.

        Raises:
            PredictException: No list arrived in time, or a setting is missing or wrong. After a timeout discovery
                continues, and the method may be called again.
        """
        client = self._client_here()
        if timeout_s is None:
            if client.is_closed or not client.is_ready:
                self._run(client.init)
            return
        try:
            limit_s = checked(POSITIVE, "timeout_s", timeout_s)
        except EasError as error:
            raise as_predict_exception(error) from error
        if client.is_ready and not client.is_closed:
            return

        def wait() -> Deferred[Any]:
            waiting = client.init()
            timer = client.clock.callLater(limit_s, waiting.cancel)

            def ended(result: Any) -> Any:
                if timer.active():
                    timer.cancel()
                    return result
                why = client.discovery.last_error
                because = f": {why}" if why else ""
                return Failure(DiscoveryError(f"no list of instances within {limit_s:g} s{because}"))

            return waiting.addBoth(ended)

        self._run(wait)

    def destroy(self) -> None:
        """Close the client; calls in flight may finish within `drain_timeout_s`, then all sockets are closed.

        A second call does nothing.
        """
        client = self._client_here()
        self._remember("close")  # recorded, so that the client is also closed in a child that is forked later
        self._run(client.close)

    close = destroy

    # -- calls

    def predict(self, req: Any, **options: Unpack[CallOptions]) -> Any:
        """Call the service, and wait for the response.

        Args:
            req: A request of this package or of the official SDK, `str`, `bytes` or any buffer.
            options: `timeout_s`, `path`, `query`, `headers`, `idempotent` and `key` of `eas_tw.PredictClient.predict`.

        Returns:
            The response.

        Raises:
            PredictException: The call failed; `code`, `message` and `attempts` describe the failure.
            RuntimeError: The method was called in the reactor's thread, or in a forked child although `reactor` was
                given.
        """
        try:
            # Encoding and parsing run in the calling thread, so that they do not block the reactor's thread.
            request = req if _is_request(req) else StringRequest(req)
            body = _BytesRequest(request.to_string(), getattr(request, "content_type", None))
            client = self._client_here()
            if not client.is_ready:
                self._loop.run(client.init)
            predict = self._predict

            def call() -> Deferred[Any]:
                return predict(body, **options)

            # A wrapper, such as a tracer's, needs the caller's context (the current span) in the reactor's thread.
            content = self._loop.run(partial(copy_context().run, call) if self._wraps else call)
            return request.parse_response(content)
        except EasError as error:
            raise as_predict_exception(error) from error

    def submit(self, req: Any, **options: Unpack[CallOptions]) -> CallFuture:
        """Start a call without waiting, so that one thread can have many calls in flight.

        Args:
            req: A request, as for `predict`; it is encoded before the method returns.
            options: The options of `predict`.

        Returns:
            A `concurrent.futures.Future`. Its `result` parses the response in the thread that calls it, and raises the
            `PredictException` of a failed call. Its callbacks are called in the reactor's thread.

        Raises:
            PredictException: The request cannot be encoded.
            RuntimeError: The method was called in the reactor's thread, or in a forked child although `reactor` was
                given.
        """
        try:
            request = req if _is_request(req) else StringRequest(req)
            body = _BytesRequest(request.to_string(), getattr(request, "content_type", None))
        except EasError as error:
            raise as_predict_exception(error) from error
        client = self._client_here()
        predict = partial(self._predict, body, **options)

        def call() -> Deferred[Any]:
            return predict() if client.is_ready else client.init().addCallback(lambda _: predict())

        work = partial(copy_context().run, call) if self._wraps else call
        future = CallFuture(work, request.parse_response, self._loop.reactor)
        self._loop.submit(future)
        return future

    def request(self, method: str, path: str = "", **options: Unpack[RequestOptions]) -> Response:
        """Send a request with any HTTP method, wait, and return the response, which may have any status.

        Args:
            method: The HTTP method, such as `GET`; `CONNECT` is not allowed.
            path: The path relative to the service's path, percent-encoded, such as `v1/models`; empty for none.
            options: `body`, `query`, `headers`, `timeout_s`, `idempotent` and `key` of `eas_tw.PredictClient.request`.

        Raises:
            PredictException: There is no response.
            RuntimeError: The method was called in the reactor's thread, or in a forked child although `reactor` was
                given.
        """
        try:
            client = self._ready_client()
            response: Response = self._loop.run(lambda: client.request(method, path, **options))
        except EasError as error:
            raise as_predict_exception(error) from error
        return response

    def stream(self, request: Any = b"", **options: Unpack[StreamOptions]) -> Stream:
        """Send a request, wait for the head of its response, and read the body while it arrives.

            with client.stream({"model": "m", "stream": True}, path="v1/chat/completions") as stream:
                for event in stream.events():
                    ...

        Args:
            request: A dict or list (sent as JSON), text, bytes, any buffer, or any object with `to_string()`.
            options: The other arguments of `eas_tw.PredictClient.stream`.

        Returns:
            The stream, a context manager that closes it.

        Raises:
            PredictException: There is no response, or its status is not from 200 to 299.
            RuntimeError: The method was called in the reactor's thread, or in a forked child although `reactor` was
                given.
        """
        try:
            client = self._ready_client()
            stream = self._loop.run(lambda: client.stream(request, **options).open(), eas_tw.Stream.close)
        except EasError as error:
            raise as_predict_exception(error) from error
        return Stream(stream, self._loop.run)

    def listen(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Call a function with each event of the client, in the reactor's thread; see `eas_tw.PredictClient.listen`.

        Raises:
            PredictException: `listener` is not callable.
        """
        try:
            return super().listen(listener)
        except EasError as error:
            raise as_predict_exception(error) from error

    # -- threads and processes

    def _ready_client(self) -> eas_tw.PredictClient:
        client = self._client_here()
        if not client.is_ready:
            self._loop.run(client.init)
        return client

    def _current_client(self) -> eas_tw.PredictClient:
        return self._client_here()

    def _apply(self, what: str, *arguments: Any) -> None:
        try:
            super()._apply(what, *arguments)
        except EasError as error:
            raise as_predict_exception(error) from error

    def _run(self, work: Callable[[], Deferred[Any]]) -> None:
        try:
            self._loop.run(work)
        except EasError as error:
            raise as_predict_exception(error) from error

    def _client_here(self) -> eas_tw.PredictClient:
        """Return the inner client; in a forked child, create a new client with the same settings first."""
        loop = self._given or own_loop()
        if self._loop is not loop:
            with loop.lock:
                if self._loop is not loop:
                    self._lock = Lock()  # a thread of the parent may have held the old lock at the fork
                    self._start(loop.reactor)
                    self._loop = loop
        return self._client  # type: ignore[return-value]  # the constructor sets it


class _BytesRequest:
    """A request whose body is encoded already, and whose `parse_response` returns the bytes unchanged."""

    __slots__ = ("_content", "content_type")

    def __init__(self, content: bytes, content_type: str | None) -> None:
        self._content = content
        self.content_type = content_type

    def to_string(self) -> bytes:
        return self._content

    def parse_response(self, content: bytes) -> bytes:
        return content


def _is_request(value: Any) -> bool:
    return all(callable(getattr(value, name, None)) for name in ("to_string", "parse_response"))


def _begun(client: eas_tw.PredictClient) -> Deferred[None]:
    """Start discovery without waiting for the list of instances.

    Returns:
        1. A failed Deferred, if `init` failed immediately because a setting is wrong.
        2. A Deferred that has fired, otherwise; a later failure is logged as a warning.
    """
    ready = client.init()
    if ready.called and isinstance(ready.result, Failure):
        return ready.addCallback(lambda _: None)
    ready.addErrback(lambda failure: LOGGER.warning("%s", failure.getErrorMessage()))
    return succeed(None)
