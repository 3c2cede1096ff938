"""The client's settings, each with its unit, range and default.

A `ClientConfig` checks its values when it is created and is immutable, so no other module checks them again.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, Literal

from attrs import evolve, field, frozen

from eas_tw.display import shown
from eas_tw.errors import ConfigError
from eas_tw.policy.balancers import BALANCERS
from eas_tw.policy.hash_balancer import DEFAULT_LOAD_FACTOR
from eas_tw.policy.outcomes import AttemptStatus
from eas_tw.policy.retry import DEFAULT_RETRY_ON
from eas_tw.ranges import COUNT, POSITIVE, Range, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from attrs import Attribute

    from eas_tw.policy.balancers import BalancerFactory
    from eas_tw.policy.filtering import InstanceFilter

    Check = Callable[[Any, Attribute[Any], Any], None]

ENDPOINT_TYPE_DEFAULT = "DEFAULT"
"""Calls go through the gateway, whose address is the endpoint."""
ENDPOINT_TYPE_DIRECT = "DIRECT"
"""Calls go directly to the instances; the endpoint is the control plane, which has their list."""
ENDPOINT_TYPE_VIPSERVER = "VIPSERVER"
"""Calls go directly to the instances; VIPServer has their list (internal clusters)."""
ENDPOINT_TYPE_FIXED = "FIXED"
"""Calls go directly to a list of instances that the program passes; there is no discovery."""

ENDPOINT_TYPES = (ENDPOINT_TYPE_DIRECT, ENDPOINT_TYPE_DEFAULT, ENDPOINT_TYPE_VIPSERVER, ENDPOINT_TYPE_FIXED)

COMPRESSIONS = ("gzip", "lz4", "lz4-block", "snappy", "zlib", "zstd")
"""The codecs for bodies; `lz4` is the frame format, `lz4-block` a single block, `snappy` the format without frames."""


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
    """Convert names to `AttemptStatus`, and check HTTP statuses.

    The default is returned as the same object, because `RetryPolicy.through_gateway` extends only the default.
    """
    if values is DEFAULT_RETRY_ON:
        return DEFAULT_RETRY_ON
    try:
        listed = None if isinstance(values, str) else tuple(values)
    except TypeError:
        listed = None
    if listed is None:
        raise ConfigError(f'retry_on must be a list such as ["lost", 503], got {shown(values)}')
    return frozenset(map(_attempt_status, listed))


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
    """Convert an `os.PathLike` to text, and return any other value unchanged."""
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _path_or_none(_: object, attribute: Attribute[Any], value: Any) -> None:
    if value is not None and not (isinstance(value, str) and value and "\0" not in value):
        raise ConfigError(f"{attribute.name} must be a path as text, or None, got {shown(value)}")


def _balancer(_: object, attribute: Attribute[Any], value: Any) -> None:
    if isinstance(value, str) and value in BALANCERS:
        return
    if isinstance(value, str) or not callable(value):
        names = ", ".join(map(repr, BALANCERS))
        raise ConfigError(
            f"{attribute.name} must be one of {names}, or a class or function that returns a Balancer, "
            f"got {shown(value)}"
        )


def _callable_or_none(_: object, attribute: Attribute[Any], value: Any) -> None:
    if value is not None and not callable(value):
        raise ConfigError(f"{attribute.name} must be a function of an Instance, or None, got {shown(value)}")


def _hedge_after(_: object, attribute: Attribute[Any], value: Any) -> None:
    if isinstance(value, str):
        if value not in ("p95", "late"):
            raise ConfigError(f'{attribute.name} must be a number > 0, "p95", "late" or None, got {shown(value)}')
    else:
        _positive_or_none(_, attribute, value)


@frozen(kw_only=True)
class ClientConfig:
    """Settings of a client. Durations are in seconds, sizes in bytes.

    Attributes:
        poll_interval_s: The time between two discovery polls, > 0. The vendor's documentation recommends about 5 s.
        poll_jitter: The relative jitter of the poll interval, 0–1; with 0.1 each interval is drawn from ±10 %, so that
            many processes do not poll at the same time.
        discovery_timeout_s: The maximum duration of one discovery request with its whole reply, > 0.
        max_discovery_bytes: The maximum size of a discovery reply, ≥ 1.
        discovery_path: The path template of discovery requests, with `{service}`; `None` tries the documented path
            first, and the newer path if the documented path is not found.
        init_timeout_s: The maximum time that `init` waits for the first valid list, > 0; `None` for no limit.
        timeout_s: The deadline of a call, > 0. It covers queueing, connecting, sending and waiting, in all attempts,
            and the backoff between them.
        connect_timeout_s: The maximum time to open a connection, > 0.
        attempt_timeout_s: The maximum duration of one attempt, > 0, so that an instance that does not answer leaves
            time for another attempt; `None` for no limit except the call's deadline.
        attempts: The maximum number of attempts of a call, ≥ 1, including the first. While another instance is left
            to try, attempts that never reached an instance and attempts whose instance is silent are not counted. With
            1, a request that was sent is never sent again. A 502 from a gateway counts as a quarter of an attempt.
        hedge_after_s: The time after which a call without a response is also sent to a second instance; the first good
            response is used. Hedges are bounded by the retry budget.

            1. A number of seconds, > 0: after this time.
            2. `"p95"`: after the 95th percentile of recent latencies.
            3. `"late"`: only if the call is late or its instance is silent.
            4. `None`: never.

            1 and 2 include the cases of 3. A call is late when half or three quarters of `timeout_s` have passed, and
            the service usually answers within an eighth of `timeout_s`. An instance is silent when it has sent nothing
            for three times the 99th percentile of recent latencies; this is checked when a sixteenth of `timeout_s` has
            passed.
        retry_on: The attempt statuses (by name) and HTTP statuses (by number) that are retried on another instance. For
            a gateway the default also contains 502 and 504, which report a failed instance behind it. A set that the
            program passes is used for every endpoint type.
        retry_budget_ratio: The maximum number of retries and hedges, as a share of the calls of the last 10 s, ≥ 0.
            `retry_budget_min_per_s` is added to this maximum. Attempts that never reached an instance are not counted.
        retry_budget_min_per_s: The number of retries and hedges per second that the budget allows in addition to
            `retry_budget_ratio`, ≥ 0.
        backoff_base_s: The maximum of the first backoff, ≥ 0; the backoff is drawn between 0 and the maximum (full
            jitter), and the maximum doubles with each attempt.
        backoff_max_s: The upper limit of all backoffs, ≥ 0.
        eject_after: The number of consecutive failures (timeouts, lost connections, 5xx) that eject an instance, ≥ 1.
        eject_base_s: The duration of the first ejection for consecutive failures, > 0. It doubles with each further
            ejection. A failed connect, and silence while other instances answer, eject an instance immediately, for 1 s
            the first time.
        eject_max_s: The maximum duration of an ejection, > 0.
        max_ejected_ratio: The maximum share of the fleet that is ejected for consecutive failures at the same time,
            0–1. Instances that cannot be connected to, or are silent, are ejected even if the limit is
            reached. 0 disables all ejections.
        balancer: The load-balancing policy.

            1. `"wrr"`: weighted round robin.
            2. `"p2c"`: power of two choices, the less loaded of two random instances (latency and calls in flight, by
               weight); it suits instances of different speed.
            3. `"hash"`: weighted rendezvous hashing of the call's `key`, with bounded load; calls of the same key go to
               the same instance. Weighted round robin is used for calls without a key.
            4. A class or function that is called with a `random.Random` and returns a `Balancer`.
        hash_load_factor: The maximum number of calls in flight of an instance with `"hash"`, as a multiple of its fair
            share, ≥ 1. Above it, a key's call is sent to the next instance in the key's order.
        instance_filter: A function of an `Instance` that returns whether to use it, such as by its `app`; `None` for
            all. A filter that would leave no instance, or raises an exception, is ignored with a warning.
        subset_size: The number of instances of a large list that this client uses, ≥ 1; each process chooses its subset
            by a hash. `None` for all instances.
        max_in_flight_per_instance: The number of this client's calls in flight at which an instance is skipped while
            another instance has fewer, ≥ 1; `None` for no limit except the connections.
        slow_start_s: The time during which the share of a new or returned instance grows, ≥ 0; 0 for the full share
            immediately.
        outlier_success_gap: The difference between the fleet's median success rate and that of an instance, 0–1, above
            which the instance is ejected; `None` to disable.
        outlier_latency_ratio: The ratio of an instance's latency of good responses to the fleet's median, > 1, above
            which the instance is ejected; `None` to disable.
        max_connections_per_instance: The maximum number of connections to one instance, ≥ 1; further calls wait in the
            pool's queue.
        idle_timeout_s: The time after which an idle connection is closed, > 0 (the vendor's gateway closes at 30 s).
        max_waiting: The maximum length of the queue of one instance's pool, ≥ 0. Further calls go to another instance,
            or fail immediately with `Overloaded`. The same applies to calls whose deadline would pass in the queue at
            its current speed.
        max_response_bytes: The maximum size of a response's body, both as received and decompressed, ≥ 1.
        max_head_bytes: The maximum size of a response's head, ≥ 1.
        drain_timeout_s: The maximum time that `close` waits for calls in flight before it cancels them, ≥ 0.
        auth: The authentication method: `"signature"` signs each request, `"token"` sends the token itself, and
            `"bearer"` sends it as `Authorization: Bearer`, which language model servers expect.
        stream_idle_timeout_s: The maximum time between two pieces of a stream, > 0; `None` for no limit.
        stream_buffer_bytes: The number of unread bytes of a stream, ≥ 1, above which the client stops reading from the
            connection, so that TCP flow control stops the instance.
        queue_watch: The protocol with which a `QueueClient` watches a queue: `"websocket"`, or `"http"` for services
            and proxies without WebSocket. With `"http"` a lost connection may be detected late.
        trust_roots: The path of a PEM file with the certificate authorities to trust for https; `None` for the
            platform's authorities.
        snapshot_path: The directory for a disk copy of the list, for a start without discovery; `None` for no copy.
        compress: The codec for request bodies, one of `COMPRESSIONS`; it must match the service's
            `rpc.decompressor`. The signature covers the compressed body. `None` for no compression. All codecs but
            gzip and zlib need the extra `compression`.
        decompress: The codec of all response bodies except streams, one of `COMPRESSIONS`, for a service that
            compresses its responses and sends no Content-Encoding; a Content-Encoding is ignored. `None` to decompress
            according to the Content-Encoding.
        seed: The seed of the client's random choices (jitter, rotation start), so that they can be repeated; `None` for
            an unpredictable seed.
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
    balancer: Literal["wrr", "p2c", "hash"] | BalancerFactory = field(default="wrr", validator=_balancer)
    hash_load_factor: float = field(default=DEFAULT_LOAD_FACTOR, converter=plain, validator=_number(Range(1)))
    instance_filter: InstanceFilter | None = field(default=None, validator=_callable_or_none)
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
    queue_watch: Literal["websocket", "http"] = field(default="websocket", validator=_one_of("websocket", "http"))
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
        """Return a copy with changed settings.

        Args:
            changes: New values, by the setting's name.

        Raises:
            ConfigError: A new value is wrong.
        """
        return evolve(self, **changes)
