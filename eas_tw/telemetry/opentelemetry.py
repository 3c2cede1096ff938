"""Metrics and traces for OpenTelemetry (extra `opentelemetry`), by its HTTP client conventions.

    telemetry = OpenTelemetry()
    client = telemetry.instrument(client)

One span for each call, under whatever span the program is in when it calls, and under it one for each attempt. The
call's context is sent along, so the service's own spans find their place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from attrs import define, field

from eas_tw.telemetry.conventions import DURATION_BUCKETS_S, error_type
from eas_tw.telemetry.events import AttemptEnded, CallEnded

try:
    from opentelemetry import metrics, propagate, trace
except ImportError as error:
    raise ImportError(
        "eas_tw.telemetry.opentelemetry needs opentelemetry-api: pip install 'eas-tw[opentelemetry]'"
    ) from error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Span, TracerProvider
    from twisted.internet.defer import Deferred

    from eas_tw.telemetry.watched import Watched

_NAME = "eas_tw"


class OpenTelemetry:
    """Instruments clients.

    Args:
        tracer_provider: Whose tracer; `None` for the global one.
        meter_provider: Whose meter; `None` for the global one.
        instances: Whether the metrics of attempts get `server.address` and `server.port`, too. Spans always have them.

    Metrics: `http.client.request.duration` (of attempts) and `eas.client.call.duration`, in seconds;
    `eas.client.instances`.
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
        self._clients: list[Watched] = []
        meter.create_observable_gauge(
            "eas.client.instances",
            callbacks=[self._list_sizes],
            unit="{instance}",
            description="Instances in the list.",
        )

    def instrument(self, client: Watched) -> TracedClient:
        """The client, whose calls are measured and traced from now on.

        Returns:
            Use it in the client's place; everything but `predict` is the client's own.
        """
        self._clients.append(client)
        return TracedClient(client, self)

    def begin(self, service: str) -> Span:
        """A call's span, under the program's current one."""
        return self._tracer.start_span(
            f"predict {service}", kind=trace.SpanKind.INTERNAL, attributes={"eas.service": service}
        )

    def measure(self, event: AttemptEnded | CallEnded) -> None:
        """Put a call or an attempt into the histograms."""
        if isinstance(event, AttemptEnded):
            self._attempts.record(event.elapsed_s, _attributes(event) | (_server(event) if self._instances else {}))
        else:
            failed = {"error.type": event.error} if event.error else {}
            self._calls.record(event.elapsed_s, {"eas.service": event.service} | failed)

    def show(self, event: AttemptEnded, number: int, ended: float, call: Span) -> None:
        """Give an attempt its span.

        Args:
            event: What happened.
            number: 0 for the first of its call.
            ended: When, in seconds since the epoch.
            call: The call's span.
        """
        resent = {"http.request.resend_count": number} if number else {}
        span = self._tracer.start_span(
            "POST",
            trace.set_span_in_context(call),
            kind=trace.SpanKind.CLIENT,
            attributes=_attributes(event) | _server(event) | resent,
            start_time=_ns(ended - event.elapsed_s),
        )
        if "error.type" in _attributes(event):
            span.set_status(trace.StatusCode.ERROR, str(event.outcome))
        span.end(_ns(ended))

    def _list_sizes(self, _: object) -> list[metrics.Observation]:
        return [
            metrics.Observation(len(client.instances), {"eas.service": client.service_name}) for client in self._clients
        ]


@define
class _Ended:
    """An attempt that has ended, and when."""

    event: AttemptEnded
    at: float


@define
class _Account:
    """What was heard of calls: attempts of those in flight, and all of the one that ended last."""

    attempts: dict[object, list[_Ended]] = field(factory=dict)
    last: list[_Ended] = field(factory=list)


class TracedClient:
    """A client that is instrumented; see `OpenTelemetry.instrument`."""

    def __init__(self, client: Watched, telemetry: OpenTelemetry) -> None:
        self._client = client
        self._telemetry = telemetry
        self._account = _Account()
        self._stop: Callable[[], None] = client.listen(self._hear)

    def __repr__(self) -> str:
        return f"<TracedClient {self._client!r}>"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()  # type: ignore[attr-defined]
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._client.__aexit__(*error)  # type: ignore[attr-defined]

    def predict(self, request: Any, *, headers: Mapping[str, str] | None = None, **options: Any) -> Deferred[Any]:
        """Call the service, as `PredictClient.predict`, in a span of its own."""
        span = self._telemetry.begin(self._client.service_name)
        sent = dict(headers or {})
        propagate.inject(sent, trace.set_span_in_context(span))
        self._account.last = []
        calling = self._client.predict(request, headers=sent, **options)
        return calling.addBoth(self._ended, span)

    def _hear(self, event: object) -> None:
        account = self._account
        if isinstance(event, AttemptEnded):
            account.attempts.setdefault(event.call, []).append(_Ended(event, self._client.wall_clock()))
            self._telemetry.measure(event)
        elif isinstance(event, CallEnded):
            # The Deferred of the call fires right after this, and `_ended` below is its first callback.
            account.last = account.attempts.pop(event.call, [])
            self._telemetry.measure(event)

    def _ended(self, result: Any, span: Span) -> Any:
        attempts, self._account.last = self._account.last, []
        for number, ended in enumerate(attempts):
            self._telemetry.show(ended.event, number, ended.at, span)
        error = getattr(result, "value", None)
        if isinstance(error, Exception):
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(trace.StatusCode.ERROR, str(error))
        span.end()
        return result


def _attributes(event: AttemptEnded) -> dict[str, Any]:
    found: dict[str, Any] = {"http.request.method": "POST", "eas.service": event.service}
    if event.outcome.status:
        found["http.response.status_code"] = event.outcome.status
    error = error_type(event.outcome)
    return found | {"error.type": error} if error else found


def _server(event: AttemptEnded) -> dict[str, Any]:
    return {"server.address": event.instance.ip, "server.port": event.instance.port}


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)
