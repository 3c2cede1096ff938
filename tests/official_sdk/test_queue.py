"""The queue client of the official Python SDK, unmodified, against the simulator's queue services."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import eas_prediction
import pytest

from tests.patience import until
from tests.simulator.serving import Served

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KINDS = {"direct": eas_prediction.ENDPOINT_TYPE_DIRECT, "default": eas_prediction.ENDPOINT_TYPE_DEFAULT}
TOKEN = "t0ken"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder: Path = tmp_path_factory.mktemp("simulator")
    with Served(folder, "--service", "qservice=2", "--queue-service", "qservice", "--token", TOKEN) as found:
        yield found


@pytest.fixture
def served(running: Served) -> Iterator[Served]:
    yield running
    assert running.admin("POST", "/v1/reset", {})[0] == 200


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def official(served: Served, kind: str) -> Iterator[Callable[..., Any]]:
    """Return a function that makes the SDK's client of the input queue, or of the sink with `path="sink"`."""
    clients = []

    def make(path: str = "", *, uid: str | None = None, token: str = TOKEN) -> Any:
        client = eas_prediction.QueueClient(served.ready["url"], "qservice")
        clients.append(client)
        client.set_token(token)
        client.set_endpoint_type(KINDS[kind])
        client.init(uid=uid, path_suffix=path)
        return client

    yield make
    for client in clients:
        client.destroy()  # otherwise the client's thread continues to poll discovery


def take(watcher: Any, client: Any, count: int) -> list[bytes]:
    """Read frames from a watcher, commit each one, and close the watcher after the last."""
    found = []
    for frame in watcher.run():
        found.append(frame.data)
        assert client.commit(frame.index) == b"OK"
        if len(found) == count:
            break
    watcher.close()
    return found


def test_a_result_is_found_by_its_request_id(official: Callable[..., Any]) -> None:
    queue, sink = official(), official("sink")
    index, request_id = queue.put('[{"a": 1}]', {"k": "v w"})
    (frame,) = sink.get(request_id=request_id)
    assert (index, frame.data) == ("1", b'[{"a": 1}]')
    assert dict(frame.tags) == {"requestId": request_id, "k": "v w"}
    assert sink.get(request_id=request_id, timeout="0s") == []


def test_every_operation_is_answered(official: Callable[..., Any]) -> None:
    """The operations are called on the sink, whose frames no worker takes."""
    sink = official("sink")
    assert [sink.put(b"%d" % number)[0] for number in range(1, 6)] == ["1", "2", "3", "4", "5"]
    assert sink.attributes()["stream.length"] == "5"
    assert [frame.data for frame in sink.get(index=2, length=2, auto_delete=False)] == [b"2", b"3"]
    assert sink.search(3) == {"IsPending": False, "WaitCount": 2}
    assert sink.search(9) == {}
    assert sink.commit(1) == b"OK"
    assert sink.commit([2, 3]) == b"OK"
    assert [frame.data for frame in sink.get(length=9, timeout="0s", auto_delete=False)] == [b"4", b"5"]
    assert sink.delete(1) == "OK"
    assert sink.delete([2]) == "OK"
    assert sink.truncate(5) == b"OK"
    assert {name: sink.attributes()[f"stream.{name}"] for name in ("length", "firstEntry", "lastEntry")} == {
        "length": "1",
        "firstEntry": "5",
        "lastEntry": "5",
    }


def test_a_watch_gets_the_results_and_its_commits_open_the_window(official: Callable[..., Any]) -> None:
    queue, sink = official(), official("sink")
    watcher = sink.watch(0, 2, auto_commit=False)
    for number in range(6):
        queue.put(b"%d" % number)
    assert take(watcher, sink, 6) == [b"%d" % number for number in range(6)]
    assert sink.get(timeout="0s") == []


def test_a_watch_continues_after_its_connection_was_dropped(served: Served, official: Callable[..., Any]) -> None:
    """The connection is closed after the second frame. That frame may be sent again, and no frame is missing."""
    sink = official("sink", uid="u1")
    for number in range(4):
        sink.put(b"%d" % number)
    fault = {"name": "f", "type": "drop_watch", "target": {"service": "qservice"}, "skip": 1, "times": 1}
    assert served.admin("POST", "/v1/faults", fault)[0] == 201
    found: dict[bytes, None] = {}
    watcher = sink.watch(0, 1, auto_commit=False)
    for frame in watcher.run():
        found[frame.data] = None
        sink.commit(frame.index)
        if len(found) == 4:
            break
    watcher.close()
    assert list(found) == [b"0", b"1", b"2", b"3"]
    dropped = {"method": "GET", "status": 101, "fault": "f", "stream": "cut"}
    assert served.admin("POST", "/v1/requests/count", dropped)[1]["count"] == 1


def test_frames_that_a_lost_watch_has_not_committed_are_sent_to_the_next(official: Callable[..., Any]) -> None:
    sink = official("sink", uid="u1")
    for number in range(3):
        sink.put(b"%d" % number)
    first = sink.watch(0, 3, auto_commit=False)
    assert next(iter(first.run())).data == b"0"
    first.close()
    another = official("sink", uid="u2")
    assert take(another.watch(0, 3, auto_commit=False), another, 3) == [b"0", b"1", b"2"]


@pytest.mark.parametrize("status", [401, 429])
def test_an_error_is_raised_after_six_tries(served: Served, official: Callable[..., Any], status: int) -> None:
    """The official SDK makes six requests without a pause, whatever the status is."""
    fault = {"name": "f", "type": "full", "target": {"service": "qservice"}}
    assert served.admin("POST", "/v1/faults", fault)[0] == 201
    client = official(token="wrong" if status == 401 else TOKEN)
    with pytest.raises(eas_prediction.PredictException) as caught:
        client.put("x")
    assert caught.value.code == status
    count = {"method": "POST", "status": status}
    until(lambda: served.admin("POST", "/v1/requests/count", count)[1]["count"] == 6)


def test_a_watch_gets_all_frames_when_its_instance_crashes_and_runs_again(
    served: Served, official: Callable[..., Any]
) -> None:
    """The official SDK reconnects a direct watch to the same address until the instance runs again."""
    sink = official("sink", uid="u1")
    sink.put(b"0")
    watcher = sink.watch(0, 1, auto_commit=False)
    frames = watcher.run()
    assert next(frames).data == b"0"
    running = [stream for stream in served.admin("GET", "/v1/streams")[1]["streams"] if stream["status"] == 101]
    (crashed,) = [stream["instance"] for stream in running]
    served.patch("qservice", crashed, state="crashed")
    other = next(one for one in served.ready["services"][0]["instances"] if one["id"] != crashed)
    put = served.ask(other, "POST", "/api/predict/qservice/sink", b"1", {"Authorization": TOKEN})
    assert put == (200, b"2")
    served.patch("qservice", crashed, state="running")
    found = [b"0"]
    for frame in frames:
        sink.commit(frame.index)
        found.append(frame.data)
        if frame.data == b"1":
            break
    watcher.close()
    assert found == [b"0", b"0", b"1"]
