"""Checks of balancing by key, and of the notifications of a program's own balancer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import define, field

from simulator.virtual.checkers.base import Checker
from simulator.virtual.reporting.formatting import spelled

if TYPE_CHECKING:
    from simulator.virtual.client_under_test import ClientUnderTest
    from simulator.virtual.network.sockets import Address

_MOST_STATES = 64
"""Maximum number of states (list and left-out instances) that are kept; all are discarded when it is reached."""


@define(eq=False, slots=False)
class KeyChecker(Checker):
    """Checks `key-affinity` and `balancer-notified`.

    The instance of a key depends on the eligible instances only, so clients with the same eligible instances must
    choose the same instance. A call is compared only if its client has no other attempt in flight, because the choice
    may also depend on the load.
    """

    _places: dict[Any, dict[Any, tuple[int, Address]]] = field(init=False, factory=dict)
    _balancers: dict[int, Any] = field(init=False, factory=dict)

    def contradicted(self, number: int, says: str) -> None:
        """Report a violation that a client's own balancer has found."""
        self._report("balancer-notified", f"client {number}: {says}")

    def watch(self, number: int, balancer: Any) -> None:
        """Observe a client's own balancer, which must be notified of the end of each attempt."""
        self._balancers[number] = balancer

    def check_over(self, sut: ClientUnderTest) -> None:
        """Check that a client's own balancer was notified of the end of every attempt."""
        balancer = self._balancers.get(sut.number)
        if balancer is not None and balancer.left:
            self.contradicted(
                sut.number, f"no call is left, and its balancer was not notified of the ends at {balancer.left}"
            )

    def chosen(self, sut: ClientUnderTest, address: Address, key: Any, *, is_alone: bool) -> None:
        """Compare the instance of a call's first attempt with the instance of earlier calls of the same key."""
        left_out = sut.left_out
        is_plain = sut.subset_size is None and sut.most_in_flight is None and not sut.slow_start_s
        # A probe is sent to an instance that is not eligible for other calls.
        if key is None or not is_alone or not is_plain or address in left_out:
            return
        state = frozenset(sut.view.items()), frozenset(left_out)
        if state not in self._places and len(self._places) >= _MOST_STATES:
            self._places.clear()
        number, expected = self._places.setdefault(state, {}).setdefault(key, (sut.number, address))
        if expected != address:
            says = f"sends key {key} to {spelled(address)}; client {number} sent it to {spelled(expected)}"
            self._report("key-affinity", f"client {sut.number} {says} with the same eligible instances")
