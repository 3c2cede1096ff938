"""`Schedule`, which computes the times at which the calls of an open loop are due, without reading a clock."""

from __future__ import annotations

from math import ceil, sqrt

from attrs import frozen


@frozen
class Schedule:
    """A schedule of calls at a constant rate, after an optional ramp in which the rate grows linearly from 0.

    Attributes:
        start_s: The time of the first call, in seconds of the reactor's clock.
        rate_per_s: The number of calls per second, > 0.
        ramp_s: The seconds in which the rate grows from 0 to `rate_per_s`; 0 for the full rate from the first call on.
    """

    start_s: float
    rate_per_s: float
    ramp_s: float = 0.0

    def time_of(self, number: int) -> float:
        """Return the time at which a call is due.

        Args:
            number: The number of the call, from 0.
        """
        if number < self._ramp_calls:
            # In the first t seconds of the ramp, rate * t² / (2 * ramp) calls are due.
            return self.start_s + sqrt(2 * number * self.ramp_s / self.rate_per_s)
        return self.start_s + self.ramp_s + (number - self._ramp_calls) / self.rate_per_s

    def calls_before(self, time_s: float) -> int:
        """Return the number of calls that are due before a time."""
        passed_s = time_s - self.start_s
        if passed_s <= 0:
            return 0
        if passed_s < self.ramp_s:
            number = ceil(self.rate_per_s * passed_s**2 / (2 * self.ramp_s))
        else:
            number = ceil(self._ramp_calls + (passed_s - self.ramp_s) * self.rate_per_s)
        # Rounding of floating-point numbers may make the result wrong by one call.
        while number > 0 and self.time_of(number - 1) >= time_s:
            number -= 1
        while self.time_of(number) < time_s:
            number += 1
        return number

    @property
    def _ramp_calls(self) -> float:
        return self.rate_per_s * self.ramp_s / 2
