"""Checks of the reconnects of a watch: the pause before each reconnect, and the choice of its instance.

The checks use the client's events, the choices of its fleet, and the requests that reach instances.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

from attrs import define, field

from simulator.virtual.checkers.base import Checker
from simulator.virtual.reporting.formatting import spelled

if TYPE_CHECKING:
    from simulator.virtual.network.sockets import Address

_BASE_S, _MAX_S = 0.1, 5.0
_SLACK_S = 1e-6
_SHORTEST_EJECTION_S = 1.0
_STREAK = 10
_LEAST_SHARE = 0.04
"""The least sum of `_STREAK` consecutive pauses, as a share of the sum of their maxima.

The sum of random pauses is smaller in one of 10^7 cases.
"""


@define(eq=False)
class ReconnectAccount:
    """The connections of one client's watch (`eas_tw.net.fleet.FleetObserver`).

    Attributes:
        checker: Called with losses and choices.
        name: Name of the client, for messages.
        client: The client.
        is_http: Whether the watch uses plain HTTP instead of WebSocket; the client then avoids only the last instance.
        losses: Number of losses since the last new frame.
        lost_s: Time of the last loss, in virtual seconds; -1.0 for none.
        due_s: Time of the next reconnect, in virtual seconds; -1.0 for none.
        pauses_s: Length of each pause since the last new frame, and its maximum, in seconds.
        tried: Instances at which the watch was lost since it was last open.
        out: Time at which each ejected instance was ejected, in virtual seconds.
    """

    checker: ReconnectChecker
    name: str
    client: Any
    is_http: bool
    losses: int = 0
    lost_s: float = -1.0
    due_s: float = -1.0
    pauses_s: list[tuple[float, float]] = field(factory=list)
    tried: dict[Address, None] = field(factory=dict)
    out: dict[Address, float] = field(factory=dict)

    # -- the client's events

    def hear(self, event: Any) -> None:
        """Handle an event of the client."""
        kind = type(event).__name__
        if kind == "WatchLost":
            self.checker.lost(self, event)
        elif kind == "WatchOpened":
            self.due_s = -1.0
            self.tried.clear()
        elif kind == "FrameReceived" and not event.is_repeated:
            self.losses = 0
            self.pauses_s.clear()
        elif kind == "Ejected":
            self.out[event.instance.key] = self.checker.now_s
        elif kind == "Returned":
            self.out.pop(event.instance.key, None)
        elif kind == "ListChanged":
            self.out.clear()

    def begin(self) -> None:
        """Handle the start of another watch."""
        self.losses, self.lost_s, self.due_s = 0, -1.0, -1.0
        self.pauses_s.clear()
        self.tried.clear()

    # -- the fleet

    def on_chosen(self, instance: Any, selection: Any, now: float) -> None:  # noqa: ARG002  as in `FleetObserver`
        """Handle the choice of an instance for an attempt."""
        self.checker.chosen(self, instance.key)

    def on_ending(self, instance: Any, outcome: Any, began: float) -> None:
        """Ignore the end of an attempt."""

    def on_failed(self, instance: Any, outcome: Any) -> None:
        """Ignore the failure of an attempt."""

    def on_overheard(self, instance: Any, outcome: Any) -> None:
        """Ignore the end of an attempt whose call has ended."""


@define(eq=False, slots=False)
class ReconnectChecker(Checker):
    """Checks `queue-reconnect-pause` and `queue-reconnect-choice`."""

    @property
    def now_s(self) -> float:
        """The time, in virtual seconds."""
        return self._seconds()

    def lost(self, account: ReconnectAccount, event: Any) -> None:
        """Handle the loss of a connection or a failed attempt to open one; the event has the length of the pause."""
        ceiling_s = min(_MAX_S, _BASE_S * 2.0 ** min(account.losses, 10))
        account.losses += 1
        if not 0 <= event.retry_s <= ceiling_s + _SLACK_S:
            says = f"pauses for {event.retry_s:.3f} s after {account.losses} losses, of at most {ceiling_s:g}"
            self._report("queue-reconnect-pause", f"{account.name} {says}")
        account.pauses_s.append((event.retry_s, ceiling_s))
        last = account.pauses_s[-_STREAK:]
        spent_s, most_s = (sum(numbers) for numbers in zip(*last, strict=True))
        if len(last) == _STREAK and spent_s < _LEAST_SHARE * most_s:
            says = f"paused for {spent_s:.3f} s in {_STREAK} losses in a row, of at most {most_s:g}"
            self._report("queue-reconnect-pause", f"{account.name} {says}")
        account.lost_s = self._seconds()
        account.due_s = account.lost_s + event.retry_s
        # A connection that the client itself has cancelled does not count as a failure of its instance.
        if event.instance is not None and str(event.outcome.attempt_status) != "cancelled":
            if account.is_http:
                account.tried.clear()
            account.tried[event.instance.key] = None

    def chosen(self, account: ReconnectAccount, address: Address) -> None:
        """Handle the choice of an instance. A choice at the end of the pause is the choice for the reconnect."""
        if account.due_s < 0 or abs(self._seconds() - account.due_s) > _SLACK_S:
            return
        account.due_s = -1.0
        client = account.client
        health = client._runtime.fleet._cluster._health  # noqa: SLF001  suspects have no public name
        # A retry is not sent to a half-open instance.
        left_out = {*(instance.key for instance in client.ejected), *health.left_out, *health.half_open}
        view = {instance.key: instance.weight for instance in client.instances}
        all_well = [other for other, weight in view.items() if weight > 0 and other not in left_out]
        fresh = [other for other in all_well if other not in account.tried]
        well = [other for other in all_well if other != address]
        # After its ejection an instance gets one attempt, the probe, which may be the reconnect of a watch.
        shortest_s = min(_SHORTEST_EJECTION_S, client.config.eject_base_s) - _SLACK_S
        if well and self._seconds() - account.out.get(address, -inf) < shortest_s:
            says = f"goes to {spelled(address)}, which is ejected, and {spelled(well[0])} is well"
            self._report("queue-reconnect-choice", f"the watch of {account.name} {says}")
        elif address in account.tried and fresh:
            says = f"goes to {spelled(address)} again, and {spelled(fresh[0])} is well"
            self._report("queue-reconnect-choice", f"the watch of {account.name} {says}")
        elif not fresh and not account.is_http:
            account.tried.clear()

    def asked(self, account: ReconnectAccount, sent_s: float) -> None:
        """Handle the request of a watch at an instance, with the time at which it was sent."""
        if account.lost_s < 0 or not account.lost_s + _SLACK_S < sent_s:
            return
        due_s = account.lost_s + (account.pauses_s[-1][0] if account.pauses_s else 0.0)
        if sent_s < due_s - _SLACK_S:
            says = f"was begun {sent_s - account.lost_s:.3f} s after the loss, of {due_s - account.lost_s:.3f}"
            self._report("queue-reconnect-pause", f"the watch of {account.name} {says}")
