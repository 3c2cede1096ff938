"""What a program told a client, remembered: for adapters whose client is made later than its settings, or made again.

A blocking client is made anew in a forked child, an asyncio client when a loop runs. Every setting is checked at once,
on a client that is thrown away if need be. Listeners are remembered too, so that metrics and traces may be set up
before the client is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any

from attrs import define
from twisted.internet.task import Clock

from eas_tw import ClientConfig, PredictClient
from eas_tw.process_bound import ProcessBound
from eas_tw.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.defer import Deferred
    from twisted.web.iweb import IAgent

    from eas_tw import Instance
    from eas_tw.telemetry.counters import Counters
    from eas_tw.telemetry.events import Event

    Predict = Callable[..., Deferred[Any]]
    Wrap = Callable[[PredictClient, Predict], Predict]


@define(eq=False)
class _Listening:
    """A listener, and how the client that it hears now is told to stop."""

    listener: Callable[[Event], None]
    stop: Callable[[], None] | None = None


class DeferredSettings(ProcessBound):
    """Arguments and setters of `eas_tw.PredictClient`, but for the reactor. They raise `ConfigError`, as there.

    An adapter inherits the setters, and says in `_current_client` which client must hear of them now.
    """

    _predict: Predict

    def __init__(
        self,
        endpoint: str = "",
        service_name: str = "",
        custom_url: str = "",
        *,
        token: str = "",
        endpoint_type: str | None = None,
        instances: Iterable[Any] | None = None,
        config: ClientConfig | None = None,
        agent: IAgent | None = None,
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
        }
        self._applied: dict[str, tuple[Any, ...]] = {}
        self._wraps: tuple[Wrap, ...] = ()
        self._listening: list[_Listening] = []
        self._lock = Lock()  # of those two and the client: a program may watch it from any thread
        self._client: PredictClient | None = None
        self._make(Clock())

    def set_endpoint(self, endpoint: str) -> None:
        """Set the endpoint; before `init`."""
        self._apply("set_endpoint", endpoint)

    def set_service_name(self, service_name: str) -> None:
        """Set the service; before `init`."""
        self._apply("set_service_name", service_name)

    def set_endpoint_type(self, endpoint_type: str) -> None:
        """Set the endpoint type; before `init`."""
        self._apply("set_endpoint_type", endpoint_type)

    def set_token(self, token: str) -> None:
        """Set the token; applies to the next call."""
        self._apply("set_token", token)

    def set_content_type(self, content_type: str) -> None:
        """Set the Content-Type of requests; applies to the next call."""
        self._apply("set_content_type", content_type)

    def add_extra_headers(self, headers: Mapping[str, str]) -> None:
        """Send these headers with every request from now on."""
        self._apply("add_extra_headers", dict(headers) if isinstance(headers, Mapping) else headers)

    def set_retry_count(self, count: int) -> None:
        """Set how many attempts a call may take, ≥ 1; before `init`."""
        self._apply("set_retry_count", count)

    def set_max_connection_count(self, count: int) -> None:
        """Set the most connections to one instance, ≥ 1; before `init`."""
        self._apply("set_max_connection_count", count)

    def set_timeout(self, timeout: float) -> None:
        """Set the deadline of calls in **milliseconds**; applies to the next call."""
        self._apply("set_timeout", timeout)

    # -- what it shows

    @property
    def service_name(self) -> str:
        """The service, as `service` or `group/service`; empty while it is not set, and with a custom URL."""
        return self._current_client().service_name

    @property
    def instances(self) -> tuple[Instance, ...]:
        """The list of instances in the cache; empty for the gateway."""
        return self._current_client().instances

    @property
    def ejected(self) -> tuple[Instance, ...]:
        """The instances that get no calls for a while because they failed."""
        return self._current_client().ejected

    @property
    def counters(self) -> Counters:
        """What the client did since it was made; in a forked child, since the fork."""
        return self._current_client().counters

    @property
    def discovery(self) -> Any:
        """Polls, age of the list, rejections by reason."""
        return self._current_client().discovery

    @property
    def is_closed(self) -> bool:
        """Whether it was closed."""
        return self._current_client().is_closed

    def listen(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Hear of everything that happens, as values of `eas_tw.telemetry.events`; before or after `init`.

        Args:
            listener: Called with each event, on the thread of the client's reactor; what it raises is logged.

        Returns:
            Call it to hear no more.
        """
        listening = _Listening(listener)
        self._current_client()  # in a forked child this makes the client, and a lock that nobody holds
        with self._lock:
            self._listening.append(listening)
            if self._client is not None:
                listening.stop = self._client.listen(listener)
        return partial(self._stop_listening, listening)

    def wrap_predict(self, wrap: Wrap) -> None:
        """Send calls through a wrapper of `predict`, before or after `init`; for instrumentation.

        Args:
            wrap: Called with the `eas_tw.PredictClient` underneath and its `predict`, once for each such client.
                Returns what is called instead, on the reactor's thread, in the caller's context (`contextvars`).
        """
        self._current_client()
        with self._lock:
            self._wraps = (*self._wraps, wrap)
            if self._client is not None:
                self._predict = wrap(self._client, self._predict)

    # -- for those who inherit

    def _make(self, reactor: Any) -> PredictClient:
        """A client on this reactor, told everything so far."""
        arguments = {name: _revealed(value) for name, value in self._arguments.items()}
        client = PredictClient(**arguments, reactor=reactor)
        for what, values in list(self._applied.items()):
            getattr(client, what)(*map(_revealed, values))
        return client

    def _start(self, reactor: Any) -> PredictClient:
        """Make the client that is used from now on: told everything, heard by all listeners, wrapped."""
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
        """The client that must hear of a setting now; made for the purpose while there is none."""
        return self._client or self._make(Clock())

    def _apply(self, what: str, *arguments: Any) -> None:
        getattr(self._current_client(), what)(*arguments)
        self._remember(what, *arguments)

    def _remember(self, what: str, *arguments: Any) -> None:
        """Keep the last word of each kind; a token may be renewed every minute for months."""
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
    """The rows, of which a client may be made several times; what cannot be read is refused by the client."""
    return tuple(instances) if isinstance(instances, Iterable) else instances


def _hidden(value: Any) -> Any:
    """A token as it is kept; what is no token is refused by the client."""
    return Secret(value) if isinstance(value, str) else value


def _revealed(value: Any) -> Any:
    return value.reveal() if isinstance(value, Secret) else value
