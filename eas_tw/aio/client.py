"""`PredictClient` for asyncio, which has the methods of `eas_tw.PredictClient` as coroutines."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self, TypeVar

import twisted.internet.endpoints  # noqa: F401  imported now: the first `init` would block the loop for 30 ms
from twisted.internet.task import Clock

from eas_tw import ClientClosed, ConfigError, NoInstances, OpeningStream
from eas_tw.aio.running import enter, leave
from eas_tw.deferred_settings import DeferredSettings
from eas_tw.telemetry.stdlib_logging import forward_logs

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Unpack

    from twisted.internet.defer import Deferred
    from twisted.python.failure import Failure

    import eas_tw
    from eas_tw import CallOptions, RequestOptions, Response, Stream, StreamOptions

T = TypeVar("T")


class PredictClient(DeferredSettings):
    """A client of one PAI-EAS service, for asyncio.

    The client can be created without a running loop. `init` binds it to the running loop, and all other methods must be
    called on that loop. The arguments are those of `eas_tw.PredictClient`, except `reactor` and `wall_clock`.

    Raises:
        ConfigError: An argument is wrong.
    """

    _loop: asyncio.AbstractEventLoop | None = None
    _closing: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        return f"<asyncio {self._current_client()!r}>"

    async def __aenter__(self) -> Self:
        try:
            await self.init()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # -- lifecycle

    async def init(self) -> Self:
        """Start discovery on the running loop, and wait for the first valid list of instances.

        Returns:
            The client itself.

        Raises:
            DiscoveryError: No valid list arrived within `init_timeout_s`; polling continues, and `init` may be called
                again.
            ConfigError: A setting is missing, the program has installed a reactor that is not asyncio's, or the client
                belongs to another loop.
            ClientClosed: The client is closed.
        """
        if self._closing is not None:
            raise ClientClosed("the client is closed; make a new one")
        loop = asyncio.get_running_loop()
        client = self._client or self._begin(loop)
        if loop is not self._loop:
            raise self._unusable()
        await self._wait(client.init())
        return self

    async def close(self) -> None:
        """Close the client, and wait until every socket is closed.

        New calls fail immediately. Calls in flight may finish within `drain_timeout_s`, then they are cancelled. A
        second call of `close` waits until the first call has finished. Cancelling the waiting task does not interrupt
        the close.

        Raises:
            ConfigError: The client belongs to another loop that is not closed; call `close` on that loop.
        """
        if self._closing is None:
            if self._loop not in (None, asyncio.get_running_loop()) and not self._loop.is_closed():
                raise self._unusable()
            self._closing = asyncio.ensure_future(self._close())
        await asyncio.shield(self._closing)

    destroy = close

    # -- calls

    async def predict(self, request: Any, **options: Unpack[CallOptions]) -> Any:
        """Call the service.

        Nothing is sent before the coroutine is awaited or runs as a task. Use tasks for concurrent calls
        (`asyncio.gather`, `TaskGroup.create_task`). Cancelling the task cancels the call and closes its connection.

        Args:
            request: A request, as for `eas_tw.PredictClient.predict`.
            options: `timeout_s`, `path`, `query`, `headers`, `idempotent` and `key` of `eas_tw.PredictClient.predict`.

        Returns:
            The response.

        Raises:
            EasError: The call failed, with the errors of `eas_tw.PredictClient.predict`.
        """
        if asyncio.get_running_loop() is not self._loop:
            raise self._unusable()
        return await self._wait(self._predict(request, **options))

    async def request(self, method: str, path: str = "", **options: Unpack[RequestOptions]) -> Response:
        """Send a request with any HTTP method, and return the response, which may have any status.

        Args:
            method: The HTTP method, such as `GET`; `CONNECT` is not allowed.
            path: The path relative to the service's path, percent-encoded, such as `v1/models`; empty for none.
            options: `body`, `query`, `headers`, `timeout_s`, `idempotent` and `key` of `eas_tw.PredictClient.request`.

        Raises:
            EasError: The call failed, with the errors of `eas_tw.PredictClient.request`.
        """
        return await self._wait(self._client_here().request(method, path, **options))

    def stream(self, request: Any = b"", **options: Unpack[StreamOptions]) -> OpeningStream:
        """Send a request and read its response while it arrives.

            async with client.stream({"model": "m", "stream": True}, path="v1/chat/completions") as stream:
                async for event in stream.events():
                    ...

        Cancelling the task that reads the stream closes the connection.

        Args:
            request: A dict or list (sent as JSON), text, bytes, any buffer, or any object with `to_string()`.
            options: The other arguments of `eas_tw.PredictClient.stream`.

        Returns:
            An async context manager for the `Stream`. It can also be awaited, and then returns the open `Stream`.
        """

        def begin() -> Deferred[Stream]:
            return self._client_here().stream(request, **options).open().addCallback(self._adapted)

        return OpeningStream(begin, self._wait)

    # -- properties

    @property
    def client(self) -> eas_tw.PredictClient:
        """The inner `eas_tw.PredictClient`, which exists after `init`.

        Raises:
            NoInstances: `init` has not been called.
        """
        if self._client is None:
            raise NoInstances("init() has not been called: there is no client yet")
        return self._client

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called; calls in flight may still be running."""
        return self._closing is not None

    # -- internals

    def _begin(self, loop: asyncio.AbstractEventLoop) -> eas_tw.PredictClient:
        reactor = enter(loop)
        try:
            client = self._start(reactor)
        except BaseException:
            leave(loop)
            raise
        forward_logs()
        self._loop = loop
        return client

    def _client_here(self) -> eas_tw.PredictClient:
        """Return the inner client, or raise the error for a client that cannot be used on the running loop."""
        if asyncio.get_running_loop() is not self._loop or self._client is None:
            raise self._unusable()
        return self._client

    def _adapted(self, stream: Stream) -> Stream:
        return stream.adapted(self._wait, self._read_piece)

    def _unusable(self) -> Exception:
        if self._closing is not None:
            return ClientClosed("the client is closed")
        if self._client is None:
            return NoInstances("init() has not been called: call it, and await it, before the first predict()")
        return ConfigError("the client belongs to the loop that ran at its init(): make a client for each loop")

    async def _wait(self, deferred: Deferred[T], undo: Callable[[T], object] | None = None) -> T:
        """Wait for a Deferred of the inner client, and cancel it if the waiting task is cancelled.

        `Deferred.asFuture` is not used, because it creates three closures for each call, and cancels the Deferred only
        in the next turn of the loop.

        Args:
            deferred: The Deferred.
            undo: A function that is called with the result if the task is cancelled after the result has arrived, and
                before the task has run again; `None` if nothing is lost with the result.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        deferred.addCallbacks(_succeed, _fail, callbackArgs=(future,), errbackArgs=(future,))
        try:
            return await future
        except BaseException:  # CancelledError, or GeneratorExit if the loop is closed before the call ends
            deferred.cancel()
            if future.done() and not future.cancelled() and future.exception() is None and undo is not None:
                undo(future.result())
            raise

    async def _read_piece(self, body: Any) -> bytes:
        """Wait for the next piece of a stream's body; the stream is closed if the waiting task is cancelled."""
        piece: bytes | None = body.take()
        if piece is not None:
            return piece
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        body.wait_for_piece(_FutureReader(future))
        try:
            return await future
        except BaseException:  # CancelledError, or GeneratorExit if the loop is closed before the piece arrives
            body.close()
            raise

    async def _close(self) -> None:
        if self._client is None or self._loop is None:
            self._start(Clock()).close()  # sends the event `Closed` to the recorded listeners
            return
        try:
            if not self._loop.is_closed():  # on a closed loop, the Deferred of `close` would never fire
                await self._wait(self._client.close())
        finally:
            leave(self._loop)


class _FutureReader:
    """Passes a piece of a stream to an asyncio future; a Deferred and its callbacks would take twice as long."""

    __slots__ = ("_future",)

    def __init__(self, future: asyncio.Future[bytes]) -> None:
        self._future = future

    def callback(self, result: bytes, /) -> None:
        if not self._future.done():  # it is done if the waiting task was cancelled
            self._future.set_result(result)

    def errback(self, fail: Failure, /) -> None:
        _fail(fail, self._future)


def _succeed(result: Any, future: asyncio.Future[Any]) -> None:
    if not future.done():  # it is done if the waiting task was cancelled
        future.set_result(result)


def _fail(failure: Failure, future: asyncio.Future[Any]) -> None:
    if future.done():
        return
    error: Any = failure.value
    future.set_exception(error)
