"""One attempt of a call while it runs: in the queue of an instance, or on a connection.

A call usually has one attempt at a time; with hedging it has two or more. An attempt reports its end to its call, which
decides what follows.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

from eas_tw.policy.outcomes import AttemptStatus, Outcome

if TYPE_CHECKING:
    from eas_tw.net.call import Call
    from eas_tw.net.http1 import ClientConnection
    from eas_tw.net.watch import SilenceWatch
    from eas_tw.policy.balancing import CallInfo
    from eas_tw.policy.instances import Instance
    from eas_tw.policy.outcomes import AttemptResult


class WireRequest(NamedTuple):
    """The request as it is sent; all attempts of a call send the same request.

    Attributes:
        method: The HTTP method, such as `POST`.
        target: Path and query, as in the request line.
        fields: The header lines without Host, each ended by CRLF.
        body: The body.
    """

    method: bytes
    target: bytes
    fields: bytes
    body: bytes

    def __repr__(self) -> str:
        """Return a text without the header fields, which contain the token."""
        return f"<Request {self.method.decode()} {self.target.decode()} of {len(self.body)} bytes>"


class Dispatcher(Protocol):
    """Assigns connections to attempts; implemented by the pool of an instance and by the gateway.

    Attributes:
        address: Address of the instance, as `Instance.address`.
    """

    address: str

    def submit(self, attempt: Attempt, *, fresh: bool) -> None:
        """Dispatch the attempt, now or later; `fresh` requires a connection that has not been idle."""

    def withdraw(self, attempt: Attempt) -> bool:
        """Remove a queued attempt; return whether it is certain that nothing of it was sent."""

    def heard_since(self, at: float) -> bool:
        """Return whether the instance has answered any call since `at`."""

    def is_queued(self, attempt: Attempt) -> bool:
        """Return whether the attempt waits for a connection, so that nothing of it was sent."""

    @property
    def is_opening(self) -> bool:
        """Whether a connection is being opened."""


class Attempt:
    """A running attempt.

    Attributes:
        instance: The instance to which the attempt is sent.
        info: The `CallInfo` with which the instance was chosen.
        dispatcher: The pool or gateway to which the attempt was submitted; `None` before that.
        began: The time at which the attempt began, in the reactor's seconds.
        deadline: The deadline of the attempt's call, in the reactor's seconds.
        retry_of: The result of the previous attempt if this attempt is a retry; otherwise `None`.
        beside: The ip and port of each instance on which the call was running when this attempt was sent as a hedge;
            empty if the attempt is not a hedge.
        is_overdue: Whether the instance was found silent during the attempt.
        on_head: The call's `on_head` with this attempt as first argument (see `Exchange`); `None` if the call has none.
    """

    __slots__ = (
        "_call",
        "_connection",
        "began",
        "beside",
        "dispatcher",
        "info",
        "instance",
        "is_overdue",
        "on_head",
        "retry_of",
    )

    def __init__(
        self,
        call: Call,
        instance: Instance,
        info: CallInfo,
        began: float,
        retry_of: AttemptResult | None,
        beside: tuple[tuple[str, int], ...],
    ) -> None:
        self._call = call
        self.dispatcher: Dispatcher | None = None
        self._connection: ClientConnection | None = None
        self.instance = instance
        self.info = info
        self.began = began
        self.retry_of = retry_of
        self.beside = beside
        self.is_overdue = False
        self.on_head = None if call.on_head is None else partial(call.on_head, self)

    @property
    def request(self) -> WireRequest:
        """The request of the call."""
        return self._call.request

    @property
    def deadline(self) -> float:
        """The deadline of the call, in the reactor's seconds."""
        return self._call.deadline

    def dispatch(self, connection: ClientConnection, host: bytes) -> None:
        """Send the request on a connection (`Dispatchable`)."""
        self._connection = connection
        method, target, fields, body = self._call.request
        try:
            connection.send(b"%b %b HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (method, target, host, fields), body, self)
        except BaseException as error:  # noqa: BLE001  an exception in the pool would harm other calls
            self._call.attempt_not_written(self, error)

    def answered(self, status: int, head: bytes, body: bytes) -> None:
        """Report a complete response to the call (`Exchange`)."""
        self._call.attempt_answered(self, status, head, body)

    def broke(self, outcome: Outcome) -> None:
        """Report to the call that no complete response will arrive (`Exchange`)."""
        self._call.attempt_broke(self, outcome)

    def timed_out(self) -> None:
        """Report to the call that `attempt_timeout_s` has passed."""
        self._call.attempt_timed_out(self)

    @property
    def heard_at(self) -> float:
        """The time at which a part of the response last arrived, in the reactor's seconds; `began` before that.

        A response whose bytes keep arriving is not late, however long it takes.
        """
        connection = self._connection
        return self.began if connection is None else max(self.began, connection.heard_at)

    @property
    def has_begun(self) -> bool:
        """Whether a part of the response has arrived."""
        return self._connection is not None and self._connection.heard_at >= self.began

    @property
    def is_silent(self) -> bool:
        """Whether the instance has answered no call since `heard_at`."""
        return self.dispatcher is not None and not self.dispatcher.heard_since(self.heard_at)

    @property
    def is_queued(self) -> bool:
        """Whether the attempt waits for a connection; nothing has been sent."""
        return self.dispatcher is not None and self.dispatcher.is_queued(self)

    @property
    def is_connecting(self) -> bool:
        """Whether the attempt waits in the queue and a connection is being opened; nothing has been sent."""
        return self._connection is None and self.dispatcher is not None and self.dispatcher.is_opening

    @property
    def is_writing(self) -> bool:
        """Whether a part of the request is not written yet; it is written later if the connection stays open."""
        return self._connection is not None and self._connection.is_writing

    def let_go(self, attempt_status: AttemptStatus, watch: SilenceWatch | None = None) -> Outcome:
        """Remove the attempt from the queue or its connection.

        Args:
            attempt_status: The status with which the attempt ends if it was dispatched.
            watch: The watch that replaces the attempt on its connection or in the queue; `None` to close the connection
                or leave the queue.

        Returns:
            The outcome: `queue_timeout` if nothing was sent and `attempt_status` is not `cancelled`; otherwise
            `attempt_status`.
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
