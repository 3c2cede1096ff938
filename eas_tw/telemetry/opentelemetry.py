"""Metrics and traces for OpenTelemetry (extra `opentelemetry`), according to its HTTP client conventions.

    telemetry = OpenTelemetry()
    client = telemetry.instrument(client)

Each call has a span, whose parent is the program's current span, and each attempt has a span, whose parent is the
call's span. The call's context is sent in the request's headers, so that the service's spans become part of the trace.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from threading import Lock
from time import time_ns  # noqa: TID251  spans have wall-clock times, even if the client's reactor uses simulated time
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar, overload

from attrs import define, field
from twisted.logger import Logger

from eas_tw.display import text_of
from eas_tw.telemetry.conventions import DURATION_BUCKETS_S, error_type, request_method
from eas_tw.telemetry.events import (
    AttemptEnded,
    BalancerFallback,
    CallEnded,
    Closed,
    Ejected,
    EjectionOverflow,
    FrameReceived,
    FramesCommitted,
    PollRefused,
    StreamEnded,
    WatchLost,
    WatchOpened,
)
from eas_tw.telemetry.watched import as_watched, read_steadily

try:
    from opentelemetry import metrics, propagate, trace
except ImportError as error:
    raise ImportError(
        "eas_tw.telemetry.opentelemetry needs opentelemetry-api: pip install 'eas-tw[opentelemetry]'"
    ) from error

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.metrics import Counter, Meter, MeterProvider
    from opentelemetry.trace import Span, TracerProvider
    from twisted.internet.defer import Deferred

    from eas_tw.telemetry.events import Event
    from eas_tw.telemetry.watched import Watched

    Predict = Callable[..., Deferred[Any]]


class _Wrappable(Protocol):
    """The type of a client of `eas_tw.aio` or `eas_tw.blocking`."""

    def wrap_predict(self, wrap: Any) -> None:
        """Wrap the `predict` of the inner client."""


W = TypeVar("W", bound=_Wrappable)
_NAME = "eas_tw"
_log = Logger(namespace="eas_tw.telemetry")


class OpenTelemetry:
    """Instruments clients of `eas_tw`, `eas_tw.aio` and `eas_tw.blocking`. The class is thread-safe.

    A closed client is removed from the gauges, and is no longer referenced.

    Args:
        tracer_provider: The tracer provider; `None` for the global provider.
        meter_provider: The meter provider; `None` for the global provider.
        instances: Whether the metrics of attempts have the attributes `server.address` and `server.port`. Spans always
            have them.

    Each metric has the attribute `eas.service`; the values of clients of the same service are added up.

    | metric | other attributes |
    |---|---|
    | `eas.client.call.duration` (s) | error.type |
    | `http.client.request.duration` (of an attempt, s) | http.request.method, http.response.status_code, error.type |
    | `eas.client.retries` | error.type: of the previous attempt |
    | `eas.client.failovers`, `eas.client.hedges` | |
    | `eas.client.streams` | |
    | `eas.client.streams_broken` | `error.type` |
    | `eas.client.watches`, `eas.client.frames`, `eas.client.frames_repeated` | |
    | `eas.client.watches_lost` | `error.type` |
    | `eas.client.commits`, `eas.client.commits_failed` | |
    | `eas.client.ejections`, `eas.client.ejections_overflow` | |
    | `eas.client.balancer_fallbacks` | |
    | `eas.client.discovery.rejections` | error.type: the reason |
    | `eas.client.instances`, `eas.client.ejected_instances` | |
    """

    def __init__(
        self,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        *,
        instances: bool = False,
    ) -> None:
        self._instances = instances
        self._tracer = trace.get_tracer(_NAME, tracer_provider=tracer_provider)
        meter = metrics.get_meter(_NAME, meter_provider=meter_provider)
        self._attempts = meter.create_histogram(
            "http.client.request.duration",
            unit="s",
            description="Duration of HTTP client requests.",
            explicit_bucket_boundaries_advisory=DURATION_BUCKETS_S,
        )
        self._calls = meter.create_histogram(
            "eas.client.call.duration",
            unit="s",
            description="Duration of calls, from predict to answer or error.",
            explicit_bucket_boundaries_advisory=DURATION_BUCKETS_S,
        )
        self._counters = _counters(meter)
        self._lock = Lock()  # guards _clients and _traced: instrument() may be called on any thread
        self._clients: list[Watched] = []
        self._traced: list[TracedClient] = []
        for name, (description, read) in _GAUGES.items():
            meter.create_observable_gauge(
                name, callbacks=[partial(self._observe, read)], unit="{instance}", description=description
            )

    @overload
    def instrument(self, client: W) -> W: ...

    @overload
    def instrument(self, client: Any) -> TracedClient: ...

    def instrument(self, client: Any) -> Any:
        """Measure and trace the calls of a client from now on. A second call with the same client changes nothing.

        Args:
            client: A `PredictClient` of `eas_tw`, `eas_tw.aio` or `eas_tw.blocking`, a child of such a client, or a
                `ClientService`, before or after `init`.

        Returns:
            The object to use instead of the client:

            1. for `eas_tw`, a `TracedClient`, which traces `predict` and forwards everything else;
            2. for `eas_tw.aio` and `eas_tw.blocking`, the client itself.

        Raises:
            TypeError: `client` is of another type; nothing was changed.
        """
        watched: Any = as_watched(client)
        self.forget_closed()
        with self._lock:
            if hasattr(watched, "wrap_predict"):
                if watched not in self._clients:
                    watched.wrap_predict(lambda inner, predict: TracedClient(self, inner, inner, predict).predict)
                    self._clients.append(watched)
                return watched
            traced = next((traced for traced in self._traced if traced.__wrapped__ is watched), None)
            if traced is None:
                traced = TracedClient(
                    self, watched, client, client.predict if hasattr(client, "predict") else watched.predict
                )
                self._traced.append(traced)
                self._clients.append(watched)
            return traced

    def forget_closed(self) -> None:
        """Remove the references to closed clients."""
        with self._lock:
            self._traced = [traced for traced in self._traced if not traced.is_closed]
            self._clients = [client for client in self._clients if not client.is_closed]

    def begin(self, service: str) -> Span:
        """Start the span of a call, as a child of the program's current span."""
        return self._tracer.start_span(
            f"predict {service}", kind=trace.SpanKind.INTERNAL, attributes={"eas.service": service}
        )

    def measure(self, event: Event) -> None:
        """Record an event in the histograms and counters."""
        service = {"eas.service": event.service}
        if isinstance(event, AttemptEnded):
            self._measure_attempt(event, service)
        elif isinstance(event, CallEnded):
            failed = {"error.type": event.error} if event.error else {}
            self._calls.record(event.elapsed_s, service | failed)
        elif isinstance(event, StreamEnded):
            self._counters["streams"].add(1, service)
            if reason := error_type(event.outcome):
                self._counters["streams_broken"].add(1, service | {"error.type": reason})
        elif isinstance(event, Ejected):
            self._counters["ejections"].add(1, service)
        elif isinstance(event, EjectionOverflow):
            self._counters["ejections_overflow"].add(1, service)
        elif isinstance(event, BalancerFallback):
            self._counters["balancer_fallbacks"].add(1, service)
        elif isinstance(event, PollRefused):
            self._counters["discovery.rejections"].add(1, service | {"error.type": event.reason})
        else:
            self._measure_watch(event, service)

    def _measure_watch(self, event: Event, service: dict[str, str]) -> None:
        if isinstance(event, WatchOpened):
            self._counters["watches"].add(1, service)
        elif isinstance(event, WatchLost):
            self._counters["watches_lost"].add(1, service | {"error.type": event.outcome.label})
        elif isinstance(event, FrameReceived):
            self._counters["frames_repeated" if event.is_repeated else "frames"].add(1, service)
        elif isinstance(event, FramesCommitted):
            self._counters["commits_failed" if event.error else "commits"].add(len(event.indexes), service)

    def _measure_attempt(self, event: AttemptEnded, service: dict[str, str]) -> None:
        self._attempts.record(event.elapsed_s, _attributes(event) | (_server(event) if self._instances else {}))
        before = event.retry_of
        if before is not None:
            self._counters["retries"].add(1, service | {"error.type": before.outcome.label})
            if before.instance.key != event.instance.key:
                self._counters["failovers"].add(1, service)
        elif event.is_hedge:
            self._counters["hedges"].add(1, service)

    def show(self, event: AttemptEnded, number: int, ended_ns: int, call: Span) -> None:
        """Create the span of an attempt that has ended.

        Args:
            event: The event of the attempt.
            number: The index of the attempt within its call, ≥ 0.
            ended_ns: The time of the attempt's end, in nanoseconds since the epoch.
            call: The call's span.
        """
        resent = {"http.request.resend_count": number} if number else {}
        span = self._tracer.start_span(
            "POST",
            trace.set_span_in_context(call),
            kind=trace.SpanKind.CLIENT,
            attributes=_attributes(event) | _server(event) | resent,
            start_time=ended_ns - int(event.elapsed_s * 1e9),
        )
        if "error.type" in _attributes(event):
            span.set_status(trace.StatusCode.ERROR, str(event.outcome))
        span.end(ended_ns)

    def _observe(self, read: Callable[[Watched], int], _: object) -> list[metrics.Observation]:
        sizes: dict[str, int] = {}
        for client in self._clients:
            try:
                if not client.is_closed:
                    size = read_steadily(read, client)
                    sizes[client.service_name] = sizes.get(client.service_name, 0) + size
            except Exception:  # noqa: BLE001  a bug of one client must not hide the metrics of the others
                _log.failure("the metrics of a client cannot be read")
        return [metrics.Observation(size, {"eas.service": service}) for service, size in sizes.items()]


_COUNTERS = {
    # name below `eas.client.` -> unit, description
    "retries": ("{attempt}", "Attempts after the first of their call."),
    "failovers": ("{attempt}", "Retries on another instance."),
    "hedges": ("{attempt}", "Hedges: attempts that were sent while another of the same call was running."),
    "streams": ("{stream}", "Streams that were passed to a caller."),
    "streams_broken": ("{stream}", "Streams that ended before their body was complete."),
    "watches": ("{watch}", "Watches of queues opened."),
    "watches_lost": ("{watch}", "Watches of queues lost, or not opened."),
    "frames": ("{frame}", "Frames received by watches."),
    "frames_repeated": ("{frame}", "Frames that watches received again."),
    "commits": ("{frame}", "Frames committed."),
    "commits_failed": ("{frame}", "Frames whose commit failed."),
    "ejections": ("{ejection}", "Ejections of instances."),
    "ejections_overflow": ("{ejection}", "Ejections prevented, because too many instances were ejected already."),
    "balancer_fallbacks": ("{attempt}", "Instances chosen by weighted round robin instead of a program's balancer."),
    "discovery.rejections": ("{reply}", "Rejected discovery replies."),
}
_GAUGES: dict[str, tuple[str, Callable[[Watched], int]]] = {
    "eas.client.instances": ("Instances in the list.", lambda client: len(client.instances)),
    "eas.client.ejected_instances": ("Instances that are ejected.", lambda client: len(client.ejected)),
}


def _counters(meter: Meter) -> dict[str, Counter]:
    return {
        name: meter.create_counter(f"eas.client.{name}", unit=unit, description=description)
        for name, (unit, description) in _COUNTERS.items()
    }


@define
class _Ended:
    """The event of an attempt, and the time of its end in nanoseconds since the epoch."""

    event: AttemptEnded
    at_ns: int


@define
class _Account:
    """The attempts of the calls in flight, by call, and the attempts of the call that ended last."""

    attempts: dict[object, list[_Ended]] = field(factory=dict)
    last: list[_Ended] = field(factory=list)


class TracedClient:
    """An instrumented client, created by `OpenTelemetry.instrument`."""

    def __init__(self, telemetry: OpenTelemetry, client: Any, given: Any, predict: Predict) -> None:
        self.__wrapped__ = client
        self._given = given
        self._predict = predict
        self._telemetry = telemetry
        self._account = _Account()
        client.listen(self._hear)  # not removed here, because the client removes its listeners when it closes

    def __repr__(self) -> str:
        return f"<TracedClient {self.__wrapped__!r}>"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # `copy` and `pickle` read such names before __init__, and would recurse forever
            raise AttributeError(name)
        # If a ClientService was given, its attributes are available as well as those of its client.
        return getattr(self._given if hasattr(self._given, name) else self.__wrapped__, name)

    async def __aenter__(self) -> Self:
        await self.__wrapped__.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.__wrapped__.__aexit__(*error)

    def predict(self, request: Any, *, headers: Mapping[str, str] | None = None, **options: Any) -> Deferred[Any]:
        """Call the service as `PredictClient.predict` does, and record a span for the call and each attempt."""
        span = self._telemetry.begin(self.__wrapped__.service_name)
        if headers is None or isinstance(headers, Mapping):  # otherwise the client reports the error
            headers = dict(headers or {})
            propagate.inject(headers, trace.set_span_in_context(span))
        self._account.last = []
        calling = self._predict(request, headers=headers, **options)
        return calling.addBoth(self._ended, span)

    def _hear(self, event: Event) -> None:
        account = self._account
        self._telemetry.measure(event)
        if isinstance(event, AttemptEnded):
            account.attempts.setdefault(event.call, []).append(_Ended(event, time_ns()))
        elif isinstance(event, CallEnded):
            # The call's Deferred fires right after this event, and `_ended` below is its first callback, so `last` has
            # the attempts of that call.
            account.last = account.attempts.pop(event.call, [])
        elif isinstance(event, Closed):
            self._telemetry.forget_closed()

    def _ended(self, result: Any, span: Span) -> Any:
        attempts, self._account.last = self._account.last, []
        for number, ended in enumerate(attempts):
            self._telemetry.show(ended.event, number, ended.at_ns, span)
        error = getattr(result, "value", None)
        if isinstance(error, Exception):
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(trace.StatusCode.ERROR, text_of(error))
        span.end()
        return result


def _attributes(event: AttemptEnded) -> dict[str, Any]:
    found: dict[str, Any] = {"http.request.method": request_method(event), "eas.service": event.service}
    if event.outcome.status:
        found["http.response.status_code"] = event.outcome.status
    error = error_type(event.outcome)
    return found | {"error.type": error} if error else found


def _server(event: AttemptEnded) -> dict[str, Any]:
    return {"server.address": event.instance.ip, "server.port": event.instance.port}
