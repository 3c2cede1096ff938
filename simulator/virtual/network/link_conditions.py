"""Link conditions between clients and a server address: delay, loss, bandwidth and blackholes, for each direction.

Loss and blackholes have the same effect as under TCP. A lost packet arrives late, at a time at which TCP would
retransmit it: after 200 ms (1 s for a SYN), then after twice that time, and so on. A lost reset is not retransmitted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

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


class _Held(NamedTuple):
    """A packet that is kept for retransmission."""

    sender: VirtualSocket
    kind: int
    data: bytes
    held_ns: int
    was_under_way: bool


class Way:
    """The conditions of one direction of a link.

    Attributes:
        latency_ns: Delay of every packet.
        jitter_ns: Greatest additional delay, drawn for each packet.
        tail: Probability of an additional delay of up to `tail_ns`, drawn for each packet.
        loss: Probability that a packet is lost, and retransmitted.
        bytes_per_s: Bandwidth; 0 for no limit.
        segment_bytes: Greatest number of bytes that arrive in one segment; 0 for no limit.
        is_hole: Whether no packet is delivered.
        drops_syn: Whether SYN packets are not delivered.
        handshake_ns: Additional delay of a SYN.
        is_plain: Whether each packet arrives whole after `delay_ns`, without loss, segments or other conditions.
    """

    def __init__(self, scheduler: Scheduler, rng: Random, latency_ns: int, jitter_ns: int) -> None:
        self._scheduler = scheduler
        self._random = rng.random
        self._busy_until_ns = 0
        self._held: list[_Held] = []
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
        """Seconds until all packets that wait for bandwidth have been sent."""
        return max(0, self._busy_until_ns - self._scheduler.now_ns) / NS

    def set(self, **conditions: Any) -> None:
        """Change some of the conditions."""
        for name, value in conditions.items():
            setattr(self, name, value)
        self.is_plain = not (self.is_hole or self.drops_syn or self.handshake_ns or self.segment_bytes or self.loss)

    def delay_ns(self, size: int) -> int:
        """Draw the delay of a packet of `size` bytes that is sent now, in nanoseconds."""
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
        """Draw the additional delay of a packet for its retransmissions, in nanoseconds; 0 when it is not lost."""
        late_ns, resend_ns = 0, _RESEND_SYN_NS if kind == SYN else _RESEND_NS
        while self._random() < self.loss and resend_ns < _LONGEST_RESEND_NS:
            late_ns += resend_ns
            resend_ns *= 2
        return late_ns

    def swallows(self, kind: int) -> bool:
        """Whether a packet of this kind cannot be delivered now."""
        return self.is_hole or (self.drops_syn and kind == SYN)

    def hold(self, sender: VirtualSocket, kind: int, data: bytes, *, was_under_way: bool = False) -> None:
        """Keep a lost packet for retransmission; a reset is dropped.

        Args:
            sender: The socket that has sent the packet.
            kind: Its kind, one of `sockets.PACKETS`.
            data: Its data.
            was_under_way: Whether it was sent before the blackhole began. It is then retransmitted before the packets
                that its sender has sent since.
        """
        if kind == RST:
            return
        held = self._held
        later = (at for at, other in enumerate(held) if other.sender is sender and not other.was_under_way)
        place = next(later, len(held)) if was_under_way else len(held)
        held.insert(place, _Held(sender, kind, data, self._scheduler.now_ns, was_under_way))

    def resend(self) -> list[tuple[VirtualSocket, int, bytes, int]]:
        """Remove and return the kept packets: sender, kind, data, and the time of the retransmission in nanoseconds."""
        held, self._held = self._held, []
        now_ns = self._scheduler.now_ns
        return [
            (each.sender, each.kind, each.data, _next_try_ns(each.held_ns, now_ns, each.kind))
            for each in held
            # A sender that has aborted its connection has discarded the packet.
            if not each.sender.is_dead and not (each.kind == SYN and each.sender.is_closed)
        ]


class Link:
    """Both directions between a server address and its clients."""

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
    """Whether a packet is split into segments."""
    return kind == DATA and 0 < way.segment_bytes < len(data)


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    """Split data into at most 300 segments of `size` bytes, and one for the rest, to bound the number of events."""
    small = min(len(data), size * _MOST_SEGMENTS)
    for at in range(0, small, size):
        yield data[at : min(at + size, small)]
    if small < len(data):
        yield data[small:]
