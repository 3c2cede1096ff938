"""Checks of clients while most or all instances of a fleet are dead.

These checks are for the profile `minority`, whose only faults are instances that refuse connections, hang or become
unreachable.

- No call is lost while one instance answers.
- Dead instances get only probes.
- The median latency of calls at most doubles.
- When all instances were dead, a call succeeds within 2 s after the first instance has returned.

The world reports which instances are dead.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from statistics import median
from typing import TYPE_CHECKING, Any

from simulator.virtual.reporting.formatting import spelled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from random import Random

    from simulator.virtual.checkers.base import Report
    from simulator.virtual.client_under_test import ClientUnderTest
    from simulator.virtual.network.sockets import Address

DEADLY = ("crash", "hang", "blackhole", "power_loss")
"""Fault kinds that make an instance stop responding."""
FOUND_WITHIN_S = 2.0
_TENTH = 10
_TIMES = 2.0
_SLACK_S = 0.001
_ENOUGH, _SPARE = 30, 3


def deaths(rng: Random, instances: int, length_s: float) -> list[tuple[float, str, int, float]]:
    """Draw which instances fail, as tuples of `at_s`, kind, number of the instance and `for_s`.

    In three quarters of the plans some instances fail until 2 s before the end of `length_s`. In the other plans all
    instances fail, and one of them responds again after half of that time.
    """
    every = rng.random() < 0.25  # noqa: PLR2004  a quarter
    dead = list(range(instances)) if every else rng.sample(range(instances), rng.randint(1, max(1, instances - 1)))
    kinds = rng.sample(DEADLY, rng.randint(1, len(DEADLY)))
    at_s = rng.choice((0.0, 5.0))
    apart_s = rng.choice((0.0, 0.0, 0.5))
    end_s = length_s - 2.0
    first = rng.choice(dead)
    found = []
    for number, where in enumerate(dead):
        begins_s = round(at_s + number * apart_s, 3)
        ends_s = at_s + (end_s - at_s) / 2 if every and where == first else end_s
        found.append((begins_s, rng.choice(kinds), where, round(ends_s - begins_s, 3)))
    return found


class _Client:
    """The observed state of one client."""

    def __init__(self, sut: ClientUnderTest) -> None:
        self.sut = sut
        self.calm_s: list[float] = []
        self.later_s: list[float] = []
        self.ended = 0
        self.ejections: Counter[Address] = Counter()
        self.attempts: Counter[Address] = Counter()
        self.running: dict[object, list[Address]] = {}
        self.returned_at_s: float | None = None
        self.found_at_s = self.changed_at_s = 0.0


class MinorityChecker:
    """Checks `no-call-lost`.

    Args:
        seconds: Returns the virtual time, in seconds.
        report: Called with the name of a checker and the description of a violation.

    Attributes:
        is_on: Whether the run has dead instances and no other faults; if not, nothing is checked.
    """

    def __init__(self, seconds: Callable[[], float], report: Report) -> None:
        self.is_on = False
        self._seconds = seconds
        self._report = report
        self._clients: dict[int, _Client] = {}
        self._dead: dict[Address, None] = {}
        self._deaths: defaultdict[Address, list[list[float]]] = defaultdict(list)

    # -- events

    def open(self, sut: ClientUnderTest) -> None:
        """Observe a client that has a listener."""
        self._clients[sut.number] = _Client(sut)

    def died(self, addresses: Iterable[Address]) -> None:
        """Record that instances no longer respond."""
        for address in addresses:
            self._dead[address] = None
            self._deaths[address].append([self._seconds(), float("inf")])
        for client in self._clients.values():
            client.ended, client.returned_at_s, client.changed_at_s = 0, None, self._seconds()

    def revived(self, addresses: Iterable[Address]) -> None:
        """Record that instances respond again."""
        for client in self._clients.values():
            if self._dead.keys() >= client.sut.view.keys():
                client.returned_at_s = self._seconds()
            self._check_probes(client)
            client.ended, client.changed_at_s = 0, self._seconds()
        for address in addresses:
            self._dead.pop(address, None)
            if self._deaths[address]:
                self._deaths[address][-1][1] = self._seconds()

    def call_ended(self, sut: ClientUnderTest, event: Any) -> None:
        """Handle the event that a call has ended."""
        if not self.is_on:
            return
        client, now_s = self._clients[sut.number], self._seconds()
        client.ended += 1
        sent_to = client.running.pop(event.call, ())
        if now_s - event.elapsed_s > client.changed_at_s:
            client.attempts.update(sent_to)
        if event.error:
            # An instance that returns gets all waiting requests together, and may respond that its queue is full.
            if event.error not in ("CancelledError", "StatusError"):
                self._check_lost(client, event, now_s)
            return
        if client.returned_at_s is not None:
            after_s, client.returned_at_s, client.found_at_s = now_s - client.returned_at_s, None, now_s
            # All instances were dead until this call, so the earlier counts cannot be checked.
            client.attempts.clear()
            client.ejections.clear()
            client.changed_at_s = now_s
            if after_s > FOUND_WITHIN_S + _SLACK_S:
                self._say(client, f"found the first to return {after_s:.3f} s after it had")
        if not self._deaths:
            client.calm_s.append(event.elapsed_s)
        elif self._dead and client.ended > _TENTH:
            client.later_s.append(event.elapsed_s)

    def attempt_ended(self, sut: ClientUnderTest, event: Any) -> None:
        """Handle the event that an attempt has ended."""
        address, client = event.instance.key, self._clients[sut.number]
        if self.is_on and address in self._dead and client.ejections[address]:
            client.running.setdefault(event.call, []).append(address)

    def ejected(self, sut: ClientUnderTest, event: Any) -> None:
        """Handle the event that an instance was ejected."""
        if event.instance.key in self._dead:
            self._clients[sut.number].ejections[event.instance.key] += 1

    # -- internals

    def check_over(self, sut: ClientUnderTest) -> None:
        """Check the latencies of the run, and that the client has found the first instance that returned."""
        client = self._clients.get(sut.number)
        if not self.is_on or client is None:
            return
        if client.returned_at_s is not None:
            self._say(client, "never found the first to return")
        if len(client.calm_s) >= _ENOUGH and len(client.later_s) >= _ENOUGH:
            calm_s, later_s = median(client.calm_s), median(client.later_s)
            if later_s > _TIMES * calm_s + _SLACK_S:
                says = f"half of its calls took more than {later_s:.3f} s beside the dead, and {calm_s:.3f} s before"
                self._say(client, says)

    def _check_lost(self, client: _Client, event: Any, now_s: float) -> None:
        began_s = now_s - event.elapsed_s
        if began_s < client.found_at_s or client.returned_at_s is not None:
            # All instances were dead, and the client had not yet found the one that returned.
            return
        well = [
            address
            for address, weight in client.sut.view.items()
            if weight > 0
            and not any(since_s <= now_s and until_s >= began_s for since_s, until_s in self._deaths[address])
        ]
        if well:
            says = f"lost a call as {event.error} after {event.elapsed_s:.3f} s while {spelled(well[0])} answered"
            self._say(client, says)

    def _check_probes(self, client: _Client) -> None:
        """Check that each probe of a dead instance led to an ejection; up to three probes may still be running."""
        if self.is_on and not self._dead.keys() >= client.sut.view.keys():
            for address in self._dead:
                attempts, ejections = client.attempts[address], client.ejections[address]
                if attempts > ejections + _SPARE:
                    says = f"sent {spelled(address)} {attempts} calls after it had been ejected, of {ejections} times"
                    self._say(client, says)
        for address in self._dead:
            client.attempts[address] = client.ejections[address] = 0

    def _say(self, client: _Client, what: str) -> None:
        self._report("no-call-lost", f"client {client.sut.number} {what}")
