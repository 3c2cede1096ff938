"""The settings of a job, which do not depend on the kind of client."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, Self

from attrs import Attribute, evolve, field, frozen

from eas_tw import ConfigError
from eas_tw.bulk.rows import Codec
from eas_tw.display import shown
from eas_tw.dotted_names import check_function, load_function
from eas_tw.ranges import COUNT, Range, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from eas_tw.dotted_names import Function

_ORDER_BUFFERS = 4
"""The default of `order_buffer`, in multiples of `in_flight`."""


def _number(allowed: Range) -> Callable[[Any, Attribute[Any], Any], None]:
    def check(_: Any, attribute: Attribute[Any], value: Any) -> None:
        allowed.check(attribute.name, value)

    return check


def _one_of(*allowed: Any) -> Callable[[Any, Attribute[Any], Any], None]:
    def check(_: Any, attribute: Attribute[Any], value: Any) -> None:
        if value not in allowed:
            raise ConfigError(f"{attribute.name} must be one of {', '.join(map(repr, allowed))}, got {shown(value)}")

    return check


def _function(_: Any, attribute: Attribute[Any], value: Any) -> None:
    check_function(attribute.name, value)


def _max_errors(_: Any, __: Attribute[Any], value: Any) -> None:
    is_share = isinstance(value, float) and 0 <= value <= 1
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if value is not None and not is_share and not is_count:
        raise ConfigError(f"max_errors must be a count (int ≥ 0), a share (float 0–1) or None, got {shown(value)}")


@frozen(kw_only=True)
class JobOptions:
    """The settings of a job.

    Functions may be given by name, `package.module:function`, so that they can be pickled or given in a shell.

    Attributes:
        encode: A function of a row that returns its request. `None` for the default: text, bytes and requests are sent
            unchanged, and any other row as JSON.
        decode: A function of a row and its response that returns the output. `None` for the default: the data of a JSON
            response, the text of a text response, and any other response itself.
        encode_batch: A function of a list of rows that returns their request; `None` for a JSON array of the rows, if
            `batch_size` is above 1.
        decode_batch: A function of a list of rows and their response that returns a list with an output for each row;
            `None` for the items of a JSON array, if `batch_size` is above 1.
        batch_size: The number of rows in a request, ≥ 1. If a request fails because of its rows, it is split in halves
            until the failing row is found.
        path: The path relative to the service's path, percent-encoded; empty for none.
        headers: Headers of every request; `None` for none.
        in_flight: The maximum number of requests in flight, ≥ 1.
        rate_per_s: The maximum number of rows per second, > 0; `None` for no limit.
        ordered: Whether outputs are delivered in the order of the rows.
        order_buffer: The number of requests, in addition to `in_flight`, whose finished rows may wait for an earlier
            row or for the sink, ≥ 0; `None` for 4 × `in_flight`.
        on_error: The treatment of a row that fails: `keep` delivers an `ErrorRow`, `raise` ends the job with the error.
        max_errors: The number of error rows (int), or their share (float, 0–1, considered from 100 rows on and at the
            end), above which the job ends with `TooManyErrors`; `None` for no limit.

    Raises:
        ConfigError: A value is wrong.
    """

    encode: Function | None = field(default=None, validator=_function)
    decode: Function | None = field(default=None, validator=_function)
    encode_batch: Function | None = field(default=None, validator=_function)
    decode_batch: Function | None = field(default=None, validator=_function)
    batch_size: int = field(default=1, converter=plain, validator=_number(COUNT))
    path: str = ""
    headers: Mapping[str, str] | None = None
    in_flight: int = field(default=64, converter=plain, validator=_number(COUNT))
    rate_per_s: float | None = field(default=None, converter=plain, validator=_number(Range(0, above=True, none=True)))
    ordered: bool = field(default=True, validator=_one_of(False, True))
    order_buffer: int | None = field(default=None, converter=plain, validator=_number(Range(0, whole=True, none=True)))
    on_error: Literal["keep", "raise"] = field(default="keep", validator=_one_of("keep", "raise"))
    max_errors: float | None = field(default=None, converter=plain, validator=_max_errors)

    def __attrs_post_init__(self) -> None:
        if self.batch_size == 1:
            return
        for single, several in (("encode", "encode_batch"), ("decode", "decode_batch")):
            if getattr(self, single) is not None and getattr(self, several) is None:
                raise ConfigError(f"batch_size {self.batch_size} needs {several}: {single} is a function of one row")

    def but(self, **changes: Any) -> Self:
        """Return a copy with changed settings.

        Raises:
            ConfigError: A new value is wrong.
        """
        return evolve(self, **changes)

    def shared_by(self, workers: int) -> Self:
        """Return the settings of one of several workers, so that all workers together observe the limits of the job.

        Args:
            workers: The number of workers that run at the same time, ≥ 1.

        Returns:
            A copy whose `rate_per_s` and `in_flight` are divided by `workers`; `in_flight` is at least 1.
        """
        rate = None if self.rate_per_s is None else self.rate_per_s / workers
        return self.but(rate_per_s=rate, in_flight=max(1, self.in_flight // workers))

    def codec(self) -> Codec:
        """Load the functions, and return them as a codec.

        Raises:
            ConfigError: A function that is given by name cannot be imported.
        """
        functions = [
            None if getattr(self, name) is None else load_function(name, getattr(self, name))
            for name in ("encode", "decode", "encode_batch", "decode_batch")
        ]
        return Codec(*functions, is_batched=self.batch_size > 1)

    @property
    def window(self) -> int:
        """The maximum number of rows that have been read and not delivered."""
        waiting = _ORDER_BUFFERS * self.in_flight if self.order_buffer is None else self.order_buffer
        return (self.in_flight + waiting) * self.batch_size

    @property
    def call_arguments(self) -> dict[str, Any]:
        """The keyword arguments of `predict`."""
        given = {"path": self.path, "headers": self.headers}
        return {name: value for name, value in given.items() if value}


def check_arguments(rows: object, sink: object) -> None:
    """Check the arguments of a job that are not in `JobOptions`.

    Raises:
        ConfigError: The rows are not iterable, or the sink is not callable.
    """
    check_rows(rows)
    if not callable(sink):
        raise ConfigError(f"sink must be a function of one output, got {shown(sink)}")


def check_rows(rows: object) -> None:
    """Check that rows are iterable, without reading a row.

    Raises:
        ConfigError: The rows are not iterable.
    """
    if not isinstance(rows, Iterable) and not hasattr(rows, "__getitem__"):
        raise ConfigError(f"rows must be iterable, got {shown(rows)}")
