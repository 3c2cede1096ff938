"""Watching of an overdue attempt after its call has ended or moved, to determine whether the instance is down.

The call does not wait for the response, and closing the connection would prevent the response. So the connection, or a
place in the queue, is kept for as long as a call may take. An instance has at most one such watch. If watches occupy
all connections that a pool may have, and a call waits, the pool stops one of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from eas_tw.policy.outcomes import ANSWERED, SUCCESSES, AttemptStatus, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from eas_tw.net.attempt import Attempt
    from eas_tw.net.http1 import ClientConnection
    from eas_tw.net.pool import Pool
    from eas_tw.net.stream import Source

    OnHead = Callable[[Source, int, bytes], "SilenceWatch"]
    OnHeard = Callable[["SilenceWatch", Outcome, bool], None]


class SilenceWatch:
    """Replaces an attempt on its connection or in its queue.

    Args:
        attempt: The attempt.
        timeout_s: The timeout of its call in seconds.
        pool: The pool of the instance.
        on_heard: A function that is called with the watch, an outcome, and whether the watch has ended (`True` exactly
            once).

    Attributes:
        instance: The instance of the attempt.
        began: The time at which the attempt began, in the reactor's seconds.
        timeout_s: The maximum duration of the watch in seconds, equal to the timeout of the call.
    """

    __slots__ = (
        "_connection", "_is_over", "_on_heard", "_pool", "_status", "began", "deadline", "instance", "on_head",
        "timeout_s",
    )  # fmt: skip

    def __init__(self, attempt: Attempt, timeout_s: float, pool: Pool, on_heard: OnHeard) -> None:
        self.instance = attempt.instance
        self.began = attempt.began
        self.deadline = attempt.deadline
        self.timeout_s = timeout_s
        self._pool = pool
        self._on_heard = on_heard
        self._connection: ClientConnection | None = None
        self._is_over = False
        self._status = 0
        self.on_head: OnHead | None = None if attempt.on_head is None else self._take_head

    def take_over(self, attempt: Attempt, connection: ClientConnection | None) -> bool:
        """Replace a running attempt on its connection, or in the queue if it has none.

        Returns:
            Whether nothing of the request was sent.
        """
        self._connection = connection
        if connection is None:
            self._pool.hand_over(attempt, self)
            return True
        connection.hand_over(self)
        self._pool.watch_began(self)
        return False

    def dispatch(self, connection: ClientConnection, host: bytes) -> None:  # noqa: ARG002  as in `Dispatchable`
        """End the watch without a result, and return the connection to the pool (`Dispatchable`)."""
        self._end(Outcome(AttemptStatus.QUEUE_TIMEOUT))
        self._pool.connection_free(connection)

    def answered(self, status: int, head: bytes, body: bytes) -> None:  # noqa: ARG002  as in `Exchange`
        """End the watch after a response, which shows that the instance is slow, but not down."""
        self._connection = None
        self._end(ANSWERED if status in SUCCESSES else Outcome(AttemptStatus.STATUS, status))

    def _take_head(self, connection: Source, status: int, head: bytes) -> SilenceWatch:  # noqa: ARG002
        """Return this object as the sink: the head shows that the instance is not down, and the body may be long."""
        self._status = status
        return self

    def open(self) -> None:
        """End the watch and close the connection, after the head of a stream (`BodySink`)."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abandon()
        self.answered(self._status, b"", b"")

    def feed(self, piece: bytes) -> None:
        """Ignore the body (`BodySink`)."""

    def finished(self) -> None:
        """Ignore the end of the body (`BodySink`)."""

    def broke(self, outcome: Outcome) -> None:
        """End the watch: the connection was lost, or could not be opened."""
        self._connection = None
        self._end(outcome)

    def judge(self) -> None:
        """Report the instance as unresponsive after a long silence, unless the watch is queued; the watch continues."""
        if self._connection is not None:
            self._on_heard(self, Outcome(AttemptStatus.UNRESPONSIVE), False)

    def stop(self) -> None:
        """End the watch, and close its connection or remove it from the queue."""
        if not self._is_over:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.abandon()
            else:
                self._pool.withdraw(self)
            self._end(Outcome(AttemptStatus.CANCELLED))

    def _end(self, outcome: Outcome) -> None:
        self._is_over = True
        self._pool.watch_ended(self)
        self._on_heard(self, outcome, True)
