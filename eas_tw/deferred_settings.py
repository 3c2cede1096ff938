"""Recorded settings, for adapters that create their inner `eas_tw.PredictClient` after the settings, or more than once.

An asyncio client creates its inner client when a loop runs; a blocking client creates another inner client in a forked
child. Each setting is checked immediately, on a temporary client if there is no inner client yet. Listeners and
wrappers of `predict` are recorded too, so that metrics and traces can be set up before `init`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any

from attrs import define
from twisted.internet.task import Clock

from eas_tw import ClientConfig, PredictClient
from eas_tw.process_bound import ProcessBound
from eas_tw.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from twisted.internet.defer import Deferred
    from twisted.web.iweb import IAgent

    from eas_tw import Instance
    from eas_tw.secret import TokenSource
    from eas_tw.telemetry.counters import Counters
    from eas_tw.telemetry.events import Event

    Predict = Callable[..., Deferred[Any]]
    Wrap = Callable[[PredictClient, Predict], Predict]


@define(eq=False)
class _Listening:
    """A listener, and the function that removes it from the current inner client (`None` if there is no client)."""

    listener: Callable[[Event], None]
    stop: Callable[[], None] | None = None


class DeferredSettings(ProcessBound):
    """Base class of adapters, with the arguments and setters of `eas_tw.PredictClient` except the reactor.

    The constructor and the setters raise `ConfigError`, as the constructor and setters of `eas_tw.PredictClient` do. A
    subclass may override `_current_client` to choose the inner client that setters apply to, and `_client_class`, whose
    constructor may have more arguments.
    """

    _predict: Predict
    _client_class: type[PredictClient] = PredictClient
    """The class of the inner client."""

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
        agent: IAgent | None = None,
        **more: Any,
    ) -> None:
        self._arguments: dict[str, Any] = {
            "endpoint": endpoint,
            "service_name": service_name,
            "custom_url": custom_url,
            "token": _hidden(token),
            "endpoint_type": endpoint_type,
            "instances": _kept(instances),
            "config": config,
            "agent": agent,
            **more,
        }
        self._applied: dict[str, tuple[Any, ...]] = {}
        self._wraps: tuple[Wrap, ...] = ()
        self._listening: list[_Listening] = []
        self._lock = Lock()  # guards _wraps, _listening and _client: listen() may be called on any thread
        self._client: PredictClient | None = None
        self._make(Clock())  # creates a client only to check the arguments

    def set_endpoint(self, endpoint: str) -> None:
        """Set the endpoint. Call it before `init`."""
        self._apply("set_endpoint", endpoint)

    def set_service_name(self, service_name: str) -> None:
        """Set the service's name. Call it before `init`."""
        self._apply("set_service_name", service_name)

    def set_endpoint_type(self, endpoint_type: str) -> None:
        """Set the endpoint type. Call it before `init`."""
        self._apply("set_endpoint_type", endpoint_type)

    def set_token(self, token: TokenSource) -> None:
        """Set the token, or the function that returns it, for calls from now on."""
        self._apply("set_token", token)

    def set_content_type(self, content_type: str) -> None:
        """Set the Content-Type of requests for calls from now on."""
        self._apply("set_content_type", content_type)

    def add_extra_headers(self, headers: Mapping[str, str]) -> None:
        """Add headers to every request from now on; a header that was added before with the same name is replaced."""
        self._apply("add_extra_headers", dict(headers) if isinstance(headers, Mapping) else headers)

    def set_retry_count(self, count: int) -> None:
        """Set the maximum number of attempts of a call, ≥ 1. Call it before `init`."""
        self._apply("set_retry_count", count)

    def set_max_connection_count(self, count: int) -> None:
        """Set the maximum number of connections to one instance, ≥ 1. Call it before `init`."""
        self._apply("set_max_connection_count", count)

    def set_timeout(self, timeout: float) -> None:
        """Set the deadline of calls in **milliseconds**, the unit of the official SDK, for calls from now on."""
        self._apply("set_timeout", timeout)

    # -- properties

    @property
    def service_name(self) -> str:
        """The service's name, as `service` or `group/service`; empty if it is not set, or if a custom URL is set."""
        return self._current_client().service_name

    @property
    def instances(self) -> tuple[Instance, ...]:
        """The cached list of instances; empty for a gateway."""
        return self._current_client().instances

    @property
    def ejected(self) -> tuple[Instance, ...]:
        """The instances that are ejected at the moment."""
        return self._current_client().ejected

    @property
    def counters(self) -> Counters:
        """The client's counters since it was created; in a forked child, since the fork."""
        return self._current_client().counters

    @property
    def discovery(self) -> Any:
        """The number of polls, the age of the list, and the rejected replies by reason."""
        return self._current_client().discovery

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._current_client().is_closed

    def listen(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Call a function with each event of the client; `eas_tw.telemetry.events` has the event classes.

        This method may be called before or after `init`.

        Args:
            listener: A function of one event. It is called on the thread of the client's reactor; an exception that it
                raises is logged.

        Returns:
            A function that removes the listener.

        Raises:
            ConfigError: `listener` is not callable.
        """
        # In a forked child, `_current_client` replaces the client and the lock, which a thread of the parent may hold
        # at the fork.
        current = self._current_client()
        with self._lock:
            # Another thread may have made the client meanwhile. Without a client, this call only checks the argument: a
            # later inner client could not be made with a wrong listener.
            stop = (self._client or current).listen(listener)
            listening = _Listening(listener, None if self._client is None else stop)
            self._listening.append(listening)
        return partial(self._stop_listening, listening)

    def wrap_predict(self, wrap: Wrap) -> None:
        """Wrap the `predict` of the inner client, for instrumentation; call this before or after `init`.

        Args:
            wrap: A function of an inner `eas_tw.PredictClient` and its `predict`, called once for each inner client. It
                returns the function that is called instead of `predict`, on the reactor's thread, in the caller's
                context (`contextvars`).
        """
        self._current_client()  # replaces client and lock in a forked child, as in `listen`
        with self._lock:
            if self._client is not None:
                self._predict = wrap(self._client, self._predict)
            self._wraps = (*self._wraps, wrap)

    # -- for subclasses

    def _make(self, reactor: Any) -> PredictClient:
        """Create a client on a reactor, and apply the recorded arguments and settings."""
        arguments = {name: _revealed(value) for name, value in self._arguments.items()}
        client = self._client_class(**arguments, reactor=reactor)
        for what, values in list(self._applied.items()):
            getattr(client, what)(*map(_revealed, values))
        return client

    def _start(self, reactor: Any) -> PredictClient:
        """Create the inner client, and apply the recorded settings, listeners and wrappers."""
        client = self._make(reactor)
        with self._lock:
            for listening in self._listening:
                listening.stop = client.listen(listening.listener)
            self._predict = client.predict
            for wrap in self._wraps:
                self._predict = wrap(client, self._predict)
            self._client = client
        return client

    def _current_client(self) -> PredictClient:
        """Return the inner client, or a temporary client that only checks settings, if there is no inner client yet."""
        return self._client or self._make(Clock())

    def _apply(self, what: str, *arguments: Any) -> None:
        getattr(self._current_client(), what)(*arguments)
        self._remember(what, *arguments)

    def _remember(self, what: str, *arguments: Any) -> None:
        """Record a setting in place of its earlier value, so that a setting that is often renewed uses no more memory.

        Headers are merged, because each `add_extra_headers` adds to the earlier headers.
        """
        before = self._applied.pop(what, None)
        if what == "add_extra_headers" and before is not None:
            arguments = ({**before[0], **arguments[0]},)
        self._applied[what] = tuple(map(_hidden, arguments)) if what == "set_token" else arguments

    def _stop_listening(self, listening: _Listening) -> None:
        with self._lock:
            if listening in self._listening:
                self._listening.remove(listening)
            if listening.stop is not None:
                listening.stop()


def _kept(instances: Any) -> Any:
    """Copy the instances, because several clients are created from them; the client rejects a value of another type."""
    try:
        return tuple(instances)
    except TypeError:
        return instances


def _hidden(value: Any) -> Any:
    """Wrap a token in a `Secret`; the client rejects a value of another type."""
    return Secret(value) if isinstance(value, str) else value


def _revealed(value: Any) -> Any:
    return value.reveal() if isinstance(value, Secret) else value
