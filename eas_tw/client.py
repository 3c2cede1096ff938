"""`PredictClient`, the public client for Twisted.

It validates settings, makes one call object for each request, and returns Deferreds. The layers below (`runtime`,
`net`, `policy`) do the work, so no retry or balancing rule belongs here.
"""

from __future__ import annotations

import warnings
from functools import partial
from threading import get_ident
from time import monotonic, time  # noqa: TID251  the client passes its clocks to all other modules
from typing import TYPE_CHECKING, Any, Self, TypeVar
from weakref import WeakKeyDictionary

from attrs import evolve
from twisted.internet.defer import Deferred, DeferredList, fail, maybeDeferred
from twisted.logger import Logger

from eas_tw.body.compression import check_codec, compressing
from eas_tw.body.request import as_body, as_request
from eas_tw.body.steps import begin
from eas_tw.body.text import StringRequest
from eas_tw.config import ENDPOINT_TYPE_DEFAULT, ENDPOINT_TYPE_FIXED, ClientConfig
from eas_tw.display import shown
from eas_tw.errors import ClientClosed, ConfigError, NoInstances
from eas_tw.keys import call_info
from eas_tw.net.call import Call
from eas_tw.net.call_errors import awaitable_error
from eas_tw.net.discovery import DiscoveryStatus
from eas_tw.net.monotonic import is_real, monotonic_view
from eas_tw.net.offload import Offload
from eas_tw.net.stream import StreamLimits
from eas_tw.net.stream_call import BodilessCall, StreamCall
from eas_tw.policy.balancers import BadBalancerError
from eas_tw.policy.balancing import NO_CALL
from eas_tw.process_bound import ProcessBound
from eas_tw.ranges import COUNT, POSITIVE, checked, milliseconds
from eas_tw.reading import AnyStatusReader, ResponseReader, StreamReader
from eas_tw.request_builder import RequestBuilder, check_method
from eas_tw.response import as_plain
from eas_tw.runtime import ClientRuntime, SharedResources
from eas_tw.streaming import OpeningStream, Stream
from eas_tw.target import ClientTarget, fixed_list
from eas_tw.telemetry.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType

    from twisted.web.iweb import IAgent

    from eas_tw.body.request import Request
    from eas_tw.net.attempt import WireRequest
    from eas_tw.net.pool import Reactor
    from eas_tw.policy.instances import Instance
    from eas_tw.response import Response
    from eas_tw.secret import TokenSource
    from eas_tw.target import GivenInstance
    from eas_tw.telemetry.events import Event

T = TypeVar("T")

_log = Logger(namespace="eas_tw.client")
_PLAIN = StringRequest()
"""Parses the responses to requests of plain bytes."""


class PredictClient(ProcessBound):
    """A client of one PAI-EAS service.

    Args:
        endpoint: The endpoint, whose meaning depends on `endpoint_type`:

            1. `ENDPOINT_TYPE_DIRECT`: the region's VPC endpoint, such as `http://pai-eas-vpc.cn-shanghai.aliyuncs.com`.
            2. `ENDPOINT_TYPE_DEFAULT`: the gateway's address.
            3. `ENDPOINT_TYPE_VIPSERVER`: a domain, or the URL of an address server.
        service_name: `service` or `group/service`.
        custom_url: The complete URL for predictions, instead of endpoint and service. Requests to it carry the token
            itself instead of a signature.
        token: The service's token, or a function that returns it; empty for none. The function is called for each call,
            in the thread that makes it or in the reactor's, so it must not block.
        endpoint_type: `ENDPOINT_TYPE_DEFAULT` (gateway), `_DIRECT`, `_VIPSERVER` or `_FIXED`; `None` for
            `ENDPOINT_TYPE_FIXED` if `instances` is given, and for `ENDPOINT_TYPE_DEFAULT` otherwise.
        instances: The instances for `ENDPOINT_TYPE_FIXED`: `(ip, port)` or `(ip, port, weight)`; `None` for none.
        reactor: The Twisted reactor for timers and connections; `None` for the global reactor.
        config: The settings; `None` for the defaults.
        agent: The Twisted agent for requests to the control plane and the gateway, such as a proxy agent; `None` for
            direct requests.
        wall_clock: A function that returns seconds since the epoch, for the `Date` of signatures and the age of the
            disk copy. `None` for `time.time`, or for `reactor.seconds` on a reactor with simulated time, as in a test.
            Timers and deadlines do not depend on this clock; they use elapsed time.

    Raises:
        ConfigError: An argument is wrong.
    """

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
        # The children that are not closed. The key is weak, so that a child without `init`, which has nothing to close,
        # can be garbage-collected. `_open` sets the value to the child, which keeps it alive from its `init` on.
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

    def init(self) -> Deferred[PredictClient]:
        """Start discovery.

        Returns:
            A Deferred that

            1. fires with the client when the first valid list of instances is in the cache; at once for a gateway, for
               a fixed list, and if a list is already there;
            2. fails with `DiscoveryError` after `init_timeout_s`; polling continues, and `init` may be called again;
            3. fails with `ConfigError` if a setting is missing or wrong;
            4. fails with `ClientClosed` if the client is closed.
        """
        return Deferred.fromCoroutine(self._init())

    def close(self) -> Deferred[None]:
        """Close the client and its children.

        New calls fail at once. Calls in flight may finish within `drain_timeout_s`, then they are cancelled. Discovery
        stops. A second call of `close` waits for the same end.

        Returns:
            A Deferred that fires when every socket has reported `connectionLost`.
        """
        if self._closing is None:
            self._closing = Deferred()  # set first, because a callback that runs while closing may call close() again
            Deferred.fromCoroutine(self._close()).addErrback(_log_bug).addCallback(self._forget)
        return _tell(self._closing)

    destroy = close

    def child(self, service_name: str, *, token: TokenSource = "") -> PredictClient:
        """Create a client of another service at the same endpoint, with the same settings and connections.

        Args:
            service_name: `service` or `group/service`. Clients of the same service share one retry budget.
            token: The service's token, or a function that returns it; empty for none.

        Returns:
            The new client. Call its `init` before its first call. It can be closed alone, and closing the parent
            closes it too.

        Raises:
            ClientClosed: This client is closed.
            ConfigError: `service_name` or `token` is wrong.
        """
        if self._closing is not None:
            raise ClientClosed("the client is closed and cannot make children; make a new one")
        child = PredictClient(
            token=token, reactor=self._reactor, config=self._config, agent=self._agent, wall_clock=self._wall_clock
        )
        child._target = evolve(self._target, service=service_name)
        child._shared = self._shared
        child._parent = self
        self._children[child] = None
        child._offload = self._offload
        return child

    # -- calls

    def predict(
        self,
        request: Any,
        *,
        timeout_s: float | None = None,
        path: str = "",
        query: Mapping[str, str] | str | None = None,
        headers: Mapping[str, str] | None = None,
        idempotent: bool = True,
        key: str | bytes | None = None,
    ) -> Deferred[Any]:
        """Call the service.

        Args:
            request: A request of this package, `str`, `bytes` or any buffer, or any object with `to_string()` and
                `parse_response(bytes)`, such as the requests of the official SDK. If the object also has
                `parse_answer(headers, bytes)`, it is called instead of `parse_response`, with header names in lower
                case.
            timeout_s: The deadline of the whole call in seconds, > 0; `None` for the client's `timeout_s`.
            path: The path below the service's path, percent-encoded; empty for none.
            query: A mapping of query fields, or an encoded query; `None` for none.
            headers: Headers of this call only; `None` for none.
            idempotent: Whether the call may be sent to an instance after another instance may have received it. If
                `False`, only attempts that certainly did not reach an instance are retried.
            key: What the call is about, for the balancer: a user, a session, or `prefix_key` of a prompt; `None` for
                none.

        Returns:
            A Deferred. Cancelling it closes the call's connection. It

            1. fires with the response;
            2. fails with a `RequestFailed` that lists the attempts: `DeadlineExceeded`, `StatusError`,
               `ConnectionFailed`, `LocalResourceError`, `Overloaded` or `ProtocolViolation`;
            3. fails with `BodyError` if the request cannot be encoded or the response cannot be parsed;
            4. fails with `ConfigError`, `NoInstances` or `ClientClosed` before anything is sent.
        """
        runtime = self._runtime
        if runtime is None or self._closing is not None or get_ident() != self._thread:
            return fail(self._unusable("predict"))
        try:
            timeout_s = self._config.timeout_s if timeout_s is None else checked(POSITIVE, "timeout_s", timeout_s)
            parser: Request = _PLAIN
            if type(request) is bytes:
                body, content_type = request, None
            else:
                parser = as_request(request)
                body = as_body(parser.to_string())
                content_type = getattr(parser, "content_type", None)
            preparing = None
            if self._config.compress is None:
                wire_request = self._request_builder.build(body, path, query, headers, content_type)
            else:
                wire_request, preparing = self._compressed(body, path, query, headers, content_type)
            info = NO_CALL
            if key is not None or runtime.fleet.reads_calls:
                info = call_info(runtime.fleet, key, "POST", path, headers)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001  the caller expects every error in the Deferred
            return fail(awaitable_error(error, "the request's to_string"))
        call = Call(
            runtime.call_context,
            runtime.fleet,
            wire_request,
            self._reader,
            parser,
            timeout_s,
            info=info,
            is_idempotent=idempotent,
        )
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
        key: str | bytes | None = None,
    ) -> Deferred[Response]:
        """Send a request with any HTTP method, and return the response whatever its status is.

        A status in `retry_on` is retried on another instance, as in `predict`. The last response is the result.

        Args:
            method: The HTTP method, such as `GET`; `CONNECT` is not allowed.
            path: The path below the service's path, percent-encoded, such as `v1/models`; empty for none.
            body: Bytes, any buffer, text (sent as UTF-8), or a dict or list (sent as JSON).
            query: A mapping of query fields, or an encoded query; `None` for none.
            headers: Headers of this call only; `None` for none.
            timeout_s: The deadline of the whole call in seconds, > 0; `None` for the client's `timeout_s`.
            idempotent: Whether the call may be sent to an instance after another instance may have received it; `None`
                for `True` unless the method is PATCH. POST counts as idempotent, because predictions use it.
            key: What the call is about, for the balancer: a user, a session, or `prefix_key` of a prompt; `None` for
                none.

        Returns:
            A Deferred that fires with the response. It fails as that of `predict` does, but never with `StatusError`.
            Cancelling it closes the call's connection.
        """

        def begin(runtime: ClientRuntime) -> Deferred[Response]:
            verb, head_s, may_repeat = self._checked_options(method, timeout_s, idempotent)
            content, content_type = as_plain(body)
            wire_request, preparing = self._build(content, path, query, headers, content_type, verb)
            make = BodilessCall if verb == "HEAD" else Call
            reader = AnyStatusReader(self._config, self._offload)
            context, fleet = runtime.call_context, runtime.fleet
            info = NO_CALL if key is None and not fleet.reads_calls else call_info(fleet, key, verb, path, headers)
            call = make(context, fleet, wire_request, reader, None, head_s, info=info, is_idempotent=may_repeat)
            return call.start(preparing)

        return self._begin("request", begin)

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
        key: str | bytes | None = None,
    ) -> OpeningStream:
        """Send a request, and read the response while it arrives.

            async with client.stream({"model": "m", "stream": True}, path="v1/chat/completions") as stream:
                async for event in stream.events():
                    ...

        Args:
            request: A dict or list (sent as JSON), text, bytes, any buffer, or any object with `to_string()`.
            method: The HTTP method, such as `POST`.
            path: The path below the service's path, percent-encoded; empty for none.
            query: A mapping of query fields, or an encoded query; `None` for none.
            headers: Headers of this call only; `None` for none.
            timeout_s: The deadline for the response's head, in seconds, > 0. It covers all attempts and the time in
                pool queues. `None` for the client's `timeout_s`.
            idle_timeout_s: The maximum time between two pieces of the body, in seconds, > 0; `None` for the client's
                `stream_idle_timeout_s`.
            total_timeout_s: The maximum duration of the stream after its head, in seconds, > 0; `None` for no bound.
            idempotent: Whether the call may be sent to an instance after another instance may have received it; `None`
                for `True` unless the method is PATCH.
            any_status: Whether a response of any status is returned as a stream. If `False`, a status outside 200 to
                299 fails with `StatusError`.
            key: What the call is about, for the balancer: a user, a session, or `prefix_key` of a prompt; `None` for
                none.

        Returns:
            An async context manager for the `Stream`; its `open()` returns a Deferred of the `Stream`. Retries and
            hedges happen only until the response's head has arrived. An error after the head is a `StreamBroken`,
            because the caller may have used a part of the body.
        """

        def begin(runtime: ClientRuntime) -> Deferred[Stream]:
            config = self._config
            verb, head_s, may_repeat = self._checked_options(method, timeout_s, idempotent)
            if idle_timeout_s is None:
                idle_s = config.stream_idle_timeout_s
            else:
                idle_s = checked(POSITIVE, "idle_timeout_s", idle_timeout_s)
            total_s = None if total_timeout_s is None else checked(POSITIVE, "total_timeout_s", total_timeout_s)
            content, content_type = as_plain(request)
            wire_request, preparing = self._build(content, path, query, headers, content_type, verb)
            fleet = runtime.fleet
            info = NO_CALL if key is None and not fleet.reads_calls else call_info(fleet, key, verb, path, headers)
            call = StreamCall(
                runtime.call_context,
                fleet,
                wire_request,
                StreamReader(config, self._offload, takes_any_status=any_status),
                StreamLimits(config.stream_buffer_bytes, idle_s, total_s),
                head_s,
                info=info,
                is_idempotent=may_repeat,
            )
            return call.start(preparing).addCallback(lambda body: Stream(body, call.answered_by))

        return OpeningStream(partial(self._begin, "stream", begin))

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
        """The view of the reactor whose timers use elapsed time, so that a step of the machine's clock does no harm."""
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

    async def _init(self) -> PredictClient:
        if self._closing is not None:
            raise ClientClosed("the client is closed; make a new one")
        if self._runtime is None:
            self._open()
        if self._runtime is not None:
            await self._runtime.ready()
        return self

    def _open(self) -> None:
        """Create the runtime from the current target and settings, which cannot change after this."""
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

    def _compressed(self, body: bytes, *others: Any) -> tuple[WireRequest, Deferred[WireRequest] | None]:
        """Build the request with its body compressed.

        Returns:
            1. For a small body, the request and `None`.
            2. For a large body, a placeholder, and a Deferred that fires with the request. Compression runs outside
               the reactor's turn meanwhile, and the call waits for it.
        """
        steps = compressing(str(self._config.compress), body)
        content, is_done = begin(steps)
        if is_done:
            return self._request_builder.build(content or b"", *others), None
        placeholder = self._request_builder.build(b"", *others)  # reports wrong arguments before the long compression
        return placeholder, self._offload.run(steps).addCallback(self._request_builder.build, *others)

    def _aim(self, what: str, **parts: Any) -> None:
        self._before_init(what)
        self._target = evolve(self._target, **parts)

    def _before_init(self, what: str) -> None:
        if self._runtime is not None:
            raise ConfigError(f"{what} must be set before init()")

    def _build(self, body: bytes, *others: Any) -> tuple[WireRequest, Deferred[WireRequest] | None]:
        """Build the request, with its body compressed if `compress` is set; `others` are arguments of `build`."""
        if self._config.compress is None or not body:
            return self._request_builder.build(body, *others), None
        return self._compressed(body, *others)

    def _begin(self, what: str, begin: Callable[[ClientRuntime], Deferred[T]]) -> Deferred[T]:
        """Run `begin`; whatever is wrong with the client or the arguments becomes the failure of its Deferred."""
        runtime = self._runtime
        if runtime is None or self._closing is not None or get_ident() != self._thread:
            return fail(self._unusable(what))
        try:
            return begin(runtime)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001  the caller expects every error in the Deferred
            return fail(awaitable_error(error, "the request's body"))

    def _checked_options(
        self,
        method: str,
        timeout_s: float | None,
        idempotent: bool | None,  # noqa: FBT001  as the caller gave it
    ) -> tuple[str, float, bool]:
        """Return the method in capitals, the deadline in seconds, and whether the request may be repeated."""
        verb = check_method(method)
        timeout_s = self._config.timeout_s if timeout_s is None else checked(POSITIVE, "timeout_s", timeout_s)
        return verb, timeout_s, verb != "PATCH" if idempotent is None else idempotent

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
        """Remove the references to the parent and the listeners, which live longer than the client."""
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
    """Return a new Deferred that fires when `event` does, so that each waiter can cancel its own."""
    own: Deferred[None] = Deferred()
    event.addCallback(lambda _: None if own.called else own.callback(None))
    return own


def _global_reactor() -> Reactor:
    """Import the global reactor; only when no reactor was given, because the import installs one."""
    from twisted.internet import reactor  # noqa: PLC0415, TID251

    return reactor  # type: ignore[return-value]
