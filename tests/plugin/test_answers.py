"""Fixed responses, handler functions, scenarios and recordings, as an application's tests use them."""

from __future__ import annotations

import json
import subprocess
import sys
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any

import pytest

from eas_tw.testing import Received, RemoteService, answer, first_service, matching, start_service, subprocess_simulator
from eas_tw.testing.process import simulator_command
from tests.patience import PATIENCE_S
from tests.simulator.serving import environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from eas_tw.testing import Remote


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    with subprocess_simulator(tmp_path_factory.mktemp("simulator")) as found:
        yield found


@pytest.fixture
def service(remote: Remote) -> Iterator[RemoteService]:
    with start_service(remote, instances=1) as found:
        yield found


def ask(service: RemoteService, body: bytes = b"", path: str = "", method: str = "POST", **headers: str) -> Any:
    connection = HTTPConnection(*service.address(), timeout=PATIENCE_S)
    try:
        given = {"Authorization": service.token, **headers}
        connection.request(method, f"/api/predict/{service.name}{path}", body, given)
        response = connection.getresponse()
        return response.status, response.read(), dict(response.getheaders())
    finally:
        connection.close()


def test_a_fixed_response_is_returned(service: RemoteService) -> None:
    service.answers(json={"score": 0.5}, headers={"X-Model": "3"})
    status, body, headers = ask(service)
    assert (status, json.loads(body)) == (200, {"score": 0.5})
    assert headers["Content-Type"] == "application/json"
    assert headers["X-Model"] == "3"


def test_answers_in_order_for_the_requests_that_match(service: RemoteService) -> None:
    service.answers(answer(status=503), b"ok", on=matching(path="/v2", headers={"x-user": "7"}))
    service.answers(status=404, on=matching(method="GET"))
    replies = [ask(service, path="/v2", **{"X-User": "7"})[:2] for _ in range(2)]
    assert replies == [(503, b""), (200, b"ok")]
    assert ask(service, method="GET")[0] == 404
    service.assert_all_requests_came()


def test_missing_and_unexpected_requests_are_in_the_assertion(service: RemoteService) -> None:
    service.answers(json=1, on=matching(path="/once"), times=1)
    assert ask(service, path="/other")[0] == 404
    with pytest.raises(AssertionError) as caught:
        service.assert_all_requests_came()
    assert str(caught.value) == (f"{service.name}: any method /once: 0 of 1 requests came; unexpected: POST /other")


def test_leaving_the_context_verifies_requests_if_verify_is_true(remote: Remote) -> None:
    with pytest.raises(AssertionError, match="0 of at least 1"), start_service(remote, verify=True) as strict:
        strict.answers(json=1)
    assert strict.name not in [found["name"] for found in remote.services()]


def test_a_function_answers_in_this_process(remote: Remote) -> None:
    seen: list[Received] = []

    def handler(request: Received) -> Any:
        seen.append(request)
        return answer(json={"length": len(request.json()["text"])}, status=201)

    with start_service(remote, instances=1, processor=handler) as found:
        status, body, _ = ask(found, b'{"text": "four"}', "/v1/x?user=7")
    assert (status, json.loads(body)) == (201, {"length": 4})
    assert [(request.method, request.path) for request in seen] == [("POST", "/v1/x?user=7")]
    assert seen[0].headers["authorization"] == found.token


def test_a_function_that_raises_is_a_500_with_its_traceback(service: RemoteService) -> None:
    service.answers(lambda request: request.no_such_attribute)
    status, body, _ = ask(service)
    assert status == 500
    assert b"no_such_attribute" in body


def test_a_function_that_fails_the_test_is_a_500_with_its_reason(service: RemoteService) -> None:
    """`pytest.fail` raises an exception that is not an `Exception`."""
    service.answers(lambda _: pytest.fail("this request is not expected"))
    status, body, _ = ask(service)
    assert status == 500
    assert b"this request is not expected" in body


def test_received_requests_have_headers_and_bodies_and_no_token(service: RemoteService) -> None:
    ask(service, b"one", **{"X-User": "7"})
    ask(service, b"\xff\x00")
    first, second = service.received()
    assert (first.method, first.text, first.headers["x-user"]) == ("POST", "one", "7")
    assert second.body == b"\xff\x00"
    assert service.token not in repr(service.received())


def test_a_recording_replays_without_the_service(remote: Remote, tmp_path: Path) -> None:
    """The recording is made through a forwarding simulator, and replayed by one that does not have the service."""
    file = tmp_path / "recording.toml"
    with start_service(remote, instances=1) as real:
        real.answers(json={"answer": 42}, headers={"X-Model": "3"}, on=matching(contains="question"))
        real.answers(b"\xff\x00", status=202)
        ip, port = real.address()
        command = simulator_command(
            "record", f"http://{ip}:{port}/api/predict/{real.name}", str(file), "--port", "0", "--until-eof",
            "--ready-file", str(tmp_path / "ready.json"), "--token", real.token,
        )  # fmt: skip
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()) as recorder:  # noqa: S603
            assert recorder.stdin is not None
            assert recorder.stdout is not None
            while b"ready" not in (line := recorder.stdout.readline()):
                assert line, "the recorder ended"
            instance = json.loads((tmp_path / "ready.json").read_text())["services"][0]["instances"][0]
            proxy = RemoteService(remote, real.name, real.token)
            proxy.address = lambda number=0: (instance["ip"], instance["port"])  # type: ignore[method-assign]  # noqa: ARG005
            question = b'the "question"\n\x7f \xc3\xa9'
            assert ask(proxy, question, "/v1?a=b")[:2] == (200, b'{"answer": 42}')
            assert ask(proxy, b"\xfe")[:2] == (202, b"\xff\x00")
            recorder.stdin.close()
            recorder.stdout.read()
    assert real.token not in file.read_text("utf-8")
    with start_service(remote, instances=1, replay=file) as replayed:
        status, body, headers = ask(replayed, question, "/v1?a=b")
        assert (status, body, headers["X-Model"]) == (200, b'{"answer": 42}', "3")
        assert ask(replayed, b"\xfe")[:2] == (202, b"\xff\x00")
        assert ask(replayed, b"another")[0] == 404
    served = subprocess_simulator(tmp_path, "--replay", str(file), "--service", "s=1", "--token", "")
    with served as alone, first_service(alone) as found:
        assert ask(found, b"\xfe")[:2] == (202, b"\xff\x00")


def test_a_recording_may_begin_with_a_byte_order_mark(remote: Remote, tmp_path: Path) -> None:
    (tmp_path / "recording.toml").write_text('[[stub]]\n[[stub.responses]]\nbody = "yes"\n', "utf-8-sig")
    with start_service(remote, instances=1, replay=tmp_path / "recording.toml") as replayed:
        assert ask(replayed)[1] == b"yes"


def test_a_recording_is_not_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "recording.toml"
    file.write_text("")
    command = [sys.executable, "-m", "simulator", "record", "http://127.0.0.1:1/api/predict/s", str(file)]
    ended = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)  # noqa: S603
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1] == f"simulator: cannot write the recording {file}: File exists"


_SCENARIO_TEST = """
import pytest

@pytest.mark.eas_scenario("story.toml")
def test_it(eas_scenario, eas_service):
    assert eas_service.name == "shop"
    assert eas_service.token == "abc"
    assert [one["state"] for one in eas_service.instances] == ["crashed", "running"]

def test_nothing_is_said_without_the_marker(pytester=None):
    pass
"""


def test_a_scenario_begins_with_the_test(tmp_path: Path) -> None:
    (tmp_path / "story.toml").write_text(
        '[[services]]\nname = "shop"\ninstances = 2\ntoken = "abc"\n'
        '[[timeline]]\nat_s = 0\ndo = "crash"\ninstance = "shop-0"\n'
    )
    (tmp_path / "test_story.py").write_text(_SCENARIO_TEST)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "eas_tw.testing.pytest_plugin", f"--rootdir={tmp_path}"]
    variables = {**environment(), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    ended = subprocess.run(  # noqa: S603
        [*command, str(tmp_path)], cwd=tmp_path.parent, env=variables, capture_output=True, text=True, check=False
    )
    assert "2 passed" in ended.stdout, ended.stdout + ended.stderr
