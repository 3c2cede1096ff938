"""Bugs of unbounded work on lists of thousands of rows."""

from __future__ import annotations

from typing import Any

from eas_tw.net import discovery
from eas_tw.net.discovery import Poller
from eas_tw.policy import instances
from tests.simulation.planted.bugs import Patch, bug


@bug("work-per-turn", seeds=100)
def long_list_parsed_in_one_turn(patch: Patch) -> None:
    async def at_once(_: Any, steps: Any) -> Any:
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return end.value

    patch(discovery, "one_step_a_turn", at_once)


@bug("work-per-turn", seeds=100)
def every_bad_row_is_logged(patch: Patch) -> None:
    note = Poller._note_bad_rows

    def tell(self: Poller, snapshot: Any) -> None:
        note(self, snapshot)
        for fault, count in snapshot.bad_rows.items():
            for _ in range(count):
                discovery._log.debug("a row is dropped by {fault}", fault=fault)

    patch(Poller, "_note_bad_rows", tell)


@bug("last-good-list", seeds=100)
def list_without_a_bound(patch: Patch) -> None:
    patch(instances, "MAX_INSTANCES", 10**9)
