"""Commands for a running simulator: output and exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from eas_tw.testing import Remote, RemoteError, start_service
from tests.patience import PATIENCE_S
from tests.simulator.serving import Served, environment, run


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    services = ("--service", "echo=2", "--service", "group/rank=1")
    with Served(tmp_path_factory.mktemp("served"), *services, "--token", "t0ken", "--seed", "7") as running:
        yield running


@pytest.fixture(autouse=True)
def beginning(served: Served) -> None:
    """Reset the simulator before each test."""
    served.admin("POST", "/v1/reset", {})


def says(served: Served, *arguments: str) -> str:
    """Run a command, and return its output. Assert that its exit code is 0."""
    ended = run(*arguments, "--url", served.ready["url"])
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


def test_status_is_printed_as_text_and_as_json(served: Served) -> None:
    served.predict("echo", b"hi", {"Authorization": "t0ken"})
    served.predict("echo", b"hi")
    served.patch("echo", "echo-1", state="hung")
    text = says(served, "status")
    assert "requests   2, of which 1 failed" in text
    assert "echo: 1 running, 1 hung" in text
    assert json.loads(says(served, "status", "--json"))["seed"] == 7


def test_instances_are_changed_and_shown(served: Served) -> None:
    assert len(says(served, "instances").splitlines()) == 4
    text = says(served, "instances", "crash", "echo-0", "group.rank-0")
    assert text.count("crashed") == 2
    for verb, word in (("hang", "hung"), ("drain", "draining"), ("restart", "running")):
        assert word in says(served, "instances", verb, "echo-0")
    assert "2.5" in says(served, "instances", "weight", "2.5", "echo-1")
    (instance,) = json.loads(says(served, "instances", "deregister", "echo-1", "--json"))["instances"]
    assert (instance["registered"], instance["weight"]) == (False, 2.5)
    says(served, "instances", "register", "echo-1")
    assert "echo-2" in says(served, "instances", "add", "echo", "7")
    assert "echo-2" not in says(served, "instances", "remove", "echo-2")


def test_faults_are_added_and_removed(served: Served) -> None:
    text = says(
        served, "faults", "add", "latency", "--instance", "echo-1", "--set", "latency=5", "jitter=2", "--times", "3"
    )
    assert "latency=5, jitter=2" in text
    assert "after 3 times" in text
    says(served, "faults", "add", "empty_list", "--discovery", "--name", "bad-list")
    assert served.discover("echo") == []
    (latency, bad_list) = json.loads(says(served, "faults", "--json"))["faults"]
    assert (latency["target"], bad_list["struck"]) == ({"service": "echo", "instance": "echo-1"}, 1)
    assert "bad-list" not in says(served, "faults", "remove", "bad-list")
    assert says(served, "faults", "clear") == "no faults\n"
    assert "malformed_response" in run("faults", "types").stdout


def test_requests_are_listed_counted_and_followed(served: Served) -> None:
    served.predict("echo", b"hi", {"Authorization": "t0ken"})
    served.predict("echo", b"hi")
    assert " 401 " in says(served, "requests", "--status", "4xx")
    assert " 200 " not in says(served, "requests", "--status", "4xx")
    assert says(served, "requests", "--count", "--instance", "echo-0") == "2\n"
    command = [sys.executable, "-m", "simulator", "requests", "--follow", "--url", served.ready["url"], "--json"]
    following = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True)  # noqa: S603
    assert following.stdout is not None
    try:
        seen = [json.loads(following.stdout.readline())["status"] for _ in range(2)]
        served.predict("nobody", b"")
        seen.append(json.loads(following.stdout.readline())["status"])
    finally:
        following.terminate()
        following.communicate(timeout=PATIENCE_S)
    assert seen == [200, 401, 404]


def test_reset_takes_a_seed(served: Served) -> None:
    assert says(served, "reset", "--seed", "9") == "reset to the initial state, with seed 9\n"
    assert says(served, "reset", "--seed", "7") == "reset to the initial state, with seed 7\n"


def test_openapi_needs_no_simulator(served: Served) -> None:
    ended = run("openapi")
    assert ended.returncode == 0
    assert json.loads(ended.stdout) == served.admin("GET", "/openapi.json")[1]


@pytest.mark.parametrize(
    ("arguments", "code", "says_"),
    [
        (["instances", "crash", "nobody"], 1, "no instance 'nobody'"),
        (["faults", "add", "latency", "--service", "echo", "--set", "latency=-1"], 1, "$.attributes.latency"),
        (["faults", "add", "latency"], 1, "$.target"),
        (["faults", "remove", "none"], 1, "no fault 'none'"),
        (["faults", "add", "quake"], 2, "quake"),
        (["faults", "add", "latency", "--set", "latency"], 2, "NAME=VALUE"),
        (["requests", "--status", "many"], 1, "status"),
        (["instances", "dance"], 2, "dance"),
    ],
)
def test_refusals_are_one_clear_line(served: Served, arguments: list[str], code: int, says_: str) -> None:
    """The exit code is 1 if the simulator refuses, and 2 for wrong usage. There is no traceback."""
    ended = run(*arguments, "--url", served.ready["url"])
    assert ended.returncode == code
    assert says_ in ended.stderr
    assert "Traceback" not in ended.stderr


def test_without_a_simulator_the_exit_code_is_69() -> None:
    ended = run("status", "--url", "http://127.0.0.1:1")
    assert (ended.returncode, "http://127.0.0.1:1" in ended.stderr) == (69, True)
    assert run("status", "--url", "nonsense").returncode == 2


def test_an_instance_that_does_not_exist(served: Served) -> None:
    remote = Remote(served.ready["url"])
    with start_service(remote, "own", instances=2) as service:
        asked: list[Callable[[], Any]] = [
            lambda: service.crash(9),
            lambda: service.crash(-3),
            lambda: service.weigh(2, 5),
            lambda: service.address(9),
            lambda: service.fault("slow", 9),
            lambda: service.count(9),
            lambda: service.hang("own-0"),  # type: ignore[arg-type]
        ]
        for ask in asked:
            with pytest.raises(RemoteError, match=r"in service 'own'; there are 0 \(own-0\), 1 \(own-1\)"):
                ask()
        with pytest.raises(RemoteError, match=r"no instance 'own-9'; there are .*own-0, own-1"):
            remote.crash("own-9")
    with pytest.raises(RemoteError, match="no service 'own'; there are "):
        service.crash(0)
