"""`PredictClient` for asyncio: the same arguments and methods as the Deferred one, Futures instead of Deferreds."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self, TypeVar

import treq.client  # noqa: F401  now and not by the first `init`, which would hold up the loop for as long as it takes

from eas_tw import ClientClosed, NoInstances
from eas_tw.aio.running import enter, leave
from eas_tw.told import Told

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from twisted.internet.defer import Deferred

    import eas_tw
    from eas_tw import Instance

T = TypeVar("T")


class PredictClient(Told):
    """Calls one service of PAI-EAS.

    May be made anywhere; from `init` on it belongs to the loop that ran then. Takes the arguments of
    `eas_tw.PredictClient` but the reactor.

    Raises:
        ConfigError: An argument is wrong.
    """

    _client: eas_tw.PredictClient | None = None
    _loop: asyncio.AbstractEventLoop | None = None
    _closing: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        return f"<asyncio {self._client or self._tell()!r}>"

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

    # -- life

    async def init(self) -> Self:
        """Start discovery on the running loop.

        Returns:
            The client, once the first good list is in the cache.

        Raises:
            DiscoveryError: No list came within `init_timeout_s`; polling goes on, and `init` may be called again.
            ConfigError: Something is missing; or another reactor than asyncio's is installed in this program.
            ClientClosed: It has been closed.
        """
        if self._closing is not None:
            raise ClientClosed("the client is closed; make a new one")
        if self._client is None:
            loop = asyncio.get_running_loop()
            reactor = enter(loop)
            self._loop, self._client = loop, self._make(reactor)
        await self._future(self._client.init())
        return self

    async def close(self) -> None:
        """Take no more calls, let those in flight finish within `drain_timeout_s`, and wait for every socket to go.

        Twice is fine. If the waiting task is cancelled, closing goes on.
        """
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close())
        await asyncio.shield(self._closing)

    destroy = close

    # -- work

    def predict(
        self,
        request: Any,
        *,
        timeout_s: float | None = None,
        path: str = "",
        query: Mapping[str, str] | str | None = None,
        headers: Mapping[str, str] | None = None,
        idempotent: bool = True,
    ) -> asyncio.Future[Any]:
        """Call the service.

        Args:
            request: As for `eas_tw.PredictClient.predict`, like all others.
            timeout_s: The call's one deadline in seconds; `None` for the client's.
            path: Below the service's path, percent-encoded.
            query: Fields, or an encoded query.
            headers: Of this call only.
            idempotent: Whether an instance may get the call although another already had it.

        Returns:
            A Future of the response, which fails as the Deferred does. Cancelling it, or the task that awaits it,
            cancels the call and closes its connection.
        """
        if self._client is None:
            raise NoInstances("init() has not been called: call it, and await it, before the first predict()")
        calling = self._client.predict(
            request, timeout_s=timeout_s, path=path, query=query, headers=headers, idempotent=idempotent
        )
        return self._future(calling)

    # -- what it shows

    @property
    def client(self) -> eas_tw.PredictClient:
        """The client behind it, with its counters, configuration and account of discovery; there after `init`."""
        if self._client is None:
            raise NoInstances("init() has not been called: there is no client yet")
        return self._client

    @property
    def instances(self) -> tuple[Instance, ...]:
        """The list of instances in the cache."""
        return self._client.instances if self._client is not None else ()

    # -- how it is done

    def _tell(self) -> eas_tw.PredictClient:
        return self._client or super()._tell()

    def _future(self, deferred: Deferred[T]) -> asyncio.Future[T]:
        return deferred.asFuture(self._loop or asyncio.get_running_loop())

    async def _close(self) -> None:
        if self._client is None or self._loop is None:
            return
        try:
            await self._future(self._client.close())
        finally:
            leave(self._loop)
