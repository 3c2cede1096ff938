"""Checks of the instances that a client chooses for its attempts.

1. Only instances in the list get calls.
2. An ejected instance gets no call while another instance can be chosen; after the ejection it gets one call, the
   probe, and no second call before the probe has ended.
3. No instance has more calls in flight than the bound while another instance has fewer.
4. A subset has no more members than its size.

The checker observes the client's fleet (`FleetObserver`), and receives the client's events. It keeps its own account of
attempts and ejections, which is computed from the observed choices and the events.
"""

from __future__ import annotations

from collections import Counter, deque
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from attrs import define, field

from simulator.virtual.checkers.base import Checker
from simulator.virtual.reporting.formatting import spelled

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from simulator.virtual.checkers.ejections import EjectionChecker
    from simulator.virtual.checkers.keys import KeyChecker
    from simulator.virtual.client_under_test import ClientUnderTest
    from simulator.virtual.network.sockets import Address

_SLACK_S = 0.001
_KEPT_FAILURES = 200
_MOST_RESORTS = 16
"""Number of attempts after which a call is no longer sent to ejected instances."""


def is_certain(why: str) -> bool:
    """Whether the reason of an ejection is certain: a failed connect, or `silent`.

    The checker does not apply the bound on the number of ejected instances to these ejections.
    """
    return why.startswith("connect_") or why == "silent"


class _Out:
    """An ejected instance that has not returned.

    Attributes:
        since_s: Time of the ejection, in virtual seconds; -1.0 after a change of the list.
        probing: Start of the running probe, in seconds of the client's clock; `None` for no probe.
    """

    __slots__ = ("probing", "since_s")

    def __init__(self, since_s: float) -> None:
        self.since_s = since_s
        self.probing: float | None = None


class Selection(Protocol):
    """The fields of the client's `Selection` that the checker reads."""

    @property
    def tried(self) -> Collection[Address]:
        """The instances that the call has tried."""

    @property
    def call(self) -> Any:
        """The client's `CallInfo`."""


class _BalancingAccount:
    """The calls in flight of one client by instance, and its ejected instances."""

    def __init__(self, sut: ClientUnderTest) -> None:
        self.sut = sut
        self.in_flight: Counter[Address] = Counter()
        self.out: dict[Address, _Out] = {}
        self.members: dict[Address, None] = {}
        self.seen: object = None
        self.suspects: tuple[Address, ...] = ()
        self.failures: deque[tuple[float, tuple[Address, str]]] = deque(maxlen=_KEPT_FAILURES)

    def well(self, tried: Collection[Address]) -> list[Address]:
        """Return the instances that could be chosen: in the list with a weight above 0, not ejected, not tried."""
        sut = self.sut
        # Without a listener there are no ejection events, so the client's own list is used.
        out = self.out if sut.is_heard else {instance.key for instance in sut.client.ejected}
        return [
            address
            for address, weight in sut.view.items()
            if weight > 0 and address not in out and address not in tried
        ]


@define(eq=False)
class FleetEar:
    """Observes the choices and results of one client's fleet (`eas_tw.net.fleet.FleetObserver`).

    Attributes:
        _on_chosen: Called with the address, the selection, and the time.
        _on_ended: Called with the address, the time at which the attempt began, and its status.
        _sut: The client.
        _ejections: Checker of ejections; called when an attempt ends.
    """

    _on_chosen: Callable[[Address, Selection, float], None]
    _on_ended: Callable[[Address, float, str], None]
    _sut: ClientUnderTest
    _ejections: EjectionChecker

    def on_chosen(self, instance: Any, selection: Selection, now: float) -> None:
        """Handle the choice of an instance for an attempt."""
        self._on_chosen(instance.key, selection, now)

    def on_ending(self, instance: Any, outcome: Any, began: float) -> None:
        """Handle the end of an attempt, before the client records it."""
        attempt_status, known = str(outcome.attempt_status), self._ejections.account(self._sut)
        self._on_ended(instance.key, began, attempt_status)
        if attempt_status != "answered" or known.failures or known.unsure:
            self._ejections.attempt_ends(self._sut, instance.key, attempt_status, outcome.status)
        else:
            known.ending = attempt_status
            known.is_against = False

    def on_failed(self, instance: Any, outcome: Any) -> None:  # noqa: ARG002  as in `FleetObserver`
        """Handle the end of an attempt without a 2xx response, after the client has recorded it."""
        sut = self._sut
        self._ejections.attempt_ended(sut, instance.key, sut.view, sut.left_out)

    def on_overheard(self, instance: Any, outcome: Any) -> None:
        """Handle the end of an attempt whose call has already ended; it still counts for or against its instance."""
        self._ejections.attempt_ends(self._sut, instance.key, str(outcome.attempt_status), outcome.status)


@define(eq=False, slots=False)
class BalancingChecker(Checker):
    """Checks `one-probe`, `subset-bounds`, and parts of `last-good-list`, `attempts-within-limit` and `nothing-left`.

    The parts are those that concern the choice of an instance and the end of an attempt.

    Attributes:
        _on_probe: Called with the client and the address for each probe of an ejected instance.
        _ejections: Checks the reasons and lengths of ejections; this checker passes its events on.
        _keys: Checks that calls with the same key are sent to the same instance.
    """

    _on_probe: Callable[[ClientUnderTest, Address], None]
    _ejections: EjectionChecker
    _keys: KeyChecker
    _accounts: dict[int, _BalancingAccount] = field(init=False, factory=dict)

    def observer(self, sut: ClientUnderTest) -> FleetEar:
        """Return the observer of a client's fleet; it must be installed before the first call."""
        account = self._accounts[sut.number] = _BalancingAccount(sut)
        return FleetEar(partial(self._chosen, account), partial(self._ended, account), sut, self._ejections)

    def in_flight(self, sut: ClientUnderTest, address: Address) -> int:
        """Return the number of a client's attempts at an address whose end the client has not recorded."""
        account = self._accounts.get(sut.number)
        return account.in_flight[address] if account is not None else 0

    def has_recorded(self, sut: ClientUnderTest, address: Address, attempt_status: str, since_s: float) -> bool:
        """Whether a client has recorded a failure with this status at an address at or after `since_s`."""
        account = self._accounts.get(sut.number)
        return account is not None and any(
            at_s >= since_s and failed == (address, attempt_status) for at_s, failed in account.failures
        )

    def ejected(self, sut: ClientUnderTest, event: Any) -> None:
        """Handle the event that a client has ejected an instance."""
        account = self._told(sut)
        if account is not None:
            self._ejections.ejected(sut, event.instance.key, event.why)
            account.out[event.instance.key] = _Out(self._seconds())
            if not is_certain(event.why):
                self._check_share(account)

    def returned(self, sut: ClientUnderTest, event: Any) -> None:
        """Handle the event that an ejected instance has returned."""
        account = self._told(sut)
        if account is not None:
            self._ejections.returned(sut, event.instance.key)
            account.out.pop(event.instance.key, None)

    def list_changed(self, sut: ClientUnderTest, _: Any) -> None:
        """Handle the event that a client's list has changed."""
        account = self._told(sut)
        if account is not None:
            self._change(account)

    def apply_raised(self, sut: ClientUnderTest) -> None:
        """Handle an injected error while a client applied a list.

        The account then contains only the instances that the client reports as ejected or half-open, because the client
        may have lost the rest of its state.
        """
        account = self._told(sut)
        if account is not None:
            if sut.is_heard:  # without events, no entry of the account would be removed
                # When its probe is sent, a half-open instance is one of the client's ejected instances again.
                kept = (*(instance.key for instance in sut.client.ejected), *sut.half_open)
                account.out = {address: _Out(-1.0) for address in kept}
            self._ejections.forget(sut)

    def look(self, sut: ClientUnderTest) -> None:
        """Compare a client's state with its events; without a listener, only forget instances that left the list."""
        account = self._accounts.get(sut.number)
        if account is None:
            return
        if sut.is_heard:
            self._ejections.look(sut, account.out)
        else:
            self._ejections.list_changed(sut, sut.view)

    def check_over(self, sut: ClientUnderTest) -> None:
        """Check `nothing-left`: every call and every attempt has ended."""
        account = self._accounts.get(sut.number)
        left = {spelled(address): n for address, n in account.in_flight.items() if n} if account else {}
        if left:
            self._report("nothing-left", f"client {sut.number} has no call any more, and attempts: {left}")

    # -- internals

    def _told(self, sut: ClientUnderTest) -> _BalancingAccount | None:
        """Return a client's account after clearing the subset members in it; `None` if its fleet is not observed."""
        account = self._accounts.get(sut.number)
        if account is not None:
            account.members.clear()
        return account

    def _change(self, account: _BalancingAccount) -> None:
        """Update the account for another list: forget instances that left the list, and the times of all ejections."""
        view = account.sut.view
        self._ejections.list_changed(account.sut, view)
        account.out = {address: out for address, out in account.out.items() if view.get(address, 0) > 0}
        for out in account.out.values():
            out.since_s, out.probing = -1.0, None

    def _chosen(self, account: _BalancingAccount, address: Address, selection: Selection, now: float) -> None:
        sut, tried = account.sut, selection.tried
        if sut.seen.get(address, 0) <= 0 and sut.view.get(address, 0) <= 0:
            says = f"sends a call to {spelled(address)}, which has no weight in its list"
            self._report("last-good-list", f"client {sut.number} {says}")
        untried = account.well(tried) if address in tried and len(tried) < _MOST_RESORTS else []
        if untried:
            says = f"sends a call to {spelled(address)} again, and {spelled(untried[0])} is untried and well"
            self._report("attempts-within-limit", f"client {sut.number} {says}")
        out = account.out.get(address)
        if out is not None:
            self._check_left_out(account, address, out, tried, now)
        limit = sut.most_in_flight
        if limit is not None and account.in_flight[address] >= limit and not self._is_partial(account):
            # A retry is not sent to a half-open instance.
            left_out = (*sut.left_out, *(sut.half_open if tried else ()))
            room = [
                other for other in account.well(tried) if account.in_flight[other] < limit and other not in left_out
            ]
            if room and room != [address]:
                says = f"sends {spelled(address)} a call more than {limit}, and {spelled(room[0])} has room"
                self._report("subset-bounds", f"client {sut.number} {says}")
        if not tried and sut.balancer == "hash":
            self._keys.chosen(sut, address, selection.call.key, is_alone=not account.in_flight.total())
        account.in_flight[address] += 1
        if not tried and sut.is_heard and self._is_partial(account):
            self._check_subset(account, address)

    def _ended(self, account: _BalancingAccount, address: Address, began: float, attempt_status: str) -> None:
        if attempt_status != "answered":
            account.failures.append((self._seconds(), (address, attempt_status)))
        account.in_flight[address] -= 1
        if account.in_flight[address] < 0:
            self._report(
                "nothing-left", f"client {account.sut.number} has ended an attempt at {spelled(address)} twice"
            )
        out = account.out.get(address)
        if out is not None and out.probing == began:
            out.probing = None

    def _check_left_out(
        self, account: _BalancingAccount, address: Address, out: _Out, tried: Collection[Address], now: float
    ) -> None:
        sut = account.sut
        suspects = account.sut.left_out
        well = [other for other in account.well(tried) if other not in suspects]
        if not well or self._attribution.disturbs_client(sut.number, out.since_s, self._seconds()):
            # No other instance is eligible, or a fault affects the client's reactor or clock.
            return
        out_s = self._seconds() - out.since_s
        if out_s < self._ejections.shortest_s(sut, address) - _SLACK_S:
            says = f"sends a call to {spelled(address)}, left out {out_s:.3f} s ago, and {spelled(well[0])} is well"
            self._report("one-probe", f"client {sut.number} {says}")
        elif out.probing is not None:
            says = f"sends {spelled(address)} a second call; its probe of {now - out.probing:.3f} s ago has not ended"
            self._report("one-probe", f"client {sut.number} {says}")
        else:
            out.probing = now
            self._on_probe(sut, address)

    def _check_share(self, account: _BalancingAccount) -> None:
        """Check the bound on ejected instances, after an ejection with an uncertain reason."""
        sut = account.sut
        fleet = sum(weight > 0 for weight in sut.view.values())
        out = len(sut.client.ejected)
        if out > int(fleet * sut.max_ejected_ratio):
            self._report("one-probe", f"client {sut.number} leaves out {out} of {fleet}")

    def _check_subset(self, account: _BalancingAccount, address: Address) -> None:
        sut = account.sut
        left_out = account.sut.left_out
        if sut.view is not account.seen or left_out != account.suspects:
            account.seen, account.suspects = sut.view, left_out
            account.members.clear()
        if address in left_out:
            return  # the last resort, because every instance is left out; the calls are sent to them in turn
        account.members[address] = None
        most = (sut.subset_size or 0) + len(account.out)
        if len(account.members) > most:
            used = ", ".join(map(spelled, account.members))
            says = f"has used more than {most} instances since its fleet changed last: {used}"
            self._report("subset-bounds", f"client {sut.number} {says}")

    @staticmethod
    def _is_partial(account: _BalancingAccount) -> bool:
        size = account.sut.subset_size
        return size is not None and size < sum(weight > 0 for weight in account.sut.view.values())
