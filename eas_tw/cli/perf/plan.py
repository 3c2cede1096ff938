"""`Plan`, the settings of a run of `eas-tw perf`, and the parsing of its numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from attrs import frozen

from eas_tw import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from eas_tw.cli.perf.limits import Limit

T = TypeVar("T")

DEFAULT_REQUESTS = 1000
DEFAULT_IN_FLIGHT = 16
DEFAULT_MAX_IN_FLIGHT = 10_000


@frozen
class Load:
    """The load of one step of a run.

    Attributes:
        in_flight: In a closed loop, the number of concurrent calls. In an open loop, the maximum number of concurrent
            calls.
        rate_per_s: In an open loop, the number of calls per second; `None` for a closed loop.
    """

    in_flight: int
    rate_per_s: float | None = None

    def __str__(self) -> str:
        return f"{self.in_flight} in flight" if self.rate_per_s is None else f"{self.rate_per_s:g} calls/s"


@frozen
class Plan:
    """The settings of a run.

    Attributes:
        loads: The load of each step, in order; at least one.
        requests: The maximum number of measured calls of each step; `None` for no bound.
        duration_s: The maximum duration of the measurement of each step, in seconds; `None` for no bound.
        ramp_s: The seconds in which the load of a step grows from 0, before the measurement.
        warm_up_s: The seconds of full load between the ramp and the measurement.
        is_stream: Whether the responses are read as streams.
        limits: The limits of `--fail-if`.
        output: The format of the result: `pretty`, `json`, `csv` or `html`.
        output_file: The file for the result; `None` for standard output.
        shows_progress: Whether progress is shown on standard error.
    """

    loads: tuple[Load, ...]
    requests: int | None
    duration_s: float | None
    ramp_s: float
    warm_up_s: float
    is_stream: bool
    limits: tuple[Limit, ...]
    output: str
    output_file: Path | None
    shows_progress: bool


def loads(in_flight: str | None, rate: str | None, max_in_flight: str | None) -> tuple[Load, ...]:
    """Return the load of each step.

    Args:
        in_flight: The value of `--in-flight`, such as `1,8,64`; `None` if it is not given.
        rate: The value of `--rate`, such as `500`; `None` if it is not given.
        max_in_flight: The value of `--max-in-flight`; `None` if it is not given.

    Raises:
        ConfigError: A value is wrong, or belongs to the other kind of loop.
    """
    if rate is None:
        if max_in_flight is not None:
            raise ConfigError("--max-in-flight belongs to --rate; --in-flight sets the load of a closed loop")
        counts = _list("--in-flight", in_flight or str(DEFAULT_IN_FLIGHT), whole)
        return tuple(map(Load, counts))
    if in_flight is not None:
        raise ConfigError(
            "give --in-flight (closed loop) or --rate (open loop), not both; --max-in-flight bounds an open loop"
        )
    bound = whole("--max-in-flight", max_in_flight or str(DEFAULT_MAX_IN_FLIGHT))
    return tuple(Load(bound, each) for each in _list("--rate", rate, positive))


def whole(option: str, text: str) -> int:
    """Parse the value of an option that is a whole number ≥ 1.

    Raises:
        ConfigError: The text is not such a number; the message names the option.
    """
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise ConfigError(f"{option} must be a whole number ≥ 1, got {text!r}")
    return number


def positive(option: str, text: str) -> float:
    """Parse the value of an option that is a finite number > 0.

    Raises:
        ConfigError: The text is not such a number; the message names the option.
    """
    number = _number(text)
    if not 0 < number < float("inf"):
        raise ConfigError(f"{option} must be a number > 0, got {text!r}")
    return number


def not_negative(option: str, text: str) -> float:
    """Parse the value of an option that is a finite number ≥ 0.

    Raises:
        ConfigError: The text is not such a number; the message names the option.
    """
    number = _number(text)
    if not 0 <= number < float("inf"):
        raise ConfigError(f"{option} must be a number ≥ 0, got {text!r}")
    return number


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _list(option: str, text: str, read: Callable[[str, str], T]) -> tuple[T, ...]:
    return tuple(read(option, part.strip()) for part in text.split(","))
