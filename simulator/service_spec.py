"""The specification of a service: the initial state of its fleet, which a reset restores."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from simulator.captures import MAX_BODY_BYTES
from simulator.durations import Duration, DurationError
from simulator.queues.queue import PAYLOAD_BYTES
from simulator.queues.store import MAX_LENGTH

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from simulator.processors import Processor

_LLM = re.compile(r"(^|\+)llm($|[:+])")
_NAME = re.compile(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*")
TOKEN_PATTERN = r"^([!-~]([\t -~]*[!-~])?)?$"  # noqa: S105  a pattern, no token
"""Tokens that a request can carry: RFC 9110 §5.5 without obs-text. The client refuses other tokens, too."""
MAX_INSTANCES = 10_000
MAX_WORKERS = 10_000
MAX_QUEUE = 1_000_000
MAX_RATE = 1e6
MAX_FRAMES = 1_000_000
MAX_PAYLOAD_BYTES = 64 * 2**20
WORKERS, QUEUE, KEEPALIVE_S = 5, 64, 5.0
"""Defaults of EAS: worker threads, length of the queue, and `rpc.keepalive` in seconds."""
LLM_WORKERS, LLM_KEEPALIVE_S = 256, 600.0
"""Defaults of the processor `llm`, which computes many answers at a time (vLLM's `max_num_seqs`), each slowly."""

GATEWAY_MODES = ("fail", "retry", "avoid")
"""Modes of the gateway for the case that an instance refuses the connection.

1. `fail`: the gateway answers 502.
2. `retry`: the gateway tries the other registered instances.
3. `avoid`: the gateway does not choose instances that refuse connections.
"""


class SpecError(ValueError):
    """Raised for an invalid specification; the text has the reason."""


def _duration(given: Any) -> Duration:
    try:
        return Duration.parse(given)
    except DurationError as error:
        raise SpecError(f"processing: {error}") from None


@frozen
class ServiceSpec:
    """A service to simulate.

    Attributes:
        name: `service` or `group/service`.
        instances: Number of instances.
        weights: Weights of the first, second, … instance; 100 for the others.
        token: Token that requests must have, in visible ASCII; empty for none.
        processor: A name that `processors.find` accepts, or a callable; empty to choose by the service's name.
        workers: Number of requests that an instance computes at a time; by default `WORKERS`, or `LLM_WORKERS` with the
            processor `llm`.
        queue: Number of requests that wait for a worker; further ones are answered with 450.
        processing: Time that a worker takes before the processor runs: an argument of `Duration.parse`.
        keepalive_s: Seconds, queueing included, after which an unanswered request is answered with 408 and its
            connection closed; 0 for no limit. By default `KEEPALIVE_S`, or `LLM_KEEPALIVE_S` with the processor `llm`.
        rate_limit: Requests per second that an instance accepts; further ones are answered with 429. `None` for no
            limit.
        zones: Availability zones, to which the instances are assigned round robin.
        gateway: Mode of the gateway when an instance refuses connections: one of `GATEWAY_MODES`.
        capture_bytes: Bytes of each request's and response's body that the journal stores, with the headers; `None` to
            store neither.
        queue_service: Whether requests are put into an input queue, and results into the queue `/sink`.
        queue_workers: Whether the instances of a queue service compute frames. If not, only clients use both queues.
        input_length: Maximum number of frames of the input queue; further ones are answered with 429.
        sink_length: Maximum number of frames of the sink; workers wait while it is full.
        max_payload_bytes: Maximum payload of a frame, in bytes; larger ones are answered with 413.
    """

    name: str
    instances: int = 3
    weights: Sequence[float] = ()
    token: str = field(default="", repr=False)
    processor: str | Processor = ""
    workers: int = field()
    queue: int = QUEUE
    processing: Duration = field(factory=Duration, converter=_duration)
    keepalive_s: float = field()
    rate_limit: float | None = None
    zones: Sequence[str] = ()
    gateway: str = "fail"
    capture_bytes: int | None = None
    queue_service: bool = False
    queue_workers: bool = True
    input_length: int = MAX_LENGTH
    sink_length: int = MAX_LENGTH
    max_payload_bytes: int = PAYLOAD_BYTES

    @workers.default
    def _default_workers(self) -> int:
        return LLM_WORKERS if self._is_llm else WORKERS

    @keepalive_s.default
    def _default_keepalive(self) -> float:
        return LLM_KEEPALIVE_S if self._is_llm else KEEPALIVE_S

    @property
    def _is_llm(self) -> bool:
        name = self.processor if isinstance(self.processor, str) else type(self.processor).__name__.lower()
        return _LLM.search(name) is not None

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise SpecError(f"service name must be letters, digits and ._- (and /), got {self.name!r}")
        self._check("instances", 0, MAX_INSTANCES)
        self._check("workers", 1, MAX_WORKERS)
        self._check("queue", 0, MAX_QUEUE)
        self._check("keepalive_s", 0, 86_400, whole=False)
        if self.rate_limit is not None:
            self._check("rate_limit", 0.001, MAX_RATE, whole=False)
        if self.gateway not in GATEWAY_MODES:
            raise SpecError(f"gateway must be {', '.join(GATEWAY_MODES)}, got {self.gateway!r}")
        if self.capture_bytes is not None:
            self._check("capture_bytes", 0, MAX_BODY_BYTES)
        for name in ("queue_service", "queue_workers"):
            if not isinstance(getattr(self, name), bool):
                raise SpecError(f"service {self.name}: {name} must be true or false, got {getattr(self, name)!r}")
        self._check("input_length", 1, MAX_FRAMES)
        self._check("sink_length", 1, MAX_FRAMES)
        self._check("max_payload_bytes", 1, MAX_PAYLOAD_BYTES)
        self._check_lists()

    def _check_lists(self) -> None:
        if not isinstance(self.token, str) or not re.fullmatch(TOKEN_PATTERN, self.token):
            raise SpecError(
                f"service {self.name}: token must be a string of visible ASCII, without blanks at its ends; "
                "no request could carry the one given (it is not shown here)"
            )
        if not isinstance(self.weights, list | tuple):
            raise SpecError(f"service {self.name}: weights must be a list of numbers, got {self.weights!r}")
        if len(self.weights) > self.instances:
            raise SpecError(f"service {self.name}: {len(self.weights)} weights for {self.instances} instances")
        for weight in self.weights:
            check_weight(weight)
        zones = self.zones
        if not isinstance(zones, list | tuple) or not all(isinstance(zone, str) and zone for zone in zones):
            raise SpecError(f"service {self.name}: zones must be a list of names, got {zones!r}")

    def _check(self, name: str, low: float, high: float, *, whole: bool = True) -> None:
        value = getattr(self, name)
        kinds = int if whole else (int, float)
        if not isinstance(value, kinds) or isinstance(value, bool) or not low <= value <= high:
            noun = "a whole number" if whole else "a number"
            raise SpecError(f"service {self.name}: {name} must be {noun} from {low:g} to {high:g}, got {value!r}")

    def weight(self, number: int) -> float:
        """Return the weight of the instance with this number."""
        return self.weights[number] if number < len(self.weights) else 100

    def zone(self, number: int) -> str:
        """Return the zone of the instance with this number."""
        return self.zones[number % len(self.zones)] if self.zones else ""


def check_new_name(name: str, known: Iterable[str]) -> None:
    """Check that a service's name, and the ids of its instances, differ from those of other services.

    Raises:
        SpecError: Another service has the name, or differs only by a dot for the slash, as `group.service`, which EAS
            writes for `group/service`, too.
    """
    for other in known:
        if other == name:
            raise SpecError(f"service {name} is named twice")
        if other.replace("/", ".") == name.replace("/", "."):
            raise SpecError(f"service {name}: its instances would have the ids of those of {other}")


DEFAULT_SERVICES = (ServiceSpec("mnist_saved_model_example"),)
"""The services that are simulated when none are specified."""


def check_weight(weight: Any) -> float:
    """Validate a weight; raise `SpecError` if it is invalid."""
    if isinstance(weight, int | float) and not isinstance(weight, bool) and 0 <= weight <= 2**31 - 1:
        return weight
    raise SpecError(f"weight must be a number ≥ 0, got {weight!r}")
