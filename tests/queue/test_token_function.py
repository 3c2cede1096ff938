"""A function as the token of a queue client: it is called for each request, and its errors end only that request."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail

from eas_tw import ConfigError, StatusError
from eas_tw.queue.commits import CommitBatches
from tests.net.calling import Result, logged_events, says
from tests.queue.peer import QueueHarness, Service
from tests.queue.test_http_watch import HEAD
from tests.queue.test_operations import AT_MOST_ONCE, IDEMPOTENT
from tests.queue.watched import Watched

OPERATIONS = IDEMPOTENT | AT_MOST_ONCE
WATCHES = ("websocket", "http")
CLOSE_1000, END = b"\x88\x02\x03\xe8", b"0\r\n\r\n"


class Tokens:
    """A token function that returns `t1`, `t2` and so on, until the test makes it fail.

    Attributes:
        calls: The number of calls.
        raises: The exception to raise; `None` for none.
        returns: A value to return instead of a token; `None` for none.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.raises: BaseException | None = None
        self.returns: Any = None

    def __call__(self) -> str:
        self.calls += 1
        if self.raises is not None:
            raise self.raises
        return f"t{self.calls}" if self.returns is None else self.returns


@pytest.fixture(autouse=True)
def _nothing_is_logged() -> Iterator[None]:
    """Assert that no error is logged, such as an unhandled error in a Deferred."""
    with logged_events() as events:
        yield
        gc.collect()  # a Deferred logs its unhandled error when it is deleted
    assert not [event for event in events if event.get("isError") or event.get("log_failure") is not None]


def authorization(head: str) -> list[str]:
    return [line.partition(": ")[2] for line in head.split("\r\n") if line.startswith("Authorization: ")]


def harness_with(tokens: Any, **settings: Any) -> QueueHarness:
    """Return a harness whose client knows the names of the headers, and has the token function."""
    harness = QueueHarness(**settings)
    harness.learn()
    harness.client.set_token(tokens)
    return harness


def assert_nothing_sent(harness: QueueHarness) -> None:
    harness.reactor.advance(0)
    assert not harness.reactor.dials
    assert not [wire for wire in harness.reactor.wires if wire.value()]


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_function_is_called_for_each_request(name: str) -> None:
    tokens = Tokens()
    harness = harness_with(tokens)
    for number in (1, 2):
        Result(OPERATIONS[name](harness.client))
        asked = harness.asked()
        assert authorization(asked.head) == [f"t{number}"]
        asked.answer()
    assert tokens.calls == 2
    harness.assert_clean()


def test_the_function_may_be_given_to_the_constructor_and_serves_the_sink() -> None:
    tokens = Tokens()
    harness = QueueHarness(token=tokens, attributes=None)
    putting = Result(harness.client.sink().put(b"x"))
    attributes = harness.asked()
    assert attributes.query == {"_attrs_": "true"}
    assert authorization(attributes.head) == ["t1"]
    attributes.answer(b"", 404)
    put = harness.asked()
    assert authorization(put.head) == ["t2"]
    put.answer(b"7")
    assert putting.value.index == 7
    assert tokens.calls == 2
    harness.assert_clean()


def test_the_attempts_of_an_operation_have_the_same_token() -> None:
    tokens = Tokens()
    harness = harness_with(tokens)
    counting = Result(harness.client.count())
    harness.asked().answer(b"", 503)
    harness.reactor.advance(1.0)
    again = harness.asked()
    assert authorization(again.head) == ["t1"]
    again.answer(b"3")
    assert (counting.value, tokens.calls) == (3, 1)
    harness.assert_clean()


def test_an_empty_token_is_not_sent() -> None:
    harness = harness_with(lambda: "")
    Result(harness.client.count())
    asked = harness.asked()
    assert authorization(asked.head) == []
    asked.answer(b"3")
    harness.assert_clean()


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_fails_before_anything_is_sent_if_the_function_raises(name: str, *, is_first: bool) -> None:
    tokens = Tokens()
    tokens.raises = ValueError("the secret")
    harness = QueueHarness(token=tokens) if is_first else harness_with(tokens)
    timers = harness.reactor.getDelayedCalls()
    operating = Result(OPERATIONS[name](harness.client))
    assert isinstance(operating.error, ConfigError)
    assert str(operating.error) == "the function given as token raised ValueError"
    assert_nothing_sent(harness)
    assert harness.reactor.getDelayedCalls() == timers
    harness.assert_clean()


@pytest.mark.parametrize("wrong", [None, 7, b"t", "t\r\nX: y", "é", "t\0", "t "])
def test_an_operation_fails_before_anything_is_sent_if_the_function_returns_no_token(wrong: Any) -> None:
    harness = harness_with(lambda: wrong)
    putting = Result(harness.client.put(b"x"))
    assert isinstance(putting.error, ConfigError)
    assert "what the function given as token returns must be a string of visible ASCII" in str(putting.error)
    assert_nothing_sent(harness)
    harness.assert_clean()


@pytest.mark.parametrize("raised", [StopIteration("x"), asyncio.CancelledError(), GeneratorExit()])
def test_exceptions_with_a_special_meaning_are_errors_of_the_function_as_well(raised: BaseException) -> None:
    tokens = Tokens()
    harness = harness_with(tokens)
    tokens.raises = raised
    assert isinstance(Result(harness.client.put(b"x")).error, ConfigError)
    harness.assert_clean()


def test_an_operation_that_waits_for_the_header_names_fails_if_the_function_raises_then() -> None:
    tokens = Tokens()
    harness = QueueHarness(token=tokens, attributes=None)
    putting = [Result(harness.client.put(b"x")) for _ in range(2)]
    attributes = harness.asked()
    tokens.raises = ValueError()
    attributes.answer(b"{}")
    assert [type(one.error) for one in putting] == [ConfigError, ConfigError]
    assert_nothing_sent(harness)
    harness.assert_clean()


def test_an_operation_after_one_that_failed_is_sent() -> None:
    tokens = Tokens()
    tokens.raises = ValueError()
    harness = QueueHarness(token=tokens)
    assert isinstance(Result(harness.client.put(b"x")).error, ConfigError)
    tokens.raises = None
    putting = Result(harness.client.put(b"x"))
    harness.asked().answer(b"1")
    assert putting.value.index == 1
    harness.assert_clean()


class Watch:
    """A watch of a client with a token function, over WebSocket or plain HTTP."""

    def __init__(self, how: str, tokens: Tokens) -> None:
        self.how = how
        self.tokens = tokens
        self.harness = harness_with(tokens, queue_watch=how)
        self.watcher = self.harness.client.watch()
        self.opening = Result(self.watcher.open())

    def accept(self) -> str:
        """Accept the next connection, and return its token."""
        if self.how == "websocket":
            service = self.harness.upgraded()
            self.wire, head = service.wire, service.asked.head
        else:
            asked = self.harness.asked()
            assert "_watch_" in asked.query
            self.wire, head = asked.wire, asked.head
            says(self.wire, HEAD)
        (token,) = authorization(head)
        return token


@pytest.mark.parametrize("how", WATCHES)
def test_the_function_is_called_for_each_connection_of_a_watch(how: str) -> None:
    watch = Watch(how, Tokens())
    assert watch.accept() == "t1"
    for expected in ("t2", "t3"):
        watch.wire.lose()
        watch.harness.reactor.advance(0.5)
        assert watch.accept() == expected
    assert watch.tokens.calls == 3
    watch.harness.assert_clean()


@pytest.mark.parametrize("how", WATCHES)
@pytest.mark.parametrize("at", ["header names", "connection"])
def test_a_watch_does_not_open_if_the_function_raises(how: str, at: str) -> None:
    tokens = Tokens()
    harness = QueueHarness(token=tokens, attributes=None, queue_watch=how)
    if at == "header names":
        tokens.raises = ValueError()
    watcher = harness.client.watch()
    opening = Result(watcher.open())
    if at == "connection":
        attributes = harness.asked()
        tokens.raises = ValueError()
        attributes.answer(b"{}")
    assert isinstance(opening.error, ConfigError)
    assert_nothing_sent(harness)
    assert Result(watcher.next_frame()).value is None
    assert harness.client.watchers == []
    assert Result(watcher.close()).value is None
    harness.assert_clean()


@pytest.mark.parametrize("how", WATCHES)
@pytest.mark.parametrize("wrong", ["raises", "returns"])
def test_a_watch_ends_if_the_function_fails_for_the_next_connection(how: str, wrong: str) -> None:
    tokens = Tokens()
    watch = Watch(how, tokens)
    watch.accept()
    harness, watcher = watch.harness, watch.watcher
    reading = Result(watcher.next_frame())
    if wrong == "raises":
        tokens.raises = ValueError()
    else:
        tokens.returns = 7
    watch.wire.lose()
    assert not reading.fired
    harness.reactor.advance(0.5)
    assert isinstance(reading.error, ConfigError)
    assert Result(watcher.next_frame()).value is None  # the error is reported once
    assert harness.client.watchers == []
    assert isinstance(Result(watcher.commit(1)).error, ConfigError)
    assert Result(watcher.close()).value is None
    assert_nothing_sent(harness)
    harness.assert_clean()


@pytest.mark.parametrize("how", WATCHES)
@pytest.mark.parametrize("at", ["reconnect", "check of the end of the stream"])
def test_a_watch_ends_if_the_function_ends_the_program(how: str, at: str) -> None:
    """On Twisted's own reactors the program continues, because they log `SystemExit`."""
    tokens = Tokens()
    watch = Watch(how, tokens)
    watch.accept()
    reading = Result(watch.watcher.next_frame())
    tokens.raises = SystemExit(3)
    if at == "reconnect":
        watch.wire.lose()
    else:
        says(watch.wire, CLOSE_1000 if how == "websocket" else END)
    with pytest.raises(SystemExit):
        watch.harness.reactor.advance(0.5)
    assert isinstance(reading.error, ConfigError)
    assert str(reading.error) == "the function given as token raised SystemExit"
    assert watch.harness.client.watchers == []
    watch.harness.assert_clean()


@pytest.mark.parametrize("how", WATCHES)
def test_a_watch_does_not_open_if_the_function_ends_the_program(how: str) -> None:
    tokens = Tokens()
    tokens.raises = SystemExit(3)
    harness = QueueHarness(token=tokens, queue_watch=how)
    opening = Result(harness.client.watch().open())
    with pytest.raises(SystemExit):
        harness.reactor.advance(0.0)
    assert str(opening.error) == "the function given as token raised SystemExit"
    assert harness.client.watchers == []
    harness.assert_clean()


def test_an_error_that_no_reader_waits_for_is_returned_after_the_frames() -> None:
    tokens = Tokens()
    watched = Watched(token=tokens)
    watched.service.send(1)
    tokens.raises = ValueError()
    watched.service.wire.lose()
    watched.harness.reactor.advance(0.5)
    assert watched.indexes(1) == [1]
    assert isinstance(watched.reading().error, ConfigError)
    assert watched.read() is None
    watched.harness.assert_clean()


def test_commits_in_flight_are_answered_after_the_function_has_ended_the_watch() -> None:
    tokens = Tokens()
    watched = Watched(token=tokens)
    watched.service.send(1, 2)
    watched.indexes(2)
    committing = [Result(watched.watcher.commit(index)) for index in (1, 2)]
    commit = watched.harness.asked()
    tokens.raises = ValueError()
    watched.service.wire.lose()
    watched.harness.reactor.advance(0.5)
    assert isinstance(watched.reading().error, ConfigError)
    closing = Result(watched.watcher.close())
    assert [one.fired for one in [*committing, closing]] == [[], [], []]
    commit.answer()
    assert committing[0].value is None
    assert isinstance(committing[1].error, ConfigError)  # it waited for the first one, and was not sent
    assert closing.value is None
    assert watched.harness.client.counters.commits_failed == 1
    watched.harness.assert_clean()


def test_a_reject_of_a_watcher_fails_if_the_function_raises() -> None:
    tokens = Tokens()
    watched = Watched(token=tokens)
    watched.service.send(1)
    watched.indexes(1)
    tokens.raises = ValueError()
    assert isinstance(Result(watched.watcher.reject(1)).error, ConfigError)
    tokens.raises = None
    watched.service.send(1)
    assert not watched.reading().fired  # the frame was not rejected, so it is a repetition
    watched.harness.assert_clean()


def test_a_watch_ends_if_the_function_fails_when_the_end_of_the_stream_is_checked() -> None:
    tokens = Tokens()
    watched = Watched(token=tokens)
    reading = watched.reading()
    tokens.raises = ValueError()
    watched.service.close(1000)
    assert isinstance(reading.error, ConfigError)
    assert watched.harness.client.watchers == []
    watched.harness.assert_clean()


@pytest.mark.parametrize("raised", [ValueError(), SystemExit(3)])
def test_a_watch_ends_if_the_function_fails_when_the_newest_index_is_checked(raised: BaseException) -> None:
    tokens = Tokens()
    watched = Watched(token=tokens)
    watched.service.send(1)
    watched.indexes(1)
    watched.watcher.commit(1)
    watched.harness.asked().answer()
    watched.service.wire.lose()
    watched.harness.reactor.advance(0.1)
    asked = watched.harness.asked()  # the connection; its upgrade is answered below
    tokens.raises = raised
    reading = watched.reading()
    Service(asked)
    assert isinstance(reading.error, ConfigError)
    with pytest.raises(SystemExit) if isinstance(raised, SystemExit) else nullcontext():
        watched.harness.reactor.advance(0.0)
    watched.harness.reactor.advance(2.0)
    assert watched.harness.client.watchers == []
    watched.harness.assert_clean()


@pytest.mark.parametrize("how", WATCHES)
def test_a_function_that_closes_the_watcher_leaves_no_connection(how: str) -> None:
    tokens = Tokens()
    watch = Watch(how, tokens)
    watch.accept()
    reading = Result(watch.watcher.next_frame())
    watch.wire.lose()
    closing: list[Result] = []

    def close() -> str:
        closing.append(Result(watch.watcher.close()))
        return "t"

    watch.harness.client.set_token(close)
    watch.harness.reactor.advance(0.5)
    assert reading.value is None
    assert closing[0].value is None
    assert_nothing_sent(watch.harness)
    assert watch.harness.client.watchers == []
    watch.harness.assert_clean()


def test_many_waiting_commits_can_fail_without_being_sent() -> None:
    """Each failed request starts the next one; nested calls would exhaust Python's stack."""
    first: Deferred[None] = Deferred()
    results = iter([first])
    batches = CommitBatches(lambda _: next(results, None) or fail(ConfigError("no token")))
    committing = [Result(batches.commit(tuple(range(2000)))), *(Result(batches.commit((i,))) for i in range(2000))]
    first.errback(StatusError("no such frame", status=404))
    assert {type(one.error) for one in committing} == {ConfigError}
    assert Result(batches.when_idle()).fired
