"""Clients' metrics for Prometheus (extra `prometheus`): names and units of the OpenTelemetry HTTP client conventions.

    metrics = PrometheusMetrics()
    metrics.watch(client)

Durations are histograms fed by events; everything else is read from the clients' counters when somebody scrapes. No
label holds an address unless asked for: instances come and go, and each would leave its time series behind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import define, field

from eas_tw.telemetry.conventions import DURATION_BUCKETS_S, error_type
from eas_tw.telemetry.events import AttemptEnded, CallEnded, PollRefused

try:
    from prometheus_client import REGISTRY, Histogram
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
    from prometheus_client.registry import Collector
except ImportError as error:
    raise ImportError(
        "eas_tw.telemetry.prometheus needs prometheus-client: pip install 'eas-tw[prometheus]'"
    ) from error

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterator, Sequence

    from prometheus_client.registry import CollectorRegistry

    from eas_tw.telemetry.watched import Watched


@define
class _Watching:
    """A client under watch, and what only events tell."""

    client: Watched
    refusals: dict[str, int] = field(factory=dict)


class PrometheusMetrics(Collector):
    """Metrics of any number of clients, told apart by the label `service`.

    Args:
        registry: Where they are found.
        instances: Whether attempts get the labels `server_address` and `server_port`, too.
        buckets_s: Upper bounds of the histograms, in seconds.

    | metric | labels |
    |---|---|
    | `eas_client_call_duration_seconds` | service, error_type |
    | `http_client_request_duration_seconds` (an attempt) | service, http_request_method, http_response_status_code, |
    |   | error_type |
    | `eas_client_retries_total` | service, reason |
    | `eas_client_failovers_total`, `eas_client_hedges_total`, `eas_client_ejections_total` | service |
    | `eas_client_discovery_polls_total` | service |
    | `eas_client_discovery_refusals_total` | service, reason |
    | `eas_client_instances`, `eas_client_ejected_instances` | service |
    """

    def __init__(
        self,
        registry: CollectorRegistry = REGISTRY,
        *,
        instances: bool = False,
        buckets_s: Sequence[float] = DURATION_BUCKETS_S,
    ) -> None:
        self._instances = instances
        self._watching: list[_Watching] = []
        server = ("server_address", "server_port") if instances else ()
        self._calls = Histogram(
            "eas_client_call_duration_seconds",
            "Duration of calls, from predict to answer or error.",
            ("service", "error_type"),
            registry=registry,
            buckets=buckets_s,
        )
        self._attempts = Histogram(
            "http_client_request_duration_seconds",
            "Duration of HTTP client requests: the attempts of calls.",
            ("service", "http_request_method", "http_response_status_code", "error_type", *server),
            registry=registry,
            buckets=buckets_s,
        )
        registry.register(self)

    def watch(self, client: Watched) -> Callable[[], None]:
        """Account for a client from now on.

        Returns:
            Call it to stop; the client's series end then.
        """
        watching = _Watching(client)
        self._watching.append(watching)
        stop = client.listen(lambda event: self._hear(watching, event))

        def end() -> None:
            stop()
            self._watching.remove(watching)

        return end

    def collect(self) -> Iterator[Any]:
        """What is read from the clients at a scrape (prometheus_client)."""
        count = self._count
        yield count("eas_client_retries", "Attempts after the first of their call.", lambda c: c.counters.retries)
        yield count("eas_client_failovers", "Retries on another instance.", lambda c: c.counters.failovers)
        yield count("eas_client_hedges", "Attempts beside a slow one.", lambda c: c.counters.hedges)
        yield count("eas_client_ejections", "Times an instance was left out.", lambda c: c.counters.ejections.total())
        yield count("eas_client_discovery_polls", "Polls of the control plane.", lambda c: c.discovery.polls)
        refusals = CounterMetricFamily(
            "eas_client_discovery_refusals", "Replies that changed nothing.", labels=("service", "reason")
        )
        for watching in self._watching:
            for reason, times in watching.refusals.items():
                refusals.add_metric((watching.client.service_name, reason), times)
        yield refusals
        yield self._gauge("eas_client_instances", "Instances in the list.", lambda c: len(c.instances))
        yield self._gauge("eas_client_ejected_instances", "Instances left out.", lambda c: len(c.ejected))

    def _hear(self, watching: _Watching, event: object) -> None:
        if isinstance(event, AttemptEnded):
            status = str(event.outcome.status) if event.outcome.status else ""
            labels = [event.service, "POST", status, error_type(event.outcome)]
            if self._instances:
                labels += [event.instance.ip, str(event.instance.port)]
            self._attempts.labels(*labels).observe(event.elapsed_s)
        elif isinstance(event, CallEnded):
            self._calls.labels(event.service, event.error).observe(event.elapsed_s)
        elif isinstance(event, PollRefused):
            watching.refusals[event.reason] = watching.refusals.get(event.reason, 0) + 1

    def _count(self, name: str, says: str, read: Callable[[Watched], int | Counter[str]]) -> CounterMetricFamily:
        """A number, or numbers by reason, of each client; clients of one service are added up."""
        totals: dict[tuple[str, ...], int] = {}
        has_reasons = False
        for watching in self._watching:
            service, found = watching.client.service_name, read(watching.client)
            has_reasons = not isinstance(found, int)
            named = {(): found} if isinstance(found, int) else {(reason,): times for reason, times in found.items()}
            for reason, times in named.items():
                labels = (service, *reason)
                totals[labels] = totals.get(labels, 0) + times
        family = CounterMetricFamily(name, says, labels=("service", "reason") if has_reasons else ("service",))
        for labels, times in totals.items():
            family.add_metric(labels, times)
        return family

    def _gauge(self, name: str, says: str, read: Callable[[Watched], int]) -> GaugeMetricFamily:
        family = GaugeMetricFamily(name, says, labels=("service",))
        for service, value in {w.client.service_name: read(w.client) for w in self._watching}.items():
            family.add_metric((service,), value)
        return family
