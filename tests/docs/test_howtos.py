"""The programs of the how-to pages, run in subprocesses against a simulator."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from http.client import HTTPConnection
from typing import TYPE_CHECKING

import pytest

from eas_tw.blocking import QueueClient
from tests.docs.pages import EXAMPLES
from tests.docs.relaying import check, model, relay
from tests.docs.test_examples import run
from tests.patience import PATIENCE_S
from tests.simulator.serving import Served, environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    services = ("--service", "scorecard_pmml_example=3", "--service", "mnist_saved_model_example=3")
    with Served(tmp_path_factory.mktemp("howtos"), *services, "--token", "t0ken") as running:
        running.patch("scorecard_pmml_example", "scorecard_pmml_example-0", state="crashed")
        yield running


def test_the_agent_example_sends_and_receives_json(served: Served) -> None:
    ended = run("treq_agent.py", served.ready["url"], "scorecard_pmml_example")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == "200 [{'money_credit': 3000000}]\n"


def test_the_official_sdks_program_runs_with_another_import(served: Served) -> None:
    ended = run("official_script.py", served.ready["url"])
    assert (ended.returncode, ended.stderr) == (0, "")
    text = repr(b'[{"money_credit": 3000000}]')
    assert ended.stdout.splitlines() == [text, text, text, "[1, 10]", "401"]


def test_the_asyncio_example_runs(served: Served) -> None:
    ended = run("asyncio_client.py", served.ready["url"], "scorecard_pmml_example")
    assert (ended.returncode, ended.stderr, ended.stdout) == (0, "", "190\n")


@pytest.fixture(scope="module")
def queues(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    services = ("--service", "qservice=2", "--queue-service", "qservice")
    with Served(tmp_path_factory.mktemp("queues"), *services, "--token", "t0ken") as running:
        yield running


def test_the_queue_example_waits_for_each_result(queues: Served) -> None:
    ended = run("queue_submit.py", queues.ready["url"], "qservice")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == ["{'prompt': 'a cat'}", "{'prompt': 'a dog'}"]


def test_the_official_sdks_queue_program_runs_with_another_import(queues: Served) -> None:
    queues.admin("POST", "/v1/reset", {})
    ended = run("queue_official.py", queues.ready["url"], "qservice")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert sorted(ended.stdout.splitlines()) == ["b'[0]'", "b'[1]'", "b'[2]'"]


def test_the_queue_worker_stores_every_result_until_the_stream_ends(queues: Served, tmp_path: Path) -> None:
    queues.admin("POST", "/v1/reset", {})
    with QueueClient(queues.ready["url"], "qservice", token="t0ken") as queue:
        sink = queue.sink()
        ids = [sink.put(f"[{number}]", {"lastCode": "500"} if number == 3 else {}).request_id for number in range(10)]
        sink.end()
    ended = run("queue_worker.py", queues.ready["url"], "qservice", str(tmp_path))
    assert (ended.returncode, ended.stderr) == (0, "")
    statuses = {number: 500 if number == 3 else 200 for number in range(10)}
    expected = {f"{request_id}.{statuses[number]}": f"[{number}]" for number, request_id in enumerate(ids)}
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == expected


def test_the_queue_service_answers_with_the_results_of_its_own_requests(queues: Served, tmp_path: Path) -> None:
    queues.admin("POST", "/v1/reset", {})
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    twistd = "from twisted.scripts.twistd import run; run()"
    arguments = ["--nodaemon", "--pidfile=", "--python", str(EXAMPLES / "queue_service.py")]
    variables = {"EAS_ENDPOINT": queues.ready["url"], "EAS_TOKEN": "t0ken"}
    with subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", twistd, *arguments],
        env={**environment(), **variables, "LISTEN": f"tcp:{port}:interface=127.0.0.1"},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        log = ""
        for line in process.stdout:
            log += line
            if "list of instances changed" in log and "Site starting" in log:
                break
        try:
            for values in ([1, 2, 3], [], list(range(50))):
                connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
                connection.request("POST", "/", json.dumps(values))
                response = connection.getresponse()
                assert (response.status, json.loads(response.read())) == (200, values)
                connection.close()
        finally:
            process.terminate()
            log += process.stdout.read()
        process.wait(PATIENCE_S)
    assert "Traceback" not in log, log


def test_the_relay_with_twisted(tmp_path: Path) -> None:
    """The relay forwards chunks when they arrive, and closes the instance's stream when the browser disconnects."""
    with model(tmp_path) as served, relay("relay_twisted.py", served.ready["url"], "llm", "0") as port:
        check(port, served)


def test_the_lines_for_asyncio_of_the_readme_run(served: Served) -> None:
    ended = run("five_lines_asyncio.py", served.ready["url"], "scorecard_pmml_example", "t0ken")
    assert (ended.returncode, ended.stderr, ended.stdout) == (0, "", '[{"money_credit": 3000000}]\n')


@pytest.mark.parametrize(
    ("name", "printed"),
    [("with_twisted.py", "1000 rows, 0 failed, total 499500000"), ("with_processes.py", "499500000")],
)
def test_the_programs_that_score_rows_score_each(served: Served, name: str, printed: str) -> None:
    """Other programs that score rows need additional packages, so tests/dask, tests/ray and tests/spark run them."""
    ended = run(f"score/{name}", served.ready["url"], "scorecard_pmml_example")
    assert (ended.returncode, ended.stderr, ended.stdout) == (0, "", f"{printed}\n")
