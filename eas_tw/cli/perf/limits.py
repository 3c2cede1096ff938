"""The option `--fail-if`: limits of a run, such as `p99>50ms`; if one is violated, the exit code is 1."""

from __future__ import annotations

import operator
import re
from typing import TYPE_CHECKING, Any

from attrs import frozen

from eas_tw import ConfigError, EasError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from eas_tw.cli.perf.figures import Figures

_PATTERN = re.compile(r"\s*(?:(first-byte|gap)-)?(p\d+(?:\.\d+)?|\w+)\s*(>=|<=|>|<)\s*([\d.]+)\s*(\S*)\s*")
_TIMES = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
}
_GRAMMAR = (
    "METRIC>NUMBER or METRIC<NUMBER, such as p99>50ms, mean>0.1s, errors>1%, rate<450 or first-byte-p95>300ms; "
    "metrics are pN, mean, max, errors (share of the calls) and rate (answered calls per second); for streams also "
    "first-byte-pN, gap-pN, events and tokens (per second)"
)


class PerfFailed(EasError):
    """A result violates a limit of `--fail-if`, or is worse than the first result of `perf compare`."""


@frozen
class Limit:
    """A limit of `--fail-if` for one figure of a result.

    Attributes:
        text: The limit as given on the command line.
        part: Empty for whole calls; `first-byte` or `gap` for parts of streams.
        metric: `p99` and other percentiles, `mean`, `max`, `errors`, `rate`, `events` or `tokens`.
        comparison: The operator; the limit is violated if the comparison of the result with `bound` is true.
        bound: The bound: seconds for a time, a share from 0 to 1 for `errors`, else a number per second.
    """

    text: str
    part: str
    metric: str
    comparison: str
    bound: float

    def violation(self, figures: Figures) -> str:
        """Return a description of the violation; empty if the result does not violate the limit."""
        value = self._value(figures)
        if value is None:
            return f"{self.text}: there is no value, because {figures.why_none(self.part)}"
        if not _OPERATORS[self.comparison](value, self.bound):
            return ""
        return f"{self.text}: it is {self._shown(value, figures)}"

    def _value(self, figures: Figures) -> float | None:
        """Return the value to compare with `bound`; infinite for a call without an answer, `None` for no value."""
        if self.metric == "errors":
            return figures.error_share
        if self.metric in ("rate", "events", "tokens"):
            return {"rate": figures.calls_per_s, "events": figures.events_per_s, "tokens": figures.tokens_per_s}[
                self.metric
            ]
        return figures.time(self.part, self.metric)

    def _shown(self, value: float, figures: Figures) -> str:
        if self.metric == "errors":
            return f"{value:.2%}"
        if self.metric in ("rate", "events", "tokens"):
            return f"{value:.1f}/s"
        if value == float("inf"):
            return f"unbounded, because {figures.error_share:.2%} of the calls were not answered"
        return f"{value * 1000:.3f} ms"


def parse(text: str) -> Limit:
    """Parse a limit.

    Raises:
        ConfigError: The text is not a valid limit.
    """
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise ConfigError(f"--fail-if must be {_GRAMMAR}; got {text!r}")
    part, metric, comparison, number, unit = match.groups(default="")
    share = float(metric[1:]) if re.fullmatch(r"p[\d.]+", metric) else None
    is_time = metric in ("mean", "max") or (share is not None and 0 < share <= 100)  # noqa: PLR2004  percent
    is_known = is_time or (not part and metric in ("errors", "rate", "events", "tokens"))
    factors = _TIMES if is_time else {"%": 0.01, "": 1.0} if metric == "errors" else {"": 1.0, "/s": 1.0}
    try:
        bound = float(number) * factors[unit]
    except (ValueError, KeyError):
        is_known = False
    if not is_known:
        raise ConfigError(f"--fail-if must be {_GRAMMAR}; got {text!r}")
    return Limit(text.strip(), part, metric, comparison, bound)


def violations(limits: Iterable[Limit], figures: Figures) -> list[str]:
    """Return a sentence for each limit that a result violates."""
    return [said for limit in limits if (said := limit.violation(figures))]


def covers_errors(limits: Iterable[Limit]) -> bool:
    """Return whether there is a limit for errors."""
    return any(limit.metric == "errors" for limit in limits)
