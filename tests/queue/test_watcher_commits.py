"""Commits and rejects of a watcher."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from eas_tw import StatusError
from eas_tw.body.schema import message
from eas_tw.queue.commits import MOST_INDEXES, CommitBatches
from eas_tw.telemetry.events import FramesCommitted
from tests.net.calling import Result
from tests.queue.peer import PROTOBUF, proto_of
from tests.queue.watched import Watched


def test_commits_during_a_running_commit_are_sent_in_one_request() -> None:
    watched = Watched()
    watched.service.send(1, 2, 3)
    committing = [Result(watched.watcher.commit(index)) for index in watched.indexes(3)]
    first = watched.harness.asked()
    assert first.query == {"_indexes_": "1"}
    first.answer()
    second = watched.harness.asked()
    assert second.query == {"_indexes_": "2,3"}
    second.answer()
    assert [one.value for one in committing] == [None, None, None]
    assert [event.indexes for event in watched.events(FramesCommitted)] == [(1,), (2, 3)]
    assert watched.harness.client.counters.commits == 3
    watched.harness.assert_clean()


def test_a_failed_commit_is_an_error_and_may_be_repeated() -> None:
    watched = Watched()
    watched.service.send(1)
    frame = watched.read()
    assert frame is not None
    committing = Result(watched.watcher.commit(frame))
    watched.harness.asked().answer(b"", 404)
    assert isinstance(committing.error, StatusError)
    assert watched.harness.client.counters.commits_failed == 1
    again = Result(watched.watcher.commit(frame))
    watched.harness.asked().answer()
    assert again.value is None
    watched.harness.assert_clean()


def test_a_rejected_frame_is_read_again_when_the_service_sends_it_again() -> None:
    watched = Watched(window=1)
    watched.service.send(1)
    watched.read()
    rejecting = Result(watched.watcher.reject(1, code="Busy", reason="not now"))
    asked = watched.harness.asked()
    assert asked.query == {"_indexes_": "1", "_negative_": "true"}
    assert asked.body == b"_code_=Busy&_reason_=not+now"
    asked.answer()
    assert rejecting.value is None
    watched.service.send(1)
    assert watched.indexes(1) == [1]
    watched.harness.assert_clean()


@pytest.mark.parametrize("is_answered", [True, False])
@pytest.mark.parametrize("by", ["watcher", "queue"])
def test_a_rejected_frame_is_read_again_when_it_comes_before_the_answer(by: str, is_answered: bool) -> None:  # noqa: FBT001
    """The service sends a rejected frame to the only consumer again.

    Regression: the reader did not get the frame, because the watcher waited for a commit of the rejected frame.
    """
    watched = Watched(window=1, settings={"timeout_s": 1.0})
    sink = watched.harness.client.sink()
    watched.service.send(1)
    watched.read()
    rejecting = Result(watched.watcher.reject(1, "Busy") if by == "watcher" else sink.reject(1, "Busy"))
    asked = watched.harness.asked()
    watched.service.send(1)
    assert watched.indexes(1) == [1]
    if is_answered:
        asked.answer()
        assert rejecting.value is None
    else:
        watched.harness.reactor.advance(1.0)
        assert rejecting.error is not None
    watched.service.send(1)  # the service sends frame 1 again, but the reader already has it
    assert not watched.reading().fired
    watched.harness.assert_clean()


def test_a_frame_that_is_committed_after_a_failed_reject_is_not_read_again() -> None:
    watched = Watched(window=1, settings={"timeout_s": 1.0})
    watched.service.send(1)
    watched.read()
    rejecting = Result(watched.watcher.reject(1, "Busy"))
    watched.harness.asked()
    watched.service.send(1, 2)  # the service has accepted the reject, and its response is lost
    assert watched.service.wire.is_paused
    watched.harness.reactor.advance(1.0)
    assert rejecting.error is not None
    Result(watched.watcher.commit(1))
    watched.harness.asked().answer()
    assert not watched.service.wire.is_paused
    assert watched.indexes(1) == [2]
    watched.harness.assert_clean()


@pytest.mark.parametrize("how", ["commit", "delete", "reject", "truncate", "clear", "get"])
def test_a_watcher_accounts_for_operations_of_its_client_on_frames(how: str) -> None:
    """Programs for the official SDK commit through the client of the queue, not through the watcher."""
    watched = Watched(window=1)
    sink = watched.harness.client.sink()
    acts: dict[str, Callable[[], Any]] = {
        "commit": lambda: sink.commit(1),
        "delete": lambda: sink.delete([1]),
        "reject": lambda: sink.reject(1, "Busy"),
        "truncate": lambda: sink.truncate(2),
        "clear": sink.clear,
        "get": lambda: sink.get(index=1),
    }
    answers = {
        "clear": [json.dumps({"stream.lastEntry": "1"}).encode(), b"OK"],
        "get": [message("eas_tw.queue.DataFrameListProto")(index=[proto_of(1)]).SerializeToString()],
    }
    watched.service.send(1)
    assert watched.indexes(1) == [1]
    watched.service.wire.lose()
    watched.reconnected().send(2)
    reading = watched.reading()
    assert not reading.fired
    acting = Result(acts[how]())
    for answer in answers.get(how, [b"OK"]):
        watched.harness.asked().answer(answer, 200, *([PROTOBUF] if how == "get" else []))
    assert not isinstance(acting.value, Failure)
    assert reading.value.index == 2
    watched.service.send(1)
    assert bool(watched.reading().fired) == (how == "reject")  # only a rejected frame is read again
    watched.harness.assert_clean()


def test_a_batch_of_commits_is_bounded() -> None:
    sent: list[tuple[int, ...]] = []
    waiting: list[Deferred[Any]] = []

    def send(indexes: tuple[int, ...]) -> Deferred[Any]:
        sent.append(indexes)
        waiting.append(Deferred())
        return waiting[-1]

    commits = CommitBatches(send)
    first = Result(commits.commit((0,)))
    many = Result(commits.commit(tuple(range(1, MOST_INDEXES + 11))))
    idle = Result(commits.when_idle())
    for _ in range(3):
        waiting[-1].callback(None)
    assert [len(batch) for batch in sent] == [1, MOST_INDEXES, 10]
    assert (first.value, many.value, idle.value) == (None, None, None)


def test_a_frame_that_the_service_refuses_does_not_fail_the_commits_of_other_callers() -> None:
    watched = Watched()
    watched.service.send(1, 2)
    first, wrong, other = (Result(watched.watcher.commit(index)) for index in (1, 99, 2))
    watched.harness.asked().answer()
    together = watched.harness.asked()
    assert together.query == {"_indexes_": "99,2"}
    together.answer(b"no frame 99", 404)
    for index, status in (("99", 404), ("2", 200)):
        asked = watched.harness.asked()
        assert asked.query == {"_indexes_": index}
        asked.answer(b"", status)
    assert first.value is None
    assert isinstance(wrong.error, StatusError)
    assert other.value is None
    assert [(event.indexes, event.error) for event in watched.events(FramesCommitted)] == [
        ((1,), ""),
        ((99,), "StatusError"),
        ((2,), ""),
    ]
    watched.harness.assert_clean()


@pytest.mark.parametrize("status", [401, 403])
def test_a_rejected_token_fails_a_batch_of_commits_with_one_request(status: int) -> None:
    watched = Watched()
    commits = [Result(watched.watcher.commit(index)) for index in (1, 2, 3)]
    watched.harness.asked().answer()
    watched.harness.asked().answer(b"", status)
    assert [type(commit.value) for commit in commits[:1]] == [type(None)]
    assert [commit.error.status for commit in commits[1:]] == [status, status]
    watched.harness.assert_clean()


def test_a_cancelled_commit_stops_the_wait_and_not_the_request() -> None:
    waiting: Deferred[Any] = Deferred()
    commits = CommitBatches(lambda _: waiting)
    cancelled = commits.commit((1, 1))
    failed = Result(cancelled)
    other = Result(commits.commit((2,)))
    cancelled.cancel()
    assert failed.fired
    assert not waiting.called
    waiting.callback(None)
    assert other.value is None
