"""Event log lines about clients: discovery replies, changes of their lists, and ejected instances.

The lines help to understand a violation; nothing is checked here. The lines about a client with a listener are written
when the client emits an event. The public state of a client without a listener is compared once a second.
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
    """The state of one client at the last comparison."""

    def __init__(self) -> None:
        self.view: View = {}
        self.ejections = 0
        self.out: frozenset[str] = frozenset()


class ClientLog:
    """Writes the log lines about all clients.

    Args:
        scheduler: Scheduler whose event log is written.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._seen: dict[int, _LastSeen] = {}

    # -- discovery replies, probes, and the client's public state

    def answered(self, sut: ClientUnderTest, status: int, view: View | None) -> None:
        """Log a discovery reply; `view` is the list in it, or `None` if it must be rejected."""
        what = "no list" if view is None else f"{len(view)} instances"
        if status != _OK:
            what = f"status {status}"
        self._write(sut, "discovery answers client %d: %s", what)

    def look(self, sut: ClientUnderTest) -> None:
        """Log a new list, and the ejected instances of a client without a listener."""
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
        """Log the probe of an ejected instance."""
        self._write(sut, "client %d sends %s a call again, the probe", spelled(address))

    # -- events of a client

    def ears(self, sut: ClientUnderTest) -> dict[str, Callable[[Any], None]]:
        """Return the functions that handle a client's events, by the name of the event's type."""

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

    # -- internals

    def _last_seen(self, sut: ClientUnderTest) -> _LastSeen:
        last = self._seen.get(sut.number)
        if last is None:
            last = self._seen[sut.number] = _LastSeen()
        return last

    def _write(self, sut: ClientUnderTest, what: str, *more: str) -> None:
        self._scheduler.log_often(sut.number, what, sut.number, *more)


def _difference(before: View, after: View) -> str:
    """Describe the first changes between two lists."""
    changes = [
        *(f"+ {spelled(a)} (weight {weight:g})" for a, weight in after.items() if a not in before),
        *(f"- {spelled(a)}" for a in before if a not in after),
        *(f"{spelled(a)} weighs {w:g} now" for a, w in after.items() if a in before and before[a] != w),
    ]
    return few(changes)
