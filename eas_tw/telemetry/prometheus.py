"""Metrics for Prometheus (extra `prometheus`), with names and units of the OpenTelemetry HTTP client conventions.

    metrics = PrometheusMetrics()
    metrics.watch(client)

Durations are histograms that events update; all other metrics are read from the clients' counters at each scrape.
Addresses are labels only with `instances=True`, because each new instance adds time series.
"""

from __future__ import annotations

import os
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any

from attrs import define, field
from twisted.logger import Logger

from eas_tw.telemetry.conventions import DURATION_BUCKETS_S, error_type, request_method
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
"""The number of services without an open client whose series are kept.

Counts remain after a close, because Prometheus interprets a decrease of a counter as a restart. The number of services
is bounded, because a program may create clients for more and more services.
"""


@define(eq=False)
class _Watching:
    """A watched client, with the values that were read last.

    Attributes:
        client: The client.
        stop: A function that removes the listener from the client.
        service: The name of the client's service.
        rejections: The number of rejected discovery replies, by reason; counted from events.
        counts: The values of the counters, by metric.
        gauges: The values of the gauges, by metric; empty if the client is closed or could not be read.
        has_failed: Whether the last read raised an exception, so that it is logged only once.
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
    """The values of a service that do not belong to an open client.

    Attributes:
        former: The counts of clients that are not watched any more, by metric and label values.
        series: The series of the histograms, by histogram and label values.
    """

    former: dict[str, dict[tuple[str, ...], int]] = field(factory=dict)
    series: dict[tuple[Histogram, tuple[str, ...]], Histogram] = field(factory=dict)


class PrometheusMetrics(Collector):
    """Metrics of clients of `eas_tw`, `eas_tw.aio` and `eas_tw.blocking`. The class is thread-safe.

    The values of clients of the same service are added up. A closed client is removed from the gauges. Its counts
    remain, so that no counter decreases, until 128 other services have closed their last client.

    Args:
        registry: The registry to add the metrics to.
        instances: Whether the metrics of attempts have the labels `server_address` and `server_port`. The series of an
            instance are removed when it leaves the list.
        buckets_s: The upper bounds of the histograms' buckets, in seconds.

    | metric | labels |
    |---|---|
    | `eas_client_call_duration_seconds` | service, error_type |
    | `http_client_request_duration_seconds` (an attempt) | service, http_request_method, http_response_status_code, |
    |   | error_type |
    | `eas_client_retries_total` | service, reason |
    | `eas_client_failovers_total`, `eas_client_hedges_total` | service |
    | `eas_client_streams_total` | service |
    | `eas_client_streams_broken_total` | service, reason |
    | `eas_client_watches_total`, `eas_client_frames_total`, `eas_client_frames_repeated_total` | service |
    | `eas_client_watches_lost_total` | service, reason |
    | `eas_client_commits_total`, `eas_client_commits_failed_total` | service |
    | `eas_client_ejections_total`, `eas_client_ejections_overflow_total` | service |
    | `eas_client_balancer_fallbacks_total` | service |
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
        self._lock = Lock()  # guards _watching and _services: `_hear` runs on reactor threads, a scrape on any thread
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
        """Add a client to the metrics. A second call with the same client changes nothing.

        Args:
            client: A `PredictClient` of `eas_tw`, `eas_tw.aio` or `eas_tw.blocking`, a child of such a client, or a
                `ClientService`, before or after `init`.

        Returns:
            A function that removes the client. The series of a service are removed when its last watched client is
            removed.

        Raises:
            TypeError: `client` is of another type; nothing was changed.
        """
        watched = as_watched(client)
        if watched.is_closed:
            return lambda: None  # the event `Closed`, which removes a client, may have been sent already
        with self._lock:
            found = next((watching for watching in self._watching if watching.client is watched), None)
            if found is None:
                found = _Watching(watched)
                found.stop = watched.listen(partial(self._hear, found))
                self._watching.append(found)
                _read(found)
        return partial(self._unwatch, found)

    def collect(self) -> Iterator[Any]:
        """Read the clients and yield the metrics; called at each scrape (`prometheus_client.registry.Collector`)."""
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
        """Return the counts of all clients, by service and reason, and the gauges of the open clients, by service."""
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

    # -- events

    def _hear(self, watching: _Watching, event: object) -> None:
        if isinstance(event, AttemptEnded):
            status = str(event.outcome.status) if event.outcome.status else ""
            labels: tuple[str, ...] = (event.service, request_method(event), status, error_type(event.outcome))
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

    # -- removal

    def _leave(self, watching: _Watching) -> None:
        """Stop watching a client, and add its counts to those of its service."""
        watching.stop()
        _read(watching)
        with self._lock:
            if watching not in self._watching:
                return
            self._watching.remove(watching)
            name = watching.service
            service = self._services.pop(name, None) or _Service()
            # Inserted last, so that `_services` is ordered by the time of the last close.
            self._services[name] = service
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
    # metric -> description, labels besides the service, function that reads it
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
    "eas_client_hedges": (
        "Hedges: attempts that were sent while another of the same call was running.",
        (),
        lambda watching: {(): watching.client.counters.hedges},
    ),
    "eas_client_streams": ("Streams opened.", (), lambda watching: {(): watching.client.counters.streams}),
    "eas_client_streams_broken": (
        "Streams that ended before their body was complete.",
        ("reason",),
        lambda watching: _by_reason(watching.client.counters.streams_broken),
    ),
    "eas_client_watches": (
        "Watches of queues opened.",
        (),
        lambda watching: {(): watching.client.counters.watches},
    ),
    "eas_client_watches_lost": (
        "Watches of queues lost, or not opened.",
        ("reason",),
        lambda watching: _by_reason(watching.client.counters.watches_lost),
    ),
    "eas_client_frames": (
        "Frames received by watches.",
        (),
        lambda watching: {(): watching.client.counters.frames},
    ),
    "eas_client_frames_repeated": (
        "Frames that watches received again.",
        (),
        lambda watching: {(): watching.client.counters.frames_repeated},
    ),
    "eas_client_commits": ("Frames committed.", (), lambda watching: {(): watching.client.counters.commits}),
    "eas_client_commits_failed": (
        "Frames whose commit failed.",
        (),
        lambda watching: {(): watching.client.counters.commits_failed},
    ),
    "eas_client_ejections": (
        "Ejections of instances.",
        (),
        lambda watching: {(): watching.client.counters.ejections.total()},
    ),
    "eas_client_ejections_overflow": (
        "Ejections prevented, because too many instances were ejected already.",
        (),
        lambda watching: {(): watching.client.counters.ejections_overflow.total()},
    ),
    "eas_client_balancer_fallbacks": (
        "Instances chosen by weighted round robin, because the program's own balancer chose none that may be used.",
        (),
        lambda watching: {(): watching.client.counters.balancer_fallbacks},
    ),
    "eas_client_discovery_polls": (
        "Polls of the control plane.",
        (),
        lambda watching: {(): watching.client.discovery.polls},
    ),
    "eas_client_discovery_refusals": (
        "Rejected discovery replies.",
        ("reason",),
        lambda watching: _by_reason(watching.rejections),
    ),
}
_GAUGES: dict[str, tuple[str, Callable[[_Watching], int]]] = {
    "eas_client_instances": ("Instances in the list.", lambda watching: len(watching.client.instances)),
    "eas_client_ejected_instances": ("Instances that are ejected.", lambda watching: len(watching.client.ejected)),
}


def _read(watching: _Watching) -> None:
    """Read the values of a client; if the read fails, keep the counts of the last read and clear the gauges."""
    client = watching.client
    try:
        watching.service = client.service_name
        counts = {name: read_steadily(read, watching) for name, (_, _, read) in _COUNTS.items()}
        # A closed client has no gauges. Its counters are read, because its last calls may still be in flight.
        shown = {} if client.is_closed else _GAUGES
        gauges = {name: read_steadily(read, watching) for name, (_, read) in shown.items()}
    except Exception:  # noqa: BLE001  a bug of one client must not hide the metrics of the whole program
        if not watching.has_failed:
            _log.failure("the metrics of a client of {service} cannot be read", service=watching.service)
        watching.gauges, watching.has_failed = {}, True
    else:
        watching.counts, watching.gauges, watching.has_failed = counts, gauges, False


def _by_reason(counted: Mapping[str, int]) -> Counts:
    # `dict()` copies in one step of the interpreter, so the client's thread cannot change the dictionary meanwhile.
    return {(reason,): times for reason, times in dict(counted).items()}


def _add(total: dict[tuple[str, ...], int], found: Counts, before: tuple[str, ...] = ()) -> None:
    for labels, times in found.items():
        key = (*before, *labels)
        total[key] = total.get(key, 0) + times


def _end(histogram: Histogram, labels: tuple[str, ...]) -> None:
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:  # in multiprocess mode, series cannot be removed from their files
        histogram.remove(*labels)
