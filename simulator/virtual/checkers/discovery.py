"""Checks of discovery.

A client uses the list of the last good reply, and a rejected reply does not change the list. Polls keep their schedule,
which does not depend on calls. A client applies a good reply within a second if no fault affects the reply.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict, deque
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from attrs import define, field

from simulator.virtual.checkers.base import Checker

if TYPE_CHECKING:
    from collections.abc import Collection

    from simulator.virtual.client_under_test import ClientUnderTest
    from simulator.virtual.network.sockets import Address

    View = dict[Address, float]

_IP = re.compile(r"[0-9A-Za-z_.:-]{1,253}")
_MOST_WEIGHT, _MOST_DIGITS = 2**31 - 1, 100
_MOST_INSTANCES = 10_000
"""Greatest number of instances in a list; the client drops further instances."""
_MOST_BYTES = 2**24
"""Greatest size of a reply: the default of `max_discovery_bytes`, which every run uses."""
_KEPT_REPLIES, _KEPT_BYTES = 40, 2**15
_FOLLOWS_WITHIN_S = 1.0
_SLACK_S = 0.1
_GAPS, _ALIKE = 12, 0.15
_OK, _NOT_FOUND = 200, 404


def good_view(status: int, body: bytes) -> View | None:
    """Parse a reply independently of the client; return `None` for a reply that must be rejected."""
    if status != _OK or len(body) > _MOST_BYTES:
        return None
    return _list_in(body) if len(body) < _KEPT_BYTES else _list_in.__wrapped__(body)


@lru_cache(maxsize=64)
def _list_in(body: bytes) -> View | None:
    try:
        rows = json.loads(body, parse_int=_whole)["endpoints"]["items"]
    except (ValueError, KeyError, TypeError):
        return None
    view: View = {}
    for row in rows if isinstance(rows, list) else []:
        found = _row(row)
        if found is not None:
            # Of several rows with the same address, the client must use the row with the greatest weight.
            address, weight = found
            if len(view) >= _MOST_INSTANCES and address not in view:
                continue
            view[address] = max(weight, view.get(address, weight))
    return view if any(view.values()) else None


def _whole(text: str) -> int | None:
    """Parse an integer; return `None` for 100 digits or more, because parsing takes quadratic time."""
    return int(text) if len(text) < _MOST_DIGITS else None


def _row(row: Any) -> tuple[Address, float] | None:
    if not isinstance(row, dict):
        return None
    ip, port, weight = row.get("ip"), row.get("port"), row.get("weight")
    good = (
        isinstance(ip, str)
        and _IP.fullmatch(ip)
        and isinstance(port, int)
        and not isinstance(port, bool)
        and 0 < port < 2**16
        and isinstance(weight, int | float)
        and not isinstance(weight, bool)
        and 0 <= weight <= _MOST_WEIGHT
    )
    return ((str(ip), int(port or 0)), weight) if good else None  # type: ignore[return-value]


class _DiscoveryAccount:
    """The polls and replies of one client."""

    def __init__(self) -> None:
        self.replies: deque[tuple[float, int, View]] = deque(maxlen=_KEPT_REPLIES)
        self.good = 0
        self.applied = 0
        self.asked_at_s: float | None = None
        self.last_status = _OK
        self.seen: View = {}
        self.raised: dict[int, None] = {}
        self.gaps: deque[float] = deque(maxlen=_GAPS)


@define(eq=False, slots=False)
class DiscoveryChecker(Checker):
    """Checks `last-good-list`, `poll-jitter` and `next-good-list-applied`."""

    _accounts: defaultdict[int, _DiscoveryAccount] = field(init=False, factory=lambda: defaultdict(_DiscoveryAccount))
    polls: int = field(init=False, default=0)

    def asked(self, sut: ClientUnderTest) -> None:
        """Handle a client's poll."""
        account, now_s = self._accounts[sut.number], self._seconds()
        self.polls += 1
        before_s, account.asked_at_s = account.asked_at_s, now_s
        if before_s is None or account.last_status == _NOT_FOUND or not account.good:
            return
        gap_s = now_s - before_s
        if self._is_disturbed(sut, before_s - sut.poll_s[1]):
            account.gaps.clear()
            return
        if gap_s < sut.poll_s[0] - _SLACK_S - sut.look_up_s:
            self._report("last-good-list", f"client {sut.number} polls again after {gap_s:.3f} s")
        account.gaps.append(gap_s)
        if len(account.gaps) == _GAPS and sut.poll_jitter:
            self._check_jitter(sut, account.gaps)

    def _check_jitter(self, sut: ClientUnderTest, gaps: Collection[float]) -> None:
        """Check that the pauses between polls vary.

        Twelve uniformly drawn pauses differ by less than `_ALIKE` of the interval's width only once in 10⁸ cases.
        """
        width_s = sut.poll_s[1] - sut.poll_s[0]
        if max(gaps) - min(gaps) < _ALIKE * width_s:
            says = f"polls every {min(gaps):.3f} to {max(gaps):.3f} s, {len(gaps)} times in a row"
            low_s, high_s = sut.poll_s
            self._report("poll-jitter", f"client {sut.number} {says}; the interval is {low_s:g} to {high_s:g} s")

    def told(self, sut: ClientUnderTest, status: int, body: bytes) -> View | None:
        """Handle a reply to a client; return the list in it, or `None` if it must be rejected."""
        account = self._accounts[sut.number]
        account.last_status = status
        view = good_view(status, body)
        if view is not None:
            account.good += 1
            account.replies.append((self._seconds(), account.good, view))
        return view

    def raised(self, sut: ClientUnderTest) -> None:
        """Handle an error that was injected while a client applied a list; the client must apply the next good list."""
        account = self._accounts[sut.number]
        account.raised[account.good] = None

    def asked_at_s(self, sut: ClientUnderTest) -> float:
        """Return the time of a client's last poll, in virtual seconds."""
        return self._accounts[sut.number].asked_at_s or 0.0

    def look(self, sut: ClientUnderTest) -> None:
        """Compare a client's list with the replies that discovery has sent to the client."""
        account, now_s, view = self._accounts[sut.number], self._seconds(), sut.view
        if not view:
            self._report("last-good-list", f"client {sut.number} has lost its list")
            return
        if account.applied == account.good and view is account.seen:
            self._check_polling(sut, account, now_s)
            return
        account.seen = view
        # The newest reply is compared first, because it nearly always matches.
        told = next((number for _, number, told in reversed(account.replies) if told == view), -1)
        if told >= account.applied:
            account.applied = told
        elif account.replies and account.replies[0][1] <= max(account.applied, 1):
            self._report(
                "last-good-list", f"client {sut.number} has a list that no good reply has told since the one it had"
            )
        for at_s, number, _ in reversed(account.replies):
            if at_s <= now_s - _FOLLOWS_WITHIN_S:
                if number not in account.raised:
                    self._check_followed(sut, account, at_s, number)
                break
        self._check_polling(sut, account, now_s)

    def _check_followed(self, sut: ClientUnderTest, account: _DiscoveryAccount, at_s: float, number: int) -> None:
        since_s, now_s = at_s - _FOLLOWS_WITHIN_S, self._seconds()
        if number > account.applied and not self._attribution.disturbs_replies(sut.number, since_s, now_s):
            checker = "next-good-list-applied" if account.raised else "last-good-list"
            says = f"has not followed the reply of {now_s - at_s:.1f} s ago"
            self._report(checker, f"client {sut.number} {says}")

    def _check_polling(self, sut: ClientUnderTest, account: _DiscoveryAccount, now_s: float) -> None:
        asked_at_s = account.asked_at_s
        if (
            asked_at_s is not None
            and now_s - asked_at_s > sut.poll_s[1] + 2 * _SLACK_S + sut.look_up_s
            and not self._is_disturbed(sut, asked_at_s - sut.poll_s[1])
        ):
            self._report("last-good-list", f"client {sut.number} has not polled for {now_s - asked_at_s:.1f} s")

    def _is_disturbed(self, sut: ClientUnderTest, since_s: float) -> bool:
        return self._attribution.disturbs_discovery(sut.number, since_s, self._seconds())
