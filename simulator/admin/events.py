"""Server-sent events: changes of the simulator, sent to every open event stream.

The fleet does not publish its changes. While a stream is open, the hub compares the state ten times a second with the
previous one and appends the differences to a bounded log. Every stream has a position in that log and in the journal,
and is sent all later entries. The same code therefore serves a new stream, a stream that reconnects with its
`Last-Event-ID`, and a stream whose client reads slowly. Without an open stream, no states are compared.

The events, each with an id of `run.change.row`:

- `state`: the whole state, as `/v1/state` returns it. It is sent first, after a reset, and when the log no longer has
  all changes since the stream's position.
- `instance`, `fault`: an instance or a fault was added or changed. `instance_gone`, `fault_gone`: an instance
  or a fault was removed.
- `discovery`: the last discovery reply of a service, if there was a reply since the last comparison.
- `request`: a row of the journal. The rate of a stream is limited, and failed requests take precedence. The row numbers
  of a stream may therefore have gaps.
- `tick`: sent once a second with the counts `total`, `failures`, `instances` (`{id: [requests, failures, in flight,
  connections, streams]}`), `discovery`, `queues` and `struck` (activations of each fault), and with `streams`, at most
  20 of the running streamed responses.
"""

from __future__ import annotations

import json
import re
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Any

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from simulator.admin import views
from simulator.journal import Matcher

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator.http1 import Answer, ServerConnection
    from simulator.journal import Row
    from simulator.queues.queue import Queue
    from simulator.simulator import Simulator

LOOK_EVERY_S = 0.1
LOOKS_A_TICK = 10
MAX_STREAMS = 64
MAX_CHANGES = 4096
MAX_TOLD_STREAMS = 20
MAX_RATE = 1000
_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-store\r\n"
    b"X-Accel-Buffering: no\r\nConnection: close\r\n\r\nretry: 1000\n\n"
)
_ID = re.compile(r"([0-9a-f]{1,20})\.(\d{1,18})\.(\d{1,18})")


@frozen
class Change:
    """One difference between the states of two consecutive comparisons.

    Attributes:
        number: Number of the change in the log, from 1.
        event: Name of the event.
        data: JSON value of the event; `None` for `state`, whose data are built when the event is sent.
    """

    number: int
    event: str
    data: Any


class EventWatch:
    """The last compared state, and the log of differences. Both are independent of the streams that read the log."""

    def __init__(self, world: Simulator) -> None:
        self._world = world
        self._instances: dict[str, tuple[Any, ...]] = {}
        self._faults: dict[str, Any] = {}
        self._replies: dict[str, int] = {}
        self._resets = 0
        self.latest = 0
        self.changes: deque[Change] = deque(maxlen=MAX_CHANGES)

    def since(self, number: int) -> list[Change] | None:
        """Return the changes after `number`; `None` if the log no longer has all of them, or `number` is too large."""
        if not self.latest - len(self.changes) <= number <= self.latest:
            return None
        return [change for change in self.changes if change.number > number]

    def look(self) -> None:
        """Compare the present state with the previous one, and append the differences to the log."""
        if self._world.resets != self._resets:
            self._resets = self._world.resets
            self._note("state", None)
        self._look_at_instances()
        self._look_at_faults()
        self._look_at_replies()

    def _note(self, event: str, data: Any) -> None:
        self.latest += 1
        self.changes.append(Change(self.latest, event, data))

    def _look_at_instances(self) -> None:
        seen = {}
        for service in self._world.services.values():
            for instance in service.instances.values():
                now = (service.name, instance.weight, instance.state, instance.registered)
                seen[instance.id] = now
                if self._instances.get(instance.id) != now:
                    self._note("instance", views.instance(instance))
        for gone in [name for name in self._instances if name not in seen]:
            self._note("instance_gone", {"service": self._instances[gone][0], "id": gone})
        self._instances = seen

    def _look_at_faults(self) -> None:
        seen = {fault.name: fault for fault in self._world.faults}
        for name, fault in seen.items():
            if self._faults.get(name) is not fault:
                self._note("fault", views.fault(self._world, fault))
        for gone in [name for name in self._faults if name not in seen]:
            self._note("fault_gone", {"name": self._world.mask(gone)})
        self._faults = seen

    def _look_at_replies(self) -> None:
        replies = self._world.control_plane.replies
        for service, count in replies.counts.items():
            if self._replies.get(service) != count:
                told = views.reply(self._world, replies.latest[service])
                self._note("discovery", {**told, "count": count})
        self._replies = dict(replies.counts)


class Hub:
    """The open event streams, and the comparison of states that they share.

    Attributes:
        streams: The open streams, in the order in which they were opened.
    """

    def __init__(self, world: Simulator) -> None:
        self._world = world
        self._looks = 0
        self._timer: Any = None
        self.watch = EventWatch(world)
        self.streams: dict[Stream, None] = {}
        self.run = ""

    @property
    def is_full(self) -> bool:
        """Whether the maximum number of streams is open."""
        return len(self.streams) >= MAX_STREAMS

    def open(self, connection: ServerConnection, last_id: str, rate: int) -> Deferred[Answer]:
        """Open a stream on a connection.

        Args:
            connection: The client's connection; the stream writes the whole response to it.
            last_id: The client's `Last-Event-ID`. If it is empty or from another run, the stream begins with the whole
                state.
            rate: Maximum number of `request` events per second.

        Returns:
            A Deferred that never fires. It is cancelled when the client disconnects.
        """
        # Ids contain the start time, so that an id of an earlier run does not match: the numbers in that id refer to
        # another log and another journal.
        self.run = self.run or f"{int(self._world.began * 1000):x}"
        stream = Stream(self._world, self, connection, rate)
        self.streams[stream] = None
        answer: Deferred[Answer] = Deferred(lambda _: self._leave(stream))
        answer.addErrback(lambda _: None)
        self.watch.look()
        stream.begin(self._place(last_id))
        if self._timer is None:
            self._timer = self._world.reactor.callLater(LOOK_EVERY_S, self._look)
        return answer

    def _place(self, last_id: str) -> tuple[int, int]:
        match = _ID.fullmatch(last_id)
        if not match or match[1] != self.run:
            return -1, self._world.journal.total
        return int(match[2]), min(int(match[3]), self._world.journal.total)

    def _leave(self, stream: Stream) -> None:
        self.streams.pop(stream, None)
        if not self.streams and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = self._world.reactor.callLater(LOOK_EVERY_S, self._look)
        self._looks += 1
        self.watch.look()
        tick = None if self._looks % LOOKS_A_TICK else self.tick()
        for stream in list(self.streams):
            stream.go_on(tick)

    def tick(self) -> dict[str, Any]:
        """Return the present counts, which are the data of a `tick` event."""
        world, journal = self._world, self._world.journal
        return {
            "at": round(world.reactor.seconds(), 3),
            "total": journal.total,
            "failures": sum(account.failures for account in journal.accounts.values()),
            "instances": {
                instance.id: _counts(instance)
                for service in world.services.values()
                for instance in service.instances.values()
            },
            "discovery": dict(world.control_plane.requests),
            "queues": {
                service.name: [_queue_counts(queue) for queue in service.queues.queues]
                for service in world.services.values()
                if service.queues is not None
            },
            "streams": [views.stream(world, found) for found in islice(views.streams(world), MAX_TOLD_STREAMS)],
            "struck": {world.mask(fault.name): world.faults.activation_count(fault.name) for fault in world.faults},
        }


def _counts(instance: Any) -> list[int]:
    account = instance.service.world.journal.account(instance.id)
    return [
        account.requests,
        account.failures,
        views.in_flight(instance),
        len(instance.server.connections),
        len(instance.streams),
    ]


def _queue_counts(queue: Queue) -> list[int]:
    return [len(queue.store.frames), queue.store.pending, queue.store.consumers]


@implementer(IPushProducer)
class Stream:
    """An open stream: its position in the log and in the journal, and its connection."""

    def __init__(self, world: Simulator, hub: Hub, connection: ServerConnection, rate: int) -> None:
        self._world = world
        self._hub = hub
        self._connection = connection
        self._transport: Any = connection.transport
        self._rate = rate
        self._is_paused = False
        self._change = self._row = 0
        self._allowed = 0.0

    def begin(self, place: tuple[int, int]) -> None:
        """Send the head of the response, and all events after `place`, a pair of change number and row number."""
        self._change, self._row = place
        self._transport.write(_HEAD)
        self._transport.registerProducer(self, True)
        self._allowed = float(self._rate)
        self.go_on(self._hub.tick())

    def go_on(self, tick: dict[str, Any] | None) -> None:
        """Send the events since the last call, and a `tick` event unless `tick` is `None`; do nothing while paused."""
        self._allowed = min(float(self._rate), self._allowed + self._rate * LOOK_EVERY_S)
        if self._is_paused:
            return
        lines = [*self._changes(), *self._requests()]
        if tick is not None:
            lines.append(self._event("tick", tick))
        if lines:
            self._transport.write("".join(lines).encode())

    def _changes(self) -> Iterator[str]:
        changes = self._hub.watch.since(self._change)
        if changes is None or any(change.event == "state" for change in changes):
            self._change, self._row = self._hub.watch.latest, self._world.journal.total
            yield self._event("state", views.state(self._world, self._connection))
            return
        for change in changes:
            self._change = change.number
            data = change.data
            if change.event == "instance" and data["ip"] == self._world.advertised.to():
                data = {**data, "ip": self._world.advertised.to(self._connection)}
            yield self._event(change.event, data)

    def _requests(self) -> Iterator[str]:
        total = self._world.journal.total
        if total < self._row:
            self._row = 0
        chosen = _sample(self._new_rows(), int(self._allowed)) if total > self._row else []
        self._allowed -= len(chosen)
        for number, row in chosen:
            self._row = number
            yield self._event("request", views.row(self._world, number, row))
        self._row = total

    def _new_rows(self) -> list[tuple[int, Row]]:
        return self._world.journal.newest(MAX_RATE * 10, Matcher(after=self._row))

    def _event(self, event: str, data: Any) -> str:
        place = f"{self._hub.run}.{self._change}.{self._row}"
        return f"event: {event}\nid: {place}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"

    # -- IPushProducer

    def pauseProducing(self) -> None:
        """Stop sending, because the transport's buffer is full: the client reads too slowly (`IPushProducer`)."""
        self._is_paused = True

    def resumeProducing(self) -> None:
        """Continue to send, because the transport's buffer is empty (`IPushProducer`)."""
        self._is_paused = False

    def stopProducing(self) -> None:
        """Do nothing: when the client disconnects, the stream's Deferred is cancelled (`IPushProducer`)."""


def _sample(rows: list[tuple[int, Row]], limit: int) -> list[tuple[int, Row]]:
    """Choose at most `limit` evenly spaced rows, of failed requests before others, and return them in their order."""
    if len(rows) <= limit:
        return rows
    failed = [pair for pair in rows if not pair[1].is_good]
    good = [pair for pair in rows if pair[1].is_good]
    chosen = _spread(failed, limit)
    return sorted(chosen + _spread(good, limit - len(chosen)), key=lambda pair: pair[0])


def _spread(rows: list[tuple[int, Row]], limit: int) -> list[tuple[int, Row]]:
    if len(rows) <= limit or not limit:
        return rows[: limit or 0]
    return [rows[at * len(rows) // limit] for at in range(limit)]
