"""Bugs in how a list is interpreted, and in the schedule of polls."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from eas_tw.net import fetch
from eas_tw.net.discovery import Poller, UpstreamsSource
from eas_tw.policy.instances import DiscoveryReplyRejected, RejectReason, Snapshot
from tests.simulation.planted.bugs import Patch, bug


def _of_duplicates(patch: Patch, is_better: Callable[[Any, Any], bool]) -> None:
    """Of the rows with one address, keep the row that `is_better` prefers, not the row with the greatest weight."""
    get = fetch.DirectFetcher.get

    def one_of_each(body: bytes) -> bytes:
        try:
            document = json.loads(body)
            kept: dict[Any, Any] = {}
            for row in document["endpoints"]["items"]:
                address = row["ip"], row["port"]
                if address not in kept or is_better(row["weight"], kept[address]["weight"]):
                    kept[address] = row
            document["endpoints"]["items"] = list(kept.values())
        except (ValueError, KeyError, TypeError):
            return body
        return json.dumps(document).encode()

    patch(fetch.DirectFetcher, "get", lambda self, url: get(self, url).addCallback(one_of_each))


@bug("last-good-list", seeds=100)
def last_duplicate_used(patch: Patch) -> None:
    _of_duplicates(patch, lambda weight, known: True)


@bug("last-good-list", seeds=100)
def first_duplicate_used(patch: Patch) -> None:
    _of_duplicates(patch, lambda weight, known: False)


@bug("last-good-list", "discovery", 20)
def lightest_duplicate_used(patch: Patch) -> None:
    _of_duplicates(patch, lambda weight, known: weight < known)


@bug("last-good-list", seeds=100)
def list_of_any_status_accepted(patch: Patch) -> None:
    answered = fetch._Get.answered
    patch(fetch._Get, "answered", lambda self, status, head, body: answered(self, 200, head, body))


@bug("last-good-list failure-explained recovers-after-heal disk-copy", seeds=100)
def one_bad_row_rejects_the_list(patch: Patch) -> None:
    read = UpstreamsSource.read

    async def strict(self: UpstreamsSource) -> Snapshot:
        found = await read(self)
        if found.bad_rows:
            raise DiscoveryReplyRejected(RejectReason.NO_USABLE_ROW, "a row is bad")
        return found

    patch(UpstreamsSource, "read", strict)


@bug("poll-jitter", "hour", 10)
def poll_jitter_decays(patch: Patch) -> None:
    """The jitter shrinks by 1 % with each poll, so that after an hour the pauses between polls hardly vary."""
    delay_s = Poller._delay_s

    def steadier(self: Poller, began: float) -> float:
        self._jitter *= 0.99
        return delay_s(self, began)

    patch(Poller, "_delay_s", steadier)


@bug("last-good-list poll-jitter", "hour", 10)
def poll_interval_grows(patch: Patch) -> None:
    """The poll interval grows by 0.1 % with each poll."""
    delay_s = Poller._delay_s

    def slower(self: Poller, began: float) -> float:
        self._interval_s *= 1.001
        return delay_s(self, began)

    patch(Poller, "_delay_s", slower)
