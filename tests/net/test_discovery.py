"""Schedule and status of the poller, and the requests of the discovery sources."""

from __future__ import annotations

import json
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import formatEvent

from eas_tw.net.discovery import DOCUMENTED_PATH, NEWER_PATH, Poller, UpstreamsSource, VipServerSource
from eas_tw.policy.instances import (
    BadStatusError,
    DiscoveryReplyRejected,
    Instance,
    RejectReason,
    Snapshot,
    read_upstreams,
)
from tests.net.calling import logged_events

GOOD = json.dumps({"endpoints": {"items": [{"ip": "10.0.0.1", "port": 1, "weight": 1}]}}).encode()
PARTLY = json.dumps({"endpoints": {"items": [{"ip": "10.0.0.1", "port": 1, "weight": 1}, None]}}).encode()


class Puppet:
    """A discovery source whose replies are set by the test."""

    def __init__(self) -> None:
        self.asked = 0
        self.reply: Deferred[Snapshot] | None = None
        self.closed = False

    async def read(self) -> Snapshot:
        self.asked += 1
        assert self.reply is None or self.reply.called, "two polls at once"
        self.reply = Deferred()
        return await self.reply

    def answers(self, body: bytes = GOOD) -> None:
        assert self.reply is not None
        self.reply.callback(read_upstreams(body))

    def refuses(self, reason: RejectReason = RejectReason.HTTP_STATUS) -> None:
        assert self.reply is not None
        self.reply.errback(DiscoveryReplyRejected(reason, f"it was {reason}"))

    def close(self) -> Deferred[None]:
        self.closed = True
        return succeed(None)


class Harness:
    def __init__(self, jitter: float = 0.0) -> None:
        self.clock = Clock()
        self.source = Puppet()
        self.got: list[Snapshot] = []
        self.poller = Poller(
            self.clock,
            self.source,
            service="svc",
            on_snapshot=self.got.append,
            interval_s=5.0,
            jitter=jitter,
            rng=Random(1),
        )
        self.poller.start()


def test_polls_follow_each_other_at_the_interval() -> None:
    """The interval is measured from the start of the previous poll, however long that poll took."""
    harness = Harness()
    harness.clock.advance(2.0)
    harness.source.answers()
    harness.clock.advance(2.9)
    assert harness.source.asked == 1
    harness.clock.advance(0.1)
    assert harness.source.asked == 2


def test_intervals_are_jittered() -> None:
    """Each interval is within ±10 % of the setting, and the intervals differ."""
    harness = Harness(jitter=0.1)
    beginnings = []
    for _ in range(50):
        beginnings.append(harness.clock.seconds())
        harness.source.answers()
        (timer,) = harness.clock.getDelayedCalls()
        harness.clock.advance(timer.getTime() - harness.clock.seconds())
    gaps = [after - before for before, after in pairwise(beginnings)]
    assert 4.5 <= min(gaps) < 4.7
    assert 5.3 < max(gaps) <= 5.5


def test_a_poll_does_not_begin_before_the_previous_one_ends() -> None:
    harness = Harness()
    harness.clock.advance(60.0)
    assert harness.source.asked == 1
    harness.source.answers()
    harness.clock.advance(0.0)
    assert harness.source.asked == 2


def test_without_a_list_polls_are_more_frequent() -> None:
    """The pause between polls is 0.1 s and doubles after each poll up to the interval, until the first valid list."""
    harness = Harness()
    waits = []
    for _ in range(9):
        harness.source.refuses()
        (timer,) = harness.clock.getDelayedCalls()
        waits.append(round(timer.getTime() - harness.clock.seconds(), 6))
        harness.clock.advance(waits[-1])
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]
    harness.source.answers()
    harness.clock.advance(5.0)
    harness.source.refuses()
    harness.clock.advance(4.9)
    assert harness.source.asked == 11


def test_the_status_has_polls_age_and_rejections() -> None:
    harness = Harness()
    assert harness.poller.status.age_s is None
    harness.source.answers(PARTLY)
    for reason in (RejectReason.HTTP_STATUS, RejectReason.EMPTY_LIST, RejectReason.HTTP_STATUS):
        harness.clock.advance(5.0)
        harness.source.refuses(reason)
    status = harness.poller.status
    assert (status.polls, status.accepted, status.age_s) == (4, 1, 15.0)
    assert status.rejections == {"http_status": 2, "empty_list": 1}
    assert status.bad_rows == {"not_an_object": 1}
    assert status.bad_row_examples == {"not_an_object": "row is null, not an object"}
    assert status.last_error == "it was http_status"
    assert len(harness.got) == 1


def test_an_exception_of_the_source_does_not_end_polling() -> None:
    with logged_events() as seen:
        harness = Harness()
        assert harness.source.reply is not None
        harness.source.reply.errback(ZeroDivisionError())
    harness.clock.advance(5.0)
    assert harness.source.asked == 2
    assert [event["log_namespace"] for event in seen] == ["eas_tw.discovery"]


def test_a_reason_is_logged_once() -> None:
    harness = Harness()
    with logged_events() as seen:
        for _ in range(100):
            harness.source.answers(PARTLY)
            harness.clock.advance(5.0)
        for _ in range(100):
            harness.source.refuses()
            harness.clock.advance(5.0)
    assert len(seen) == 2
    assert harness.poller.status.bad_rows.total() == 100


def test_stopping_ends_the_poll_and_the_schedule() -> None:
    harness = Harness()
    harness.poller.stop()
    assert harness.source.closed
    assert not harness.clock.getDelayedCalls()
    harness = Harness()
    harness.source.answers()
    harness.poller.stop()
    assert not harness.clock.getDelayedCalls()
    harness.clock.advance(60)
    assert harness.source.asked == 1


class Library:
    """A fetcher that returns a fixed document for each URL, and records the requests."""

    def __init__(self, documents: dict[str, bytes | int]) -> None:
        self.documents = documents
        self.asked: list[str] = []

    async def get(self, url: str) -> bytes:
        self.asked.append(url)
        found = self.documents.get(url, 404)
        if isinstance(found, int):
            raise BadStatusError(found)
        return found

    def close(self) -> Deferred[None]:
        return succeed(None)


DOCUMENTED = "http://e" + DOCUMENTED_PATH.format(service="s")
NEWER = "http://e" + NEWER_PATH.format(service="s")


def read(source: Any) -> Any:
    results: list[Any] = []
    Deferred.fromCoroutine(source.read()).addBoth(results.append)
    (result,) = results
    return result


def test_the_documented_path_comes_first_and_the_other_on_404() -> None:
    """The path that worked is used for further polls until it returns 404."""
    library = Library({NEWER: GOOD})
    source = UpstreamsSource(Clock(), library, "http://e", "s")  # type: ignore[arg-type]
    for _ in range(2):
        assert read(source).instances == (Instance("10.0.0.1", 1, 1),)
    assert library.asked == [DOCUMENTED, NEWER, NEWER]
    library.documents = {DOCUMENTED: GOOD}
    read(source)
    assert library.asked[3:] == [NEWER, DOCUMENTED]


def test_only_a_404_changes_the_path() -> None:
    library = Library({DOCUMENTED: 500, NEWER: GOOD})
    source = UpstreamsSource(Clock(), library, "http://e", "s")  # type: ignore[arg-type]
    assert read(source).value.status == 500
    library.documents = {}
    assert read(source).value.status == 404
    assert library.asked == [DOCUMENTED, DOCUMENTED, NEWER]


def test_an_equal_reply_is_not_parsed_again() -> None:
    library = Library({DOCUMENTED: PARTLY})
    source = UpstreamsSource(Clock(), library, "http://e", "s")  # type: ignore[arg-type]
    first = read(source)
    assert first.bad_rows.total() == 1
    assert read(source) is first
    library.documents = {DOCUMENTED: b"[]"}
    assert read(source).value.reason is RejectReason.WRONG_SHAPE
    library.documents = {DOCUMENTED: PARTLY}
    assert read(source) == first
    library.documents = {DOCUMENTED: GOOD}
    assert not read(source).bad_rows


def long_list(rows: int) -> bytes:
    items = [{"ip": "10.0.0.1", "port": port, "weight": 1} for port in range(1, rows + 1)]
    return json.dumps({"endpoints": {"items": items}}).encode()


def test_a_long_list_is_parsed_in_steps() -> None:
    """Other reactor events are processed between two steps. The next poll begins when the list has been parsed."""
    clock, library = Clock(), Library({DOCUMENTED: long_list(5_000)})
    got: list[Snapshot] = []
    source = UpstreamsSource(clock, library, "http://e", "s")  # type: ignore[arg-type]
    poller = Poller(clock, source, service="svc", on_snapshot=got.append, interval_s=5.0, jitter=0.0, rng=Random(1))
    poller.start()
    library.documents = {DOCUMENTED: GOOD}
    turns = 0
    while not got:
        (timer,) = clock.getDelayedCalls()
        assert timer.getTime() == 0.0
        turns += 1
        clock.calls.remove(timer)  # run only this step, not those that it schedules
        timer.called = 1
        timer.func(*timer.args, **timer.kw)
    assert turns >= 3
    assert len(got[0].instances) == 5_000
    assert library.asked == [DOCUMENTED]
    clock.advance(5.0)
    assert [len(snapshot.instances) for snapshot in got] == [5_000, 1]
    poller.stop()


def test_stopping_while_a_long_list_is_parsed_leaves_no_timer() -> None:
    clock, library, got = Clock(), Library({DOCUMENTED: long_list(5_000)}), []
    source = UpstreamsSource(clock, library, "http://e", "s")  # type: ignore[arg-type]
    poller = Poller(clock, source, service="svc", on_snapshot=got.append, interval_s=5.0, jitter=0.0, rng=Random(1))
    poller.start()
    with logged_events() as seen:
        poller.stop()
    assert not clock.getDelayedCalls()
    assert not got
    assert not seen


def test_new_bad_rows_with_the_same_reason_are_logged_once() -> None:
    harness = Harness()
    with logged_events() as seen:
        for number in range(20):
            rows = [{"ip": "10.0.0.1", "port": -number * 100 - n, "weight": 1} for n in range(100)]
            good = {"ip": "10.0.0.1", "port": 1, "weight": 1}
            harness.source.answers(json.dumps({"endpoints": {"items": [good, *rows]}}).encode())
            harness.clock.advance(5.0)
    status = harness.poller.status
    assert status.bad_rows == {"port": 2_000}
    assert list(status.bad_row_examples) == ["port"]
    assert len(seen) == 1
    assert len(formatEvent(seen[0])) < 200


def test_rejections_that_differ_only_in_numbers_are_logged_once() -> None:
    """Each poll has a bad row with another number. A reply with another status is logged again."""
    harness = Harness()
    with logged_events() as seen:
        for number in range(10):
            assert harness.source.reply is not None
            rows = [{"ip": "a", "port": -number, "weight": 1}]
            with pytest.raises(DiscoveryReplyRejected) as caught:
                read_upstreams(json.dumps({"endpoints": {"items": rows}}).encode())
            harness.source.reply.errback(caught.value)
            harness.clock.advance(5.0)
        for status in (500, 503):
            assert harness.source.reply is not None
            harness.source.reply.errback(BadStatusError(status))
            harness.clock.advance(5.0)
    assert len(seen) == 3
    assert harness.poller.status.last_error == "the reply has status 503"


def test_a_very_long_list_of_servers_is_truncated() -> None:
    library = Library({"http://a:8080/vipserver/serverlist": b"server.example:81\n" * 1_000_000})
    source = VipServerSource(Clock(), library, "http://a:8080", "d", Random(1))  # type: ignore[arg-type]
    assert read(source).value.status == 404
    assert library.asked[1].startswith("http://server.example:81/")


def test_inside_eas_the_request_has_internal_true() -> None:
    library = Library({})
    read(UpstreamsSource(Clock(), library, "http://e", "s", inside=True))  # type: ignore[arg-type]
    assert library.asked == [DOCUMENTED + "?internal=true", NEWER + "?internal=true"]


def test_vipserver_discovery_has_two_requests() -> None:
    hosts = json.dumps({"hosts": [{"ip": "10.0.0.7", "port": 80, "weight": 2, "valid": True}]}).encode()
    library = Library(
        {
            "http://a:8080/vipserver/serverlist": b"v1:81\n\n",
            "http://v1:81/vipserver/api/srvIPXT?dom=d&clusters=DEFAULT": hosts,
        }
    )
    source = VipServerSource(Clock(), library, "http://a:8080", "d", Random(1))  # type: ignore[arg-type]
    assert read(source).instances == (Instance("10.0.0.7", 80, 2),)
    library.documents["http://a:8080/vipserver/serverlist"] = b"\n"
    assert read(source).value.reason is RejectReason.EMPTY_LIST
