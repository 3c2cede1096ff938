"""A program that calls through the gateway, in some plans with a misbehaving agent.

The gateway forwards to the fleet of the world, which has the faults of the plan. The gateway responds 502 or 504 for
instances that are dead or slow, and the client retries. These properties are checked:

1. Each call ends once, in time and with its own response, and fails only if faults explain the failure.
2. Calls are retried by the rules of the reference page about failover.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from attrs import define
from twisted.internet.defer import Deferred

from simulator.virtual.checkers.calls import KNOWN, ObservedAttempt
from simulator.virtual.checkers.retries import LOCAL, NEVER_SENT
from simulator.virtual.faults.agents import MisbehavingAgent
from simulator.virtual.faults.catalog import STATUS
from simulator.virtual.gateway_streams import GatewayStreams
from simulator.virtual.network.fault_points import is_injected

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from simulator.virtual.faults.attribution import FaultAttribution
    from simulator.virtual.network.network import Network
    from simulator.virtual.network.sockets import Address

    Report = Callable[[str, str], None]
    Make = Callable[[dict[str, Any], Any], Any]

PREFIX = "gateway-"
_SLACK_S = 0.002
_LATEST_CANCEL_S = 0.02
_BUDGET_WINDOW_S = 11.0
_SHORT_S = 0.25
_RATE_LIMITED, _BAD_GATEWAY, _GATEWAY_TIMEOUT = 429, 502, 504
_NOT_SERVED_IS_FREE = 0.75
"""Share of an attempt that does not count when the gateway answers 502."""
_NO_FAILURE = ("stale", "unsent")
_CANCELLED = 0.05
_BURSTS = (1, 1, 1, 3)


@define(eq=False)
class _Call:
    """A call in flight."""

    name: str
    began_s: float
    is_once: bool
    is_cancelled: bool = False
    arrivals: int = 0


class GatewayCalls:
    """The calls of one program through the gateway.

    Args:
        network: The network of the world.
        reactor: Reactor of the program's host.
        rng: Source of random draws.
        make: Creates a client from settings and an agent; with `None`, the client uses its own connections.
        agent: The agent that `MisbehavingAgent` wraps; `None` to create the client without an agent.
        attribution: Determines which failures the active faults explain.
        report: Called with the name of a checker and the description of a violation.
        has_streams: Whether some of the calls are streams.
    """

    def __init__(
        self,
        network: Network,
        reactor: Any,
        rng: Random,
        make: Make,
        *,
        agent: Any,
        attribution: FaultAttribution,
        report: Report,
        has_streams: bool,
    ) -> None:
        self._network = network
        self._scheduler = network.scheduler
        self._reactor = reactor
        self._rng = rng
        self._attribution = attribution
        self._report = report
        self.agent = None if agent is None else MisbehavingAgent(agent, self._scheduler.stream("agent"))
        settings = {
            "timeout_s": rng.choice((1.0, 2.0, 5.0)),
            "attempts": rng.choice((1, 2, 3, 3, 3)),
            "attempt_timeout_s": rng.choice((None, None, 0.5)),
            "connect_timeout_s": rng.choice((0.3, 1.0)),
            "retry_budget_min_per_s": rng.choice((0.3, 10.0, 10.0)),
            "idle_timeout_s": rng.choice((0.5, 30.0)),
        }
        self._once, self._per_s = rng.choice((0.0, 0.2)), rng.choice((0.3, 0.3, 2.0))
        self._client = make(settings, self.agent)
        config = self._client.config
        self._timeout_s: float = config.timeout_s
        self._attempts: int = config.attempts
        self._pause_s: float = config.backoff_max_s
        self._floor: float = config.retry_budget_min_per_s * 10
        labels = {value if isinstance(value, int) else str(value) for value in config.retry_on}
        self._retry_on = labels | {_BAD_GATEWAY, _GATEWAY_TIMEOUT}
        self._retries: deque[tuple[float, int]] = deque([(0.0, 0)])
        self._in_flight: dict[str, _Call] = {}
        self._next: Any = None
        self._streams = (
            GatewayStreams(self._client, self._scheduler, agent=self.agent, attribution=attribution, report=report)
            if has_streams
            else None
        )
        self.calls = self.failed = 0

    # -- the calls

    def start(self) -> None:
        """Start the calls."""
        self._client.init()
        self._again()

    def stop(self) -> None:
        """Start no more calls."""
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def close(self) -> Deferred[Any]:
        """Close the client; the Deferred fires after the close and the checks that follow it."""
        return Deferred.fromCoroutine(self._close())

    async def _close(self) -> None:
        await self._client.close()
        if self.agent is None:
            self._check_gone()
        for call in self._in_flight.values():
            self._report("gateway-call", f"call {call.name} has not ended, and its client has closed")
        if self._streams is not None:
            self._streams.check_over()

    def _check_gone(self) -> None:
        left = [socket for socket in self._network.transports if socket.reactor is self._reactor]
        if left or self._reactor.getDelayedCalls():
            says = f"has closed, and left {left or self._reactor.getDelayedCalls()}"
            self._report("closed-is-gone", f"the gateway's client {says}")

    def _again(self) -> None:
        burst = self._rng.choice(_BURSTS)
        self._next = self._scheduler.call_later((0.5 + self._rng.random()) / self._per_s * burst, self._again)
        for _ in range(burst):
            self._begin()
        self._look()

    def _begin(self) -> None:
        self.calls += 1
        call = _Call(f"{PREFIX}{self.calls}", self._scheduler.elapsed(), self._rng.random() < self._once)
        self._in_flight[call.name] = call
        streams = self._streams if self._streams is not None and self._streams.is_next() else None
        try:
            if streams is None:
                calling = self._client.predict(f"{call.name}|", idempotent=not call.is_once)
            else:
                calling = streams.open(call.name, is_once=call.is_once)
        except BaseException as error:
            if not is_injected(error):
                raise
            self._ended(call)
            self._report("gateway-call", f"the call raised {error!r}")
            return
        answered = self._answered if streams is None else self._opened
        calling.addCallbacks(answered, self._failed, (call,), {}, (call,), {})
        if self._rng.random() < _CANCELLED:
            self._scheduler.call_later(self._rng.random() * _LATEST_CANCEL_S, self._cancel, call, calling)

    def _cancel(self, call: _Call, calling: Deferred[Any]) -> None:
        if call.name in self._in_flight:
            call.is_cancelled = True
            calling.cancel()

    # -- events

    def arrived(self, name: str, address: Address) -> None:
        """Handle the arrival of a call's complete request at an instance."""
        call = self._in_flight.get(name)
        if call is None:
            return
        call.arrivals += 1
        if call.is_once and call.arrivals > 1:
            self._report(
                "sent-once", f"call {name} is not idempotent, and reached an instance again, {address[0]}:{address[1]}"
            )

    def sends(self, call: str, instance: str, serial: int) -> None:
        """Handle the start of a streamed response at an instance."""
        if self._streams is not None:
            self._streams.sends(call, instance, serial)

    # -- checks

    def _ended(self, call: _Call) -> float:
        now_s = self._scheduler.elapsed()
        if self._in_flight.pop(call.name, None) is None:
            self._report("gateway-call", f"call {call.name} has ended twice, or after it was overdue")
        late_s = now_s - call.began_s - self._timeout_s
        if late_s > _SLACK_S:
            self._report("gateway-call", f"call {call.name} ended {late_s:.3f} s after its deadline")
        return now_s

    def _answered(self, response: Any, call: _Call) -> None:
        now_s, answer = self._ended(call), response.content.decode("latin-1")
        if call.is_cancelled:
            self._report("gateway-call", f"call {call.name} was answered after it was cancelled")
        if answer != f"{call.name}|" and not self._attribution.may_be_wrong(call.began_s, now_s):
            self._report("gateway-call", f"call {call.name} got another answer than its own: {answer[:60]!r}")

    def _opened(self, stream: Any, call: _Call) -> None:
        self._ended(call)
        if call.is_cancelled:
            self._report("gateway-call", f"the stream of call {call.name} was opened after it was cancelled")
        assert self._streams is not None  # noqa: S101  it has opened the stream
        self._streams.read(stream, call.name)

    def _failed(self, failure: Any, call: _Call) -> None:
        now_s, error = self._ended(call), failure.value
        if self._streams is not None:
            self._streams.forget(call.name)
        name, attempts = (
            type(error).__name__,
            [ObservedAttempt.of(attempt) for attempt in getattr(error, "attempts", ())],
        )
        trail = ", ".join(f"{tried.attempt_status} {tried.status or ''}".strip() for tried in attempts)
        self.failed += not call.is_cancelled
        self._scheduler.log(
            f"call {call.name} {name} after {now_s - call.began_s:.3f} s: {trail or 'no attempt ended'}"
        )
        if call.is_cancelled or name == "CancelledError":
            if not (call.is_cancelled and name == "CancelledError"):
                self._report("gateway-call", f"call {call.name} ended as {name}, cancelled: {call.is_cancelled}")
        elif name not in KNOWN:
            self._report("gateway-call", f"call {call.name} failed as {name}: {error}")
        else:
            self._check_attempts(call, attempts, now_s)
            self._check_giving_up(call, name, attempts, now_s)

    def _look(self) -> None:
        now_s = self._scheduler.elapsed()
        self._retries.append((now_s, int(self._client.counters.retries.total())))
        while len(self._retries) > 1 and self._retries[1][0] < now_s - _BUDGET_WINDOW_S:
            self._retries.popleft()
        for call in list(self._in_flight.values()):
            if now_s > call.began_s + self._timeout_s + 1.0:
                del self._in_flight[call.name]
                self._report(
                    "gateway-call", f"call {call.name} has not ended {now_s - call.began_s:.1f} s after it began"
                )

    def _check_attempts(self, call: _Call, attempts: list[ObservedAttempt], now_s: float) -> None:
        for at, tried in enumerate(attempts):
            if at and tried.attempt_status == "deadline" and tried.elapsed_s < _SHORT_S:
                # Earlier attempts and pauses have used up the time.
                continue
            if not self._attribution.explain_gateway(tried.attempt_status, tried.status, (call.began_s, now_s)):
                says = f"nothing explains {tried.attempt_status} {tried.status or ''}".strip()
                self._report("gateway-call", f"call {call.name}: {says}")
        for tried in attempts[:-1]:
            if not self._is_retried(tried):
                says = f"was tried again after {tried.attempt_status} {tried.status or ''}".strip()
                self._report("gateway-retry", f"call {call.name} {says}, which is final")
            if call.is_once and tried.attempt_status not in NEVER_SENT:
                says = (
                    f"is not idempotent, and was tried again after {tried.attempt_status} {tried.status or ''}".strip()
                )
                self._report("sent-once", f"call {call.name} {says}")
        if attempts and self._spent(attempts[:-1]) >= self._attempts:
            self._report("gateway-retry", f"call {call.name} took {len(attempts)} attempts, of {self._attempts}")

    def _check_giving_up(self, call: _Call, name: str, attempts: list[ObservedAttempt], now_s: float) -> None:
        spent_s = now_s - call.began_s
        if name == "DeadlineExceeded":
            if spent_s < self._timeout_s - _SLACK_S:
                self._report("gateway-call", f"call {call.name} ran out of time {spent_s:.3f} s after it began")
            return
        if not attempts:
            self._report("gateway-call", f"call {call.name} failed as {name} without an attempt")
            return
        last = attempts[-1]
        since_s, before = self._retries[0]
        retries = int(self._client.counters.retries.total()) - before
        excuses = (
            not self._is_retried(last) or (last.status == _RATE_LIMITED and not last.asked_s),
            call.is_once and last.attempt_status not in NEVER_SENT,
            self._spent(attempts) >= self._attempts,
            self._timeout_s - spent_s <= max(last.asked_s, self._pause_s) + _SLACK_S,
            # Retries of calls in flight are counted only when those calls have ended.
            retries + len(self._in_flight) >= self._floor - 1,
        )
        if not any(excuses):
            says = f"gave up after {len(attempts)} attempts, with {retries} retries since {since_s:.1f} s"
            self._report("gateway-retry", f"call {call.name} {says}")

    def _is_retried(self, tried: ObservedAttempt) -> bool:
        """Whether the client retries an outcome. A 429 must also have a Retry-After, which is not checked here."""
        label = tried.status if tried.attempt_status == STATUS else tried.attempt_status
        return label in self._retry_on or label == _RATE_LIMITED

    def _spent(self, attempts: list[ObservedAttempt]) -> float:
        """Count the attempts to which the limit applies.

        The first stale or unsent attempt and attempts that lacked local resources are not counted. An attempt that was
        answered with 502 counts as a quarter, unless `attempts` is 1.
        """
        stale = sum(tried.attempt_status in _NO_FAILURE for tried in attempts)
        local = sum(tried.attempt_status == LOCAL for tried in attempts)
        not_served = sum(tried.status == _BAD_GATEWAY for tried in attempts) if self._attempts > 1 else 0
        return float(len(attempts) - min(stale, 1) - local) - _NOT_SERVED_IS_FREE * not_served
