"""One attempt of a call while it runs: on its way to an instance, in the instance's line, or on a connection.

A call usually has one attempt at a time; with hedging it has two. An attempt reports to its call how it ended and knows
nothing of what follows.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

from eas_tw.policy.outcomes import AttemptStatus, Outcome

if TYPE_CHECKING:
    from eas_tw.net.call import Call
    from eas_tw.net.http1 import ClientConnection
    from eas_tw.net.watch import SilenceWatch
    from eas_tw.policy.instances import Instance
    from eas_tw.policy.outcomes import AttemptResult


class WireRequest(NamedTuple):
    """What is sent, the same on every attempt.

    Attributes:
        method: Such as `POST`.
        target: Path and query, as in the request line.
        fields: The header lines without Host, each ended by CRLF.
        body: The bytes.
    """

    method: bytes
    target: bytes
    fields: bytes
    body: bytes

    def __repr__(self) -> str:
        """Without the fields, which have the token in its plain form."""
        return f"<Request {self.method.decode()} {self.target.decode()} of {len(self.body)} bytes>"


class Dispatcher(Protocol):
    """Where an attempt waits for its turn: the pool of an instance, or the gateway.

    Attributes:
        address: Of the instance, as `Instance.address`.
    """

    address: str

    def submit(self, attempt: Attempt, *, fresh: bool) -> None:
        """Dispatch the attempt, now or later."""

    def withdraw(self, attempt: Attempt) -> bool:
        """The attempt no longer waits; whether nothing of it can have been sent."""

    def heard_since(self, at: float) -> bool:
        """Whether the instance has answered anything since then."""

    @property
    def is_opening(self) -> bool:
        """Whether a connection is being opened."""


class Attempt:
    """An attempt that runs.

    Attributes:
        instance: Where it goes.
        dispatcher: Where it waits for its turn; `None` before it has been submitted.
        began: When, in the reactor's seconds.
        deadline: When its call must be over.
        retry_of: The attempt before, if this is a retry.
        beside: The instances that had the call already and had not answered when this one was sent as a hedge.
        is_overdue: Whether its instance was found silent.
        on_head: See `Exchange`; the call's, with this attempt.
    """

    __slots__ = (
        "_call",
        "_connection",
        "began",
        "beside",
        "dispatcher",
        "instance",
        "is_overdue",
        "on_head",
        "retry_of",
    )

    def __init__(
        self,
        call: Call,
        instance: Instance,
        began: float,
        retry_of: AttemptResult | None,
        beside: tuple[tuple[str, int], ...],
    ) -> None:
        self._call = call
        self.dispatcher: Dispatcher | None = None
        self._connection: ClientConnection | None = None
        self.instance = instance
        self.began = began
        self.retry_of = retry_of
        self.beside = beside
        self.is_overdue = False
        self.on_head = None if call.on_head is None else partial(call.on_head, self)

    @property
    def request(self) -> WireRequest:
        """What is sent."""
        return self._call.request

    @property
    def deadline(self) -> float:
        """When the call must be over, in the reactor's seconds."""
        return self._call.deadline

    def dispatch(self, connection: ClientConnection, host: bytes) -> None:
        """The line has a connection for it."""
        self._connection = connection
        method, target, fields, body = self._call.request
        try:
            connection.send(b"%b %b HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (method, target, host, fields), body, self)
        except BaseException as error:  # noqa: BLE001  the pool, which serves other calls too, must not be torn apart
            self._call.attempt_not_written(self, error)

    def answered(self, status: int, head: bytes, body: bytes) -> None:
        """A whole response came."""
        self._call.attempt_answered(self, status, head, body)

    def broke(self, outcome: Outcome) -> None:
        """It ended without a whole response."""
        self._call.attempt_broke(self, outcome)

    def timed_out(self) -> None:
        """Its own time is up."""
        self._call.attempt_timed_out(self)

    @property
    def heard_at(self) -> float:
        """When its instance last sent a part of the response, in the reactor's seconds; when it began, if nothing came.

        An answer that flows is not late, however long it takes.
        """
        connection = self._connection
        return self.began if connection is None else max(self.began, connection.heard_at)

    @property
    def has_begun(self) -> bool:
        """Whether a part of the response has come."""
        return self._connection is not None and self._connection.heard_at >= self.began

    @property
    def is_silent(self) -> bool:
        """Whether its instance has answered nothing since it was heard of last, to this call or another."""
        return self.dispatcher is not None and not self.dispatcher.heard_since(self.heard_at)

    @property
    def is_connecting(self) -> bool:
        """Whether nothing is sent yet, for want of a connection that is being opened."""
        return self._connection is None and self.dispatcher is not None and self.dispatcher.is_opening

    @property
    def is_writing(self) -> bool:
        """Whether a part of its request is still here: it would be sent if the connection stayed open."""
        return self._connection is not None and self._connection.is_writing

    def let_go(self, attempt_status: AttemptStatus, watch: SilenceWatch | None = None) -> Outcome:
        """Leave the line or the connection.

        Args:
            attempt_status: How it ended, unless it only waited.
            watch: Listens from now on in its place; without one the connection is closed.

        Returns:
            How it ended.
        """
        connection = self._connection
        if watch is not None:
            is_unsent = watch.take_over(self, connection)
        elif connection is not None:
            is_unsent = False
            connection.abandon()
        else:
            is_unsent = self.dispatcher is not None and self.dispatcher.withdraw(self)
        if is_unsent and attempt_status is not AttemptStatus.CANCELLED:
            attempt_status = AttemptStatus.QUEUE_TIMEOUT
        return Outcome(attempt_status)
