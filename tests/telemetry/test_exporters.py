"""Each counter of a client is exported by each exporter, with the same value."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry

from eas_tw import ConfigError
from eas_tw.telemetry.counters import Counters
from eas_tw.telemetry.opentelemetry import OpenTelemetry
from eas_tw.telemetry.prometheus import PrometheusMetrics
from tests.net.calling import Harness, Result, response, says
from tests.telemetry.test_record import everything

if TYPE_CHECKING:
    from collections.abc import Callable

    from eas_tw import PredictClient

    Read = Callable[["Sums"], float]
    Export = Callable[[PredictClient], Callable[[], "Sums"]]

OK = "200"


class Sums:
    """The exported values of each metric by label, and their sums."""

    def __init__(self) -> None:
        self.values: dict[str, Counter[tuple[str, ...]]] = {}

    def add(self, name: str, value: float, *labels: str) -> None:
        """Add a sample of a metric."""
        found: Any = self.values.setdefault(name, Counter())
        found[labels] += value

    def all(self, name: str) -> float:
        """Return the sum of all samples of a metric. Raise `KeyError` if the metric does not exist."""
        return self.values[name].total()

    def having(self, name: str, label: str) -> float:
        """Return the sum of the samples that have this label value."""
        return sum(value for labels, value in self.values[name].items() if label in labels)

    def lacking(self, name: str, label: str) -> float:
        """Return the sum of the samples that do not have this label value."""
        return self.all(name) - self.having(name, label)


def prometheus(client: PredictClient) -> Callable[[], Sums]:
    """Return a function that reads the values of a scrape. An empty `error_type` means a response."""
    registry = CollectorRegistry()
    PrometheusMetrics(registry).watch(client)

    def read() -> Sums:
        sums = Sums()
        for metric in registry.collect():
            for sample in metric.samples:
                sums.add(sample.name, sample.value, *(f"{name}={value}" for name, value in sample.labels.items()))
        return sums

    return read


def opentelemetry(client: PredictClient) -> Callable[[], Sums]:
    """Return a function that reads the values of an OpenTelemetry reader; the value of a histogram is its count."""
    reader = InMemoryMetricReader()
    OpenTelemetry(TracerProvider(), MeterProvider([reader])).instrument(client)

    def read() -> Sums:
        sums, data = Sums(), reader.get_metrics_data()
        scopes = [scope for found in data.resource_metrics for scope in found.scope_metrics]
        for metric in [metric for scope in scopes for metric in scope.metrics]:
            for point in metric.data.data_points:
                value = getattr(point, "count", None) or getattr(point, "value", 0)
                labels = [f"{name}={value}" for name, value in point.attributes.items()]
                failed = [] if "error.type" in point.attributes else ["error.type="]
                sums.add(metric.name, value, *labels, *failed)
        return sums

    return read


def scrapy(client: PredictClient) -> Callable[[], Sums]:
    """Return a function that reads the stats of a crawl."""

    def read() -> Sums:
        sums = Sums()
        stats = pytest.importorskip("eas_tw.scrapy.stats", reason="Scrapy is not installed", exc_type=ImportError)
        for name, value in stats.crawl_stats(client, stats.Latency(), 1).items():
            sums.add(name, value)
        return sums

    return read


def _of_histograms(call: str, attempt: str, error: str) -> dict[str, Read]:
    return {
        "calls": lambda sums: sums.all(call),
        "answered": lambda sums: sums.having(call, error),
        "failed": lambda sums: sums.lacking(call, error),
        "attempts": lambda sums: sums.all(attempt),
        "failures": lambda sums: sums.lacking(attempt, error),
        "failures_at": lambda sums: sums.lacking(attempt, error),
    }


def _of_counters(names: str, counters: tuple[str, ...]) -> dict[str, Read]:
    return {name: (lambda sums, name=name: sums.all(names.format(name))) for name in counters}


QUEUES = ("watches", "watches_lost", "frames", "frames_repeated", "commits", "commits_failed")
OWN = (
    "retries",
    "failovers",
    "hedges",
    "ejections",
    "ejections_overflow",
    "balancer_fallbacks",
    "streams",
    "streams_broken",
    *QUEUES,
)
SHOWN: dict[str, tuple[Export, dict[str, Read]]] = {
    # exporter -> how to read it, and the values for each counter
    "prometheus": (
        prometheus,
        _of_histograms(
            "eas_client_call_duration_seconds_count", "http_client_request_duration_seconds_count", "error_type="
        )
        | _of_counters("eas_client_{}_total", OWN),
    ),
    "opentelemetry": (
        opentelemetry,
        _of_histograms("eas.client.call.duration", "http.client.request.duration", "error.type=")
        | _of_counters("eas.client.{}", OWN),
    ),
    "scrapy": (
        scrapy,
        {
            "calls": lambda sums: sums.all("eas/call_count"),
            "answered": lambda sums: sums.all("eas/call_answered_count"),
            "failed": lambda sums: sums.all("eas/call_error_count"),
            "attempts": lambda sums: sums.all("eas/request_count"),
            "failures": lambda sums: sums.all("eas/request_count") - sums.all(f"eas/response_status_count/{OK}"),
            "failures_at": lambda sums: sums.all("eas/request_count") - sums.all(f"eas/response_status_count/{OK}"),
            "retries": lambda sums: sums.all("eas/retry_count"),
            "failovers": lambda sums: sums.all("eas/failover_count"),
            "hedges": lambda sums: sums.all("eas/hedge_count"),
            "ejections": lambda sums: sums.all("eas/ejection_count"),
            "streams": lambda sums: sums.all("eas/stream_count"),
            "streams_broken": lambda sums: sums.all("eas/stream_broken_count"),
            "ejections_overflow": lambda sums: sums.all("eas/ejection_overflow_count"),
            "balancer_fallbacks": lambda sums: sums.all("eas/balancer_fallback_count"),
            "watches": lambda sums: sums.all("eas/watch_count"),
            "watches_lost": lambda sums: sums.all("eas/watch_lost_count"),
            "frames": lambda sums: sums.all("eas/frame_count"),
            "frames_repeated": lambda sums: sums.all("eas/frame_repeated_count"),
            "commits": lambda sums: sums.all("eas/commit_count"),
            "commits_failed": lambda sums: sums.all("eas/commit_failed_count"),
        },
    ),
}


def total(counted: Any) -> int:
    return int(counted.total() if isinstance(counted, Counter) else counted)


@pytest.mark.parametrize("exporter", SHOWN)
def test_every_counter_is_exported(exporter: str) -> None:
    """A new counter fails this test until each exporter has it."""
    forgotten = [field.name for field in attrs.fields(Counters) if field.name not in SHOWN[exporter][1]]
    assert forgotten == []


@pytest.mark.parametrize("exporter", SHOWN)
def test_an_exported_value_equals_its_counter(exporter: str) -> None:
    harness = Harness(2)
    begin, shown = SHOWN[exporter]
    read = begin(harness.client)
    harness.reactor.advance(5.0)  # the attempts that `everything` records begin at 1 s
    for _ in range(3):
        everything(harness.client._record)
    counted = {field.name: total(getattr(harness.client.counters, field.name)) for field in attrs.fields(Counters)}
    assert 0 not in counted.values()
    sums = read()
    assert {name: figure(sums) for name, figure in shown.items()} == counted


@pytest.mark.parametrize(
    ("exporter", "name"),
    [
        ("prometheus", "eas_client_discovery_refusals_total"),
        ("opentelemetry", "eas.client.discovery.rejections"),
    ],
)
def test_rejected_replies_are_counted_by_reason(exporter: str, name: str) -> None:
    harness = Harness(2)
    read = SHOWN[exporter][0](harness.client)
    everything(harness.client._record)
    label = "reason" if exporter == "prometheus" else "error.type"
    assert read().having(name, f"{label}=empty_list") == 1


def test_ejected_instances_are_a_gauge_of_opentelemetry() -> None:
    harness = Harness(3, attempts=1)
    read = opentelemetry(harness.client)
    harness.call()
    harness.dial.fail()
    assert read().all("eas.client.ejected_instances") == 1


@pytest.mark.parametrize("exporter", ["prometheus", "opentelemetry"])
@pytest.mark.parametrize(("method", "label"), [("GET", "GET"), ("PUT", "PUT"), ("PROPFIND", "_OTHER")])
def test_attempts_have_the_method_of_their_request(exporter: str, method: str, label: str) -> None:
    harness = Harness()
    export, name, attribute = {
        "prometheus": (prometheus, "http_client_request_duration_seconds_count", "http_request_method"),
        "opentelemetry": (opentelemetry, "http.client.request.duration", "http.request.method"),
    }[exporter]
    read = export(harness.client)
    harness.client.request(method, "v1/models")
    says(harness.accept(), response())
    sums = read()
    assert sums.having(name, f"{attribute}={label}") == sums.all(name) == 1


@pytest.mark.parametrize("headers", ["x", 5, [("a", "b")]])
def test_wrong_headers_of_a_traced_call_are_the_clients_error(headers: Any) -> None:
    client = OpenTelemetry(TracerProvider(), MeterProvider()).instrument(Harness().client)
    call = Result(client.predict("x", headers=headers))
    assert isinstance(call.error, ConfigError)
    assert str(call.error).startswith("headers must be a mapping of names to values")


def test_a_span_ends_when_the_error_of_a_parser_has_no_text() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    class Request:
        def to_string(self) -> bytes:
            return b"x"

        def parse_response(self, content: bytes) -> None:
            raise Mute

    harness, spans = Harness(), InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    client = OpenTelemetry(provider, MeterProvider()).instrument(harness.client)
    call = Result(client.predict(Request()))
    says(harness.accept(), response())
    assert isinstance(call.error, Mute)
    assert [span.name for span in spans.get_finished_spans()] == ["POST", "predict svc"]
