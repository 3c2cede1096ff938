"""The command line in subprocesses, with real sockets: output and exit codes."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from http.client import HTTPConnection
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from tests.patience import PATIENCE_S
from tests.simulator.serving import Served, environment, run


def test_the_ready_file_has_all_addresses_and_is_removed_at_the_end(tmp_path: Path) -> None:
    with Served(tmp_path, "--service", "echo=2", "--weight", "10,20", "--token", "t0ken", "--seed", "7") as served:
        ready = served.ready
        assert (ready["pid"], ready["seed"]) == (served.process.pid, 7)
        assert ready["admin_url"] == ready["url"] + "/_eas"
        (service,) = ready["services"]
        assert (service["name"], service["token"]) == ("echo", "t0ken")
        assert [(i["id"], i["ip"], i["weight"]) for i in service["instances"]] == [
            ("echo-0", "127.0.0.1", 10),
            ("echo-1", "127.0.0.1", 20),
        ]
    assert served.code == 0
    assert not served.ready_file.exists()


def test_weights_are_those_of_each_services_instances(tmp_path: Path) -> None:
    services = ("--service", "two=2", "--service", "three=3", "--weight", "10,20,30")
    with Served(tmp_path, *services) as served:
        told = [[i["weight"] for i in service["instances"]] for service in served.ready["services"]]
    assert told == [[10, 20], [10, 20, 30]]


def test_the_version_is_printed() -> None:
    ended = run("--version")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, f"eas-simulator {version('eas-tw')}\n", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_the_process_cleanly_with_open_connections(tmp_path: Path, number: int) -> None:
    with Served(tmp_path, "--service", "echo=1", "--keepalive", "0") as served:
        instance = served.instances[0]
        with socket.create_connection((instance["ip"], instance["port"]), PATIENCE_S) as hanging:
            hanging.sendall(b"POST /api/predict/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
            served.process.send_signal(number)
            assert served.process.wait(PATIENCE_S) == 0


def test_the_banner_shows_only_a_generated_token(tmp_path: Path) -> None:
    with Served(tmp_path, "--token", "s3cret-of-the-user") as served:
        pass
    assert "s3cret-of-the-user" not in served.output
    assert "$EAS_TOKEN" in served.output
    assert "# first: export EAS_TOKEN=…" in served.output
    with Served(tmp_path) as served:
        assert f"  export EAS_TOKEN={served.ready['services'][0]['token']}\n" in served.output
    with Served(tmp_path, "--token", "") as served:
        assert "EAS_TOKEN" not in served.output
    assert "curl " in served.output


@pytest.mark.parametrize(
    ("service", "token", "says"), [("mnist", None, "0.283447265625"), ("echo", None, "[1]"), ("echo", "g1ven", "[1]")]
)
def test_the_commands_of_the_banner_work(tmp_path: Path, service: str, token: str | None, says: str) -> None:
    """The Python lines print the response of the service. The requests of the curl lines get status 200."""
    given = [] if token is None else ["--token", token]
    with Served(tmp_path, "--service", f"{service}=1", *given) as served:
        lines = [line.strip() for line in served.output.splitlines()]
        python = "\n".join(line for line in lines if re.match(r"import|from|client|request|print|_", line))
        ended = subprocess.run(  # noqa: S603
            [sys.executable, "-W", "ignore", "-c", python],
            cwd=tmp_path,
            env={**environment(), "EAS_TOKEN": token or ""},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert (ended.stderr, says in ended.stdout) == ("", True)
        exported = [line.partition("=")[2] for line in lines if line.startswith("export EAS_TOKEN=")]
        assert bool(exported) == (token is None)
        here = token or exported[0]
        commands = [line.replace("$EAS_TOKEN", here) for line in lines if line.startswith("curl ")]
        assert [curled(served, command, tmp_path) for command in commands] == [200, 200]


def curled(served: Served, command: str, folder: Path) -> int:
    """Send the request of a curl command, and return the status."""
    *options, url = shlex.split(command)[1:]
    given = dict(zip(options[::2], options[1::2], strict=True))
    headers = dict([given["-H"].split(": ")]) if "-H" in given else {}
    body = given.get("-d", "").encode()
    if "--data-binary" in given:
        body = (folder / given["--data-binary"].removeprefix("@")).read_bytes()
    return served.raw("POST" if body else "GET", url.removeprefix(served.ready["url"]), body, headers)[0]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--port", "x"], 2, "--port"),
        (["--port", "70000"], 2, "--port"),
        (["--service", "echo"], 2, "NAME=INSTANCES"),
        (["--service", "a b=1"], 2, "service name"),
        (["--weight", "1,x"], 2, "--weight"),
        (["--weight", "1,2"], 2, "--weight: 2 weights for the 3 instances of mnist_saved_model_example"),
        (["--weight", "1,2,3,4"], 2, "--weight: 4 weights for the 3 instances of mnist_saved_model_example"),
        (["--service", "a=2", "--service", "b=1", "--weight", "1"], 2, "--weight: 1 weight for the 2 instances of a"),
        (["--processor", "no.such:thing"], 2, "no.such"),
        (["--processor", "nonsense"], 2, "MODULE:CALLABLE"),
        (["--log-format", "xml"], 2, "--log-format"),
        (["--no-such-flag"], 2, "--no-such-flag"),
        (["--service", "a=1", "--service", "a=2"], 2, "simulator: service a is named twice\n"),
        (
            ["--service", "a/b=1", "--service", "a.b=2"],
            2,
            "simulator: service a.b: its instances would have the ids of",
        ),
        (["--seed", "x"], 2, "--seed: must be a whole number, got 'x'"),
        (["simulate", "--seed", "x"], 2, "--seed: must be a whole number, got 'x'"),
        (["--scenario", "/"], 65, "simulator: /: Is a directory\n"),
        (["check", sys.executable], 65, ": it is not text in UTF-8: invalid "),
        (["--replay", "/no/such/file.toml"], 65, "simulator: /no/such/file.toml: No such file or directory\n"),
        (["--replay", "/"], 65, "simulator: /: Is a directory\n"),
        (["dance"], 2, "dance"),
        (["--ready-file", "/no/such/folder/ready.json"], 2, "/no/such/folder/ready.json: No such file or directory"),
        (["--ready-file", "/"], 2, "it is a directory"),
        (["simulate", "--seed", "1", "--hours", "-1"], 2, "--hours: must be a number > 0"),
        (["replay", "/no/such/plan.toml"], 65, "simulator: /no/such/plan.toml: No such file or directory\n"),
        (["--scenario", "/no/such/file.toml"], 65, "/no/such/file.toml"),
        (["check", "/no/such/file.toml"], 65, "/no/such/file.toml"),
    ],
)
def test_bad_usage_is_one_clear_line_and_its_exit_code(arguments: list[str], code: int, says: str) -> None:
    ended = run(*arguments)
    assert ended.returncode == code
    assert says in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_scenario_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_bytes(b"\xef\xbb\xbfseed = 7\r\n")
    ended = run("check", str(tmp_path / "s.toml"))
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("arguments", [["openapi"], ["check", "everything"]])
def test_a_closed_pipe_is_not_an_error(arguments: list[str]) -> None:
    """`| head -1` closes the pipe after the first line."""
    command = [sys.executable, "-m", "simulator", *arguments]
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as full:
        ended = subprocess.run(  # noqa: S603
            command, env=environment(), stdout=full, stderr=subprocess.PIPE, text=True, timeout=PATIENCE_S, check=False
        )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_port_in_use_is_exit_code_69() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run("--port", str(port))
    assert ended.returncode == 69
    assert f"127.0.0.1:{port}" in ended.stderr


def test_check_accepts_valid_scenarios_and_names_errors(tmp_path: Path) -> None:
    """A scenario with only a seed is valid. An error has the path of the wrong value."""
    scenario = tmp_path / "story.toml"
    scenario.write_text("seed = 7\n")
    assert run("check", str(scenario)).returncode == 0
    with Served(tmp_path, "--scenario", str(scenario)) as served:
        assert served.ready["seed"] == 7
    scenario.write_text('seed = 7\n[[services]]\nname = "a"\ninstances = -1\n')
    for arguments in (["check", str(scenario)], ["serve", "--scenario", str(scenario)]):
        ended = run(*arguments)
        assert ended.returncode == 65
        assert "services[0]" in ended.stderr


def test_a_users_processor_works_and_its_exceptions_are_400(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "async def shout(body):\n    if not body: raise ValueError('nothing to shout')\n    return body.upper()\n"
    )
    with Served(tmp_path, "--service", "s=1", "--token", "", "--processor", "mine:shout") as served:
        assert served.predict("s", b"hey") == (200, b"HEY")
        assert served.predict("s", b"") == (400, b"nothing to shout")
        assert served.predict("s", b"again") == (200, b"AGAIN")


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Start a simulator for tests that change nothing."""
    with Served(tmp_path_factory.mktemp("served"), "--service", "echo=2", "--token", "t0ken") as served:
        yield served


class TestOverRealSockets:
    """Instances and admin API of a running simulator."""

    @pytest.fixture
    def served(self, tmp_path: Path) -> Any:
        with Served(tmp_path, "--service", "echo=2", "--token", "t0ken") as served:
            yield served

    def test_checks_of_an_instance(self, served: Served) -> None:
        """A missing or wrong token is status 401, and another service is 404. All requests are in the journal."""
        good = {"Authorization": "t0ken"}
        assert served.predict("echo", b"hi", good) == (200, b"hi")
        assert served.predict("echo", b"hi")[0] == 401
        assert served.predict("echo", b"hi", {"Authorization": "wrong"})[0] == 401
        assert served.predict("echo", b"hi", {"Authorization": "EAS d3Jvbmc="})[0] == 401
        assert served.predict("other", b"hi", good)[0] == 404
        assert served.predict("echo/v2?a=b", b"hi", good) == (200, b"hi")
        assert served.ask(served.instances[0], "GET", "/api/predict/echo")[0] == 401
        assert served.ask(served.instances[0], "PUT", "/api/predict/echo", b"hi", good) == (200, b"hi")
        status, answer = served.admin("POST", "/v1/requests/count", {"status": 401})
        assert (status, answer["count"]) == (200, 4)
        assert served.admin("GET", "/v1/requests?limit=3")[1]["requests"][0]["path"] == "/api/predict/echo/v2?a=b"

    def test_a_crashed_instance_refuses_connections_and_keeps_its_port(self, served: Served) -> None:
        instance = served.instances[0]
        address = (instance["ip"], instance["port"])
        with socket.create_connection(address, PATIENCE_S) as kept:
            assert served.patch("echo", "echo-0", state="crashed")["state"] == "crashed"
            with pytest.raises(ConnectionResetError):
                kept.recv(1)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, PATIENCE_S)
        with socket.socket() as thief, pytest.raises(OSError, match="in use"):
            thief.bind(address)
        served.patch("echo", "echo-0", state="running")
        assert served.predict("echo", b"back", {"Authorization": "t0ken"}) == (200, b"back")

    def test_a_hung_instance_accepts_connections_and_responds_after_resuming(self, served: Served) -> None:
        instance = served.instances[0]
        served.patch("echo", "echo-0", state="hung")
        connection = HTTPConnection(instance["ip"], instance["port"], timeout=PATIENCE_S)
        connection.request("POST", "/api/predict/echo", b"patience", {"Authorization": "t0ken"})
        assert connection.sock is not None
        connection.sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.sock.recv(1)
        connection.sock.settimeout(PATIENCE_S)
        served.patch("echo", "echo-0", state="running")
        assert connection.getresponse().read() == b"patience"
        connection.close()

    def test_only_registration_and_weight_change_discovery(self, served: Served) -> None:
        served.patch("echo", "echo-0", state="crashed")
        served.patch("echo", "echo-1", weight=7)
        rows = served.discover("echo")
        assert [(row["port"], row["weight"]) for row in rows] == [
            (served.instances[0]["port"], 100),
            (served.instances[1]["port"], 7),
        ]
        served.patch("echo", "echo-0", registered=False)
        assert len(served.discover("echo")) == 1

    def test_instances_are_added_removed_and_reset(self, served: Served) -> None:
        """An added instance has a new port. A removed one is not listed. A reset undoes both."""
        status, added = served.admin("POST", "/v1/services/echo/instances", {"weight": 5})
        assert (status, added["weight"], added["id"]) == (201, 5, "echo-2")
        assert served.admin("DELETE", "/v1/services/echo/instances/echo-0")[0] in (200, 204)
        assert len(served.discover("echo")) == 2
        served.patch("echo", "echo-1", state="hung", weight=1)
        assert served.admin("POST", "/v1/reset", {})[0] == 200
        state = served.admin("GET", "/v1/state")[1]
        assert [(i["state"], i["weight"]) for i in state["services"][0]["instances"]] == [("running", 100)] * 2
        assert state["requests"]["total"] == 0

    def test_faults_by_the_admin_api(self, served: Served) -> None:
        fault = {"name": "f", "type": "http_status", "target": {"service": "echo"}, "attributes": {"code": 450}}
        assert served.admin("POST", "/v1/faults", fault)[0] == 201
        assert served.predict("echo", b"", {"Authorization": "t0ken"})[0] == 450
        assert served.admin("GET", "/v1/faults/f")[1]["struck"] == 1
        assert served.admin("DELETE", "/v1/faults/f")[0] in (200, 204)
        assert served.predict("echo", b"", {"Authorization": "t0ken"})[0] == 200
        served.admin("POST", "/v1/faults", {"name": "r", "type": "refuse", "target": {"service": "echo"}})
        with pytest.raises(ConnectionRefusedError):
            served.predict("echo", b"")
        served.admin("DELETE", "/v1/faults/r")
        assert served.predict("echo", b"")[0] == 401

    @pytest.mark.parametrize(
        ("method", "path", "body", "status"),
        [
            ("GET", "/v1/nothing", None, 404),
            ("GET", "/v1/services/none", None, 404),
            ("PATCH", "/v1/services/echo/instances/echo-9", {"weight": 1}, 404),
            ("PATCH", "/v1/services/echo/instances/echo-0", {"weight": -1}, 422),
            ("PATCH", "/v1/services/echo/instances/echo-0", {"state": "sleepy"}, 422),
            ("PATCH", "/v1/services/echo/instances/echo-0", {"registered": 1}, 422),
            ("PATCH", "/v1/services/echo/instances/echo-0", {"color": 1}, 422),
            ("PATCH", "/v1/services/echo/instances/echo-0", {}, 422),
            ("PATCH", "/v1/services/echo/instances/echo-0", [1], 422),
            ("PUT", "/v1/services/echo/instances/echo-0", {"weight": 1}, 405),
            ("POST", "/v1/faults", {"type": "latency", "target": {"service": "none"}}, 422),
            ("POST", "/v1/faults", {"type": "latency", "target": {"service": "echo", "instance": "x"}}, 422),
            ("POST", "/v1/faults", {"type": "latency", "target": {"service": "echo", "zone": "x"}}, 422),
            ("POST", "/v1/faults", {"type": "latency"}, 422),
            ("DELETE", "/v1/faults/none", None, 404),
            ("GET", "/v1/requests?limit=x", None, 400),
            ("POST", "/v1/requests/count", {"colour": 1}, 422),
        ],
    )
    def test_bad_input_is_a_problem_document(
        self, unchanged: Served, method: str, path: str, body: Any, status: int
    ) -> None:
        answered, document = unchanged.admin(method, path, body)
        assert (answered, document["status"]) == (status, status)
        assert document["detail"]

    def test_writes_need_json_and_this_machines_name(self, served: Served) -> None:
        path = "/_eas/v1/services/echo/instances/echo-0"
        assert served.raw("PATCH", path, b'{"weight": 1}', {"Content-Type": "text/plain"})[0] == 415
        assert served.raw("PATCH", path, b"{", {"Content-Type": "application/json"})[0] == 400
        assert served.raw("GET", "/_eas/v1/state", b"", {"Host": "evil.example"})[0] == 403
        assert served.raw("GET", "/_eas/v1/state", b"", {"Host": "localhost:1"})[0] == 200

    def test_no_answer_shows_the_token(self, served: Served) -> None:
        served.predict("echo", b"", {"Authorization": "t0ken"})
        for path in ("/v1/state", "/v1/services", "/v1/requests", "/v1/connections", "/livez"):
            status, text = served.raw("GET", f"/_eas{path}", b"", {})
            assert status == 200
            assert b"t0ken" not in text

    def test_the_gateway_forwards_requests_and_has_its_own_errors(self, served: Served) -> None:
        good = {"Authorization": "t0ken"}
        assert served.raw("POST", "/api/predict/echo/x?y", b"hi", good) == (200, b"hi")
        assert served.raw("POST", "/api/predict/none", b"hi", good)[0] == 404
        assert served.admin("GET", "/v1/state")[1]["requests"]["total"] == 1
        for instance in ("echo-0", "echo-1"):
            served.patch("echo", instance, state="crashed")
        assert served.raw("POST", "/api/predict/echo", b"hi", good)[0] == 502
        for instance in ("echo-0", "echo-1"):
            served.patch("echo", instance, registered=False)
        assert served.raw("POST", "/api/predict/echo", b"hi", good)[0] == 503

    def test_discovery_supports_every_path_and_format(self, served: Served) -> None:
        """The paths are the two documented paths, also with a double slash or `internal`, and those of VIPServer."""
        rows = served.discover("echo")
        for path in (
            "/api/v1/servicediscovery/upstreams/echo?internal=true",
            "//api/v1/servicediscovery/upstreams/echo",
        ):
            assert json.loads(served.raw("GET", path, b"", {})[1])["endpoints"]["items"] == rows
        assert served.raw("GET", "/vipserver/serverlist", b"", {})[1].decode().strip() in served.ready["url"]
        hosts = json.loads(served.raw("GET", "/vipserver/api/srvIPXT?dom=echo&clusters=DEFAULT", b"", {})[1])["hosts"]
        assert [(host["port"], host["valid"]) for host in hosts] == [(row["port"], True) for row in rows]
        assert served.raw("GET", "/exported/apis/eas.alibaba-inc.k8s.io/v1/upstreams/none", b"", {})[0] == 404


def test_importing_the_package_installs_no_reactor() -> None:
    program = "import sys, simulator; sys.exit('twisted' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", program], env=environment, check=False).returncode == 0  # noqa: S603
