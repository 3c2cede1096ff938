"""Checks of the reasons, times and lengths of a client's ejections.

The rules come from the reference page about failover, not from the client's code. The checker keeps its own account of
how attempts ended and of the client's events; if a client has no listener, it uses the client's public state.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from attrs import define, field

from simulator.virtual.checkers.base import Checker
from simulator.virtual.faults.catalog import STATUS
from simulator.virtual.reporting.formatting import spelled

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from simulator.virtual.client_under_test import ClientUnderTest
    from simulator.virtual.network.sockets import Address

_FAILED_CONNECTS = frozenset({"connect_refused", "connect_timeout", "connect_failed"})
_CERTAIN = frozenset({"connect_refused", "connect_timeout"})
"""Reasons that eject an instance after one failure, and to which no bound on ejections applies.

`connect_failed` is not among these reasons, because a lack of resources on the client's host can cause it.
"""
_PERHAPS_LOCAL = ("connect_failed", "local_resource")
_AGAINST = _FAILED_CONNECTS | {"lost", "cut", "attempt_timeout", "late", "deadline", "violation"}
_FOR = ("answered", STATUS)
_RAISED = "raised by the simulation"
"""Text of an injected `ValueError` or `UnicodeError` in the reason of an ejection.

Such an error is caused by the address, not by a lack of local resources.
"""
_SILENT = "silent"
"""The client's reason for ejecting an instance that sent nothing while other instances answered."""
_SERVER_ERRORS = range(500, 600)
_SHORTEST_S = 1.0
"""Minimum length of an instance's first ejection, in seconds; it doubles with each further ejection."""


class EjectionAccount:
    """The state of one client's instances, as the checker has observed it.

    Attributes:
        failures: Number of consecutive failed attempts, by instance.
        ejections: Number of consecutive ejections, by instance.
        unsure: Instances that may have failed more often than was observed.
        out: Ejected instances, according to the client's events.
        ending: Status of the attempt that the client is about to record.
        is_against: Whether that status counts as a failure of its instance.
    """

    def __init__(self) -> None:
        self.failures: Counter[Address] = Counter()
        self.ejections: Counter[Address] = Counter()
        self.unsure: dict[Address, None] = {}
        self.out: dict[Address, None] = {}
        self.ending = ""
        self.is_against = False

    def forget(self, address: Address) -> None:
        """Reset the counters of an instance that has answered."""
        self.failures.pop(address, None)
        self.ejections.pop(address, None)
        self.unsure.pop(address, None)


@define(eq=False, slots=False)
class EjectionChecker(Checker):
    """Checks `ejection-reason`, `ejected-at-once`, `ejection-forgotten` and `local-not-blamed`."""

    _accounts: dict[int, EjectionAccount] = field(init=False, factory=dict)

    def shortest_s(self, sut: ClientUnderTest, address: Address) -> float:
        """Return the minimum length of an instance's current ejection, in seconds."""
        ejections = self.account(sut).ejections[address]
        base_s = min(_SHORTEST_S, sut.eject_base_s)
        return min(base_s * 2.0 ** max(0, ejections - 1), max(base_s, sut.eject_bound_s))

    def attempt_ends(self, sut: ClientUnderTest, address: Address, attempt_status: str, status: int) -> None:
        """Handle the end of an attempt, before the client records it."""
        account = self.account(sut)
        account.ending = attempt_status
        account.is_against = attempt_status in _AGAINST or (attempt_status == STATUS and status in _SERVER_ERRORS)
        if account.is_against:
            account.failures[address] += 1
        elif attempt_status in _FOR and address not in account.out:
            account.forget(address)

    def head_came(self, sut: ClientUnderTest, address: Address) -> None:
        """Handle the head of a stream, which counts as an answer although the attempt has not ended."""
        account = self.account(sut)
        account.ending, account.is_against = "answered", False
        if address not in account.out:
            account.forget(address)

    def attempt_ended(
        self, sut: ClientUnderTest, address: Address, view: Mapping[Address, float], left_out: Collection[Address]
    ) -> None:
        """Check the client's state after it has recorded the attempt passed to `attempt_ends`.

        Args:
            sut: The client.
            address: Address of the attempt's instance.
            view: The client's list.
            left_out: Instances that get no calls now. They include suspects, for which there is no event.
        """
        account = self.account(sut)
        attempt_status, failures = account.ending, account.failures[address]
        is_certain = attempt_status in _CERTAIN
        if not is_certain and not (account.is_against and failures >= sut.eject_after):
            return
        # No generator expression is used: `work_per_turn` would count its steps as function calls of the client.
        fleet = len(view) - list(view.values()).count(0)
        # The bound does not apply to the reasons in `_CERTAIN`, except that a bound of 0 turns ejection off.
        most = int(fleet * sut.max_ejected_ratio) if not is_certain or not sut.max_ejected_ratio else fleet
        if fleet < 2 or view.get(address, 0) <= 0 or not failures:  # noqa: PLR2004  a single instance is never ejected
            return
        if address not in left_out and len(left_out) < most:
            says = f"takes {spelled(address)} for well after {attempt_status}, its failure {failures} in a row"
            self._report("ejected-at-once", f"client {sut.number} {says}; it leaves out {len(left_out)} of {fleet}")

    def ejected(self, sut: ClientUnderTest, address: Address, why: str) -> None:
        """Handle the event that a client has ejected an instance, with its reason."""
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
        """Handle the event that an ejected instance has returned."""
        account = self.account(sut)
        account.out.pop(address, None)
        if account.ending in _FOR and not account.is_against:
            account.forget(address)

    def list_changed(self, sut: ClientUnderTest, view: Mapping[Address, float]) -> None:
        """Handle the event that a client's list has changed: remove instances that have left it."""
        account = self.account(sut)
        for kept in (account.failures, account.ejections, account.unsure, account.out):
            for address in [address for address in kept if view.get(address, 0) <= 0]:
                del kept[address]

    def forget(self, sut: ClientUnderTest) -> None:
        """Mark all instances with failures or ejections as uncertain, because the client may have lost its counts."""
        account = self.account(sut)
        account.unsure.update(dict.fromkeys((*account.failures, *account.ejections)))
        account.failures.clear()
        account.ejections.clear()

    def look(self, sut: ClientUnderTest, out: Collection[Address]) -> None:
        """Check that the client has reported each of its ejections in an event.

        Args:
            sut: The client.
            out: Ejected instances, according to the client's events.
        """
        for instance in sut.client.ejected:
            if instance.key not in out:
                says = f"leaves out {instance.address}, of which it has not said so since it is in the list"
                self._report("ejection-forgotten", f"client {sut.number} {says}")

    def account(self, sut: ClientUnderTest) -> EjectionAccount:
        """Return the account of a client's instances."""
        account = self._accounts.get(sut.number)
        if account is None:
            account = self._accounts[sut.number] = EjectionAccount()
        return account
