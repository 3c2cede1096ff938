"""`PredictClient`, the public client for Twisted.

It creates one call object for each request, and returns Deferreds. Its base class, `ClientLifecycle`, manages the
client's state. The lower layers (`runtime`, `net`, `policy`) implement retries and balancing.
"""

from __future__ import annotations

from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import evolve
from twisted.internet.defer import Deferred, fail

from eas_tw.body.compression import compressing
from eas_tw.body.hashes import LONG_BYTES, md5_hex_in_steps
from eas_tw.body.request import as_body, as_request
from eas_tw.body.steps import begin
from eas_tw.body.text import StringRequest
from eas_tw.client_lifecycle import ClientLifecycle
from eas_tw.errors import ClientClosed
from eas_tw.keys import call_info
from eas_tw.net.call import Call
from eas_tw.net.call_errors import awaitable_error
from eas_tw.net.stream import StreamLimits
from eas_tw.net.stream_call import BodilessCall, StreamCall
from eas_tw.policy.balancing import NO_CALL
from eas_tw.ranges import POSITIVE, checked
from eas_tw.reading import AnyStatusReader, StreamReader
from eas_tw.request_builder import check_method
from eas_tw.response import as_plain
from eas_tw.streaming import OpeningStream, Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from eas_tw.body.request import Request
    from eas_tw.body.steps import Steps
    from eas_tw.net.attempt import WireRequest
    from eas_tw.response import Response
    from eas_tw.runtime import ClientRuntime
    from eas_tw.secret import TokenSource

T = TypeVar("T")

_PLAIN = StringRequest()
"""The parser of responses to requests that are plain bytes."""


class PredictClient(ClientLifecycle):
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
            in the reactor's thread, so it must not block.
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
                `parse_answer(headers, bytes)`, this method is called instead of `parse_response`, with header names in
                lower case.
            timeout_s: The deadline of the whole call in seconds, > 0; `None` for the client's `timeout_s`.
            path: The path relative to the service's path, percent-encoded; empty for the service's path itself.
            query: A mapping of query fields, or an encoded query; `None` for none.
            headers: Headers of this call only; `None` for none.
            idempotent: Whether the call may be sent to an instance after another instance may have received it. If
                `False`, only attempts that certainly did not reach an instance are retried.
            key: The key by which the balancer may choose the instance, such as the name of a user or a session, or
                `prefix_key` of a prompt; `None` for none.

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
            if self._config.compress is None and len(body) < LONG_BYTES:
                wire_request = self._request_builder.build(body, path, query, headers, content_type)
            else:
                wire_request, preparing = self._build(body, path, query, headers, content_type)
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
        """Send a request with any HTTP method, and return the response, which may have any status.

        A status in `retry_on` is retried on another instance, as in `predict`. The last response is the result.

        Args:
            method: The HTTP method, such as `GET`; `CONNECT` is not allowed.
            path: The path relative to the service's path, percent-encoded, such as `v1/models`; empty for the service's
                path itself.
            body: Bytes, any buffer, text (sent as UTF-8), or a dict or list (sent as JSON).
            query: A mapping of query fields, or an encoded query; `None` for none.
            headers: Headers of this call only; `None` for none.
            timeout_s: The deadline of the whole call in seconds, > 0; `None` for the client's `timeout_s`.
            idempotent: Whether the call may be sent to an instance after another instance may have received it; `None`
                for `True` unless the method is PATCH. POST counts as idempotent, because predictions use it.
            key: The key by which the balancer may choose the instance, such as the name of a user or a session, or
                `prefix_key` of a prompt; `None` for none.

        Returns:
            A Deferred that fires with the response. It fails with the errors of `predict`, except `StatusError`.
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
            method: The HTTP method, such as `POST`; `CONNECT` is not allowed.
            path: The path relative to the service's path, percent-encoded; empty for the service's path itself.
            query: A mapping of query fields, or an encoded query; `None` for none.
            headers: Headers of this call only; `None` for none.
            timeout_s: The deadline for the response's head, in seconds, > 0. It covers all attempts and the time in
                pool queues. `None` for the client's `timeout_s`.
            idle_timeout_s: The maximum time between two pieces of the body, in seconds, > 0; `None` for the client's
                `stream_idle_timeout_s`.
            total_timeout_s: The maximum duration of the stream after its head, in seconds, > 0; `None` for no limit.
            idempotent: Whether the call may be sent to an instance after another instance may have received it; `None`
                for `True` unless the method is PATCH.
            any_status: Whether a response of any status is returned as a stream. If `False`, a status outside 200 to
                299 fails with `StatusError`.
            key: The key by which the balancer may choose the instance, such as the name of a user or a session, or
                `prefix_key` of a prompt; `None` for none.

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

    # -- internals

    def _build(self, body: bytes, *others: Any) -> tuple[WireRequest, Deferred[WireRequest] | None]:
        """Build the request, with its body compressed if `compress` is set.

        Args:
            body: The serialised request.
            others: The further arguments of `RequestBuilder.build`.

        Returns:
            1. The request and `None`.
            2. For a large body that is compressed or signed, a placeholder, and a Deferred that fires with the request.
               The call waits for the Deferred, while the compression and the hash run in a thread (`net.offload`).
        """
        builder = self._request_builder
        compression = None
        if self._config.compress is not None and body:
            compression = compressing(str(self._config.compress), body)
            content, is_done = begin(compression)
            if is_done:
                body, compression = content or b"", None
        if compression is None and len(body) < LONG_BYTES:
            return builder.build(body, *others), None
        template = builder.template(*others)  # raises for wrong arguments before the long work
        if compression is None and template.signer is None:
            return builder.complete(template, body), None
        work = self._offload.run(_preparing(body, compression, is_signed=template.signer is not None))
        return builder.complete(template, b""), work.addCallback(lambda made: builder.complete(template, *made))

    def _begin(self, what: str, begin: Callable[[ClientRuntime], Deferred[T]]) -> Deferred[T]:
        """Run `begin`, and return its Deferred.

        If the client cannot be used or `begin` raises an exception, the Deferred fails with that error.
        """
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


def _preparing(body: bytes, compression: Steps[bytes] | None, *, is_signed: bool) -> Steps[tuple[bytes, str | None]]:
    """Run the remaining steps of a compression, if any, and hash the result for the signature.

    Returns:
        The body as sent, and its MD5; `None` without a signature.
    """
    if compression is not None:
        body = yield from compression
    return body, (yield from md5_hex_in_steps(body)) if is_signed else None
