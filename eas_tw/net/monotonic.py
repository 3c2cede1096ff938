"""Timers by elapsed time, on a reactor whose own clock can be set.

Twisted's reactors schedule by `time.time`. When that clock is set back by ten minutes, every pending timer fires ten
minutes late; when it is set ahead, every timer fires early. `MonotonicReactor` wraps such a reactor and uses a
monotonic clock: a timer that fires too early is armed again. `realign`, which `net.clock_watch` calls after a step of
the clock, arms all pending timers again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.base import ReactorBase
from twisted.internet.error import TimeoutError  # noqa: A004  the error of Twisted's own timer
from twisted.internet.interfaces import IDelayedCall
from zope.interface import directlyProvides, implementer, providedBy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_STEP_S = 0.1
"""Maximum step of the clock, in seconds, that is not corrected, because so small a delay does no harm."""

_TICK_S = 0.001
"""Minimum wait in seconds when a timer is re-armed, because two clocks never agree exactly."""

# Minimum number of stored `callLater(0)` calls at which finished ones are removed.
_SOON_KEPT = 64


def is_real(reactor: Any) -> bool:
    """Return whether a reactor uses real time, and not the virtual time of a test or simulation."""
    inner = reactor._reactor if isinstance(reactor, MonotonicReactor) else reactor  # noqa: SLF001  of this module
    return isinstance(inner, ReactorBase)


def monotonic_view(reactor: Any, monotonic: Callable[[], float]) -> Any:
    """Return a reactor whose timers and `seconds` do not depend on a clock that can be set.

    Args:
        reactor: The program's reactor.
        monotonic: The clock to use, normally `time.monotonic`.

    Returns:
        1. `reactor` itself, if the reactor already uses that clock, or has virtual time, as in a test.
        2. Otherwise a `MonotonicReactor`.
    """
    if is_real(reactor) and reactor.seconds is not monotonic:
        return MonotonicReactor(reactor, monotonic)
    return reactor


class MonotonicReactor:
    """A reactor whose `seconds` and `callLater` use a monotonic clock; other attributes are those of the reactor.

    Args:
        reactor: A reactor that schedules by a clock that can be set.
        monotonic: A clock that cannot be set, in seconds since any moment.

    Attributes:
        is_watched: Whether the owner of the reactor calls `look`, as a simulation does, so that no thread is needed.
    """

    is_watched = False

    def __init__(self, reactor: Any, monotonic: Callable[[], float]) -> None:
        self._reactor = reactor
        self._call_later = reactor.callLater
        self._timers: dict[_Timer, None] = {}
        self._soon: list[IDelayedCall] = []
        self._soon_limit = _SOON_KEPT
        self.seconds = monotonic
        self._ahead_s = self._measured_s()
        directlyProvides(self, providedBy(reactor))

    def __repr__(self) -> str:
        return f"<MonotonicReactor of {self._reactor!r} timers={len(self._timers)}>"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def callLater(  # noqa: N802
        self,
        delay: float,
        callable: Callable[..., Any],  # noqa: A002
        *args: Any,
        **kw: Any,
    ) -> IDelayedCall:
        """Call a function after `delay` seconds of elapsed time (`IReactorTime`)."""
        if not delay:
            # A call at the end of this turn cannot be early, so it needs no `_Timer`.
            call: IDelayedCall = self._call_later(0, callable, *args, **kw)
            self._soon.append(call)
            if len(self._soon) > self._soon_limit:
                self._prune()
            return call
        timer = _Timer(self.seconds, self._timers, self.seconds() + delay, callable, args, kw)
        timer.arm(self._call_later, delay, self._arm_again)
        return timer

    def connectTCP(  # noqa: N802
        self,
        host: str,
        port: int,
        factory: Any,
        timeout: float | None = 30,
        bindAddress: Any = None,  # noqa: N803  the name in the interface
    ) -> Any:
        """Open a connection whose timeout is elapsed time (`IReactorTCP`).

        Twisted's own timer uses the reactor's clock. If that clock is set ahead, every connection that is being opened
        would fail.
        """
        connector: Any = self._reactor.connectTCP(host, port, factory, timeout=None, bindAddress=bindAddress)
        if timeout is not None and connector.state == "connecting":
            # `BaseConnector` cancels this timer when the connection is open or has failed.
            connector.timeoutID = self.callLater(timeout, connector.transport.failIfNotConnected, TimeoutError())
        return connector

    def look(self) -> None:
        """Make the reactor realign its timers if its clock has been set; call this from another thread.

        The reactor's own thread cannot check its clock in time, because a backward step of the clock delays all its
        timers.
        """
        if abs(self._measured_s() - self._ahead_s) > _STEP_S:
            self._wake()

    def _wake(self) -> None:
        self._reactor.callFromThread(self.realign)

    def realign(self) -> None:
        """Set every pending timer again to its remaining time."""
        self._ahead_s = self._measured_s()
        now = self.seconds()
        for timer in list(self._timers):
            timer.realign(now)
        self._prune()
        for call in self._soon:
            call.reset(0)

    def _arm_again(self, call: IDelayedCall, left_s: float, fire: Callable[[], None]) -> IDelayedCall:
        """Arm a timer whose `call` came too early.

        Twisted reads the clock once for all calls that are due, and its asyncio reactor adds new calls to those. If the
        clock is set back meanwhile, a new call is due at once, again and again, until the clock has reached its
        former value, and the reactor does nothing else. So the timer is armed with twice the step added, and `realign`
        corrects the timer in the next turn.
        """
        early_s = call.getTime() - self._reactor.seconds()
        if early_s > _TICK_S:
            self._wake()
            left_s += 2.0 * early_s
        return self._call_later(max(left_s, _TICK_S), fire)  # type: ignore[no-any-return]

    def _prune(self) -> None:
        """Drop the finished calls; the next limit is twice the number of remaining calls, for a constant mean cost."""
        self._soon = [call for call in self._soon if call.active()]
        self._soon_limit = max(_SOON_KEPT, 2 * len(self._soon))

    def _measured_s(self) -> float:
        """Return the seconds by which the reactor's clock is ahead of the monotonic clock."""
        ahead_s: float = self._reactor.seconds() - self.seconds()
        return ahead_s


@implementer(IDelayedCall)
class _Timer:
    """A delayed call at a time of the monotonic clock."""

    __slots__ = ("_act", "_arguments", "_arm_again", "_call", "_due", "_named", "_pending", "_seconds")

    def __init__(
        self,
        seconds: Callable[[], float],
        pending: dict[_Timer, None],
        due: float,
        act: Callable[..., Any],
        arguments: tuple[Any, ...],
        named: Mapping[str, Any],
    ) -> None:
        self._seconds = seconds
        self._pending = pending
        self._due = due
        self._act = act
        self._arguments = arguments
        self._named = named

    def __repr__(self) -> str:
        return f"<timer of {getattr(self._act, '__qualname__', self._act)} due at {self._due:.3f}>"

    def arm(self, call_later: Callable[..., Any], delay_s: float, arm_again: Callable[..., IDelayedCall]) -> None:
        """Set a timer of the reactor to `delay_s`; if the timer fires too early, `arm_again` sets a new timer."""
        self._arm_again = arm_again
        self._call = call_later(delay_s, self._fire)
        self._pending[self] = None

    def realign(self, now: float) -> None:
        """Set the timer again to the time that remains at `now`."""
        if self._call.active():
            self._call.reset(max(0.0, self._due - now))

    def getTime(self) -> float:  # noqa: N802
        """Return the time of the call, in seconds of the monotonic clock (`IDelayedCall`)."""
        return self._due

    def cancel(self) -> None:
        """Cancel the call (`IDelayedCall`)."""
        self._call.cancel()
        del self._pending[self]
        self._act, self._arguments = _nothing, ()

    def delay(self, secondsLater: float) -> None:  # noqa: N803
        """Postpone the call by `secondsLater` (`IDelayedCall`)."""
        self._call.delay(secondsLater)
        self._due += secondsLater

    def reset(self, secondsFromNow: float) -> None:  # noqa: N803
        """Set the call to `secondsFromNow` (`IDelayedCall`)."""
        self._call.reset(secondsFromNow)
        self._due = self._seconds() + secondsFromNow

    def active(self) -> bool:
        """Return whether the call is pending (`IDelayedCall`)."""
        return self in self._pending

    def _fire(self) -> None:
        left_s = self._due - self._seconds()
        if left_s > 0:
            # The reactor's clock was set ahead, or runs slightly fast.
            self._call = self._arm_again(self._call, left_s, self._fire)
            return
        del self._pending[self]
        self._act(*self._arguments, **self._named)


def _nothing() -> None:
    """Replace the function of a cancelled timer, so that its arguments can be freed."""
