"""Operations of a queue client with instances in memory: requests, retries and errors."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from twisted.internet.defer import CancelledError

from eas_tw import (
    BodyError,
    ClientClosed,
    ConfigError,
    ConnectionFailed,
    DeadlineExceeded,
    Frame,
    NoInstances,
    PutResult,
    QueueClient,
    SearchResult,
    StatusError,
)
from eas_tw.body.schema import message
from tests.net.calling import Result
from tests.net.fleet import PuppetReactor
from tests.queue.peer import PROTOBUF, QueueHarness, proto_of

IDEMPOTENT: dict[str, Callable[[QueueClient], Any]] = {
    "attributes": lambda queue: queue.attributes(),
    "commit": lambda queue: queue.commit([1, 2]),
    "count": lambda queue: queue.count(),
    "delete": lambda queue: queue.delete(1),
    "end": lambda queue: queue.end(),
    "get without delete": lambda queue: queue.get(auto_delete=False, timeout_s=0),
    "put as idempotent": lambda queue: queue.put(b"", idempotent=True),
    "reject": lambda queue: queue.reject(1, "Busy", "why"),
    "search": lambda queue: queue.search(1),
    "truncate": lambda queue: queue.truncate(4),
}
AT_MOST_ONCE: dict[str, Callable[[QueueClient], Any]] = {
    "put": lambda queue: queue.put(b"x"),
    "get with delete": lambda queue: queue.get(timeout_s=0),
}


def test_a_put_returns_index_and_request_id() -> None:
    harness = QueueHarness()
    putting = harness.run(harness.client.put({"a": 1}, tags={"k": "v"}, priority=2, path="more"))
    asked = harness.asked()
    assert (asked.method, asked.target, asked.body) == ("POST", "/api/predict/svc/more?k=v", b'{"a":1}')
    assert "X-EAS-QueueService-Priority: 2" in asked.head
    asked.answer(b"7", 200, b"X-Eas-Queueservice-Request-Id: req-7")
    assert putting.value == PutResult(7, "req-7")
    harness.assert_clean()


def test_the_sink_is_below_the_queue_on_the_same_connections() -> None:
    harness = QueueHarness(1)
    getting = harness.run(harness.client.sink().get(index=2, length=3, timeout_s=1.5, request_id="r"))
    asked = harness.asked()
    assert asked.target.startswith("/api/predict/svc/sink?_index_=2&_length_=3&_timeout_=1.5s&")
    assert asked.query["requestId"] == "r"
    frames = message("eas_tw.queue.DataFrameListProto")(index=[proto_of(2, b"x", requestId="r")])
    asked.answer(frames.SerializeToString(), 200, PROTOBUF)
    assert getting.value == [Frame(2, {"requestId": "r"}, b"x")]
    assert len(harness.reactor.wires) == 1
    harness.assert_clean()


def test_a_get_without_a_frame_is_an_empty_list() -> None:
    harness = QueueHarness()
    getting = harness.run(harness.client.get(timeout_s=0))
    harness.asked().answer(b"", 204)
    assert getting.value == []
    harness.assert_clean()


def test_search_count_and_clear_read_what_the_service_answers() -> None:
    harness = QueueHarness()
    searching = harness.run(harness.client.search(5))
    harness.asked().answer(b'{"IsPending":false,"WaitCount":4}')
    assert searching.value == SearchResult(is_pending=False, wait_count=4)
    counting = harness.run(harness.client.count(priority=1, tags={"k": "v"}))
    asked = harness.asked()
    assert asked.query == {"_count_": "true", "_priority_": "1", "k": "v"}
    asked.answer(b"12")
    assert counting.value == 12
    clearing = harness.run(harness.client.clear())
    harness.asked().answer(b'{"stream.lastEntry": "3"}')
    asked = harness.asked()
    assert (asked.method, asked.query) == ("DELETE", {"_index_": "4", "_trunc_": "true"})
    asked.answer()
    assert clearing.value is None
    harness.assert_clean()


def test_the_attributes_are_asked_for_once_and_name_the_identity_headers() -> None:
    harness = QueueHarness(attributes={"meta.header.user": "X-User", "meta.header.group": "X-Group"})
    for _ in range(2):
        committing = harness.run(harness.client.commit(1))
        asked = harness.asked()
        assert "X-User: u1\r\nX-Group: g1" in asked.head
        asked.answer()
        assert committing.value is None
    harness.assert_clean()


def test_operations_at_the_same_time_share_the_request_for_attributes() -> None:
    harness = QueueHarness(1, attributes=None)
    both = [harness.run(harness.client.commit(index)) for index in (1, 2)]
    asked = harness.asked()
    assert asked.query == {"_attrs_": "true"}
    asked.answer(b"{}")
    for _ in both:
        harness.asked().answer()
    assert [one.value for one in both] == [None, None]
    harness.assert_clean()


def test_operations_that_wait_for_the_same_attributes_have_separate_errors() -> None:
    """Each error names its own operation; all of them had one error, which named all operations."""
    harness = QueueHarness(attributes=None)
    operations = [harness.run(harness.client.put(b"1")), harness.run(harness.client.count())]
    harness.asked().answer(b"", 401)
    texts = [str(operation.error).partition(": the token")[0] for operation in operations]
    assert texts == ["put into svc", "count of svc"]
    assert all(operation.error.status == 401 and operation.error.attempts for operation in operations)
    harness.assert_clean()


def test_an_operation_that_times_out_does_not_fail_others_that_wait_for_the_attributes() -> None:
    harness = QueueHarness(1, attributes=None)
    hasty = harness.run(harness.client.put(b"1", timeout_s=0.5))
    patient = harness.run(harness.client.put(b"2", timeout_s=3.0))
    asked = harness.asked()
    assert asked.query == {"_attrs_": "true"}
    harness.reactor.advance(0.5)
    assert isinstance(hasty.error, DeadlineExceeded)
    assert "0.5 s" in str(hasty.error)
    harness.reactor.advance(0.5)
    asked.answer(b"{}")
    asked = harness.asked()
    assert asked.body == b"2"
    asked.answer(b"1")
    assert patient.value.index == 1
    harness.assert_clean()


def test_an_operation_that_is_cancelled_before_the_attributes_are_known_sends_nothing() -> None:
    harness = QueueHarness(1, attributes=None)
    putting = harness.client.put(b"1")
    cancelled = harness.run(putting)
    asked = harness.asked()
    putting.cancel()
    assert isinstance(cancelled.error, CancelledError)
    asked.answer(b"{}")
    harness.reactor.advance(0)
    assert asked.wire.value() == b""
    harness.assert_clean()


@pytest.mark.parametrize("status", [404, 405, 500])
def test_a_service_without_attributes_gets_the_usual_identity_headers(status: int) -> None:
    harness = QueueHarness(1, attributes=None)
    committing = harness.run(harness.client.commit(1))
    harness.asked().answer(b"", status)
    asked = harness.asked()
    assert "X-EAS-QueueService-Redis-Uid: u1\r\nX-EAS-QueueService-Redis-Gid: g1" in asked.head
    asked.answer()
    assert committing.value is None
    harness.assert_clean()


def test_a_rejected_token_is_one_request_and_one_clear_line() -> None:
    harness = QueueHarness(attributes=None)
    putting = harness.run(harness.client.put(b"x"))
    asked = harness.asked()
    assert "Authorization: t0ken\r\n" in asked.head
    asked.answer(b"no\nsuch token", 401)
    assert isinstance(putting.error, StatusError)
    assert putting.error.status == 401
    text = str(putting.error)
    assert text.startswith("put into svc: the token is not accepted: 10.0.0.")
    assert text.endswith("the response says: no such token")
    assert harness.client.counters.calls == 1
    harness.assert_clean()


def test_a_full_queue_fails_a_put_at_once_with_one_clear_line() -> None:
    harness = QueueHarness()
    putting = harness.run(harness.client.put(b"x"))
    harness.asked().answer(b"svc is full", 429)
    assert isinstance(putting.error, StatusError)
    assert putting.error.status == 429
    assert "put into svc: the queue is full, or takes no more requests now" in str(putting.error)
    assert "\n" not in str(putting.error)
    harness.assert_clean()


@pytest.mark.parametrize("name", sorted(AT_MOST_ONCE))
@pytest.mark.parametrize("how", ["lost", "503"])
def test_an_operation_that_is_not_idempotent_is_not_repeated_after_it_was_sent(name: str, how: str) -> None:
    harness = QueueHarness()
    running = harness.run(AT_MOST_ONCE[name](harness.client))
    asked = harness.asked()
    if how == "lost":
        asked.wire.lose()
        # The instance may have closed the idle connection before the request arrived, but that is not certain.
        assert isinstance(running.error, ConnectionFailed)
    else:
        asked.answer(b"", 503)
        assert isinstance(running.error, StatusError)
    assert "may have reached the instance" in str(running.error)
    harness.assert_clean()


@pytest.mark.parametrize("name", sorted(AT_MOST_ONCE))
def test_an_operation_that_was_never_sent_is_repeated_until_the_deadline(name: str) -> None:
    harness = QueueHarness(2)
    harness.learn()
    for wire in harness.reactor.wires:
        wire.lose()
    running = harness.run(AT_MOST_ONCE[name](harness.client))
    for _ in range(6):  # more than `attempts`, and more than the number of instances
        harness.reactor.advance(0.25)
        for dial in list(harness.reactor.dials):
            dial.fail()
        assert not running.fired
    harness.reactor.advance(0.25)
    harness.asked().answer(b"1")
    assert not isinstance(running.value, Exception)
    harness.assert_clean()


@pytest.mark.parametrize("name", sorted(IDEMPOTENT))
@pytest.mark.parametrize("how", ["lost", "429", "500", "503"])
def test_idempotent_operations_are_repeated(name: str, how: str) -> None:
    harness = QueueHarness()
    answers = {
        "attributes": b"{}",
        "count": b"1",
        "search": b'{"IsPending":true,"WaitCount":0}',
        "put as idempotent": b"1",
        "get without delete": b"",
    }
    harness.learn()
    running = harness.run(IDEMPOTENT[name](harness.client))
    for _ in range(5):
        asked = harness.asked()
        if how == "lost":
            asked.wire.lose()
        else:
            asked.answer(b"", int(how))
        assert not running.fired
        harness.reactor.advance(0.25)
    harness.asked().answer(answers.get(name, b"OK"))
    assert not isinstance(running.value, Exception)
    harness.assert_clean()


def test_a_commit_that_never_succeeds_is_an_error_at_the_deadline() -> None:
    harness = QueueHarness(timeout_s=2.0)
    committing = harness.run(harness.client.commit(1))
    for _ in range(40):
        if committing.fired:
            break
        try:
            harness.asked().answer(b"", 503)
        except AssertionError:
            assert not harness.reactor.wires or committing.fired or harness.reactor.getDelayedCalls()
        harness.reactor.advance(0.1)
    assert isinstance(committing.error, DeadlineExceeded | StatusError)
    assert "503" in str(committing.error)
    harness.assert_clean()


def test_with_one_attempt_an_operation_that_was_sent_is_not_repeated() -> None:
    harness = QueueHarness(attempts=1)
    committing = harness.run(harness.client.commit(1))
    harness.asked().answer(b"", 503)
    assert isinstance(committing.error, StatusError)
    harness.assert_clean()


def test_a_get_that_waits_for_a_frame_is_not_hedged_and_ejects_no_instance() -> None:
    harness = QueueHarness(2, attempt_timeout_s=1.0)
    harness.client.commit(1)
    harness.asked().answer()  # after a fast response, a normal call of 59 s would count as late
    getting = harness.run(harness.client.get(timeout_s=60.0, auto_delete=False))
    asked = harness.asked()
    for _ in range(59):
        harness.reactor.advance(1.0)
    assert not getting.fired
    asked.answer(b"", 204)
    assert getting.value == []
    assert harness.client.counters.hedges == 0
    assert harness.client.ejected == ()
    assert harness.client.counters.failures == {}
    harness.assert_clean()


def test_a_get_without_a_response_ends_at_its_deadline() -> None:
    harness = QueueHarness(1, timeout_s=2.0)
    getting = harness.run(harness.client.get(timeout_s=3.0))
    harness.asked()
    harness.reactor.advance(4.9)
    assert not getting.fired
    harness.reactor.advance(0.2)
    assert isinstance(getting.error, DeadlineExceeded)
    harness.assert_clean()


@pytest.mark.parametrize(
    ("call", "kind", "says"),
    [
        (lambda queue: queue.put(object()), BodyError, "got"),
        (lambda queue: queue.put(b"", tags={"_a_": "b"}), ConfigError, "does not begin with _"),
        (lambda queue: queue.get(length=0), ConfigError, "length must be"),
        (lambda queue: queue.get(timeout_s=-1), ConfigError, "timeout_s must be"),
        (lambda queue: queue.commit("1"), ConfigError, "index must be"),
        (lambda queue: queue.reject(1, "not a code!"), ConfigError, "code must be"),
        (lambda queue: queue.truncate(-1), ConfigError, "index must be"),
        (lambda queue: queue.put(b"", path="a b\r\nX: 1"), ConfigError, "path must be"),
        (lambda queue: queue.put(b"", path="a?_eos_=true"), ConfigError, "path must be"),
        (lambda queue: queue.get(tags="a"), ConfigError, "tags must be a mapping"),
        (lambda queue: queue.get(tags=5, request_id="r"), ConfigError, "tags must be a mapping"),
        (lambda queue: queue.get(auto_delete=np.array([1, 2])), ConfigError, "a flag must be True or False"),
        *(
            (partial(operate, timeout_s=timeout_s), ConfigError, "timeout_s must be a number > 0")
            for timeout_s in (0, -1, "1", float("nan"), 10**400, True, np.array([1.0, 2.0]))
            for operate in (
                lambda queue, timeout_s: queue.put(b"", timeout_s=timeout_s),
                lambda queue, timeout_s: queue.attributes(timeout_s=timeout_s),
                lambda queue, timeout_s: queue.clear(timeout_s=timeout_s),
                lambda queue, timeout_s: queue.commit([1], timeout_s=timeout_s),
            )
        ),
    ],
)
def test_a_wrong_argument_fails_the_deferred_before_anything_is_sent(
    call: Callable[[QueueClient], Any], kind: type[Exception], says: str
) -> None:
    harness = QueueHarness()
    running = harness.run(call(harness.client))
    assert isinstance(running.error, kind)
    assert says in str(running.error)
    assert not harness.reactor.dials
    harness.assert_clean()


def test_a_response_to_a_put_without_an_index_is_an_error() -> None:
    harness = QueueHarness()
    putting = harness.run(harness.client.put(b""))
    harness.asked().answer(b"", 204)
    assert isinstance(putting.error, BodyError)
    assert "the put was accepted, but the index of the put must be a number" in str(putting.error)
    harness.assert_clean()


def test_committing_no_frames_sends_no_request() -> None:
    harness = QueueHarness()
    assert harness.run(harness.client.commit([])).value is None
    assert not harness.reactor.dials
    harness.assert_clean()


def test_before_init_and_after_close_every_operation_fails() -> None:
    reactor = PuppetReactor()
    queue = QueueClient("", "svc", instances=[("10.0.0.1", 80)], reactor=reactor)
    assert isinstance(Result(queue.put(b"")).error, NoInstances)
    with pytest.raises(NoInstances):
        queue.sink().watch()
    queue.init()
    queue.close()
    reactor.advance(0)
    assert isinstance(Result(queue.put(b"")).error, ClientClosed)
    with pytest.raises(ClientClosed):
        queue.watch()


def test_the_user_is_random_unless_it_is_given() -> None:
    made = [QueueClient("e", "q", reactor=PuppetReactor()).identity for _ in range(2)]
    assert made[0].user != made[1].user
    assert made[0].group == "eas"
    with pytest.raises(ConfigError, match="user must be visible ASCII"):
        QueueClient("e", "q", user="a b", reactor=PuppetReactor())


def test_neither_client_nor_sink_shows_the_token() -> None:
    harness = QueueHarness()
    assert repr(harness.client) == "<QueueClient svc at ? fixed ready instances=2>"
    assert repr(harness.client.sink()) == "<SinkQueue of <QueueClient svc at ? fixed ready instances=2>>"
    harness.assert_clean()
