"""What a story promises: numbers of its account that must lie within bounds.

An expectation names a metric, perhaps of one instance, status or reason (`of`), perhaps in a window of time, and says
what it must be. Pure: an `TrafficAccount` is filled by whoever plays the story.
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
    """One call of the story's client.

    Attributes:
        at_s: When it began, in seconds from the beginning.
        took_s: Until its answer or error.
        problem: Why it is lost; empty for a right answer.
    """

    at_s: float
    took_s: float
    problem: str = ""


@frozen
class RequestRecord:
    """One request that reached an instance: when it ended, where, and how."""

    at_s: float
    instance: str
    status: int


@define
class TrafficAccount:
    """What became of a story.

    Attributes:
        calls: Of the client.
        requests: That reached instances.
        retries: Attempts beyond the first of each call.
        discovery_requests: That reached the control plane.
        discovery_refused: Replies the client did not accept, by reason.
        ready_s: When the client had its first list; `None` for never.
        known: Instances in the client's list at the end.
        ejected: Instances the client left out at the end.
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
        """Only what began (or, of requests, ended) in that time; the totals stay."""

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
        """Calls that failed or got a wrong answer."""
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
    """A number of an account.

    Attributes:
        says: One line for people.
        value: The number; its second argument is the expectation's `of`.
        of: What `of` may name; empty when it means nothing.
        has_window: Whether a window of time makes sense.
    """

    says: str
    value: Callable[[TrafficAccount, str], float]
    of: str = ""
    has_window: bool = True


METRICS: dict[str, Metric] = {
    "calls": Metric("calls that were made", lambda a, _: len(a.calls)),
    "answered": Metric("calls with a right answer", lambda a, _: len(a.calls) - len(a.lost)),
    "lost": Metric("calls that failed or got a wrong answer", lambda a, _: len(a.lost)),
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
        "how much the calls were amplified", lambda a, _: _ratio(len(a.requests), len(a.calls))
    ),
    "status": Metric(
        "requests that were answered with the status `of`; 0 for not at all",
        lambda a, of: sum(str(request.status) == of for request in a.requests),
        "an HTTP status",
    ),
    "retries": Metric("attempts beyond the first of each call", lambda a, _: a.retries, has_window=False),
    "discovery_requests": Metric("discovery requests", lambda a, _: a.discovery_requests, has_window=False),
    "discovery_refused": Metric(
        "discovery replies the client did not accept, or those for the reason `of`",
        lambda a, of: a.discovery_refused[of] if of else a.discovery_refused.total(),
        "a reason",
        has_window=False,
    ),
    "ready_s": Metric(
        "when the client had its first list; a million for never",
        lambda a, _: 1e6 if a.ready_s is None else a.ready_s,
        has_window=False,
    ),
    "known": Metric("instances in the client's list at the end", lambda a, _: a.known, has_window=False),
    "ejected": Metric("instances the client left out at the end", lambda a, _: a.ejected, has_window=False),
}


@frozen
class Expectation:
    """One promise.

    Attributes:
        what: A key of `METRICS`.
        of: Of which instance, status or reason.
        low: At least this; `None` for no bound.
        high: At most this; `None` for no bound.
        from_s: Only what happened since then.
        until_s: Only what happened before; `None` for the end.
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
        """Whether it is met."""
        value = METRICS[self.what].value(account.window(self.from_s, self.until_s), self.of)
        is_met = (self.low is None or value >= self.low) and (self.high is None or value <= self.high)
        return ExpectationResult(self, value, is_met)


@frozen
class ExpectationResult:
    """An expectation beside what happened."""

    expectation: Expectation
    value: float
    is_met: bool

    def __str__(self) -> str:
        return f"{'met ' if self.is_met else 'MISSED'}  {self.expectation}: {self.value:g}"

    def to_json(self) -> dict[str, Any]:
        """For `demo --json`."""
        return {"expectation": str(self.expectation), "value": self.value, "met": self.is_met}


NOTHING_LOST = (Expectation("lost", high=0),)
"""What a story promises that says nothing of it."""


def judge(expectations: Sequence[Expectation], account: TrafficAccount) -> list[ExpectationResult]:
    """Every expectation beside what happened."""
    return [expectation.judge(account) for expectation in expectations or NOTHING_LOST]
