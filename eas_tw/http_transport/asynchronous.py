"""The transport for asyncio programs, which uses an `eas_tw.aio.PredictClient`."""

from __future__ import annotations

import asyncio
import os
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Self

from eas_tw import ClientClosed, ConfigError, EasError
from eas_tw.aio import PredictClient
from eas_tw.http_transport.errors import connect_error, library_error, no_list_error
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
from eas_tw.secret import Secret

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from types import TracebackType

    from twisted.web.iweb import IAgent

    from eas_tw import ClientConfig, Stream, StreamOptions
    from eas_tw.http_transport.library import Library
    from eas_tw.http_transport.requests import KeyOf
    from eas_tw.secret import TokenSource


class BaseAsyncTransport(ProcessBound):
    """A transport for the asynchronous client of httpx2 or httpx, which sends all requests to one PAI-EAS service.

    The path and the query of a request's URL are appended to the service's path; the URL's host is ignored. The client
    starts with the first request, on the running loop. A response of any status is returned, and its body is read while
    it arrives.

    Timeouts of a request (`timeout` of the HTTP library): `read` bounds the time to the response's head over all
    attempts, and then the time between two pieces of the body; `connect` bounds the wait for the first list of
    instances. `pool` and `write` are not used, because `read` covers these times. A connection attempt has the
    `connect_timeout_s` of `config`, after which another instance is tried.

    Args:
        endpoint: The endpoint, as for `eas_tw.PredictClient`.
        service_name: `service` or `group/service`.
        custom_url: The complete URL for predictions, instead of endpoint and service.
        token: The service's token, or a function that returns it for each call; empty for none. It replaces the
            `Authorization` of requests.
        endpoint_type: The endpoint type, as for `eas_tw.PredictClient`; `None` for the default of that class.
        instances: The instances for `ENDPOINT_TYPE_FIXED`; `None` for none.
        config: The settings; `None` for the defaults. Language model servers usually need
            `ClientConfig(auth="bearer")`.
        agent: A Twisted agent for the control plane and the gateway; `None` for direct requests.
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
        agent: IAgent | None = None,
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
        self._token = Secret(token) if isinstance(token, str) else token
        self._make = partial(
            PredictClient,
            endpoint,
            service_name,
            custom_url,
            endpoint_type=endpoint_type,
            instances=None if instances is None else tuple(instances),
            config=config,
            agent=agent,
        )
        self._client = self._new_client()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process = os.getpid()
        self._is_ready = False
        self._is_closed = False

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__name__} of {self._client!r}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    @property
    def client(self) -> PredictClient:
        """The client of the transport, for counters and metrics; the first request on another loop replaces it."""
        return self._client

    async def handle_async_request(self, request: Any) -> Any:
        """Send a request, and return its response when the head has arrived (interface of httpx2 and httpx).

        Raises:
            TransportError: There is no response. The exception is of a subclass that the HTTP library defines, and its
                `__cause__` is the error of eas_tw.
            RuntimeError: No asyncio event loop is running.
        """
        library = self._library
        try:
            content = await self._content(request)
            options = self._options(request)
            client = await self._ready_client(connect_timeout_s(request))
            # `__aenter__` closes the stream if it opens while this task is being cancelled.
            stream = await client.stream(content, **options).__aenter__()
        except EasError as error:
            raise library_error(library, error) from error
        return library.response(stream, library.async_body(library, stream))

    async def aclose(self) -> None:
        """Close the client: requests in flight may finish within `drain_timeout_s`, then all sockets are closed.

        Raises:
            ConfigError: The client belongs to another event loop that is not closed; call `aclose` on that loop.
        """
        self._is_closed = True
        await self._client.close()

    def _options(self, request: Any) -> StreamOptions:
        options = call_options(request, keep_authorization=self._keep_authorization, key=self._key)
        options["idempotent"] = self._idempotent
        return options

    def _new_client(self) -> PredictClient:
        token: Any = self._token
        return self._make(token=token.reveal() if isinstance(token, Secret) else token)

    async def _content(self, request: Any) -> bytes:
        content = loaded_content(self._library, request)
        if content is None:
            collector = BodyCollector(self._max_request_bytes)
            async for piece in request.stream:
                collector.add(piece)
            return collector.content()
        check_size(len(content), self._max_request_bytes)
        return content

    async def _ready_client(self, timeout_s: float | None) -> PredictClient:
        """Return the client of the running loop after waiting for its list of instances, for at most `timeout_s`."""
        if self._is_closed:
            raise ClientClosed("the transport is closed")
        loop = _running_loop()
        if loop is not self._loop or self._process != os.getpid():
            await self._enter(loop)
        client = self._client
        if not self._is_ready:
            try:
                await self._init(client, timeout_s)
            except EasError as error:
                raise connect_error(self._library, error) from error
            self._is_ready = client is self._client
        return client

    async def _init(self, client: PredictClient, timeout_s: float | None) -> None:
        try:
            async with asyncio.timeout(timeout_s) as limit:
                await client.init()
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise no_list_error(timeout_s, client.discovery.last_error) from error

    async def _enter(self, loop: asyncio.AbstractEventLoop) -> None:
        """Bind the transport to a loop.

        The second and further loops get a new client, because a client belongs to the loop of its `init`.

        Raises:
            ConfigError: The previous loop is not closed.
        """
        before, process = self._loop, self._process
        is_forked = process != os.getpid()
        if before is not None and not before.is_closed() and not is_forked:
            raise ConfigError(
                "the transport is in use on another event loop that is not closed: make a transport for each loop"
            )
        self._loop, self._process = loop, os.getpid()
        if before is None:
            return
        former, self._client = self._client, self._new_client()
        self._is_ready = False
        if not is_forked:  # the parent process still uses the sockets of its client
            await former.close()


class AsyncBody:
    """The body of a response, read while it arrives; subclasses also inherit `AsyncByteStream` of httpx2 or httpx.

    Args:
        library: The HTTP library.
        stream: The response.
    """

    def __init__(self, library: Library, stream: Stream) -> None:
        self._library = library
        self._stream = stream
        self._pieces = stream.iter_raw()
        self._last = b""

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            piece = self._last = await anext(self._pieces)
        except EasError as error:
            raise library_error(self._library, error) from error
        return piece

    async def aclose(self) -> None:
        """Close the stream, and its connection unless the body has ended."""
        self._stream.close(grace_s=grace_s(self._last))


def _running_loop() -> asyncio.AbstractEventLoop:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError("eas_tw's AsyncTransport needs a running asyncio event loop; Trio has none") from None
