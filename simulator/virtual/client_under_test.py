"""A client under test as the checkers use it: its settings as numbers, and its state.

Most of the state is public: the list of instances, the counters, and the state of discovery. Private attributes are
read by `open_inside`, `parts_of_apply`, `left_out`, `half_open` and the methods about streams.
"""

from __future__ import annotations

from collections import Counter, deque
from io import BytesIO
from math import inf
from typing import TYPE_CHECKING, Any

from simulator.virtual.network.virtual_time import NS

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.virtual.network.reactor import VirtualReactor
    from simulator.virtual.network.sockets import Address

_KEPT_VIEWS = 50
_IDLE_SLACK_S = 1.5
_LOOK_UP_S = 1.0
_TICK_S = 0.001


class ClientUnderTest:
    """A client under test.

    Args:
        number: Number of the client, from 0.
        client: The real client.
        reactor: Reactor of its host, which it may share with clients of other services.
        seconds: Returns the virtual time, in seconds; the client's wall clock may differ from it.
        is_parent: False for a child of another client.
        is_named: Whether the client has to resolve the name of its endpoint.
        is_monotonic: Whether the client uses elapsed time, on a reactor whose clock can be set.

    Attributes:
        service: Name of the service that the client calls.
        budget: Key of the retry budget; clients with an equal key share it.
        compares: Whether outlier detection may eject an instance.
        is_heard: Whether the oracle listens to the client's events.
        failed_before: Failed attempts of the call of the last `CallEnded` event. When the callbacks of a call's result
            run, the last event is the event of this call.
        eject_bound_s: Maximum length of an ejection that was doubled, in seconds, without jitter.
        eject_max_s: Maximum length of any ejection, in seconds, without jitter.
        changed_at_s: Time of the last change of the client's list, in virtual seconds.
        open_streams: Number of the client's streams, and calls with a response in pieces, that have not ended.
    """

    def __init__(
        self,
        number: int,
        client: Any,
        reactor: VirtualReactor,
        seconds: Callable[[], float],
        *,
        is_parent: bool = True,
        is_named: bool = False,
        is_monotonic: bool = False,
    ) -> None:
        self.number = number
        self.client = client
        self.service: str = client.service_name
        self.reactor = reactor
        self._seconds = seconds
        config = client.config
        self.attempts: int = config.attempts
        self.timeout_s: float = config.timeout_s
        self.backoff_base_s: float = config.backoff_base_s
        self.backoff_max_s: float = config.backoff_max_s
        self.attempt_timeout_s: float | None = config.attempt_timeout_s
        self.idle_timeout_s: float = config.idle_timeout_s
        # A call may wait for the rest of a response until its deadline.
        self.longest_idle_ns = round((max(config.idle_timeout_s, config.timeout_s) + _IDLE_SLACK_S) * NS)
        self.budget_floor: float = config.retry_budget_min_per_s * 10
        self.budget_ratio: float = config.retry_budget_ratio
        self.poll_s: tuple[float, float] = (
            config.poll_interval_s * (1 - config.poll_jitter),
            config.poll_interval_s * (1 + config.poll_jitter),
        )
        self.discovery_timeout_s: float = config.discovery_timeout_s
        # Greatest delay of the client's timers after the reactor's clock was set.
        self.tick_s = _TICK_S if is_monotonic else 0.0
        # Greatest wait for the look-up of a name that was resolved before.
        self.look_up_s = min(_LOOK_UP_S, config.discovery_timeout_s / 3) if is_named else 0.0
        self.poll_jitter: float = config.poll_jitter
        self.eject_after: int = config.eject_after
        self.eject_base_s: float = config.eject_base_s
        self.max_ejected_ratio: float = config.max_ejected_ratio
        self.eject_bound_s: float = config.eject_max_s
        self.eject_max_s: float = max(config.eject_base_s, config.eject_max_s)
        self.max_connections: int = config.max_connections_per_instance
        self.retry_on = frozenset(value if isinstance(value, int) else str(value) for value in config.retry_on)
        self.balancer: str = config.balancer
        self.subset_size: int | None = config.subset_size
        self.most_in_flight: int | None = config.max_in_flight_per_instance
        self.slow_start_s: float = config.slow_start_s
        self.compares = config.outlier_success_gap is not None or config.outlier_latency_ratio is not None
        self.drain_timeout_s: float = config.drain_timeout_s
        self.stream_buffer_bytes: int = config.stream_buffer_bytes
        self.stream_idle_timeout_s: float = config.stream_idle_timeout_s or inf
        self.hedge_after_s: float | str | None = config.hedge_after_s
        self.is_parent = is_parent
        self.calls = 0
        self.budget: object = number
        self.is_heard = False
        self.ready: Any = None
        self.failed_before: tuple[Any, ...] = ()
        self.changed_at_s = 0.0
        self.open_streams = 0
        self._stream_ended_s = -inf
        self._instances: Any = ()
        self._views: deque[tuple[float, dict[Address, float]]] = deque([(0.0, {})], maxlen=_KEPT_VIEWS)

    @property
    def retries(self) -> int:
        """Number of the client's retries."""
        return int(self.client.counters.retries.total())

    @property
    def failures(self) -> Counter[str]:
        """Number of the client's failed attempts, by the instance's address."""
        return Counter(self.client.counters.failures_at)

    @property
    def hedges(self) -> int:
        """Number of the client's hedges."""
        return int(self.client.counters.hedges)

    @property
    def ejections(self) -> int:
        """Number of the client's ejections."""
        return int(self.client.counters.ejections.total())

    def stream_began(self) -> None:
        """Count a stream."""
        self.open_streams += 1

    def stream_ended(self) -> None:
        """Count the end of a stream."""
        self.open_streams -= 1
        self._stream_ended_s = self._seconds()

    def was_occupied(self, since_s: float) -> bool:
        """Whether a stream may have occupied the only connection to an instance since `since_s`."""
        return self.max_connections == 1 and bool(self.open_streams or self._stream_ended_s >= since_s)

    def open_inside(self) -> list[str]:
        """Describe internal state that is left after all calls have ended."""
        runtime = self.client._runtime  # noqa: SLF001  this state has no public name
        calls = runtime.call_context
        deadlines = {"calls": calls.in_flight, "attempts": calls.attempt_deadlines, "hedges": calls.hedges}
        running = runtime.fleet._cluster._in_flight.total  # noqa: SLF001
        found = [f"deadlines of {name}" for name, kept in deadlines.items() if kept]
        watches = ["watches of overdue attempts"] if runtime.fleet._watches else []  # noqa: SLF001
        return [*found, *watches, *(["calls in flight"] if running else [])]

    # -- streams, whose buffers and timers have no public name

    @staticmethod
    def unread_bytes(stream: Any) -> int:
        """Return the number of bytes that a stream has buffered for its reader."""
        pieces = stream._body._pieces  # noqa: SLF001
        return sum(piece.getbuffer().nbytes if isinstance(piece, BytesIO) else len(piece) for piece in pieces)

    @staticmethod
    def has_ended(stream: Any) -> bool:
        """Whether a stream's body has ended; its reader may still have to read a part of it."""
        return stream._body.outcome is not None  # noqa: SLF001

    @staticmethod
    def is_whole(stream: Any) -> bool:
        """Whether the last byte of a stream's body has arrived."""
        return str(getattr(stream._body.outcome, "attempt_status", "")) == "answered"  # noqa: SLF001

    @staticmethod
    def is_waiting(stream: Any) -> bool:
        """Whether the reader of a stream waits for a piece."""
        return stream._body._reader is not None  # noqa: SLF001

    @staticmethod
    def timers_of(stream: Any) -> list[Any]:
        """Return the pending timers of a stream."""
        timers = (stream._body._idle_timer, stream._body._total_timer)  # noqa: SLF001
        return [timer for timer in timers if timer is not None and timer.active()]

    def parts_of_apply(self) -> dict[str, tuple[Any, str]]:
        """Return the steps by which the client applies a list, each as an object and the name of its method."""
        cluster = self.client._runtime.fleet._cluster  # noqa: SLF001  the steps have no public names
        return {
            "balancer": (cluster._balancer, "update"),  # noqa: SLF001
            "health": (cluster._health, "set_fleet"),  # noqa: SLF001
            "slow start": (cluster._slow_start, "begin"),  # noqa: SLF001
        }

    @property
    def left_out(self) -> tuple[Address, ...]:
        """Ejected, probed and suspected instances, the longest untried first; no event reports a suspected instance."""
        found: tuple[Address, ...] = tuple(self.client._runtime.fleet._cluster._health.left_out)  # noqa: SLF001
        return found

    @property
    def half_open(self) -> tuple[Address, ...]:
        """Instances whose ejection is over and to which no probe has been sent yet."""
        found: tuple[Address, ...] = tuple(self.client._runtime.fleet._cluster._health.half_open)  # noqa: SLF001
        return found

    def number_of_timers(self) -> int:
        """Return the number of pending timers on the client's host."""
        return len(self.reactor.getDelayedCalls())

    @property
    def seen(self) -> dict[Address, float]:
        """The client's list at the last call of `look`, which happens at least once a second."""
        return self._views[-1][1]

    @property
    def view(self) -> dict[Address, float]:
        """The client's list of instances now: address to weight."""
        self.look()
        return self._views[-1][1]

    def look(self) -> bool:
        """Record the client's current list; return whether it has changed."""
        instances = self.client.instances
        if instances is self._instances:
            return False
        self._instances = instances
        view = {instance.key: instance.weight for instance in instances}
        if view == self._views[-1][1]:
            return False
        self.changed_at_s = self._seconds()
        self._views.append((self.changed_at_s, view))
        return True

    def steady_since(self, since_s: float) -> set[Address]:
        """Return the addresses that have been in the client's list since `since_s`, with a weight above 0."""
        self.look()
        steady: set[Address] | None = None
        for at_s, view in reversed(self._views):
            there = {address for address, weight in view.items() if weight > 0}
            steady = there if steady is None else steady & there
            if at_s <= since_s:
                break
        return steady or set()
