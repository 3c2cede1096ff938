"""What is checked about where a client sends its attempts.

Only those in the list get calls; whoever is left out gets nothing while somebody is well, then one call, the probe, and
no second before its end is known; nobody has more calls in flight than the bound while another has room; a subset has
no more members than its size. Heard by the hook of the client's fleet, and in its
events; the account is our own.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from attrs import define, field

from simulator.virtual.checker import Checker
from simulator.virtual.reporting.formatting import spelled

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from simulator.virtual.checkers.ejections import EjectionChecker
    from simulator.virtual.client_under_test import ClientUnderTest
    from simulator.virtual.network.sockets import Address

_SLACK_S = 0.001
_MOST_RESORTS = 16
"""A call that has been to so many goes on to none that is left out."""


def is_certain(why: str) -> bool:
    """Whether the reason of an ejection holds for any number of instances: no connection, or no word."""
    return why.startswith("connect_") or why == "silent"


class _Out:
    """An instance that was ejected and has not returned."""

    __slots__ = ("probing", "since_s")

    def __init__(self, since_s: float) -> None:
        self.since_s = since_s
        self.probing: float | None = None


class Selection(Protocol):
    """What a call says when it asks for an instance, as far as it is looked at here."""

    @property
    def tried(self) -> Collection[Address]:
        """The instances it has tried."""


class _BalancingAccount:
    """Where the calls of one client are, and whom it leaves out."""

    def __init__(self, sut: ClientUnderTest) -> None:
        self.sut = sut
        self.in_flight: Counter[Address] = Counter()
        self.out: dict[Address, _Out] = {}
        self.members: dict[Address, None] = {}
        self.seen: object = None
        self.suspects: tuple[Address, ...] = ()

    def well(self, tried: Collection[Address]) -> list[Address]:
        """Who could be picked: in the list, not left out, not tried."""
        sut = self.sut
        # Without a listener nobody but the client itself says who is left out.
        out = self.out if sut.is_heard else {instance.key for instance in sut.client.ejected}
        return [
            address
            for address, weight in sut.view.items()
            if weight > 0 and address not in out and address not in tried
        ]


@define(eq=False)
class FleetEar:
    """Hears what the fleet of one client chooses and records (`eas_tw.net.fleet.FleetObserver`).

    Attributes:
        _on_chosen: Takes the address, the selection, and when.
        _on_ended: Takes the address, and when the attempt began.
        _sut: The client.
        _ejections: Told how attempts end.
    """

    _on_chosen: Callable[[Address, Selection, float], None]
    _on_ended: Callable[[Address, float], None]
    _sut: ClientUnderTest
    _ejections: EjectionChecker

    def on_chosen(self, instance: Any, selection: Selection, now: float) -> None:
        """An instance was chosen for an attempt."""
        self._on_chosen(instance.key, selection, now)

    def on_ending(self, instance: Any, outcome: Any, began: float) -> None:
        """The end of an attempt is about to be recorded."""
        self._on_ended(instance.key, began)
        attempt_status, known = str(outcome.attempt_status), self._ejections.account(self._sut)
        if attempt_status != "answered" or known.failures or known.unsure:
            self._ejections.attempt_ends(self._sut, instance.key, attempt_status, outcome.status)
        else:
            known.ending = attempt_status

    def on_failed(self, instance: Any, outcome: Any) -> None:  # noqa: ARG002  the hook's
        """The end of an attempt that was not answered with a 200 was recorded."""
        sut = self._sut
        self._ejections.attempt_ended(sut, instance.key, sut.view, sut.left_out)

    def on_overheard(self, instance: Any, outcome: Any) -> None:
        """What is left of an attempt whose call has gone on tells something, too."""
        self._ejections.attempt_ends(self._sut, instance.key, str(outcome.attempt_status), outcome.status)


@define(eq=False, slots=False)
class BalancingChecker(Checker):
    """Checks `one-probe` and `subset-bounds`, and where `last-good-list` and `nothing-left` are about calls.

    Attributes:
        _on_probe: Told of each probe of an instance that was left out.
        _ejections: Checks why and for how long instances are left out; told what is heard here.
    """

    _on_probe: Callable[[ClientUnderTest, Address], None]
    _ejections: EjectionChecker
    _accounts: dict[int, _BalancingAccount] = field(init=False, factory=dict)

    def observer(self, sut: ClientUnderTest) -> FleetEar:
        """Return what hears of every choice of a client, from its first call on."""
        account = self._accounts[sut.number] = _BalancingAccount(sut)
        return FleetEar(partial(self._chosen, account), partial(self._ended, account), sut, self._ejections)

    def ejected(self, sut: ClientUnderTest, event: Any) -> None:
        """A client tells that it leaves an instance out."""
        account = self._told(sut)
        if account is not None:
            self._ejections.ejected(sut, event.instance.key, event.why)
            account.out[event.instance.key] = _Out(self._seconds())
            if not is_certain(event.why):
                self._check_share(account)

    def returned(self, sut: ClientUnderTest, event: Any) -> None:
        """A client tells that an instance takes part again."""
        account = self._told(sut)
        if account is not None:
            self._ejections.returned(sut, event.instance.key)
            account.out.pop(event.instance.key, None)

    def list_changed(self, sut: ClientUnderTest, _: Any) -> None:
        """A client tells that it has another list."""
        account = self._told(sut)
        if account is not None:
            self._change(account)

    def apply_raised(self, sut: ClientUnderTest) -> None:
        """A list could not be taken over: what the client knows of who failed may be gone, but for who is left out."""
        account = self._told(sut)
        if account is not None:
            account.out = {instance.key: _Out(-1.0) for instance in sut.client.ejected}
            self._ejections.forget(sut)

    def look(self, sut: ClientUnderTest) -> None:
        """Compare a client with what it has told so far."""
        account = self._accounts.get(sut.number)
        if account is None:
            return
        if sut.is_heard:
            self._ejections.look(sut, account.out)
        else:
            self._ejections.list_changed(sut, sut.view)

    def check_over(self, sut: ClientUnderTest) -> None:
        """`nothing-left`: every call has ended, and so has every attempt."""
        account = self._accounts.get(sut.number)
        left = {spelled(address): n for address, n in account.in_flight.items() if n} if account else {}
        if left:
            self._report("nothing-left", f"client {sut.number} has no call any more, and attempts: {left}")

    # -- how it checks

    def _told(self, sut: ClientUnderTest) -> _BalancingAccount | None:
        """The account of a client that tells of its fleet; its subset may be another one from here on."""
        account = self._accounts.get(sut.number)
        if account is not None:
            account.members.clear()
        return account

    def _change(self, account: _BalancingAccount) -> None:
        """Another list: who left it is forgotten, and fewer may be left out of a shorter one."""
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
            left_out = account.sut.left_out
            room = [
                other for other in account.well(tried) if account.in_flight[other] < limit and other not in left_out
            ]
            if room and room != [address]:
                says = f"sends {spelled(address)} a call more than {limit}, and {spelled(room[0])} has room"
                self._report("subset-bounds", f"client {sut.number} {says}")
        account.in_flight[address] += 1
        if not tried and sut.is_heard and self._is_partial(account):
            self._check_subset(account, address)

    def _ended(self, account: _BalancingAccount, address: Address, began: float) -> None:
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
            # The last resort of a call that has nobody else; or the client's clock says something else.
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
        """No more may be left out at a time when one of them is left out in doubt."""
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
