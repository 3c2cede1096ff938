"""The expectations of a scenario: metrics of its traffic that must lie within bounds.

An expectation has a metric and its bounds. It can be restricted to one instance, status or reason (`of`), and to a
window of time. The module has no I/O: the player of the scenario fills the `TrafficAccount`.
"""

from __future__ import annotations

from collections import Counter
from math import ceil
from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@frozen
class CallRecord:
    """One call of the scenario's client.

    Attributes:
        at_s: Start of the call, in seconds from the beginning of the scenario.
        took_s: Seconds until its response or error.
        problem: Error of a lost call; empty for a call with a correct response.
    """

    at_s: float
    took_s: float
    problem: str = ""


@frozen
class RequestRecord:
    """One request that reached an instance.

    Attributes:
        at_s: End of the request, in seconds from the beginning of the scenario.
        instance: Id of the instance.
        status: HTTP status of the response; 0 for no response.
    """

    at_s: float
    instance: str
    status: int


@define
class TrafficAccount:
    """The traffic of a scenario.

    Attributes:
        calls: Calls of the client.
        requests: Requests that reached instances.
        retries: Number of attempts beyond the first of each call.
        discovery_requests: Number of requests that reached the control plane.
        discovery_refused: Number of discovery replies that the client rejected, by reason.
        ready_s: Seconds until the client had its first list; `None` if it never had one.
        known: Number of instances in the client's list at the end.
        ejected: Number of instances that the client had ejected at the end.
    """

    calls: list[CallRecord] = field(factory=list)
    requests: list[RequestRecord] = field(factory=list)
    retries: int = 0
    discovery_requests: int = 0
    discovery_refused: Counter[str] = field(factory=Counter)
    ready_s: float | None = None
    known: int = 0
    ejected: int = 0

    def window(self, from_s: float, until_s: float | None) -> TrafficAccount:
        """Return the account of a window of time: the calls that start and the requests that end in the window.

        The totals, such as `retries`, are those of the whole scenario.

        Args:
            from_s: Beginning of the window, in seconds from the beginning of the scenario.
            until_s: End of the window, exclusive, in the same unit; `None` for no end.
        """

        def is_in(record: CallRecord | RequestRecord) -> bool:
            return from_s <= record.at_s and (until_s is None or record.at_s < until_s)

        return TrafficAccount(
            [call for call in self.calls if is_in(call)],
            [request for request in self.requests if is_in(request)],
            self.retries,
            self.discovery_requests,
            self.discovery_refused,
            self.ready_s,
            self.known,
            self.ejected,
        )

    @property
    def lost(self) -> list[CallRecord]:
        """The calls that failed or got a wrong response."""
        return [call for call in self.calls if call.problem]


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _latency(share: float) -> Callable[[TrafficAccount, str], float]:
    def value(account: TrafficAccount, _: str) -> float:
        times = sorted(call.took_s for call in account.calls)
        return times[max(0, ceil(share * len(times)) - 1)] if times else 0.0

    return value


def _requests(account: TrafficAccount, of: str) -> int:
    return sum(of in ("", request.instance) for request in account.requests)


@frozen
class Metric:
    """A metric of an account.

    Attributes:
        says: Description, one line.
        value: Computes the metric from an account and the expectation's `of`.
        of: Description of the value of an expectation's `of`, such as `an HTTP status`; empty if `of` is not used.
        has_window: Whether the metric can be restricted to a window of time.
    """

    says: str
    value: Callable[[TrafficAccount, str], float]
    of: str = ""
    has_window: bool = True


METRICS: dict[str, Metric] = {
    "calls": Metric("calls that were made", lambda a, _: len(a.calls)),
    "answered": Metric("calls with a correct response", lambda a, _: len(a.calls) - len(a.lost)),
    "lost": Metric("calls that failed or got a wrong response", lambda a, _: len(a.lost)),
    "lost_ratio": Metric("share of the calls that is lost, 0–1", lambda a, _: _ratio(len(a.lost), len(a.calls))),
    "problem": Metric(
        "lost calls whose problem begins with `of`",
        lambda a, of: sum(call.problem.startswith(of) for call in a.lost),
        "an error's name",
    ),
    "latency_p50_s": Metric("median time of a call", _latency(0.5)),
    "latency_p99_s": Metric("99th percentile of the time of a call", _latency(0.99)),
    "latency_max_s": Metric("longest time of a call", _latency(1.0)),
    "requests": Metric("requests that reached instances, or the instance `of`", _requests, "an instance's id"),
    "share": Metric(
        "share of the requests that reached the instance `of`, 0–1",
        lambda a, of: _ratio(_requests(a, of), len(a.requests)),
        "an instance's id",
    ),
    "requests_per_call": Metric(
        "requests that reached instances, divided by the calls", lambda a, _: _ratio(len(a.requests), len(a.calls))
    ),
    "status": Metric(
        "requests that were answered with the status `of`; 0 for no response",
        lambda a, of: sum(str(request.status) == of for request in a.requests),
        "an HTTP status",
    ),
    "retries": Metric("attempts beyond the first of each call", lambda a, _: a.retries, has_window=False),
    "discovery_requests": Metric("discovery requests", lambda a, _: a.discovery_requests, has_window=False),
    "discovery_refused": Metric(
        "discovery replies that the client rejected, or those for the reason `of`",
        lambda a, of: a.discovery_refused[of] if of else a.discovery_refused.total(),
        "a reason",
        has_window=False,
    ),
    "ready_s": Metric(
        "seconds until the client had its first list; a million if it never had one",
        lambda a, _: 1e6 if a.ready_s is None else a.ready_s,
        has_window=False,
    ),
    "known": Metric("instances in the client's list at the end", lambda a, _: a.known, has_window=False),
    "ejected": Metric("instances that the client had ejected at the end", lambda a, _: a.ejected, has_window=False),
}


@frozen
class Expectation:
    """The bounds of a metric, optionally in a window of time.

    Attributes:
        what: A key of `METRICS`.
        of: Instance, status or reason to which the metric is restricted; empty for all.
        low: Lower bound, inclusive; `None` for none.
        high: Upper bound, inclusive; `None` for none.
        from_s: Beginning of the window, in seconds from the beginning of the scenario.
        until_s: End of the window; `None` for the end of the scenario.
    """

    what: str
    of: str = ""
    low: float | None = None
    high: float | None = None
    from_s: float = 0.0
    until_s: float | None = None

    def __str__(self) -> str:
        window = f" from {self.from_s:g} s" if self.from_s else ""
        window += f" until {self.until_s:g} s" if self.until_s is not None else ""
        if self.low is not None and self.low == self.high:
            bounds = f" = {self.low:g}"
        else:
            bounds = f" ≥ {self.low:g}" if self.low is not None else ""
            bounds += " and" if bounds and self.high is not None else ""
            bounds += f" ≤ {self.high:g}" if self.high is not None else ""
        return f"{self.what}{f' of {self.of}' if self.of else ''}{bounds}{window}"

    def judge(self, account: TrafficAccount) -> ExpectationResult:
        """Compare the expectation with an account."""
        value = METRICS[self.what].value(account.window(self.from_s, self.until_s), self.of)
        is_met = (self.low is None or value >= self.low) and (self.high is None or value <= self.high)
        return ExpectationResult(self, value, is_met)


@frozen
class ExpectationResult:
    """An expectation with the measured value."""

    expectation: Expectation
    value: float
    is_met: bool

    def __str__(self) -> str:
        return f"{'met ' if self.is_met else 'MISSED'}  {self.expectation}: {self.value:g}"

    def to_json(self) -> dict[str, Any]:
        """Return the result as `demo --json` prints it."""
        return {"expectation": str(self.expectation), "value": self.value, "met": self.is_met}


NOTHING_LOST = (Expectation("lost", high=0),)
"""The expectations of a scenario that declares none."""


def judge(expectations: Sequence[Expectation], account: TrafficAccount) -> list[ExpectationResult]:
    """Compare every expectation with an account; if there are none, compare `NOTHING_LOST`."""
    return [expectation.judge(account) for expectation in expectations or NOTHING_LOST]
