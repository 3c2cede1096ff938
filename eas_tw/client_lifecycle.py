"""`ClientLifecycle`, the base class of `PredictClient` with its settings, `init`, `close` and properties.

The calls are in `eas_tw.client`.
"""

from __future__ import annotations

import warnings
from threading import get_ident
from time import monotonic, time  # noqa: TID251  the client passes its clocks to all other modules
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakKeyDictionary

from attrs import evolve
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.logger import Logger

from eas_tw.body.compression import check_codec
from eas_tw.config import ENDPOINT_TYPE_DEFAULT, ENDPOINT_TYPE_FIXED, ClientConfig
from eas_tw.display import shown
from eas_tw.errors import ClientClosed, ConfigError, NoInstances
from eas_tw.net.discovery import DiscoveryStatus
from eas_tw.net.monotonic import is_real, monotonic_view
from eas_tw.net.offload import Offload
from eas_tw.policy.balancers import BadBalancerError
from eas_tw.process_bound import ProcessBound
from eas_tw.ranges import COUNT, checked, milliseconds
from eas_tw.reading import ResponseReader
from eas_tw.request_builder import RequestBuilder
from eas_tw.runtime import ClientRuntime, SharedResources
from eas_tw.target import ClientTarget, fixed_list
from eas_tw.telemetry.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType

    from twisted.web.iweb import IAgent

    from eas_tw.net.pool import Reactor
    from eas_tw.policy.instance import Instance
    from eas_tw.secret import TokenSource
    from eas_tw.target import GivenInstance
    from eas_tw.telemetry.events import Event

_log = Logger(namespace="eas_tw.client")


class ClientLifecycle(ProcessBound):
    """The part of `PredictClient` that makes no calls; `PredictClient` documents the arguments."""

    def __init__(  # noqa: PLR0913  the contract's constructor; all but three are keywords
        self,
        endpoint: str = "",
        service_name: str = "",
        custom_url: str = "",
        *,
        token: TokenSource = "",
        endpoint_type: str | None = None,
        instances: Iterable[GivenInstance] | None = None,
        reactor: Any = None,
        config: ClientConfig | None = None,
        agent: IAgent | None = None,
        wall_clock: Callable[[], float] | None = None,
    ) -> None:
        kind: Any = endpoint_type
        # Not `endpoint_type in (None, "")`: a wrong value, such as an array, may raise when it is compared.
        if endpoint_type is None or (isinstance(endpoint_type, str) and not endpoint_type):
            kind = ENDPOINT_TYPE_DEFAULT if instances is None else ENDPOINT_TYPE_FIXED
        self._target = ClientTarget(
            endpoint, service_name, custom_url, kind, fixed_list(() if instances is None else instances)
        )
        self._reactor: Reactor = reactor if reactor is not None else _global_reactor()
        self._config = ClientConfig() if config is None else config
        self._agent = agent
        _check_parts(self._reactor, self._config, agent)
        self._wall_clock = wall_clock or (time if is_real(self._reactor) else self._reactor.seconds)
        self._shared = SharedResources(monotonic_view(self._reactor, monotonic))
        self._request_builder = RequestBuilder(self._wall_clock)
        self._record = Record(self._shared.reactor.seconds, self._shared.reactor.callLater)
        self.counters = self._record.counters
        self._offload = Offload(self._shared.reactor)
        self._runtime: ClientRuntime | None = None
        self._thread = 0
        self._parent: ClientLifecycle | None = None
        # The children that are not closed. The key is weak, so that a child without `init`, which has nothing to close,
        # can be garbage-collected. `_open` sets the value to the child, which keeps it alive from its `init` on.
        self._children: WeakKeyDictionary[ClientLifecycle, ClientLifecycle | None] = WeakKeyDictionary()
        self._closing: Deferred[None] | None = None
        self.set_token(token)

    def __repr__(self) -> str:
        state = "closed" if self._closing else "ready" if self.is_ready else "waiting" if self._runtime else "new"
        target = self._target
        return (
            f"<PredictClient {target.service or '?'} at {target.custom_url or target.endpoint or '?'} "
            f"{target.endpoint_type.lower()} {state} instances={len(self.instances)}>"
        )

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

    # -- setters of the official SDK

    def set_endpoint(self, endpoint: str) -> None:
        """Set the endpoint. Call it before `init`."""
        self._aim("endpoint", endpoint=endpoint)

    def set_service_name(self, service_name: str) -> None:
        """Set the service's name. Call it before `init`."""
        self._aim("service_name", service=service_name)

    def set_endpoint_type(self, endpoint_type: str) -> None:
        """Set the endpoint type. Call it before `init`."""
        self._aim("endpoint_type", endpoint_type=endpoint_type)

    def set_token(self, token: TokenSource) -> None:
        """Set the token, or the function that returns it, for calls from now on."""
        self._request_builder.set_token(token)

    def set_content_type(self, content_type: str) -> None:
        """Set the Content-Type of requests for calls from now on."""
        self._request_builder.set_content_type(content_type)

    def add_extra_headers(self, headers: Mapping[str, str]) -> None:
        """Add headers to every request from now on; a header that was added before with the same name is replaced."""
        self._request_builder.add_headers(headers)

    def set_retry_count(self, count: int) -> None:
        """Set the maximum number of attempts of a call, ≥ 1. Call it before `init`."""
        self._before_init("retry_count")
        self._config = self._config.but(attempts=checked(COUNT, "retry_count", count))

    def set_max_connection_count(self, count: int) -> None:
        """Set the maximum number of connections to one instance, ≥ 1. Call it before `init`."""
        self._before_init("max_connection_count")
        count = checked(COUNT, "max_connection_count", count)
        self._config = self._config.but(max_connections_per_instance=count)

    def set_timeout(self, timeout_ms: float) -> None:
        """Set the deadline of calls in **milliseconds**, the unit of the official SDK, for calls from now on."""
        self._config = self._config.but(timeout_s=milliseconds("timeout, in milliseconds,", timeout_ms))

    # -- lifecycle

    def init(self) -> Deferred[Self]:
        """Start discovery.

        Returns:
            A Deferred that

            1. fires with the client when the first valid list of instances is in the cache; immediately for a gateway,
               for a fixed list, and if there is a list already;
            2. fails with `DiscoveryError` after `init_timeout_s`; polling continues, and `init` may be called again;
            3. fails with `ConfigError` if a setting is missing or wrong;
            4. fails with `ClientClosed` if the client is closed.
        """
        return Deferred.fromCoroutine(self._init())

    def close(self) -> Deferred[None]:
        """Close the client and its children.

        New calls fail immediately. Calls in flight may finish within `drain_timeout_s`, then they are cancelled.
        Discovery stops. A second call of `close` waits until the first call has finished.

        Returns:
            A Deferred that fires when every socket has reported `connectionLost`.
        """
        if self._closing is None:
            self._closing = Deferred()  # set first, because a callback that runs during close() may call close() again
            Deferred.fromCoroutine(self._close()).addErrback(_log_bug).addCallback(self._forget)
        return _tell(self._closing)

    destroy = close

    # -- properties

    @property
    def is_ready(self) -> bool:
        """Whether the client has instances, or a gateway, to send calls to."""
        return self._runtime is not None and self._runtime.is_ready

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called; calls in flight may still be running."""
        return self._closing is not None

    @property
    def service_name(self) -> str:
        """The service's name, as `service` or `group/service`; empty if it is not set, or if a custom URL is set."""
        return self._target.service

    @property
    def instances(self) -> tuple[Instance, ...]:
        """The cached list of instances; empty for a gateway."""
        return self._runtime.instances if self._runtime else ()

    @property
    def ejected(self) -> tuple[Instance, ...]:
        """The instances that are ejected at the moment."""
        return self._runtime.ejected if self._runtime else ()

    @property
    def discovery(self) -> DiscoveryStatus:
        """The number of polls, the age of the list, and the rejected replies by reason."""
        return self._runtime.discovery if self._runtime else DiscoveryStatus()

    @property
    def reactor(self) -> Any:
        """The reactor that was given to the client, or the global reactor."""
        return self._reactor

    @property
    def clock(self) -> Any:
        """A wrapper of the reactor whose timers use elapsed time, and ignore steps of the system clock."""
        return self._shared.reactor

    @property
    def wall_clock(self) -> Callable[[], float]:
        """The function that returns seconds since the epoch, as passed to the client or chosen by it."""
        return self._wall_clock

    @property
    def config(self) -> ClientConfig:
        """The current settings."""
        return self._config

    @property
    def _family(self) -> SharedResources:
        """Deprecated alias of `_shared`."""
        warnings.warn("PredictClient._family is deprecated: use _shared", DeprecationWarning, stacklevel=2)
        return self._shared

    def connections(self, instance: Instance) -> int:
        """Return the number of established connections to an instance."""
        return self._runtime.connections(instance) if self._runtime else 0

    def listen(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Call a function with each event of the client; `eas_tw.telemetry.events` has the event classes.

        Args:
            listener: A function of one event. It is called on the reactor's thread; an exception that it raises is
                logged.

        Returns:
            A function that removes the listener.

        Raises:
            ConfigError: `listener` is not callable.
        """
        if not callable(listener):
            raise ConfigError(f"a listener must be a function of one event, got {shown(listener)}")
        return self._record.listen(listener)

    # -- internals

    async def _init(self) -> Self:
        if self._closing is not None:
            raise ClientClosed("the client is closed; make a new one")
        if self._runtime is None:
            self._open()
        if self._runtime is not None:
            await self._runtime.ready()
        return self

    def _open(self) -> None:
        """Create the runtime from the current target and settings, which cannot change afterwards."""
        config, target = self._config, self._target
        target.check_complete()
        for codec in filter(None, (config.compress, config.decompress)):
            check_codec(codec)
        self._thread = get_ident()
        self._reader = ResponseReader(config, self._offload)
        self._record.service = target.service
        auth = "token" if target.custom_url and config.auth == "signature" else config.auth
        self._request_builder.address(target.path, auth=auth)
        try:
            self._runtime = ClientRuntime(
                self._shared.reactor,
                config,
                target,
                shared=self._shared,
                record=self._record,
                agent=self._agent,
                wall_clock=self._wall_clock,
            )
        except BadBalancerError as error:
            raise ConfigError(str(error)) from error.__cause__
        if self._parent is not None:
            self._parent._children[self] = self  # noqa: SLF001  the parent is of the same class
        self._runtime.start()

    def _aim(self, what: str, **parts: Any) -> None:
        self._before_init(what)
        self._target = evolve(self._target, **parts)

    def _before_init(self, what: str) -> None:
        if self._runtime is not None:
            raise ConfigError(f"{what} must be set before init()")

    def _is_usable(self) -> bool:
        """Return whether a call may begin: after `init`, before `close`, and in the reactor's thread."""
        return self._runtime is not None and self._closing is None and get_ident() == self._thread

    def _unusable(self, what: str) -> Exception:
        if self._closing is not None:
            return ClientClosed("the client is closed")
        if self._runtime is None:
            return NoInstances("init() has not been called: call it, and wait for it, before the first predict()")
        return ConfigError(
            f"{what}() was called outside the reactor's thread: use reactor.callFromThread, "
            "blockingCallFromThread, or eas_tw.blocking"
        )

    async def _close(self) -> None:
        """Close the children and the runtime at the same time, and wait for all of them even if one fails."""
        closing = [maybeDeferred(child.close) for child in list(self._children)]
        if self._runtime is not None:
            closing.append(Deferred.fromCoroutine(self._runtime.close(ClientClosed("the client was closed"))))
        for succeeded, result in await DeferredList(closing, consumeErrors=True):
            if not succeeded:
                _log_bug(result)

    def _forget(self, _: object) -> None:
        """Remove the references to the parent and the listeners, which may outlive the client, and finish `close`."""
        parent, self._parent = self._parent, None
        if parent is not None:
            parent._children.pop(self, None)  # noqa: SLF001
        self._record.service = self._target.service
        self._record.closed()
        if self._closing is not None:
            self._closing.callback(None)


def _check_parts(reactor: Any, config: Any, agent: Any) -> None:
    """Check the types of the constructor's arguments, so that a mistake is reported before the first call."""
    if not callable(getattr(reactor, "callLater", None)) or not callable(getattr(reactor, "seconds", None)):
        raise ConfigError(f"reactor must be a Twisted reactor, got {shown(reactor)}")
    if not isinstance(config, ClientConfig):
        raise ConfigError(f"config must be a ClientConfig, got {shown(config)}")
    if agent is not None and not callable(getattr(agent, "request", None)):
        raise ConfigError(f"agent must have request(), as twisted.web.iweb.IAgent has, got {shown(agent)}")


def _log_bug(failure: Any) -> None:
    _log.failure("an unexpected exception while the client was closing", failure)


def _tell(event: Deferred[None]) -> Deferred[None]:
    """Return a new Deferred that fires when `event` fires; cancelling it does not affect other callers that wait."""
    own: Deferred[None] = Deferred()
    event.addCallback(lambda _: None if own.called else own.callback(None))
    return own


def _global_reactor() -> Reactor:
    """Import the global reactor. It is called only if no reactor was given, because the import installs a reactor."""
    from twisted.internet import reactor  # noqa: PLC0415, TID251

    return reactor  # type: ignore[return-value]
