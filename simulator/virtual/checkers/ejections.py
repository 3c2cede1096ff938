"""What is checked about why, when and for how long a client leaves an instance out.

Written from the reference page about failover alone. An account of our own of how attempts ended, and of what the
client's events said; where nobody listens to them, of what the client shows.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from attrs import define, field

from simulator.virtual.checker import Checker
from simulator.virtual.faults.catalog import STATUS
from simulator.virtual.reporting.formatting import spelled

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from simulator.virtual.client_under_test import ClientUnderTest
    from simulator.virtual.network.sockets import Address

_FAILED_CONNECTS = frozenset({"connect_refused", "connect_timeout", "connect_failed"})
_CERTAIN = frozenset({"connect_refused", "connect_timeout"})
"""One is enough, and any number of instances may be left out for it. (`connect_failed` may be the host's own want.)"""
_PERHAPS_LOCAL = ("connect_failed", "local_resource")
_AGAINST = _FAILED_CONNECTS | {"lost", "cut", "attempt_timeout", "late", "deadline", "violation"}
_FOR = ("answered", STATUS)
_RAISED = "raised by the simulation"
"""What is made to raise at an address is that address's, whatever else fails on the host at the same time."""
_SILENT = "silent"
"""The word of a client for an instance that has said nothing to anybody, while others answered."""
_SERVER_ERRORS = range(500, 600)
_SHORTEST_S = 1.0
"""A failed connect leaves an instance out for so long at least, then for twice as long."""


class EjectionAccount:
    """What is known of the instances of one client.

    Attributes:
        failures: Attempts in a row that spoke against an instance.
        ejections: How often it has been left out in a row.
        unsure: Who may have failed more often than is known here.
        out: Who is left out, as far as the client's events say.
        ending: How the attempt ended that the client takes note of.
        is_against: Whether that speaks against its instance.
    """

    def __init__(self) -> None:
        self.failures: Counter[Address] = Counter()
        self.ejections: Counter[Address] = Counter()
        self.unsure: dict[Address, None] = {}
        self.out: dict[Address, None] = {}
        self.ending = ""
        self.is_against = False

    def forget(self, address: Address) -> None:
        """An instance has answered."""
        self.failures.pop(address, None)
        self.ejections.pop(address, None)
        self.unsure.pop(address, None)


@define(eq=False, slots=False)
class EjectionChecker(Checker):
    """Checks `ejection-reason`, `ejected-at-once` and `ejection-forgotten`."""

    _accounts: dict[int, EjectionAccount] = field(init=False, factory=dict)

    def shortest_s(self, sut: ClientUnderTest, address: Address) -> float:
        """For how long an instance is left out at least, this time."""
        ejections = self.account(sut).ejections[address]
        base_s = min(_SHORTEST_S, sut.eject_base_s)
        return min(base_s * 2.0 ** max(0, ejections - 1), max(base_s, sut.eject_bound_s))

    def attempt_ends(self, sut: ClientUnderTest, address: Address, attempt_status: str, status: int) -> None:
        """A client is about to take note of how an attempt ended."""
        account = self.account(sut)
        account.ending = attempt_status
        account.is_against = attempt_status in _AGAINST or (attempt_status == STATUS and status in _SERVER_ERRORS)
        if account.is_against:
            account.failures[address] += 1
        elif attempt_status in _FOR and address not in account.out:
            account.forget(address)

    def attempt_ended(
        self, sut: ClientUnderTest, address: Address, view: Mapping[Address, float], left_out: Collection[Address]
    ) -> None:
        """It has taken note of the attempt that `attempt_ends` told of.

        Args:
            sut: The client.
            address: Of the attempt.
            view: The client's list.
            left_out: Who gets no calls now: instances that are suspected of silence, too, which no event tells.
        """
        account = self.account(sut)
        attempt_status, failures = account.ending, account.failures[address]
        is_certain = attempt_status in _CERTAIN
        if not is_certain and not (account.is_against and failures >= sut.eject_after):
            return
        fleet = sum(weight > 0 for weight in view.values())
        # What is certain is under no bound; with a bound of 0 nothing ejects.
        most = int(fleet * sut.max_ejected_ratio) if not is_certain or not sut.max_ejected_ratio else fleet
        if fleet < 2 or view.get(address, 0) <= 0 or not failures:  # noqa: PLR2004  a list of one never ejects
            return
        if address not in left_out and len(left_out) < most:
            says = f"takes {spelled(address)} for well after {attempt_status}, its failure {failures} in a row"
            self._report("ejected-at-once", f"client {sut.number} {says}; it leaves out {len(left_out)} of {fleet}")

    def ejected(self, sut: ClientUnderTest, address: Address, why: str) -> None:
        """A client tells that it leaves an instance out, and why."""
        account = self.account(sut)
        failures = account.failures[address]
        is_doubtful = account.ejections[address] > 0 and failures
        if not (
            why.startswith("connect_")
            or why == _SILENT
            or failures >= sut.eject_after
            or is_doubtful
            or address in account.unsure
            or sut.compares
        ):
            says = f"leaves out {spelled(address)} after {account.ending or 'no attempt'}"
            counts = f"{failures} failures in a row, of {sut.eject_after}"
            self._report("ejection-reason", f"client {sut.number} {says}, with {counts}")
        if why.startswith(_PERHAPS_LOCAL) and _RAISED not in why and sut.reactor.failed_locally:
            says = f"leaves out {spelled(address)} for what its own host lacks"
            self._report("local-not-blamed", f"client {sut.number} {says}")
        account.ejections[address] += 1
        account.out[address] = None

    def returned(self, sut: ClientUnderTest, address: Address) -> None:
        """A client tells that an instance takes part again."""
        account = self.account(sut)
        account.out.pop(address, None)
        if account.ending in _FOR:
            account.forget(address)

    def list_changed(self, sut: ClientUnderTest, view: Mapping[Address, float]) -> None:
        """A client has another list: whoever has left it is forgotten."""
        account = self.account(sut)
        for kept in (account.failures, account.ejections, account.unsure, account.out):
            for address in [address for address in kept if view.get(address, 0) <= 0]:
                del kept[address]

    def forget(self, sut: ClientUnderTest) -> None:
        """A client may have forgotten whatever failed, or may know it still."""
        account = self.account(sut)
        account.unsure.update(dict.fromkeys((*account.failures, *account.ejections)))
        account.failures.clear()
        account.ejections.clear()

    def look(self, sut: ClientUnderTest, out: Collection[Address]) -> None:
        """Compare whom a client leaves out with whom it said that it leaves out, since they joined its list."""
        for instance in sut.client.ejected:
            if instance.key not in out:
                says = f"leaves out {instance.address}, of which it has not said so since it is in the list"
                self._report("ejection-forgotten", f"client {sut.number} {says}")

    def account(self, sut: ClientUnderTest) -> EjectionAccount:
        """What is known of a client's instances."""
        account = self._accounts.get(sut.number)
        if account is None:
            account = self._accounts[sut.number] = EjectionAccount()
        return account
