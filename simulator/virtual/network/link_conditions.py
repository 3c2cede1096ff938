"""Link conditions between a client and a server address: delay, loss, bandwidth, holes, each way by itself.

Loss and holes do what TCP makes of them: nothing disappears but resets, everything else arrives late, at one of the
times at which it would have been sent again (200 ms after the first time, then after twice as long; a SYN 1 s).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simulator.virtual.network.sockets import DATA, RST, SYN
from simulator.virtual.network.virtual_time import NS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    from simulator.virtual.network.sockets import VirtualSocket
    from simulator.virtual.network.virtual_time import Scheduler

_RESEND_NS = NS // 5
_RESEND_SYN_NS = NS
_LONGEST_RESEND_NS = 120 * NS
_MOST_SEGMENTS = 300


class Way:
    """One direction.

    Attributes:
        latency_ns: Of everything.
        jitter_ns: Up to so much more, drawn each time.
        tail: Probability of a delay up to `tail_ns` more.
        loss: Probability of a packet to be lost, and so to come later.
        bytes_per_s: Bandwidth; 0 for no bound.
        segment_bytes: The most that arrives at once; 0 for no bound.
        is_hole: Whether nothing gets through.
        drops_syn: Whether handshakes are not answered.
        handshake_ns: How much later a handshake is taken up.
        is_plain: Whether it only delays.
    """

    def __init__(self, scheduler: Scheduler, rng: Random, latency_ns: int, jitter_ns: int) -> None:
        self._scheduler = scheduler
        self._random = rng.random
        self._busy_until_ns = 0
        self._held: list[tuple[VirtualSocket, int, bytes, int]] = []
        self.latency_ns = latency_ns
        self.jitter_ns = jitter_ns
        self.tail = self.loss = 0.0
        self.tail_ns = 0
        self.bytes_per_s = self.segment_bytes = 0
        self.handshake_ns = 0
        self.is_hole = self.drops_syn = False
        self.is_plain = True

    @property
    def backlog_s(self) -> float:
        """How long it takes until everything that queues in front of a narrow passage is through."""
        return max(0, self._busy_until_ns - self._scheduler.now_ns) / NS

    def set(self, **conditions: Any) -> None:
        """Change some of it."""
        for name, value in conditions.items():
            setattr(self, name, value)
        self.is_plain = not (self.is_hole or self.drops_syn or self.handshake_ns or self.segment_bytes or self.loss)

    def delay_ns(self, size: int) -> int:
        """How long a packet of that size takes, sent now."""
        delay_ns = self.latency_ns
        if self.jitter_ns:
            delay_ns += int(self._random() * self.jitter_ns)
        if self.tail and self._random() < self.tail:
            delay_ns += int(self._random() * self.tail_ns)
        if self.bytes_per_s and size:
            now_ns = self._scheduler.now_ns
            self._busy_until_ns = max(self._busy_until_ns, now_ns) + size * NS // self.bytes_per_s
            delay_ns += self._busy_until_ns - now_ns
        return delay_ns

    def lost_ns(self, kind: int) -> int:
        """How much later a packet comes for having been lost, perhaps several times."""
        late_ns, resend_ns = 0, _RESEND_SYN_NS if kind == SYN else _RESEND_NS
        while self._random() < self.loss and resend_ns < _LONGEST_RESEND_NS:
            late_ns += resend_ns
            resend_ns *= 2
        return late_ns

    def swallows(self, kind: int) -> bool:
        """Whether a packet does not get through now."""
        return self.is_hole or (self.drops_syn and kind == SYN)

    def hold(self, sender: VirtualSocket, kind: int, data: bytes) -> None:
        """A packet got lost; it will be sent again."""
        if kind != RST:
            self._held.append((sender, kind, data, self._scheduler.now_ns))

    def resend(self) -> list[tuple[VirtualSocket, int, bytes, int]]:
        """What was lost and can get through now: sender, kind, data, and when it is sent again."""
        held, self._held = self._held, []
        now_ns = self._scheduler.now_ns
        return [
            (sender, kind, data, _next_try_ns(sent_ns, now_ns, kind))
            for sender, kind, data, sent_ns in held
            # An aborted end has forgotten what it sent.
            if not sender.is_dead and not (kind == SYN and sender.is_closed)
        ]


class Link:
    """Both ways between a server address and those who connect to it."""

    def __init__(self, up: Way, down: Way) -> None:
        self.up = up
        self.down = down
        self.ways = (up, down)


def _next_try_ns(sent_ns: int, now_ns: int, kind: int) -> int:
    step_ns = _RESEND_SYN_NS if kind == SYN else _RESEND_NS
    at_ns = sent_ns + step_ns
    while at_ns < now_ns:
        step_ns = min(step_ns * 2, _LONGEST_RESEND_NS)
        at_ns += step_ns
    return at_ns


def is_cut(way: Way, kind: int, data: bytes) -> bool:
    """Whether a packet travels in pieces."""
    return kind == DATA and 0 < way.segment_bytes < len(data)


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    """What travels by itself: the first few hundred segments are small, the rest of much data is not."""
    small = min(len(data), size * _MOST_SEGMENTS)
    for at in range(0, small, size):
        yield data[at : min(at + size, small)]
    if small < len(data):
        yield data[small:]
