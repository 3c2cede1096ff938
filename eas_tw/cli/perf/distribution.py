"""`Distribution`, sorted values with counts, from which percentiles and their confidence intervals are computed."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from math import ceil, inf, sqrt
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable

_Z = 1.96
"""The quantile of the normal distribution for a confidence interval of 95 %."""


@frozen
class Distribution:
    """Counted values in ascending order.

    Attributes:
        values: The distinct values.
        cumulative: For each value, the number of recorded values that are less than or equal to this value.
    """

    values: tuple[float, ...]
    cumulative: tuple[int, ...]

    @classmethod
    def of(cls, counts: Iterable[tuple[float, int]]) -> Distribution:
        """Create a distribution from pairs of a value and its count, in any order."""
        ordered = sorted(counts)
        return cls(tuple(value for value, _ in ordered), tuple(accumulate(count for _, count in ordered)))

    @property
    def count(self) -> int:
        """The number of recorded values."""
        return self.cumulative[-1] if self.cumulative else 0

    def at_rank(self, rank: int) -> float | None:
        """Return the value with a rank, where rank 1 is the smallest value; `None` if there is no such rank."""
        if not 1 <= rank <= self.count:
            return None
        return self.values[bisect_left(self.cumulative, rank)]

    def percentile(self, share: float, missing: int = 0) -> float | None:
        """Return a percentile by the nearest-rank method.

        Args:
            share: The percentile, > 0 and ≤ 100.
            missing: The number of further values that are unknown, but greater than all recorded values: calls without
                an answer.

        Returns:
            The value; `None` if nothing was recorded, or if a missing value is at this percentile.
        """
        return self.at_rank(rank_of(share, self.count + missing))

    def interval(self, share: float, missing: int = 0) -> tuple[float, float] | None:
        """Return a confidence interval of 95 % for a percentile.

        The number of values below the true percentile has a binomial distribution, so the interval is between two
        ranks and needs no assumption about the distribution of the values. The method assumes independent values.

        Args:
            share: The percentile, > 0 and < 100.
            missing: The number of further values, as in `percentile`; they count as infinite.

        Returns:
            The ends of the interval; `None` if there are too few values for this percentile.
        """
        quantile, total = share / 100, self.count + missing
        middle, width = total * quantile, _Z * sqrt(total * quantile * (1 - quantile))
        low, high = int(middle - width), ceil(middle + width) + 1
        if low < 1 or high > total:
            return None
        ends = (self.at_rank(rank) for rank in (low, high))
        first, second = (inf if end is None else end for end in ends)
        return first, second


def rank_of(share: float, count: int) -> int:
    """Return the rank of a percentile among `count` values, by the nearest-rank method."""
    # Rounded, because 99.9 * 41000 / 100 is 40959.00000000001 in floating point, and `ceil` would return 40960.
    return max(1, ceil(round(share * count / 100, 6)))
