"""A client with instances in memory, and the results of its calls."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure

from eas_tw import AttemptStatus, ClientConfig, Instance, PredictClient
from tests.net.fleet import Dial, PuppetReactor
from tests.net.wire import Wire


def response(status: int = 200, body: bytes = b"ok", *headers: bytes) -> bytes:
    lines = [b"HTTP/1.1 %d X" % status, b"Content-Length: %d" % len(body), *headers, b"", body]
    return b"\r\n".join(lines)


@contextmanager
def logged_events() -> Iterator[list[dict[str, Any]]]:
    """Collect the logged events."""
    events: list[dict[str, Any]] = []
    globalLogPublisher.addObserver(events.append)
    try:
        yield events
    finally:
        globalLogPublisher.removeObserver(events.append)


class Harness:
    """A client with `n` instances, whose connections are in memory."""

    def __init__(self, n: int = 3, weights: tuple[float, ...] = (), **settings: Any) -> None:
        self.reactor = PuppetReactor()
        rows = [Instance(f"10.0.0.{i}", 80, weight) for i, weight in enumerate(weights or (1,) * n, 1)]
        config = ClientConfig(**{"seed": 1, **settings})
        self.client = PredictClient("", "svc", instances=rows, reactor=self.reactor, config=config)
        self.client.init()

    def call(self, **options: Any) -> Result:
        return Result(self.client.predict(b"hello", **options))

    @property
    def dial(self) -> Dial:
        """Return the only connection that is being opened."""
        (dial,) = self.reactor.dials
        return dial

    def accept(self) -> Wire:
        return self.dial.accept()

    @property
    def busy(self) -> Wire:
        """Return the only connection whose request has no response yet."""
        (wire,) = [wire for wire in self.reactor.wires if wire.is_open and wire.protocol.is_busy]
        return wire

    def assert_clean(self) -> None:
        """Close the client, and assert that no connection, timer or queued call is left."""
        closed = Result(self.client.close())
        assert closed.fired
        assert not self.reactor.dials
        assert not [wire for wire in self.reactor.wires if wire.is_open]
        assert not self.reactor.getDelayedCalls()


class Result:
    """The result of a Deferred, recorded when it fires."""

    def __init__(self, deferred: Deferred[Any]) -> None:
        self.deferred = deferred
        self.fired: list[Any] = []
        deferred.addBoth(self.fired.append)

    @property
    def value(self) -> Any:
        (value,) = self.fired
        return value

    @property
    def error(self) -> Any:
        assert isinstance(self.value, Failure), self.value
        return self.value.value

    @property
    def attempt_statuses(self) -> list[AttemptStatus]:
        return [attempt.outcome.attempt_status for attempt in self.error.attempts]


def says(wire: Wire, data: bytes) -> None:
    wire.protocol.dataReceived(data)
