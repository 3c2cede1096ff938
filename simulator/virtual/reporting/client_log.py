"""What clients do of their own accord, in the event log: what discovery told them, their lists, whom they leave out.

For people who read a log after a violation; nothing is judged here. What a client's events tell is told at once; of a
client that nobody listens to, what can be seen once a second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simulator.virtual.reporting.formatting import few, spelled

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from simulator.virtual.client_under_test import ClientUnderTest
    from simulator.virtual.network.sockets import Address
    from simulator.virtual.network.virtual_time import Scheduler

    View = Mapping[Address, float]

_OK = 200


class _LastSeen:
    """What was known of one client when it was last looked at."""

    def __init__(self) -> None:
        self.view: View = {}
        self.ejections = 0
        self.out: frozenset[str] = frozenset()


class ClientLog:
    """Writes for every client.

    Args:
        scheduler: Whose log it is.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._seen: dict[int, _LastSeen] = {}

    # -- what is seen from outside

    def answered(self, sut: ClientUnderTest, status: int, view: View | None) -> None:
        """Discovery has answered a client; `view` is the list that is in it."""
        what = "no list" if view is None else f"{len(view)} instances"
        if status != _OK:
            what = f"status {status}"
        self._write(sut, "discovery answers client %d: %s", what)

    def look(self, sut: ClientUnderTest) -> None:
        """Note a new list, and of a client that nobody hears whom it leaves out."""
        last, view = self._last_seen(sut), sut.view
        if view is not last.view:
            self._write(sut, "client %d has another list: %s", _difference(last.view, view))
            last.view = view
        if not sut.is_heard and (last.out or sut.ejections != last.ejections):
            last.ejections = sut.ejections
            out = frozenset(instance.address for instance in sut.client.ejected)
            for address in sorted(out - last.out):
                self._write(sut, "client %d leaves out %s", address)
            for address in sorted(last.out - out):
                self._write(sut, "client %d takes back %s", address)
            last.out = out

    def probed(self, sut: ClientUnderTest, address: Address) -> None:
        """An instance that was left out is sent a call, to see."""
        self._write(sut, "client %d sends %s a call again, the probe", spelled(address))

    # -- what a client tells

    def ears(self, sut: ClientUnderTest) -> dict[str, Callable[[Any], None]]:
        """Who is to hear which event of a client."""

        def ended(event: Any) -> None:
            sut.failed_before = event.failed

        def ejected(event: Any) -> None:
            self._write(sut, "client %d leaves out %s: %s", event.instance.address, event.why)

        def returned(event: Any) -> None:
            self._write(sut, "client %d takes back %s", event.instance.address)

        def refused(event: Any) -> None:
            self._write(sut, "client %d keeps its list: %s", event.reason)

        def changed(_: Any) -> None:
            self.look(sut)

        return {
            "CallEnded": ended,
            "Ejected": ejected,
            "Returned": returned,
            "ListChanged": changed,
            "PollRefused": refused,
        }

    # -- how it writes

    def _last_seen(self, sut: ClientUnderTest) -> _LastSeen:
        last = self._seen.get(sut.number)
        if last is None:
            last = self._seen[sut.number] = _LastSeen()
        return last

    def _write(self, sut: ClientUnderTest, what: str, *more: str) -> None:
        self._scheduler.log_often(sut.number, what, sut.number, *more)


def _difference(before: View, after: View) -> str:
    """What has changed, shortly."""
    changes = [
        *(f"+ {spelled(a)} (weight {weight:g})" for a, weight in after.items() if a not in before),
        *(f"- {spelled(a)}" for a in before if a not in after),
        *(f"{spelled(a)} weighs {w:g} now" for a, w in after.items() if a in before and before[a] != w),
    ]
    return few(changes)
