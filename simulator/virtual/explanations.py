"""Which failures the faults at work explain: where, when, and as what.

A fault explains from its beginning until a while after its end: what was on its way then is still to be told.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from attrs import define

from simulator.virtual.troubles import BROKEN, REFUSED, STALE, STATUS, TIMED_OUT, Scope

if TYPE_CHECKING:
    from collections.abc import Collection

    from simulator.virtual.sockets import Address
    from simulator.virtual.troubles import Kind

_AFTERWARDS_S = 1.0
_REQUEST_TIMEOUT = 408
_ALWAYS = frozenset({STALE, "unsent", "retired"})
"""Servers close idle connections and operators change lists whenever they like."""
_FORGOTTEN_AFTER_S = 120.0
_GONE = frozenset({REFUSED, TIMED_OUT, "retired"}) | BROKEN


@define(eq=False)
class Touch:
    """A fault at work, or just over.

    Attributes:
        kind: Its kind.
        name: What the schedule calls it.
        addresses: Whom it strikes; `None` for everybody.
        clients: The numbers of the clients it strikes; `None` for all.
        statuses: HTTP statuses it may cause.
        begin_s: Since when.
        until_s: When it explains no more.
    """

    kind: Kind
    name: str
    addresses: frozenset[Address] | None
    clients: frozenset[int] | None
    statuses: tuple[int, ...]
    begin_s: float
    until_s: float = math.inf

    def end(self, now_s: float) -> None:
        """The fault is over."""
        echo_s = now_s - self.begin_s if self.kind.echoes else 0.0
        self.until_s = now_s + _AFTERWARDS_S + self.kind.lingers_s + echo_s

    def strikes(self, client: int) -> bool:
        """Whether it strikes a client."""
        return self.clients is None or client in self.clients

    def holds(self, from_s: float, to_s: float) -> bool:
        """Whether it explains anything in that time."""
        return self.begin_s <= to_s and self.until_s >= from_s


class Explanations:
    """The faults that still matter.

    Attributes:
        alive: Addresses of instances that exist and are in the list.
    """

    def __init__(self) -> None:
        self._touches: list[Touch] = []
        self.alive: dict[Address, str] = {}

    def add(self, touch: Touch) -> None:
        """A fault begins."""
        self._touches = [t for t in self._touches if t.until_s > touch.begin_s - _FORGOTTEN_AFTER_S]
        self._touches.append(touch)

    def extend(self, kinds: Collection[Scope], to_s: float) -> None:
        """What faults of these scopes have done may last until then."""
        for touch in self._touches:
            if touch.kind.scope in kinds:
                touch.until_s = max(touch.until_s, to_s)

    def explain(self, address: Address, condition: str, status: int, client: int, window: tuple[float, float]) -> bool:
        """Whether an attempt on an address may have ended like that."""
        if condition in _ALWAYS or (address not in self.alive and condition in _GONE):
            return True
        if condition == STATUS and status == _REQUEST_TIMEOUT:
            # An instance's own word for a request that it has had for too long.
            condition, status = "deadline", 0
        return any(
            condition in touch.kind.explains and (condition != STATUS or status in touch.statuses)
            for touch in self._on(client, window)
            if touch.addresses is None or address in touch.addresses
        )

    def disturbs_discovery(self, client: int, from_s: float, to_s: float) -> bool:
        """Whether anything is wrong with discovery, or with the client, in that time."""
        return any(
            touch.kind.scope is Scope.CONTROL or (touch.kind.holds_up_polls and touch.strikes(client))
            for touch in self._touches
            if touch.holds(from_s, to_s)
        )

    def disturbs_replies(self, client: int, from_s: float, to_s: float) -> bool:
        """The same, but for what only changes what a reply says: it is followed like any other."""
        return any(
            (touch.kind.scope is Scope.CONTROL and not touch.kind.is_content)
            or (touch.kind.holds_up_polls and touch.strikes(client))
            for touch in self._touches
            if touch.holds(from_s, to_s)
        )

    def disturbs_sockets(self, client: int, from_s: float, to_s: float) -> bool:
        """Whether the client's host may not open, write or close a connection in that time."""
        return any(
            touch.kind.holds_up_polls and touch.strikes(client) for touch in self._touches if touch.holds(from_s, to_s)
        )

    def disturbs_client(self, client: int, from_s: float, to_s: float) -> bool:
        """Whether the client's own reactor or clock is wrong in that time."""
        return any(
            touch.kind.scope is Scope.CLIENT and touch.strikes(client)
            for touch in self._touches
            if touch.holds(from_s, to_s)
        )

    def _on(self, client: int, window: tuple[float, float]) -> list[Touch]:
        return [
            touch
            for touch in self._touches
            if touch.strikes(client) and touch.kind.scope is not Scope.CONTROL and touch.holds(*window)
        ]
