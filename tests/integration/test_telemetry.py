"""The adapters for Prometheus and OpenTelemetry over real sockets, with calls that fail over."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import pytest
import pytest_twisted
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry, generate_latest

from eas_tw import ConfigError, StatusError
from eas_tw.telemetry.opentelemetry import OpenTelemetry
from eas_tw.telemetry.prometheus import PrometheusMetrics
from tests.integration.clients import client_of
from tests.integration.conftest import TOKEN
from tests.integration.programs import printed, program
from tests.patience import PATIENCE_S
from tests.simulator.serving import Served, environment

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def samples(text: str) -> dict[str, float]:
    """Return the samples of a scrape, without the series' creation times."""
    lines = [line for line in text.splitlines() if not line.startswith("#") and "_created" not in line]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


class TestPrometheus:
    """`PrometheusMetrics`, tested by the samples of a scrape."""

    @pytest_twisted.ensureDeferred
    async def test_calls_attempts_retries_and_the_list_are_counted(self, served: Served) -> None:
        """Attempts are counted by status and by error. No label is an address."""
        registry = CollectorRegistry()
        metrics = PrometheusMetrics(registry)
        served.patch("echo", "echo-0", state="crashed")
        async with client_of(served) as client, client_of(served, service="mnist") as other:
            stop = metrics.watch(client)
            metrics.watch(other)
            for number in range(12):
                await client.predict(f"[{number}]")
            with pytest.raises(StatusError):
                await other.predict("not a tensor")
            told = generate_latest(registry).decode()
            found = samples(told)
            retries = client.counters.retries["connect_refused"]
            assert retries >= 1
            attempt = 'http_request_method="POST",http_response_status_code'
            count = "http_client_request_duration_seconds_count"
            assert found[f'{count}{{error_type="",{attempt}="200",service="echo"}}'] == 12
            assert found[f'{count}{{error_type="connect_refused",{attempt}="",service="echo"}}'] == retries
            assert found[f'{count}{{error_type="400",{attempt}="400",service="mnist"}}'] == 1
            assert found['eas_client_call_duration_seconds_count{error_type="",service="echo"}'] == 12
            assert found['eas_client_call_duration_seconds_count{error_type="StatusError",service="mnist"}'] == 1
            assert found['eas_client_retries_total{reason="connect_refused",service="echo"}'] == retries
            assert found['eas_client_failovers_total{service="echo"}'] == retries
            assert found['eas_client_instances{service="echo"}'] == 3
            assert found['eas_client_instances{service="mnist"}'] == 2
            assert found['eas_client_ejected_instances{service="echo"}'] == 1
            assert found['eas_client_discovery_polls_total{service="echo"}'] == 1
            assert "127.0.0.1" not in told
            assert TOKEN not in told
            stop()
            assert 'eas_client_instances{service="echo"}' not in samples(generate_latest(registry).decode())

    @pytest_twisted.ensureDeferred
    async def test_addresses_are_labels_if_instances_is_true(self, served: Served) -> None:
        """`instances=True` is for fleets that seldom change."""
        registry = CollectorRegistry()
        async with client_of(served) as client:
            PrometheusMetrics(registry, instances=True).watch(client)
            await client.predict("[]")
        assert 'server_address="127.0.0.1"' in generate_latest(registry).decode()

    def test_the_how_tos_application_is_scraped(self, served: Served) -> None:
        served.patch("echo", "echo-0", state="crashed")
        command = [sys.executable, str(EXAMPLES / "metrics.py"), served.ready["url"], "tcp:0:interface=127.0.0.1"]
        variables = {**environment(), "EAS_TOKEN": TOKEN}
        with subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert process.stdout.readline() == "30 calls\n"
            with urlopen(url, timeout=PATIENCE_S) as response:  # noqa: S310  the address the example printed
                found = samples(response.read().decode())
            process.terminate()
        assert found['eas_client_call_duration_seconds_count{error_type="",service="echo"}'] == 30
        assert found['eas_client_instances{service="mnist"}'] == 2


COLLECTED = """
    import asyncio, os, sys, threading
    import eas_tw, eas_tw.aio, eas_tw.blocking
    from eas_tw.telemetry.opentelemetry import OpenTelemetry
    from eas_tw.telemetry.prometheus import PrometheusMetrics
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    from prometheus_client import CollectorRegistry
    registry, exporter, tracers = CollectorRegistry(), InMemorySpanExporter(), TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = tracers.get_tracer("program")
    prometheus = PrometheusMetrics(registry)
    telemetry = OpenTelemetry(tracers, MeterProvider([InMemoryMetricReader()]))
    def made(module):
        return module.PredictClient(
            os.environ["EAS_ENDPOINT"], "echo", token=os.environ["EAS_TOKEN"], endpoint_type=eas_tw.ENDPOINT_TYPE_DIRECT
        )
    def value(name, **labels):
        return registry.get_sample_value(name, {"service": "echo", **labels})
    def report(client):
        spans = exporter.get_finished_spans()
        programs = {span.context.span_id for span in spans if span.name == "program"}
        calls = {span.context.span_id: span.parent.span_id for span in spans if span.name == "predict echo"}
        attempts = [span for span in spans if span.name == "POST"]
        answered = [span.parent.span_id for span in attempts if "error.type" not in span.attributes]
        print(set(calls.values()) == programs, sorted(answered) == sorted(calls))
        print(len(attempts) == client.counters.attempts.total())
        print(value("eas_client_call_duration_seconds_count", error_type=""), value("eas_client_instances"))
"""


class TestEveryKind:
    """Metrics and traces of clients whose inner client is made later, or runs in another thread."""

    def test_spans_of_the_asyncio_client_are_under_those_of_its_tasks(self, served: Served) -> None:
        """Telemetry is set up before the event loop runs. The span of each call is a child of its task's span."""
        served.patch("echo", "echo-0", state="crashed")
        ended = program(
            served,
            COLLECTED
            + """
    client = made(eas_tw.aio)
    prometheus.watch(client)
    assert telemetry.instrument(client) is client
    print(value("eas_client_instances"))
    async def call(number):
        with tracer.start_as_current_span("program"):
            assert str(await client.predict(f"[{number}]")) == f"[{number}]"
    async def main():
        async with client:
            await asyncio.gather(*map(call, range(20)))
            report(client)
        print(value("eas_client_instances"), value("eas_client_call_duration_seconds_count", error_type=""))
        print(prometheus._watching, telemetry._clients)
    asyncio.run(main())
""",
        )
        assert printed(ended) == ["0", "True True", "True", "20.0 3", "None 20.0", "[] []"]

    def test_spans_of_the_blocking_client_are_under_those_of_its_threads(self, served: Served) -> None:
        """The span of each call is a child of its thread's span. This works in a forked child process, too."""
        served.patch("echo", "echo-0", state="crashed")
        ended = program(
            served,
            COLLECTED
            + """
    client = made(eas_tw.blocking)
    prometheus.watch(client)
    assert telemetry.instrument(client) is client
    print(value("eas_client_instances"))
    def work(number):
        for _ in range(10):
            with tracer.start_as_current_span("program"):
                assert client.predict(f"[{number}]").content == b"[%d]" % number
    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads: thread.start()
    while any(thread.is_alive() for thread in threads):
        assert value("eas_client_instances") in (0, 3)
    for thread in threads: thread.join()
    report(client)
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        exporter.clear()
        work(1)
        spans = exporter.get_finished_spans()
        parents = {span.context.span_id for span in spans if span.name == "program"}
        calls = [span.parent.span_id for span in spans if span.name == "predict echo"]
        print(set(calls) == parents, len(calls), client.counters.calls, flush=True)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    client.destroy()
    print(value("eas_client_instances"), value("eas_client_call_duration_seconds_count", error_type=""))
    print(prometheus._watching, telemetry._clients)
""",
        )
        assert printed(ended) == ["0", "True True", "True", "80.0 3", "True 10 10", "None 80.0", "[] []"]

    def test_events_are_sent_until_the_listener_is_removed(self, served: Served) -> None:
        ended = program(
            served,
            COLLECTED
            + """
    client = made(eas_tw.blocking)
    client.predict("[]")
    stop, heard = prometheus.watch(client), []
    stop_listening = client.listen(heard.append)
    client.predict("[]")
    print(value("eas_client_call_duration_seconds_count", error_type=""), len(heard))
    stop()
    stop_listening()
    client.predict("[]")
    print(value("eas_client_call_duration_seconds_count", error_type=""), len(heard), client.counters.calls)
    client.destroy()
""",
        )
        assert printed(ended) == ["1.0 2", "None 2 3"]


class Collected:
    """The spans and metrics that an OpenTelemetry SDK has collected."""

    def __init__(self) -> None:
        self._spans = InMemorySpanExporter()
        self.tracer_provider = TracerProvider()
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self._spans))
        self._reader = InMemoryMetricReader()
        self.meter_provider = MeterProvider([self._reader])
        self.telemetry = OpenTelemetry(self.tracer_provider, self.meter_provider)

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self._spans.get_finished_spans())

    def points(self, name: str) -> list[tuple[dict[str, Any], Any]]:
        """Return the attributes and the value of each point of a metric."""
        data = self._reader.get_metrics_data()
        assert data is not None
        return [
            (dict(point.attributes or {}), getattr(point, "count", getattr(point, "value", None)))
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]


class TestOpenTelemetry:
    """Spans and metrics of OpenTelemetry."""

    @pytest_twisted.ensureDeferred
    async def test_a_span_for_each_attempt_under_one_for_its_call(self, served: Served) -> None:
        """A call fails over. Its span is a child of the program's span, and the parent of two attempts' spans."""
        collected = Collected()
        served.patch("echo", "echo-0", state="crashed")
        tracer = collected.tracer_provider.get_tracer("program")
        async with client_of(served) as plain:
            client = collected.telemetry.instrument(plain)
            while not plain.counters.failovers:
                with tracer.start_as_current_span("program"):
                    calling = client.predict("[1]")
                assert str(await calling) == "[1]"
        program, first, second, call = collected.spans[-4:]
        assert [span.name for span in (program, call, first, second)] == ["program", "predict echo", "POST", "POST"]
        assert call.parent.span_id == program.context.span_id
        assert first.parent.span_id == second.parent.span_id == call.context.span_id
        assert dict(first.attributes) == {
            "http.request.method": "POST",
            "eas.service": "echo",
            "error.type": "connect_refused",
            "server.address": "127.0.0.1",
            "server.port": served.instances[0]["port"],
        }
        assert first.status.status_code is trace.StatusCode.ERROR
        assert second.attributes["http.response.status_code"] == 200
        assert second.attributes["http.request.resend_count"] == 1
        assert second.kind is trace.SpanKind.CLIENT
        assert first.start_time <= first.end_time <= second.start_time <= second.end_time
        assert TOKEN not in str([span.to_json() for span in collected.spans])

    @pytest_twisted.ensureDeferred
    async def test_metrics_of_attempts_and_calls(self, served: Served) -> None:
        """Durations are histograms in seconds, by status and error, without addresses."""
        collected = Collected()
        async with client_of(served) as plain:
            client = collected.telemetry.instrument(plain)
            for _ in range(5):
                await client.predict("[]")
            fault = {"type": "http_status", "target": {"service": "echo"}, "attributes": {"code": 400}}
            served.admin("POST", "/v1/faults", fault)
            with pytest.raises(StatusError):
                await client.predict("[]")
            post = {"http.request.method": "POST", "eas.service": "echo"}
            assert collected.points("http.client.request.duration") == [
                (post | {"http.response.status_code": 200}, 5),
                (post | {"http.response.status_code": 400, "error.type": "400"}, 1),
            ]
            assert collected.points("eas.client.call.duration") == [
                ({"eas.service": "echo"}, 5),
                ({"eas.service": "echo", "error.type": "StatusError"}, 1),
            ]
            assert collected.points("eas.client.instances") == [({"eas.service": "echo"}, 3)]

    @pytest_twisted.ensureDeferred
    async def test_calls_in_parallel_keep_their_attempts_apart(self, served: Served) -> None:
        """Some of twenty concurrent calls fail over. The span of each attempt is a child of the span of its call."""
        collected = Collected()
        served.patch("echo", "echo-0", state="crashed")
        async with client_of(served) as plain:
            client = collected.telemetry.instrument(plain)
            calls = [client.predict(f"[{number}]") for number in range(20)]
            for call in calls:
                await call
            attempts = plain.counters.attempts.total()
        parents = {span.context.span_id for span in collected.spans if span.name == "predict echo"}
        children = [span for span in collected.spans if span.name == "POST"]
        assert len(parents) == 20
        assert len(children) == attempts
        answered = [span.parent.span_id for span in children if "error.type" not in span.attributes]
        assert sorted(answered) == sorted(parents)

    @pytest_twisted.ensureDeferred
    async def test_a_call_that_is_not_sent_has_a_span_without_attempts(self, served: Served) -> None:
        collected = Collected()
        async with collected.telemetry.instrument(client_of(served)) as client:
            assert len(client.instances) == 3
            with pytest.raises(ConfigError):
                await client.predict("[]", path="a b")
        (span,) = collected.spans
        assert (span.name, span.attributes["error.type"]) == ("predict echo", "ConfigError")

    def test_the_how_tos_program_writes_its_spans(self, served: Served) -> None:
        command = [sys.executable, str(EXAMPLES / "opentelemetry_client.py"), served.ready["url"], "echo"]
        variables = {**environment(), "EAS_TOKEN": TOKEN}
        ended = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=PATIENCE_S, check=False)  # noqa: S603
        assert (ended.returncode, ended.stderr) == (0, "")
        spans = json.loads("[" + ended.stdout.replace("}\n{", "},{") + "]")
        assert [span["name"] for span in spans] == ["POST", "predict echo"]
        assert spans[0]["parent_id"] == spans[1]["context"]["span_id"]
