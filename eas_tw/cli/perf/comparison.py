"""Comparison of two results of `eas-tw perf`, with a conclusion for each percentile.

Two runs never have exactly the same percentiles. A difference is significant if the 95 % confidence intervals of the
two percentiles do not overlap, and if it is larger than a tolerance. The intervals are computed from the histograms in
the files. Calls without an answer count as slower than all other calls, so that a service that fails fast does not
appear faster.
"""

from __future__ import annotations

from math import inf, sqrt
from typing import TYPE_CHECKING, Any

from attrs import frozen

from eas_tw import ConfigError
from eas_tw.cli.perf.figures import PERCENTILES
from eas_tw.cli.perf.histogram import decoded
from eas_tw.cli.perf.text import load_name

if TYPE_CHECKING:
    from eas_tw.cli.perf.distribution import Distribution

SLOWER, FASTER, SAME, UNKNOWN = "slower", "faster", "no difference", "too few calls"
MORE, FEWER = "more errors", "fewer errors"
WORSE = frozenset({SLOWER, MORE})
_Z = 1.96


@frozen
class Row:
    """The comparison of one figure.

    Attributes:
        load: The load of the step.
        name: The figure: `p50` and other percentiles, `first byte p50`, or `errors`.
        before: The value in the first result, in seconds or as a share from 0 to 1; infinite if a call without an
            answer is at this percentile, `None` if there is no value.
        after: The value in the second result, in the same form.
        conclusion: `slower`, `faster`, `more errors`, `fewer errors`, `no difference`, or `too few calls`.
    """

    load: str
    name: str
    before: float | None
    after: float | None
    conclusion: str

    @property
    def change(self) -> float | None:
        """The relative change; `None` if it cannot be computed."""
        if self.before is None or self.after is None or self.before == 0 or inf in (self.before, self.after):
            return None
        return self.after / self.before - 1

    @property
    def is_worse(self) -> bool:
        """Whether the second result is worse."""
        return self.conclusion in WORSE


def compare(before: dict[str, Any], after: dict[str, Any], tolerance: float) -> list[Row]:
    """Compare the steps that two results have in common.

    Args:
        before: The JSON document of the first result.
        after: The JSON document of the second result.
        tolerance: The relative change of a percentile up to which there is no difference, such as 0.05.

    Raises:
        ConfigError: The results have no step in common, or a histogram cannot be read.
    """
    first = {load_name(step): step for step in before["steps"]}
    second = {load_name(step): step for step in after["steps"]}
    common = [load for load in first if load in second]
    if not common:
        raise ConfigError(
            f"the results have no load in common: {', '.join(first)} in the first, {', '.join(second)} in the second"
        )
    return [row for load in common for row in _step_rows(load, first[load], second[load], tolerance)]


def differences_in_settings(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Return a sentence for each reason that makes the results hard to compare: other settings, bottleneck, interrupt.

    Args:
        before: The JSON document of the first result.
        after: The JSON document of the second result.
    """
    values = {name: (before[name], after[name]) for name in ("service", "endpoint")}
    for name in ("stream", "warm_up_s", "duration_s", "requests"):
        values[name] = (before["settings"].get(name), after["settings"].get(name))
    said = [
        f"{name} is {_text(first)} in the first, {_text(second)} in the second"
        for name, (first, second) in values.items()
        if first != second
    ]
    for which, result in (("first", before), ("second", after)):
        if any(step["generator"]["is_bottleneck"] for step in result["steps"]):
            said.append(f"the load generator was the bottleneck in the {which}")
        if result["is_interrupted"]:
            said.append(f"the {which} was interrupted")
    return said


@frozen
class Sample:
    """The times of the answered calls of a step in seconds, and the number of calls without an answer."""

    times: Distribution
    missing: int = 0

    def percentile(self, share: float) -> float | None:
        """Return a percentile: infinite if it is the time of a call without an answer, `None` if there are no calls."""
        if not self.times.count + self.missing:
            return None
        value = self.times.percentile(share, self.missing)
        return inf if value is None else value


def conclusion(before: Sample, after: Sample, share: float, tolerance: float) -> str:
    """Compare a percentile of two samples.

    Returns:
        1. `too few calls`, if one sample has too few values for a confidence interval of this percentile;
        2. `slower` or `faster`, if the intervals do not overlap and the change is more than the tolerance;
        3. `no difference` otherwise.
    """
    first, second = (sample.times.interval(share, sample.missing) for sample in (before, after))
    old, new = before.percentile(share), after.percentile(share)
    if first is None or second is None or old is None or new is None:
        return UNKNOWN
    if second[0] > first[1] and new > old * (1 + tolerance):
        return SLOWER
    if second[1] < first[0] and new < old * (1 - tolerance):
        return FASTER
    return SAME


def error_conclusion(before: tuple[int, int], after: tuple[int, int]) -> str:
    """Compare two shares of failed calls by their 95 % confidence intervals (Wilson score interval).

    Args:
        before: The numbers of failed calls and of all calls in the first result.
        after: The numbers of failed calls and of all calls in the second result.
    """
    if not before[1] or not after[1]:
        return UNKNOWN
    first, second = _wilson(*before), _wilson(*after)
    if second[0] > first[1]:
        return MORE
    return FEWER if second[1] < first[0] else SAME


def _step_rows(load: str, before: dict[str, Any], after: dict[str, Any], tolerance: float) -> list[Row]:
    rows = []
    for prefix, name in (("", "answered"), ("first byte ", "first_byte")):
        if name in before["histograms"] and name in after["histograms"]:
            first, second = _sample(before, name), _sample(after, name)
            rows += [
                Row(
                    load,
                    f"{prefix}p{share:g}",
                    first.percentile(share),
                    second.percentile(share),
                    conclusion(first, second, share, tolerance),
                )
                for share in PERCENTILES
            ]
    counts = [_failed(step) for step in (before, after)]
    shares = [failed / total if total else None for failed, total in counts]
    return [*rows, Row(load, "errors", shares[0], shares[1], error_conclusion(counts[0], counts[1]))]


def _sample(step: dict[str, Any], name: str) -> Sample:
    try:
        return Sample(decoded(step["histograms"][name]), _failed(step)[0])
    except ValueError as error:
        raise ConfigError(f"the histogram {name!r} cannot be read: {error}") from None


def _failed(step: dict[str, Any]) -> tuple[int, int]:
    failed = sum(step["failed"].values()) + step["unsent"]
    return failed, failed + step["answered"]


def _wilson(failed: int, total: int) -> tuple[float, float]:
    share, square = failed / total, _Z**2
    middle = (share + square / (2 * total)) / (1 + square / total)
    width = _Z / (1 + square / total) * sqrt(share * (1 - share) / total + square / (4 * total**2))
    return middle - width, middle + width


def _text(value: Any) -> str:
    return "not set" if value is None else str(value)
