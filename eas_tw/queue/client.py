"""`QueueClient`, the public client of a queue service for Twisted.

A `QueueClient` is a `PredictClient` with the operations of a queue. Discovery, balancing, health, pools, deadlines and
the retry budget work as in `PredictClient`.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any
from uuid import UUID

from eas_tw.client import PredictClient
from eas_tw.errors import ConfigError
from eas_tw.process_bound import ProcessBound
from eas_tw.queue.context import QueueContext
from eas_tw.queue.operations import QueueOperations
from eas_tw.queue.wire import check_identity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from twisted.web.iweb import IAgent

    from eas_tw.config import ClientConfig
    from eas_tw.queue.watcher import Watcher
    from eas_tw.queue.wire import Identity
    from eas_tw.target import GivenInstance

DEFAULT_GROUP = "eas"
SINK = "/sink"
"""The path of the output queue, relative to the path of the input queue."""


class QueueClient(QueueOperations, PredictClient):
    """A client of one queue service.

        async with QueueClient(endpoint, "qservice", token=token, reactor=reactor) as queue:
            put = await queue.put({"prompt": "a cat"})
            (frame,) = await queue.sink().get(request_id=put.request_id, timeout_s=60)

    Args:
        endpoint: The endpoint, as for `PredictClient`.
        service_name: The queue's name, as `service` or `group/service`.
        custom_url: The complete URL of the queue, instead of endpoint and name.
        token: The service's token, which is sent without a signature; empty for none.
        user: The id of this consumer; `None` for a random one. When a consumer starts a watch again with the same id,
            the service sends the frames again that the consumer has not committed.
        group: The group of this consumer. The service sends each frame to every group, and in each group to one
            consumer.
        endpoint_type: As for `PredictClient`.
        instances: As for `PredictClient`.
        reactor: As for `PredictClient`.
        config: As for `PredictClient`; `auth` has no effect.
        agent: As for `PredictClient`. A watch through an agent needs `queue_watch="http"`.
        wall_clock: As for `PredictClient`.

    Raises:
        ConfigError: An argument is wrong.
    """

    def __init__(  # noqa: PLR0913  the arguments of PredictClient, and two more
        self,
        endpoint: str = "",
        service_name: str = "",
        custom_url: str = "",
        *,
        token: str = "",
        user: str | None = None,
        group: str = DEFAULT_GROUP,
        endpoint_type: str | None = None,
        instances: Iterable[GivenInstance] | None = None,
        reactor: Any = None,
        config: ClientConfig | None = None,
        agent: IAgent | None = None,
        wall_clock: Callable[[], float] | None = None,
    ) -> None:
        super().__init__(
            endpoint,
            service_name,
            custom_url,
            token=token,
            endpoint_type=endpoint_type,
            instances=instances,
            reactor=reactor,
            config=config,
            agent=agent,
            wall_clock=wall_clock,
        )
        self._identity: Identity
        self.set_identity(user, group)
        self._queue_context: QueueContext | None = None

    def __repr__(self) -> str:
        return super().__repr__().replace("<PredictClient", "<QueueClient", 1)

    def set_identity(self, user: str | None = None, group: str = DEFAULT_GROUP) -> None:
        """Set the user (`None` for a random one) and the group of this consumer. Call it before `init`."""
        self._before_init("identity")
        self._identity = check_identity(_random_user(self.config) if user is None else user, group)

    def set_custom_url(self, custom_url: str) -> None:
        """Set the complete URL of the queue, instead of endpoint and name. Call it before `init`."""
        self._aim("custom_url", custom_url=custom_url)

    def sink(self) -> SinkQueue:
        """Return the output queue of the same service, which uses this client's connections and is closed with it."""
        return SinkQueue(self)

    @property
    def identity(self) -> Identity:
        """The user and the group of this consumer."""
        return self._identity

    @property
    def queue_name(self) -> str:
        """The name of the queue service; without a name, the `custom_url`."""
        return self.service_name or self._target.custom_url

    def context_for(self, what: str) -> QueueContext:
        """Return the context that the operations of this queue and its sink share.

        Args:
            what: The operation, for the error message.

        Raises:
            ClientClosed: The client is closed.
            NoInstances: `init` has not been called.
            ConfigError: The call is not made in the reactor thread, or a watch over WebSocket would bypass the agent.
        """
        if self._queue_context is None or not self._is_usable():
            raise self._unusable(what)
        has_proxy = self._agent is not None and self._target.is_gateway
        if what == "watch" and has_proxy and self.config.queue_watch == "websocket":
            raise ConfigError('a watch through an agent needs ClientConfig(queue_watch="http")')
        return self._queue_context

    _context_for = context_for

    @property
    def watchers(self) -> list[Watcher]:
        """The watchers of the queue and its sink that are not closed."""
        return [] if self._queue_context is None else list(self._queue_context.watchers)

    def _watchers(self) -> list[Watcher]:
        return self.watchers

    def _open(self) -> None:
        super()._open()
        if self._runtime is not None:
            self._queue_context = QueueContext(
                self._runtime,
                self._config,
                reactor=self._shared.reactor,
                offload=self._offload,
                builder=self._request_builder,
                path=self._target.path.rstrip("/"),
                identity=self._identity,
                record=self._record,
            )

    async def _close(self) -> None:
        if self._queue_context is not None:
            await self._queue_context.close()
        await super()._close()


class SinkQueue(ProcessBound, QueueOperations):
    """The output queue of a queue service, with the operations of `QueueClient`.

    Args:
        client: The client of the input queue, whose connections are used.
    """

    _suffix = SINK

    def __init__(self, client: QueueClient) -> None:
        self._client = client

    def __repr__(self) -> str:
        return f"<SinkQueue of {self._client!r}>"

    @property
    def queue_name(self) -> str:
        """The name of the input queue, followed by `/sink`."""
        return self._client.queue_name + SINK

    def _context_for(self, what: str) -> QueueContext:
        return self._client.context_for(what)

    def _watchers(self) -> list[Watcher]:
        return self._client.watchers


def _random_user(config: ClientConfig) -> str:
    rng = Random(None if config.seed is None else f"{config.seed}/user")  # noqa: S311  an id, not a secret
    return str(UUID(int=rng.getrandbits(128), version=4))
