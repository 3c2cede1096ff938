"""A service on a `Clock` whose response times are set by a test, and helpers to run a load on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from eas_tw.cli.perf.in_flight import CallsInFlight, EndedCall
from eas_tw.cli.perf.plan import Load, Plan

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.task import Clock

QUICK_S = 1 / 64


def stalled(begin_s: float, end_s: float) -> Callable[[float], float]:
    """Return a function from call time to response time, for a service that stalls.

    The service responds after 1/64 s. Calls between `begin_s` and `end_s` get their responses at `end_s`.
    """

    def answer_at(asked_s: float) -> float:
        return end_s if begin_s <= asked_s < end_s else asked_s + QUICK_S

    return answer_at


class Service:
    """Responds to each call at the time that `answer_at` returns for the time of the call.

    Attributes:
        asked: The times of the calls.
        errors: Results of the next calls, in order: an exception, or `None` for a response.
    """

    def __init__(self, clock: Clock, answer_at: Callable[[float], float] = lambda asked_s: asked_s + QUICK_S) -> None:
        self._clock = clock
        self._answer_at = answer_at
        self.asked: list[float] = []
        self.errors: list[Exception | None] = []
        self.result: Any = None

    def send(self) -> Deferred[Any]:
        now_s = self._clock.seconds()
        self.asked.append(now_s)
        error = self.errors.pop(0) if self.errors else None
        call: Deferred[Any] = Deferred(lambda _: timer.cancel())
        outcome = (call.callback, self.result) if error is None else (call.errback, error)
        timer = self._clock.callLater(self._answer_at(now_s) - now_s, *outcome)
        return call


class Ended(list[EndedCall]):
    """Collects the ended calls of a loop."""

    def calls(self, clock: Clock, service: Service) -> CallsInFlight:
        return CallsInFlight(clock, service.send, self.append)

    @property
    def latencies_ms(self) -> list[float]:
        return [call.latency_s * 1000 for call in self]


def plan(*loads: Load, **changes: Any) -> Plan:
    settings: dict[str, Any] = {
        "requests": None,
        "duration_s": None,
        "ramp_s": 0.0,
        "warm_up_s": 0.0,
        "is_stream": False,
        "limits": (),
        "output": "json",
        "output_file": None,
        "shows_progress": False,
        **changes,
    }
    return Plan(loads=loads, **settings)


def run_until(clock: Clock, ends: Callable[[], bool], step_s: float = 1 / 128, most_s: float = 1000.0) -> None:
    """Advance the clock in small steps until `ends` returns true. Fail after `most_s` seconds."""
    until_s = clock.seconds() + most_s
    while not ends():
        assert clock.seconds() < until_s, "it never ended"
        clock.advance(step_s)
