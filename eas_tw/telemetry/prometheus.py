"""Clients' metrics for Prometheus (extra `prometheus`): names and units of the OpenTelemetry HTTP client conventions.

    metrics = PrometheusMetrics()
    metrics.watch(client)

Durations are histograms fed by events; everything else is read from the clients' counters when somebody scrapes. No
label holds an address unless asked for: instances come and go, and each would leave its time series behind.
"""

from __future__ import annotations

import os
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any

from attrs import define, field
from twisted.logger import Logger

from eas_tw.telemetry.conventions import DURATION_BUCKETS_S, error_type
from eas_tw.telemetry.events import AttemptEnded, CallEnded, Closed, ListChanged, PollRefused
from eas_tw.telemetry.watched import as_watched, read_steadily

try:
    from prometheus_client import REGISTRY, Histogram
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
    from prometheus_client.registry import Collector
except ImportError as error:
    raise ImportError(
        "eas_tw.telemetry.prometheus needs prometheus-client: pip install 'eas-tw[prometheus]'"
    ) from error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from prometheus_client.registry import CollectorRegistry

    from eas_tw.telemetry.watched import Watched

    Counts = Mapping[tuple[str, ...], int]

_log = Logger(namespace="eas_tw.telemetry")

_SERVICES_KEPT = 128
"""How many services keep their series although none of their clients is open any more."""


@define(eq=False)
class _Watching:
    """A client under watch, what only events tell, and what was read last.

    Attributes:
        client: The client.
        stop: Stops listening to it.
        service: Its service's name.
        rejections: Discovery replies that changed nothing, by reason.
        counts: Its counts, by metric.
        gauges: Its gauges, by metric; empty when it is closed or could not be read.
        has_failed: Whether it could not be read the last time.
    """

    client: Watched
    stop: Callable[[], None] = field(default=lambda: None)
    service: str = ""
    rejections: dict[str, int] = field(factory=dict)
    counts: dict[str, Counts] = field(factory=dict)
    gauges: dict[str, int] = field(factory=dict)
    has_failed: bool = False


@define
class _Service:
    """What is kept for a service.

    Attributes:
        former: The counts of its clients that are not watched any more.
        series: The series of the histograms, by their labels.
    """

    former: dict[str, dict[tuple[str, ...], int]] = field(factory=dict)
    series: dict[tuple[Histogram, tuple[str, ...]], Histogram] = field(factory=dict)


class PrometheusMetrics(Collector):
    """Metrics of any number of clients, of every kind and on every thread; clients of one service are added up.

    A client that closes leaves the gauges. What it counted stays, so that no counter goes back, until 128 other
    services have closed their last client.

    Args:
        registry: Where they are found.
        instances: Whether attempts get the labels `server_address` and `server_port`, too; the series of an instance
            end when it leaves the list.
        buckets_s: Upper bounds of the histograms, in seconds.

    | metric | labels |
    |---|---|
    | `eas_client_call_duration_seconds` | service, error_type |
    | `http_client_request_duration_seconds` (an attempt) | service, http_request_method, http_response_status_code, |
    |   | error_type |
    | `eas_client_retries_total` | service, reason |
    | `eas_client_failovers_total`, `eas_client_hedges_total` | service |
    | `eas_client_streams_total` | service |
    | `eas_client_streams_broken_total` | service, reason |
    | `eas_client_ejections_total`, `eas_client_ejections_overflow_total` | service |
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
        self._lock = Lock()  # of the two below; `_hear` runs on the reactors' threads, a scrape on any other
        self._watching: list[_Watching] = []
        self._services: dict[str, _Service] = {}
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

    def watch(self, client: Any) -> Callable[[], None]:
        """Account for a client from now on.

        Args:
            client: A `PredictClient` of `eas_tw`, `eas_tw.aio` or `eas_tw.blocking`, a child, a `ClientService`; before
                or after its `init`. Watching it again changes nothing.

        Returns:
            Call it to stop. The series of a service end with the last client that is watched.

        Raises:
            TypeError: It is no client; nothing is registered then.
        """
        watched = as_watched(client)
        if watched.is_closed:
            return lambda: None  # its last event may be over, and nothing would take it out again
        with self._lock:
            found = next((watching for watching in self._watching if watching.client is watched), None)
            if found is None:
                found = _Watching(watched)
                found.stop = watched.listen(partial(self._hear, found))
                self._watching.append(found)
                _read(found)
        return partial(self._unwatch, found)

    def collect(self) -> Iterator[Any]:
        """Read the clients, at a scrape (prometheus_client)."""
        for watching in list(self._watching):
            _read(watching)
        with self._lock:
            counts, gauges = self._added_up()
        for name, (says, label, _) in _COUNTS.items():
            family = CounterMetricFamily(name, says, labels=("service", *label))
            for labels, times in counts[name].items():
                family.add_metric(labels, times)
            yield family
        for name, (says, _) in _GAUGES.items():
            gauge = GaugeMetricFamily(name, says, labels=("service",))
            for service, value in gauges[name].items():
                gauge.add_metric((service,), value)
            yield gauge

    def _added_up(self) -> tuple[dict[str, dict[tuple[str, ...], int]], dict[str, dict[str, int]]]:
        """The counts of all clients, by service and reason, and the gauges of the open ones, by service."""
        counts: dict[str, dict[tuple[str, ...], int]] = {name: {} for name in _COUNTS}
        gauges: dict[str, dict[str, int]] = {name: {} for name in _GAUGES}
        for service, kept in self._services.items():
            for name, former in kept.former.items():
                _add(counts[name], former, (service,))
        for watching in self._watching:
            service = watching.service
            for name, found in watching.counts.items():
                _add(counts[name], found, (service,))
            for name, value in watching.gauges.items():
                gauges[name][service] = gauges[name].get(service, 0) + value
        return counts, gauges

    # -- what clients tell

    def _hear(self, watching: _Watching, event: object) -> None:
        if isinstance(event, AttemptEnded):
            status = str(event.outcome.status) if event.outcome.status else ""
            labels: tuple[str, ...] = (event.service, "POST", status, error_type(event.outcome))
            if self._instances:
                labels += (event.instance.ip, str(event.instance.port))
            self._series(self._attempts, labels).observe(event.elapsed_s)
        elif isinstance(event, CallEnded):
            self._series(self._calls, (event.service, event.error)).observe(event.elapsed_s)
        elif isinstance(event, PollRefused):
            watching.rejections[event.reason] = watching.rejections.get(event.reason, 0) + 1
        elif isinstance(event, ListChanged):
            if self._instances:
                self._drop_former_instances(event.service)
        elif isinstance(event, Closed):
            self._leave(watching)

    def _series(self, histogram: Histogram, labels: tuple[str, ...]) -> Histogram:
        service = self._services.get(labels[0])
        found = None if service is None else service.series.get((histogram, labels))
        if found is None:
            with self._lock:
                series = self._services.setdefault(labels[0], _Service()).series
                found = series[histogram, labels] = histogram.labels(*labels)
        return found

    # -- what ends

    def _leave(self, watching: _Watching) -> None:
        """Take a closed client out; its counts stay with its service."""
        watching.stop()
        _read(watching)
        with self._lock:
            if watching not in self._watching:
                return
            self._watching.remove(watching)
            name = watching.service
            service = self._services.pop(name, None) or _Service()
            self._services[name] = service  # the last of them, by the time of its last end
            for metric, found in watching.counts.items():
                _add(service.former.setdefault(metric, {}), found)
            open_ones = {other.service for other in self._watching}
            closed = [name for name in self._services if name not in open_ones]
            for name in closed[:-_SERVICES_KEPT]:
                self._drop(name)

    def _unwatch(self, watching: _Watching) -> None:
        self._leave(watching)
        with self._lock:
            if all(other.service != watching.service for other in self._watching):
                self._drop(watching.service)

    def _drop(self, name: str) -> None:
        service = self._services.pop(name, None)
        for histogram, labels in service.series if service is not None else ():
            _end(histogram, labels)

    def _drop_former_instances(self, name: str) -> None:
        with self._lock:
            service = self._services.get(name)
            if service is None:
                return
            listed = {
                (instance.ip, str(instance.port))
                for watching in self._watching
                if watching.service == name
                for instance in watching.client.instances
            }
            for histogram, labels in list(service.series):
                if histogram is self._attempts and labels[-2:] not in listed:
                    del service.series[histogram, labels]
                    _end(histogram, labels)


_COUNTS: dict[str, tuple[str, tuple[str, ...], Callable[[_Watching], Counts]]] = {
    # metric -> what it says, its label beside the service, how it is read
    "eas_client_retries": (
        "Attempts after the first of their call.",
        ("reason",),
        lambda watching: _by_reason(watching.client.counters.retries),
    ),
    "eas_client_failovers": (
        "Retries on another instance.",
        (),
        lambda watching: {(): watching.client.counters.failovers},
    ),
    "eas_client_hedges": ("Attempts beside a slow one.", (), lambda watching: {(): watching.client.counters.hedges}),
    "eas_client_streams": ("Streams opened.", (), lambda watching: {(): watching.client.counters.streams}),
    "eas_client_streams_broken": (
        "Streams that ended before their body did.",
        ("reason",),
        lambda watching: _by_reason(watching.client.counters.streams_broken),
    ),
    "eas_client_ejections": (
        "Times an instance was left out.",
        (),
        lambda watching: {(): watching.client.counters.ejections.total()},
    ),
    "eas_client_ejections_overflow": (
        "Ejections refused, because too many instances were left out already.",
        (),
        lambda watching: {(): watching.client.counters.ejections_overflow.total()},
    ),
    "eas_client_discovery_polls": (
        "Polls of the control plane.",
        (),
        lambda watching: {(): watching.client.discovery.polls},
    ),
    "eas_client_discovery_refusals": (
        "Replies that changed nothing.",
        ("reason",),
        lambda watching: _by_reason(watching.rejections),
    ),
}
_GAUGES: dict[str, tuple[str, Callable[[_Watching], int]]] = {
    "eas_client_instances": ("Instances in the list.", lambda watching: len(watching.client.instances)),
    "eas_client_ejected_instances": ("Instances left out.", lambda watching: len(watching.client.ejected)),
}


def _read(watching: _Watching) -> None:
    """Read a client; one that raises keeps the counts that were read last, and no place in the gauges."""
    client = watching.client
    try:
        watching.service = client.service_name
        counts = {name: read_steadily(read, watching) for name, (_, _, read) in _COUNTS.items()}
        # One that is closed may be ending calls still: its counts go on until its last event.
        shown = {} if client.is_closed else _GAUGES
        gauges = {name: read_steadily(read, watching) for name, (_, read) in shown.items()}
    except Exception:  # noqa: BLE001  one client's bug must not take the metrics of the whole program away
        if not watching.has_failed:
            _log.failure("the metrics of a client of {service} cannot be read", service=watching.service)
        watching.gauges, watching.has_failed = {}, True
    else:
        watching.counts, watching.gauges, watching.has_failed = counts, gauges, False


def _by_reason(counted: Mapping[str, int]) -> Counts:
    # A copy is made in one step of the interpreter, while the client counts on.
    return {(reason,): times for reason, times in dict(counted).items()}


def _add(total: dict[tuple[str, ...], int], found: Counts, before: tuple[str, ...] = ()) -> None:
    for labels, times in found.items():
        key = (*before, *labels)
        total[key] = total.get(key, 0) + times


def _end(histogram: Histogram, labels: tuple[str, ...]) -> None:
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:  # there the series are files, and cannot be ended
        histogram.remove(*labels)
