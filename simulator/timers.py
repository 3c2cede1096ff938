"""Delayed calls that are cancelled together with their owner."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class Timers:
    """A set of delayed calls that can be cancelled together.

    Args:
        clock: Clock of the calls.
    """

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._waiting: dict[int, Any] = {}
        self._number = 0

    def later(self, seconds: float, act: Callable[..., Any], *arguments: Any) -> None:
        """Call `act` after `seconds`."""
        self._number += 1
        number = self._number
        self._waiting[number] = self._clock.callLater(seconds, self._due, number, act, *arguments)

    def cancel(self) -> None:
        """Cancel all calls that are still pending."""
        waiting, self._waiting = self._waiting, {}
        for timer in waiting.values():
            timer.cancel()

    def _due(self, number: int, act: Callable[..., Any], *arguments: Any) -> None:
        del self._waiting[number]
        act(*arguments)
