"""A Twisted application under `twistd`, and `treq` with `EasAgent`, while an instance is killed."""

from __future__ import annotations

import io
import json
import signal
import socket
import subprocess
import sys
import threading
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_twisted
from treq.client import HTTPClient
from twisted.application.service import MultiService
from twisted.internet.defer import CancelledError, gatherResults
from twisted.web.client import FileBodyProducer, readBody
from twisted.web.http_headers import Headers

from eas_tw import (
    ClientClosed,
    ConfigError,
    DeadlineExceeded,
    TFRequest,
)
from eas_tw.service import ClientService, EasAgent
from tests.integration.clients import client_of
from tests.integration.conftest import TOKEN
from tests.patience import PATIENCE_S, PATIENT
from tests.simulator.serving import Served, environment

if TYPE_CHECKING:
    from collections.abc import Iterator

TWISTD = "from twisted.scripts.twistd import run; run()"
ENDED_BY_TERM = -signal.SIGTERM  # twistd ends its process with the received signal after a clean shutdown
EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "twisted_application.py"


class Application:
    """The application of the documentation, as a subprocess under `twistd`."""

    def __init__(self, served: Served, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            self.port = taken.getsockname()[1]
        patient = folder / "application.py"
        patient.write_text(
            EXAMPLE.read_text("utf-8").replace("ClientConfig(timeout_s=2.0, ", f"ClientConfig(**{PATIENT}, ")
        )
        assert "timeout_s=2.0" not in patient.read_text()
        command = [sys.executable, "-c", TWISTD, "--nodaemon", "--pidfile=", "--python", str(patient)]
        variables = {
            **environment(),
            "EAS_ENDPOINT": served.ready["url"],
            "EAS_TOKEN": TOKEN,
            "LISTEN": f"tcp:{self.port}:interface=127.0.0.1",
        }
        self.process = subprocess.Popen(  # noqa: S603
            command, env=variables, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert self.process.stdout is not None
        self.log = ""
        for line in self.process.stdout:
            self.log += line
            if self.log.count("list of instances changed") == 2 and "Site starting" in self.log:
                break

    def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        connection.request("POST", path, body)
        response = connection.getresponse()
        answer = response.status, response.read()
        connection.close()
        return answer

    def end(self) -> int:
        """Send SIGTERM, and return the exit code."""
        assert self.process.stdout is not None
        self.process.send_signal(signal.SIGTERM)
        self.log += self.process.stdout.read()
        self.process.stdout.close()
        return self.process.wait(PATIENCE_S)


@pytest.fixture
def application(served: Served, tmp_path: Path) -> Iterator[Application]:
    running = Application(served, tmp_path)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.end()


class TestApplication:
    """The application of the how-to page."""

    def test_calls_succeed_while_an_instance_crashes(self, served: Served, application: Application) -> None:
        """Forty calls to each service. After half of them, one instance of each service is killed."""
        request = TFRequest("predict_images")
        request.add_feed("images", [1, 784], TFRequest.DT_FLOAT, [1] * 784)
        images = request.to_string()
        for number in range(40):
            if number == 20:
                served.patch("echo", "echo-0", state="crashed")
                served.patch("mnist", "mnist-0", state="crashed")
            body = json.dumps([number]).encode()
            assert application.post("/echo", body) == (200, body)
            assert application.post("/mnist", images)[0] == 200
        assert application.end() == ENDED_BY_TERM
        assert "Traceback" not in application.log
        assert TOKEN not in application.log

    def test_stopping_waits_for_the_calls_in_flight(self, served: Served, application: Application) -> None:
        """A slow call that is in flight at SIGTERM gets its response. Then the process ends."""
        fault = {"type": "latency", "target": {"service": "echo"}, "attributes": {"latency": 300}}
        served.admin("POST", "/v1/faults", fault)
        answers: list[tuple[int, bytes]] = []
        caller = threading.Thread(target=lambda: answers.append(application.post("/echo", b"slow")))
        caller.start()
        while not served.admin("GET", "/v1/connections")[1]["connections"]:
            pass
        assert application.end() == ENDED_BY_TERM
        caller.join(PATIENCE_S)
        assert answers == [(200, b"slow")]


class TestClientService:
    """`ClientService` without an application."""

    @pytest_twisted.ensureDeferred
    async def test_several_services_start_and_stop_with_their_parent(self, served: Served) -> None:
        parent = MultiService()
        services = [ClientService(client_of(served, service=name, drain_timeout_s=0.1)) for name in ("echo", "mnist")]
        for service in services:
            service.setServiceParent(parent)
        parent.startService()
        await gatherResults([service.when_ready() for service in services])
        assert [len(service.client.instances) for service in services] == [3, 2]
        for number in range(3):
            served.patch("echo", f"echo-{number}", state="hung")
        call = services[0].client.predict("[]")
        await parent.stopService()
        with pytest.raises(ClientClosed):
            await call
        assert repr(services[0]).startswith("<ClientService stopped <PredictClient echo at http")

    @pytest_twisted.ensureDeferred
    async def test_stopping_before_the_first_list_is_quiet(self, served: Served) -> None:
        served.admin("POST", "/v1/faults", {"type": "timeout", "target": {"discovery": True}})
        service = ClientService(client_of(served))
        service.startService()
        await service.stopService()

    def test_a_client_without_a_service_does_not_start(self, served: Served) -> None:
        service = ClientService(client_of(served, service=""))
        with pytest.raises(ConfigError, match="service_name is not set"):
            service.startService()
        assert not service.running

    @pytest_twisted.ensureDeferred
    async def test_a_service_runs_once(self, served: Served) -> None:
        """A service that was stopped cannot be started again, because its client is closed."""
        service = ClientService(client_of(served))
        service.startService()
        await service.when_ready()
        await service.stopService()
        with pytest.raises(ClientClosed):
            service.startService()


class TestEasAgent:
    """`treq` with `EasAgent`."""

    @pytest_twisted.ensureDeferred
    async def test_treq_posts_json_while_an_instance_crashes(self, served: Served) -> None:
        """Instances receive path and query. The response is complete and has the instance's headers."""
        async with client_of(served) as client:
            http = HTTPClient(EasAgent(client))
            for number in range(20):
                if number == 10:
                    served.patch("echo", "echo-1", state="crashed")
                response = await http.post(
                    "eas://echo/v2", params={"uid": "7"}, json=[number], headers={"X-Trace": "1"}
                )
                assert response.code == 200
                assert response.length == len(f"[{number}]")
                assert response.headers.hasHeader("content-type")
                assert await response.json() == [number]
        rows = served.admin("GET", "/v1/requests")[1]["requests"]
        assert {row["path"] for row in rows} == {"/api/predict/echo/v2?uid=7"}

    @pytest_twisted.ensureDeferred
    async def test_a_status_other_than_200_is_a_response(self, served: Served) -> None:
        attributes = {"code": 400, "body": "bad column 17"}
        fault = {"type": "http_status", "target": {"service": "echo"}, "attributes": attributes}
        served.admin("POST", "/v1/faults", fault)
        async with client_of(served) as client:
            response = await HTTPClient(EasAgent(client)).post("eas://echo", data=b"x")
            assert (response.code, response.phrase, await response.text()) == (400, b"Bad Request", "bad column 17")

    @pytest_twisted.ensureDeferred
    async def test_an_agent_finds_services_by_the_host_of_the_url(self, served: Served) -> None:
        request = TFRequest("predict_images")
        request.add_feed("images", [1, 784], TFRequest.DT_FLOAT, [1] * 784)
        async with client_of(served) as echo, client_of(served, service="mnist") as mnist:
            agent = EasAgent(echo, mnist)
            body = FileBodyProducer(io.BytesIO(request.to_string()))
            response = await agent.request(b"POST", b"eas://mnist", Headers({"Host": ["mnist"]}), body)
            answer = request.parse_response(await readBody(response))
            assert answer.get_tensor_shape("scores") == [1, 10]
            assert await readBody(await agent.request(b"POST", b"eas://echo/")) == b""

    def test_services_whose_names_give_the_same_host_are_refused(self, served: Served) -> None:
        with pytest.raises(ConfigError, match="a_b"):
            EasAgent(client_of(served, service="a-b"), client_of(served, service="a_b"))

    @pytest.mark.parametrize(
        ("method", "url", "says"),
        [
            (b"POST", b"http://echo/", "takes eas://service/path"),
            (b"POST", b"eas://[echo/", "takes eas://service/path"),
            (b"POST", b"eas://other/", "there are clients for echo"),
            (b"POST", b"eas://echoes/", "there are clients for echo"),
        ],
    )
    @pytest_twisted.ensureDeferred
    async def test_unsupported_requests_are_refused(self, served: Served, method: bytes, url: bytes, says: str) -> None:
        with pytest.raises(ConfigError, match=says):
            await EasAgent(client_of(served)).request(method, url)

    @pytest_twisted.ensureDeferred
    async def test_treqs_timeout_cancels_the_call(self, served: Served) -> None:
        """The call's connection is closed. An expired deadline of the client is a different error."""
        for number in range(3):
            served.patch("echo", f"echo-{number}", state="hung")
        async with client_of(served, timeout_s=0.2) as client:
            http = HTTPClient(EasAgent(client))
            with pytest.raises(CancelledError):
                await http.post("eas://echo", data=b"x", timeout=0.05)
            assert client.counters.failed["CancelledError"] == 1
            with pytest.raises(DeadlineExceeded):
                await http.post("eas://echo", data=b"x")
