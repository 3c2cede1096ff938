"""Every knob of the client: its unit, its range, its default; checked when the config is made, and never again."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

from attrs import evolve, field, frozen

from eas_tw.display import shown
from eas_tw.errors import ConfigError
from eas_tw.policy.outcomes import AttemptStatus
from eas_tw.policy.retry import DEFAULT_RETRY_ON
from eas_tw.ranges import COUNT, POSITIVE, Range, plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from attrs import Attribute

    Check = Callable[[Any, Attribute[Any], Any], None]

ENDPOINT_TYPE_DEFAULT = "DEFAULT"
"""Through the gateway: the endpoint itself answers predictions."""
ENDPOINT_TYPE_DIRECT = "DIRECT"
"""Straight to the instances; the endpoint only says which they are."""
ENDPOINT_TYPE_VIPSERVER = "VIPSERVER"
"""Straight to the instances, found through VIPServer (internal clusters)."""
ENDPOINT_TYPE_FIXED = "FIXED"
"""Straight to a list of instances given by the program; there is no discovery."""

ENDPOINT_TYPES = (ENDPOINT_TYPE_DIRECT, ENDPOINT_TYPE_DEFAULT, ENDPOINT_TYPE_VIPSERVER, ENDPOINT_TYPE_FIXED)

COMPRESSIONS = ("gzip", "lz4", "lz4-block", "snappy", "zlib", "zstd")
"""What bodies may be compressed with; `lz4` is the frame format, `lz4-block` one bare block, `snappy` bare as well."""


def _number(allowed: Range) -> Check:
    def check(_: object, attribute: Attribute[Any], value: Any) -> None:
        allowed.check(attribute.name, value)

    return check


def _one_of(*allowed: str, none: bool = False) -> Check:
    def check(_: object, attribute: Attribute[Any], value: Any) -> None:
        if not (isinstance(value, str) and value in allowed) and not (none and value is None):
            rest = ", or None" if none else ""
            names = ", ".join(map(repr, allowed))
            raise ConfigError(f"{attribute.name} must be one of {names}{rest}, got {shown(value)}")

    return check


_STATUS = Range(100, 599, whole=True)
_DISCOVERY_PATH = re.compile(r"/(?:[!-z|~]|\{service\})*")  # visible ASCII; braces around the service's name only


def _retry_on(values: Iterable[AttemptStatus | str | int]) -> frozenset[AttemptStatus | int]:
    """Conditions by name, statuses by number; the default is left as it is, since it differs by endpoint type."""
    if values is DEFAULT_RETRY_ON:
        return DEFAULT_RETRY_ON
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ConfigError(f'retry_on must be a list such as ["lost", 503], got {shown(values)}')
    return frozenset(map(_attempt_status, values))


def _attempt_status(given: AttemptStatus | str | int) -> AttemptStatus | int:
    value = plain(given)
    try:
        if isinstance(value, str):
            return AttemptStatus(value)
        _STATUS.check("a status", value)
    except ValueError:
        names = ", ".join(attempt_status.value for attempt_status in AttemptStatus)
        raise ConfigError(
            f"retry_on takes HTTP statuses from 100 to 599 and attempt statuses ({names}), got {shown(given)}"
        ) from None
    return value  # type: ignore[no-any-return]  # a whole number


_positive = _number(POSITIVE)
_positive_or_none = _number(Range(0, above=True, none=True))
_not_negative = _number(Range(0))
_share = _number(Range(0, 1))
_count = _number(COUNT)
_count_or_none = _number(Range(1, whole=True, none=True))


def _path(value: Any) -> Any:
    """A path as text."""
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _path_or_none(_: object, attribute: Attribute[Any], value: Any) -> None:
    if value is not None and not (isinstance(value, str) and value and "\0" not in value):
        raise ConfigError(f"{attribute.name} must be a path as text, or None, got {shown(value)}")


def _hedge_after(_: object, attribute: Attribute[Any], value: Any) -> None:
    if isinstance(value, str):
        if value not in ("p95", "late"):
            raise ConfigError(f'{attribute.name} must be a number > 0, "p95", "late" or None, got {shown(value)}')
    else:
        _positive_or_none(_, attribute, value)


@frozen(kw_only=True)
class ClientConfig:
    """How a client behaves. Durations are seconds, sizes bytes.

    Attributes:
        poll_interval_s: Time between two discovery polls (the vendor's first rule: about every 5 s).
        poll_jitter: Each interval is drawn from ± this share, so that many processes do not poll together; 0–1.
        discovery_timeout_s: Bound on one discovery request, head and body.
        max_discovery_bytes: Bound on a discovery reply.
        discovery_path: The path template to use, with `{service}`; `None` tries the documented one, then the newer one.
        init_timeout_s: How long `init` waits for the first good list; `None` waits on.
        timeout_s: The one deadline of a call: queueing, connecting, sending, waiting, every attempt and pause.
        connect_timeout_s: Bound on opening a connection.
        attempt_timeout_s: Bound on one attempt, so that a silent instance leaves time for another; `None` for no bound
            but the call's deadline.
        attempts: The most attempts of one call, the first included. Not counted while there is another instance to
            try: those that never reached an instance, and those whose instance is silent; with 1 nothing that was sent
            is sent again. A 502 of a gateway costs a quarter of one.
        hedge_after_s: A call without an answer after this long is sent to a second instance, too, and the first good
            answer wins; `"p95"` takes the running 95th percentile of latencies. With either, and with `"late"` in
            these cases only, a call goes on to one more instance when its instance is silent: it has said nothing for
            three times as long as 99 of 100 answers take (looked at from a sixteenth of `timeout_s` on); or when it is
            late: half of `timeout_s` is over, or three quarters, of a service that usually answers within an eighth of
            it. `None` sends to one at a time. Hedges use up the retry budget.
        retry_on: Conditions (by name) and statuses (by number) that are tried on another instance. The default through
            a gateway has 502 and 504 besides, with which it speaks of an instance behind it; a set of one's own holds
            everywhere.
        retry_budget_ratio: Retries may be this share of the calls of the last 10 s, …
        retry_budget_min_per_s: … plus this many a second. Attempts that never reached an instance are not counted.
        backoff_base_s: Ceiling of the first pause (full jitter); it doubles with each attempt.
        backoff_max_s: Ceiling of every pause.
        eject_after: Consecutive failures (timeouts, lost connections, 5xx) that leave an instance out for a while.
        eject_base_s: How long the first such ejection lasts; a failed connect, and silence while others answer, eject
            at once, for 1 s at first. Doubles.
        eject_max_s: The longest ejection.
        max_ejected_ratio: The largest share of the fleet that is ejected at a time for such failures in a row; any
            number may be out because no connection can be made, or for silence. 0 switches ejection off.
        balancer: How an instance is picked: `"wrr"`, weighted round robin, or `"p2c"`, the less loaded of two drawn
            ones (latency and calls in flight by weight), for instances that differ in speed.
        subset_size: Use this many instances of a large list only, chosen by this process's own hash; `None` for all.
        max_in_flight_per_instance: Pass over instances that have this many calls of this client already, while
            another has fewer; `None` for no bound but the connections.
        slow_start_s: New and returned instances get their share little by little over this time; 0 for at once.
        outlier_success_gap: Eject instances whose share of good answers is lower than the fleet's median by more than
            this, 0–1; `None` for not.
        outlier_latency_ratio: Eject instances whose good answers take more than this many times the fleet's median,
            > 1; `None` for not.
        max_connections_per_instance: Bound on the connections to one instance; further calls wait in line.
        idle_timeout_s: An idle connection is closed after this long (the vendor's gateway does so at 30 s).
        max_waiting: The most calls that may wait in line for one instance's connections; more go to another instance,
            or fail as `Overloaded`, at once. So do calls whose deadline would pass in the line, at the line's pace.
        max_response_bytes: Bound on a response's body, as it comes and as it is decompressed.
        max_head_bytes: Bound on a response's head.
        drain_timeout_s: How long `close` lets calls in flight finish before it cancels them.
        auth: `"signature"` signs each request; `"token"` sends the token itself; `"bearer"` sends it as
            `Authorization: Bearer`, which language model servers expect.
        stream_idle_timeout_s: The longest silence between two pieces of a stream; `None` for no bound.
        stream_buffer_bytes: Unread bytes of a stream above which its instance is made to wait.
        trust_roots: A PEM file of the authorities to trust for https; `None` for the platform's.
        snapshot_path: A directory to keep a copy of the list in, for a start without discovery; `None` for none.
        compress: Requests are compressed so, for a service whose `rpc.decompressor` says so, and signed as sent;
            `None` for not at all. One of `COMPRESSIONS`; all but gzip and zlib need the extra `compression`.
        decompress: Responses are compressed so although they do not say it; `None` goes by their Content-Encoding.
        seed: Makes the client's randomness (jitter, rotation start) repeatable; `None` for true randomness.
    """

    poll_interval_s: float = field(default=5.0, converter=plain, validator=_positive)
    poll_jitter: float = field(default=0.1, converter=plain, validator=_share)
    discovery_timeout_s: float = field(default=3.0, converter=plain, validator=_positive)
    max_discovery_bytes: int = field(default=16 * 2**20, converter=plain, validator=_count)
    discovery_path: str | None = field(default=None)
    init_timeout_s: float | None = field(default=30.0, converter=plain, validator=_positive_or_none)
    timeout_s: float = field(default=5.0, converter=plain, validator=_positive)
    connect_timeout_s: float = field(default=1.0, converter=plain, validator=_positive)
    attempt_timeout_s: float | None = field(default=None, converter=plain, validator=_positive_or_none)
    attempts: int = field(default=3, converter=plain, validator=_count)
    hedge_after_s: float | Literal["p95", "late"] | None = field(
        default="late", converter=plain, validator=_hedge_after
    )
    retry_on: frozenset[AttemptStatus | int] = field(default=DEFAULT_RETRY_ON, converter=_retry_on)
    retry_budget_ratio: float = field(default=0.2, converter=plain, validator=_not_negative)
    retry_budget_min_per_s: float = field(default=10.0, converter=plain, validator=_not_negative)
    backoff_base_s: float = field(default=0.025, converter=plain, validator=_not_negative)
    backoff_max_s: float = field(default=0.25, converter=plain, validator=_not_negative)
    eject_after: int = field(default=5, converter=plain, validator=_count)
    eject_base_s: float = field(default=30.0, converter=plain, validator=_positive)
    eject_max_s: float = field(default=60.0, converter=plain, validator=_positive)
    max_ejected_ratio: float = field(default=0.5, converter=plain, validator=_share)
    balancer: Literal["wrr", "p2c"] = field(default="wrr", validator=_one_of("wrr", "p2c"))
    subset_size: int | None = field(default=None, converter=plain, validator=_count_or_none)
    max_in_flight_per_instance: int | None = field(default=None, converter=plain, validator=_count_or_none)
    slow_start_s: float = field(default=0.0, converter=plain, validator=_not_negative)
    outlier_success_gap: float | None = field(default=None, converter=plain, validator=_number(Range(0, 1, none=True)))
    outlier_latency_ratio: float | None = field(
        default=None, converter=plain, validator=_number(Range(1, above=True, none=True))
    )
    max_connections_per_instance: int = field(default=100, converter=plain, validator=_count)
    idle_timeout_s: float = field(default=30.0, converter=plain, validator=_positive)
    max_waiting: int = field(default=10_000, converter=plain, validator=_number(Range(0, whole=True)))
    max_response_bytes: int = field(default=256 * 2**20, converter=plain, validator=_count)
    max_head_bytes: int = field(default=64 * 2**10, converter=plain, validator=_count)
    drain_timeout_s: float = field(default=5.0, converter=plain, validator=_not_negative)
    auth: Literal["signature", "token", "bearer"] = field(
        default="signature", validator=_one_of("signature", "token", "bearer")
    )
    stream_idle_timeout_s: float | None = field(default=30.0, converter=plain, validator=_positive_or_none)
    stream_buffer_bytes: int = field(default=64 * 2**10, converter=plain, validator=_count)
    trust_roots: str | None = field(default=None, converter=_path, validator=_path_or_none)
    snapshot_path: str | None = field(default=None, converter=_path, validator=_path_or_none)
    compress: str | None = field(default=None, validator=_one_of(*COMPRESSIONS, none=True))
    decompress: str | None = field(default=None, validator=_one_of(*COMPRESSIONS, none=True))
    seed: int | None = field(default=None, converter=plain, validator=_number(Range(-(2**63), whole=True, none=True)))

    @discovery_path.validator
    def _check_discovery_path(self, _: object, value: str | None) -> None:
        if value is None:
            return
        if not isinstance(value, str) or not _DISCOVERY_PATH.fullmatch(value) or "{service}" not in value:
            raise ConfigError(f'discovery_path must look like "/…/{{service}}", got {shown(value)}')

    def but(self, **changes: Any) -> ClientConfig:
        """A copy with some settings changed, checked like a new one."""
        return evolve(self, **changes)
