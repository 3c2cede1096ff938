"""What is left of an attempt whose call is over, or has gone elsewhere: does the instance still say something?

A call does not wait to learn whether a silent instance is dead or slow, and closing the connection would hide it. So
the connection, or the place in the line for one that is being opened, is listened to for as long as a call may take. At
most one such watch exists for an instance.
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
    """Listens in place of an attempt.

    Args:
        attempt: The attempt.
        timeout_s: What its call had in all.
        pool: Of the instance.
        on_heard: Called with the watch, what came of the attempt, and whether that is all; at most once with all.

    Attributes:
        instance: Where the attempt went.
        began: When, in the reactor's seconds.
        timeout_s: What its call had in all; it is listened to for as long again.
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
        """Listen in place of an attempt that runs: on its connection, or without one from its place in the line.

        Returns:
            Whether nothing of it was sent.
        """
        self._connection = connection
        if connection is None:
            self._pool.hand_over(attempt, self)
            return True
        connection.hand_over(self)
        return False

    def dispatch(self, connection: ClientConnection, host: bytes) -> None:  # noqa: ARG002  as every call in the line
        """The connection that the attempt waited for has been opened; whether the instance answers is not known."""
        self._end(Outcome(AttemptStatus.QUEUE_TIMEOUT))
        self._pool.connection_free(connection)

    def answered(self, status: int, head: bytes, body: bytes) -> None:  # noqa: ARG002  as every exchange
        """The instance is slow, and not dead."""
        self._connection = None
        self._end(ANSWERED if status in SUCCESSES else Outcome(AttemptStatus.STATUS, status))

    def _take_head(self, connection: Source, status: int, head: bytes) -> SilenceWatch:  # noqa: ARG002
        """The head is enough to know that the instance is not dead; the body may be long, or none at all."""
        self._status = status
        return self

    def open(self) -> None:
        """The head is complete (`BodySink`)."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abandon()
        self.answered(self._status, b"", b"")

    def feed(self, piece: bytes) -> None:
        """Nothing of the body is wanted (`BodySink`)."""

    def finished(self) -> None:
        """Nothing of the body is wanted (`BodySink`)."""

    def broke(self, outcome: Outcome) -> None:
        """The connection was lost, or could not be opened."""
        self._connection = None
        self._end(outcome)

    def judge(self) -> None:
        """It has been silent for so long that this is a sign; it is listened to further all the same."""
        if self._connection is not None:
            self._on_heard(self, Outcome(AttemptStatus.UNRESPONSIVE), False)

    def stop(self) -> None:
        """Listen no more."""
        if not self._is_over:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.abandon()
            else:
                self._pool.withdraw(self)
            self._end(Outcome(AttemptStatus.CANCELLED))

    def _end(self, outcome: Outcome) -> None:
        self._is_over = True
        self._on_heard(self, outcome, True)
