"""A service in virtual time, whose answers come when a test says, and a run on it."""

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
    """Return the answer times of a service that answers within 1/64 s, and nothing from `begin_s` to `end_s`."""

    def answer_at(asked_s: float) -> float:
        return end_s if begin_s <= asked_s < end_s else asked_s + QUICK_S

    return answer_at


class Service:
    """Answers each call at the time that a function of the time of the call says.

    Attributes:
        asked: The times of the calls.
        errors: Errors of the next calls, in place of their answers; `None` for an answer.
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
    """The ended calls of a loop."""

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
    """Advance the clock in small steps until a condition is true."""
    until_s = clock.seconds() + most_s
    while not ends():
        assert clock.seconds() < until_s, "it never ended"
        clock.advance(step_s)
