"""Virtual time: one heap of events, taken one at a time; chance in named streams; an event log that is hashed.

Time is whole nanoseconds, so that sums never drift and equal times compare equal; ties are taken in the order in which
they were made. What an event raises is kept in `errors` for whoever runs the scheduler: nothing is swallowed.
"""

from __future__ import annotations

from collections import deque
from hashlib import blake2b
from heapq import heappop, heappush
from random import Random
from typing import TYPE_CHECKING, Any

from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall
from zope.interface import implementer

if TYPE_CHECKING:
    from collections.abc import Callable

NS = 1_000_000_000
EPOCH_S = 1_767_225_600
"""2026-01-01 00:00 UTC, where virtual time begins."""
_KEPT_LINES = 200


@implementer(IDelayedCall)
class Event:
    """Something that will happen; a `DelayedCall` to those who made it."""

    __slots__ = ("_act", "_arguments", "_cancelled", "_done", "_named", "_scheduler", "at_ns")

    def __init__(
        self,
        scheduler: Scheduler,
        at_ns: int,
        act: Callable[..., Any],
        arguments: tuple[Any, ...],
        named: dict[str, Any],
    ) -> None:
        self._scheduler = scheduler
        self._act = act
        self._arguments = arguments
        self._named = named
        self._cancelled = self._done = False
        self.at_ns = at_ns

    def run(self) -> None:
        """Happen."""
        self._done = True
        self._act(*self._arguments, **self._named)

    def getTime(self) -> float:  # noqa: N802
        """When, in seconds (`IDelayedCall`)."""
        return self.at_ns / NS

    def cancel(self) -> None:
        """Not to happen (`IDelayedCall`)."""
        self._check()
        self._cancelled = True

    def delay(self, seconds: float) -> None:
        """Happen so much later (`IDelayedCall`)."""
        self._check()
        self._scheduler.move(self, self.at_ns + round(seconds * NS))

    def reset(self, seconds: float) -> None:
        """Happen so long from now (`IDelayedCall`)."""
        self._check()
        self._scheduler.move(self, self._scheduler.now_ns + round(seconds * NS))

    def active(self) -> bool:
        """Whether it is still to happen (`IDelayedCall`)."""
        return not (self._done or self._cancelled)

    def _check(self) -> None:
        if self._cancelled:
            raise AlreadyCancelled
        if self._done:
            raise AlreadyCalled

    def __repr__(self) -> str:
        return f"<event {getattr(self._act, '__qualname__', self._act)} at {self.at_ns / NS - EPOCH_S:.6f}>"


class Scheduler:
    """The world's clock.

    Args:
        seed: Of every stream of chance.

    Attributes:
        now_ns: Nanoseconds since the epoch.
        errors: What events have raised.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.now_ns = EPOCH_S * NS
        self.errors: list[BaseException] = []
        self._heap: list[tuple[int, int, Event]] = []
        self._made = 0
        self._streams: dict[str, Random] = {}
        self._hash = blake2b(digest_size=16)
        self.tail: deque[str] = deque(maxlen=_KEPT_LINES)

    def seconds(self) -> float:
        """The time in seconds since the epoch."""
        return self.now_ns / NS

    def stream(self, name: str) -> Random:
        """The stream of chance for one purpose."""
        if name not in self._streams:
            self._streams[name] = Random(f"{self.seed}/{name}")
        return self._streams[name]

    def log(self, what: str) -> None:
        """Write a line into the log: part of its hash for ever, readable for a while."""
        line = f"{(self.now_ns - EPOCH_S * NS) / NS:.6f} {what}"
        self._hash.update(line.encode() + b"\n")
        self.tail.append(line)

    @property
    def digest(self) -> str:
        """The hash of the log so far."""
        return self._hash.hexdigest()

    @property
    def pending(self) -> list[Event]:
        """What is still to happen."""
        return [event for _, _, event in sorted(self._heap, key=lambda entry: entry[:2]) if event.active()]

    def call_later(self, delay_s: float, act: Callable[..., Any], *arguments: Any, **named: Any) -> Event:
        """Let something happen after `delay_s` seconds."""
        if delay_s < 0:
            raise ValueError(f"a delay must be ≥ 0, got {delay_s!r}")
        event = Event(self, self.now_ns + round(delay_s * NS), act, arguments, named)
        self._push(event)
        return event

    def call_at(self, at_ns: int, act: Callable[..., Any], *arguments: Any) -> Event:
        """Let something happen at a time, which must not have passed."""
        event = Event(self, max(at_ns, self.now_ns), act, arguments, {})
        self._push(event)
        return event

    def move(self, event: Event, at_ns: int) -> None:
        """Let an event happen at another time."""
        event.at_ns = max(at_ns, self.now_ns)
        self._push(event)

    def step(self) -> bool:
        """Let the next event happen; `False` when there is none."""
        while self._heap:
            at_ns, _, event = heappop(self._heap)
            # A moved event has left its old entry behind.
            if not event.active() or event.at_ns != at_ns:
                continue
            self.now_ns = at_ns
            try:
                event.run()
            except Exception as error:  # noqa: BLE001  kept, not swallowed
                self.errors.append(error)
            return True
        return False

    def run_until(self, done: Callable[[], bool], timeout_s: float) -> bool:
        """Let events happen until `done()`; `False` when `timeout_s` has passed or nothing is left to happen."""
        end_ns = self.now_ns + round(timeout_s * NS)
        while not done():
            if not self._heap or self._next_ns() > end_ns:
                self.now_ns = max(self.now_ns, end_ns)
                return done()
            self.step()
        return True

    def run_for(self, seconds: float) -> None:
        """Let everything of the next `seconds` happen."""
        self.run_until(lambda: False, seconds)

    def _next_ns(self) -> int:
        while self._heap and not (self._heap[0][2].active() and self._heap[0][2].at_ns == self._heap[0][0]):
            heappop(self._heap)
        return self._heap[0][0] if self._heap else 1 << 63

    def _push(self, event: Event) -> None:
        self._made += 1
        heappush(self._heap, (event.at_ns, self._made, event))
