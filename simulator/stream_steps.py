"""The steps that change the pieces of a streamed response while it is sent; `response_faults` selects them.

The steps have no I/O, and do not depend on faults.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from simulator.streaming import End, Raw

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from random import Random

    from simulator.streaming import Item


class AfterBytes:
    """Replaces the rest of the piece in which the stream reaches a number of bytes; later pieces are unchanged.

    Args:
        after_bytes: Number of unchanged bytes before the replaced rest.
        act: Called with the rest of the piece; returns the items that are sent instead.
    """

    def __init__(self, after_bytes: int, act: Callable[[bytes], Iterable[Item]]) -> None:
        self._left = after_bytes
        self._act = act
        self._is_done = False

    def apply(self, items: Iterable[Item]) -> Iterator[Item]:
        """Return the changed items (`Step`)."""
        for item in items:
            if self._is_done or isinstance(item, End | Raw) or len(item[1]) < self._left:
                if isinstance(item, tuple):
                    self._left -= len(item[1])
                yield item
                continue
            pause_s, data = item
            self._is_done = True
            yield pause_s, data[: self._left]
            for changed in self._act(data[self._left :]):
                yield changed
                if isinstance(changed, End):
                    return


class AfterFirst:
    """Ends the stream after its first non-empty piece.

    Args:
        end: The end of the stream.
    """

    def __init__(self, end: End) -> None:
        self._end = end

    def apply(self, items: Iterable[Item]) -> Iterator[Item]:
        """Return the changed items (`Step`)."""
        for item in items:
            yield item
            if isinstance(item, tuple) and item[1]:
                yield self._end
                return


class DelayFirst:
    """Delays the first non-empty piece, or the end of an empty stream.

    Args:
        delay_s: Delay in seconds.
    """

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s

    def apply(self, items: Iterable[Item]) -> Iterator[Item]:
        """Return the changed items (`Step`)."""
        for item in items:
            if self._delay_s and isinstance(item, tuple) and item[1]:
                yield item[0] + self._delay_s, item[1]
                self._delay_s = 0.0
            elif self._delay_s and isinstance(item, End):
                yield evolve(item, after_s=item.after_s + self._delay_s)
                self._delay_s = 0.0
            else:
                yield item


class ChangeBytes:
    """Changes some bytes of the first pieces, each to a random other value.

    Args:
        count: Number of bytes to change; their positions within a piece are random.
        rng: Source of random draws.
    """

    def __init__(self, count: int, rng: Random) -> None:
        self._left = count
        self._rng = rng

    def apply(self, items: Iterable[Item]) -> Iterator[Item]:
        """Return the changed items (`Step`)."""
        for item in items:
            if not isinstance(item, tuple) or not self._left:
                yield item
                continue
            pause_s, data = item
            changed = bytearray(data)
            for at in self._rng.sample(range(len(data)), min(self._left, len(data))):
                changed[at] ^= self._rng.randrange(1, 256)
            self._left -= min(self._left, len(data))
            yield pause_s, bytes(changed)


class ChangeAfter:
    """Changes consecutive bytes after a number of bytes, each to a random other value.

    Args:
        after_bytes: Number of unchanged bytes before the changed bytes.
        count: Number of bytes to change.
        rng: Source of random draws.
    """

    def __init__(self, after_bytes: int, count: int, rng: Random) -> None:
        self._first = after_bytes
        self._behind = after_bytes + count
        self._rng = rng

    def apply(self, items: Iterable[Item]) -> Iterator[Item]:
        """Return the changed items (`Step`)."""
        for item in items:
            if not isinstance(item, tuple) or not item[1] or self._behind <= 0:
                yield item
                continue
            pause_s, data = item
            changed = bytearray(data)
            for at in range(max(0, self._first), min(self._behind, len(data))):
                changed[at] ^= self._rng.randrange(1, 256)
            self._first -= len(data)
            self._behind -= len(data)
            yield pause_s, bytes(changed)


class EachPiece:
    """Applies a function to each piece.

    Args:
        change: Called with one piece and the pause before it; returns the pieces that are sent instead.
    """

    def __init__(self, change: Callable[[Iterable[tuple[float, bytes]]], Iterator[tuple[float, bytes]]]) -> None:
        self._change = change

    def apply(self, items: Iterable[Item]) -> Iterator[Item]:
        """Return the changed items (`Step`)."""
        for item in items:
            if isinstance(item, tuple):
                yield from self._change([item])
            else:
                yield item


class BeforeEnd:
    """Adds bytes after the body.

    Args:
        data: The bytes; they are not added if the stream ends early.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data

    def apply(self, items: Iterable[Item]) -> Iterator[Item]:
        """Return the changed items (`Step`)."""
        for item in items:
            if isinstance(item, End) and item.ending is None:
                yield 0.0, self._data
            yield item
