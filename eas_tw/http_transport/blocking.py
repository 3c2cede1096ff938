"""The transport for programs with threads, which uses an `eas_tw.blocking.PredictClient`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

from eas_tw import ClientClosed, ConfigError, EasError
from eas_tw.blocking import PredictClient, PredictException
from eas_tw.http_transport.errors import connect_error, library_error, typed_cause
from eas_tw.http_transport.requests import (
    MAX_REQUEST_BYTES,
    BodyCollector,
    call_options,
    check_size,
    connect_timeout_s,
    grace_s,
    loaded_content,
)
from eas_tw.http_transport.settings import check_authorization, checked_key_function, checked_size
from eas_tw.process_bound import ProcessBound

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

    from eas_tw import ClientConfig, StreamOptions
    from eas_tw.blocking import Stream
    from eas_tw.http_transport.library import Library
    from eas_tw.http_transport.requests import KeyOf
    from eas_tw.secret import TokenSource


class BaseTransport(ProcessBound):
    """A transport for the blocking client of httpx2 or httpx, which sends all requests to one PAI-EAS service.

    Several threads can use it at the same time. A forked child process starts a new client.

    The path and the query of a request's URL are appended to the service's path; the URL's host is ignored. The client
    starts with the first request. A response of any status is returned, and its body is read while it arrives.

    Timeouts of a request (`timeout` of the HTTP library): `read` bounds the time to the response's head over all
    attempts, and then the time between two pieces of the body; `connect` bounds the wait for the first list of
    instances. `pool` and `write` are not used, because `read` covers these times.

    Args:
        endpoint: The endpoint, as for `eas_tw.PredictClient`.
        service_name: `service` or `group/service`.
        custom_url: The complete URL for predictions, instead of endpoint and service.
        token: The service's token, or a function that returns it for each call; empty for none. It replaces the
            `Authorization` of requests.
        endpoint_type: The endpoint type, as for `eas_tw.PredictClient`; `None` for the default of that class.
        instances: The instances for `ENDPOINT_TYPE_FIXED`; `None` for none.
        config: The settings; `None` for the defaults, with an `init_timeout_s` of 5 s. Language model servers usually
            need `ClientConfig(auth="bearer")`.
        reactor: A reactor that runs in another thread of the program; `None` for the reactor thread of eas_tw.
        keep_authorization: Whether the `Authorization` of requests is sent to the service; `True` is allowed only
            without `token`. If `False`, the header is removed.
        idempotent: Whether a request may be sent to an instance after another instance may have received it; `None` for
            `True` unless the method is PATCH.
        key: A function that takes a request of the HTTP library, and returns the call's key for the balancer
            (`balancer="hash"`), or `None` for no key. A request's header `X-Eas-Key`, which is not sent to the service,
            has precedence. If the argument `key` is `None`, only the header sets a key.
        max_request_bytes: The maximum size of a request's body, ≥ 1. The body is read into memory before it is sent.

    Raises:
        ConfigError: An argument is wrong.
    """

    _library: ClassVar[Library]

    def __init__(  # noqa: PLR0913  the arguments of a client; all but three are keywords
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
        keep_authorization: bool = False,
        idempotent: bool | None = None,
        key: KeyOf | None = None,
        max_request_bytes: int = MAX_REQUEST_BYTES,
    ) -> None:
        check_authorization(token, keep_authorization=keep_authorization)
        self._keep_authorization = keep_authorization
        self._idempotent = idempotent
        self._key = checked_key_function(key)
        self._max_request_bytes = checked_size(max_request_bytes)
        self._is_closed = False
        try:
            self._client = PredictClient(
                endpoint,
                service_name,
                custom_url,
                token=token,
                endpoint_type=endpoint_type,
                instances=instances,
                config=config,
                reactor=reactor,
            )
        except PredictException as error:
            raise ConfigError(str(typed_cause(error))) from error

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__name__} of {self._client!r}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def client(self) -> PredictClient:
        """The client of the transport, for its counters and for metrics."""
        return self._client

    def handle_request(self, request: Any) -> Any:
        """Send a request, and return its response when the head has arrived (interface of httpx2 and httpx).

        Raises:
            TransportError: There is no response. The exception is of a subclass that the HTTP library defines, and its
                `__cause__` is the error of eas_tw.
            RuntimeError: The method was called in the reactor's thread, or in a forked child although `reactor` was
                given.
        """
        library = self._library
        try:
            content = self._content(request)
            options = self._options(request)
            self._wait_until_ready(connect_timeout_s(request))
            stream = self._client.stream(content, **options)
        except EasError as error:
            raise library_error(library, error) from error
        except PredictException as error:
            cause = typed_cause(error)
            raise library_error(library, cause) from cause
        return library.response(stream, library.body(library, stream))

    def _options(self, request: Any) -> StreamOptions:
        options = call_options(request, keep_authorization=self._keep_authorization, key=self._key)
        options["idempotent"] = self._idempotent
        return options

    def close(self) -> None:
        """Close the client: requests in flight may finish within `drain_timeout_s`, then all sockets are closed."""
        self._is_closed = True
        self._client.destroy()

    def _content(self, request: Any) -> bytes:
        content = loaded_content(self._library, request)
        if content is None:
            collector = BodyCollector(self._max_request_bytes)
            for piece in request.stream:
                collector.add(piece)
            return collector.content()
        check_size(len(content), self._max_request_bytes)
        return content

    def _wait_until_ready(self, timeout_s: float | None) -> None:
        if self._is_closed:
            raise ClientClosed("the transport is closed")
        try:
            self._client.wait_until_ready(timeout_s)
        except PredictException as error:
            cause = typed_cause(error)
            raise connect_error(self._library, cause) from cause


class Body:
    """The body of a response, read while it arrives; subclasses also inherit `SyncByteStream` of httpx2 or httpx.

    Args:
        library: The HTTP library.
        stream: The response.
    """

    def __init__(self, library: Library, stream: Stream) -> None:
        self._library = library
        self._stream = stream
        self._last = b""

    def __iter__(self) -> Iterator[bytes]:
        try:
            for piece in self._stream.iter_raw():
                self._last = piece
                yield piece
        except PredictException as error:
            cause = typed_cause(error)
            raise library_error(self._library, cause) from cause

    def close(self) -> None:
        """Close the stream, and its connection unless the body has ended."""
        self._stream.close(grace_s=grace_s(self._last))
