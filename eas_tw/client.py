"""`PredictClient`: configuration in, Deferreds out. Wires the modules below and nothing more."""

from __future__ import annotations

import warnings
from threading import get_ident
from time import monotonic, time  # noqa: TID251  here, and passed on from here
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakKeyDictionary

from attrs import evolve
from twisted.internet.defer import Deferred, DeferredList, fail, maybeDeferred
from twisted.logger import Logger

from eas_tw.body.compression import check_codec, compressing
from eas_tw.body.request import as_body, as_request
from eas_tw.body.steps import begin
from eas_tw.config import ENDPOINT_TYPE_DEFAULT, ENDPOINT_TYPE_FIXED, ClientConfig
from eas_tw.display import shown
from eas_tw.errors import ClientClosed, ConfigError, NoInstances
from eas_tw.net.call import Call
from eas_tw.net.call_errors import awaitable_error
from eas_tw.net.discovery import DiscoveryStatus
from eas_tw.net.monotonic import is_real, monotonic_view
from eas_tw.net.offload import Offload
from eas_tw.net.stream_call import BodilessCall, Limits, StreamCall
from eas_tw.process_bound import ProcessBound
from eas_tw.ranges import COUNT, POSITIVE, checked, milliseconds
from eas_tw.reading import AnyStatusReader, ResponseReader, StreamReader
from eas_tw.request_builder import RequestBuilder, check_method
from eas_tw.response import PlainRequest, as_plain
from eas_tw.runtime import ClientRuntime, SharedResources
from eas_tw.streaming import OpeningStream, Stream
from eas_tw.target import ClientTarget, fixed_list
from eas_tw.telemetry.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType

    from twisted.web.iweb import IAgent

    from eas_tw.net.attempt import WireRequest
    from eas_tw.net.pool import Reactor
    from eas_tw.policy.instances import Instance
    from eas_tw.response import Response
    from eas_tw.target import GivenInstance
    from eas_tw.telemetry.events import Event

_log = Logger(namespace="eas_tw.client")


class PredictClient(ProcessBound):
    """Calls one service of PAI-EAS.

    Args:
        endpoint: The region's VPC endpoint for direct connections, such as
            `http://pai-eas-vpc.cn-shanghai.aliyuncs.com`; the gateway's address for the default type; a domain, or the
            URL of an address server, for VIPServer.
        service_name: `service` or `group/service`.
        custom_url: The whole URL that answers predictions, instead of endpoint and service; takes the token as it is.
        token: The service's token; empty for none.
        endpoint_type: `ENDPOINT_TYPE_DEFAULT` (gateway), `_DIRECT`, `_VIPSERVER` or `_FIXED`.
        instances: The list for `ENDPOINT_TYPE_FIXED`; giving it implies that type.
        reactor: Whose time and network to use; the global one when not given.
        config: The knobs.
        agent: Another way to reach the control plane and the gateway, such as a proxy.
        wall_clock: Seconds since the epoch, for the `Date` of signatures and the age of a list on disk. `None` for
            `time.time`, or for `reactor.seconds` on a reactor that has a time of its own, as in a test. Timers and
            deadlines go by elapsed time, whatever this clock says.

    Raises:
        ConfigError: An argument is wrong.
    """

    def __init__(  # noqa: PLR0913  the contract's constructor; all but three are keywords
        self,
        endpoint: str = "",
        service_name: str = "",
        custom_url: str = "",
        *,
        token: str = "",
        endpoint_type: str | None = None,
        instances: Iterable[GivenInstance] | None = None,
        reactor: Any = None,
        config: ClientConfig | None = None,
        agent: IAgent | None = None,
        wall_clock: Callable[[], float] | None = None,
    ) -> None:
        kind = endpoint_type or (ENDPOINT_TYPE_DEFAULT if instances is None else ENDPOINT_TYPE_FIXED)
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
        self._parent: PredictClient | None = None
        # Those that are not closed. The value keeps a child from its `init` on; one that was never opened has nothing
        # to close, and a program may just drop it.
        self._children: WeakKeyDictionary[PredictClient, PredictClient | None] = WeakKeyDictionary()
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

    # -- the official SDK's setters

    def set_endpoint(self, endpoint: str) -> None:
        """Set the endpoint; before `init`."""
        self._aim("endpoint", endpoint=endpoint)

    def set_service_name(self, service_name: str) -> None:
        """Set the service; before `init`."""
        self._aim("service_name", service=service_name)

    def set_endpoint_type(self, endpoint_type: str) -> None:
        """Set the endpoint type; before `init`."""
        self._aim("endpoint_type", endpoint_type=endpoint_type)

    def set_token(self, token: str) -> None:
        """Set the token; applies to the next call."""
        self._request_builder.set_token(token)

    def set_content_type(self, content_type: str) -> None:
        """Set the Content-Type of requests; applies to the next call."""
        self._request_builder.set_content_type(content_type)

    def add_extra_headers(self, headers: Mapping[str, str]) -> None:
        """Send these headers with every request from now on; a name given before is replaced."""
        self._request_builder.add_headers(headers)

    def set_retry_count(self, count: int) -> None:
        """Set how many attempts a call may take, ≥ 1; before `init`."""
        self._before_init("retry_count")
        self._config = self._config.but(attempts=checked(COUNT, "retry_count", count))

    def set_max_connection_count(self, count: int) -> None:
        """Set the most connections to one instance, ≥ 1; before `init`."""
        self._before_init("max_connection_count")
        count = checked(COUNT, "max_connection_count", count)
        self._config = self._config.but(max_connections_per_instance=count)

    def set_timeout(self, timeout_ms: float) -> None:
        """Set the deadline of calls in **milliseconds**, as the official SDK has it; applies to the next call."""
        self._config = self._config.but(timeout_s=milliseconds("timeout, in milliseconds,", timeout_ms))

    # -- life

    def init(self) -> Deferred[PredictClient]:
        """Start discovery.

        Returns:
            Fires with the client once the first good list is in the cache; at once for the gateway, a fixed list, and
            when the list is there already. Fails with `DiscoveryError` after `init_timeout_s` (polling goes on, and
            `init` may be called again), with `ConfigError`, or with `ClientClosed`.
        """
        return Deferred.fromCoroutine(self._init())

    def close(self) -> Deferred[None]:
        """Take no more calls, let those in flight finish within `drain_timeout_s`, then cancel them; stop discovery.

        Returns:
            Fires when every socket has reported its loss. Closing twice is fine. A client closes its children.
        """
        if self._closing is None:
            self._closing = Deferred()  # first: what is called back while closing may close again
            Deferred.fromCoroutine(self._close()).addErrback(_log_bug).addCallback(self._forget)
        return _tell(self._closing)

    destroy = close

    def child(self, service_name: str, *, token: str = "") -> PredictClient:
        """Make a client of another service at the same endpoint, with the same settings and connections.

        Args:
            service_name: `service` or `group/service`. Clients of the same service share one retry budget.
            token: The service's token; empty for none.

        Returns:
            The client; it wants its own `init`, and may be closed by itself. Closing the parent closes it.

        Raises:
            ClientClosed: This client is closed.
            ConfigError: `service_name` or `token` is wrong.
        """
        if self._closing is not None:
            raise ClientClosed("the client is closed and makes no more children; make a new one")
        child = PredictClient(
            token=token, reactor=self._reactor, config=self._config, agent=self._agent, wall_clock=self._wall_clock
        )
        child._target = evolve(self._target, service=service_name)
        child._shared = self._shared
        child._parent = self
        self._children[child] = None
        child._offload = self._offload
        return child

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
    ) -> Deferred[Any]:
        """Call the service.

        Args:
            request: A request of this package, `str`, `bytes` or any buffer, or any object with `to_string()` and
                `parse_response(bytes)`, such as those of the official SDK. If it has `parse_answer(headers, bytes)`
                too, that is called instead; names of headers are in lower case.
            timeout_s: The call's one deadline in seconds, > 0; `None` for the client's.
            path: Below the service's path, percent-encoded.
            query: Fields, or an encoded query.
            headers: Of this call only.
            idempotent: Whether an instance may get the call although another already had it. Predictions usually are;
                if not, only attempts that provably never reached an instance are tried again.

        Returns:
            Fires with the response. Fails with a `RequestFailed` (`DeadlineExceeded`, `StatusError`,
            `ConnectionFailed`, `LocalResourceError`, `Overloaded`, `ProtocolViolation`) that has the attempts; with
            `BodyError` for what cannot be encoded or parsed; with `ConfigError`, `NoInstances` or `ClientClosed` before
            anything is sent.
            Cancelling it closes its connection.
        """
        runtime = self._runtime
        if runtime is None or self._closing is not None or get_ident() != self._thread:
            return fail(self._unusable("predict"))
        try:
            timeout_s = self._config.timeout_s if timeout_s is None else checked(POSITIVE, "timeout_s", timeout_s)
            request = as_request(request)
            body = request.to_string()
            if type(body) is not bytes:
                body = as_body(body)
            content_type = getattr(request, "content_type", None)
            preparing = None
            if self._config.compress is None:
                wire_request = self._request_builder.build(body, path, query, headers, content_type)
            else:
                wire_request, preparing = self._compressed(body, path, query, headers, content_type)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001  whatever is wrong with a request, the Deferred says it
            return fail(awaitable_error(error, "the request's to_string"))
        reader = ResponseReader(request, self._config, self._offload)
        call = Call(runtime.call_context, runtime.fleet, wire_request, reader, timeout_s, is_idempotent=idempotent)
        return call.start(preparing)

    def request(
        self,
        method: str,
        path: str = "",
        *,
        body: Any = b"",
        query: Mapping[str, str] | str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        idempotent: bool | None = None,
    ) -> Deferred[Response]:
        """Send a request of any method, and return whatever status the service answers with.

        Statuses are tried on another instance as those of `predict` are (`retry_on`); the last one is the result.

        Args:
            method: Such as `GET`; not `CONNECT`.
            path: Below the service's path, percent-encoded, such as `v1/models`.
            body: Bytes, any buffer, text (sent as UTF-8), or a dict or list (sent as JSON).
            query: Fields, or an encoded query.
            headers: Of this call only.
            timeout_s: The call's one deadline in seconds, > 0; `None` for the client's.
            idempotent: Whether an instance may get the call although another already had it; `None` for all methods
                but PATCH, since predictions are POSTed and usually are.

        Returns:
            Fires with the response. Fails as `predict` does, but never with `StatusError`. Cancelling it closes its
            connection.
        """
        runtime = self._runtime
        if runtime is None or self._closing is not None or get_ident() != self._thread:
            return fail(self._unusable("request"))
        try:
            method = check_method(method)
            timeout_s = self._config.timeout_s if timeout_s is None else checked(POSITIVE, "timeout_s", timeout_s)
            content, content_type = as_plain(body)
            wire_request, preparing = self._sealed(content, path, query, headers, content_type, method)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001  whatever is wrong with a request, the Deferred says it
            return fail(awaitable_error(error, "the request's body"))
        reader = AnyStatusReader(PlainRequest(content), self._config, self._offload)
        make = BodilessCall if method == "HEAD" else Call
        idempotent = method != "PATCH" if idempotent is None else idempotent
        call = make(runtime.call_context, runtime.fleet, wire_request, reader, timeout_s, is_idempotent=idempotent)
        return call.start(preparing)

    def stream(  # noqa: PLR0913  keywords, each with a default
        self,
        request: Any = b"",
        *,
        method: str = "POST",
        path: str = "",
        query: Mapping[str, str] | str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        idle_timeout_s: float | None = None,
        total_timeout_s: float | None = None,
        idempotent: bool | None = None,
        any_status: bool = False,
    ) -> OpeningStream:
        """Send a request and read its response while it arrives.

            async with client.stream({"model": "m", "stream": True}, path="v1/chat/completions") as stream:
                async for event in stream.events():
                    ...

        Args:
            request: A dict or list (sent as JSON), text, bytes, any buffer, or any object with `to_string()`.
            method: Such as `POST`.
            path: Below the service's path, percent-encoded.
            query: Fields, or an encoded query.
            headers: Of this call only.
            timeout_s: Until the response's head has come, in seconds, > 0, over all attempts and waiting in line;
                `None` for the client's.
            idle_timeout_s: The longest silence between two pieces; `None` for the client's `stream_idle_timeout_s`.
            total_timeout_s: The longest duration of the whole stream, from its head; `None` for no bound.
            idempotent: Whether an instance may get the call although another already had it; `None` for all methods
                but PATCH.
            any_status: Give a stream whatever the status is; otherwise one that is not from 200 to 299 is a
                `StatusError`.

        Returns:
            An async context manager of the `Stream`; `open()` gives a Deferred of it. Attempts, retries and hedges go
            on until the head of the response has come, and never after: what breaks later is `StreamBroken`.
        """

        def begin() -> Deferred[Stream]:
            runtime = self._runtime
            if runtime is None or self._closing is not None or get_ident() != self._thread:
                return fail(self._unusable("stream"))
            config = self._config
            try:
                verb = check_method(method)
                limits = Limits(
                    config.stream_buffer_bytes,
                    config.stream_idle_timeout_s
                    if idle_timeout_s is None
                    else checked(POSITIVE, "idle_timeout_s", idle_timeout_s),
                    None if total_timeout_s is None else checked(POSITIVE, "total_timeout_s", total_timeout_s),
                )
                head_s = config.timeout_s if timeout_s is None else checked(POSITIVE, "timeout_s", timeout_s)
                content, content_type = as_plain(request)
                wire_request, preparing = self._sealed(content, path, query, headers, content_type, verb)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:  # noqa: BLE001  whatever is wrong with a request, the Deferred says it
                return fail(awaitable_error(error, "the request's body"))
            may_repeat = verb != "PATCH" if idempotent is None else idempotent
            call = StreamCall(
                runtime.call_context, runtime.fleet, wire_request, limits, head_s, is_idempotent=may_repeat
            )
            call.reader = StreamReader(config, self._offload, whole=call.whole, takes_any_status=any_status)
            return call.start(preparing).addCallback(lambda body: Stream(body, call.answered_by))

        return OpeningStream(begin)

    # -- what it shows

    @property
    def is_ready(self) -> bool:
        """Whether calls have somewhere to go."""
        return self._runtime is not None and self._runtime.is_ready

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called; calls in flight may still be ending."""
        return self._closing is not None

    @property
    def service_name(self) -> str:
        """The service, as `service` or `group/service`; empty while it is not set, and with a custom URL."""
        return self._target.service

    @property
    def instances(self) -> tuple[Instance, ...]:
        """The list of instances in the cache; empty for the gateway."""
        return self._runtime.instances if self._runtime else ()

    @property
    def ejected(self) -> tuple[Instance, ...]:
        """The instances that get no calls for a while because they failed."""
        return self._runtime.ejected if self._runtime else ()

    @property
    def discovery(self) -> DiscoveryStatus:
        """Polls, age of the list, rejections by reason."""
        return self._runtime.discovery if self._runtime else DiscoveryStatus()

    @property
    def reactor(self) -> Any:
        """Whose time and network it uses."""
        return self._reactor

    @property
    def clock(self) -> Any:
        """The reactor's timers by elapsed time, which setting the machine's clock does not change."""
        return self._shared.reactor

    @property
    def wall_clock(self) -> Callable[[], float]:
        """Seconds since the epoch, as the client was given them."""
        return self._wall_clock

    @property
    def config(self) -> ClientConfig:
        """The settings in force."""
        return self._config

    @property
    def _family(self) -> SharedResources:
        """`_shared`, under its older name; deprecated."""
        warnings.warn("PredictClient._family is deprecated: use _shared", DeprecationWarning, stacklevel=2)
        return self._shared

    def connections(self, instance: Instance) -> int:
        """Established connections to an instance."""
        return self._runtime.connections(instance) if self._runtime else 0

    def listen(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Hear of everything that happens, as values of `eas_tw.telemetry.events`.

        Args:
            listener: Called with each event, on the reactor; what it raises is logged.

        Returns:
            Call it to hear no more.

        Raises:
            ConfigError: `listener` cannot be called.
        """
        if not callable(listener):
            raise ConfigError(f"a listener must be a function of one event, got {shown(listener)}")
        return self._record.listen(listener)

    # -- how it runs

    async def _init(self) -> PredictClient:
        if self._closing is not None:
            raise ClientClosed("the client is closed; make a new one")
        if self._runtime is None:
            self._open()
        if self._runtime is not None:
            await self._runtime.ready()
        return self

    def _open(self) -> None:
        """From here on the settings are in force; everything before this only set values."""
        config, target = self._config, self._target
        target.check_complete()
        for codec in filter(None, (config.compress, config.decompress)):
            check_codec(codec)
        self._thread = get_ident()
        self._record.service = target.service
        auth = "token" if target.custom_url and config.auth == "signature" else config.auth
        self._request_builder.address(target.path, auth=auth)
        self._runtime = ClientRuntime(
            self._shared.reactor,
            config,
            target,
            shared=self._shared,
            record=self._record,
            agent=self._agent,
            wall_clock=self._wall_clock,
        )
        if self._parent is not None:
            self._parent._children[self] = self  # noqa: SLF001  it is a client, too
        self._runtime.start()

    def _compressed(self, body: bytes, *others: Any) -> tuple[WireRequest, Deferred[WireRequest] | None]:
        """The request with its body compressed; a large one is compressed while the call waits for it."""
        steps = compressing(str(self._config.compress), body)
        content, is_done = begin(steps)
        if is_done:
            return self._request_builder.build(content or b"", *others), None
        placeholder = self._request_builder.build(b"", *others)  # what is wrong with the others is said before the work
        return placeholder, self._offload.run(steps).addCallback(self._request_builder.build, *others)

    def _aim(self, what: str, **parts: Any) -> None:
        self._before_init(what)
        self._target = evolve(self._target, **parts)

    def _before_init(self, what: str) -> None:
        if self._runtime is not None:
            raise ConfigError(f"{what} must be set before init()")

    def _sealed(self, body: bytes, *others: Any) -> tuple[WireRequest, Deferred[WireRequest] | None]:
        """The request with its body compressed, if bodies are; the others are those of `RequestBuilder.build`."""
        if self._config.compress is None or not body:
            return self._request_builder.build(body, *others), None
        return self._compressed(body, *others)

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
        """Close children and session at once, and wait for all of them, whichever fails."""
        closing = [maybeDeferred(child.close) for child in list(self._children)]
        if self._runtime is not None:
            closing.append(Deferred.fromCoroutine(self._runtime.close(ClientClosed("the client was closed"))))
        for succeeded, result in await DeferredList(closing, consumeErrors=True):
            if not succeeded:
                _log_bug(result)

    def _forget(self, _: object) -> None:
        """Let go of everything that outlives the client: the parent, and who listens."""
        parent, self._parent = self._parent, None
        if parent is not None:
            parent._children.pop(self, None)  # noqa: SLF001
        self._record.service = self._target.service
        self._record.closed()
        if self._closing is not None:
            self._closing.callback(None)


def _check_parts(reactor: Any, config: Any, agent: Any) -> None:
    """Objects of the wrong kind are said here and not deep below, at the first call."""
    if not callable(getattr(reactor, "callLater", None)) or not callable(getattr(reactor, "seconds", None)):
        raise ConfigError(f"reactor must be a Twisted reactor, got {shown(reactor)}")
    if not isinstance(config, ClientConfig):
        raise ConfigError(f"config must be a ClientConfig, got {shown(config)}")
    if agent is not None and not callable(getattr(agent, "request", None)):
        raise ConfigError(f"agent must have request(), as twisted.web.iweb.IAgent has, got {shown(agent)}")


def _log_bug(failure: Any) -> None:
    _log.failure("closing failed by a bug", failure)


def _tell(event: Deferred[None]) -> Deferred[None]:
    """A Deferred of one's own for an event that several wait for."""
    own: Deferred[None] = Deferred()
    event.addCallback(lambda _: None if own.called else own.callback(None))
    return own


def _global_reactor() -> Reactor:
    """The program's reactor, asked for only when none was given."""
    from twisted.internet import reactor  # noqa: PLC0415, TID251

    return reactor  # type: ignore[return-value]
