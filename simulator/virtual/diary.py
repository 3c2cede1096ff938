"""What clients do of their own accord, in the event log: what discovery told them, their lists, whom they leave out.

For people who read a log after a violation; nothing is judged here. What a client's events tell is told at once; of a
client that nobody listens to, what can be seen once a second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simulator.virtual.phrases import few, spelled

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from simulator.virtual.sockets import Address
    from simulator.virtual.subject import Subject
    from simulator.virtual.vtime import Scheduler

    View = Mapping[Address, float]

_OK = 200


class _Page:
    """What was known of one client when it was last looked at."""

    def __init__(self) -> None:
        self.view: View = {}
        self.ejections = 0
        self.out: frozenset[str] = frozenset()


class Diary:
    """Writes for every client.

    Args:
        scheduler: Whose log it is.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._pages: dict[int, _Page] = {}

    # -- what is seen from outside

    def answered(self, subject: Subject, status: int, view: View | None) -> None:
        """Discovery has answered a client; `view` is the list that is in it."""
        what = "no list" if view is None else f"{len(view)} instances"
        if status != _OK:
            what = f"status {status}"
        self._write(subject, "discovery answers client %d: %s", what)

    def look(self, subject: Subject) -> None:
        """Note a new list, and of a client that nobody hears whom it leaves out."""
        page, view = self._page(subject), subject.view
        if view is not page.view:
            self._write(subject, "client %d has another list: %s", _difference(page.view, view))
            page.view = view
        if not subject.is_heard and (page.out or subject.ejections != page.ejections):
            page.ejections = subject.ejections
            out = frozenset(instance.address for instance in subject.client.ejected)
            for address in sorted(out - page.out):
                self._write(subject, "client %d leaves out %s", address)
            for address in sorted(page.out - out):
                self._write(subject, "client %d takes back %s", address)
            page.out = out

    def probed(self, subject: Subject, address: Address) -> None:
        """An instance that was left out is sent a call, to see."""
        self._write(subject, "client %d sends %s a call again, the probe", spelled(address))

    # -- what a client tells

    def ears(self, subject: Subject) -> dict[str, Callable[[Any], None]]:
        """Who is to hear which event of a client."""

        def ended(event: Any) -> None:
            subject.failed_before = event.failed

        def ejected(event: Any) -> None:
            self._write(subject, "client %d leaves out %s: %s", event.instance.address, event.why)

        def returned(event: Any) -> None:
            self._write(subject, "client %d takes back %s", event.instance.address)

        def refused(event: Any) -> None:
            self._write(subject, "client %d keeps its list: %s", event.reason)

        def changed(_: Any) -> None:
            self.look(subject)

        return {
            "CallEnded": ended,
            "Ejected": ejected,
            "Returned": returned,
            "ListChanged": changed,
            "PollRefused": refused,
        }

    # -- how it writes

    def _page(self, subject: Subject) -> _Page:
        page = self._pages.get(subject.number)
        if page is None:
            page = self._pages[subject.number] = _Page()
        return page

    def _write(self, subject: Subject, what: str, *more: str) -> None:
        self._scheduler.log_often(subject.number, what, subject.number, *more)


def _difference(before: View, after: View) -> str:
    """What has changed, shortly."""
    changes = [
        *(f"+ {spelled(a)} (weight {weight:g})" for a, weight in after.items() if a not in before),
        *(f"- {spelled(a)}" for a in before if a not in after),
        *(f"{spelled(a)} weighs {w:g} now" for a, w in after.items() if a in before and before[a] != w),
    ]
    return few(changes)
