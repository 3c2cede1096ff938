"""Attribution: which failures the active faults explain, by address, time and status.

A fault also explains failures for a while after its end, because calls that it affected may end later.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from attrs import define

from simulator.virtual.faults.catalog import (
    BROKEN,
    LATE,
    REFUSED,
    STALE,
    STATUS,
    STREAMED,
    TIMED_OUT,
    VIOLATION,
    WRONG,
    Scope,
)

if TYPE_CHECKING:
    from simulator.virtual.faults.catalog import CatalogEntry
    from simulator.virtual.network.sockets import Address

_AFTERWARDS_S = 1.0
_REQUEST_TIMEOUT = 408
_ALWAYS = frozenset({STALE, "unsent", "retired"})
"""Statuses that need no fault: servers close idle connections and operators change lists at any time."""
_FORGOTTEN_AFTER_S = 120.0
_NOT_ON_CALLS = (Scope.CONTROL, Scope.NAMES, Scope.GATEWAY)
_ON_THE_WAY = ("control_hole", "control_slow")
"""Faults of the control plane that also affect the gateway, which has the same address."""
_BEHIND = (502, 504)
"""HTTP statuses of the gateway when an instance has not responded."""
_NOBODY = 503
"""HTTP status of the gateway when no instance is available."""
_GONE = frozenset({REFUSED, TIMED_OUT, "retired", "waited", "overloaded"}) | BROKEN
"""Statuses of attempts at an instance that has left: it accepts no connection, so calls also wait in its queue."""


@define(eq=False)
class FaultEffect:
    """An active fault, or one that has ended recently.

    Attributes:
        kind: Catalogue entry of the fault's kind.
        name: Name of the kind in the catalogue.
        addresses: Addresses that the fault affects; `None` for all.
        clients: Numbers of the clients that the fault affects; `None` for all.
        statuses: HTTP statuses that the fault may cause.
        begin_s: Time at which the fault began, in virtual seconds.
        until_s: Time until which the fault explains failures, in virtual seconds.
        carried_s: Seconds for which earlier faults of this kind still explain failures when this fault begins; 0.0 for
            kinds that do not add up.
    """

    kind: CatalogEntry
    name: str
    addresses: frozenset[Address] | None
    clients: frozenset[int] | None
    statuses: tuple[int, ...]
    begin_s: float
    until_s: float = math.inf
    carried_s: float = 0.0

    def end(self, now_s: float) -> None:
        """Record the end of the fault."""
        echo_s = now_s - self.begin_s if self.kind.echoes else 0.0
        self.until_s = now_s + _AFTERWARDS_S + self.kind.lingers_s + echo_s + self.carried_s

    def affects(self, client: int) -> bool:
        """Whether the fault affects a client, by the client's number."""
        return self.clients is None or client in self.clients

    def holds(self, from_s: float, to_s: float) -> bool:
        """Whether the fault explains failures at any time from `from_s` to `to_s`, in virtual seconds."""
        return self.begin_s <= to_s and self.until_s >= from_s


class FaultAttribution:
    """The active and recent faults, and the failures that they explain.

    Attributes:
        alive: Id of each instance that is in the list, by its address.
    """

    def __init__(self) -> None:
        self._effects: list[FaultEffect] = []
        self.alive: dict[Address, str] = {}

    def add(self, effect: FaultEffect) -> None:
        """Add a fault that begins."""
        self._effects = [t for t in self._effects if t.until_s > effect.begin_s - _FORGOTTEN_AFTER_S]
        if effect.kind.adds_up:
            ends = [t.until_s for t in self._effects if t.kind is effect.kind and t.until_s < math.inf]
            effect.carried_s = max([effect.begin_s, *ends]) - effect.begin_s
        self._effects.append(effect)

    def explain(
        self, address: Address, attempt_status: str, status: int, client: int, window: tuple[float, float]
    ) -> bool:
        """Whether the faults explain that an attempt ended with this status.

        Args:
            address: Address of the attempt's instance.
            attempt_status: Status with which the attempt ended.
            status: HTTP status of the response; 0 for none.
            client: Number of the client.
            window: Start and end of the time in which a fault may have affected the attempt, in virtual seconds.
        """
        if attempt_status in _ALWAYS or (address not in self.alive and attempt_status in _GONE):
            return True
        if attempt_status == STATUS and status == _REQUEST_TIMEOUT:
            # An instance responds 408 if a request takes longer than the instance's limit.
            attempt_status, status = "deadline", 0
        return any(
            attempt_status in effect.kind.explains and (attempt_status != STATUS or status in effect.statuses)
            for effect in self._on(client, window)
            if effect.addresses is None or address in effect.addresses
        )

    def keeps_waiting(self, address: Address, from_s: float, to_s: float) -> bool:
        """Whether a fault of this instance may have delayed the end of a response from `from_s` to `to_s`."""
        return any(
            "deadline" in effect.kind.explains
            for effect in self._effects
            if effect.addresses is not None and address in effect.addresses and effect.holds(from_s, to_s)
        )

    def is_disturbed(self, from_s: float, to_s: float) -> bool:
        """Whether any fault explains failures at any time from `from_s` to `to_s`."""
        return any(effect.holds(from_s, to_s) for effect in self._effects)

    def may_answer(self, status: int, window: tuple[float, float]) -> bool:
        """Whether a fault may have caused a response with this HTTP status at any time in the window."""
        return any(status in effect.statuses for effect in self._effects if effect.holds(*window))

    def may_be_wrong(self, from_s: float, to_s: float) -> bool:
        """Whether any instance may have sent a wrong response at any time from `from_s` to `to_s`."""
        return any(WRONG in effect.kind.explains for effect in self._effects if effect.holds(from_s, to_s))

    def explain_gateway(self, condition: str, status: int, window: tuple[float, float]) -> bool:
        """Whether the faults explain that an attempt through the gateway ended with this status."""
        if condition == STATUS and status == _REQUEST_TIMEOUT:
            condition, status = "deadline", 0
        return condition in _ALWAYS or any(
            _explains_behind(effect, condition, status) for effect in self._effects if effect.holds(*window)
        )

    def explain_gateway_break(self, condition: str, window: tuple[float, float]) -> bool:
        """Whether the faults explain that a stream through the gateway broke after its head was passed on."""
        return self.explain_gateway(condition, 0, window) or any(
            _breaks_behind(effect) for effect in self._effects if effect.holds(*window)
        )

    def disturbs_discovery(self, client: int, from_s: float, to_s: float) -> bool:
        """Whether a fault affects discovery, or delays the polls of a client, at any time from `from_s` to `to_s`."""
        return any(
            effect.kind.scope is Scope.CONTROL or (effect.kind.holds_up_polls and effect.affects(client))
            for effect in self._effects
            if effect.holds(from_s, to_s)
        )

    def disturbs_replies(self, client: int, from_s: float, to_s: float) -> bool:
        """Whether a fault affects the delivery of discovery replies; changes of their content do not count."""
        return any(
            (effect.kind.scope is Scope.CONTROL and not effect.kind.is_content)
            or (effect.kind.holds_up_polls and effect.affects(client))
            for effect in self._effects
            if effect.holds(from_s, to_s)
        )

    def disturbs_names(self, from_s: float, to_s: float) -> bool:
        """Whether a fault may delay or fail the resolution of a name that has not been resolved before."""
        return any(effect.kind.scope is Scope.NAMES for effect in self._effects if effect.holds(from_s, to_s))

    def disturbs_sockets(self, client: int, from_s: float, to_s: float) -> bool:
        """Whether a fault keeps the client's host from opening, writing or closing connections."""
        return any(
            effect.kind.holds_up_polls and effect.affects(client)
            for effect in self._effects
            if effect.holds(from_s, to_s)
        )

    def disturbs_client(self, client: int, from_s: float, to_s: float) -> bool:
        """Whether a fault affects the client's own reactor or clock."""
        return any(
            effect.kind.scope is Scope.CLIENT and effect.affects(client)
            for effect in self._effects
            if effect.holds(from_s, to_s)
        )

    def _on(self, client: int, window: tuple[float, float]) -> list[FaultEffect]:
        return [
            effect
            for effect in self._effects
            if effect.affects(client) and effect.kind.scope not in _NOT_ON_CALLS and effect.holds(*window)
        ]


def _breaks_behind(effect: FaultEffect) -> bool:
    """Whether a fault may break a response between its instance and the gateway."""
    kind = effect.kind
    # An instance that leaves the list is drained, which may abort the streams that it still sends.
    return kind.scope in (Scope.MEMBER, Scope.FLEET) or bool(kind.explains & (BROKEN | LATE))


def _explains_behind(effect: FaultEffect, condition: str, status: int) -> bool:
    """Whether a fault may end an attempt through the gateway, on the link to it or behind it."""
    kind = effect.kind
    if kind.scope is Scope.GATEWAY:
        return status in effect.statuses if condition == STATUS else condition in kind.explains
    if effect.name in _ON_THE_WAY:
        return condition in LATE | BROKEN
    if kind.scope is Scope.NAMES:
        # The client keeps resolved addresses, but the agent of a program may resolve the name again.
        return condition in LATE | {"connect_failed"}
    if kind.scope in (Scope.CONTROL, Scope.CLIENT, Scope.INSIDE):
        return False
    if condition == STATUS:
        # An instance that leaves the list is drained, which may abort the requests that it still handles.
        is_fleet = kind.scope in (Scope.MEMBER, Scope.FLEET)
        is_gone = status in _BEHIND and (is_fleet or bool(kind.explains))
        is_nobody = status == _NOBODY and (is_fleet or REFUSED in kind.explains)
        return status in effect.statuses or is_gone or is_nobody or VIOLATION in kind.explains
    # If a body breaks or is silent for too long, the gateway has already forwarded the head, and breaks the response.
    is_cut = (effect.name in STREAMED or effect.name == "no_length") and condition in BROKEN
    return is_cut or (condition in kind.explains and (condition in LATE or VIOLATION in kind.explains))
