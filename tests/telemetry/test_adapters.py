"""Prometheus and OpenTelemetry with clients in memory: sums over clients, closed clients, and errors."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry
from twisted.logger import globalLogPublisher

import eas_tw.aio
import eas_tw.blocking
from eas_tw import ENDPOINT_TYPE_DIRECT, AttemptStatus, Instance, PredictClient
from eas_tw.policy.instances import Added, Removed
from eas_tw.policy.outcomes import AttemptResult, Outcome
from eas_tw.service import ClientService
from eas_tw.telemetry.conventions import DURATION_BUCKETS_S
from eas_tw.telemetry.events import AttemptEnded, CallEnded, ListChanged
from eas_tw.telemetry.opentelemetry import OpenTelemetry, TracedClient
from eas_tw.telemetry.prometheus import PrometheusMetrics
from tests.net.calling import Harness, Result, response, says
from tests.net.fleet import PuppetReactor

REFUSED = AttemptResult(Instance("10.0.0.1", 80), Outcome(AttemptStatus.CONNECT_REFUSED), 0.5)


class Scraped:
    """A Prometheus registry and its samples."""

    def __init__(self, **options: Any) -> None:
        self.registry = CollectorRegistry()
        self.metrics = PrometheusMetrics(self.registry, **options)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, {"service": "svc", **labels})

    def labels(self, name: str) -> list[dict[str, str]]:
        """Return the labels of each series of a histogram."""
        found = [sample for metric in self.registry.collect() for sample in metric.samples]
        return [sample.labels for sample in found if sample.name == f"{name}_count"]


def fixed(n: int, service: str = "svc", reactor: Any = None) -> PredictClient:
    rows = [(f"10.0.0.{number}", 80) for number in range(1, n + 1)]
    client = PredictClient("", service, instances=rows, reactor=reactor or PuppetReactor())
    Result(client.init())
    return client


@contextmanager
def failures() -> Iterator[list[Any]]:
    """Collect the logged failures."""
    found: list[Any] = []

    def hear(event: Any) -> None:
        if "log_failure" in event:
            found.append(event)

    globalLogPublisher.addObserver(hear)
    try:
        yield found
    finally:
        globalLogPublisher.removeObserver(hear)


def kinds() -> dict[str, Any]:
    """Return a client of each kind by its name, before `init`."""
    arguments = {"endpoint_type": ENDPOINT_TYPE_DIRECT}
    twisted = PredictClient("127.0.0.1:1", "svc", reactor=PuppetReactor(), **arguments)
    return {
        "twisted": twisted,
        "child": fixed(1, "other").child("svc"),
        "service": ClientService(PredictClient("127.0.0.1:1", "svc", reactor=PuppetReactor(), **arguments)),
        "aio": eas_tw.aio.PredictClient("127.0.0.1:1", "svc", **arguments),
        "blocking": eas_tw.blocking.PredictClient("127.0.0.1:1", "svc", **arguments),
    }


WRONG = [None, "svc", PredictClient, eas_tw.aio.PredictClient, eas_tw.blocking.PredictClient, object(), [fixed(1)]]


class TestPrometheus:
    """Metrics for Prometheus."""

    @pytest.mark.parametrize("kind", kinds())
    def test_every_kind_of_client_is_watched_before_init(self, kind: str) -> None:
        scraped = Scraped()
        client = kinds()[kind]
        stop = scraped.metrics.watch(client)
        scraped.metrics.watch(client)
        assert scraped.value("eas_client_instances") == (1 if kind == "child" and client.instances else 0)
        assert len(scraped.metrics._watching) == 1
        stop()
        stop()
        assert scraped.value("eas_client_instances") is None

    @pytest.mark.parametrize(
        "wrong", WRONG, ids=["None", "text", "class", "asyncio class", "blocking class", "object", "list"]
    )
    def test_an_object_that_is_no_client_is_refused_at_once(self, wrong: Any) -> None:
        scraped = Scraped()
        scraped.metrics.watch(fixed(2))
        with pytest.raises(TypeError, match=r"a PredictClient of eas_tw, .* got "):
            scraped.metrics.watch(wrong)
        assert scraped.value("eas_client_instances") == 2

    def test_values_of_clients_of_one_service_are_added_up(self) -> None:
        scraped = Scraped()
        one, other = fixed(4), fixed(1)
        for client in (one, other):
            scraped.metrics.watch(client)
            client.counters.failovers = 3
            client.counters.retries["cut"] = 2
        assert scraped.value("eas_client_instances") == 5
        Result(one.close())
        assert scraped.value("eas_client_instances") == 1
        assert scraped.value("eas_client_failovers_total") == 6
        assert scraped.value("eas_client_retries_total", reason="cut") == 4
        Result(other.close())
        assert scraped.value("eas_client_instances") is None
        assert scraped.value("eas_client_ejected_instances") is None
        assert scraped.value("eas_client_failovers_total") == 6
        third = fixed(2)
        scraped.metrics.watch(third)
        third.counters.failovers = 1
        assert scraped.value("eas_client_failovers_total") == 7

    def test_ejected_instances_of_all_clients_are_counted(self) -> None:
        scraped, harnesses = Scraped(), [Harness(3, attempts=1), Harness(3, attempts=1)]
        for harness in harnesses:
            scraped.metrics.watch(harness.client)
        harness.call()
        harness.dial.fail()
        assert scraped.value("eas_client_ejected_instances") == 1

    def test_series_remain_until_the_last_client_of_a_service_is_unwatched(self) -> None:
        scraped = Scraped()
        one, other = fixed(4), fixed(1)
        stops = [scraped.metrics.watch(client) for client in (one, other)]
        one.counters.failovers = 3
        one._record._tell(CallEnded("svc", 0.1, "", (), None))
        stops[0]()
        assert scraped.value("eas_client_failovers_total") == 3
        stops[1]()
        assert scraped.value("eas_client_failovers_total") is None
        assert scraped.value("eas_client_call_duration_seconds_count", error_type="") is None

    def test_a_client_that_raises_does_not_affect_the_others(self) -> None:
        class Moody(PredictClient):
            """A client whose list cannot be read any more."""

            is_broken = False

            @property
            def instances(self) -> Any:
                if self.is_broken:
                    raise ZeroDivisionError
                return super().instances

        scraped = Scraped()
        moody = Moody("", "svc", instances=[("10.0.0.1", 80)], reactor=PuppetReactor())
        Result(moody.init())
        moody.counters.failovers = 2
        scraped.metrics.watch(moody)
        scraped.metrics.watch(fixed(3))
        assert scraped.value("eas_client_instances") == 4
        moody.is_broken = True
        with failures() as logged:
            assert scraped.value("eas_client_instances") == 3
            assert scraped.value("eas_client_failovers_total") == 2
        assert len(logged) == 1

    def test_the_number_of_services_with_closed_clients_is_bounded(self) -> None:
        """A program makes a child with a different name for each of 1,000 jobs. The series of the last 128 remain."""
        scraped, reactor = Scraped(), PuppetReactor()
        parent = fixed(1, reactor=reactor)
        scraped.metrics.watch(parent)
        refs = []
        for number in range(1000):
            child = parent.child(f"job{number}")
            Result(child.init())
            scraped.metrics.watch(child)
            child._record._tell(CallEnded(f"job{number}", 0.1, "", (), None))
            Result(child.close())
            refs.append(weakref.ref(child))
        del child
        gc.collect()
        assert not any(ref() for ref in refs)
        assert len(scraped.metrics._watching) == 1
        found = scraped.labels("eas_client_call_duration_seconds")
        assert [labels["service"] for labels in found] == [f"job{number}" for number in range(872, 1000)]
        assert len(scraped.metrics._services) <= 129

    def test_calls_that_end_while_a_client_closes_are_counted(self) -> None:
        """In a scrape between `close` and the last response, only the gauge is missing."""
        scraped, harness = Scraped(), Harness(1, drain_timeout_s=3.0)
        scraped.metrics.watch(harness.client)
        call = harness.call()
        closing = Result(harness.client.close())
        assert scraped.value("eas_client_instances") is None
        harness.dial.fail()
        harness.reactor.advance(0.3)
        says(harness.accept(), response())
        assert str(call.value) == "ok"
        harness.reactor.advance(0)
        assert closing.fired
        assert scraped.value("eas_client_call_duration_seconds_count", error_type="") == 1
        assert scraped.value("eas_client_retries_total", reason="connect_refused") == 1
        assert not scraped.metrics._watching
        scraped.metrics.watch(harness.client)()
        assert not scraped.metrics._watching

    def test_a_client_that_is_closed_before_init_is_not_watched_any_more(self) -> None:
        scraped = Scraped()
        never = PredictClient("127.0.0.1:1", "svc", reactor=PuppetReactor())
        scraped.metrics.watch(never)
        Result(never.close())
        assert not scraped.metrics._watching

    def test_the_series_of_an_instance_end_when_it_leaves(self) -> None:
        scraped, client = Scraped(instances=True), fixed(2)
        scraped.metrics.watch(client)
        gone = Instance("10.9.9.9", 80)
        for instance in (*client.instances, gone):
            client._record._tell(AttemptEnded("svc", instance, Outcome(AttemptStatus.ANSWERED, 200), 0.1))
        name = "http_client_request_duration_seconds"
        assert len(scraped.labels(name)) == 3
        client._record._tell(ListChanged("svc", (Removed(gone),)))
        assert {labels["server_address"] for labels in scraped.labels(name)} == {"10.0.0.1", "10.0.0.2"}
        client._record._tell(AttemptEnded("svc", gone, Outcome(AttemptStatus.ANSWERED, 200), 0.1))
        client._record._tell(ListChanged("svc", (Added(gone),)))
        assert len(scraped.labels(name)) == 2

    def test_the_buckets_fit_a_millisecond_to_half_a_minute(self) -> None:
        """The buckets suit small models and language models, and include the bounds of OpenTelemetry's conventions."""
        advised = {0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0}
        assert (min(DURATION_BUCKETS_S), max(DURATION_BUCKETS_S)) == (0.001, 30.0)
        assert advised < set(DURATION_BUCKETS_S)
        assert list(DURATION_BUCKETS_S) == sorted(DURATION_BUCKETS_S)


class Instrumented:
    """An OpenTelemetry SDK in memory, and the values that it collects."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self.telemetry = OpenTelemetry(TracerProvider(), MeterProvider([self._reader]))

    def points(self, name: str) -> dict[str, Any]:
        """Return the values of a metric by service."""
        data = self._reader.get_metrics_data()
        found = [
            point
            for resource in data.resource_metrics if data
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]  # fmt: skip
        return {str(point.attributes["eas.service"]): getattr(point, "value", None) for point in found}


def test_a_listener_that_is_added_during_init_gets_each_event_once() -> None:
    """The event loop's thread creates the inner client while another thread adds a listener."""

    class Slow(eas_tw.aio.PredictClient):
        """A client whose inner client is created after `listen` has found that there is none."""

        def _current_client(self) -> PredictClient:
            found = super()._current_client()
            if self._client is None and hasattr(self, "_began"):
                self._start(PuppetReactor())
            return found

    client = Slow("", "svc", instances=[("10.0.0.1", 80)])
    client._began = True  # type: ignore[attr-defined]
    heard: list[Any] = []
    stop = client.listen(heard.append)
    assert client._client is not None
    client._client._record._tell(CallEnded("svc", 0.1, "", (), None))
    assert len(heard) == 1
    stop()
    client._client._record._tell(CallEnded("svc", 0.1, "", (), None))
    assert len(heard) == 1


class TestOpenTelemetry:
    """Instrumentation with OpenTelemetry."""

    @pytest.mark.parametrize("kind", kinds())
    def test_every_kind_of_client_is_instrumented_before_init(self, kind: str) -> None:
        instrumented = Instrumented()
        client = kinds()[kind]
        traced = instrumented.telemetry.instrument(client)
        assert instrumented.telemetry.instrument(client) is traced
        assert instrumented.telemetry.instrument(traced) is traced
        assert traced.predict
        assert (traced is client) == (kind in ("aio", "blocking"))
        assert len(instrumented.telemetry._clients) == 1
        assert instrumented.points("eas.client.instances") == {"svc": 0}

    @pytest.mark.parametrize(
        "wrong", WRONG, ids=["None", "text", "class", "asyncio class", "blocking class", "object", "list"]
    )
    def test_an_object_that_is_no_client_is_refused_at_once(self, wrong: Any) -> None:
        instrumented = Instrumented()
        with pytest.raises(TypeError, match=r"a PredictClient of eas_tw, .* got "):
            instrumented.telemetry.instrument(wrong)
        instrumented.telemetry.instrument(fixed(2))
        assert instrumented.points("eas.client.instances") == {"svc": 2}

    def test_instances_of_clients_of_one_service_are_added_up_until_they_close(self) -> None:
        instrumented = Instrumented()
        one, other = fixed(4), fixed(1)
        for client in (one, other):
            instrumented.telemetry.instrument(client)
        assert instrumented.points("eas.client.instances") == {"svc": 5}
        Result(one.close())
        assert instrumented.points("eas.client.instances") == {"svc": 1}
        Result(other.close())
        ref = weakref.ref(other)
        del one, other, client
        gc.collect()
        assert ref() is None
        assert not instrumented.telemetry._traced

    def test_a_client_that_raises_does_not_affect_the_others(self) -> None:
        class Broken(PredictClient):
            """A client whose list cannot be read."""

            @property
            def instances(self) -> Any:
                raise ZeroDivisionError

        instrumented = Instrumented()
        for client in (Broken("", "svc", instances=[("10.0.0.1", 80)], reactor=PuppetReactor()), fixed(3)):
            instrumented.telemetry.instrument(client)
        with failures() as logged:
            assert instrumented.points("eas.client.instances") == {"svc": 3}
        assert len(logged) == 1

    def test_an_instrumented_service_is_still_a_twisted_service(self) -> None:
        service = kinds()["service"]
        traced = Instrumented().telemetry.instrument(service)
        assert isinstance(traced, TracedClient)
        assert traced.setServiceParent == service.setServiceParent
        assert traced.service_name == "svc"

    def test_a_client_can_be_instrumented_twice(self) -> None:
        harness, spans = Harness(1), []
        both = Instrumented().telemetry.instrument(Instrumented().telemetry.instrument(harness.client))
        call = Result(both.predict(b"x"))
        wire = harness.accept()
        spans.append(wire.take().count(b"traceparent"))
        says(wire, response())
        assert str(call.value) == "ok"
        assert spans == [1]
        harness.assert_clean()
