"""Programs with threads and without an event loop, against a simulator in another process."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import threading
from typing import TYPE_CHECKING, Any

import pytest

from eas_tw import BodyError, ConfigError, ConnectionFailed, StatusError
from eas_tw.blocking import (
    ENDPOINT_TYPE_DEFAULT,
    ENDPOINT_TYPE_DIRECT,
    ClientConfig,
    JsonRequest,
    PredictClient,
    PredictException,
    StringRequest,
    TFRequest,
)
from eas_tw.body.hashes import md5_hex_in_steps
from tests.integration.conftest import TOKEN
from tests.integration.programs import printed, program
from tests.patience import PATIENCE_S
from tests.simulator.serving import environment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.simulator.serving import Served

FORKS = ("-W", "ignore:This process:DeprecationWarning")  # Python 3.12 warns about forks with threads
BEGIN = """
    import os, sys, threading
    from eas_tw.blocking import *
    client = PredictClient(os.environ["EAS_ENDPOINT"], "echo")
    client.set_token(os.environ["EAS_TOKEN"])
    client.set_endpoint_type(ENDPOINT_TYPE_DIRECT)
    client.set_timeout(100_000)
"""


@pytest.fixture
def client(served: Served) -> Iterator[PredictClient]:
    """Make a client as programs of the official SDK do."""
    made = PredictClient(served.ready["url"], "echo")
    made.set_token(TOKEN)
    made.set_endpoint_type(ENDPOINT_TYPE_DIRECT)
    made.set_timeout(PATIENCE_S * 1000)
    made.init()
    yield made
    made.destroy()


def test_threads_share_a_client_while_an_instance_crashes(served: Served, client: PredictClient) -> None:
    """Sixteen threads make calls while an instance is killed. Each call gets its own response."""
    wrong: list[Any] = []
    half = threading.Barrier(17, timeout=PATIENCE_S)

    def caller(number: int) -> None:
        try:
            for turn in range(40):
                if turn == 20:
                    half.wait()
                body = f"[{number}, {turn}]"
                answer = str(client.predict(StringRequest(body)))
                if answer != body:
                    wrong.append((body, answer))
        except Exception as error:  # noqa: BLE001  a thread's error is the test's
            wrong.append(error)

    threads = [threading.Thread(target=caller, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    half.wait()
    served.patch("echo", "echo-0", state="crashed")
    for thread in threads:
        thread.join(PATIENCE_S)
    assert wrong == []
    assert client._client.counters.answered == 640
    assert client._client.counters.retries.total() > 0


def test_a_large_body_is_signed_outside_the_reactor(client: PredictClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service checks the signature, so the test would fail if it were wrong."""
    threads: list[str] = []

    def noting(data: bytes) -> Any:
        threads.append(threading.current_thread().name)
        return (yield from md5_hex_in_steps(data))

    monkeypatch.setattr("eas_tw.client.md5_hex_in_steps", noting)
    body = bytes(3 << 20)
    assert client.predict(StringRequest(body)).content == body
    assert threads == ["eas_tw.offload"]


def test_errors_are_the_official_exception(served: Served, client: PredictClient) -> None:
    """Code and message equal those of the official SDK. The typed error is the cause."""
    client.set_token("wr0ng")
    with pytest.raises(PredictException) as caught:
        client.predict("[]")
    error = caught.value
    assert (error.code, error.message) == (401, b"Unauthorized: the token is missing or wrong")
    assert str(error) == "Code: 401, Message: b'Unauthorized: the token is missing or wrong'"
    assert isinstance(error.__cause__, StatusError)
    assert len(error.attempts) == 1
    client.set_token(TOKEN)
    for number in range(3):
        served.patch("echo", f"echo-{number}", state="crashed")
    with pytest.raises(PredictException) as caught:
        client.predict("[]")
    assert caught.value.code == 500
    assert "connect_refused" in caught.value.message
    assert isinstance(caught.value.__cause__, ConnectionFailed)
    assert len(caught.value.attempts) == 3


def test_a_timeout_is_in_milliseconds_and_of_the_whole_call(served: Served, client: PredictClient) -> None:
    client.set_timeout(100)
    for number in range(3):
        served.patch("echo", f"echo-{number}", state="hung")
    with pytest.raises(PredictException, match=r"Code: 500, Message: the deadline of 0\.1 s passed"):
        client.predict("[]")
    with pytest.raises(PredictException, match=r"deadline of 0\.05 s"):
        client.predict("[]", timeout_s=0.05)


def test_wrong_arguments_raise_where_they_are_passed(served: Served) -> None:
    """Setters, `init` and `predict` raise an error for each wrong argument that is passed to them."""
    client = PredictClient(served.ready["url"])
    with pytest.raises(PredictException, match="endpoint_type must be one of"):
        client.set_endpoint_type("direct")
    with pytest.raises(PredictException, match="service_name is not set"):
        client.init()
    client.set_service_name("echo")
    client.set_endpoint_type(ENDPOINT_TYPE_DEFAULT)
    client.init()
    with pytest.raises(PredictException, match="must be set before init"):
        client.set_endpoint("elsewhere")
    with pytest.raises(PredictException, match="StringRequest takes str, bytes or a buffer"):
        client.predict({"a": "dict"})
    client.destroy()
    client.destroy()
    with pytest.raises(PredictException, match="closed"):
        client.predict("[]")


class Said:
    """A request whose body can be any object."""

    def __init__(self, body: Any) -> None:
        self.body = body

    def to_string(self) -> Any:
        return self.body

    def parse_response(self, content: bytes) -> bytes:
        return content


class HalfARequest:
    """An object with `to_string` and without `parse_response`."""

    def to_string(self) -> bytes:
        return b"[]"


ODD: list[tuple[Any, dict[str, Any]]] = [
    *((body, {}) for body in (5, None, {"a": 1}, "\ud800", object(), HalfARequest())),
    *((Said(body), {}) for body in (5, None, [b"x"], "\ud800")),
    *(("[]", {"timeout_s": timeout_s}) for timeout_s in ("1", 10**400, True, float("nan"))),
    *(
        ("[]", options)
        for options in ({"path": "a b"}, {"path": 5}, {"query": 5}, {"headers": 5}, {"headers": {"a": 5}})
    ),
]


def test_a_call_with_invalid_arguments_is_a_predict_exception(client: PredictClient) -> None:
    """The code is 500 and the cause is the typed error. The next call works, and no instance has a failure recorded."""
    for body, options in ODD:
        with pytest.raises(PredictException) as caught:
            client.predict(body, **options)
        assert caught.value.code == 500
        assert isinstance(caught.value.__cause__, ConfigError | BodyError)
        assert len(str(caught.value)) < 500
    assert client.predict(Said("[1]")) == b"[1]"
    assert client._client.counters.failures == {}
    assert client._client.ejected == ()


def test_the_content_type_of_a_request_is_sent(client: PredictClient) -> None:
    assert client.predict(JsonRequest([1])).data == [1]
    client.set_content_type("text/plain")
    assert client.predict(JsonRequest([1])).data == [1]


def test_a_token_function_runs_in_the_reactors_thread(client: PredictClient) -> None:
    """A function that blocks would therefore delay the calls of all threads."""
    threads: set[int] = set()

    def token() -> str:
        threads.add(threading.get_ident())
        return TOKEN

    client.set_token(token)
    client.predict("[]")
    client.submit("[]").result()
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_init_does_not_wait_and_a_call_without_a_list_names_the_reason(served: Served) -> None:
    config = ClientConfig(init_timeout_s=0.3)
    client = PredictClient(
        served.ready["url"], "nosuch", token=TOKEN, endpoint_type=ENDPOINT_TYPE_DIRECT, config=config
    )
    client.init()
    with pytest.raises(PredictException, match="Code: 500, Message: no usable list of instances of nosuch"):
        client.predict("[]")
    client.destroy()


def test_tensors_paths_and_context_managers(served: Served) -> None:
    with PredictClient(served.ready["url"], "mnist", token=TOKEN, endpoint_type=ENDPOINT_TYPE_DIRECT) as client:
        request = TFRequest("predict_images")
        request.add_feed("images", [1, 784], TFRequest.DT_FLOAT, [1] * 784)
        response = client.predict(request, path="/v2", query={"uid": "7"}, headers={"X-Trace": "1"})
        assert response.get_tensor_shape("scores") == [1, 10]
        assert len(client.instances) == 2
        assert repr(client).startswith("<blocking <PredictClient mnist at http")
    (row,) = served.admin("GET", "/v1/requests")[1]["requests"]
    assert row["path"] == "/api/predict/mnist/v2?uid=7"


def test_the_interpreter_ends_with_no_thread_left(served: Served) -> None:
    for number in range(3):
        served.patch("echo", f"echo-{number}", state="hung")
    ended = program(
        served,
        """
    import atexit, threading
    @atexit.register  # before eas_tw is imported, so it runs after eas_tw's own
    def look():
        print([thread.name for thread in threading.enumerate() if "eas_tw" in thread.name])
"""
        + BEGIN
        + """
    client.set_timeout(3600000)
    client.init()
    def call():
        try:
            client.predict("[]")
        except PredictException:
            pass  # the reactor has stopped
    threads = [threading.Thread(target=call, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    while client._client.counters.calls < 3:
        pass
""",
    )
    assert printed(ended) == ["[]"]


def test_a_destroyed_client_stays_destroyed_in_a_fork(served: Served) -> None:
    ended = program(
        served,
        BEGIN
        + """
    client.predict("[]")
    client.destroy()
    def refused():
        try:
            client.predict("[]")
        except PredictException as error:
            return str(error), client.is_closed, client.instances
    def in_fork(work):
        sys.stdout.flush()
        pid = os.fork()
        if not pid:
            work()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
    here = refused()
    def first():
        print(refused() == here, flush=True)
        in_fork(lambda: print(refused() == here, flush=True))
        client.destroy()
    in_fork(first)
    print(*here)
""",
        *FORKS,
    )
    assert printed(ended) == ["True", "True", "Code: 500, Message: the client is closed; make a new one True ()"]


def test_daemon_threads_end_quietly_with_the_program(served: Served) -> None:
    ended = program(
        served,
        BEGIN
        + """
    import time
    def work():
        while True:
            client.predict("[]")
    for _ in range(30):
        threading.Thread(target=work, daemon=True).start()
    while client.counters.answered < 100:
        time.sleep(0.01)  # the blocking client has no event to wait for, and the calls are in other threads
""",
    )
    assert printed(ended) == []


def test_only_the_last_value_of_a_setting_is_stored() -> None:
    import eas_tw.blocking  # noqa: PLC0415

    client = eas_tw.blocking.PredictClient("127.0.0.1:1", "echo")
    for number in range(1000):
        client.set_token(f"token-{number}")
        client.add_extra_headers({f"X-{number % 2}": str(number)})
    (token,) = client._applied.pop("set_token")
    assert token.reveal() == "token-999"
    assert client._applied == {"add_extra_headers": ({"X-0": "998", "X-1": "999"},)}


def test_a_forked_child_has_a_working_client(served: Served) -> None:
    ended = program(
        served,
        BEGIN
        + """
    client.init()
    print(client.predict("parent"))
    sys.stdout.flush()
    for number in range(2):
        pid = os.fork()
        if pid == 0:
            threads = [threading.Thread(target=client.predict, args=("[]",)) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            print(client.predict(f"child {number}"))
            sys.exit(0)
        assert os.waitpid(pid, 0)[1] == 0
    print(client.predict("parent again"))
""",
        *FORKS,
    )
    assert printed(ended) == ["parent", "child 0", "child 1", "parent again"]


def test_a_reactor_of_the_program_is_shared_and_its_thread_is_warned(served: Served) -> None:
    """`reactor=` uses a running reactor. Calls in its thread, in a fork, and after it has stopped raise an error."""
    ended = program(
        served,
        BEGIN
        + """
    from twisted.internet import reactor
    thread = threading.Thread(target=reactor.run, kwargs={"installSignalHandlers": False})
    thread.start()
    client = PredictClient(os.environ["EAS_ENDPOINT"], "echo", token=os.environ["EAS_TOKEN"],
                           endpoint_type=ENDPOINT_TYPE_DIRECT, reactor=reactor)
    print(client.predict("[1]"))
    from twisted.internet.threads import blockingCallFromThread
    try:
        blockingCallFromThread(reactor, client.predict, "[2]")
    except RuntimeError as error:
        print(error)
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        try:
            client.predict("[3]")
        except RuntimeError as error:
            print(error)
        sys.stdout.flush()
        os._exit(0)
    os.waitpid(pid, 0)
    reactor.callFromThread(reactor.stop)
    thread.join()
    try:
        client.predict("[4]")
    except PredictException as error:
        print(error)
""",
        *FORKS,
    )
    one, two, three, four = printed(ended)
    assert one == "[1]"
    assert "would wait for itself" in two
    assert "runs in the parent process only" in three
    assert four == "Code: 500, Message: the reactor has stopped"


def test_ctrl_c_ends_a_waiting_call(served: Served) -> None:
    """The call is cancelled, its connection is closed, and the program ends with `KeyboardInterrupt`."""
    for number in range(3):
        served.patch("echo", f"echo-{number}", state="hung")
    text = textwrap.dedent(
        BEGIN
        + """
    client.set_timeout(3600000)
    client.init()
    while not client.instances:
        pass
    print("waiting", flush=True)
    try:
        client.predict("[]")
    finally:
        print(client._client.counters.calls)
"""
    )
    variables = {**environment(), "EAS_ENDPOINT": served.ready["url"], "EAS_TOKEN": TOKEN}
    with subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", text], env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        while not served.admin("GET", "/v1/connections")[1]["connections"]:
            pass
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == -signal.SIGINT
    assert errors.rstrip().endswith("KeyboardInterrupt")


def test_the_client_logs_to_logging(served: Served) -> None:
    """Log lines go to the logger `eas_tw` at the chosen level, and do not contain the token."""
    ended = program(
        served,
        BEGIN
        + """
    import logging
    logging.basicConfig(level=logging.WARNING, format="%(name)s %(levelname)s %(message)s", stream=sys.stdout)
    client.set_log_level("INFO")
    client.init()
    client.predict("[]")
    client.destroy()
""",
    )
    lines = printed(ended)
    assert any(line.startswith("eas_tw.upstream INFO echo: list of instances changed: +127.0.0.1:") for line in lines)
    assert TOKEN not in ended.stdout


def test_every_name_of_the_official_sdk_but_its_queue_is_there() -> None:
    import eas_tw.blocking  # noqa: PLC0415

    official = """
        BladeRequest BladeResponse ENDPOINT_TYPE_DEFAULT ENDPOINT_TYPE_DIRECT ENDPOINT_TYPE_VIPSERVER OnnxData
        OnnxDataHelper OnnxRequest OnnxResponse PredictClient PredictException StringRequest StringResponse TFRequest
        TFResponse TorchRequest TorchResponse
    """
    assert set(official.split()) <= set(eas_tw.blocking.__all__)
    setters = (
        "endpoint service_name endpoint_type token content_type retry_count max_connection_count timeout log_level"
    )
    names = [*(f"set_{name}" for name in setters.split()), "add_extra_headers", "init", "predict", "destroy"]
    assert all(callable(getattr(PredictClient, name)) for name in names)
