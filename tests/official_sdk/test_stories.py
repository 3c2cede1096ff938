"""Failures of a fleet, with the official Python SDK and with our client; each client has its own service.

The official SDK is unmodified, and only its behaviour is observed. Where it fails because of a bug, the docstring of
the test describes the bug, and the test shows that our client works. The simulator is a separate process. The official
SDK polls discovery every three seconds. A test counts the polls of a client by the activations of a discovery fault.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import eas_prediction
import pytest

from eas_tw import blocking
from eas_tw.testing import Remote, RemoteService, start_service
from tests.patience import PATIENCE_S
from tests.simulator.serving import Served, environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OFFICIAL, OURS = eas_prediction, blocking
BOTH = pytest.mark.parametrize("sdk", [OFFICIAL, OURS], ids=["official", "ours"])
# A short interval makes the tests fast. The interval of the official SDK cannot be changed.
QUICK = blocking.ClientConfig(poll_interval_s=0.2, discovery_timeout_s=0.5, init_timeout_s=5)
LOOK_EVERY_S, WITHIN_S = 0.05, 15.0


class Caller:
    """A client of one SDK for one service."""

    def __init__(self, sdk: Any, service: RemoteService, kind: str = "DIRECT", timeout_ms: int = 5000) -> None:
        self.sdk, self.service = sdk, service
        more = {"config": QUICK} if sdk is OURS else {}
        self.client = sdk.PredictClient(service.endpoint, service.name, **more)
        self.client.set_token(service.token)
        self.client.set_endpoint_type(getattr(sdk, f"ENDPOINT_TYPE_{kind}"))
        self.client.set_timeout(timeout_ms)
        self.client.init()

    def told(self, body: str = "hello") -> bytes | int:
        """Call the service, and return the response or the code of the error."""
        try:
            return self.call(body)
        except self.sdk.PredictException as error:
            return int(error.code)

    def call(self, body: str = "hello") -> bytes:
        return bytes(self.client.predict(self.sdk.StringRequest(body)).response_data)

    def many(self, calls: int = 20) -> set[bytes | int]:
        return {self.told() for _ in range(calls)}

    def statuses(self) -> list[int]:
        return [row["status"] for row in self.service.requests()]

    def struck(self, name: str) -> int:
        return next(fault["struck"] for fault in self.service.simulator.faults() if fault["name"] == name)

    def polled_under_fault(self, fault: str, polls: int = 1, **attributes: Any) -> str:
        """Add a discovery fault, wait for a number of polls, and return the fault's name.

        A poll only starts after the reply to the previous poll has been processed.
        """
        name = str(self.service.discovery_fault(fault, **attributes)["name"])
        eventually(lambda: self.struck(name) >= polls)
        return name

    def used(self, number: int) -> int:
        return int(self.service.count(number))


def eventually(holds: Callable[[], object]) -> None:
    """Wait until a condition is true. Fail after `WITHIN_S` seconds."""
    never = threading.Event()
    for _ in range(int(WITHIN_S / LOOK_EVERY_S)):
        if holds():
            return
        never.wait(LOOK_EVERY_S)
    raise AssertionError(f"not within {WITHIN_S} s: {holds}")


class Stage:
    """Makes services and clients, which are removed after the test."""

    def __init__(self, simulator: Remote, leaving: ExitStack) -> None:
        self._simulator, self._leaving = simulator, leaving

    def service(self, **how: Any) -> RemoteService:
        return self._leaving.enter_context(start_service(self._simulator, **{"instances": 2, **how}))

    def caller(self, sdk: Any, service: RemoteService | None = None, **how: Any) -> Caller:
        caller = Caller(sdk, service or self.service(), **how)
        self._leaving.callback(caller.client.destroy)
        return caller

    def met(self, sdk: Any, **how: Any) -> Caller:
        """Return a client that has called each instance. The journal is empty afterwards."""
        caller = self.caller(sdk, self.service(**how))
        count = len(caller.service.instances)
        assert caller.many(2 * count) == {b"hello"}
        assert all(caller.used(number) for number in range(count))
        self._simulator.ask("DELETE", "/v1/requests")
        return caller


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    with Served(tmp_path_factory.mktemp("stories")) as served:
        yield Remote(served.ready["url"])


@pytest.fixture
def stage(simulator: Remote) -> Iterator[Stage]:
    with ExitStack() as leaving:
        yield Stage(simulator, leaving)


# Instances


@BOTH
def test_one_of_two_crashes(stage: Stage, sdk: Any) -> None:
    """All calls get a response from the other instance."""
    caller = stage.met(sdk)
    caller.service.crash(0)
    assert caller.many() == {b"hello"}
    assert caller.used(1) == 20


@pytest.mark.parametrize(("sdk", "told"), [(OFFICIAL, 500), (OURS, b"hello")], ids=["official", "ours"])
def test_a_dead_instance_outweighs_a_live_one(stage: Stage, sdk: Any, told: object) -> None:
    """The weights are 1000 and 1. Bug of the official SDK: all five attempts of a call go to the crashed instance."""
    service = stage.service(weights=[1000, 1])
    service.crash(0)
    assert stage.caller(sdk, service).many(5) == {told}
    assert service.count(1) == (5 if told == b"hello" else 0)


@pytest.mark.parametrize("code", [450, 503])
def test_one_of_two_refuses_the_work(stage: Stage, code: int) -> None:
    """The official SDK never retries such a response on the other instance, so half of the calls fail."""
    theirs, ours = stage.met(OFFICIAL), stage.met(OURS)
    for caller in (theirs, ours):
        caller.service.fault("http_status", 0, code=code)
    told = [theirs.told() for _ in range(20)]
    assert told.count(code) == told.count(b"hello") == 10
    assert ours.many() == {b"hello"}


@pytest.mark.parametrize(("sdk", "attempts"), [(OFFICIAL, 5), (OURS, 1)], ids=["official", "ours"])
def test_the_users_code_fails_with_500(stage: Stage, sdk: Any, attempts: int) -> None:
    """The official SDK sends the request five times. Our client sends it once, because it may have had effects."""
    caller = stage.met(sdk)
    caller.service.fault("http_status", code=500)
    assert caller.told() == 500
    assert caller.statuses() == [500] * attempts


@BOTH
@pytest.mark.parametrize("code", [408, 429])
def test_exceeded_limits_fail_at_once(stage: Stage, sdk: Any, code: int) -> None:
    """Status 408 is the instance's time limit, and 429 its rate limit."""
    caller = stage.met(sdk)
    caller.service.fault("http_status", code=code)
    assert caller.told() == code
    assert caller.statuses() == [code]


@BOTH
def test_an_instance_takes_longer_than_it_may(stage: Stage, sdk: Any) -> None:
    """The instance returns 408 after its time limit and closes the connection. The next call still succeeds."""
    service = stage.service(keepalive_s=0.2, processor="sleep", workers=2)
    caller = stage.caller(sdk, service)
    assert [caller.told("0"), caller.told("1"), caller.told("0"), caller.told("0")] == [b"0", 408, b"0", b"0"]
    assert caller.statuses() == [200, 408, 200, 200]


@BOTH
def test_a_processor_raises(stage: Stage, sdk: Any) -> None:
    """The call has one attempt, and its error has the text of the processor's exception."""
    caller = stage.caller(sdk, stage.service(processor="echo-json"))
    with pytest.raises(sdk.PredictException, match="Expecting") as raised:
        caller.call("{not json")
    assert raised.value.code == 400
    assert caller.statuses() == [400]


@BOTH
def test_the_token_is_wrong(stage: Stage, sdk: Any) -> None:
    """The call has one attempt."""
    caller = stage.met(sdk)
    caller.client.set_token("wrong")
    assert caller.told() == 401
    assert caller.statuses() == [401]


@BOTH
def test_an_address_belongs_to_another_service_now(stage: Stage, sdk: Any) -> None:
    """Calls to this address fail, and calls to the other instance succeed."""
    caller = stage.met(sdk)
    caller.service.fault("reused", 0)
    assert caller.many(4) == {404, b"hello"}


@pytest.mark.parametrize(("sdk", "attempts"), [(OFFICIAL, 5), (OURS, 2)], ids=["official", "ours"])
def test_all_instances_hang(stage: Stage, sdk: Any, attempts: int) -> None:
    """The official SDK has no deadline for a call: it makes five attempts of 300 ms each.

    Our client sends a hedge to the second instance after half of its 300 ms, and then waits for both attempts.
    """
    caller = stage.caller(sdk, timeout_ms=300)
    assert caller.told() == b"hello"
    for number in range(2):
        caller.service.hang(number)
    assert caller.told() == 500
    eventually(lambda: len(caller.statuses()) == 1 + attempts)
    assert caller.statuses() == [200] + [499] * attempts


@BOTH
def test_reused_connections_close_under_a_request(stage: Stage, sdk: Any) -> None:
    """A server may close an idle connection at any time, even when a request is being sent on it."""
    caller = stage.met(sdk)
    caller.service.fault("close_idle", race=True)
    assert caller.many() == {b"hello"}


@BOTH
def test_a_rolling_upgrade(stage: Stage, sdk: Any) -> None:
    """New instances join, and old ones leave with a grace period. Calls succeed before and after the client's poll."""
    caller = stage.met(sdk)
    simulator, old = caller.service.simulator, [one["id"] for one in caller.service.instances]
    for _ in old:
        caller.service.add_instance()
    caller.polled_under_fault("latency", latency=0)
    eventually(lambda: caller.told() == b"hello" and caller.used(2) and caller.used(3))
    for instance in old:
        simulator.remove_instance(instance, grace_s=30)
    assert caller.many() == {b"hello"}
    assert all(row["instance"] not in old for row in caller.service.requests(limit=20))


@BOTH
def test_the_gateway_reaches_no_instance(stage: Stage, sdk: Any) -> None:
    caller = stage.caller(sdk, kind="DEFAULT")
    assert caller.told() == b"hello"
    for number in range(2):
        caller.service.crash(number)
    assert caller.told() == 502


# Discovery


BROKEN: dict[str, dict[str, Any]] = {"http_status": {"code": 500}, "garbage": {}, "unreachable": {}}


@BOTH
def test_discovery_that_fails_changes_nothing(stage: Stage, sdk: Any) -> None:
    """After status 500, text that is not JSON, or a reset connection, both clients use their last list."""
    callers = {fault: stage.met(sdk) for fault in BROKEN}
    names = {fault: caller.service.discovery_fault(fault, **BROKEN[fault])["name"] for fault, caller in callers.items()}
    for fault, caller in callers.items():
        eventually(lambda caller=caller, name=names[fault]: caller.struck(name) >= 2)
        assert caller.many() == {b"hello"}
        assert caller.used(0) == caller.used(1) == 10


def test_discovery_returns_an_empty_list(stage: Stage) -> None:
    """Bug of the official SDK: it accepts the empty list, and each call fails although the instances are up."""
    theirs, ours = stage.met(OFFICIAL), stage.met(OURS)
    ours.polled_under_fault("empty_list", polls=2)
    theirs.polled_under_fault("empty_list")
    eventually(lambda: theirs.told() == 500)
    assert theirs.many() == {500}
    assert ours.many() == {b"hello"}


@pytest.mark.parametrize(("sdk", "learns"), [(OFFICIAL, False), (OURS, True)], ids=["official", "ours"])
def test_bad_rows_among_good_ones(stage: Stage, sdk: Any, learns: bool) -> None:  # noqa: FBT001
    """Bug of the official SDK: it ignores a whole reply with one bad row, so it never uses a new instance."""
    caller = stage.met(sdk)
    name = caller.service.discovery_fault("bad_rows")["name"]
    caller.service.add_instance()
    seen = caller.struck(name)  # a poll before the instance was added may be counted
    eventually(lambda: caller.struck(name) >= seen + 2)
    assert caller.many(30) == {b"hello"}
    assert (caller.used(2) > 0) is learns


def test_discovery_does_not_respond_once(stage: Stage) -> None:
    """Bug of the official SDK: it has no timeout for discovery, so one poll without a reply ends its polling.

    To show this, a second client of the official SDK, without the fault, makes two more polls.
    """
    theirs, ours, witness = stage.met(OFFICIAL), stage.met(OURS), stage.met(OFFICIAL)
    for caller in (theirs, ours):
        silence = caller.polled_under_fault("timeout")
        caller.service.simulator.remove_fault(silence)
        caller.service.add_instance()
    asked = [caller.service.discovery_fault("latency", latency=0)["name"] for caller in (theirs, ours)]
    witness.polled_under_fault("latency", polls=2, latency=0)
    assert theirs.struck(asked[0]) == 0
    assert ours.struck(asked[1]) > 0
    assert theirs.many(30) == ours.many(30) == {b"hello"}
    assert (theirs.used(2), ours.used(2) > 0) == (0, True)


def test_discovery_gives_every_instance_weight_zero(stage: Stage) -> None:
    """Bug of the official SDK: each call fails, because the SDK uses no instance. Our client uses its last list."""
    theirs, ours = stage.met(OFFICIAL), stage.met(OURS)
    ours.polled_under_fault("zero_weights", polls=2)
    theirs.polled_under_fault("zero_weights")
    eventually(lambda: theirs.told() == 500)
    assert ours.many() == {b"hello"}


# The client


@pytest.mark.parametrize(("sdk", "told"), [(OFFICIAL, b"hello"), (OURS, 401)], ids=["official", "ours"])
def test_a_token_that_is_cleared(stage: Stage, sdk: Any, told: object) -> None:
    """Bug of the official SDK: its calls share one dict of headers, which still contains the earlier Authorization."""
    caller = stage.met(sdk)
    caller.client.set_token("")
    assert caller.told() == told


@pytest.mark.parametrize(("sdk", "told"), [(OFFICIAL, b"hello"), (OURS, 500)], ids=["official", "ours"])
def test_a_client_that_is_destroyed(stage: Stage, sdk: Any, told: object) -> None:
    """Bug of the official SDK: calls still succeed on open connections. Our client raises an error."""
    caller = stage.met(sdk)
    caller.client.destroy()
    assert caller.told() == told


class Dates(BaseHTTPRequestHandler):
    """Responds with its own time, and with the Date header of the request."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = f"{self.date_time_string()}|{self.headers['Date']}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


DATES = """
import sys
from email.utils import parsedate_to_datetime as parsed
from {sdk} import PredictClient, StringRequest
client = PredictClient(sys.argv[1], "s")
client.set_token("t")
client.init()
now, sent = (parsed(text) for text in client.predict(StringRequest("x")).response_data.decode().split("|"))
client.destroy()
print(round((sent - now).total_seconds() / 3600))
"""


@pytest.mark.parametrize(("sdk", "hours"), [("eas_prediction", 8), ("eas_tw.blocking", 0)], ids=["official", "ours"])
def test_the_date_of_a_signature(sdk: str, hours: int) -> None:
    """The time zone is UTC+8. Bug of the official SDK: its Date is local time labelled GMT, eight hours ahead."""
    with HTTPServer(("127.0.0.1", 0), Dates) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        command = [sys.executable, "-c", DATES.format(sdk=sdk), f"http://127.0.0.1:{server.server_port}"]
        # POSIX notation for UTC+8, which needs no time zone database.
        variables = {**environment(), "TZ": "CST-8", "PYTHONWARNINGS": "ignore"}
        ended = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=PATIENCE_S, check=False)  # noqa: S603
        server.shutdown()
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) == hours
