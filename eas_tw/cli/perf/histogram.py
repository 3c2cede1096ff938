"""Histograms of durations, whose memory does not grow with the number of values.

`Histogram` is an HDR histogram with 3 significant digits, from 1 µs to an hour, in about 190 kB. `CompactHistogram` has
at least 2 significant digits and stores only non-empty buckets. It is used for the seconds of a run and for instances,
because there may be many of both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eas_tw import ConfigError
from eas_tw.cli.perf.distribution import Distribution

if TYPE_CHECKING:
    from collections.abc import Iterator

try:
    from hdrh.histogram import HdrHistogram
except ImportError:
    raise ConfigError("eas-tw perf needs hdrhistogram: pip install 'eas-tw[cli]'") from None

_LONGEST_US = 3_600_000_000
_DIGITS = 3
_BUCKET_BITS = 8
"""Bits of a value that select its bucket; a compact histogram has 128 buckets from each power of 2 to the next."""


class Histogram:
    """An HDR histogram of durations.

    A duration of more than an hour is counted as an hour. `max_s` and `mean_s`, in seconds, are exact.
    """

    def __init__(self) -> None:
        self._counts: Any = HdrHistogram(1, _LONGEST_US, _DIGITS)
        self._sum_s = 0.0
        self.max_s = 0.0

    def __len__(self) -> int:
        return int(self._counts.total_count)

    def record(self, seconds: float) -> None:
        """Count a duration."""
        self._counts.record_value(min(round(seconds * 1e6), _LONGEST_US))
        self._sum_s += seconds
        self.max_s = max(self.max_s, seconds)

    def add(self, other: CompactHistogram) -> None:
        """Add the durations of a compact histogram, with the precision of that histogram."""
        for seconds, count in other.counted():
            self._counts.record_value(min(round(seconds * 1e6), _LONGEST_US), count)
        self._sum_s += other.sum_s
        self.max_s = max(self.max_s, other.max_s)

    @property
    def mean_s(self) -> float:
        """The mean, in seconds; 0 if nothing was recorded."""
        return self._sum_s / len(self) if len(self) else 0.0

    def distribution(self) -> Distribution:
        """Return the durations in seconds, each rounded up to the greatest value of its bucket, at most 0.1 % more."""
        return _distribution(self._counts, self.max_s)

    def encoded(self) -> str:
        """Return the histogram, in microseconds, in HdrHistogram's format (V2, compressed, base64)."""
        text: str = self._counts.encode().decode("ascii")
        return text


def decoded(text: str) -> Distribution:
    """Return the durations, in seconds, of an encoded histogram.

    Raises:
        ValueError: The text is not an encoded histogram.
    """
    try:
        counts: Any = HdrHistogram.decode(text)
    except Exception as error:  # noqa: BLE001  errors of base64, zlib and struct, and of the package
        raise ValueError(f"not an HDR histogram: {error}") from None
    return _distribution(counts, counts.max_value / 1e6)


def _distribution(counts: Any, max_s: float) -> Distribution:
    found = ((counts.get_value_from_index(index), count) for index, count in enumerate(counts.counts) if count)
    return Distribution.of(
        (min(counts.get_highest_equivalent_value(value) / 1e6, max_s), count) for value, count in found
    )


class CompactHistogram:
    """A histogram of durations in a dictionary, with an error of at most 0.8 %."""

    __slots__ = ("_counts", "count", "max_s", "sum_s")

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self.count = 0
        self.sum_s = 0.0
        self.max_s = 0.0

    def record(self, seconds: float) -> None:
        """Count a duration."""
        microseconds = round(seconds * 1e6)
        bits = max(0, microseconds.bit_length() - _BUCKET_BITS)
        bucket = (microseconds >> bits) << bits
        self._counts[bucket] = self._counts.get(bucket, 0) + 1
        self.count += 1
        self.sum_s += seconds
        self.max_s = max(self.max_s, seconds)

    def add(self, other: CompactHistogram) -> None:
        """Add the counts of another histogram."""
        for bucket, count in other._counts.items():
            self._counts[bucket] = self._counts.get(bucket, 0) + count
        self.count += other.count
        self.sum_s += other.sum_s
        self.max_s = max(self.max_s, other.max_s)

    def counted(self) -> Iterator[tuple[float, int]]:
        """Return pairs of the greatest duration of a bucket, in seconds, and the count of the bucket."""
        return ((min(_highest(bucket) / 1e6, self.max_s), count) for bucket, count in self._counts.items())

    def distribution(self) -> Distribution:
        """Return the durations in seconds, each rounded up to the greatest value of its bucket."""
        return Distribution.of(self.counted())


def _highest(bucket: int) -> int:
    return bucket + (1 << max(0, bucket.bit_length() - _BUCKET_BITS)) - 1
