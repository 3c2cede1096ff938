"""Virtual time: a scheduler with a heap of events, named random streams, and a hashed event log.

Times are integer nanoseconds, so that sums do not drift and equal times compare equal. Events are executed one at a
time; events with the same time are executed in the order in which they were scheduled. Exceptions of events are
collected in `errors`.
"""

from __future__ import annotations

from array import array
from collections import deque
from hashlib import blake2b
from heapq import heapify, heappop, heappush
from random import Random
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall
from zope.interface import implementer

from simulator.virtual.network.fault_points import is_injected

if TYPE_CHECKING:
    from collections.abc import Callable

NS = 1_000_000_000
EPOCH_S = 1_767_225_600
"""2026-01-01 00:00 UTC, at which virtual time begins."""
_EPOCH_NS = EPOCH_S * NS
NEVER_NS = 1 << 62
_KEPT_LINES = 2_000
_TRACE_NUMBERS = 3 * 2_048


class Host(Protocol):
    """The host of an event: a process whose reactor may stall, and whose wall clock may be wrong.

    Attributes:
        stalled_until_ns: Time until which its events wait, in virtual nanoseconds.
        clock_offset_ns: Offset of its wall clock, in nanoseconds.
    """

    stalled_until_ns: int
    clock_offset_ns: int


@implementer(IDelayedCall)
class Event:
    """A scheduled call that can be cancelled (`IDelayedCall`)."""

    __slots__ = ("_cancelled", "_done", "_scheduler", "act", "arguments", "at_ns", "host", "named")

    def __init__(
        self,
        scheduler: Scheduler,
        at_ns: int,
        act: Callable[..., Any],
        arguments: tuple[Any, ...],
        named: dict[str, Any],
        host: Host | None,
    ) -> None:
        self._scheduler = scheduler
        self.act = act
        self.arguments = arguments
        self.named = named
        self.host = host
        self._cancelled = self._done = False
        self.at_ns = at_ns

    def getTime(self) -> float:  # noqa: N802
        """Return the time of the call, in seconds of its host's clock (`IDelayedCall`)."""
        return (self.at_ns + (self.host.clock_offset_ns if self.host else 0)) / NS

    def cancel(self) -> None:
        """Cancel the call (`IDelayedCall`)."""
        self._check()
        self._cancelled = True
        # The entry stays in the heap until its time. The function and its arguments, which may be large, are freed now.
        self.act, self.arguments, self.named = _nothing, (), {}

    def delay(self, seconds: float) -> None:
        """Postpone the call by `seconds` (`IDelayedCall`)."""
        self._check()
        self._scheduler.move(self, self.at_ns + round(seconds * NS))

    def reset(self, seconds: float) -> None:
        """Reschedule the call to `seconds` from now (`IDelayedCall`)."""
        self._check()
        self._scheduler.move(self, self._scheduler.now_ns + round(seconds * NS))

    def active(self) -> bool:
        """Return whether the call is still scheduled (`IDelayedCall`)."""
        return not (self._done or self._cancelled)

    def _check(self) -> None:
        if self._cancelled:
            raise AlreadyCancelled
        if self._done:
            raise AlreadyCalled

    def __repr__(self) -> str:
        return f"<event {getattr(self.act, '__qualname__', self.act)} at {(self.at_ns - _EPOCH_NS) / NS:.6f}>"


class Scheduler:
    """The clock and the event queue of a simulation.

    Args:
        seed: Seed of every random stream.

    Attributes:
        now_ns: Nanoseconds since the epoch.
        errors: Exceptions that events have raised.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.now_ns = _EPOCH_NS
        self.errors: list[BaseException] = []
        self._tail: deque[tuple[int, str, tuple[Any, ...]]] = deque(maxlen=_KEPT_LINES)
        self._heap: list[tuple[int, int, Callable[..., Any] | None, Any]] = []
        self._made = 0
        self._streams: dict[str, Random] = {}
        self._hash = blake2b(digest_size=16)
        self._traced: list[int] = []

    def seconds(self) -> float:
        """Return the time in seconds since the epoch."""
        return self.now_ns / NS

    def elapsed(self) -> float:
        """Return the time in seconds since virtual time began."""
        return (self.now_ns - _EPOCH_NS) / NS

    def stream(self, name: str) -> Random:
        """Return the random stream with this name; its values depend on the seed and the name only."""
        if name not in self._streams:
            self._streams[name] = Random(f"{self.seed}/{name}")
        return self._streams[name]

    # -- the event log

    def log(self, what: str) -> None:
        """Append a line to the log. Every line is hashed, and the last 2,000 are kept as text."""
        self._hash.update(f"{self.now_ns} {what}\n".encode())
        self._tail.append((self.now_ns, "%s", (what,)))

    def log_often(self, number: int, what: str, *arguments: Any) -> None:
        """Append a frequent line to the log.

        Only the time, `number` and the number of arguments are hashed. The line is formatted when the log is read.
        """
        self.trace(number, len(arguments))
        self._tail.append((self.now_ns, what, arguments))

    @property
    def tail(self) -> list[str]:
        """Return the last lines of the log."""
        return [f"{(at_ns - _EPOCH_NS) / NS:.6f} {what % arguments}" for at_ns, what, arguments in self._tail]

    def trace(self, who: int, what: int) -> None:
        """Add two numbers to the hash without a line, for events that are too frequent for the log."""
        traced = self._traced
        traced += (self.now_ns, who, what)
        if len(traced) >= _TRACE_NUMBERS:
            self._hash.update(array("q", traced))
            traced.clear()

    @property
    def digest(self) -> str:
        """Return the hash of the log and the trace so far."""
        whole = self._hash.copy()
        whole.update(array("q", self._traced))
        return whole.hexdigest()

    # -- events

    @property
    def pending(self) -> list[Event]:
        """The scheduled events that can be cancelled."""
        entries = sorted(self._heap, key=lambda entry: entry[:2])
        return [event for at_ns, _, act, event in entries if act is None and event.active() and event.at_ns == at_ns]

    def call_later(self, delay_s: float, act: Callable[..., Any], *arguments: Any, **named: Any) -> Event:
        """Schedule a call after `delay_s` seconds."""
        return self.call_for(None, delay_s, act, arguments, named)

    def call_for(
        self,
        host: Host | None,
        delay_s: float,
        act: Callable[..., Any],
        arguments: tuple[Any, ...],
        named: dict[str, Any],
    ) -> Event:
        """Schedule a call on a host after `delay_s` seconds."""
        if delay_s < 0:
            raise ValueError(f"a delay must be ≥ 0, got {delay_s!r}")
        # At least 1 ns passes: otherwise a timer that is rescheduled by a difference of two floats below 1 ns could
        # repeat forever at the same time.
        at_ns = self.now_ns + (round(delay_s * NS) or 1) if delay_s else self.now_ns
        event = Event(self, at_ns, act, arguments, named, host)
        self._made = made = self._made + 1
        heappush(self._heap, (at_ns, made, None, event))
        return event

    def at(self, at_ns: int, act: Callable[..., Any], *arguments: Any) -> None:
        """Schedule a call at a time that has not passed. The call cannot be cancelled, which saves CPU time."""
        self._made = made = self._made + 1
        heappush(self._heap, (at_ns, made, act, arguments))

    def move(self, event: Event, at_ns: int) -> None:
        """Reschedule an event."""
        event.at_ns = max(at_ns, self.now_ns)
        self._push(event)

    def shift(self, host: Host, by_ns: int) -> None:
        """Shift all events of a host by `by_ns`; negative values make them earlier."""
        for event in dict.fromkeys(self.pending):
            if event.host is host:
                self.move(event, event.at_ns + by_ns)

    def drop(self, host: Host) -> None:
        """Remove all events of a host whose process was killed."""
        self._heap = [entry for entry in self._heap if entry[2] is not None or entry[3].host is not host]
        heapify(self._heap)

    def step(self, end_ns: int = NEVER_NS) -> bool:
        """Execute the next event; return `False` if there is none until `end_ns`."""
        return self._happen(end_ns, only_one=True)

    def run_until(self, done: Callable[[], bool], timeout_s: float) -> bool:
        """Execute events until `done()` is true; return `False` if it is not when `timeout_s` has passed."""
        end_ns = self.now_ns + round(timeout_s * NS)
        while not done():
            if not self.step(end_ns):
                self.now_ns = max(self.now_ns, end_ns)
                return done()
        return True

    def run_for(self, seconds: float) -> None:
        """Execute the events of the next `seconds`."""
        end_ns = self.now_ns + round(seconds * NS)
        self._happen(end_ns, only_one=False)
        self.now_ns = max(self.now_ns, end_ns)

    def _happen(self, end_ns: int, *, only_one: bool) -> bool:
        """Execute the next event, or all events until `end_ns`; return whether an event was executed.

        This is the innermost loop of a simulation, so it inlines other functions.
        """
        found = False
        # `self._heap` is read in each iteration, because an event may call `drop`, which replaces the heap.
        while (heap := self._heap) and heap[0][0] <= end_ns:
            at_ns, _, act, what = heappop(heap)
            if act is None:
                # `move` leaves the old entry of an event in the heap.
                if what._cancelled or what._done or what.at_ns != at_ns:  # noqa: SLF001  the scheduler's own
                    continue
                host = what.host
                if host is not None and host.stalled_until_ns > at_ns:
                    self.move(what, host.stalled_until_ns)
                    continue
            self.now_ns = at_ns
            found = True
            try:
                if act is None:
                    what._done = True  # noqa: SLF001
                    what.act(*what.arguments, **what.named)
                else:
                    act(*what)
            except BaseException as error:  # an `Exception` or an injected error is kept in `errors`
                if not isinstance(error, Exception) and not is_injected(error):
                    raise
                self.errors.append(error)
            if only_one:
                break
        return found

    def _push(self, event: Event) -> None:
        self._made += 1
        heappush(self._heap, (event.at_ns, self._made, None, event))


def _nothing() -> None:
    """Do nothing; replaces the function of a cancelled event."""
