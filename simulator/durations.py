"""Durations in seconds: a constant, or a distribution that is sampled with a seeded rng.

The same duration can be given in Python, in TOML (`{distribution = "lognormal", median_s = 0.02, p99_s = 0.2}` or a
number) and on the command line (`lognormal:0.02,0.2` or a number).
"""

from __future__ import annotations

from math import inf, log
from typing import TYPE_CHECKING, Any

from attrs import frozen

if TYPE_CHECKING:
    from random import Random

MAX_S = 3600.0
_Z99 = 2.326
"""The 99th percentile of the normal distribution, in standard deviations."""

DISTRIBUTIONS: dict[str, tuple[str, ...]] = {
    "constant": ("value_s",),
    "uniform": ("low_s", "high_s"),
    "exponential": ("mean_s",),
    "lognormal": ("median_s", "p99_s"),
}
"""The parameters of each distribution, in the order of the command line."""


class DurationError(ValueError):
    """Raised for an invalid duration; the text describes what is expected."""


@frozen
class Duration:
    """A distribution of seconds; without arguments the constant 0.

    Attributes:
        distribution: A key of `DISTRIBUTIONS`.
        parameters: Parameters of the distribution, in seconds, each from 0 to 3600.
    """

    distribution: str = "constant"
    parameters: tuple[float, ...] = (0.0,)

    def __attrs_post_init__(self) -> None:
        if self.distribution not in DISTRIBUTIONS:
            raise DurationError(f"distribution: expected one of {', '.join(DISTRIBUTIONS)}, got {self.distribution!r}")
        names = DISTRIBUTIONS[self.distribution]
        if len(self.parameters) != len(names):
            raise DurationError(f"{self.distribution} takes {', '.join(names)}, got {len(self.parameters)} numbers")
        least = 0.0
        for name, value in zip(names, self.parameters, strict=True):
            if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= MAX_S:
                raise DurationError(f"{name}: expected a number ≥ {least:g} and ≤ {MAX_S:g}, in seconds, got {value!r}")
            least = value
        if self.distribution == "lognormal" and self.parameters[0] <= 0:
            raise DurationError(f"median_s: expected a number > 0, got {self.parameters[0]!r}")

    @property
    def is_nothing(self) -> bool:
        """Whether the duration is always 0."""
        return not any(self.parameters)

    def draw(self, rng: Random) -> float:
        """Draw one sample, in seconds."""
        first, last = self.parameters[0], self.parameters[-1]
        if self.distribution == "uniform":
            return rng.uniform(first, last)
        if self.distribution == "exponential":
            return rng.expovariate(1 / first) if first else 0.0
        if self.distribution == "lognormal":
            return min(rng.lognormvariate(log(first), log(last / first) / _Z99), MAX_S)
        return first

    @classmethod
    def parse(cls, given: Any) -> Duration:
        """Parse a number, a text of the command line, or a table of a scenario.

        Raises:
            DurationError: The value does not describe a duration.
        """
        if isinstance(given, Duration):
            return given
        if isinstance(given, str):
            return _from_text(given)
        if isinstance(given, dict):
            return _from_table(given)
        return cls("constant", (given,))


def _from_text(text: str) -> Duration:
    name, colon, numbers = text.rpartition(":")
    try:
        return Duration(name if colon else "constant", tuple(_number(part) for part in numbers.split(",")))
    except ValueError as error:
        if isinstance(error, DurationError):
            raise
        raise DurationError(f"expected a number of seconds, or such as lognormal:0.02,0.2, got {text!r}") from None


def _number(text: str) -> float:
    value = float(text)
    return value if -inf < value < inf else -1.0


def _from_table(table: dict[str, Any]) -> Duration:
    name = table.get("distribution", "constant")
    if not isinstance(name, str) or name not in DISTRIBUTIONS:
        raise DurationError(f"distribution: expected one of {', '.join(DISTRIBUTIONS)}, got {name!r}")
    wanted = DISTRIBUTIONS[name]
    for key in table:
        if key != "distribution" and key not in wanted:
            raise DurationError(f"{key}: unknown; {name} takes {', '.join(wanted)}")
    for key in wanted:
        if key not in table:
            raise DurationError(f"{key}: missing; {name} takes {', '.join(wanted)}")
    return Duration(name, tuple(table[key] for key in wanted))
