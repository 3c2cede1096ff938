"""Calls at a steady rate from one client; each has its own body and is reported to the oracle.

Timers of the client's host start the calls, as in a real program, so there are no calls while the host is stalled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from twisted.internet.defer import fail
from twisted.python.failure import Failure

from simulator.virtual.checkers.calls import ObservedAttempt, ObservedCall
from simulator.virtual.network.fault_points import is_injected
from simulator.virtual.reporting.formatting import spelled

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from twisted.internet.defer import Deferred

    from simulator.virtual.client_under_test import ClientUnderTest
    from simulator.virtual.network.virtual_time import Scheduler
    from simulator.virtual.oracle import Oracle
    from simulator.virtual.plan import RunPlan

_LARGE_BYTES = 200_000
_LATEST_CANCEL_S = 0.02
_QUIET_PER_S = 2.0
_OF_A_CHILD = 0.3


class _Trail:
    """The instances that a call has reached, and the statuses of its failed attempts; formatted only when needed."""

    __slots__ = ("_arrivals", "_failed")

    def __init__(self, arrivals: list[tuple[Any, bool]], failed: Sequence[Any]) -> None:
        self._arrivals = arrivals
        self._failed = failed

    def __str__(self) -> str:
        reached = " then ".join(spelled(address) for address, _ in self._arrivals)
        failed = ", ".join(str(ObservedAttempt.of(attempt)) for attempt in self._failed)
        reached = reached or "no recorded instance"
        return f"{reached}, after {failed}" if failed else reached


class _Program:
    """A request object, as a program may write it, whose `to_string` and `parse_response` may raise."""

    def __init__(self, body: str, encode: BaseException | None, parse: BaseException | None) -> None:
        self._body = body
        self._encode = encode
        self._parse = parse

    @property
    def cannot_be_sent(self) -> bool:
        """Whether `to_string` raises, so that the client cannot send the request."""
        return self._encode is not None

    def to_string(self) -> bytes:
        """Return the body, or raise."""
        if self._encode is not None:
            raise self._encode
        return self._body.encode()

    def parse_response(self, body: bytes) -> Any:
        """Return the response, or raise."""
        if self._parse is not None:
            raise self._parse
        return _Answer(body)


class _Answer(NamedTuple):
    """The response that `_Program.parse_response` returns."""

    content: bytes


class ClientTraffic:
    """The calls of one client.

    Attributes:
        service: Name of the service that the client calls.
        ended: Number of calls that have ended.
        failed: Number of calls that failed and were not cancelled.
    """

    def __init__(self, sut: ClientUnderTest, plan: RunPlan, oracle: Oracle, scheduler: Scheduler) -> None:
        self._sut = sut
        self.service = sut.service
        self._plan = plan
        self._oracle = oracle
        self._scheduler = scheduler
        self._rng: Random = scheduler.stream(f"traffic/{sut.number}")
        # With separate random streams, plans without keys, or with idempotent calls only, keep their hashes.
        self._once: Random = scheduler.stream(f"once/{sut.number}")
        self._keys: Random = scheduler.stream(f"keys/{sut.number}")
        self._next: Any = None
        # A child's calls test the state that it shares with its parent, for which a low rate is enough.
        share = 1.0 if sut.is_parent else _OF_A_CHILD
        self._per_s, self._burst = plan.per_s * share, plan.burst
        self._calling: dict[ObservedCall, Deferred[Any]] = {}
        self.ended = self.failed = 0

    def start(self) -> None:
        """Start the calls."""
        self._next = self._sut.reactor.callLater(self._rng.random() / self._per_s, self._again)

    def slow_down(self) -> None:
        """Reduce the rate to a low one."""
        self._per_s, self._burst = min(self._per_s, _QUIET_PER_S), 1

    def stop(self) -> None:
        """Start no more calls."""
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def burst(self, calls: int) -> None:
        """Start a number of calls at the same time."""
        for _ in range(calls):
            self._begin(may_cancel=True)

    def call(self) -> Deferred[Any]:
        """Make one call that is not cancelled; the Deferred fires when it has ended, with or without an error."""
        return self._begin(may_cancel=False)

    def _begin(self, *, may_cancel: bool) -> Deferred[Any]:
        sut, plan = self._sut, self._plan
        sut.calls += 1
        name = f"{sut.number}.{sut.calls}"
        body = f"{name}|"
        if plan.large and self._rng.random() < plan.large:
            body += "x" * _LARGE_BYTES
        record = ObservedCall(sut, sut.calls, name, body, self._scheduler.elapsed(), sut.timeout_s)
        record.is_once = bool(plan.once) and self._once.random() < plan.once
        self._oracle.calls.begin(record)
        calling = self._predict(record)
        self._calling[record] = calling
        if may_cancel and plan.cancelled and self._rng.random() < plan.cancelled:
            sut.reactor.callLater(self._rng.random() * _LATEST_CANCEL_S, self._cancel, record, calling)
        return calling.addCallbacks(self._answered, self._failed, callbackArgs=(record,), errbackArgs=(record,))

    def _predict(self, record: ObservedCall) -> Deferred[Any]:
        """Make a call; with an active fault, methods of its request may raise."""
        request: Any = record.body
        failing = self._sut.reactor.failing
        if failing.is_on:
            encode, parse = failing.error_at("encode"), failing.error_at("parse")
            if encode is not None or parse is not None:
                record.raises = encode or parse
                request = _Program(record.body, encode, parse)
        if not isinstance(request, _Program) or not request.cannot_be_sent:
            self._oracle.retries.call_began(self._sut)
        key = f"key {self._keys.randrange(self._plan.keys)}" if self._plan.keys else None
        try:
            calling: Deferred[Any] = self._sut.client.predict(request, idempotent=not record.is_once, key=key)
        except BaseException as error:
            if not is_injected(error):
                raise
            # `predict` may raise an injected error directly. The error is handled like that of a failed Deferred.
            return fail(Failure(error))
        return calling

    def cancel_all(self) -> None:
        """Cancel every call in flight."""
        for record, calling in list(self._calling.items()):
            self._cancel(record, calling)

    def _again(self) -> None:
        pause_s = (0.5 + self._rng.random()) / self._per_s * self._burst
        self._next = self._sut.reactor.callLater(pause_s, self._again)
        self.burst(self._burst)

    def _cancel(self, record: ObservedCall, answered: Deferred[Any]) -> None:
        if record.name in self._oracle.calls.in_flight and not record.is_cancelled:
            self._oracle.calls.cancelled(record)
            answered.cancel()

    def _answered(self, response: Any, record: ObservedCall) -> None:
        self.ended += 1
        self._calling.pop(record, None)
        self._oracle.calls.answered(record, response.content.decode("latin-1"))
        spent_ms = (self._scheduler.elapsed() - record.began_s) * 1000
        self._scheduler.log_often(
            record.number,
            "call %s ok in %.1f ms from %s",
            record.name,
            spent_ms,
            _Trail(record.arrivals, self._sut.failed_before),
        )

    def _failed(self, failure: Failure, record: ObservedCall) -> None:
        self.ended += 1
        self._calling.pop(record, None)
        self.failed += not record.is_cancelled
        error = failure.value or AssertionError("a failure without an error")
        self._oracle.read(f"{error} {error!r}")
        self._scheduler.log(f"call {record.name} {self._oracle.calls.failed(record, error)}")
